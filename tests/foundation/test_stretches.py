"""Stretches of rows, by looking at each row."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dynml.stretches import stretches_of


@given(st.lists(st.booleans(), max_size=30))
def test_stretches_are_the_longest_ones_of_chosen_rows(rows):
    found = stretches_of(np.array(rows, dtype=bool)).tolist()
    assert [row for start, stop in found for row in range(start, stop)] == [n for n, row in enumerate(rows) if row]
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(found))
