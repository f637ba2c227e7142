"""Runs on a device that is not the CPU: a small store, and what the host waits for in each batch of training."""

import collections
import contextlib
from unittest import mock

from dynml.simulation import simulate_hmm
from dynml.simulation.store import write_simulation
from dynml.training.trainer import Trainer


def small_store(folder, n_samples=120):
    """Write a store of three subjects, one of them for validation."""
    file = folder / "small.hdf5"
    simulation = simulate_hmm(n_subjects=3, n_samples=n_samples, n_states=2, n_channels=4, seed=1)
    write_simulation(simulation, file, n_validation_subjects=1)
    return file


@contextlib.contextmanager
def reads_of_batches(device):
    """What the host waited for in each training batch, by the line that asked."""
    counts, learn = [], Trainer._learn_from

    def counted(self, batch):
        before = collections.Counter(device.reads)
        learn(self, batch)
        counts.append(device.reads - before)

    with mock.patch.object(Trainer, "_learn_from", counted):
        yield counts
