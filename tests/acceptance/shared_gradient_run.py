"""A user's own training script: a model of one's own, on as many processes as torchrun starts.

torchrun --nproc-per-node 2 shared_gradient_run.py FOLDER NAME [RANK_WITH_OTHER_DATA]
"""

import os
import sys

import numpy as np
import torch

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, Trainer
from dynml.training.processes import join_processes, leave_processes


class OneStepAhead(torch.nn.Module):
    """Predicts each sample from the one before."""

    def __init__(self, n_channels):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_channels, 8), torch.nn.Tanh(), torch.nn.Linear(8, n_channels)
        )

    def forward(self, signals):
        return self.layers(signals[:, :-1])

    def compute_loss(self, outputs, batch):
        squares = (outputs - batch.signals[:, 1:]).square().mean(dim=2)
        mask = batch.mask[:, 1:]
        return squares[mask].mean(), int(mask.sum())


def main(folder, name, other="none"):
    processes = join_processes("cpu")
    seed = 1 if other == str(processes.rank) else 0
    generator = np.random.default_rng(seed)
    walks = [(generator.normal(size=(n, 3)).cumsum(0) / 10).astype(np.float32) for n in (400, 130, 90, 210, 100)]
    share = {"rank": processes.rank, "world_size": processes.world_size}
    dataset = MultiSubjectDataset.from_arrays(walks[:3], walks[3:], **share)
    torch.manual_seed(3)
    model = OneStepAhead(3)
    sampler = BatchSampler(dataset, window_length=30, batch_size_training=4, seed=5)
    loader = BatchLoader(dataset, model, noise=0.1, sign_flip=0.2, seed=5)
    settings = {"max_epochs": 4, "clip_gradient": 1.0, "progress": False, "device": "cpu", "learning_rate": 0.01}
    if "ACCUMULATE" in os.environ:
        settings["accumulate_gradients"] = 2
    trainer = Trainer(model, folder, name, sampler, loader, **settings)
    try:
        trainer.train_and_validate()
    finally:
        leave_processes()


if __name__ == "__main__":
    main(*sys.argv[1:])
