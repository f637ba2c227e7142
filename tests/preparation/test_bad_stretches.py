"""Dropouts, held values, clipping and spikes that were put into signals, and real and coarse signals without any."""

import json

import numpy as np
import pytest
from store_making import Study, noise

from dynml import stretches
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.datasets import haxby2001_arrays
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.preparation import bad_stretches
from dynml.preparation.bad_stretches import bad_stretches_of, rows_of
from dynml.preparation.first_look import Suspects, suspects_of
from dynml.store.verification import faults_of_store

RATE = 250.0


def waves(n_samples, n_channels, power=1.0, seed=0, rate=RATE):
    """Noise whose amplitude falls with frequency as 1 / f ** power, standard deviation 1."""
    generator = np.random.default_rng(seed)
    frequencies = np.fft.rfftfreq(n_samples, 1 / rate)
    sizes = np.where(frequencies > 0, np.maximum(frequencies, 0.5) ** -power, 0.0)[:, None]
    phases = 2 * np.pi * generator.random((len(frequencies), n_channels))
    signals = np.fft.irfft(sizes * np.exp(1j * phases), n_samples, axis=0)
    return signals / signals.std(axis=0)


def found_rows(signals, kind=None):
    found = [one for one in bad_stretches_of(signals) if kind is None or one.kind == kind]
    return np.flatnonzero(rows_of(found, len(signals)))


@pytest.mark.parametrize("resolution", [None, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("value", [0.0, 7.25, "held"])
@pytest.mark.parametrize("channel", [slice(None), 2])
def test_dropouts_and_held_values_are_found_to_the_sample(resolution, value, channel):
    signals = noise(6000, 6, seed=1).astype(np.float64)
    if resolution is not None:
        signals = np.round(signals / signals.std(axis=0) / resolution)
    signals[1000:1500, channel] = signals[999, channel] if value == "held" else value
    (one,) = bad_stretches_of(signals)
    assert one.kind == "held"
    assert one.channel == (None if channel == slice(None) else channel)
    # A value may equal its neighbours by chance, which coarse ones do.
    slack = 0 if resolution is None else 4
    assert np.abs(one.stretches - [[1000 - (value == "held"), 1500]]).max() <= slack


@pytest.mark.parametrize("n_samples", [5, 12, 3600])
def test_short_and_long_ones_are_found_in_float_signals(n_samples):
    signals = waves(6000, 4).astype(np.float32)
    signals[700 : 700 + n_samples, 1] = signals[700, 1]
    assert found_rows(signals).tolist() == list(range(700, 700 + n_samples))


def test_many_dropouts_do_not_hide_one_another():
    signals = waves(20000, 4).astype(np.float32)
    for start in range(0, 20000, 1000):
        signals[start : start + 300] = 0.0
    assert len(found_rows(signals)) == 20 * 300


def test_volumes_that_were_set_to_zero_are_found():
    signals = waves(300, 10, rate=0.5).astype(np.float32)
    signals[[20, 21, 90, 200]] = 0.0
    assert found_rows(signals).tolist() == [20, 21, 90, 200]


@pytest.mark.parametrize("resolution", [None, 0.01])
def test_clipping_is_found(resolution):
    signals = waves(20000, 3, power=0.5)
    signals[:, 1] = np.clip(signals[:, 1], -10, 1.5)
    if resolution is not None:
        signals = np.round(signals / resolution)
    (one,) = [one for one in bad_stretches_of(signals) if one.kind == "clipped"]
    assert one.channel == 1
    assert one.n_samples == (signals[:, 1] == signals[:, 1].max()).sum() > 1000


def test_isolated_spikes_are_found_and_large_waves_are_not():
    signals = waves(20000, 3)
    signals[5000, 0] += 300.0
    signals[7000:7002, 0] -= 200.0
    signals[9000:9500, 1] += 100 * np.hanning(500)
    (one,) = bad_stretches_of(signals)
    assert (one.kind, one.channel) == ("spike", 0)
    assert one.stretches.tolist() == [[5000, 5001], [7000, 7002]]
    assert one.value == pytest.approx(300.0, rel=0.2)


@pytest.mark.parametrize("resolution", [None, 0.01, 0.1, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("rate", [100.0, 1000.0])
def test_coarsely_resolved_signals_are_clean(resolution, power, rate):
    signals = waves(20000, 8, power, seed=3, rate=rate)
    if resolution is not None:
        signals = np.round(signals / resolution)
    assert bad_stretches_of(signals.astype(np.float32)) == []


def test_real_fmri_is_clean():
    recordings = haxby2001_arrays()
    for run in recordings.signals:
        assert bad_stretches_of(run) == []
        assert bad_stretches_of(np.round(run)) == []


def test_triggers_counts_powers_and_repeated_samples_are_clean():
    generator = np.random.default_rng(0)
    triggers = np.zeros(6000)
    triggers[np.arange(300, 6000, 700)[:, None] + np.arange(20)] = 5.0
    counts = generator.poisson(0.1, 6000).astype(float)
    squares = np.maximum(generator.normal(size=6000), 0.0)
    repeated = np.repeat(generator.normal(size=600), 10)
    sine = np.round(1000 * np.sin(2 * np.pi * np.arange(6000) / 25))
    signals = np.stack([triggers, counts, squares, repeated, sine], axis=1)
    assert bad_stretches_of(signals) == []
    for column in signals.T:
        assert bad_stretches_of(column[:, None]) == []


def test_missing_samples_are_in_no_stretch():
    signals = waves(3000, 3).astype(np.float32)
    signals[100:400] = np.nan
    signals[600:700, 1] = np.inf
    assert bad_stretches_of(signals) == []


def dropout_study(tmp_path, **settings):
    runs = {f"sub-{number}": [noise(1500, 6, seed=number), noise(900, 6, seed=9 + number)] for number in range(3)}
    runs["sub-1"][1][200:400] = 0.0
    runs["sub-2"][0][700:800, 3] = runs["sub-2"][0][700, 3]
    return Study(tmp_path, runs, **settings)


def test_creation_tells_of_them_with_channel_samples_and_share(tmp_path):
    study = dropout_study(tmp_path)
    with pytest.warns(DataWarning) as caught:
        study.create().close()
    (text,) = [str(one.message) for one in caught if "are constant for a while" in str(one.message)]
    assert "Subject sub-1, group signals, run run-1" in text
    assert "all 6 channels, 200 of 900 samples (22.22%) from sample 200, at 0" in text
    assert "Subject sub-2, group signals, run run-0" in text
    assert "channel channel_3, 100 of 1500 samples (6.67%) from sample 700, at" in text
    assert '"bad_stretches": "cut"' in text


def test_they_become_gaps_when_asked_for(tmp_path):
    study = dropout_study(tmp_path, bad_stretches="cut")
    with pytest.warns(DataWarning, match="were cut out there: Subject sub-1"):
        store = study.create()
    assert store.segments("sub-0", "signals").tolist() == [[0, 1500], [1500, 2400]]
    assert store.segments("sub-1", "signals").tolist() == [[0, 1500], [1500, 1700], [1900, 2400]]
    assert store.segments("sub-2", "signals").tolist() == [[0, 700], [800, 1500], [1500, 2400]]
    assert store.source_samples("sub-1", "signals").tolist() == [[0, 0], [0, 1], [400, 1]]
    note = store.attributes("sub-1", "signals").preparation[0]
    assert note == {"step": "cut_bad_stretches", "samples_removed": {"run-0": 0, "run-1": 200}}
    good = np.delete(study.runs["sub-1"][1], slice(200, 400), axis=0).astype(np.float64)
    np.testing.assert_allclose(store.mean("sub-1", "signals")[1], good.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(store.std("sub-1", "signals")[1], good.std(axis=0), rtol=1e-12)
    assert faults_of_store(study.target) == []


def test_they_become_masked_samples_where_missing_ones_do(tmp_path):
    study = dropout_study(tmp_path, bad_stretches="cut", missing="mask")
    with pytest.warns(DataWarning, match="were cut out there"):
        store = study.create()
    assert store.segments("sub-1", "signals").tolist() == [[0, 1500], [1500, 2400]]
    assert np.flatnonzero(store.masked_rows("sub-1", "signals")).tolist() == list(range(1700, 1900))
    assert faults_of_store(study.target) == []


def test_they_are_refused_when_asked_for(tmp_path):
    study = dropout_study(tmp_path, bad_stretches="error")
    with pytest.raises(
        DataError, match=r"Subject sub-1, group signals, run run-1: signals are constant for a while .* 200 of 900"
    ):
        study.create()
    assert not study.target.exists()


def test_a_run_that_would_lose_most_of_its_samples_is_refused(tmp_path):
    signals = noise(1000, 4)
    signals[300:950, 2] = 1.0
    study = Study(tmp_path, {"sub-0": [signals]}, bad_stretches="cut")
    with pytest.raises(DataError, match="would cut out 65% of the samples .*channel channel_2"):
        study.create()


def test_the_key_is_checked(tmp_path):
    study = Study(tmp_path, {"sub-0": [noise(100)]}, bad_stretches="mask")
    with pytest.raises(ConfigurationError, match="bad_stretches"):
        study.create()
    assert json.loads((tmp_path / "config.json").read_text())["signals"]["bad_stretches"] == "mask"


def test_arrays_are_looked_at_as_well():
    arrays = [noise(1000, 4, seed=seed) for seed in range(2)]
    arrays[1][100:200] = 3.0
    with pytest.warns(DataWarning, match=r"The array training-1: all 4 channels, 100 of 1000 samples"):
        MultiSubjectDataset.from_arrays(arrays)
    with pytest.raises(DataError, match="The array training-1: signals are constant for a while"):
        MultiSubjectDataset.from_arrays(arrays, bad_stretches="error")
    for missing, segments in (("error", [[0, 100], [200, 1000]]), ("mask", [[0, 1000]])):
        with pytest.warns(DataWarning, match="were cut out there"):
            dataset = MultiSubjectDataset.from_arrays(arrays, bad_stretches="cut", missing=missing)
        own = dataset.training_set.segments
        found = np.stack([own.start, own.stop], axis=1)[own.subject == 1].tolist()
        assert found == segments
        assert dataset.n_masked == (100 if missing == "mask" else 0)


def test_blocks_of_channels_do_not_show(monkeypatch):
    signals = waves(3000, 5).astype(np.float32)
    signals[500:900, 4] = 2.0
    signals[1000:1100] = 0.0
    expected = [(one.channel, one.stretches.tolist()) for one in bad_stretches_of(signals)]
    monkeypatch.setattr(bad_stretches, "CHANNELS_PER_BLOCK", 2)
    assert [(one.channel, one.stretches.tolist()) for one in bad_stretches_of(signals)] == expected
    assert expected == [(None, [[1000, 1100]]), (4, [[500, 900]])]


def spoilt(kind):
    """Signals of 5 channels with something wrong in one or all of them."""
    signals = waves(3000, 5).astype(np.float32)
    if kind == "held at the end":
        signals[2990:, 3] = signals[2990, 3]
    elif kind == "zeros in turn":
        signals[np.arange(3000) % 5 == 0, :4] = 0.0
    elif kind == "two rows of zeros":
        signals[[700, 2100]] = 0.0
    elif kind == "coarse":
        signals = np.round(signals * 2)
    elif kind == "clipped":
        signals[:, 1] = np.clip(signals[:, 1], -0.5, 9.0)
    elif kind == "rails far apart":
        signals[np.arange(3000) % 290 == 0, 2] = signals[:, 2].max() + 1
    elif kind == "spikes":
        signals[[0, 2999], 4] = 500.0
    elif kind == "infinite":
        signals[1000:1010, 0] = np.inf
    elif kind == "missing":
        signals[1000:1010, 0], signals[1500:1600, 1] = np.nan, 3.0
    return signals


KINDS = ["nothing", "held at the end", "zeros in turn", "two rows of zeros", "coarse", "clipped", "rails far apart"]


@pytest.mark.parametrize("kind", [*KINDS, "spikes", "infinite", "missing"])
@pytest.mark.parametrize("bytes_in_cache", [2**19, 5 * 4 * 7])
def test_a_first_look_row_by_row_misses_nothing_that_all_columns_show(kind, bytes_in_cache, monkeypatch):
    signals = spoilt(kind)
    monkeypatch.setattr(bad_stretches, "suspects_of", lambda signals: Suspects.all(signals.shape[1]))
    expected = [(one.kind, one.channel, one.stretches.tolist(), one.value) for one in bad_stretches_of(signals)]
    monkeypatch.undo()
    monkeypatch.setattr(stretches, "BYTES_IN_CACHE", bytes_in_cache)
    found = [(one.kind, one.channel, one.stretches.tolist(), one.value) for one in bad_stretches_of(signals)]
    assert found == expected


def test_a_first_look_leaves_sound_channels_alone():
    signals = spoilt("held at the end")
    suspects = suspects_of(signals)
    assert suspects.channels.tolist() == [False, False, False, True, False]
    assert not suspects.together


def test_what_others_have_marked_bad_is_not_told_again(tmp_path):
    signals = waves(300, 6, rate=0.5).astype(np.float32)
    signals[50:80] = 0.0
    study = Study(
        tmp_path,
        {"sub-0": [signals]},
        sampling_frequency=0.5,
        confounds="confounds.tsv",
        confounds_strategy=["scrub"],
        confounds_parameters={"scrub": 0, "fd_threshold": 0.5, "std_dvars_threshold": 100},
    )
    displacement = np.where((np.arange(300) >= 50) & (np.arange(300) < 80), 1.0, 0.0)
    rows = "".join(f"{value}\t0.0\n" for value in displacement)
    (study.ready / "sub-0" / "confounds.tsv").write_text("framewise_displacement\tstd_dvars\n" + rows)
    with pytest.warns(DataWarning) as caught:
        store = study.create()
    assert not [one for one in caught if "are constant for a while" in str(one.message)]
    assert store.segments("sub-0", "signals").tolist() == [[0, 50], [80, 300]]


def test_they_are_kept_from_cleaning(tmp_path):
    # A sine in the confounds is regressed out; zeros among the signals would change its weight.
    signals = waves(300, 6, rate=0.5).astype(np.float32)
    motion = np.sin(np.arange(300) / 3)
    signals += motion[:, None].astype(np.float32)
    signals[50:80] = 0.0
    settings = {
        "sampling_frequency": 0.5,
        "confounds": "confounds.tsv",
        "confounds_strategy": ["trans_x"],
        "bad_stretches": "cut",
    }
    missing = signals.copy()
    missing[50:80] = np.nan
    stores = []
    for name, run, more in (("cut", signals, {}), ("missing", missing, {"missing": "segment"})):
        study = Study(tmp_path / name, {"sub-0": [run]}, **settings, **more)
        (study.ready / "sub-0" / "confounds.tsv").write_text("trans_x\n" + "".join(f"{one}\n" for one in motion))
        with pytest.warns(DataWarning):
            stores.append(study.create())
    cut, expected = (store.read("sub-0", "signals") for store in stores)
    assert stores[0].segments("sub-0", "signals").tolist() == [[0, 50], [80, 300]]
    np.testing.assert_array_equal(cut, expected)
