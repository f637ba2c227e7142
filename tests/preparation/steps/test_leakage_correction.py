"""Symmetric orthogonalisation against singular value decompositions of the data themselves."""

import numpy as np
import pytest

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.preparation import chain
from dynml.recording import recording_of_runs

STRETCHES = [np.array([[0, 200], [220, 500]]), np.array([[10, 400]])]


def recording():
    generator = np.random.default_rng(3)
    mixing = generator.normal(size=(5, 5)) + 2 * np.eye(5)
    runs = [generator.normal(size=(length, 5)) @ mixing * [1, 2, 3, 4, 5] + 7.0 for length in (500, 400)]
    runs[0][205] = np.inf
    return recording_of_runs(runs, sampling_frequency=100.0, stretches=STRETCHES)


def by_svd(signals):
    """Alternate between the closest orthonormal set of X D and the best magnitudes, on the data."""
    signals = signals - signals.mean(0)
    magnitudes = np.ones(signals.shape[1])
    for _ in range(3000):
        left, _, right = np.linalg.svd(signals * magnitudes, full_matrices=False)
        orthonormal = left @ right
        magnitudes = (signals * orthonormal).sum(0)
    return orthonormal * magnitudes


def test_each_run_is_orthogonal_and_as_close_as_it_can_be():
    original = recording()
    found = chain.applied(chain.chosen_steps(["symmetric_orthogonalisation"]), original, "s", DataWarnings())
    for run in range(2):
        pieces = original.segments_of_run(run)
        before, after = (np.concatenate([one.signals[a:b] for a, b in pieces]) for one in (original, found))
        np.testing.assert_allclose(after, by_svd(before), atol=1e-6)
        correlations = np.corrcoef(after.T)
        np.testing.assert_allclose(correlations, np.eye(5), atol=1e-10)
    assert np.isnan(found.signals[200:220]).all()
    note = found.preparation[-1]
    assert (note["rank"], note["rank_loss"], len(note["condition"])) == (5, 0, 2)


def test_channels_that_depend_on_one_another_are_refused():
    original = recording()
    original.signals[205] = 0.0
    original.signals[:, 2] = original.signals[:, 0] - 0.5 * original.signals[:, 4]
    with pytest.raises(DataError, match="^s: run run_0 has rank 4 of 5 channels"):
        chain.applied(chain.chosen_steps(["symmetric_orthogonalisation"]), original, "s", DataWarnings())
