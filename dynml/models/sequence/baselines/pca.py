"""The linear autoencoder: windows projected on their principal directions."""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.models.sequence.baselines.baseline import Baseline, TrainingMoments
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.masked_samples import observed_rows

MOST_WINDOWS = 2000
BYTES_OF_WINDOWS = 2**30
_COLUMNS_AT_A_TIME = 2**14
_SMALLEST_SHARE = 1e-12
"""Directions with a smaller share of the largest variance are rounding: they are left out."""


class Pca(Baseline):
    """mean + the deviation from it, projected on the first `code_size` principal directions of whole windows.

    Padding counts as the mean, and so do masked samples. The directions are those of at most 2,000 training windows
    (1 GiB of them), drawn evenly from all that there are, overlapping ones too; there are no more directions than
    windows less one, whatever `code_size`. A padded window of validation is projected as if its padding were the mean.

    Parameters
    ----------
    n_channels : int
    window_length : int
        Samples of the longest window, T.
    code_size : int
    """

    name = "pca"
    mean_TC: Tensor
    directions_DTC: Tensor

    def __init__(self, n_channels: int, window_length: int, code_size: int) -> None:
        super().__init__()
        self.register_buffer("mean_TC", torch.zeros(window_length, n_channels))
        self.register_buffer("directions_DTC", torch.zeros(code_size, window_length, n_channels))

    def fit(self, moments: TrainingMoments) -> None:
        """Set mean and directions. Every process reads the same windows."""
        n_most = min(MOST_WINDOWS, max(2, BYTES_OF_WINDOWS // (4 * self.mean_TC.numel())))
        window_length = len(self.mean_TC)
        mean, deviations = _mean_and_deviations(moments.drawn_windows(window_length, n_most))
        directions = principal_directions(deviations.flatten(1), len(self.directions_DTC))
        self.directions_DTC.zero_()
        self.directions_DTC[: len(directions)].copy_(directions.view(-1, *self.mean_TC.shape))
        self.mean_TC.copy_(mean)

    def _predicted(self, task: Task) -> Tensor:
        n_times = task.windows.shape[1]
        assert n_times <= len(self.mean_TC), (n_times, len(self.mean_TC))
        mean_TC, directions = self.mean_TC[:n_times], self.directions_DTC[:, :n_times].flatten(1)
        deviations_BTC = torch.where(task.visible, task.windows.signals_BTC - mean_TC, 0.0)
        code_BD = deviations_BTC.flatten(1) @ directions.T
        return mean_TC + (code_BD @ directions).view_as(deviations_BTC)


def principal_directions(deviations_nP: Tensor, n_directions: int) -> Tensor:
    """Directions of largest variance, orthonormal rows, by the eigenvectors of the smaller of both Gram matrices.

    Parameters
    ----------
    deviations_nP : Tensor, (n, P)
        Centred.
    n_directions : int

    Returns
    -------
    Tensor, (at most n_directions, P), float32
        As many as have a variance.
    """
    n, n_numbers = deviations_nP.shape
    columns = [slice(first, first + _COLUMNS_AT_A_TIME) for first in range(0, n_numbers, _COLUMNS_AT_A_TIME)]
    if n_numbers < n:
        eigenvalues, vectors = torch.linalg.eigh(deviations_nP.double().T @ deviations_nP.double())
    else:
        gram = torch.zeros(n, n, dtype=torch.float64, device=deviations_nP.device)
        for some in columns:
            part = deviations_nP[:, some].double()
            gram.addmm_(part, part.T)
        eigenvalues, vectors = torch.linalg.eigh(gram)
    kept = min(n_directions, int((eigenvalues > _SMALLEST_SHARE * eigenvalues[-1]).sum()))
    eigenvalues, vectors = eigenvalues.flip(0)[:kept], vectors.flip(1)[:, :kept]
    if n_numbers < n:
        return vectors.T.float()
    vectors = vectors * eigenvalues.rsqrt()
    return torch.cat([(vectors.T @ deviations_nP[:, some].double()).float() for some in columns], dim=1)


def _mean_and_deviations(values_NTC: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each sample of a window over those that have it, (T, C), and deviations (N, T, C), 0 in others."""
    is_real_NT1 = observed_rows(values_NTC)[:, :, None]
    values_NTC = values_NTC.masked_fill_(~is_real_NT1, 0.0)
    mean_TC = values_NTC.sum(dim=0, dtype=torch.float64) / is_real_NT1.sum(dim=0).clamp(min=1)
    return mean_TC, values_NTC.sub_(mean_TC.float()).mul_(is_real_NT1)
