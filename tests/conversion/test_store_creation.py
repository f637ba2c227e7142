import json
import os
import pickle
import re
import warnings

import h5py
import numpy as np
import pytest
import scipy.signal
from store_making import Study, noise, two_subjects

from dynml.conversion import subject_reading
from dynml.errors import ConfigurationError, DataError, DataWarning, DynmlError
from dynml.files import sha256_of_file
from dynml.store.reading import Store


def stored(study: Study, **options) -> Store:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        return study.create(**options)


def test_layout_is_what_the_page_promises(tmp_path):
    study = two_subjects(tmp_path)
    study.lists = {"training": ["sub-b"], "validation": ["sub-a"], "testing": []}
    stored(study)
    with h5py.File(study.target) as file:
        assert file.attrs["format"].decode() == "dynml"
        assert file.attrs["format_version"] == 1
        assert {"dynml_version", "created"} <= set(file.attrs)
        assert json.loads(file.attrs["config"]) == study.config
        assert file["subsets/training"].asstr()[:].tolist() == ["sub-b"]
        assert file["subsets/testing"].shape == (0,)
        assert file["subjects/sub-a"].attrs["participant"].decode() == "sub-a"
        group = file["subjects/sub-a/signals"]
        assert group["data"].shape == (180, 4)
        assert group["data"].dtype == np.float32
        assert group["data"].fletcher32
        assert group["data"].compression is None
        assert group["segments"][:].tolist() == [[0, 120], [120, 180]]
        assert group["segment_runs"][:].tolist() == [0, 1]
        assert group["run_names"].asstr()[:].tolist() == ["run-0", "run-1"]
        assert group["source_samples"][:].tolist() == [[0, 0], [0, 1]]
        assert group["mean"].shape == group["std"].shape == (2, 4)
        assert group["mean"].dtype == np.float64
        assert group.attrs["type"].decode() == "timeseries"
        assert group.attrs["sampling_frequency"] == 100.0
        assert [name.decode() for name in group.attrs["channel_names"]] == [
            "channel_0",
            "channel_1",
            "channel_2",
            "channel_3",
        ]
        assert group.attrs["rank"] == 4
        source = json.loads(group.attrs["sources"])[1]
        assert source["file"] == "run-1.npy"
        assert source["bytes"] == (study.ready / "sub-a" / "run-1.npy").stat().st_size
        assert len(source["sha256"]) == 64
        assert json.loads(group.attrs["preparation"]) == [{"step": "standardize", "method": "per_run"}]


@pytest.mark.parametrize("method", ["per_run", "per_subject", "none"])
def test_standardization_is_that_of_numpy_and_can_be_undone(tmp_path, method):
    study = two_subjects(tmp_path, standardization=method)
    store = stored(study)
    first, second = (run.astype(np.float64) for run in study.runs["sub-a"])
    if method == "per_run":
        parts = [first, second]
        mean, std = np.stack([x.mean(0) for x in parts]), np.stack([x.std(0) for x in parts])
        expected = np.concatenate([(x - x.mean(0)) / x.std(0) for x in parts])
    else:
        both = np.concatenate([first, second])
        mean, std = both.mean(0)[None], both.std(0)[None]
        if method == "none":
            mean, std = np.zeros((1, 4)), np.ones((1, 4))
        expected = (both - mean) / std
    np.testing.assert_allclose(store.mean("sub-a", "signals"), mean, rtol=1e-12)
    np.testing.assert_allclose(store.std("sub-a", "signals"), std, rtol=1e-12)
    np.testing.assert_allclose(store.read("sub-a", "signals"), expected, atol=1e-6)


def test_each_file_is_hashed_once_whatever_is_fitted(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(subject_reading, "sha256_of_file", lambda path: hashed.append(path) or sha256_of_file(path))
    study = two_subjects(tmp_path, preparation=[{"step": "pca", "n_components": 3}])
    with study.create() as store:
        for subject in store.subjects:
            for source in store.attributes(subject, "signals").sources:
                assert source.sha256 == sha256_of_file(study.ready / subject / source.file)
    assert len(hashed) == len(set(hashed)) == len(list(study.ready.glob("*/*.npy")))


def test_large_offsets_of_float64_files_cost_no_precision(tmp_path):
    signals = np.random.default_rng(0).normal(size=(200, 3))
    study = Study(tmp_path, {"sub-a": [signals + 1e9]})
    stored_signals = stored(study).read("sub-a", "signals")
    np.testing.assert_allclose(stored_signals, (signals - signals.mean(0)) / signals.std(0), atol=1e-5)


def test_detrending_agrees_with_scipy_around_the_mean(tmp_path):
    ramp = np.linspace(0, 50, 120)[:, None].astype(np.float32)
    study = two_subjects(tmp_path, detrend=True, standardization="none")
    study.save("sub-a", 0, study.runs["sub-a"][0] + ramp)
    store = stored(study)
    for run, (start, stop) in enumerate([(0, 120), (120, 180)]):
        original = np.load(study.ready / "sub-a" / f"run-{run}.npy").astype(np.float64)
        expected = scipy.signal.detrend(original, axis=0) + original.mean(0)
        np.testing.assert_allclose(store.read("sub-a", "signals", start, stop), expected, atol=1e-4)
    assert [step["step"] for step in store.attributes("sub-a", "signals").preparation] == ["detrend", "standardize"]


def test_detrend_can_be_named_as_a_step_and_only_once(tmp_path):
    study = two_subjects(tmp_path, preparation=["detrend"])
    assert stored(study).attributes("sub-a", "signals").preparation[0]["step"] == "detrend"
    study.config["signals"]["detrend"] = True
    with pytest.raises(DataError, match="twice"):
        study.create(overwrite=True)


def test_runs_come_in_natural_order(tmp_path):
    runs = [noise(20 + number, seed=number) for number in range(12)]
    study = Study(tmp_path, {"sub-a": runs}, standardization="none")
    store = stored(study)
    assert store.run_names("sub-a", "signals") == [f"run-{number}" for number in range(12)]
    np.testing.assert_array_equal(store.read("sub-a", "signals"), np.concatenate(runs))


def test_patterns_count_in_their_order_and_a_file_once(tmp_path):
    study = two_subjects(tmp_path, files=["run-1.npy", "run-*.npy"])
    study.lists["training"] = ["sub-a"]
    with pytest.warns(DataWarning, match=r"1 of the folders .* are in no list and were left out: sub-b"):
        store = study.create()
    assert store.run_names("sub-a", "signals") == ["run-1", "run-0"]


def test_missing_samples_are_cut_out_of_the_segments(tmp_path):
    study = two_subjects(tmp_path, missing="segment", detrend=True)
    first, second = (run.copy() for run in study.runs["sub-a"])
    first[:3, 1] = np.nan
    first[50, 2] = np.inf
    first[52, 0] = np.nan  # leaves sample 51 alone, which is no stretch
    second[59] = -np.inf
    study.save("sub-a", 0, first)
    study.save("sub-a", 1, second)
    with pytest.warns(DataWarning) as told:
        store = study.create()
    assert store.segments("sub-a", "signals").tolist() == [[3, 50], [53, 120], [120, 179]]
    assert store.segment_runs("sub-a", "signals").tolist() == [0, 0, 1]
    assert store.source_samples("sub-a", "signals").tolist() == [[3, 0], [53, 0], [0, 1]]
    assert store.run_starts("sub-a", "signals").tolist() == [0, 120]
    texts = " | ".join(str(warning.message) for warning in told)
    assert "run run-0: 5 of 120" in texts
    assert "Stretches of a single sample were left out: Subject sub-a, group signals, run run-0: 1" in texts
    rows = np.r_[3:50, 53:120]
    good = first[rows].astype(np.float64)
    slope, _ = np.polyfit(rows, good, 1)
    flat = good - np.outer(rows - rows.mean(), slope)
    data = store.read("sub-a", "signals")
    np.testing.assert_allclose(data[rows], (flat - flat.mean(0)) / flat.std(0), atol=1e-5)
    assert np.isnan(data[50, 2])
    assert np.isfinite(data[51]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_samples_are_refused_by_name(tmp_path, value):
    study = two_subjects(tmp_path)
    bad = study.runs["sub-a"][1].copy()
    bad[17, 2] = bad[30, 2] = bad[30, 3] = value
    study.save("sub-a", 1, bad)
    sentence = (
        r"Subject sub-a, group signals, run run-1: channel channel_2 is -?(nan|inf) at sample 17, the first of 3 "
        r"values that are NaN or infinite \(in 2 of 4 channels\)"
    )
    with pytest.raises(DataError, match=sentence):
        study.create()
    assert not study.target.exists()


def test_a_channel_missing_throughout_is_refused_even_under_mask(tmp_path):
    study = two_subjects(tmp_path, missing="segment")
    bad = study.runs["sub-b"][0].copy()
    bad[:, 1] = np.nan
    study.save("sub-b", 0, bad)
    with pytest.raises(DataError, match="sub-b, group signals, run run-0: no sample of channel_1 is a number; leave"):
        study.create()


@pytest.mark.parametrize("method", ["per_run", "per_subject", "none"])
def test_a_constant_channel_is_refused_by_name(tmp_path, method):
    study = two_subjects(tmp_path, standardization=method, channel_names=["Fz", "Cz", "Pz", "Oz"])
    flat = study.runs["sub-a"][1].copy()
    flat[:, 2] = 7.25
    study.save("sub-a", 1, flat)
    with pytest.raises(DataError, match=r"Subject sub-a, group signals, run run-1: channel Pz is constant.* 7\.25"):
        study.create()


def test_a_channel_that_is_a_trend_only_is_constant_after_detrending(tmp_path):
    study = two_subjects(tmp_path, detrend=True)
    ramp = study.runs["sub-b"][0].copy()
    ramp[:, 0] = np.linspace(3, 400, len(ramp))
    study.save("sub-b", 0, ramp)
    with pytest.raises(DataError, match="sub-b.* channel_0 is constant after detrending"):
        study.create()


def test_a_signal_too_far_from_zero_for_float32_is_not_called_constant(tmp_path):
    study = two_subjects(tmp_path)
    far = (noise(80, seed=3).astype(np.float64) + np.array([0.0, 1e7, 0.0, 0.0])).astype(np.float32)
    study.save("sub-b", 0, far)
    deviation = far[:, 1].astype(np.float64).std()
    words = (
        "sub-b, group signals, run run-0: channel channel_1 varies, but lies too far from zero: with mean 1e+07 and "
        f"standard deviation {deviation:.3g} it is {1e7 / deviation:.2g} of them away"
    )
    with pytest.raises(DataError, match=rf"{re.escape(words)}, .* float32 .*subtract the offset"):
        study.create()


def test_what_downsampling_leaves_too_far_from_zero_is_not_called_constant(tmp_path):
    fast = noise(400).astype(np.float32)
    study = Study(
        tmp_path,
        {"sub-a": [(fast + 8e5).astype(np.float32)]},
        preparation=[{"step": "downsample", "sampling_frequency": 10.0}],
    )
    with pytest.raises(DataError, match=r"channel_0 .*varies after preparation, but lies too far from zero"):
        study.create()
    # What the message says to do helps.
    steps = ["detrend", {"step": "downsample", "sampling_frequency": 10.0}]
    apart = Study(tmp_path / "apart", {"sub-a": [fast.astype(np.float64) + 8e5]}, preparation=steps)
    near = Study(tmp_path / "near", {"sub-a": [fast]}, preparation=steps)
    np.testing.assert_allclose(
        apart.create().read("sub-a", "signals"), near.create().read("sub-a", "signals"), atol=1e-4
    )


def test_a_small_signal_on_a_large_offset_is_not_constant(tmp_path):
    study = Study(tmp_path, {"sub-a": [noise(100) * np.float32(1e-2) + np.float32(1000.0)]})
    assert stored(study).attributes("sub-a", "signals").rank == 4


def test_duplicated_channels_are_stored_with_a_warning_and_the_rank(tmp_path):
    study = two_subjects(tmp_path)
    copied = study.runs["sub-b"][0].copy()
    copied[:, 3] = copied[:, 1] * 2 - 5
    study.save("sub-b", 0, copied)
    with pytest.warns(DataWarning, match=r"sub-b: rank 3 of 4 \(duplicated channels: channel_1 = channel_3\)"):
        store = study.create()
    assert store.attributes("sub-b", "signals").rank == 3
    assert store.attributes("sub-a", "signals").rank == 4


def test_average_reference_has_one_rank_less_and_no_duplicates(tmp_path):
    study = Study(tmp_path, {"sub-a": [(run := noise(500, 8)) - run.mean(1, keepdims=True)]})
    with pytest.warns(DataWarning, match="rank 7 of 8$|rank 7 of 8[^(]*$"):
        store = study.create()
    assert store.attributes("sub-a", "signals").rank == 7


def test_fewer_samples_than_channels_bound_the_rank(tmp_path):
    study = Study(tmp_path, {"sub-a": [noise(9, 12)]})
    with pytest.warns(DataWarning, match="rank 8 of 12"):
        assert study.create().attributes("sub-a", "signals").rank == 8


def test_one_line_tells_of_many_subjects(tmp_path):
    runs = {}
    for number in range(7):
        run = noise(50, seed=number)
        run[:, 0] = run[:, 1]
        runs[f"sub-{number}"] = [run]
    with pytest.warns(DataWarning) as told:
        Study(tmp_path, runs).create()
    assert len(told) == 1
    assert str(told[0].message).endswith("; and 4 more.")


def test_outliers_and_unscaled_units_are_told(tmp_path):
    study = two_subjects(tmp_path, standardization="none")
    wild = study.runs["sub-a"][0].copy()
    wild[5, 1] = 1e8
    study.save("sub-a", 0, wild * np.float32(1e-4))
    study.save("sub-a", 1, study.runs["sub-a"][1] * np.float32(1e-4))
    study.save("sub-b", 0, study.runs["sub-b"][0] * np.float32(1e-8))
    with pytest.warns(DataWarning) as told:
        study.create()
    texts = " | ".join(str(warning.message) for warning in told)
    assert "some samples are extreme outliers: sub-a, channel_1" in texts
    assert "units look unscaled: sub-b" in texts
    assert "units look different" in texts


@pytest.mark.parametrize("standardization", ["per_run", "per_subject", "none"])
def test_units_that_differ_by_a_million_are_refused(tmp_path, standardization):
    study = two_subjects(tmp_path, standardization=standardization)
    study.save("sub-b", 0, study.runs["sub-b"][0].astype(np.float64) * 1e-6)
    with pytest.raises(
        DataError, match="standard deviation is .* in subject sub-a, .*, but .* in subject sub-b, .* units"
    ):
        study.create()
    assert not study.target.exists()


def test_standardized_signals_in_tesla_are_no_reason_to_warn(tmp_path):
    study = two_subjects(tmp_path, units="T")
    for subject, runs in study.runs.items():
        for number, run in enumerate(runs):
            study.save(subject, number, run.astype(np.float64) * 1e-14)
    assert stored(study).attributes("sub-a", "signals").units == "T"


def test_several_groups_of_a_subject_are_independent(tmp_path):
    study = two_subjects(tmp_path)
    for seed, subject in enumerate(study.runs):
        np.save(study.ready / subject / "slow.npy", noise(33, 2, seed=9 + seed))
    study.config["slow"] = {"type": "timeseries", "files": "slow.npy", "repetition_time": 2.5, "units": "K"}
    store = stored(study)
    assert store.groups("sub-a") == ["signals", "slow"]
    description = store.attributes("sub-b", "slow")
    assert (description.n_samples, description.n_channels, description.units) == (33, 2, "K")
    assert description.sampling_frequency == pytest.approx(0.4)


def test_channel_names_come_from_a_list_or_a_file(tmp_path):
    study = two_subjects(tmp_path, channel_names="names.txt")
    (tmp_path / "names.txt").write_text("Fz\nCz\n\nPz\nÖz\n", encoding="utf-8")
    assert stored(study).attributes("sub-a", "signals").channel_names == ("Fz", "Cz", "Pz", "Öz")
    study.config["signals"]["channel_names"] = ["a", "b", "c"]
    with pytest.raises(DataError, match="channel_names has 3 names, but .*run-0.npy 4 channels"):
        study.create(overwrite=True)
    study.config["signals"]["channel_names"] = ["a", "b", "c", "a"]
    with pytest.raises(ConfigurationError, match="'a' is repeated"):
        study.create(overwrite=True)


def test_an_old_store_stays_unless_the_new_one_is_whole(tmp_path):
    study = two_subjects(tmp_path)
    stored(study)
    before = study.target.read_bytes()
    with pytest.raises(DataError, match="exists already; use -f"):
        study.create()
    bad = study.runs["sub-b"][0].copy()
    bad[0, 0] = np.nan
    study.save("sub-b", 0, bad)
    with pytest.raises(DataError, match="is nan at sample 0"):
        study.create(overwrite=True)
    assert study.target.read_bytes() == before
    study.save("sub-b", 0, noise(99))
    assert stored(study, overwrite=True).attributes("sub-b", "signals").n_samples == 99
    assert sorted(path.name for path in tmp_path.glob("*store*")) == ["store.hdf5"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("store.txt", r"must end in \.hdf5 or \.h5"),
        ("nowhere/store.h5", "does not exist"),
        ("a_folder.h5", "is a folder"),
    ],
)
def test_a_target_that_cannot_be_is_refused(tmp_path, name, sentence):
    study = two_subjects(tmp_path)
    (tmp_path / "a_folder.h5").mkdir()
    study.target = tmp_path / name
    with pytest.raises(DataError, match=sentence):
        study.create(overwrite=True)


def test_spaces_unicode_and_brackets_in_names(tmp_path):
    folder = tmp_path / "Ordner mit [Klammern] é"
    folder.mkdir()
    study = Study(folder, {"sub ä 1": [noise(50)], "被験者": [noise(60)]}, files=["run-0.npy"])
    store = stored(study)
    assert store.subjects == ["sub ä 1", "被験者"]
    assert store.subset("training") == ["sub ä 1", "被験者"]
    assert store.read("被験者", "signals").shape == (60, 4)
    assert pickle.loads(pickle.dumps(store)).participant("sub ä 1") == "sub ä 1"


def test_a_folder_that_cannot_be_written_to(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    study = two_subjects(tmp_path)
    study.write_inputs()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    study.target = closed / "store.hdf5"
    with pytest.raises(DynmlError, match="could not be written"):
        study.create()


def test_attributes_may_be_larger_than_64_kilobytes(tmp_path):
    names = [f"channel {number}".ljust(200, "*") for number in range(400)]
    study = Study(tmp_path, {"sub-a": [noise(30, 400)]}, channel_names=names)
    study.config["participants"] = {f"subject-{number}": f"participant-{number}" for number in range(5000)}
    study.config["participants"]["sub-a"] = "anna"
    with pytest.warns(DataWarning, match="rank"):
        store = study.create()
    assert store.attributes("sub-a", "signals").channel_names == tuple(names)
    assert store.config == study.config
