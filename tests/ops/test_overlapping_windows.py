"""Overlapping windows: what is taken from them is the segment, each sample once, with samples around it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from dynml.ops.overlapping_windows import overlapping_windows


@given(some.integers(1, 400), some.integers(1, 60), some.booleans())
def test_what_is_taken_from_overlapping_windows_is_the_segment(n_samples, length, causal):
    first, end, begin, last = np.array(overlapping_windows(n_samples, length, causal=causal)).T
    length = min(length, n_samples)
    assert (end - first == length).all()
    assert first.min() >= 0
    assert end.max() <= n_samples
    assert ((first <= begin) & (begin <= last) & (last <= end)).all()
    # Laid end to end, what is taken is the segment: each sample once.
    assert (begin[0], last[-1]) == (0, n_samples)
    assert (begin[1:] == last[:-1]).all()
    if causal:
        # Away from the segment's start, a sample has half a window behind it.
        assert (begin[1:] - first[1:] >= length // 2).all()
        assert (last == end).all()
    else:
        # Away from the ends of the segment, a sample has a quarter of a window on both sides.
        assert (begin[1:] - first[1:] >= length // 4).all()
        assert (end[:-1] - last[:-1] >= length // 4).all()


def test_windows_of_a_short_segment_by_hand():
    assert overlapping_windows(3, 10) == [(0, 3, 0, 3)]
    assert overlapping_windows(10, 8) == [(0, 8, 0, 5), (2, 10, 5, 10)]
    assert overlapping_windows(10, 8, causal=True) == [(0, 8, 0, 8), (2, 10, 8, 10)]
