"""The key `preparation` of a config: what the store then holds, and what is refused before it is written."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import scipy.signal
from store_making import Study, noise, two_subjects

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import DataWarning, DynmlError
from dynml.readers.numpy_array import NumpyReader
from dynml.store.verification import faults_of_store

CHAIN = [
    {"step": "select_channels", "channels": ["channel_2", "channel_0"]},
    {"step": "filter", "low_frequency": 2, "high_frequency": 20},
    {"step": "downsample", "sampling_frequency": 50},
    {"step": "time_delay_embedding", "n_embeddings": 3},
]


def by_scipy(signals):
    """CHAIN on one segment at 100 Hz."""
    sections = scipy.signal.butter(5, [2, 20], "bandpass", fs=100.0, output="sos")
    filtered = scipy.signal.sosfiltfilt(sections, signals[:, [2, 0]].astype(np.float64), axis=0)
    slower = scipy.signal.resample_poly(filtered, 1, 2, axis=0, padtype="line")
    return np.stack([slower[2 - e : len(slower) - e, c] for c in range(2) for e in range(3)], axis=1)


def test_a_chain_is_stored_standardized_float32_and_recorded(tmp_path):
    study = two_subjects(tmp_path, preparation=CHAIN)
    store = study.create()
    description = store.attributes("sub-a", "signals")
    assert description.sampling_frequency == 50.0
    assert description.source_step == 2.0
    assert description.channel_names == tuple(f"channel_{c}@{lag}" for c in (2, 0) for lag in ("+1", "+0", "-1"))
    assert [step["step"] for step in description.preparation] == [*(step["step"] for step in CHAIN), "standardize"]
    for step, note in zip(CHAIN, description.preparation):
        assert {key: note[key] for key in step} == step
    assert store.segments("sub-a", "signals").tolist() == [[1, 59], [61, 89]]
    assert store.source_samples("sub-a", "signals").tolist() == [[2, 0], [2, 1]]
    for run, (start, stop) in enumerate(store.segments("sub-a", "signals").tolist()):
        expected = by_scipy(study.runs["sub-a"][run])
        np.testing.assert_allclose(store.mean("sub-a", "signals")[run], expected.mean(0), atol=1e-9)
        np.testing.assert_allclose(store.std("sub-a", "signals")[run], expected.std(0), rtol=1e-9)
        found = store.read("sub-a", "signals", start, stop)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, (expected - expected.mean(0)) / expected.std(0), atol=2e-6)
    assert faults_of_store(study.target) == []
    with h5py.File(study.target) as file:
        assert json.loads(file.attrs["config"])["signals"]["preparation"] == CHAIN


def test_seconds_of_rows_are_those_of_the_original_recording(tmp_path):
    study = two_subjects(tmp_path, preparation=CHAIN)
    study.create()
    dataset = MultiSubjectDataset(study.target)
    dataset.load_data()
    training = dataset.training_set
    # Subject 0, segment 1 starts at sample 2 of its run, at 100 Hz; rows are 20 ms apart.
    seconds = training.seconds_of_rows(np.array([0, 0]), np.array([1, 1]), np.array([61, 66]))
    np.testing.assert_allclose(seconds, [0.02, 0.12])


def test_a_start_between_two_original_samples_keeps_its_fraction(tmp_path):
    steps = [{"step": "downsample", "sampling_frequency": 40}, {"step": "moving_average", "window_length": 3}]
    study = two_subjects(tmp_path, preparation=steps)
    store = study.create()
    # One row of 2.5 samples is lost at the start: samples 2.5 are written as 3 - 0.5.
    assert store.source_samples("sub-a", "signals").tolist() == [[3, 0], [3, 1]]
    assert store.attributes("sub-a", "signals").source_offset == -0.5
    assert faults_of_store(study.target) == []
    dataset = MultiSubjectDataset(study.target)
    dataset.load_data()
    seconds = dataset.training_set.seconds_of_rows(np.array([0, 0]), np.array([0, 0]), np.array([1, 5]))
    np.testing.assert_allclose(seconds, [0.025, 0.125])


def test_rank_is_that_of_the_prepared_signals(tmp_path):
    signals = noise(300)
    signals[:, 3] = signals[:, 0]
    study = Study(tmp_path, {"sub-a": [signals]}, preparation=[{"step": "select_channels", "exclude": ["channel_3"]}])
    assert study.create().attributes("sub-a", "signals").rank == 3


def test_nothing_but_float32_rounding_separates_unstandardized_signals_from_scipys(tmp_path):
    study = two_subjects(tmp_path, preparation=["amplitude_envelope"], standardization="none")
    store = study.create()
    expected = np.abs(scipy.signal.hilbert(study.runs["sub-b"][0].astype(np.float64), axis=0))
    np.testing.assert_array_equal(store.read("sub-b", "signals"), expected.astype(np.float32))


def test_several_rates_become_one(tmp_path, monkeypatch):
    describe = NumpyReader.describe

    def with_rate(self, path):
        rate = 100.0 if path.parent.name == "sub-a" else 250.0
        return dataclasses.replace(describe(self, path), sampling_frequency=rate)

    monkeypatch.setattr(NumpyReader, "describe", with_rate)
    study = two_subjects(tmp_path, sampling_frequency=None)
    with pytest.raises(DynmlError, match="250 Hz.*100 Hz|100 Hz.*250 Hz"):
        study.create()
    study.config["signals"]["preparation"] = [{"step": "downsample", "sampling_frequency": 50}]
    store = study.create()
    described = [store.attributes(name, "signals") for name in ("sub-a", "sub-b")]
    assert [(one.sampling_frequency, one.source_step, one.n_samples) for one in described] == [(50, 2, 90), (50, 5, 16)]


def test_segments_too_short_for_the_filter_are_dropped_with_their_count(tmp_path):
    study = two_subjects(
        tmp_path, missing="segment", preparation=[{"step": "filter", "low_frequency": 5, "high_frequency": 20}]
    )
    run = study.runs["sub-a"][0].copy()
    run[20] = np.nan
    study.save("sub-a", 0, run)
    with pytest.warns(DataWarning) as told:
        store = study.create()
    texts = " | ".join(str(one.message) for one in told)
    assert (
        "too short for the step 'filter' (34 samples) were dropped: Subject sub-a, group signals, run run-0: 1 of 2"
        in texts
    )
    assert store.segments("sub-a", "signals").tolist() == [[21, 120], [120, 180]]
    assert store.attributes("sub-a", "signals").preparation[0]["segments_dropped"] == 1


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            [{"step": "fliter", "low_frequency": 1}],
            r"Group signals: preparation\[0\]: 'fliter' is not a .*did you mean 'filter'",
        ),
        (["notch"], r"Group signals: preparation\[0\]: the step 'notch' has no 'frequency'"),
        (
            ["detrend", {"step": "notch", "frequncy": 50}],
            r"signals\.preparation\[1\]\.frequncy is 50.*'notch' \(did you mean 'frequency'",
        ),
        (
            [{"step": "detrend", "order": 2}],
            r"preparation\[0\]\.order is 2, but must be a parameter of 'detrend' \(it has none\)",
        ),
        ([{"low_frequency": 1}], r"preparation\[0\] is .*must be a step, such as"),
        ([3], r"preparation\[0\] is 3"),
        ("detrend", r"signals\.preparation is 'detrend', but must be a list of steps"),
        (
            [{"step": "filter"}],
            r"preparation\[0\]\.low_frequency is None, but must be given, or high_frequency, or both",
        ),
        (
            [{"step": "filter", "low_frequency": 30, "high_frequency": 8}],
            r"low_frequency is 30, but must be below high_frequency \(8\)",
        ),
        ([{"step": "filter", "low_frequency": "1"}], r"low_frequency is '1'"),
        ([{"step": "filter", "low_frequency": 1, "order": 2.5}], r"order is 2\.5"),
        (
            [{"step": "filter", "high_frequency": 50}],
            r"Subject sub-a, group signals: .*'filter' has high_frequency 50 Hz.*50 Hz, half of the rate of 100 Hz",
        ),
        ([{"step": "notch", "frequency": 60}], r"Subject sub-a.*'notch' has frequency 60 Hz"),
        (
            [{"step": "downsample", "sampling_frequency": 50}, {"step": "filter", "high_frequency": 30}],
            r"high_frequency 30 Hz.*25 Hz, half of the rate of 50 Hz that it meets",
        ),
        ([{"step": "downsample", "sampling_frequency": 200}], r"asks for 200 Hz, more than the rate of 100 Hz"),
        ([{"step": "downsample", "sampling_frequency": 31.41592653589793}], r"not a fraction of whole numbers"),
        ([{"step": "time_delay_embedding", "n_embeddings": 4}], r"n_embeddings is 4, but must be an odd whole number"),
        ([{"step": "moving_average", "window_length": 1}], r"window_length is 1"),
        (
            [{"step": "select_channels", "channels": ["channel_9"]}],
            r"Subject sub-a.*'channel_9', which is not there \(did you mean",
        ),
        ([{"step": "select_channels"}], r"channels is None, but must be given, or exclude"),
        ([{"step": "select_channels", "exclude": [f"channel_{c}" for c in range(4)]}], r"leaves no channel"),
        (
            [{"step": "time_delay_embedding", "n_embeddings": 71}],
            r"Subject sub-a, group signals, run run-1: .* at least 72 samples, but the longest has 60",
        ),
    ],
)
def test_a_faulty_step_is_one_sentence_and_no_store(tmp_path, steps, sentence):
    study = two_subjects(tmp_path, preparation=steps)
    with pytest.raises(DynmlError, match=sentence):
        study.create()
    assert not study.target.exists()


def test_unusable_steps_are_refused_before_signals_are_read(tmp_path, monkeypatch):
    from dynml.conversion import creation as store_creation

    def never(*_, **__):
        raise AssertionError("signals were read")

    monkeypatch.setattr(store_creation, "read_recording", never)
    monkeypatch.setattr(store_creation, "new_store", never)
    study = two_subjects(tmp_path, preparation=[{"step": "notch", "frequency": 60}])
    with pytest.raises(DynmlError, match="Nyquist"):
        study.create()


def test_a_channel_without_anything_in_the_band_is_refused(tmp_path):
    study = two_subjects(tmp_path, preparation=[{"step": "moving_average", "window_length": 5}])
    run = study.runs["sub-b"][0].copy()
    run[:, 1] = np.tile([1.0, 2.0, 0.0, -2.0, -1.0], 16)  # each window of five has mean 0
    study.save("sub-b", 0, run)
    with pytest.raises(DynmlError, match=r"Subject sub-b.* channel_1 is constant after preparation"):
        study.create()


def test_damaged_source_samples_of_a_downsampled_store_are_found(tmp_path):
    study = two_subjects(tmp_path, missing="segment", preparation=[{"step": "downsample", "sampling_frequency": 50}])
    run = study.runs["sub-b"][0].copy()
    run[40] = np.nan
    study.save("sub-b", 0, run)
    with pytest.warns(DataWarning):
        study.create().close()
    with h5py.File(study.target, "r+") as file:
        file["subjects/sub-b/signals/source_samples"][1, 0] = 10
    assert any("source samples" in fault for fault in faults_of_store(study.target))
