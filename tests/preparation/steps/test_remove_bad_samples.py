"""The step remove_bad_samples on artefacts that were planted, on clean data, and on a published example of the test."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynml.conversion.creation import create_store
from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.preparation import chain
from dynml.preparation.steps.outliers import generalized_esd, robust_scores
from dynml.recording import recording_of_runs
from dynml.store.reading import Store

RATE = 100.0
N_SAMPLES = 12_000
STRETCHES = [np.array([[3, 7000], [7100, 12_000]]), np.array([[0, 9000]])]
ROSNER = [
    *[-0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69, 1.70],
    *[1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40],
    *[2.47, 2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01],
]


def noise(n_samples=N_SAMPLES, n_channels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, n_channels))


def applied(recording, warned=None, **parameters):
    steps = chain.chosen_steps([{"step": "remove_bad_samples", **parameters}])
    chain.layout_after(
        steps,
        chain.Layout(sampling_frequency=recording.sampling_frequency, channel_names=recording.channel_names),
        "Subject s, group g",
    )
    return chain.applied(steps, recording, "Subject s, group g", warned or DataWarnings())


def one_run(signals, **settings):
    return recording_of_runs([signals], sampling_frequency=RATE, **settings)


def good_rows(recording):
    good = np.zeros(recording.n_samples, dtype=bool)
    for start, stop in recording.segments.tolist():
        assert not good[start:stop].any()
        good[start:stop] = True
    return good


def test_rosners_example_has_three_outliers():
    # Of 54 values, ten looked for at 5 %: the published answer is the three largest, although the first test is passed.
    values = np.random.default_rng(0).permutation(ROSNER)
    found = generalized_esd(values, 0.05, 10)
    assert sorted(values[found]) == [5.34, 5.42, 6.01]
    assert not generalized_esd(values, 0.05, 1).any()
    np.testing.assert_array_equal(generalized_esd(-values, 0.05, 10), found)


def test_robust_scores_of_a_few_numbers():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    np.testing.assert_allclose(robust_scores(values), np.array([2, 1, 0, 1, 97]) / 1.4826)
    np.testing.assert_array_equal(robust_scores(np.array([1.0, 1.0, 1.0, 2.0])), [0, 0, 0, np.inf])


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.integers(0, 58), min_size=1, max_size=12, unique=True),
    factor=st.sampled_from([4.0, 20.0, 1e4]),
    method=st.sampled_from([{}, {"method": "robust_z"}, {"metric": "maximum_absolute"}, {"channels": "any"}]),
    seed=st.integers(0, 1000),
)
def test_every_planted_artefact_goes_and_little_else(places, factor, method, seed):
    signals = noise(seed=seed)
    planted = np.zeros(len(signals), dtype=bool)
    for place in places:
        planted[place * 200 + 30 : place * 200 + 230] = True
    signals[planted] *= factor
    found = applied(one_run(signals), **method)
    good = good_rows(found)
    # A window that the artefact only grazes may stay, unless the artefact fills it.
    filled = planted.reshape(-1, 200).mean(axis=1) > 0.5
    assert not (good.reshape(-1, 200).any(axis=1) & filled).any()
    clean = ~planted.reshape(-1, 200).any(axis=1)
    assert (~good.reshape(-1, 200).any(axis=1) & clean).sum() <= 2
    assert found.preparation[-1]["samples_removed"] == (~good).sum()
    assert found.preparation[-1]["stretches_removed"] == int((np.diff([1, *good.astype(int), 1]) == -1).sum())


@pytest.mark.parametrize("method", [{}, {"channels": "any"}, {"method": "robust_z"}, {"metric": "maximum_absolute"}])
def test_clean_gaussian_data_are_left_as_they_are(method):
    # At a level of 5 %, two of forty runs lose a window; more than nine do so by a chance of 1 in 100,000.
    shares = [applied(one_run(noise(seed=seed)), **method).preparation[-1]["share_removed"] for seed in range(40)]
    assert sum(share > 0 for share in shares) <= 9
    assert np.mean(shares) < 0.005


@settings(max_examples=25, deadline=None)
@given(
    scales=st.lists(st.sampled_from([1e-12, 1e-3, -1.0, 7.0, -1e9]), min_size=4, max_size=4),
    metric=st.sampled_from(["std", "maximum_absolute"]),
)
def test_units_signs_and_offsets_change_nothing(scales, metric):
    signals = noise()
    signals[4000:4300] *= 9
    signals[8000:8100, 2] += 15
    plain = applied(one_run(signals), metric=metric)
    scaled = applied(one_run((signals + 3.0) * scales), metric=metric)
    assert plain.preparation[-1]["samples_removed"] > 0
    np.testing.assert_array_equal(scaled.segments, plain.segments)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 18_000), min_size=1, max_size=6),
    st.sampled_from([None, 100, 50, 40]),
    st.sampled_from([0.0, 0.3]),
)
def test_each_row_still_says_which_sample_it_is(places, rate, margin):
    # The ramp's value is the sample's number within its run; a second channel has the artefacts.
    runs = [np.stack([np.arange(n), 1e-3 * noise(n, 1)[:, 0]], axis=1) for n in (12_000, 9000)]
    for place in places:
        run, start = (0, place) if place < 11_000 else (1, place - 11_000)
        runs[run][start : start + 260, 1] *= 1000
    recording = recording_of_runs(runs, sampling_frequency=RATE, channel_names=("ramp", "noise"), stretches=STRETCHES)
    if rate is not None:
        downsample = chain.chosen_steps([{"step": "downsample", "sampling_frequency": rate}])
        recording = chain.applied(downsample, recording, "s", DataWarnings())
    found = applied(recording, margin=margin, channels="any", maximum_share=1.0)
    assert found.n_samples == recording.n_samples
    np.testing.assert_array_equal(found.signals, recording.signals)
    if rate in (None, 100):
        np.testing.assert_array_equal(found.run_starts, recording.run_starts)
    assert found.preparation[-1]["samples_removed"] > 0
    for (start, stop), (sample, run), its_run in zip(found.segments, found.source_samples, found.segment_runs):
        assert run == its_run
        expected = sample + found.source_offset + np.arange(stop - start) * found.source_step
        # The filter against aliasing errs up and down by turns; half a sample would be a wrong row.
        ramp = found.signals[start:stop, 0]
        assert abs(np.mean(ramp - expected)) < 0.1
    good, before = good_rows(found), good_rows(recording)
    assert not (good & ~before).any()


def test_alignment_of_ratios_that_are_no_whole_number_is_exact():
    signals = noise(6000)
    signals[2011:2400] *= 50
    recording = one_run(signals)
    downsample = chain.chosen_steps([{"step": "downsample", "sampling_frequency": 40}])
    found = applied(chain.applied(downsample, recording, "s", DataWarnings()))
    starts = found.segments[:, 0]
    assert len(starts) == 2
    # From the first row, which is sample 0, rows are 2.5 samples apart.
    np.testing.assert_array_equal(found.source_samples[:, 0], 2.5 * starts)


def test_one_channel_of_many_stands_out_only_by_itself():
    signals = noise(n_channels=60)
    signals[4000:4200, 7] *= 1.6
    together, each = (applied(one_run(signals), channels=channels) for channels in ("mean", "any"))
    assert together.preparation[-1]["samples_removed"] == 0
    np.testing.assert_array_equal(each.segments, [[0, 4000], [4200, 12_000]])


def test_flat_stretches_go_as_well():
    signals = noise()
    signals[5000:5400] = 0.0
    np.testing.assert_array_equal(applied(one_run(signals)).segments, [[0, 5000], [5400, 12_000]])


def test_a_jump_of_level_is_seen_by_the_maximum():
    signals = noise() + 100.0
    signals[5000:5400] += 12.0
    found = applied(one_run(signals), metric="maximum_absolute")
    np.testing.assert_array_equal(found.segments, [[0, 5000], [5400, 12_000]])
    assert applied(one_run(signals), metric="std").preparation[-1]["samples_removed"] == 0


def test_margins_end_with_the_recording_and_spread_over_gaps():
    signals = noise()
    signals[:200] *= 30
    signals[6800:7000] *= 30
    stretches = [np.array([[0, 7000], [7010, 12_000]])]
    found = applied(one_run(signals, stretches=stretches), margin=0.5)
    np.testing.assert_array_equal(found.segments, [[250, 6750], [7050, 12_000]])
    np.testing.assert_array_equal(found.source_samples, [[250, 0], [7050, 0]])


def test_every_run_is_compared_with_itself_alone():
    # The second run is ten times as large throughout, which is no artefact.
    runs = [noise(6000), 10 * noise(6000, seed=1)]
    runs[1][2000:2200] *= 5
    found = applied(recording_of_runs(runs, sampling_frequency=RATE, run_names=("a", "b")))
    np.testing.assert_array_equal(found.segments, [[0, 6000], [6000, 8000], [8200, 12_000]])
    note = found.preparation[-1]
    assert note["runs"] == {
        "a": {"samples": 6000, "samples_removed": 0, "stretches_removed": 0},
        "b": {"samples": 6000, "samples_removed": 200, "stretches_removed": 1},
    }
    assert (note["significance_level"], note["samples_removed"], note["stretches_removed"]) == (0.05, 200, 1)
    assert "threshold" not in note


def test_large_losses_are_remarked_and_larger_ones_refused():
    signals = noise()
    signals[1000:4000] *= 8
    warned = DataWarnings()
    assert applied(one_run(signals), warned).preparation[-1]["share_removed"] == 0.25
    with pytest.warns(DataWarning, match="removed more than 20% of the good samples: Subject s, group g: 25%"):
        warned.tell()
    with pytest.raises(DataError, match=r"would remove \d+% of the good samples of run run_0, more than .* \(10%\)"):
        applied(one_run(signals), maximum_share=0.1)
    with pytest.raises(DataError, match="would remove 100%"):
        applied(one_run(signals), margin=200.0, maximum_share=1.0)
    quiet = DataWarnings()
    applied(one_run(noise()), quiet)
    assert not quiet._details


def test_nearly_half_of_a_run_can_go_and_more_is_refused():
    for n_bad, refused in ((24, False), (29, False), (31, True)):
        signals = noise(seed=3)
        signals[: n_bad * 200] *= 8
        if refused:
            # Now the quiet windows are the few, and they are no more than half.
            signals[: n_bad * 200] /= 8
            with pytest.raises(DataError, match="more than maximum_share"):
                applied(one_run(signals), method="robust_z", threshold=0.3)
        else:
            found = applied(one_run(signals))
            np.testing.assert_array_equal(found.segments, [[n_bad * 200, 12_000]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window_length": 0}, "window_length"),
        ({"metric": "kurtosis"}, "metric"),
        ({"threshold": 3}, "threshold = 3 is not accepted: use left out where method is 'gesd'"),
        ({"method": "robust_z", "significance_level": 0.1}, "significance_level"),
        ({"margin": -1}, "margin"),
        ({"maximum_share": 0}, "maximum_share"),
        ({"channels": "all"}, "channels"),
    ],
)
def test_values_that_are_not_accepted(parameters, message):
    with pytest.raises(ConfigurationError) as caught:
        chain.chosen_steps([{"step": "remove_bad_samples", **parameters}])
    assert message.split(" ")[0] in str(caught.value)


def test_recordings_that_cannot_be_judged_are_refused():
    with pytest.raises(DataError, match="run run_0 has 9 windows of 2 s, but .* compares at least 10"):
        applied(one_run(noise(1900)))
    with pytest.raises(DataError, match="window_length 0.01 s, but needs at least two samples, 0.02 s"):
        applied(one_run(noise()), window_length=0.01)
    odd = one_run(noise())
    odd = chain.applied(
        chain.chosen_steps([{"step": "downsample", "sampling_frequency": 99.9}]), odd, "s", DataWarnings()
    )
    with pytest.raises(DataError, match="put it before 'downsample'"):
        applied(odd)


@pytest.mark.parametrize("missing", ["segment", "mask"])
def test_a_store_holds_gaps_or_masked_samples(tmp_path, missing):
    folder = tmp_path / "ready" / "s1"
    folder.mkdir(parents=True)
    signals = noise(6000).astype(np.float32)
    signals[2000:2400] *= 40
    np.save(folder / "rest.npy", signals)
    group = {"type": "timeseries", "files": "rest.npy", "sampling_frequency": RATE, "missing": missing}
    group["preparation"] = [{"step": "remove_bad_samples", "window_length": 2}]
    (tmp_path / "config.json").write_text(json.dumps({"signals": group}))
    (tmp_path / "all.txt").write_text("s1\n")
    lists = {"training": tmp_path / "all.txt"}
    create_store(tmp_path / "ready", tmp_path / "s.hdf5", tmp_path / "config.json", lists)
    with Store(tmp_path / "s.hdf5") as store:
        segments = store.segments("s1", "signals")
        stored = store.read("s1", "signals")
        note = store.attributes("s1", "signals").preparation[0]
    assert (note["step"], note["samples_removed"]) == ("remove_bad_samples", 400)
    kept = np.r_[0:2000, 2400:6000]
    expected = (signals - signals[kept].mean(axis=0, dtype=float)) / signals[kept].std(axis=0, dtype=float)
    np.testing.assert_allclose(stored[kept], expected[kept], atol=1e-5)
    if missing == "mask":
        np.testing.assert_array_equal(segments, [[0, 6000]])
        assert np.isnan(stored[2000:2400]).all()
    else:
        np.testing.assert_array_equal(segments, [[0, 2000], [2400, 6000]])


@pytest.mark.parametrize("n_windows", [12, 15, 30])
def test_short_runs_of_clean_data_lose_next_to_nothing(n_windows):
    """Looking for as many outliers as half of few windows must not take the outer half of ordinary ones."""
    shares = []
    for seed in range(100):
        recording = one_run(noise(n_windows * 200, seed=seed))
        shares.append(1.0 - good_rows(applied(recording)).mean())
    assert np.mean(shares) < 0.01
    assert max(shares) < 0.3
