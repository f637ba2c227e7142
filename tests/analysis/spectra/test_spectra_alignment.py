"""Rows of an embedded or cut group over rows of the recording, to the sample."""

import numpy as np
import pytest

from dynml.analysis.spectra.alignment import aligned_spans
from dynml.analysis.spectra.estimation import weighted_signals
from dynml.dataset.conditioning.clocks import Clock
from dynml.errors import DataError


def clock(segments, starts, runs, rate=250.0, step=1.0, where="group a"):
    return Clock(
        where=where,
        segments=np.array(segments),
        starts=np.array(starts, dtype=float),
        runs=tuple(runs),
        sampling_frequency=rate,
        step=step,
    )


def test_every_row_meets_the_row_of_the_same_sample():
    generator = np.random.default_rng(0)
    recordings = {"one": np.arange(1000.0), "two": 5000 + np.arange(700.0)}
    # The first lost 7 samples at each end, the second had samples 300 to 350 cut out and starts at another row.
    first = clock([[0, 986], [986, 1672]], [7, 7], ["one", "two"])
    second = clock([[40, 340], [340, 990], [990, 1690]], [0, 350, 0], ["one", "one", "two"])
    rows_of_first = np.concatenate([recordings["one"][7:993], recordings["two"][7:693]])
    rows_of_second = np.concatenate(
        [generator.random(40), recordings["one"][:300], recordings["one"][350:], recordings["two"]]
    )
    spans = aligned_spans(first, second, "sub-1")
    assert [(span.first, span.second, span.length) for span in spans] == [
        (0, 47, 293),
        (343, 340, 643),
        (986, 997, 686),
    ]
    for span in spans:
        own = rows_of_first[span.first : span.first + span.length]
        np.testing.assert_array_equal(own, rows_of_second[span.second : span.second + span.length])


def test_downsampled_rows_meet_the_nearest_row():
    first = clock([[0, 90]], [20.0], ["run"], rate=50, step=5)
    second = clock([[0, 100]], [1.0], ["run"], rate=50, step=5)
    (span,) = aligned_spans(first, second, "sub-1")
    assert (span.first, span.second, span.length) == (0, 4, 90)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (clock([[0, 100]], [0], ["run"], rate=125, where="group b"), "250 Hz in group a and 125 Hz in group b"),
        (clock([[0, 100]], [0], ["rest"]), "none of which is in both"),
        (clock([[0, 100]], [900], ["run"]), "no sample in common"),
    ],
)
def test_what_cannot_be_laid_over_one_another_is_refused(other, words):
    with pytest.raises(DataError, match=words):
        aligned_spans(clock([[0, 100]], [0], ["run"]), other, "sub-1")


def test_masked_samples_gaps_and_borders_divide_stretches():
    first, second = clock([[0, 50], [50, 100]], [0, 60], ["run", "run"]), clock([[0, 120]], [0], ["run"])
    alpha, signals = np.ones((100, 2)), np.random.default_rng(1).random((120, 3))
    alpha[10:12], signals[70] = np.nan, np.nan
    observed = np.ones(100, dtype=bool)
    observed[30] = False
    data = weighted_signals(alpha, observed, signals, aligned_spans(first, second, "sub-1"))
    assert data.stretches.tolist() == [[0, 10], [12, 30], [31, 50], [50, 60], [61, 100]]
    used = np.concatenate([data.signals[start:stop] for start, stop in data.stretches])
    np.testing.assert_allclose(used.mean(axis=0), 0, atol=1e-6)
    rows = np.r_[0:10, 12:30, 31:50, 60:70, 71:110]
    np.testing.assert_allclose(used, signals[rows] - signals[rows].mean(axis=0), atol=1e-6)
