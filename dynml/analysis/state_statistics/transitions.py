"""In which order states follow each other.

Shapes: T samples, K states. A transition never reaches over a segment's border.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.analysis.state_statistics.visits import pieces_of

Doubles = NDArray[np.float64]


def transition_counts(
    states_or_alpha: ArrayLike, segments: ArrayLike | None, *, n_states: int | None = None
) -> Doubles:
    """How often each state was followed by each, sample by sample, (K, K): row = from, column = to.

    Arguments and errors as of `state_statistics`.
    """
    pieces, n_states = pieces_of(states_or_alpha, segments, n_states)
    counts = np.zeros((n_states, n_states))
    for piece in pieces:
        np.add.at(counts, (piece[:-1], piece[1:]), 1.0)
    return counts


def transition_probabilities(counts: ArrayLike) -> Doubles:
    """Counts, or sums of pairwise posteriors, divided by their rows' sums, (K, K).

    A state that was never left, nor stayed in, has a row of NaN: nothing is known of what follows it.
    """
    given = np.asarray(counts, dtype=np.float64)
    sums = given.sum(axis=1, keepdims=True)
    return np.divide(given, sums, out=np.full_like(given, np.nan), where=sums > 0)
