"""Mean and scatter of many samples in one pass, exact far from zero.

Shapes: n samples, C channels. Each chunk of rows is centred at its own mean, in float64, and chunks are merged by what
their means differ in (Chan, Golub & LeVeque 1983, The American Statistician 37:242): no sum ever holds the square of
an offset that all samples share, nor that of one subject against the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from dynml.ops.devices import float64_device
from dynml.ops.hmm.passes import Signals
from dynml.ops.masked_samples import observed_if_masked
from dynml.ops.workers import Workers

CHUNK_ROWS = {"cpu": 2**13, "gpu": 2**18}


@dataclass(frozen=True)
class CentredSums:
    """Number of samples, their mean, and the sum of products of their deviations from it; float64, CPU."""

    n_samples: int
    mean_C: Tensor
    scatter_CC: Tensor

    @classmethod
    def zeros(cls, n_channels: int) -> CentredSums:
        """Sums over no sample."""
        return cls(0, torch.zeros(n_channels, dtype=torch.float64), torch.zeros(n_channels, n_channels).double())

    @classmethod
    def of_rows(cls, rows: Tensor) -> CentredSums:
        """Sums over the observed rows of (n, C)."""
        observed = observed_if_masked(rows) if len(rows) else None
        rows = (rows if observed is None else rows[observed]).to(_float64_device(rows.device)).double()
        if not len(rows):
            return cls.zeros(rows.shape[1])
        mean = rows.mean(0)
        deviations = rows - mean
        # What rounding leaves in the mean is taken out of both, so that deviations sum to zero.
        rest = deviations.mean(0)
        scatter = deviations.T @ deviations - len(rows) * torch.outer(rest, rest)
        if rows.device.type == "cpu":
            return cls(len(rows), mean + rest, scatter)
        # Together, so that the host waits once.
        on_host = torch.cat([mean + rest, scatter.flatten()]).cpu()
        return cls(len(rows), on_host[: len(mean)], on_host[len(mean) :].view_as(scatter))

    def merged(self, other: CentredSums) -> CentredSums:
        """Sums over the samples of both."""
        if not other.n_samples:
            return self
        if not self.n_samples:
            return other
        n_samples = self.n_samples + other.n_samples
        difference, share = other.mean_C - self.mean_C, other.n_samples / n_samples
        between = torch.outer(difference, difference) * (self.n_samples * share)
        mean = self.mean_C + share * difference
        return CentredSums(n_samples, mean, self.scatter_CC + other.scatter_CC + between)


def _float64_device(device: torch.device) -> torch.device:
    return device if device.type == "cpu" else float64_device(device)


def centred_sums(signals: Signals, n_threads: int | None = None) -> CentredSums:
    """Number, mean and scatter of the observed rows of signals (n, C), or of a reader of them.

    Parameters
    ----------
    signals : Tensor, (n, C), on any device; or a reader with `.shape` and `[a:b]`
        Rows that are NaN in all channels were not observed. A reader is asked from several threads.
    n_threads : int, optional
        Default: torch's. The result does not depend on it.
    """
    n_rows, n_channels = signals.shape
    is_on_cpu = getattr(signals, "device", torch.device("cpu")).type == "cpu"
    size = CHUNK_ROWS["cpu" if is_on_cpu else "gpu"]
    with torch.no_grad(), Workers(n_threads if is_on_cpu else 1) as workers:
        parts = workers.map(
            lambda first: CentredSums.of_rows(signals[first : min(first + size, n_rows)]), range(0, n_rows, size)
        )
        return reduce(CentredSums.merged, parts, CentredSums.zeros(n_channels))
