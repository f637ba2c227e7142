"""Made-up experiments and results for reports: folders as a run leaves them, without the run."""

import json

import numpy as np

from dynml.analysis.state_statistics import state_statistics, write_state_statistics
from dynml.files import read_json
from dynml.training.checkpoints.committed import commit_directory

CHANNELS = ["Frontal Pole", "Cuneal Cortex", "Planum Polare"]
SUBSETS = {"training": ["sub-1", "sub-2"], "validation": ["sub-3"], "testing": ["sub-4"]}
HMM_SUMMARY = {
    "family": "hmm",
    "stopping_reason": "converged",
    "epochs": 4,
    "best_epoch": 4,
    "monitored": "validation_loss",
    "best_value": 3.0,
    "loss": "free_energy",
    "split": "participants",
    "seconds": {"training": 2.0},
    "free_energy": {"training": 2.5, "validation": 3.0},
    "baselines": {
        "gaussian": {"training": 3.5, "validation": 3.6},
        "gaussian_mixture": {"training": 3.1, "validation": 3.25},
    },
    "starts": [
        {"objective": 2.7, "free_energy": 2.6, "divergence_from_best": 0.8},
        {"objective": 2.5, "free_energy": 2.4, "divergence_from_best": 0.0},
        {"objective": 2.50001, "free_energy": 2.4, "divergence_from_best": 0.001},
    ],
    "findings": [],
}


def parameters_of(family="hmm", subsets=SUBSETS, **changes):
    """The parts of parameters.json that a report reads."""

    def subset(names):
        about = {"n_subjects": len(names), "n_participants": len(names), "n_segments": len(names)}
        return about | {"n_samples": 200 * len(names), "n_masked": 0, "subjects": names, "fingerprint": "f" * 8}

    return {
        "family": family,
        "model": {"n_states": 2, "learn_means": True, "covariance_type": "full"},
        "initialization": {"n_init": 3, "agreement": 1e-4},
        "trainer": {"seed": 7},
        "environment": {"dynml": "0.1.0", "python": "3.11"},
        "dataset": {
            "hdf5_file": "store.hdf5",
            "group": "signals",
            "fingerprint": "abc",
            "n_channels": len(CHANNELS),
            "channel_names": CHANNELS,
            "sampling_frequencies": [100.0],
            "split": "participants",
            "config": {},
            "preparation": {"standardization": "per_run", "steps": [{"step": "detrend"}], "settings": {}},
            "subsets": {name: subset(names) for name, names in subsets.items()},
        },
        "pretrained": None,
        **changes,
    }


def made_experiment(path, summary=HMM_SUMMARY, parameters=None, *, n_epochs=4, model=True):
    """Write the folder of a run; without a summary it has not finished."""
    parameters = parameters or parameters_of()
    (path / "logs").mkdir(parents=True)
    (path / "parameters_latest.json").write_text(json.dumps(parameters))
    for name in ("training_loss", "validation_loss") if n_epochs else ():
        np.save(path / "logs" / f"{name}_per_epoch.npy", 3.0 + 1.0 / np.arange(1, n_epochs + 1))
    if model:

        def write(folder):
            (folder / "model.safetensors").write_bytes(b"weights")
            (folder / "parameters.json").write_text(json.dumps(parameters))

        commit_directory(path / "best_model", write, {"best_epoch": n_epochs})
    if summary is not None:
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def made_inference(path, experiment, subsets=SUBSETS, *, n_samples=200, shares=(0.6, 0.4), findings=()):
    """Write what dynml_infer_from_model.py does: states in turns, those with a share of 0 never."""
    path.mkdir(parents=True)
    generator = np.random.default_rng(0)
    statistics, energies = {}, {}
    for names in subsets.values():
        for subject in names:
            states = np.repeat(generator.choice(len(shares), n_samples // 10, p=shares), 10)
            alpha = np.eye(len(shares), dtype=np.float32)[states]
            np.save(path / f"{subject}_alpha.npy", alpha)
            statistics[subject] = state_statistics(alpha, None, 100.0)
            energies[subject] = float(generator.uniform(2.5, 3.5))
    write_state_statistics(path / "state_statistics.tsv", statistics)
    covariances = np.stack([np.eye(len(CHANNELS)) + 0.3 * (1 + k) for k in range(len(shares))])
    np.save(path / "covariances.npy", covariances)
    np.save(path / "means.npy", generator.normal(size=(len(shares), len(CHANNELS))))
    np.save(path / "transition_probabilities.npy", np.full((len(shares), len(shares)), 1 / len(shares)))
    manifest = read_json(experiment / "best_model" / "manifest.json")
    summary = {
        "free_energy": {"training": 2.5, "validation": 3.0, "testing": 3.1, "subjects": energies},
        "experiment": str(experiment),
        "weights": "best_model",
        "model_sha256": manifest["files"]["model.safetensors"]["sha256"],
        "subsets": subsets,
        "findings": list(findings),
    }
    (path / "summary.json").write_text(json.dumps(summary))
    return path
