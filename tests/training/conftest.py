"""Runs of a small model of a user's own, for the tests of the trainer."""

import pytest
import torch
from small_model import OneStepAhead, random_walks

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, Trainer


@pytest.fixture
def make_trainer(tmp_path):
    """Build the same run again and again: as a first run, or as one that goes on."""

    def make(name="run", *, model=None, validation=True, arrays=None, batches_per_epoch=None, **settings):
        walks = arrays if arrays is not None else random_walks()
        dataset = MultiSubjectDataset.from_arrays(walks[:-1], walks[-1:] if validation else ())
        torch.manual_seed(3)
        model = model if model is not None else OneStepAhead(walks[0].shape[1])
        windows = {"window_length": 40, "batch_size_training": 3, "batches_per_epoch": batches_per_epoch}
        sampler = BatchSampler(dataset, **windows, seed=5)
        loader = BatchLoader(dataset, model, noise=0.1, seed=5)
        settings = {"max_epochs": 4, "progress": False} | settings
        return Trainer(model, tmp_path, name, sampler, loader, **settings)

    return make
