"""Numbers on subjects against scipy and numpy on whole arrays; flags against what was put into simulated recordings."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import signal, stats

from dynml.analysis import data_measures
from dynml.analysis.covariance_distances import (
    CovarianceShelf,
    distances_from_centre,
    robust_centre,
    shape_of_covariance,
)
from dynml.analysis.data_measures import Spectrum, measure_subject
from dynml.analysis.data_quality import SubjectSummary, find_flags, mains_lines, spectral_slope, summarize
from dynml.conversion.creation import create_store
from dynml.errors import DataError, DataWarning
from dynml.ops.metrics import riemannian_distance
from dynml.store.reading import Store

RATE = 250.0
pytestmark = pytest.mark.filterwarnings("ignore:Missing samples were cut out")


def made_store(folder, recordings, **settings):
    """A store of arrays, {subject: [runs]}; all are training subjects."""
    for subject, runs in recordings.items():
        (folder / "ready" / subject).mkdir(parents=True)
        for number, run in enumerate(runs):
            np.save(folder / "ready" / subject / f"run-{number}.npy", run.astype(np.float32))
    group = {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": RATE, "missing": "segment", **settings}
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    lists = {subset: folder / f"{subset}.txt" for subset in ("training", "validation", "testing")}
    for path in lists.values():
        path.write_text("")
    lists["training"].write_text("".join(f"{subject}\n" for subject in recordings))
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", lists)
    return Store(folder / "store.hdf5")


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """A store whose subject has two runs of different scale and offset and a gap, read in pieces of 101 rows."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(1500, 3)) @ np.array([[1, 0.5, 0], [0, 1, -0.3], [0, 0, 1]]) + 7
    second = 3 * generator.standard_t(6, size=(1100, 3)) - 40
    first[700:760] = np.nan
    monkeypatch.setattr(data_measures, "VALUES_PER_PIECE", 303)
    runs = [first.astype(np.float32), second.astype(np.float32)]
    with made_store(tmp_path, {"sub-1": runs}, standardization="none") as store:
        yield store, runs


def test_masked_samples_count_as_missing_and_are_seen_by_no_number(two_runs, tmp_path):
    cut, runs = two_runs
    (tmp_path / "masked").mkdir()
    with pytest.warns(DataWarning, match="Missing samples were masked"):
        store = made_store(tmp_path / "masked", {"sub-1": runs}, standardization="none", missing="mask")
    found, expected = (measure_subject(one, "sub-1", "signals") for one in (store, cut))
    assert found.description.n_masked == 60
    assert (found.n_segments, expected.n_segments) == (2, 3)
    assert found.n_good == expected.n_good == 2600 - 60
    for name in ("segments", "segment_runs", "source_samples", "covariance", "kurtosis", "amplitudes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.spectrum.power, expected.spectrum.power)
    np.testing.assert_array_equal(found.envelope.highest, expected.envelope.highest)
    summary = summarize(found, participant="sub-1", subset="training")
    assert (summary.missing, summary.n_segments) == (pytest.approx(60 / 2600), 2)
    assert summary.segment_seconds == pytest.approx(2540 / RATE / 2)


def good_segments(runs):
    first, second = (run.astype(np.float64) for run in runs)
    return [first[:700], first[760:], second]


def test_numbers_of_pieces_are_those_of_whole_arrays(two_runs):
    store, runs = two_runs
    measures = measure_subject(store, "sub-1", "signals")
    segments = good_segments(runs)
    by_run = [np.concatenate(segments[:2]), segments[2]]
    centred = np.concatenate([run - run.mean(axis=0) for run in by_run])
    np.testing.assert_allclose(measures.covariance, np.cov(centred.T, bias=True), rtol=1e-9)
    np.testing.assert_allclose(measures.kurtosis, stats.kurtosis(centred, fisher=False), rtol=1e-8)
    from_medians = np.concatenate([np.abs(run - np.median(run, axis=0)) for run in by_run])
    np.testing.assert_allclose(measures.amplitudes, 1.4826 * np.median(from_medians, axis=0), rtol=1e-9)
    assert measures.n_good == 2540
    assert measures.run_starts.tolist() == [0, 1500]


def test_spectrum_of_pieces_is_that_of_the_segments(two_runs):
    store, runs = two_runs
    spectrum = measure_subject(store, "sub-1", "signals").spectrum
    length = 2 * (len(spectrum.frequencies) - 1)
    counts = [1 + (len(segment) - length) // (length // 2) for segment in good_segments(runs)]
    own = [signal.welch(segment, RATE, nperseg=length, axis=0)[1] for segment in good_segments(runs)]
    assert spectrum.n_windows == sum(counts)
    assert length == 256
    np.testing.assert_allclose(spectrum.power, np.average(own, axis=0, weights=counts), rtol=1e-9)


def test_envelopes_keep_every_extreme_and_gaps_stay_empty(two_runs):
    store, runs = two_runs
    envelope = measure_subject(store, "sub-1", "signals").envelope
    signals = np.concatenate(runs)
    assert len(envelope.lowest) == data_measures.N_BINS < len(signals)
    for bin_, (start, stop) in enumerate(zip(envelope.edges[:-1], envelope.edges[1:])):
        rows = signals[start:stop]
        good = rows[np.isfinite(rows).all(axis=1)]
        if len(good) == 0:
            assert np.isnan(envelope.lowest[bin_]).all()
            continue
        np.testing.assert_array_equal(envelope.lowest[bin_], good.min(axis=0))
        np.testing.assert_array_equal(envelope.highest[bin_], good.max(axis=0))
    np.testing.assert_array_equal(np.nanmax(envelope.highest, axis=0), np.nanmax(signals, axis=0))
    assert np.isnan(envelope.lowest).any()


def test_amplitudes_are_those_before_standardization(tmp_path):
    runs = [scale * np.random.default_rng(scale).normal(size=(600, 2)) for scale in (2, 20)]
    with made_store(tmp_path, {"sub-1": runs}, standardization="per_run") as store:
        measures = measure_subject(store, "sub-1", "signals")
    from_medians = np.concatenate([np.abs(run - np.median(run, axis=0)) for run in runs])
    np.testing.assert_allclose(measures.amplitudes, 1.4826 * np.median(from_medians, axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.diagonal(measures.covariance), 1.0, rtol=1e-5)


def test_a_beginning_is_measured_as_if_it_were_all(two_runs):
    store, runs = two_runs
    measures = measure_subject(store, "sub-1", "signals", max_seconds=3.0)
    assert (measures.n_rows, measures.n_good, measures.run_names) == (750, 700, ("run-0",))
    first = runs[0][:700].astype(np.float64)
    np.testing.assert_allclose(measures.covariance, np.cov(first.T, bias=True), rtol=1e-9)
    assert measures.envelope.edges[-1] == 750


def test_a_beginning_without_a_good_sample_is_refused(tmp_path):
    signals = np.random.default_rng(0).normal(size=(900, 2))
    signals[:500] = np.nan
    with (
        made_store(tmp_path, {"sub-1": [signals]}) as store,
        pytest.raises(DataError, match=r"sub-1, group signals: the first 1 s have no good sample"),
    ):
        measure_subject(store, "sub-1", "signals", max_seconds=1.0)


def random_covariance(generator, n_channels=4):
    factor = generator.normal(size=(n_channels, 3 * n_channels))
    return factor @ factor.T / (3 * n_channels)


def test_the_robust_centre_is_the_geometric_median_of_logarithms():
    matrices = [np.exp(value) * np.eye(1) for value in (0.0, 1.0, 1.5, 2.0, 90.0)]
    assert np.log(robust_centre(matrices, n_iterations=500)[0, 0]) == pytest.approx(1.5, abs=1e-3)
    generator = np.random.default_rng(2)
    centre = random_covariance(generator)
    rotated = [centre * np.exp(0.05 * generator.normal()) for _ in range(14)] + [1e6 * np.eye(4)] * 6
    assert riemannian_distance(robust_centre(rotated), centre) < 0.3
    distances = distances_from_centre(rotated)
    assert distances[:14].max() < 0.5 < 10 < distances[14:].min()


def test_the_shape_of_a_covariance_knows_no_scale_and_has_an_inverse():
    covariance = random_covariance(np.random.default_rng(3))
    shape = shape_of_covariance(covariance)
    assert np.linalg.det(shape) == pytest.approx(1)
    np.testing.assert_allclose(shape_of_covariance(1e9 * covariance), shape, rtol=1e-9)
    deficient = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert np.linalg.eigvalsh(shape_of_covariance(deficient)).min() > 1e-3
    np.testing.assert_allclose(shape_of_covariance(np.zeros((3, 3))), np.eye(3))


def test_the_shelf_gives_back_what_was_put_on_it_in_memory_and_on_disk(monkeypatch):
    monkeypatch.setattr("dynml.analysis.covariance_distances.BYTES_IN_MEMORY", 500)
    matrices = [random_covariance(np.random.default_rng(seed)) for seed in range(9)]
    shelf = CovarianceShelf(4)
    for matrix in matrices:
        shelf.append(matrix)
        np.testing.assert_array_equal(shelf[0], matrices[0])
    assert len(shelf) == 9
    np.testing.assert_array_equal(list(shelf), matrices)
    shelf.close()


def test_slopes_and_mains_lines_of_known_spectra():
    frequencies = np.arange(1, 126) * 1.0
    power = frequencies[:, None] ** np.array([-1.5, -1.5])
    assert spectral_slope(Spectrum(frequencies=frequencies, power=power, n_windows=1)) == pytest.approx(-1.5)
    flat = np.ones((125, 2))
    flat[49, 1] = 7.0
    found = Spectrum(frequencies=frequencies, power=flat, n_windows=1)
    np.testing.assert_allclose(mains_lines(found, 50.0), [1.0, 7.0])
    np.testing.assert_allclose(mains_lines(found, 60.0), [1.0, 1.0])
    assert spectral_slope(found) == pytest.approx(0, abs=1e-12)
    slow = Spectrum(frequencies=frequencies[:52], power=flat[:52], n_windows=1)
    assert np.isnan(mains_lines(slow, 50.0)).all()


def recordings_of(seed, n_subjects=20, n_samples=4000, n_channels=6):
    """Homogeneous subjects: the same mixture of coloured noise."""
    generator = np.random.default_rng(seed)
    mixing = np.eye(n_channels) + 0.4 * generator.normal(size=(n_channels, n_channels))
    noise = generator.normal(size=(n_subjects, n_samples, n_channels))
    coloured = signal.lfilter([1], [1, -0.8], noise, axis=1)
    return {f"sub-{number:02d}": one @ mixing for number, one in enumerate(coloured)}


def flags_of(store, max_seconds=None):
    measured = [measure_subject(store, subject, "signals", max_seconds=max_seconds) for subject in store.subjects]
    distances = distances_from_centre([shape_of_covariance(one.covariance) for one in measured])
    summaries = [
        dataclasses.replace(summarize(one, participant=one.subject, subset="training"), distance=distance)
        for one, distance in zip(measured, distances)
    ]
    return dict(zip(store.subjects, find_flags(summaries)))


@pytest.mark.parametrize("standardization", ["none", "per_run"])
def test_each_odd_subject_is_flagged_for_its_own_reason(tmp_path, standardization):
    recordings = recordings_of(1)
    time = np.arange(4000) / RATE
    recordings["sub-03"] *= 5
    recordings["sub-05"][:, 2] += np.sin(2 * np.pi * 50 * time)
    recordings["sub-07"][:, 4] *= 0.05
    recordings["sub-09"][1000:2500] = np.nan
    recordings["sub-11"] = recordings["sub-11"][:1000]
    recordings["sub-13"][::500, 1] *= 25
    recordings["sub-15"] = np.cumsum(recordings["sub-15"], axis=0) * 0.1
    whole = {subject: [signals] for subject, signals in recordings.items()}
    with made_store(tmp_path, whole, standardization=standardization) as store:
        flags = flags_of(store)
    reasons = {subject: {flag.measure for flag in found} for subject, found in flags.items() if found}
    assert set(reasons) == {"sub-03", "sub-05", "sub-07", "sub-09", "sub-11", "sub-13", "sub-15"}
    assert reasons["sub-03"] == {"amplitude"}
    assert reasons["sub-05"] == {"mains"}
    assert reasons["sub-07"] == ({"channels"} if standardization == "per_run" else {"channels", "distance"})
    assert reasons["sub-09"] == {"missing"}
    assert reasons["sub-11"] == {"seconds"} | (reasons["sub-11"] & {"segment_seconds"})
    assert "kurtosis" in reasons["sub-13"]
    assert "slope" in reasons["sub-15"]
    words = {subject: "; ".join(flag.words for flag in found) for subject, found in flags.items()}
    assert "4.9 times" in words["sub-03"] or "5 times" in words["sub-03"] or "5.1 times" in words["sub-03"]
    assert "50 Hz" in words["sub-05"]
    assert "channel_2" in words["sub-05"]
    assert "channel_4 (0.05" in words["sub-07"]
    assert "38% of its samples are missing" in words["sub-09"]
    assert "channel_1" in words["sub-13"]


def test_homogeneous_subjects_are_left_alone(tmp_path):
    flagged = []
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        recordings = {subject: [signals] for subject, signals in recordings_of(10 + seed, n_samples=1500).items()}
        with made_store(tmp_path / str(seed), recordings) as store:
            flagged.append([subject for subject, found in flags_of(store).items() if found])
    assert sum(map(bool, flagged)) <= 1, flagged


def summary(**values):
    given = {
        "subject": "sub", "participant": "sub", "subset": "training", "channel_names": ("a", "b"), "rank": 2,
        "sampling_frequency": 1.0, "seconds": 100.0, "n_segments": 1, "n_runs": 1, "missing": 0.0,
        "segment_seconds": 100.0, "amplitudes": np.ones(2), "slope": -1.0, "mains": np.nan, "mains_frequency": 50.0,
        "mains_channel": "a", "kurtosis": 3.0, "kurtosis_channel": "a", "frequencies": np.ones(1), "power": np.ones(1),
        "distance": 1.0,
    }  # fmt: skip
    return SubjectSummary(**{**given, **values})


def test_too_few_subjects_are_not_judged_and_unknown_numbers_are_never_far():
    odd = summary(amplitudes=np.full(2, 100.0))
    assert find_flags([summary()] * 3 + [odd]) == [[]] * 4
    assert [flag.measure for flag in find_flags([summary()] * 4 + [odd])[-1]] == ["amplitude"]
    assert find_flags([summary()] * 9 + [summary(slope=np.nan, distance=np.nan)])[-1] == []


def test_other_ranks_and_other_channels_are_named():
    others = [summary(rank=1), summary(channel_names=("a", "c"))]
    flags = find_flags([summary()] * 5 + others)
    assert [len(found) for found in flags] == [0] * 5 + [1, 1]
    assert "rank 1, those of most subjects 2" in flags[5][0].words
    assert flags[6][0].measure == "channels"


@pytest.mark.parametrize(("n_far", "expected"), [(1, 1), (4, 4)])
def test_several_odd_subjects_do_not_hide_one_another(n_far, expected):
    generator = np.random.default_rng(0)
    normal = [summary(amplitudes=np.exp(0.1 * generator.normal(size=2))) for _ in range(8)]
    flags = find_flags([*normal, *(summary(amplitudes=np.full(2, 50.0)) for _ in range(n_far))])
    assert sum(any(flag.measure == "amplitude" for flag in found) for found in flags) == expected
