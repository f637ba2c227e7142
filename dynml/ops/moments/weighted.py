"""Weighted first and second moments of signals, one set per state.

Shapes: T samples, C channels, K states. Products are made in the signals' own type and summed over chunks in float64,
about a centre of each state (say, its last mean), so that large means cost no digits. A centre is a number of the
signals' type, or a deviation from it would lack what rounding takes from it: `rounded_centres`.

State probabilities are nearly one-hot, so on a CPU a state's product takes only the rows that it has a share in: rows
are left out where their weight is below 1e-2 eps times the state's mean weight in the chunk, or below 1e-5 eps, with
eps the rounding of the signals' type. For float32 that leaves out at most 1.2e-9 of a state's weight and 1.2e-12 T on
top, fifty times less than the rounding of the weights themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor

from dynml.ops.hmm.statistics import CovarianceType

_LARGEST_SHARE_OF_MEAN = 0.9
"""Of a chunk's mean square about a centre; beyond it the products would hold the mean and little else."""

_FEW_CHANNELS, _FEW_PRODUCTS = 32, 2**19
"""Of a chunk with no more channels, and numbers times channels, all states' moments are summed in one loop, in float64:
calls of matrix products would take longer than their arithmetic."""

_FEWEST_SAMPLES = 16
"""A mean over fewer than these is far off by chance, and costs nothing."""


@dataclass
class Moments:
    """Sums of weights, weighted deviations and their products or squares, all float64, on the signals' device."""

    occupancies_K: Tensor
    first_KC: Tensor
    second_KCC: Tensor
    """(K, C, C), or (K, C) for diagonal covariances."""

    @classmethod
    def zeros(
        cls, n_states: int, n_channels: int, covariance_type: CovarianceType, device: torch.device | str = "cpu"
    ) -> Moments:
        """Moments of no data."""
        second_shape = (n_states, n_channels, n_channels) if covariance_type == "full" else (n_states, n_channels)
        first = torch.zeros(n_states, n_channels, dtype=torch.float64, device=device)
        return cls(first.new_zeros(n_states), first, first.new_zeros(second_shape))

    def add(self, other: Moments) -> None:
        """Add the moments of other samples about the same centres."""
        self.occupancies_K += other.occupancies_K
        self.first_KC += other.first_KC
        self.second_KCC += other.second_KCC

    def about_zero(self, centres_KC: Tensor) -> Moments:
        """The same sums about zero instead of `centres_KC`."""
        centres, weight = centres_KC.double(), self.occupancies_K.unsqueeze(1)
        first = self.first_KC + weight * centres
        if self.second_KCC.ndim == 2:
            return Moments(
                self.occupancies_K, first, self.second_KCC + centres * (2 * self.first_KC + weight * centres)
            )
        # The sum and its transpose, so that the result is symmetric to the last digit.
        both_sides = centres.unsqueeze(2) * (self.first_KC + 0.5 * weight * centres).unsqueeze(1)
        half = 0.5 * self.second_KCC + both_sides
        return Moments(self.occupancies_K, first, half + half.transpose(1, 2))


def rounded_centres(centres_KC: Tensor, dtype: torch.dtype) -> Tensor:
    """Centres as numbers of the signals' type, (K, C), float64: those that `chunk_moments` takes deviations from."""
    return centres_KC.to(dtype).double()


def chunk_moments(
    signals_TC: Tensor,
    weights_TK: Tensor,
    centres_KC: Tensor,
    covariance_type: CovarianceType,
    observed_T: Tensor | None = None,
) -> Moments:
    """Moments of one chunk of rows about `rounded_centres` of `centres_KC`.

    Parameters
    ----------
    signals_TC : Tensor, (T, C), float32 or float64; some thousand rows, so that sums in that type stay exact enough
    weights_TK : Tensor, (T, K), on the same device, not negative
    centres_KC : Tensor, (K, C)
    covariance_type : {"full", "diagonal"}
    observed_T : Tensor, (T,), bool, optional
        False for rows that have no part in any sum, whatever they hold. Default: all have.
    """
    if observed_T is not None:
        weights_TK = weights_TK.masked_fill(~observed_T.unsqueeze(1), 0.0)
        signals_TC = signals_TC.masked_fill(~observed_T.unsqueeze(1), 0.0)
    centres = centres_KC.to(signals_TC.device, signals_TC.dtype)
    if signals_TC.device.type == "cpu":
        return _sparse_moments(signals_TC, weights_TK, centres, covariance_type)
    return _dense_moments(signals_TC, weights_TK, centres, covariance_type)


def _sparse_moments(signals: Tensor, weights: Tensor, centres: Tensor, covariance_type: CovarianceType) -> Moments:
    """Moments of the rows that a state has a share in; states that lie far from their centre go a second time."""
    moments = Moments.zeros(weights.shape[1], signals.shape[1], covariance_type)
    moments.occupancies_K[:] = weights.sum(0, dtype=torch.float64)
    _add_sparse(moments, signals, weights, centres, range(len(centres)))
    far = _far_states(moments)
    if far:
        nearer = centres.clone()
        nearer[far] += (moments.first_KC[far] / moments.occupancies_K[far].unsqueeze(1)).to(centres)
        own = Moments.zeros(len(centres), signals.shape[1], covariance_type)
        own.occupancies_K[:] = moments.occupancies_K
        _add_sparse(own, signals, weights, nearer, far)
        own = own.about_zero(nearer.double() - centres.double())
        moments.first_KC[far], moments.second_KCC[far] = own.first_KC[far], own.second_KCC[far]
    return moments


def _far_states(moments: Moments) -> list[int]:
    """States whose rows lie so far from their centre that products about it hold little else than the distance."""
    second = moments.second_KCC.numpy()
    squares = second if second.ndim == 2 else np.diagonal(second, axis1=1, axis2=2)
    weights = moments.occupancies_K.numpy()[:, None]
    is_far = (moments.first_KC.numpy() ** 2 > _LARGEST_SHARE_OF_MEAN * weights * squares).any(1)
    return np.flatnonzero(is_far & (weights[:, 0] > _FEWEST_SAMPLES)).tolist()


def _add_sparse(moments: Moments, signals: Tensor, weights: Tensor, centres: Tensor, states: Sequence[int]) -> None:
    epsilon = torch.finfo(signals.dtype).eps
    means = moments.occupancies_K.numpy() / max(len(signals), 1)
    smallest = np.maximum(1e-2 * epsilon * means, 1e-5 * epsilon).tolist()
    weights, centres = weights.double(), centres.contiguous()
    arrays = signals.numpy(), weights.numpy(), centres.numpy()
    n_channels = signals.shape[1]
    if n_channels <= _FEW_CHANNELS and signals.numel() * n_channels <= _FEW_PRODUCTS:
        taken_from = np.full(len(centres), np.inf)
        taken_from[states] = [smallest[state] for state in states]
        _add_few_rows(arrays[0], arrays[1], taken_from, arrays[2], moments.first_KC.numpy(), moments.second_KCC.numpy())
        return
    rows = torch.empty_like(signals, memory_format=torch.contiguous_format)
    rows_array, first = rows.numpy(), moments.first_KC.numpy()
    for state in states:
        n_taken = _take_weighted_rows(
            arrays[0], arrays[1][:, state], smallest[state], arrays[2][state], rows_array, first[state]
        )
        moments.second_KCC[state] = _products(rows[:n_taken], moments.second_KCC.ndim)


def _dense_moments(signals: Tensor, weights: Tensor, centres: Tensor, covariance_type: CovarianceType) -> Moments:
    """Moments of all rows on a GPU, which decides by itself which states need a nearer centre."""
    occupancies = weights.sum(0, dtype=torch.float64)
    nearer = _nearer_centres(signals, weights.to(signals.dtype), centres, occupancies)
    n_dimensions = 3 if covariance_type == "full" else 2
    first, second = [], []
    for state in range(len(centres)):
        roots = weights[:, state].to(signals.dtype).sqrt()
        rows = (signals - nearer[state]) * roots.unsqueeze(1)
        first.append((roots @ rows).double())
        second.append(_products(rows, n_dimensions))
    moments = Moments(occupancies, torch.stack(first), torch.stack(second).double())
    return moments.about_zero(nearer.double() - centres.double())


def _nearer_centres(signals: Tensor, weights: Tensor, centres: Tensor, occupancies: Tensor) -> Tensor:
    """Centres, or for the states of `_far_states` the means of their rows; found from sums for all states at once."""
    shift = centres.mean(0)
    deviations = signals - shift
    offsets, counts = (centres - shift).double(), occupancies.unsqueeze(1)
    sums, squares = ((weights.T @ values).double() for values in (deviations, deviations.square()))
    first = sums - counts * offsets
    second = squares - 2 * offsets * sums + counts * offsets.square()
    is_far = (first.square() > _LARGEST_SHARE_OF_MEAN * counts * second).any(1) & (occupancies > _FEWEST_SAMPLES)
    return torch.where(is_far.unsqueeze(1), centres + (first / counts).to(centres.dtype), centres)


def _products(rows: Tensor, n_dimensions: int) -> Tensor:
    """Sum of the rows' products, or squares."""
    if n_dimensions == 2:
        return torch.linalg.vector_norm(rows, dim=0, dtype=torch.float64).square()
    n_channels = rows.shape[1]
    # Only blocks on and below the diagonal: half the work for many channels, but slower products for few.
    n_blocks = 4 if n_channels >= 128 else 2 if n_channels >= 64 else 1
    if n_blocks == 1:
        return rows.T @ rows
    borders = [n_channels * block // n_blocks for block in range(n_blocks + 1)]
    lower = rows.new_zeros(n_channels, n_channels)
    for first, last in itertools.pairwise(borders):
        lower[first:last, :last] = rows[:, first:last].T @ rows[:, :last]
    return lower.tril() + lower.tril(-1).T


@njit(cache=True, nogil=True)
def _take_weighted_rows(signals, weights, smallest, centre, rows, first):  # type: ignore  # noqa
    """Put sqrt(w) (x - centre) of the rows with a weight of at least `smallest` into `rows`; count them.

    Adds the sum of w (x - centre) to `first`.
    """
    n_channels = signals.shape[1]
    n_taken = 0
    for t in range(len(signals)):
        weight = np.float64(weights[t])
        if weight >= smallest:
            root = signals.dtype.type(np.sqrt(weight))
            for c in range(n_channels):
                deviation = signals[t, c] - centre[c]
                rows[n_taken, c] = root * deviation
                first[c] += weight * deviation
            n_taken += 1
    return n_taken


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _add_few_rows(signals, weights, smallest, centres, first, second):  # type: ignore  # noqa
    """Add w (x - centre) to `first` and its products, or squares, to `second`, of every state and the rows it takes."""
    n_channels = signals.shape[1]
    deviation = np.empty(n_channels)
    for t in range(len(signals)):
        for state in range(len(smallest)):
            weight = weights[t, state]
            if weight >= smallest[state]:
                for c in range(n_channels):
                    deviation[c] = signals[t, c] - centres[state, c]
                for c in range(n_channels):
                    first[state, c] += weight * deviation[c]
                if second.ndim == 3:
                    for i in range(n_channels):
                        share = weight * deviation[i]
                        for j in range(n_channels):
                            second[state, i, j] += share * deviation[j]
                else:
                    for c in range(n_channels):
                        second[state, c] += weight * deviation[c] * deviation[c]
