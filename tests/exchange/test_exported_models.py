"""A model that is given away: nobody is named in it, and others apply it to recordings of their own."""

import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from decoding_data import dataset_of
from running_scripts import run_here

from dynml import Decoder, load_experiment
from dynml.conversion.creation import create_store
from dynml.conversion.extension import apply_preparation
from dynml.conversion.joining import join_stores
from dynml.conversion.subset_drawing import Draw
from dynml.errors import CheckpointError, DataError, DynmlError
from dynml.exchange.exported.exporting import About, export_experiment
from dynml.exchange.exported.hub import pull, push
from dynml.exchange.exported.privacy import People
from dynml.store.reading import Store

EXPORT, INFER, APPLY, TRAIN = (
    "dynml_export_model.py",
    "dynml_infer_from_model.py",
    "dynml_apply_preparation.py",
    "dynml_train_model.py",
)
NAMES = {"training": ["anna-meier", "b07"], "validation": ["cem"], "testing": ["7"]}
STEPS = [
    {"step": "sign_alignment", "n_embeddings": 3, "template": "b07"},
    {"step": "time_delay_embedding_pca", "n_embeddings": 3, "n_components": 4},
]
SETTINGS = {
    "hmm": "--model.n_states 2 --initialization.n_init 1 --trainer.max_epochs 3",
    "dynemo": "--model.n_modes 2 --model.sequence_length 20 --model.inference_n_units 8 --model.model_n_units 8 "
    "--model.n_kl_annealing_epochs 1 --trainer.max_epochs 1 --initialization.method random --dataset.n_components 3",
    "csm": "--model.embedding_dim 8 --model.n_layers 1 --model.n_heads 1 --sampler.window_length 16 "
    "--trainer.max_epochs 1",
}
SMALL = {family: settings.split() for family, settings in SETTINGS.items()}


def recordings_of(folder, names, seed):
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(5, 5))
    for name in names:
        (folder / name).mkdir(parents=True)
        signals = np.cumsum(generator.normal(size=(300, 5)), axis=0) @ mixing
        np.save(folder / name / "run-1.npy", (signals - signals.mean(axis=0)).astype(np.float32))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A store of named people, by a path that names another, and a model of each family trained on it."""
    folder = tmp_path_factory.mktemp("home-of-dora")
    recordings_of(folder / "ready", [name for names in NAMES.values() for name in names], seed=0)
    for subset, names in NAMES.items():
        (folder / f"{subset}.txt").write_text("\n".join(names))
    section = {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 100.0}
    (folder / "config.json").write_text(json.dumps({"signals": section | {"preparation": STEPS}}))
    lists = {subset: folder / f"{subset}.txt" for subset in NAMES}
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", lists)
    (folder / "experiments").mkdir()
    for family, settings in SMALL.items():
        run_here(TRAIN, family, folder / "experiments", family, folder / "store.hdf5", "signals", *settings)
    return folder


@pytest.fixture(scope="module")
def exported(study):
    for family in SMALL:
        export_experiment(study / "experiments" / family, study / "given" / family, about=About(licence="cc-by-4.0"))
    return study / "given"


def assert_nobody_is_named(folder, *further):
    for path in folder.iterdir():
        content = path.read_bytes()
        for name in ("anna-meier", "b07", '"cem"', '"7"', "home-of-dora", "store.hdf5", *further):
            assert name.encode() not in content, (path, name)


@pytest.mark.parametrize("family", SMALL)
def test_names_nobody_and_says_the_same_of_recordings_as_the_experiment(study, exported, tmp_path, family):
    assert_nobody_is_named(exported / family, str(study))
    away = tmp_path / "elsewhere"
    shutil.copytree(exported / family, away)
    given, own = load_experiment(away), load_experiment(study / "experiments" / family)
    for name, tensor in own.model.state_dict().items():
        torch.testing.assert_close(given.model.state_dict()[name], tensor, rtol=0, atol=0)
    if own.family.inference is not None:
        pairs = zip(given.infer(study / "store.hdf5"), own.infer(study / "store.hdf5"), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one.alpha, other.alpha)
    else:
        run_here(INFER, away, study / "store.hdf5", tmp_path / "results")
    card = (away / "README.md").read_text()
    for words in ('license: "cc-by-4.0"', "| training | 2 |", "sign_alignment", "## Scores"):
        assert words in card
    assert ("input_transform.safetensors" in [path.name for path in away.iterdir()]) == (family == "dynemo")


def test_its_preparation_does_to_new_recordings_what_the_store_does(study, exported, tmp_path):
    recordings_of(tmp_path / "new", ["erin"], seed=5)
    run_here(APPLY, exported / "hmm", tmp_path / "new", tmp_path / "by_model.hdf5")
    apply_preparation(study / "store.hdf5", tmp_path / "new", tmp_path / "by_store.hdf5")
    with Store(tmp_path / "by_model.hdf5") as one, Store(tmp_path / "by_store.hdf5") as other:
        np.testing.assert_array_equal(one.read("erin", "signals"), other.read("erin", "signals"))
    printed = run_here(INFER, exported / "hmm", tmp_path / "by_model.hdf5", tmp_path / "results")
    assert "1 subjects inferred" in printed.stdout
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert summary["other_preparation"] == []
    by_experiment = next(load_experiment(study / "experiments" / "hmm").infer(tmp_path / "by_store.hdf5"))
    assert summary["free_energy"]["subjects"]["erin"] == by_experiment.free_energy


def test_a_model_of_several_groups_takes_the_preparation_of_each_along(tmp_path):
    steps = {
        "eeg": [{"step": "filter", "low_frequency": 1}],
        "meg": ["standardize", {"step": "sign_alignment", "n_embeddings": 3}],
    }
    recordings_of(tmp_path / "new", ["erin"], seed=5)
    for seed, (group, own) in enumerate(steps.items()):
        recordings_of(tmp_path / group, [f"{group}-{number}" for number in range(3)], seed=seed)
        section = {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 100.0, "preparation": own}
        (tmp_path / f"{group}.json").write_text(json.dumps({group: section}))
        draw = Draw(validation=0.34)
        create_store(tmp_path / group, tmp_path / f"{group}.hdf5", tmp_path / f"{group}.json", draw=draw)
        apply_preparation(tmp_path / f"{group}.hdf5", tmp_path / "new", tmp_path / f"{group}_by_store.hdf5")
    join_stores(tmp_path / "both.hdf5", [tmp_path / f"{group}.hdf5" for group in steps])
    several = ("--dataset.further_groups", "meg", "--model.channel_embedding", "name", *SMALL["csm"])
    run_here(TRAIN, "csm", tmp_path, "csm", tmp_path / "both.hdf5", "eeg", *several)
    run_here(EXPORT, tmp_path / "csm", tmp_path / "given")
    card = (tmp_path / "given" / "README.md").read_text()
    for words in ("of group `eeg` go through: filter", "of group `meg` go through: standardize", "--groups eeg"):
        assert words in card
    for group in steps:
        path = tmp_path / f"{group}_by_model.hdf5"
        run_here(APPLY, tmp_path / "given", tmp_path / "new", path, "--groups", group)
        with Store(path) as one, Store(tmp_path / f"{group}_by_store.hdf5") as other:
            np.testing.assert_array_equal(one.read("erin", group), other.read("erin", group))
        run_here(INFER, tmp_path / "given", path, tmp_path / f"results_{group}", "--group", group)


def test_files_of_another_name_are_given_by_their_pattern(exported, tmp_path):
    recordings_of(tmp_path / "new", ["erin"], seed=5)
    (tmp_path / "new" / "erin" / "run-1.npy").rename(tmp_path / "new" / "erin" / "meg.npy")
    run_here(APPLY, exported / "hmm", tmp_path / "new", tmp_path / "new.hdf5", "--files", "meg.npy")
    assert Store(tmp_path / "new.hdf5").read("erin", "signals").shape == (300, 4)


def test_training_starts_from_it_and_it_can_be_exported_again(study, exported, tmp_path):
    further = ("--pretrained", exported / "hmm", *SMALL["hmm"])
    run_here(TRAIN, "hmm", tmp_path, "further", study / "store.hdf5", "signals", *further)
    run_here(EXPORT, exported / "hmm", tmp_path / "again", "--title", "Again")
    for name in ("model.safetensors", "preparation.safetensors", "preparation.json"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / "hmm" / name).read_bytes()
    assert "# Again" in (tmp_path / "again" / "README.md").read_text()
    assert 'license: "cc-by-4.0"' in (tmp_path / "again" / "README.md").read_text()


def test_a_decoder_travels(tmp_path):
    names = ["anna-meier", "b07-x", "c", "d", "e", "f", "g"]
    dataset = dataset_of(names=names, n_training=3, n_validation=2, n_testing=1)
    trials = [dataset.signal_source.read(name, dataset.group) for name in dataset.subjects]
    X, y = np.stack([one[:96].reshape(8, 12, 4)[k] for one in trials for k in range(8)]), np.tile(["a", "b"], 24)
    people = np.repeat(dataset.subjects, 8)
    settings = {"trainer.inner_folds": 0, "model.linear_answer": "none"}
    decoder = Decoder(max_epochs=1, settings=settings, folder=tmp_path / "run").fit(X, y, groups=people)
    with pytest.warns(match="trained on arrays"):
        export_experiment(tmp_path / "run", tmp_path / "given")
    assert_nobody_is_named(tmp_path / "given", "sub-anna-meier", "sub-b07-x", str(tmp_path))
    given, own = load_experiment(tmp_path / "given"), decoder.experiment_
    assert given.model.config.class_names == own.model.config.class_names
    for name, tensor in own.model.state_dict().items():
        torch.testing.assert_close(given.model.state_dict()[name], tensor, rtol=0, atol=0)


def test_faults_are_one_sentence(study, exported, tmp_path):
    done = run_here(EXPORT, study / "experiments" / "hmm", exported / "hmm", status=2)
    assert "exists already" in done.stderr
    (study / "store.hdf5").rename(study / "moved.hdf5")
    try:
        done = run_here(EXPORT, study / "experiments" / "hmm", tmp_path / "out", status=2)
        assert "--hdf5" in done.stderr
        run_here(EXPORT, study / "experiments" / "hmm", tmp_path / "out", "--hdf5", study / "moved.hdf5")
        run_here(EXPORT, study / "experiments" / "hmm", tmp_path / "bare", "--without_preparation")
    finally:
        (study / "moved.hdf5").rename(study / "store.hdf5")
    with pytest.raises(DataError, match="without the preparation"):
        apply_preparation(tmp_path / "bare", tmp_path, tmp_path / "new.hdf5")
    with pytest.raises(DataError, match=r"hmm is an experiment, .*: give the store .* or .* dynml_export_model\.py"):
        apply_preparation(study / "experiments" / "hmm", tmp_path, tmp_path / "new.hdf5")
    with pytest.raises(DataError, match="neither a store nor an exported model"):
        apply_preparation(study / "experiments", tmp_path, tmp_path / "new.hdf5")
    weights = tmp_path / "bare" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match="checksum"):
        load_experiment(tmp_path / "bare")
    with pytest.raises(CheckpointError, match="latest"):
        load_experiment(exported / "hmm", latest=True)


def test_names_are_told_from_words_that_hold_them():
    people = People(["ann", "12", "x"])
    plain = {"a": "planner", "ann": 1, "b": ["ann", "run of ann", "x", "box"], "c": "12", "channel_names": ["ann"]}
    assert people.left_out(plain) == {"a": "planner", "b": ["box"], "channel_names": ["ann"]}
    moved = {"a": "/home/ann-lee/atlas.nii", "b": "C:\\data\\atlas.nii", "variable": "/signals/data", "d": "../x.nii"}
    kept = People([]).left_out(moved)
    assert kept == {"a": "atlas.nii", "b": "atlas.nii", "variable": "/signals/data", "d": "x.nii"}


@pytest.fixture
def local_hub(monkeypatch, tmp_path):
    """huggingface_hub with a folder in place of the network."""
    hub = tmp_path / "hub"

    def matching(folder, patterns):
        return [path for pattern in patterns for path in Path(folder).glob(pattern)]

    class HfApi:
        def create_repo(self, name, *, private, exist_ok):
            (hub / name).mkdir(parents=True, exist_ok=exist_ok)
            (hub / f"{name}.private").write_text(str(private))

        def upload_folder(self, *, repo_id, folder_path, allow_patterns):
            for path in matching(folder_path, allow_patterns):
                shutil.copy(path, hub / repo_id)

    def snapshot_download(name, *, local_dir, allow_patterns):
        if not (hub / name).is_dir():
            raise RuntimeError("404 Client Error.")
        (Path(local_dir) / ".cache").mkdir(parents=True)
        for path in matching(hub / name, allow_patterns):
            shutil.copy(path, local_dir)
        return local_dir

    module = types.ModuleType("huggingface_hub")
    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return hub


def test_goes_to_a_hub_and_comes_back(exported, local_hub, tmp_path):
    assert push(exported / "hmm", "ann/rest", public=False) == "https://huggingface.co/ann/rest"
    assert (local_hub / "ann" / "rest.private").read_text() == "True"
    (local_hub / "ann" / "rest" / "secret.txt").write_text("not ours")
    run_here(EXPORT, "hf://ann/rest", tmp_path / "back")
    assert {path.name for path in (tmp_path / "back").iterdir()} == {path.name for path in (exported / "hmm").iterdir()}
    assert load_experiment(tmp_path / "back").sha256 == load_experiment(exported / "hmm").sha256
    with pytest.raises(DynmlError, match="ann/other could not be pulled: 404 Client Error"):
        pull("hf://ann/other", tmp_path / "other")
    (local_hub / "ann" / "rest" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"model\.safetensors has 7 bytes"):
        pull("hf://ann/rest", tmp_path / "damaged")
    assert not (tmp_path / "damaged").exists()


def test_says_how_to_install_the_hub(exported, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DynmlError, match=r"dynml\[hub\]"):
        pull("hf://ann/rest", tmp_path / "back")
