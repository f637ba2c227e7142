from __future__ import annotations

import numpy as np
import pytest

from dynml.analysis.state_statistics import state_statistics, write_state_statistics
from dynml.errors import DataError
from dynml.simulation.kinds.hmm import simulate_hmm

NAN = np.nan


def test_a_path_worked_out_by_hand():
    # visits: 0 (2 samples), 1 (3), 0 (1), 2 (1), 0 (3); 10 samples at 2 Hz = 5 s
    statistics = state_statistics([0, 0, 1, 1, 1, 0, 2, 0, 0, 0], None, 2.0, n_states=4)
    np.testing.assert_allclose(statistics.fractional_occupancy, [0.6, 0.3, 0.1, 0.0])
    np.testing.assert_allclose(statistics.mean_lifetime, [1.0, 1.5, 0.5, NAN])
    np.testing.assert_allclose(statistics.mean_interval, [(3 + 1) / 2 / 2.0, NAN, NAN, NAN])
    np.testing.assert_allclose(statistics.switching_rate, [3 / 5, 1 / 5, 1 / 5, 0.0])


def test_borders_of_segments_end_visits_and_intervals():
    # Rows 0-3 and 4-7 abut, rows 8-9 are bad, the last segment is one sample.
    path = np.array([0, 1, 1, 0, 0, 0, 1, 1, -1, -1, 1])
    statistics = state_statistics(path, [[0, 4], [4, 8], [10, 11]], 1.0)
    np.testing.assert_allclose(statistics.fractional_occupancy, [4 / 9, 5 / 9])
    np.testing.assert_allclose(statistics.mean_lifetime, [4 / 3, 5 / 3])
    np.testing.assert_allclose(statistics.mean_interval, [2.0, NAN])
    np.testing.assert_allclose(statistics.switching_rate, [3 / 9, 3 / 9])


def test_probabilities_count_as_their_most_probable_state():
    alpha = np.array([[0.6, 0.4], [0.1, 0.9], [NAN, NAN], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)
    segments = [[0, 2], [3, 5]]
    from_alpha = state_statistics(alpha, segments, 10.0)
    from_path = state_statistics([0, 1, -1, 1, 0], segments, 10.0)
    for name in ("fractional_occupancy", "mean_lifetime", "mean_interval", "switching_rate"):
        np.testing.assert_array_equal(getattr(from_alpha, name), getattr(from_path, name))


def test_a_long_markov_chain_has_the_lifetimes_and_intervals_of_its_transitions():
    states = simulate_hmm(n_states=4, n_channels=1, n_samples=100_000, stay_probability=0.9, seed=5).states[0]
    statistics = state_statistics(states, None, 100.0)
    # Geometric visits of mean 1 / (1 - stay) samples; under "sequence" an interval is three visits of other states.
    np.testing.assert_allclose(statistics.mean_lifetime, 0.10, rtol=0.08)
    np.testing.assert_allclose(statistics.mean_interval, 0.30, rtol=0.08)
    np.testing.assert_allclose(statistics.switching_rate, 100 / 40, rtol=0.08)
    assert statistics.fractional_occupancy.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("path", "segments", "words"),
    [
        ([0, 1, 2], [[0, 4]], "there are 3 rows"),
        ([0, 1, 2], [[1, 1]], "no sample"),
        (np.array([[0.5, 0.5], [NAN, NAN], [1.0, 0.0]]), [[0, 1], [1, 3]], "Row 1 lies within a segment"),
        ([0, 1, -1, 0], [[0, 1], [1, 4]], "Row 2 is in state -1"),
        ([0, 1, 5, 0], None, "Row 2 is in state 5, but states reach from 0 to 1"),
    ],
)
def test_what_cannot_be_counted_is_named(path, segments, words):
    with pytest.raises(DataError, match=words):
        state_statistics(path, segments, 1.0, n_states=2 if words.endswith("1") else None)


def test_table(tmp_path):
    path = tmp_path / "state_statistics.tsv"
    first, second = state_statistics([0, 0, 1, 0], None, 2.0), state_statistics([0, 0], None, 2.0, n_states=2)
    write_state_statistics(path, {"sub-a": first, "sub-b": second})
    assert path.read_text() == (
        "subject\tstate\tfractional_occupancy\tmean_lifetime\tmean_interval\tswitching_rate\n"
        "sub-a\t1\t0.75\t0.75\t0.5\t1\n"
        "sub-a\t2\t0.25\t0.5\tn/a\t0.5\n"
        "sub-b\t1\t1\t1\tn/a\t1\n"
        "sub-b\t2\t0\tn/a\tn/a\t0\n"
    )
