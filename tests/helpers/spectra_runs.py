"""A store whose states resonate at 10 and 30 Hz, and an HMM that knows them by their power."""

import numpy as np
from resonating_signals import RATE, switching
from running_scripts import create_store, run_here

SPECTRA = "dynml_compute_spectra.py"


def switching_arrays(n_subjects, n_samples=12000, mean_visit=0.3, n_channels=4):
    """Signals of subjects; the state of 30 Hz is three times as large, so that single samples tell them apart."""
    arrays = {}
    for number in range(n_subjects):
        signals, states = switching(np.random.default_rng(number), n_samples, mean_visit, n_channels=n_channels)
        arrays[f"sub-{number}"] = [(signals * np.where(states, 3.0, 1.0)[:, None]).astype(np.float32)]
    return arrays


def trained(folder, store, name="hmm", *further):
    (folder / "experiments").mkdir(exist_ok=True)
    sizes = ("--model.n_states", 2, "--model.learn_means", "false")
    sizes += ("--trainer.max_epochs", 6, "--initialization.n_init", 1)
    run_here("dynml_train_model.py", "hmm", folder / "experiments", name, store, "signals", *sizes, *further)
    return folder / "experiments" / name


def made_store(folder, arrays, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    return create_store(
        folder, arrays, {"training": list(arrays)}, run_by=run_here, sampling_frequency=RATE, **settings
    )
