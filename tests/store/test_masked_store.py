"""Masked samples in stores: `missing` is error, segment or mask, read back by h5py and worked out again by NumPy."""

import dataclasses
import itertools
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from report_making import made_experiment
from store_making import Study, noise

from dynml.conversion.extension import add_subjects, apply_preparation
from dynml.errors import DataError, DataWarning
from dynml.recording import recording_of_runs
from dynml.report.experiment import read_reported_experiment
from dynml.report.parts.data_facts import data_facts
from dynml.store.missing.gaps import joined_over_gaps
from dynml.store.printing import architecture_lines, warnings_of
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

SCRIPT = Path(__file__).parents[2] / "scripts_python" / "dynml_create_hdf5_dataset.py"
RATE, FACTOR, N_EMBEDDINGS = 100.0, 2, 5
CHAIN = [
    {"step": "filter", "low_frequency": 2, "high_frequency": 15},
    {"step": "downsample", "sampling_frequency": RATE / FACTOR},
    {"step": "time_delay_embedding_pca", "n_embeddings": N_EMBEDDINGS, "n_components": 6},
]


def spoilt_study(folder, missing, preparation=(), **settings):
    """Three subjects, one of them with two runs, with gaps of every kind."""
    runs = {
        "sub-a": [noise(1200, seed=1), noise(900, seed=2)],
        "sub-b": [noise(1000, seed=3)],
        "sub-c": [noise(1100, seed=4)],
    }
    first, second = runs["sub-a"]
    first[:8] = np.nan
    first[300:340] = np.nan  # whole rows after downsampling
    first[700:741, 2] = np.inf  # no whole number of them, in a single channel
    second[400, 0], second[402, 1] = np.nan, np.nan  # a single good sample between
    second[-3:] = np.nan
    runs["sub-c"][0][250:850] = np.nan  # longer than all that is good
    folder.mkdir()
    given = {"sampling_frequency": RATE, "preparation": list(preparation), **settings}
    return Study(folder, runs, missing=missing, **given)


def contents(target, subject):
    """What h5py finds of a group: arrays, and attributes."""
    with h5py.File(target) as file:
        group = file[f"subjects/{subject}/signals"]
        return {name: group[name][:] for name in group if name != "events"}, dict(group.attrs)


def in_segments(found):
    """Rows that lie in a segment, (T,) bool."""
    inside = np.zeros(len(found["data"]), bool)
    for start, stop in found["segments"]:
        inside[start:stop] = True
    return inside


def source_of_rows(found, attributes):
    """Original sample of every row within segments, in order."""
    step, offset = attributes.get("source_step", 1.0), attributes.get("source_offset", 0.0)
    pieces = zip(found["segments"], found["source_samples"])
    return np.concatenate([first + offset + np.arange(stop - start) * step for (start, stop), (first, _) in pieces])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Stores of the same recordings, cut and masked, through all steps; the masked one made by the script."""
    folder = tmp_path_factory.mktemp("masked")
    cut = spoilt_study(folder / "cut", "segment", CHAIN)
    with pytest.warns(DataWarning, match="Missing samples were cut out"):
        cut.create().close()
    masked = spoilt_study(folder / "masked", "mask", CHAIN)
    masked.write_inputs()
    paths = [masked.ready, masked.target, masked.folder / "config.json", *masked.list_files().values()]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, paths)], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return cut, masked, done.stderr


def test_all_steps_and_fits_give_the_same_rows_whether_cut_or_masked(prepared):
    cut, masked, told = prepared
    for subject in cut.runs:
        old, old_attributes = contents(cut.target, subject)
        new, new_attributes = contents(masked.target, subject)
        good, inside = in_segments(old), in_segments(new)
        observed = inside & np.isfinite(new["data"]).all(axis=1)
        # To the last bit the same rows are observed; between them, rows are NaN in all channels.
        np.testing.assert_array_equal(observed, good)
        np.testing.assert_array_equal(new["data"][observed], old["data"][good])
        assert np.isnan(new["data"][inside & ~observed]).all()
        assert new_attributes.get("n_masked", 0) == (inside & ~observed).sum()
        assert ("n_masked" in new_attributes) == (subject == "sub-a")
        for name in ("mean", "std", "run_names"):
            np.testing.assert_array_equal(new[name], old[name])
        for name in ("rank", "sampling_frequency", "preparation", "sources"):
            assert new_attributes[name] == old_attributes[name]
        # The source samples of observed rows are those of the cut store.
        sources = source_of_rows(new, new_attributes)[observed[inside]]
        np.testing.assert_allclose(sources, source_of_rows(old, old_attributes), atol=0.5)
    with h5py.File(cut.target) as old_file, h5py.File(masked.target) as new_file:
        (old_fit,), (new_fit,) = (file["preparation/signals"].values() for file in (old_file, new_file))
        np.testing.assert_array_equal(new_fit["components"][:], old_fit["components"][:])
    assert "Missing samples were masked: Subject sub-a" in told
    assert "Gaps longer than all good samples of their run stay cuts" in told
    assert "Gaps whose length is not a whole number of rows after downsampling are cut out, not masked" in told


def test_gaps_are_joined_where_they_are_whole_rows_and_not_too_long(prepared):
    _, masked, _ = prepared
    (old, _), (new, attributes) = contents(prepared[0].target, "sub-a"), contents(masked.target, "sub-a")
    # Run 1: joined over 300:340, but not over 700:741; run 2: samples 400 to 402 are no whole number of rows.
    assert len(old["segments"]) == 5
    assert new["segments"].tolist() == [
        [old["segments"][0, 0], old["segments"][1, 1]],
        *old["segments"][2:].tolist(),
    ]
    assert new["segment_runs"].tolist() == [0, 0, 1, 1]
    # 40 samples are 20 rows; the embedding takes two more from either side.
    assert attributes["n_masked"] == 20 + 2 * (N_EMBEDDINGS // 2)


def test_without_steps_rows_are_raw_samples_standardized_over_what_is_observed(tmp_path):
    study = spoilt_study(tmp_path / "raw", "mask")
    with pytest.warns(DataWarning, match=r"single sample were masked, too"):
        store = study.create()
    for subject, runs in study.runs.items():
        raw = np.concatenate(runs).astype(np.float64)
        good = np.isfinite(raw).all(axis=1)
        borders = np.cumsum([0, *map(len, runs)])
        if subject == "sub-a":
            assert good[1200 + 401]
            good[1200 + 401] = False
        expected = np.full(raw.shape, np.nan)
        for start, stop in itertools.pairwise(borders):
            rows = np.arange(start, stop)[good[start:stop]]
            expected[rows] = (raw[rows] - raw[rows].mean(axis=0)) / raw[rows].std(axis=0)
        found, attributes = contents(study.target, subject)
        inside = in_segments(found)
        np.testing.assert_allclose(found["data"][inside], expected[inside], atol=2e-6)
        assert inside[good].all()
        assert attributes.get("n_masked", 0) == (inside & ~good).sum()
    assert store.segments("sub-a", "signals").tolist() == [[8, 1200], [1200, 2097]]
    assert store.attributes("sub-a", "signals").n_masked == 40 + 41 + 3
    assert store.segments("sub-c", "signals").tolist() == [[0, 250], [850, 1100]]
    assert store.masked_rows("sub-a", "signals").sum() == 84
    assert not store.masked_rows("sub-b", "signals").any()
    assert faults_of_store(study.target) == []
    lines = list(architecture_lines(store))
    header = next(line for line in lines if line.startswith("subject"))
    row = dict(zip(header.split(), next(line for line in lines if line.startswith("sub-a")).split()))
    assert (row["samples"], row["masked"], row["segments"]) == ("2089", "84", "2")
    assert any("3589 samples (84 masked)" in line for line in lines)


def test_a_store_of_cut_samples_says_nothing_of_masks(tmp_path):
    study = spoilt_study(tmp_path / "cut", "segment")
    with pytest.warns(DataWarning, match="Missing samples were cut out"):
        store = study.create()
    assert "n_masked" not in contents(study.target, "sub-a")[1]
    assert not any("masked" in line for line in architecture_lines(store) if "config" not in line)
    with pytest.raises(DataError, match=r'"missing": "segment" to cut such samples out, or "mask" to keep them'):
        spoilt_study(tmp_path / "refused", "error").create()


def test_a_run_without_two_observed_neighbours_is_refused_by_name(tmp_path):
    study = spoilt_study(tmp_path / "sparse", "mask")
    sparse = noise(40, seed=9)
    sparse[::2] = np.nan
    study.save("sub-b", 0, sparse)
    with pytest.raises(DataError, match="sub-b, group signals, run run-0 has no two neighbouring samples that are fin"):
        study.create()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda group: group["data"].__setitem__((50, 1), np.nan), "1 values within its segments are NaN or infinite"),
        (lambda group: group["data"].__setitem__(50, np.nan), "85 rows within its segments are masked, but"),
        (lambda group: group.attrs.__setitem__("n_masked", 3), "84 rows within its segments are masked, but .* says 3"),
        (lambda group: group["data"].__setitem__(8, np.nan), "a segment begins or ends with a masked row"),
        (lambda group: group.attrs.__delitem__("n_masked"), "336 values within its segments are NaN or infinite$"),
    ],
)
@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_verification_finds_rows_that_are_no_masked_samples(tmp_path, spoil, fault):
    study = spoilt_study(tmp_path / "spoilt", "mask")
    study.create().close()
    assert faults_of_store(study.target) == []
    with h5py.File(study.target, "r+") as file:
        spoil(file["subjects/sub-a/signals"])
    faults = [one for one in faults_of_store(study.target) if "SHA-256" not in one]
    assert any(re.search(fault, one.rstrip(".")) for one in faults), faults


def test_borders_that_a_file_states_stay_cuts():
    signals = np.arange(80.0).reshape(40, 2)
    recording = recording_of_runs(
        [signals],
        sampling_frequency=1.0,
        stretches=[np.array([[0, 10], [12, 20], [20, 30], [31, 40]])],
        parts=[np.array([0, 0, 1, 1])],
    )
    joined = joined_over_gaps(recording)
    assert joined.segments.tolist() == [[0, 20], [20, 40]]
    assert joined.source_samples.tolist() == [[0, 0], [20, 0]]
    assert joined.segment_parts.tolist() == [0, 1]
    expected = signals.copy()
    expected[[10, 11, 30]] = np.nan
    np.testing.assert_array_equal(joined.signals, expected)
    assert np.isfinite(signals).all()


@pytest.mark.parametrize(("second_source", "is_joined"), [(25, True), (24, False), (26, False)])
def test_downsampled_segments_are_joined_where_samples_agree(second_source, is_joined):
    recording = recording_of_runs([np.ones((20, 1))], sampling_frequency=1.0, stretches=[np.array([[0, 8], [10, 20]])])
    recording = dataclasses.replace(recording, source_step=2.5, source_samples=np.array([[0, 0], [second_source, 0]]))
    if is_joined:
        assert joined_over_gaps(recording).segments.tolist() == [[0, 20]]
    else:
        with pytest.warns(DataWarning, match="not a whole number of rows"):
            assert joined_over_gaps(recording).segments.tolist() == [[0, 8], [10, 20]]


@pytest.mark.parametrize(("second", "is_joined"), [(9, True), (8, True), (10, False)])
def test_a_gap_longer_than_all_good_samples_stays(second, is_joined):
    stretches = np.array([[0, 4], [4 + second, 4 + second + 5]])
    recording = recording_of_runs([np.ones((30, 1))], sampling_frequency=1.0, stretches=[stretches])
    if is_joined:
        assert len(joined_over_gaps(recording).segments) == 1
    else:
        with pytest.warns(DataWarning, match="longer than all good samples .* run run_0: 10 samples"):
            assert len(joined_over_gaps(recording).segments) == 2


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_added_and_newly_prepared_subjects_are_masked_as_the_store_is(prepared, tmp_path):
    _, masked, _ = prepared
    for name in ("sub-y", "sub-z"):
        (tmp_path / "new" / name).mkdir(parents=True)
        for number, run in enumerate(masked.runs["sub-a"]):
            np.save(tmp_path / "new" / name / f"run-{number}.npy", run)
    apply_preparation(masked.target, tmp_path / "new", tmp_path / "applied.hdf5")
    extended = tmp_path / "extended.hdf5"
    extended.write_bytes(masked.target.read_bytes())
    (tmp_path / "list.txt").write_text("sub-y\n")
    add_subjects(tmp_path / "new", extended, masked.folder / "config.json", {"testing": tmp_path / "list.txt"})
    expected, attributes = contents(masked.target, "sub-a")
    for path in (tmp_path / "applied.hdf5", extended):
        found, its_attributes = contents(path, "sub-y")
        assert its_attributes["n_masked"] == attributes["n_masked"]
        for name in ("segments", "source_samples", "mean", "std", "data"):
            np.testing.assert_array_equal(found[name], expected[name])


def test_small_disagreements_do_not_add_up_over_gaps():
    stretches = np.array([[0, 10], [11, 20], [22, 30]])
    recording = recording_of_runs([np.ones((30, 1))], sampling_frequency=1.0, stretches=[stretches])
    # Half an original sample too early after each gap: one after both.
    sources = np.array([[0, 0], [27, 0], [54, 0]])
    recording = dataclasses.replace(recording, source_step=2.5, source_samples=sources)
    with pytest.warns(DataWarning, match="not a whole number of rows"):
        assert joined_over_gaps(recording).segments.tolist() == [[0, 20], [22, 30]]


def test_what_was_told_when_a_store_was_made_is_kept_in_it_and_shown(tmp_path):
    study = spoilt_study(tmp_path / "kept", "segment")
    with pytest.warns(DataWarning, match="Missing samples were cut out") as told:
        study.create().close()
    sentences = [str(one.message) for one in told]
    with Store(study.target) as store:
        assert warnings_of(store) == sentences
        assert f"  warning: {sentences[0]}" in list(architecture_lines(store))
    parameters = {"dataset": {"group": "signals", "subsets": {}}}
    experiment = read_reported_experiment(made_experiment(tmp_path / "run", parameters=parameters))
    assert data_facts(experiment, study.target).warnings == sentences
    assert data_facts(experiment, None).warnings == []
