"""Paths of states through a stretch of hidden samples of a switching autoregression.

Shapes: C channels, K states, N paths, k hidden samples. NumPy arrays, float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.filters.gaussian_mixtures import Array, white_log_densities, whiteners_of
from dynml.simulation.filters.switching_var import SwitchingVar


@dataclass(frozen=True, kw_only=True)
class PathTable:
    """What the paths through k hidden samples have in common, whatever the signals."""

    states: NDArray[np.int64]
    """(N, k), or (N, k + 1) where a visible sample follows."""
    probabilities: Array
    """(N,), product of the transitions within the path."""
    gains: Array | None
    """(k, N, C, C), from the residual of the visible sample that follows to each hidden one; None where none does."""
    deviations: Array
    """(k, N, C), standard deviations of the hidden samples given both ends."""
    end_whiteners: Array | None
    """(N, C, C), of the visible sample that follows, given the one before."""

    @property
    def first(self) -> NDArray[np.int64]:
        """State of the first hidden sample, (N,)."""
        return self.states[:, 0]

    @property
    def last(self) -> NDArray[np.int64]:
        """State at the end of the path, (N,)."""
        return self.states[:, -1]

    def given_ends(self, process: SwitchingVar, before: Array | None, after: Array | None) -> tuple[Array, Array]:
        """Means (k, N, C) of the hidden samples, and weights (N,) of the paths up to a common factor.

        Parameters
        ----------
        process : SwitchingVar
        before : array, (C,), or None
            Visible sample before the stretch; None at a window's start.
        after : array, (C,), or None
            Visible sample after it; None at a window's end.
        """
        own = self.first
        if before is None:
            ahead = [process.initial_means[own]]
        else:
            ahead = [process.coefficients[own] @ before + process.intercepts[own]]
        for own in self.states.T[1:]:
            step = np.einsum("ncd,nd->nc", process.coefficients[own], ahead[-1])
            ahead.append(step + process.intercepts[own])
        if after is None:
            return np.stack(ahead), self.probabilities
        assert self.gains is not None
        assert self.end_whiteners is not None
        residuals = after - ahead.pop()
        logs = white_log_densities(residuals, self.end_whiteners)
        means = np.stack(ahead) + np.einsum("kncd,nd->knc", self.gains, residuals, optimize=True)
        return means, self.probabilities * np.exp(logs - logs.max())


def path_table(process: SwitchingVar, length: int, entered: bool, left: bool, max_paths: int) -> PathTable:
    """Enumerate the paths through `length` hidden samples.

    Parameters
    ----------
    process : SwitchingVar
    length : int
        k, at least 1.
    entered, left : bool
        Whether a visible sample stands before and after the stretch.
    max_paths : int
        Of more, those of largest probability are kept, every state before the stretch being equally likely.
    """
    states, probabilities = _paths(process, length + left, entered, max_paths)
    noise = process.noise_covariances if entered else process.initial_covariances
    covariances = [noise[states[:, 0]]]
    for own in states.T[1:]:
        matrices = process.coefficients[own]
        carried = matrices @ covariances[-1] @ np.swapaxes(matrices, 1, 2)
        covariances.append(carried + process.noise_covariances[own])
    if not left:
        deviations = np.sqrt(np.diagonal(np.stack(covariances), axis1=2, axis2=3))
        return PathTable(
            states=states, probabilities=probabilities, gains=None, deviations=deviations, end_whiteners=None
        )
    end = covariances.pop()
    gains, variances = [], []
    onward = np.broadcast_to(np.eye(process.n_channels), end.shape)
    for number in range(length - 1, -1, -1):
        onward = onward @ process.coefficients[states[:, number + 1]]
        shared = onward @ covariances[number]
        gains.append(np.swapaxes(np.linalg.solve(end, shared), 1, 2))
        explained = np.einsum("ncd,ndc->nc", gains[-1], shared)
        variances.append(np.diagonal(covariances[number], axis1=1, axis2=2) - explained)
    return PathTable(
        states=states,
        probabilities=probabilities,
        gains=np.stack(gains[::-1]),
        deviations=np.sqrt(np.stack(variances[::-1]).clip(0)),
        end_whiteners=whiteners_of(end),
    )


def _paths(process: SwitchingVar, n_states_long: int, entered: bool, max_paths: int) -> tuple[NDArray[np.int64], Array]:
    """Paths (N, length) and the product (N,) of the transitions within each."""
    entry = process.transition_probabilities.mean(axis=0) if entered else process.initial_probabilities
    states = np.flatnonzero(entry > 0)[:, None]
    within = np.ones(len(states))
    for _ in range(n_states_long - 1):
        following = (within[:, None] * process.transition_probabilities[states[:, -1]]).ravel()
        extended = np.repeat(states, process.n_states, axis=0)
        states = np.column_stack([extended, np.tile(np.arange(process.n_states), len(states))])
        kept = np.flatnonzero(following > 0)
        if len(kept) > max_paths:
            prior = following[kept] * entry[states[kept, 0]]
            kept = np.sort(kept[np.argsort(-prior, kind="stable")[:max_paths]])
        states, within = states[kept], following[kept]
    return states, within
