"""What is learnt from one store and used on another: refused where it was prepared otherwise, by every way there is."""

import json
import sys

import numpy as np
import pytest

from dynml import MultiSubjectDataset, load_experiment
from dynml.cli.commands.results.extract_features import parse_extraction, run_extraction
from dynml.cli.commands.results.infer import parse_inference, run_inference
from dynml.cli.commands.train import parse_training, run_training
from dynml.conversion.creation import create_store
from dynml.dataset.config import DatasetConfig
from dynml.errors import DataError, DataWarning
from dynml.simulation import simulate_hmm
from dynml.store.reading import Store

QUICK = ("--trainer.max_epochs", "1", "--trainer.progress", "false", "--trainer.device", "cpu")
TINY = ("--model.embedding_dim", "8", "--model.n_heads", "2", "--model.n_layers", "1", "--sampler.window_length", "20")
SETTINGS = {
    "hmm": ("--model.n_states", "2", "--initialization.n_init", "1"),
    "dynemo": ("--model.n_modes", "2", "--model.sequence_length", "20", "--model.n_kl_annealing_epochs", "1"),
    "csm": TINY,
}
REFUSED = "standardization is 'per_run' in the training data and 'none' here"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two stores of the same six recordings, standardized and raw, and a folder of experiments."""
    folder = tmp_path_factory.mktemp("other")
    series = simulate_hmm(n_subjects=6, n_samples=300, n_states=2, n_channels=3, seed=2).time_series
    for number, signals in enumerate(series, 1):
        subject = folder / "ready" / f"sub-{number}"
        subject.mkdir(parents=True)
        np.save(subject / "run.npy", signals * 2 + 1)
        rows = "".join(f"{start / 100}\t0.2\t{'ab'[start // 30 % 2]}\n" for start in range(0, 270, 30))
        (subject / "events.tsv").write_text("onset\tduration\ttrial_type\n" + rows)
    lists = {"training": "1234", "validation": "5", "testing": "6"}
    for name, numbers in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"sub-{number}\n" for number in numbers))
    files = {name: folder / f"{name}.txt" for name in lists}
    for name, settings in (("alike", {}), ("raw", {"standardization": "none"})):
        group = {"type": "timeseries", "files": ["*.npy"], "events": "events.tsv", "sampling_frequency": 100}
        (folder / f"{name}.json").write_text(json.dumps({"signals": group | settings}))
        create_store(folder / "ready", folder / f"{name}.hdf5", folder / f"{name}.json", files)
    (folder / "experiments").mkdir()
    return folder


@pytest.fixture
def train(place, monkeypatch):
    """Run the training script within this process."""

    def run(family, name, store, *arguments):
        own = (*SETTINGS.get(family, ()), *QUICK)
        command = ["train", family, place / "experiments", name, place / f"{store}.hdf5", "signals", *own, *arguments]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        run_training(parse_training(None))
        return place / "experiments" / name

    return run


@pytest.fixture
def trained(place, train):
    """An experiment of a family, trained once."""

    def of(family):
        path = place / "experiments" / f"{family}_alike"
        return path if path.exists() else train(family, path.name, "alike")

    return of


def inferred(place, monkeypatch, path, store, *arguments):
    out = place / f"out_{len(list(place.glob('out_*')))}"
    monkeypatch.setattr(sys, "argv", ["infer", str(path), str(place / store), str(out), "--device", "cpu", *arguments])
    run_inference(parse_inference(None))
    return json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize("family", ["hmm", "dynemo", "csm"])
def test_weights_learnt_from_data_prepared_otherwise_are_refused_unless_allowed(place, trained, train, family):
    path = str(trained(family))
    with pytest.raises(DataError, match=REFUSED):
        train(family, f"{family}_refused", "raw", "--pretrained", path)
    with pytest.warns(DataWarning, match=REFUSED):
        allowed = train(family, f"{family}_allowed", "raw", "--pretrained", path, "--other_preparation", "allow")
    assert json.loads((allowed / "parameters_latest.json").read_text())["trainer"]["other_preparation"] == "allow"
    train(family, f"{family}_continued", "alike", "--pretrained", path)


def test_modes_of_states_learnt_from_data_prepared_otherwise_are_refused(trained, train):
    with pytest.raises(DataError, match=REFUSED):
        train("dynemo", "from_states", "raw", "--initialization.from", str(trained("hmm")))


def test_a_decoder_on_a_backbone_of_data_prepared_otherwise_is_refused(trained, train):
    with pytest.raises(DataError, match=REFUSED):
        train("decoding", "decoder", "raw", "--pretrained", str(trained("csm")), "--model.target", "trial_type")


def test_decoding_of_data_prepared_otherwise_is_refused(place, train, monkeypatch):
    path = train("decoding", "linear", "alike", "--model.target", "trial_type")
    with pytest.raises(DataError, match=REFUSED):
        inferred(place, monkeypatch, path, "raw.hdf5")


def test_inference_and_features_refuse_data_prepared_otherwise_unless_allowed(place, trained, monkeypatch):
    path = trained("hmm")
    with pytest.raises(DataError, match=REFUSED):
        inferred(place, monkeypatch, path, "raw.hdf5")
    with pytest.warns(DataWarning, match=REFUSED):
        summary = inferred(place, monkeypatch, path, "raw.hdf5", "--other_preparation", "allow")
    assert any(REFUSED in one for one in summary["other_preparation"])
    assert inferred(place, monkeypatch, path, "alike.hdf5")["other_preparation"] == []
    arguments = [trained("csm"), place / "raw.hdf5", place / "features", "--device", "cpu"]
    with pytest.raises(DataError, match=REFUSED):
        run_extraction(parse_extraction(None, [str(one) for one in arguments]))
    experiment = load_experiment(path)
    with pytest.raises(DataError, match=REFUSED):
        next(experiment.infer(place / "raw.hdf5"))
    with pytest.raises(DataError, match=REFUSED):
        experiment.open(MultiSubjectDataset(place / "raw.hdf5"))
    with pytest.raises(DataError, match="typical standard deviation"):
        experiment.open(np.random.default_rng(0).normal(size=(100, 3)) * 500)
    with pytest.warns(DataWarning, match=REFUSED):
        next(experiment.infer(place / "raw.hdf5", other_preparation="allow"))


def test_inference_takes_the_subsets_that_the_training_drew(place, train, monkeypatch):
    path = train("hmm", "fold", "alike", "--dataset.folds", "5", "--dataset.fold", "1")
    drawn = json.loads((path / "parameters_latest.json").read_text())["dataset"]["subsets"]
    assert drawn["validation"]["subjects"] != ["sub-5"]
    with pytest.warns(DataWarning, match="subsets are those that the training has drawn"):
        summary = inferred(place, monkeypatch, path, "alike.hdf5")
    assert summary["subsets"] == {name: one["subjects"] for name, one in drawn.items()}
    own = json.loads((path / "summary.json").read_text())["free_energy"]
    assert summary["free_energy"]["validation"] == pytest.approx(own["validation"], abs=1e-6)
    assert summary["subjects_seen_in_training"] == {"training": [], "validation": [], "testing": []}
    with pytest.warns(DataWarning, match="1 of 1 validation subjects .sub-5. were among those that the model was trai"):
        summary = inferred(place, monkeypatch, path, "alike.hdf5", "--subsets_of", "store")
    assert summary["subsets"]["validation"] == ["sub-5"]
    assert summary["subjects_seen_in_training"]["validation"] == ["sub-5"]
    assert "training_information_criteria" not in summary
    alone = train("hmm", "few", "alike", "--dataset.n_training_subjects", "2")
    with pytest.warns(DataWarning, match="2 of the store's subjects stand in none of them and are left out"):
        assert len(inferred(place, monkeypatch, alone, "alike.hdf5")["subsets"]["training"]) == 2


def test_a_store_is_opened_once_for_a_model_whatever_it_reads(place, train, monkeypatch):
    trained = train("hmm", "opened", "alike", "--dataset.n_embeddings", "3", "--dataset.n_components", "2")
    opened = []

    class Counted(Store):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr("dynml.dataset.dataset.Store", Counted)
    dataset = load_experiment(trained).open(place / "alike.hdf5")
    assert (dataset.n_channels, len(opened)) == (2, 1)


def test_a_subject_too_short_for_the_embedding_stops_nobody_else(place, train, monkeypatch):
    """It is named, by a warning and in the results, and the others come to what they come to without it."""
    path = train("hmm", "embedded", "alike", "--dataset.n_embeddings", "9", "--dataset.n_components", "3")
    without = inferred(place, monkeypatch, path, "alike.hdf5")
    assert without["left_out"] == []
    signals = np.load(place / "ready" / "sub-1" / "run.npy")
    (place / "ready" / "sub-7").mkdir()
    np.save(place / "ready" / "sub-7" / "run.npy", signals[:9])
    (place / "ready" / "sub-7" / "events.tsv").write_text("onset\tduration\ttrial_type\n0\t0.02\ta\n")
    files = {name: place / f"{name}.txt" for name in ("training", "validation")}
    (place / "longer.txt").write_text("sub-6\nsub-7\n")
    create_store(place / "ready", place / "short.hdf5", place / "alike.json", files | {"testing": place / "longer.txt"})
    named = r"1 of 7 subjects have no segment of at least 10 samples, .* and are left out \(sub-7\)"
    with pytest.warns(DataWarning, match=named):
        summary = inferred(place, monkeypatch, path, "short.hdf5")
    assert summary["left_out"] == ["sub-7"]
    assert summary["free_energy"] == without["free_energy"]
    with pytest.warns(DataWarning, match=named):
        again = train("hmm", "with_short", "short", "--dataset.n_embeddings", "9", "--dataset.n_components", "3")
    assert json.loads((again / "parameters_latest.json").read_text())["dataset"]["left_out"] == ["sub-7"]
    with pytest.raises(DataError, match="Subject testing-1, .* needs a segment of at least 10 samples"):
        # A place in a list stands for a subject: what is left out there would give others its results.
        MultiSubjectDataset.from_arrays(
            [signals, signals[::-1].copy()],
            testing=[signals[::2].copy(), signals[:9]],
            standardization="none",
            config=DatasetConfig(n_embeddings=9),
        )
