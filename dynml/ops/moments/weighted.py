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
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from dynml.ops.hmm.statistics import CovarianceType

_LARGEST_SHARE_OF_MEAN = 0.9
"""Of a chunk's mean square about a centre; beyond it the products would hold the mean and little else."""

_FEW_CHANNELS, _FEW_PRODUCTS = 32, 2**19
"""Of a chunk with no more channels, and numbers times channels, all states' products are summed in one loop, in
float64: calls of matrix products would take longer than their arithmetic. Squares always are."""

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


def suits_one_loop(signals_TC: Tensor, n_rows: int, covariance_type: CovarianceType) -> bool:
    """Tell whether pieces of at most `n_rows` rows of signals are summed in one loop, as `moments_of_pieces` does."""
    n_channels = signals_TC.shape[1]
    are_few = n_channels <= _FEW_CHANNELS and n_rows * n_channels**2 <= _FEW_PRODUCTS
    return signals_TC.device.type == "cpu" and (are_few or covariance_type == "diagonal")


def moments_of_pieces(
    signals_TC: Tensor, weights_TK: Tensor, borders: NDArray[Any], centres_KC: Tensor, covariance_type: CovarianceType
) -> list[Moments]:
    """Moments of neighbouring pieces of rows: those of `chunk_moments` of each, but all of them by a few calls.

    Parameters
    ----------
    signals_TC, weights_TK, centres_KC, covariance_type
        As in `chunk_moments`, of pieces for which `suits_one_loop` is true.
    borders : (n_pieces + 1,)
        Row borders of the pieces.
    """
    weights, n_rows = weights_TK.double(), np.diff(borders)
    occupancies = np.zeros((len(n_rows), weights.shape[1]))
    occupancies[n_rows > 0] = np.add.reduceat(weights.numpy(), borders[:-1][n_rows > 0], axis=0)
    centres = centres_KC.to(signals_TC)
    shape = (*occupancies.shape, signals_TC.shape[1])
    all_pieces = Moments(
        torch.from_numpy(occupancies),
        torch.zeros(shape, dtype=torch.float64),
        torch.zeros(shape if covariance_type == "diagonal" else (*shape, shape[-1]), dtype=torch.float64),
    )
    smallest = _smallest_weights(occupancies, n_rows[:, None], signals_TC.dtype)
    _add_few(all_pieces, signals_TC, weights, borders, smallest, centres)
    far_pieces: list[bool] = np.any(_is_far(all_pieces), axis=1).tolist()
    each = zip(*(tensor.unbind() for tensor in vars(all_pieces).values()), strict=True)
    return [
        _sparse_moments(signals_TC[first:last], weights_TK[first:last], centres, covariance_type)
        if far
        else Moments(*own)
        for own, far, (first, last) in zip(each, far_pieces, itertools.pairwise(borders.tolist()), strict=True)
    ]


def _sparse_moments(signals: Tensor, weights: Tensor, centres: Tensor, covariance_type: CovarianceType) -> Moments:
    """Moments of the rows that a state has a share in; states that lie far from their centre go a second time."""
    moments = Moments.zeros(weights.shape[1], signals.shape[1], covariance_type)
    moments.occupancies_K[:] = weights.sum(0, dtype=torch.float64)
    _add_sparse(moments, signals, weights, centres, range(len(centres)))
    far = np.flatnonzero(_is_far(moments)).tolist()
    if far:
        nearer = centres.clone()
        nearer[far] += (moments.first_KC[far] / moments.occupancies_K[far].unsqueeze(1)).to(centres)
        own = Moments.zeros(len(centres), signals.shape[1], covariance_type)
        own.occupancies_K[:] = moments.occupancies_K
        _add_sparse(own, signals, weights, nearer, far)
        own = own.about_zero(nearer.double() - centres.double())
        moments.first_KC[far], moments.second_KCC[far] = own.first_KC[far], own.second_KCC[far]
    return moments


def _is_far(moments: Moments) -> NDArray[np.bool_]:
    """States whose rows lie so far from their centre that products about it hold little else than the distance."""
    first, second = moments.first_KC.numpy(), moments.second_KCC.numpy()
    squares = second if second.ndim == first.ndim else np.diagonal(second, axis1=-2, axis2=-1)
    weights = moments.occupancies_K.numpy()
    is_far = (first**2 > _LARGEST_SHARE_OF_MEAN * weights[..., None] * squares).any(-1)
    return np.asarray(is_far & (weights > _FEWEST_SAMPLES))


def _smallest_weights(occupancies: NDArray[Any], n_rows: NDArray[Any] | int, dtype: torch.dtype) -> NDArray[Any]:
    """Weights below which a row is left out, of the shape of `occupancies`."""
    epsilon = torch.finfo(dtype).eps
    return np.maximum(1e-2 * epsilon * occupancies / np.maximum(n_rows, 1), 1e-5 * epsilon)


def _add_sparse(moments: Moments, signals: Tensor, weights: Tensor, centres: Tensor, states: Sequence[int]) -> None:
    smallest = _smallest_weights(moments.occupancies_K.numpy(), len(signals), signals.dtype)
    weights, centres = weights.double(), centres.contiguous()
    if suits_one_loop(signals, len(signals), "full" if moments.second_KCC.ndim == 3 else "diagonal"):
        taken_from = np.full((1, len(centres)), np.inf)
        taken_from[0, states] = smallest[states]
        one_piece = Moments(*(tensor.unsqueeze(0) for tensor in vars(moments).values()))
        _add_few(one_piece, signals, weights, np.array([0, len(signals)]), taken_from, centres)
        return
    arrays = signals.numpy(), weights.numpy(), centres.numpy()
    rows = torch.empty_like(signals, memory_format=torch.contiguous_format)
    rows_array, first = rows.numpy(), moments.first_KC.numpy()
    for state in states:
        n_taken = _take_weighted_rows(
            arrays[0], arrays[1][:, state], smallest[state], arrays[2][state], rows_array, first[state]
        )
        moments.second_KCC[state] = _products(rows[:n_taken], moments.second_KCC.ndim)


def _add_few(
    moments: Moments, signals: Tensor, weights: Tensor, borders: NDArray[Any], smallest: NDArray[Any], centres: Tensor
) -> None:
    """Add the rows of pieces to first and second moments, which have one more dimension in front."""
    arrays = (tensor.numpy() for tensor in (signals, weights, centres, moments.first_KC, moments.second_KCC))
    signals_TC, weights_TK, centres_KC, first, second = arrays
    _add_few_rows(signals_TC, weights_TK, borders, smallest, centres_KC, first, second)


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
    if rows.device.type == "cpu":
        # NumPy asks BLAS for half of a product of a matrix with itself, for which torch has no function.
        array = rows.numpy()
        return torch.from_numpy(array.T @ array)
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
def _add_few_rows(signals, weights, borders, smallest, centres, first, second):  # type: ignore  # noqa
    """Add w (x - centre) to `first`, its products or squares to `second`, of the rows that states take of pieces."""
    n_channels = signals.shape[1]
    deviation = np.empty(n_channels)
    for piece in range(len(smallest)):
        for t in range(borders[piece], borders[piece + 1]):
            for state in range(smallest.shape[1]):
                weight = weights[t, state]
                if weight >= smallest[piece, state]:
                    for c in range(n_channels):
                        deviation[c] = signals[t, c] - centres[state, c]
                    for c in range(n_channels):
                        first[piece, state, c] += weight * deviation[c]
                    if second.ndim == 4:
                        for i in range(n_channels):
                            share = weight * deviation[i]
                            for j in range(n_channels):
                                second[piece, state, i, j] += share * deviation[j]
                    else:
                        for c in range(n_channels):
                            second[piece, state, c] += weight * deviation[c] * deviation[c]
