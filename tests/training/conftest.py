"""A small model of a user's own, and a run of it, for the tests of the trainer."""

import numpy as np
import pytest
import torch

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, Trainer


class OneStepAhead(torch.nn.Module):
    """Predicts each sample from the one before; with dropout, so that randomness has to be resumed too."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(n_channels, n_channels)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, signals):
        return self.linear(self.dropout(signals[:, :-1]))

    def compute_loss(self, outputs, batch):
        squares = (outputs - batch.signals[:, 1:]).square().mean(dim=2)
        mask = batch.mask[:, 1:]
        return squares[mask].mean(), int(mask.sum())


def random_walks(lengths=(300, 210, 171), n_channels=4, seed=0):
    generator = np.random.default_rng(seed)
    return [(generator.normal(size=(n, n_channels)).cumsum(0) / 10).astype(np.float32) for n in lengths]


@pytest.fixture
def make_trainer(tmp_path):
    """Build the same run again and again: as a first run, or as one that goes on."""

    def make(name="run", *, model=None, validation=True, arrays=None, **settings):
        walks = arrays if arrays is not None else random_walks()
        dataset = MultiSubjectDataset.from_arrays(walks[:-1], walks[-1:] if validation else ())
        torch.manual_seed(3)
        model = model if model is not None else OneStepAhead(walks[0].shape[1])
        sampler = BatchSampler(dataset, window_length=40, batch_size_training=3, seed=5)
        loader = BatchLoader(dataset, model, noise=0.1, seed=5)
        settings = {"max_epochs": 4, "progress": False} | settings
        return Trainer(model, tmp_path, name, sampler, loader, **settings)

    return make
