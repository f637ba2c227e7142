"""Windows that overlap, so that every sample of a segment is seen with samples around it, and none is lost."""

from __future__ import annotations

import itertools


def overlapping_windows(n_samples: int, length: int, *, causal: bool = False) -> list[tuple[int, int, int, int]]:
    """Windows of a segment that overlap by half, and which samples are taken from each.

    Parameters
    ----------
    n_samples : int
        Of the segment.
    length : int
        Samples of a window; a shorter segment is one window.
    causal : bool
        Whether a sample's state sees only what came before it in its window.

    Returns
    -------
    list of (first, last, begin, end)
        The window [first, last), and what is taken from it, [begin, end): its middle, so that each sample has seen
        others on both sides, or for causal models its end, so that each sample has half a window behind it. Together
        they are the segment.
    """
    length = min(length, n_samples)
    firsts = [*range(0, n_samples - length, max(length // 2, 1)), n_samples - length]
    if causal:
        borders = [0, *(first + length for first in firsts)]
    else:
        borders = [0, *((one + other + length) // 2 for one, other in itertools.pairwise(firsts)), n_samples]
    return [(first, first + length, begin, end) for first, (begin, end) in zip(firsts, itertools.pairwise(borders))]
