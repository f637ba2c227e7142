"""Single paths of hidden states: the most likely one (Viterbi) and samples.

Shapes: T samples (all segments end to end), K states.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def _viterbi(ll, borders, initial, transitions, back, path, scores):  # type: ignore  # noqa
    """All probabilities as logarithms; a strict comparison keeps the lower state where two are equally good."""
    n_states = ll.shape[1]
    score = np.empty(n_states)
    updated = np.empty(n_states)
    for segment in range(len(borders) - 1):
        first, last = borders[segment], borders[segment + 1]
        if first == last:
            continue
        for j in range(n_states):
            score[j] = initial[j] + ll[first, j]
        for t in range(first + 1, last):
            for j in range(n_states):
                best = score[0] + transitions[0, j]
                previous = 0
                for i in range(1, n_states):
                    candidate = score[i] + transitions[i, j]
                    if candidate > best:
                        best = candidate
                        previous = i
                updated[j] = best + ll[t, j]
                back[t, j] = previous
            for j in range(n_states):
                score[j] = updated[j]
        state = 0
        for j in range(1, n_states):
            if score[j] > score[state]:
                state = j
        scores[segment] = score[state]
        path[last - 1] = state
        for t in range(last - 1, first, -1):
            state = back[t, state]
            path[t - 1] = state


def most_likely_path(
    log_likelihoods_TK: Tensor,
    starts: Tensor | Array,
    initial_probabilities_K: Tensor,
    transition_probabilities_KK: Tensor,
) -> tuple[Tensor, Tensor]:
    """Most likely sequence of states of every segment (Viterbi 1967).

    Returns
    -------
    path : Tensor, (T,), int64
        Where two states are equally good, the lower one.
    log_joint : Tensor, (n_segments,), float64
        log p(x, path) of each segment, nats.
    """
    ll = np.ascontiguousarray(log_likelihoods_TK.cpu().numpy())
    borders = np.ascontiguousarray(starts.cpu() if isinstance(starts, Tensor) else starts, dtype=np.int64)
    with np.errstate(divide="ignore"):
        initial = np.log(initial_probabilities_K.double().cpu().numpy())
        transitions = np.ascontiguousarray(np.log(transition_probabilities_KK.double().cpu().numpy()))
    back = np.empty(ll.shape, dtype=np.uint8 if ll.shape[1] <= 256 else np.uint16)
    path = np.empty(len(ll), dtype=np.int64)
    scores = np.zeros(len(borders) - 1)
    _viterbi(ll, borders, initial, transitions, back, path, scores)
    return torch.from_numpy(path), torch.from_numpy(scores)


@njit(cache=True, nogil=True)
def _walk(uniform, initial, transitions, path):  # type: ignore  # noqa
    """States by inversion of the cumulated probabilities."""
    for t in range(len(path)):
        cumulated = initial if t == 0 else transitions[path[t - 1]]
        path[t] = min(np.searchsorted(cumulated, uniform[t] * cumulated[-1], side="right"), len(cumulated) - 1)


def sample_states(
    n_samples: int,
    initial_probabilities_K: Tensor,
    transition_probabilities_KK: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a path of states from a Markov chain.

    Parameters
    ----------
    n_samples : int
        Length of the path.
    initial_probabilities_K, transition_probabilities_KK : Tensor
    generator : torch.Generator, optional
        Of the CPU; one uniform number a sample is drawn from it.

    Returns
    -------
    Tensor, (n_samples,), int64
    """
    uniform = torch.rand(n_samples, generator=generator, dtype=torch.float64).numpy()
    path = np.empty(n_samples, dtype=np.int64)
    initial = initial_probabilities_K.double().cpu().cumsum(0).numpy()
    transitions = transition_probabilities_KK.double().cpu().cumsum(1).numpy()
    _walk(uniform, initial, np.ascontiguousarray(transitions), path)
    return torch.from_numpy(path)
