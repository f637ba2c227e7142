"""Quadratic forms of signals that change slowly: what tells states apart that differ in their covariances.

Shapes: n samples of one or more segments end to end, C channels, D forms, F coefficients of a form.

With whitened samples y, a quadratic form y' A y has a mean in every state, and given the states its values at different
times are independent: its covariance with its own average over the neighbours holds the variance between states alone.
That operator on matrices A has rank K - 1. Subspace iteration finds its leading forms; an iteration costs about
4 (K + 1) C^2 FLOP a sample, as an EM pass does, and never holds C^2 x C^2 numbers. (The lagged-moment idea of spectral
learning of HMMs: Hsu, Kakade & Zhang 2012; slow features: Wiskott & Sejnowski 2002.) Means that are learnt enter as
forms of (y, 1); diagonal covariances as squares of channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from dynml.ops.hmm.statistics import CovarianceType
from dynml.ops.workers import Workers

_MOST_ITERATIONS = 10

_ENOUGH = 0.01
"""The subspace has converged when an iteration adds less than this share to the variance that it holds."""

_CHUNK_ROWS = {"cpu": 2**10, "gpu": 2**15}
"""On a CPU the products of a chunk with all forms stay in the cache."""

_FEW_CHANNELS = 32
"""Up to here all forms are one product: their weighted rows stay in the cache, and many small products take longer."""

_SMALLEST_EIGENVALUE = 1e-6
"""Directions with a smaller share of the largest variance are left out: float32 signals hold nothing there."""


class Forms(Protocol):
    """Forms of signals: the linear map from coefficients (D, F) to values at every row, and its transpose."""

    n_independent: int

    def random(self, n_forms: int, generator: np.random.Generator) -> Tensor:
        """Coefficients to begin with, (D, F), float64."""

    def values(self, coefficients_DF: Tensor) -> Tensor:
        """Centred values, (n, D)."""

    def transposed(self, weights: Tensor) -> Tensor:
        """Sums over rows of weights (n, D) times what the coefficients multiply: (D, F), float64, CPU."""


def forms_of(
    signals: Tensor, *, learn_means: bool, covariance_type: CovarianceType, limit: float, workers: Workers
) -> Forms:
    """Whiten the signals (scale them, for diagonal covariances), soften outlying samples, and choose the forms.

    Parameters
    ----------
    signals : Tensor, (n, C)
    learn_means : bool
        Whether forms may hold the samples themselves beside their products.
    covariance_type : {"full", "diagonal"}
        "full": all products of channels; "diagonal": squares.
    limit : float
        Samples with a squared norm (per whitened channel) well above it count for little more than it, because products
        of channels give an artefact the fourth power of its size.
    workers : Workers
        Entered by the caller.
    """
    if learn_means and len(signals):
        signals = signals - signals.mean(0, dtype=torch.float64).to(signals)
    if covariance_type == "full":
        rows = _whitened(signals, workers)
    else:
        rows = signals / signals.square().mean(0).sqrt().clamp(min=torch.finfo(signals.dtype).tiny)
    rows = rows * (1 + rows.square().mean(1, keepdim=True) / limit).rsqrt()
    return ProductForms(rows, learn_means, workers) if covariance_type == "full" else ChannelForms(rows, learn_means)


def _whitened(signals: Tensor, workers: Workers) -> Tensor:
    def products(rows: Tensor) -> Tensor:
        return (rows.T @ rows).double().cpu()

    chunks = [signals[chunk] for chunk in _chunks(signals)]
    second = torch.zeros(signals.shape[1], signals.shape[1], dtype=torch.float64)
    for part in workers.map(products, chunks):
        second += part
    eigenvalues, eigenvectors = torch.linalg.eigh(second / max(len(signals), 1))
    kept = eigenvalues > _SMALLEST_EIGENVALUE * eigenvalues[-1]
    whitener = (eigenvectors[:, kept] * eigenvalues[kept].rsqrt()).to(signals)
    return torch.cat(list(workers.map(lambda rows: rows @ whitener, chunks)))


class ChannelForms:
    """Weighted sums of the squares of channels (and of the channels themselves, if means are learnt)."""

    def __init__(self, rows: Tensor, learn_means: bool) -> None:
        features = torch.cat([rows.square(), rows], 1) if learn_means else rows.square()
        features = features - features.mean(0)
        self._features = features / features.square().mean(0).sqrt().clamp(min=1e-12)
        self.n_independent = features.shape[1]

    def random(self, n_forms: int, generator: np.random.Generator) -> Tensor:
        """Coefficients to begin with, (D, F), float64."""
        return torch.from_numpy(generator.standard_normal((n_forms, self.n_independent)))

    def values(self, coefficients_DF: Tensor) -> Tensor:
        """Centred values, (n, D)."""
        return self._features @ coefficients_DF.T.to(self._features)

    def transposed(self, weights: Tensor) -> Tensor:
        """Sums over rows of weights (n, D) times the features: (D, F), float64, CPU."""
        return (weights.T @ self._features).double().cpu()


class ProductForms:
    """y' A y with symmetric A; y is the row, or the row and a one, if means are learnt."""

    def __init__(self, rows: Tensor, learn_means: bool, workers: Workers) -> None:
        self._rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1) if learn_means else rows
        self._size, self._workers = self._rows.shape[1], workers
        self.n_independent = self._size * (self._size + 1) // 2

    def random(self, n_forms: int, generator: np.random.Generator) -> Tensor:
        """Coefficients to begin with, (D, F), float64."""
        matrices = torch.from_numpy(generator.standard_normal((n_forms, self._size, self._size)))
        return (matrices + matrices.transpose(1, 2)).flatten(1)

    def values(self, coefficients_DF: Tensor) -> Tensor:
        """Centred values, (n, D)."""
        matrices = coefficients_DF.view(-1, self._size, self._size).permute(1, 0, 2).reshape(self._size, -1)
        matrices = matrices.to(self._rows)
        output = self._rows.new_empty(len(self._rows), len(coefficients_DF))

        def fill(chunk: slice) -> None:
            rows = self._rows[chunk]
            products = rows @ matrices
            if rows.device.type == "cpu":
                _dot_with_each_block(products.numpy(), rows.numpy(), output[chunk].numpy())
            else:
                blocks = products.view(len(rows), -1, self._size)
                output[chunk] = torch.matmul(blocks, rows.unsqueeze(2)).squeeze(2)

        for _ in self._workers.map(fill, _chunks(self._rows)):
            pass
        return output - output.mean(0)

    def transposed(self, weights: Tensor) -> Tensor:
        """Sums over rows of weights (n, D) times y y': (D, F), float64, CPU."""
        n_forms = weights.shape[1]

        def products(chunk: slice) -> Tensor:
            rows = self._rows[chunk]
            if self._size > _FEW_CHANNELS:
                return torch.stack([(rows * share.unsqueeze(1)).T @ rows for share in weights[chunk].T]).cpu()
            weighted = weights[chunk].unsqueeze(2) * rows.unsqueeze(1)
            return (rows.T @ weighted.flatten(1)).view(self._size, n_forms, self._size).transpose(0, 1).cpu()

        sums = torch.zeros(n_forms, self._size, self._size, dtype=torch.float64)
        for part in self._workers.map(products, _chunks(self._rows)):
            sums += part
        return (0.5 * (sums + sums.transpose(1, 2))).flatten(1)


def _chunks(rows: Tensor) -> Iterator[slice]:
    size = _CHUNK_ROWS["cpu" if rows.device.type == "cpu" else "gpu"]
    return (slice(first, first + size) for first in range(0, len(rows), size))


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
def _dot_with_each_block(products, rows, output):  # type: ignore  # noqa
    """output[t, d] = rows[t] . products[t, d-th block], while the products are in the cache."""
    n_rows, size = rows.shape
    for t in range(n_rows):
        for form in range(output.shape[1]):
            total = rows.dtype.type(0)
            first = form * size
            for i in range(size):  # counted from 0, or the compiler does not vectorise it
                total += products[t, first + i] * rows[t, i]
            output[t, form] = total


@dataclass(frozen=True)
class Neighbourhood:
    """For every row, the first and the last (excluded) of the window around it, cut at the borders of its segment.

    Rows are observed ones alone: where some were masked, a window holds those that are left of it.
    """

    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, borders: NDArray[Any], window_length: int, observed: Tensor | None = None) -> Neighbourhood:
        """Windows of about `window_length` rows in segments with row borders (n_segments + 1,).

        With `observed`, (n,) bool, borders and windows count all rows, and first and last the observed ones.
        """
        half = max(window_length // 2, 1)
        rows = np.arange(borders[-1])
        lengths = np.diff(borders)
        first = np.maximum(rows - half, np.repeat(borders[:-1], lengths))
        last = np.minimum(rows + half + 1, np.repeat(borders[1:], lengths))
        if observed is not None:
            kept = observed.cpu().numpy()
            n_before = np.concatenate([[0], np.cumsum(kept)])
            first, last = n_before[first[kept]], n_before[last[kept]]
        return cls(torch.from_numpy(first), torch.from_numpy(last))

    def average(self, values: Tensor, *, without_itself: bool = False) -> Tensor:
        """Mean over the window around every row; zero where a row without itself has no neighbour."""
        first, last = self.first.to(values.device), self.last.to(values.device)
        sums = torch.zeros(len(values) + 1, values.shape[1], dtype=torch.float64, device=values.device)
        torch.cumsum(values.double(), 0, out=sums[1:])
        totals = sums[last] - sums[first]
        counts = (last - first).unsqueeze(1)
        if without_itself:
            totals, counts = torch.where(counts > 1, totals - values, 0.0), (counts - 1).clamp(min=1)
        return (totals / counts).to(values.dtype)


def slowest(forms: Forms, coefficients: Tensor, neighbourhood: Neighbourhood, n_wanted: int) -> tuple[Tensor, Tensor]:
    """Subspace iteration towards the forms that agree most with their neighbourhood.

    Parameters
    ----------
    forms : Forms
    coefficients : Tensor, (D, F)
        Where to begin; D somewhat above `n_wanted`.
    neighbourhood : Neighbourhood
    n_wanted : int

    Returns
    -------
    coefficients : Tensor, (D, F)
        To go on from, say with another neighbourhood.
    values : Tensor, (n, at most n_wanted)
        Of the slowest forms.
    """
    held, n_wanted = -float("inf"), max(n_wanted, 1)
    for _ in range(_MOST_ITERATIONS):
        values = forms.values(torch.linalg.qr(coefficients.T).Q.T)
        averages = neighbourhood.average(values, without_itself=True)
        coefficients = forms.transposed(averages)
        between = (values.double().T @ averages.double()).cpu() / max(len(values), 1)
        variances, rotation = torch.linalg.eigh(0.5 * (between + between.T))
        before, held = held, float(variances[-n_wanted:].clamp(min=0).sum())
        if held - before <= _ENOUGH * held:
            break
    return coefficients, values @ rotation.flip(1)[:, :n_wanted].to(values)
