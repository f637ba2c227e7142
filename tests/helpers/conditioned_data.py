"""Stores with a second group beside the signals, and signals that it drives."""

from __future__ import annotations

import numpy as np
from store_making import Study

NOISE, RATE = 0.3, 100.0


def driven(seed, n_samples=400, lag=2, weights=(1.0, -1.0)):
    """Signals x_t = 0.5 x_(t-1) + w u_(t-lag) + noise of a known size, and the white u that drives them."""
    generator = np.random.default_rng(seed)
    u = generator.normal(size=(n_samples, 1))
    x = np.zeros((n_samples, len(weights)))
    for t in range(1, n_samples):
        x[t] = 0.5 * x[t - 1] + NOISE * generator.normal(size=len(weights))
        if t >= lag:
            x[t] += u[t - lag] * weights
    return x, u


def study_of(folder, runs, beside, *, n_training=None, rate=RATE, of_signals=None, **settings):
    """A study of `signals`, and of the group `stimulus`; both are {subject: list of runs}."""
    signals = {"standardization": "none", "sampling_frequency": RATE} | (of_signals or {})
    study = Study(folder, runs, **signals)
    study.config["stimulus"] = {
        "type": "timeseries",
        "files": ["beside-*.npy"],
        "sampling_frequency": rate,
        "standardization": "none",
        **settings,
    }
    for subject, arrays in beside.items():
        for number, array in enumerate(arrays):
            np.save(study.ready / subject / f"beside-{number}.npy", array)
    names = list(runs)
    n_training = len(names) if n_training is None else n_training
    study.lists = {"training": names[:n_training], "validation": names[n_training:], "testing": []}
    return study


def driven_store(folder, *, n_training=5, n_validation=2, lag=2, n_samples=400):
    """Path of a store of subjects whose signals `stimulus` drives."""
    made = {f"sub-{seed}": driven(seed, n_samples, lag) for seed in range(n_training + n_validation)}
    runs = {name: [x] for name, (x, _) in made.items()}
    study = study_of(folder, runs, {name: [u] for name, (_, u) in made.items()}, n_training=n_training)
    study.create()
    return study.target
