from pathlib import Path

import numpy as np

from dynml.simulation import simulate_hmm

names = ["sub-01", "sub-02", "sub-03", "sub-04_ses-1", "sub-04_ses-2"]
simulation = simulate_hmm(n_subjects=5, n_samples=2000, n_states=3, n_channels=8)
for name, signals in zip(names, simulation.time_series):
    folder = Path("ready") / name
    folder.mkdir(parents=True)
    signals[1300:1350] = np.nan if name == "sub-02" else signals[1300:1350]
    np.save(folder / "run-1.npy", signals[:1000])
    np.save(folder / "run-2.npy", signals[1000:])
