"""What dynml_extract_features.py writes, and what it refuses."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dynml import MultiSubjectDataset, load_experiment
from dynml.cli.commands.results.extract_features import parse_extraction, run_extraction
from dynml.conversion.creation import create_store
from dynml.errors import ConfigurationError, DataError, DataWarning, DynmlError
from dynml.models.sequence.config import CsmConfig, SequenceBertConfig
from dynml.models.sequence.decoding.config import DecodingConfig
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.windows import Windows
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

ROOT = Path(__file__).parents[2]
N_SAMPLES, N_CHANNELS, D = 60, 3, 16


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store of three subjects with events, and experiments of random weights."""
    folder = tmp_path_factory.mktemp("features")
    generator = np.random.default_rng(0)
    for subject in ("sub-a", "sub-b", "sub-c"):
        (folder / "ready" / subject).mkdir(parents=True)
        for run in (1, 2):
            own = folder / "ready" / subject / f"run-{run}"
            np.save(f"{own}.npy", generator.normal(size=(N_SAMPLES, N_CHANNELS)))
            lines = [f"{4 + 10 * k}\t{3 + k % 2}\t{('house', 'face')[k % 2]}" for k in range(3)]
            Path(f"{own}_events.tsv").write_text("\n".join(["onset\tduration\tstimulus", *lines]) + "\n")
    group = {"type": "timeseries", "files": ["run-*.npy"], "events": "run-*_events.tsv", "sampling_frequency": 2.0}
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    lists = {"training": "sub-a\nsub-b\n", "validation": "", "testing": "sub-c\n"}
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text)
    create_store(
        folder / "ready",
        folder / "store.hdf5",
        folder / "config.json",
        {name: folder / f"{name}.txt" for name in lists},
    )
    dataset = MultiSubjectDataset(folder / "store.hdf5")
    sizes = {"embedding_dim": D, "n_layers": 2, "n_heads": 2, "n_positions": 64}
    for name, config_class, model_class in (("csm", CsmConfig, Csm), ("bert", SequenceBertConfig, SequenceBert)):
        config = settled_model(config_class(**sizes), dataset)
        save(folder / name, {"csm": "csm", "bert": "sequence_bert"}[name], model_class(config, N_CHANNELS), dataset)
    settled = {"target": "stimulus", "class_names": ["face", "house"], "class_counts": [4, 8], "trial_length": 8}
    decoder = Decoding(DecodingConfig(backbone="linear", **settled), N_CHANNELS)
    save(folder / "linear", "decoding", decoder, dataset, trials="stimulus", onset_shift=1.0, trial_length=None)
    return folder


def save(path, family, model, dataset, **sampler):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    parameters = {
        "family": family,
        "model": {key: value for key, value in vars(model.config).items() if value is not None},
        "sampler": sampler or {"window_length": 20},
        "dataset": dataset.describe(),
    }
    folder = ExperimentFolder(path.parent, path.name)
    folder.save_best_model(model.state_dict(), parameters, {"best_epoch": None, "best_value": None})
    folder.save_parameters(parameters)


def extract(place, experiment, out, *arguments):
    words = [place / experiment, place / "store.hdf5", out, "--device", "cpu", *arguments]
    run_extraction(parse_extraction("", list(map(str, words))))


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_a_folder_has_vectors_states_maps_and_pictures(place, tmp_path, capsys):
    out = tmp_path / "out"
    extract(place, "csm", out, "--per_sample", "--attribution", "gradient_x_input", "--attention")
    assert "18 windows of 3 subjects became vectors of 16 numbers (mean; participants)" in capsys.readouterr().out
    rows = table(out / "windows.tsv")
    assert list(rows[0]) == ["subset", "subject", "participant", "window", "run", "segment", "start", "stop"]
    places = [(row["window"], row["run"], row["segment"], row["start"], row["stop"]) for row in rows[:6]]
    assert places == [
        *((str(k), "run-1", "0", str(20 * k), str(20 * k + 20)) for k in range(3)),
        *((str(k), "run-2", "1", str(20 * k), str(20 * k + 20)) for k in range(3, 6)),
    ]
    assert [row["subset"] for row in rows] == ["training"] * 12 + ["testing"] * 6
    model, dataset = load_experiment(place / "csm").model, MultiSubjectDataset(place / "store.hdf5")
    dataset.load_data()
    for subset, index, subject in (("training", 1, "sub-b"), ("testing", 0, "sub-c")):
        vectors = np.load(out / f"{subject}_embeddings.npy")
        states = np.load(out / f"{subject}_states.npy")
        assert (vectors.shape, states.shape, vectors.dtype) == ((6, D), (2 * N_SAMPLES, D), np.float32)
        signals = dataset.subset(subset).read(index, 0, 20)[None]
        windows = Windows(signals, torch.ones(1, 20, dtype=bool), torch.arange(20.0)[None] / 2, torch.zeros(1).long())
        with torch.no_grad():
            expected = model.states(windows)[0]
        np.testing.assert_allclose(vectors[0], expected.mean(dim=0), atol=1e-5)
        np.testing.assert_allclose(states[:20], expected, atol=1e-5)
    assert np.load(out / "attribution_maps.npy").shape == (1, N_CHANNELS, 20)
    assert np.load(out / "attribution_times.npy").tolist() == list(range(-19, 1))
    networks = table(out / "attribution_networks.tsv")
    assert [row["network"] for row in networks] == list(dataset.channel_names)
    assert all(float(row["mean_size_all windows"]) > 0 for row in networks)
    assert np.load(out / "attention_profiles.npy").shape == (2, 2, 20)
    lags = table(out / "attention_lags.tsv")
    assert [row["lag"] for row in lags] == [str(lag) for lag in range(-19, 1)]
    assert set(lags[0]) == {"lag", "equal", *(f"layer_{i}_head_{j}" for i in (1, 2) for j in (1, 2))}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["embedding"] == "mean"
    assert summary["cut"] == {"window_length": 20}
    assert summary["n_embeddings"] == {"training": 12, "testing": 6}
    assert summary["attribution"]["groups"] == {"all windows": 18}
    assert summary["attribution"]["times_since"] == "predicted sample"
    for name in ("attribution_maps", "attribution_networks", "attention_lags"):
        content = (out / f"{name}.png").read_bytes()
        assert content[:4] == b"\x89PNG"
        assert len(content) > 5000


def test_a_file_has_the_same_as_a_folder(place, tmp_path):
    arguments = ("--subset", "testing", "--attribution")
    extract(place, "linear", tmp_path / "folder", *arguments)
    extract(place, "linear", tmp_path / "out.h5", *arguments)
    rows, vectors = table(tmp_path / "folder" / "trials.tsv"), np.load(tmp_path / "folder" / "sub-c_embeddings.npy")
    assert [row["label"] for row in rows] == ["house", "face", "house"] * 2
    assert [row["trial"] for row in rows] == ["0", "1", "2"] * 2
    assert [int(row["start"]) for row in rows] == [10, 30, 50, 70, 90, 110]
    assert [int(row["stop"]) - int(row["start"]) for row in rows[:2]] == [6, 8]
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["embeddings"], vectors)
        names = file["label"].attrs["names"]
        assert [names[code] for code in file["label"]] == [row["label"] for row in rows]
        for name in ("subset", "subject", "participant", "run"):
            assert file[name].asstr()[:].tolist() == [row[name] for row in rows]
        for name in ("trial", "segment", "start", "stop"):
            assert file[name][:].tolist() == [int(row[name]) for row in rows]
        maps = np.load(tmp_path / "folder" / "attribution_maps.npy")
        np.testing.assert_array_equal(file["attribution/maps"], maps)
        assert file["attribution/networks/network"].asstr()[0] == "channel_0"
        summary = json.loads(file.attrs["summary"])
    of_folder = json.loads((tmp_path / "folder" / "summary.json").read_text())
    pictures = of_folder.pop("pictures")
    assert all((tmp_path / "folder" / one["path"]).is_file() and one["alt"] for one in pictures)
    assert summary == of_folder
    assert summary["cut"] == {"trials": "stimulus", "onset_shift": 1.0}
    assert summary["attribution"]["groups"] == {"face": 2, "house": 4}
    assert summary["attribution"]["unexplained_share"] < 1e-3
    assert maps.shape == (2, N_CHANNELS, 8)
    assert np.isnan(maps[1, :, 6:]).all()
    assert np.isfinite(maps[0]).all()
    assert (tmp_path / "out_attribution_maps.png").stat().st_size > 5000
    assert (tmp_path / "out_attribution_networks.png").stat().st_size > 5000


def test_trials_of_an_unlabelled_family_have_labels(place, tmp_path):
    extract(place, "bert", tmp_path / "out", "--trials", "stimulus", "--onset_shift", "0.5", "--trial_length", "5")
    rows = table(tmp_path / "out" / "trials.tsv")
    assert {int(row["stop"]) - int(row["start"]) for row in rows} == {5}
    assert [(row["start"], row["label"]) for row in rows[:2]] == [("9", "house"), ("29", "face")]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cut"] == {"trials": "stimulus", "onset_shift": 0.5, "trial_length": 5}


def test_windows_beyond_the_training_are_remarked_and_those_beyond_the_positions_refused(place, tmp_path):
    with pytest.warns(DataWarning, match="Windows of 30 samples are longer than those of the training \\(20\\)"):
        extract(place, "csm", tmp_path / "long", "--window_length", "30")
    with pytest.raises(ConfigurationError, match="--window_length is 70, but must be at most 61 samples"):
        extract(place, "csm", tmp_path / "longer", "--window_length", "70")
    assert not (tmp_path / "longer").exists()


def test_mistakes_leave_nothing_behind(place, tmp_path):
    for arguments, kind, words in (
        (("csm", "--pooling", "class_token"), ConfigurationError, "the class token of this model was never trained"),
        (("linear", "--per_sample"), ConfigurationError, "--per_sample is True"),
        (("linear", "--attention"), ConfigurationError, "has no attention"),
        (("csm", "--trials", "stimulos"), DataError, "did you mean 'stimulus'"),
        (("csm", "--trial_length", "4"), ConfigurationError, "--trial_length is 4"),
        (("csm", "--subset", "validation"), DataError, "There are no windows in the validation subset"),
    ):
        name, *options = arguments
        with pytest.raises(kind, match=words):
            extract(place, name, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    (tmp_path / "old.hdf5").write_text("mine")
    with pytest.raises(DynmlError, match="is not empty; give another one, or -f"):
        extract(place, "csm", tmp_path / "full")
    with pytest.raises(DynmlError, match="old.hdf5 exists already; use -f"):
        extract(place, "csm", tmp_path / "old.hdf5")
    with pytest.raises(DynmlError, match="OUT must be a folder, or end in .hdf5 or .h5"):
        extract(place, "csm", tmp_path / "full" / "mine.txt")
    with pytest.raises(DynmlError, match="old.hdf5 holds no features that dynml extracted"):
        extract(place, "csm", tmp_path / "old.hdf5", "-f")
    assert (tmp_path / "old.hdf5").read_text() == "mine"
    extract(place, "csm", tmp_path / "older.hdf5", "--subset", "training")
    extract(place, "csm", tmp_path / "older.hdf5", "-f", "--subset", "testing")
    with h5py.File(tmp_path / "older.hdf5") as file:
        assert file["embeddings"].shape == (6, D)


def test_the_script_speaks_in_one_sentence(place, tmp_path):
    script = ROOT / "scripts_python" / "dynml_extract_features.py"
    command = [sys.executable, str(script), str(place / "csm"), str(place / "store.hdf5"), str(tmp_path)]
    (tmp_path / "there").touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == f"Error: The folder {tmp_path} is not empty; give another one, or -f to overwrite."
    done = subprocess.run([*command, "--attribution", "magic"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "magic" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
