"""The model."""

import torch


class LinearSteps(torch.nn.Module):
    """Predicts each sample from the `n_lags` before it."""

    knows_masked_samples = True

    def __init__(self, config, n_channels):
        super().__init__()
        self.config = config
        self.linear = torch.nn.Linear(config.n_lags * n_channels, n_channels)

    def forward(self, signals):
        """Map signals, (B, T, C), to predictions of all but the first samples."""
        windows = signals[:, :-1].unfold(1, self.config.n_lags, 1)
        return self.linear(windows.flatten(2).nan_to_num())

    def compute_loss(self, outputs, batch):
        """Mean squared error, over samples that are there with all before them."""
        n_lags = self.config.n_lags
        there = batch.mask if batch.observed is None else batch.mask & batch.observed
        valid = there.unfold(1, n_lags + 1, 1).all(dim=2)
        errors = outputs - batch.signals[:, n_lags:].nan_to_num()
        n_valid = int(valid.sum())
        return errors.square().mean(dim=2)[valid].sum() / max(n_valid, 1), n_valid
