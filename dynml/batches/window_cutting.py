"""Segments cut into windows: vectorised over all segments, no window across a border.

All functions take and give a `SegmentTable`. A *piece* is what is left of a segment before the first or after the last
whole window; `minimum_length` says from which length on pieces are kept (None: never).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.spans import SegmentTable


def cut_windows(
    segments: SegmentTable, length: int, step: int, phases: NDArray[np.int64] | int, minimum_length: int | None
) -> SegmentTable:
    """Windows of one length at regular distances.

    Parameters
    ----------
    segments : SegmentTable
    length : int
        Samples of a window.
    step : int
        Samples from the start of one window to the start of the next; below `length` windows overlap.
    phases : (n_segments,) int64 or 0
        Where in its segment the first window starts; at most segment length - `length` where a window fits.
    minimum_length : int or None
        Shortest piece that is kept; a segment shorter than `length` is one piece.
    """
    lengths = segments.lengths
    phases = np.where(lengths >= length, phases, 0)
    counts = np.where(lengths >= phases + length, (lengths - phases - length) // step + 1, 0)
    parent = np.repeat(np.arange(len(segments)), counts)
    starts = phases[parent] + step * _ordinals(counts)
    ends = np.where(counts > 0, phases + step * (counts - 1) + length, -max(step - length, 0))
    return _with_pieces(segments, parent, starts, starts + length, phases, ends, max(step - length, 0), minimum_length)


def cut_random_lengths(
    segments: SegmentTable,
    shortest: int,
    longest: int,
    gap: int,
    phases: NDArray[np.int64],
    minimum_length: int | None,
    generator: np.random.Generator,
) -> SegmentTable:
    """Windows one after another whose lengths are drawn evenly from `shortest` to `longest`.

    The window that reaches past the end of its segment is cut off there and counts as a window while it has
    `shortest` samples; parameters are otherwise those of `cut_windows`.
    """
    lengths = segments.lengths
    phases = np.where(lengths >= shortest, phases, 0)
    most = np.where(lengths >= shortest, (lengths - phases) // (shortest + gap) + 1, 0)
    parent = np.repeat(np.arange(len(segments)), most)
    drawn = generator.integers(shortest, longest + 1, size=len(parent))
    running = np.cumsum(drawn + gap) - (drawn + gap)
    first = np.cumsum(most) - most
    starts = phases[parent] + running - (running[first[parent]] if len(parent) else running)
    stops = np.minimum(starts + drawn, lengths[parent])
    fits = stops - starts >= shortest
    parent, starts, stops = parent[fits], starts[fits], stops[fits]
    ends = np.full(len(segments), -gap)
    np.maximum.at(ends, parent, stops)
    return _with_pieces(segments, parent, starts, stops, phases, ends, gap, minimum_length)


def _with_pieces(
    segments: SegmentTable,
    parent: NDArray,
    starts: NDArray,
    stops: NDArray,
    phases: NDArray,
    ends: NDArray,
    gap: int,
    minimum_length: int | None,
) -> SegmentTable:
    """Add the pieces before and after the windows (positions within segments), and sort."""
    if minimum_length is not None:
        index, lengths = np.arange(len(segments)), segments.lengths
        head_stops, tail_starts = phases - gap, ends + gap
        heads = (head_stops >= minimum_length) & (ends > 0)
        tails = lengths - tail_starts >= minimum_length
        parent = np.concatenate([index[heads], parent, index[tails]])
        starts = np.concatenate([np.zeros(heads.sum(), np.int64), starts, tail_starts[tails]])
        stops = np.concatenate([head_stops[heads], stops, lengths[tails]])
        order = np.lexsort((starts, parent))
        parent, starts, stops = parent[order], starts[order], stops[order]
    origin = segments.start[parent]
    return SegmentTable(
        segments.subject[parent],
        segments.segment[parent],
        (origin + starts).astype(np.int64),
        (origin + stops).astype(np.int64),
    )


def _ordinals(counts: NDArray) -> NDArray:
    """0, 1, .. counts[0] - 1, 0, 1, .. counts[1] - 1, and so on."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
