"""Steps that change units neither hide a channel without variance nor make one of a channel that has it."""

import numpy as np
import pytest
from store_making import Study, noise, two_subjects

from dynml import MultiSubjectDataset
from dynml.errors import DataWarning, DynmlError


def test_a_channel_that_vanished_is_refused_before_it_is_standardized(tmp_path):
    steps = [{"step": "moving_average", "window_length": 5}, "standardize"]
    study = two_subjects(tmp_path, preparation=steps)
    run = study.runs["sub-b"][0].copy()
    run[:, 1] = np.tile([1.0, 2.0, 0.0, -2.0, -1.0], 16)  # each window of five has mean 0, but for rounding
    run[:, 1] *= 0.1
    study.save("sub-b", 0, run)
    with pytest.raises(DynmlError, match=r"Subject sub-b.* channel_1 is constant after preparation"):
        study.create()


def test_large_numbers_made_small_by_standardizing_are_no_constants(tmp_path):
    study = Study(
        tmp_path, {"sub-a": [noise(200) * 1e9]}, preparation=["standardize", "detrend"], standardization="none"
    )
    store = study.create()
    np.testing.assert_allclose(store.read("sub-a", "signals").std(0), 1.0, atol=0.05)
    assert [step["step"] for step in store.attributes("sub-a", "signals").preparation][:2] == ["standardize", "detrend"]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_units_whose_squares_float32_cannot_hold_are_told(tmp_path, scale):
    run = noise(100, seed=1).astype(np.float64) * scale
    with pytest.raises(DynmlError, match="channel_0 has mean .* whose squares float32 cannot hold"):
        MultiSubjectDataset.from_arrays([run], standardization="none")
    with pytest.raises(DynmlError, match="Subject sub-a.* whose squares float32 cannot hold"):
        Study(tmp_path, {"sub-a": [run]}, standardization="none").create()
    standardized = MultiSubjectDataset.from_arrays([run], standardization="per_run")
    assert standardized.training_set.n_subjects == 1


def test_standardizing_per_subject_keeps_what_differs_between_runs(tmp_path):
    runs = {"sub-a": [noise(100, seed=1), 3 * noise(100, seed=2)]}
    steps = [{"step": "standardize", "method": "per_subject"}]
    store = Study(tmp_path, runs, preparation=steps, standardization="none").create()
    together = np.concatenate(runs["sub-a"]).astype(np.float64)
    expected = (together - together.mean(0)) / together.std(0)
    np.testing.assert_allclose(store.read("sub-a", "signals"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "offsets", "is_told"),
    [
        ("none", (1e6, 1e6), True),
        ("per_subject", (0.0, 1e6), True),
        ("per_subject", (1e6, 1e6), False),
        ("per_run", (0.0, 1e6), False),
        ("none", (1e3, 1e3), False),
    ],
)
def test_digits_that_float32_cannot_keep_are_told(tmp_path, recwarn, method, offsets, is_told):
    """Told where what is stored is off by more than 1e-3 of a run's standard deviation, and only there."""
    runs = [noise(100, seed=number).astype(np.float64) + offset for number, offset in enumerate(offsets)]
    store = Study(tmp_path, {"sub-a": runs}, standardization=method).create()
    stored, told = store.read("sub-a", "signals").astype(np.float64), [str(one.message) for one in recwarn]
    together = np.concatenate(runs)
    mean, std = (together.mean(0), together.std(0)) if method == "per_subject" else (0.0, 1.0)
    if method == "per_run":
        together = np.concatenate([(run - run.mean(0)) / run.std(0) for run in runs])
    exact = (together - mean) / std
    error = np.abs(stored - exact)[100:].max() / exact[100:].std(0).min()
    assert (error > 1e-3) == is_told, error
    assert any("float32 keeps few of their digits" in one for one in told) == is_told, told
    if len(set(offsets)) == 1:
        arrays = pytest.warns(DataWarning, match="held so far from zero") if is_told else pytest.MonkeyPatch.context()
        with arrays:
            MultiSubjectDataset.from_arrays(runs, standardization=method)
