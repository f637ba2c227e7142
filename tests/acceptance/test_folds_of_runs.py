"""Cross-validation over the runs of few people, on components that each fold fits anew."""

import json

import numpy as np
import pytest
import torch
from running_scripts import SCRIPTS, run_script
from safetensors.torch import load_file
from sklearn.decomposition import PCA

from dynml import MultiSubjectDataset, load_experiment
from dynml.conversion.creation import create_store
from dynml.dataset.config import DatasetConfig
from dynml.simulation import simulate_hmm
from dynml.store.reading import Store

RUNS = [f"sub-{person}_run-{run}" for person in (1, 2) for run in range(4)]
assert SCRIPTS


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two people with four runs each, of which one run of each is for testing."""
    folder = tmp_path_factory.mktemp("runs")
    simulated = simulate_hmm(n_subjects=len(RUNS), n_samples=600, n_states=2, n_channels=6, seed=5)
    for name, series in zip(RUNS, simulated.time_series):
        (folder / "ready" / name).mkdir(parents=True)
        np.save(folder / "ready" / name / "run.npy", series)
    config = {
        "signals": {"type": "timeseries", "files": ["run.npy"], "sampling_frequency": 100},
        "split": "runs",
        "participants": {name: name.split("_")[0] for name in RUNS},
    }
    (folder / "config.json").write_text(json.dumps(config))
    subsets = {"training": RUNS[0:2] + RUNS[4:6], "validation": [RUNS[2], RUNS[6]], "testing": [RUNS[3], RUNS[7]]}
    lists = {}
    for subset, names in subsets.items():
        lists[subset] = folder / f"{subset}.txt"
        lists[subset].write_text("".join(f"{name}\n" for name in names))
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", lists)
    return folder / "store.hdf5"


def dataset_of(store, residency="memory", **settings):
    dataset = MultiSubjectDataset(store, residency, config=DatasetConfig(**settings))
    dataset.load_data()
    return dataset


def components_by_sklearn(store, subjects, n_components):
    with Store(store) as opened:
        fitted = PCA(n_components).fit(np.concatenate([opened.read(name, "signals") for name in subjects]))
    return fitted.components_.T, fitted.explained_variance_


def test_each_run_is_held_out_once_and_people_are_in_every_fold(store):
    held_out = []
    for fold in range(3):
        dataset = dataset_of(store, folds=3, fold=fold)
        assert dataset.split == dataset.describe()["split"] == "runs"
        assert dataset.testing_set.subjects == [RUNS[3], RUNS[7]]
        assert sorted(dataset.validation_set.participants) == ["sub-1", "sub-2"]
        assert not set(dataset.training_set.subjects) & set(dataset.validation_set.subjects)
        assert len(dataset.training_set.subjects) == 4
        held_out += dataset.validation_set.subjects
    assert sorted(held_out) == sorted({*RUNS} - {RUNS[3], RUNS[7]})


@pytest.mark.parametrize("residency", ["memory", "lazy"])
@pytest.mark.parametrize("settings", [{}, {"whiten": True}, {"standardize_components": True}])
def test_components_are_those_of_sklearn_of_the_folds_training_runs(store, residency, settings):
    dataset = dataset_of(store, residency, folds=3, fold=1, n_components=3, **settings)
    components, variances = components_by_sklearn(store, dataset.training_set.subjects, 3)
    assert dataset.n_channels == 3
    for subset in (dataset.training_set, dataset.validation_set, dataset.testing_set):
        for number, subject in enumerate(subset.subjects):
            with Store(store) as opened:
                expected = opened.read(subject, "signals").astype(np.float64) @ components
            expected -= expected.mean(axis=0)
            if settings:
                expected /= expected.std(axis=0) if "standardize_components" in settings else np.sqrt(variances)
            found = subset.read(number, 0, 600).numpy()
            signs = np.sign((found * expected).sum(axis=0))
            # sklearn divides by n - 1.
            np.testing.assert_allclose(found, expected * signs, rtol=5e-4, atol=2e-4)


def test_components_in_memory_are_those_made_when_they_are_read(store):
    plain, cached = (dataset_of(store, n_components=2, cache_embedded=cached) for cached in (False, True))
    assert torch.allclose(plain.training_set.read(1, 5, 400), cached.training_set.read(1, 5, 400), atol=1e-6)


def test_a_fold_on_components_is_trained_resumed_and_inferred_by_script(store, tmp_path):
    settings = ["--model.n_states", 2, "--dataset.folds", 3, "--dataset.fold", 1, "--dataset.n_components", 3]
    settings += ["--trainer.progress", "false", "--trainer.patience", 50]
    train = ["dynml_train_model.py", "hmm", tmp_path]
    run_script(*train, "whole", store, "signals", *settings, "--trainer.max_epochs", 4)
    run_script(*train, "parts", store, "signals", *settings, "--trainer.max_epochs", 2)
    run_script("dynml_resume_training_from_checkpoint.py", tmp_path, "parts", "--new_max_epochs", 4)
    whole, parts = (load_file(tmp_path / name / "best_model" / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)

    described = json.loads((tmp_path / "whole" / "parameters_latest.json").read_text())
    text = json.dumps(described)
    assert '"split": "runs"' in text
    dataset = dataset_of(store, folds=3, fold=1)
    experiment = load_experiment(tmp_path / "whole")
    expected, _ = components_by_sklearn(store, dataset.training_set.subjects, 3)
    found = experiment.embedding.components
    np.testing.assert_allclose(np.abs(found.T @ expected), np.eye(3), atol=1e-4)

    run_script("dynml_infer_from_model.py", tmp_path / "whole", store, tmp_path / "out")
    trained, inferred = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "out"))
    for subset in ("training", "validation"):
        assert inferred["free_energy"][subset] == pytest.approx(trained["free_energy"][subset], abs=1e-5)
    alpha = np.load(tmp_path / "out" / f"{RUNS[0]}_alpha.npy")
    assert alpha.shape == (600, 2)
    assert np.isfinite(alpha).all()
