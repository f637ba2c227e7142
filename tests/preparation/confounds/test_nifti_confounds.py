"""Confounds, filters and censoring of a real run, against nilearn's own way from fMRIPrep's files to signals."""

import json
import shutil

import numpy as np
import pytest

from dynml.conversion.creation import create_store
from dynml.datasets.haxby import haxby2001_files
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.preparation.confounds.cleaning import CleaningPlan
from dynml.preparation.confounds.regressors import read_confounds
from dynml.store.reading import Store

FILES = haxby2001_files()
N_VOLUMES = 121
IMAGE = "sub-01_task-x_space-MNI_desc-preproc_bold.nii.gz"
TABLE = "sub-01_task-x_desc-confounds_timeseries.tsv"
OUTLIERS = [0, 30, 31, 34, 79, 85]  # 32 and 33 are too short a stretch between two, 80 to 84 just long enough


def confounds(seed=0, outliers=OUTLIERS):
    """Columns under fMRIPrep's names, (name, values)."""
    generator = np.random.default_rng(seed)
    columns = {}
    signals = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "csf", "white_matter", "global_signal"]
    for name in signals:
        values = np.cumsum(generator.normal(size=N_VOLUMES)) + 5
        derivative = np.concatenate([[np.nan], np.diff(values)])
        columns |= {name: values, f"{name}_derivative1": derivative, f"{name}_power2": values**2}
        columns[f"{name}_derivative1_power2"] = derivative**2
    for number in range(3):
        columns[f"cosine0{number}"] = np.cos(np.pi * (number + 1) * (np.arange(N_VOLUMES) + 0.5) / N_VOLUMES)
    for name in ["t_comp_cor_00", "t_comp_cor_01", *(f"a_comp_cor_0{number}" for number in range(6))]:
        columns[name] = generator.normal(size=N_VOLUMES)
    columns["framewise_displacement"] = np.where(np.isin(np.arange(N_VOLUMES), outliers), 1.2, 0.1)
    columns["framewise_displacement"][0] = np.nan
    columns["std_dvars"] = np.where(np.isin(np.arange(N_VOLUMES), outliers[:1]), 3.0, 1.0)
    columns["non_steady_state_outlier00"] = (np.arange(N_VOLUMES) == 1).astype(float)
    return columns


def make_confounds(csf):
    """Columns of which one is given."""
    return confounds() | ({} if csf is None else {"csf": csf})


def write_confounds(path, columns):
    rows = zip(*columns.values())
    lines = ["\t".join("n/a" if np.isnan(value) else repr(float(value)) for value in row) for row in rows]
    path.write_text("\n".join(["\t".join(columns), *lines]) + "\n")
    masks = {"a_comp_cor_00": "CSF", "a_comp_cor_01": "WM", "a_comp_cor_02": "combined", "a_comp_cor_03": "combined"}
    masks |= {"a_comp_cor_04": "WM", "a_comp_cor_05": "combined"}
    meta = {name: {"Method": "aCompCor", "Mask": mask} for name, mask in masks.items()}
    meta |= {name: {"Method": "tCompCor"} for name in columns if name.startswith("t_comp")}
    path.with_suffix(".json").write_text(json.dumps(meta))
    return path


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "ready" / "sub-01"
    folder.mkdir(parents=True)
    shutil.copyfile(FILES.runs[0], folder / IMAGE)
    write_confounds(folder / TABLE, confounds())
    return folder


STRATEGIES = [
    (["motion", "wm_csf", "high_pass", "scrub"], {"fd_threshold": 0.5}),
    (["motion", "global_signal"], {"motion": "basic", "global_signal": "full"}),
    (["motion", "wm_csf"], {"motion": "derivatives", "wm_csf": "power2"}),
    (["high_pass", "compcor"], {"n_compcor": 2}),
    (["high_pass", "compcor"], {"compcor": "anat_separated"}),
    (["high_pass", "compcor", "scrub"], {"compcor": "temporal_anat_combined", "n_compcor": 1, "scrub": 0}),
    (["wm_csf", "scrub"], {"scrub": 30, "fd_threshold": 0.2}),
]


@pytest.mark.parametrize(("strategy", "parameters"), STRATEGIES)
def test_the_choice_is_that_of_nilearn(run, strategy, parameters):
    from nilearn.interfaces.fmriprep import load_confounds

    expected, mask = load_confounds(str(run / IMAGE), strategy=strategy, demean=False, **parameters)
    found = read_confounds(run / TABLE, strategy, parameters, N_VOLUMES)
    assert sorted(found.names) == sorted(expected.columns)
    np.testing.assert_array_equal(found.values, expected[list(found.names)].to_numpy())
    assert np.flatnonzero(found.kept).tolist() == mask.tolist()


def make_store(folder, **settings):
    lists = {subset: folder / f"{subset}.txt" for subset in ("training", "validation", "testing")}
    for path, text in zip(lists.values(), ("sub-01\n", "", "")):
        path.write_text(text)
    group = {
        "type": "timeseries",
        "files": IMAGE,
        "atlas": str(FILES.atlas),
        "standardization": "none",
        "confounds": "*_desc-confounds_timeseries.tsv",
        **settings,
    }
    (folder / "config.json").write_text(json.dumps({"bold": group}))
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", lists, overwrite=True)
    return Store(folder / "store.hdf5")


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
@pytest.mark.parametrize(
    "cleaning",
    [
        {"confounds_strategy": ["motion", "wm_csf", "high_pass", "scrub"]},
        {"confounds_strategy": ["motion", "wm_csf"], "confounds_parameters": {"motion": "basic"}, "low_pass": 0.1},
        {"confounds_strategy": ["wm_csf", "scrub"], "high_pass": 0.01, "low_pass": 0.15, "smoothing": 20.0},
        {"confounds_strategy": ["motion"], "high_pass": 0.01, "detrend": True},
    ],
    ids=["regression", "low-pass", "band-pass, scrubbing and smoothing", "detrending"],
)
def test_a_store_holds_what_nilearn_makes_of_the_same_files(run, cleaning):
    from nilearn.interfaces.fmriprep import load_confounds
    from nilearn.maskers import NiftiLabelsMasker

    regressors, mask = load_confounds(
        str(run / IMAGE), strategy=cleaning["confounds_strategy"], **cleaning.get("confounds_parameters", {})
    )
    masker = NiftiLabelsMasker(
        str(FILES.atlas),
        standardize=None,
        detrend=cleaning.get("detrend", False),
        high_pass=cleaning.get("high_pass"),
        low_pass=cleaning.get("low_pass"),
        smoothing_fwhm=cleaning.get("smoothing"),
        t_r=2.5,
    )
    expected = masker.fit_transform(str(run / IMAGE), confounds=regressors, sample_mask=mask)
    with make_store(run.parents[1], **cleaning) as store:
        series, segments = store.read("sub-01", "bold"), store.segments("sub-01", "bold")
        source = store.source_samples("sub-01", "bold")
    rows = np.concatenate([np.arange(*segment) for segment in segments])
    kept = mask[np.isin(mask, rows)]
    assert series.shape == (N_VOLUMES, 21)
    np.testing.assert_array_equal(rows, kept)
    assert source[:, 0].tolist() == segments[:, 0].tolist()
    assert np.isnan(np.delete(series, mask, axis=0)).all()
    np.testing.assert_allclose(series[mask], expected, rtol=0, atol=1e-4 * expected.std())


def test_censored_volumes_are_gaps_between_segments_and_are_told(run):
    with pytest.warns(DataWarning, match="Censored volumes were cut out: .*: 9 of 121"):
        store = make_store(run.parents[1], confounds_strategy=["scrub", "wm_csf"])
    # Volume 1 is not yet in steady state.
    assert store.segments("sub-01", "bold").tolist() == [[2, 30], [35, 79], [80, 85], [86, 121]]
    step = store.attributes("sub-01", "bold").preparation[0]
    assert step["step"] == "clean"
    assert step["confounds"] == ["csf", "white_matter"]
    assert step["censored_volumes"] == {IMAGE.removesuffix(".nii.gz"): 9}
    moved = (5 * 1.2 + 115 * 0.1) / 120  # of all volumes but the first, which has none before it
    assert step["runs"] == {
        IMAGE.removesuffix(".nii.gz"): {"mean_framewise_displacement_mm": pytest.approx(moved, abs=1e-4)}
    }


def test_censored_volumes_are_masked_where_the_config_asks_for_it(run):
    settings = {"confounds_strategy": ["scrub", "wm_csf"], "low_pass": 0.1}
    with pytest.warns(DataWarning, match="Censored volumes were cut out"):
        cut = make_store(run.parents[1], **settings)
    expected = {
        (start, stop): cut.read("sub-01", "bold", start, stop) for start, stop in cut.segments("sub-01", "bold")
    }
    with pytest.warns(DataWarning, match="Censored volumes were masked: .*: 9 of 121"):
        store = make_store(run.parents[1], missing="mask", **settings)
    assert store.segments("sub-01", "bold").tolist() == [[2, 121]]
    assert store.attributes("sub-01", "bold").n_masked == 7
    for (start, stop), rows in expected.items():
        np.testing.assert_array_equal(store.read("sub-01", "bold", start, stop), rows)


def test_a_censored_volume_has_no_influence_even_where_its_mirror_image_is_censored_too():
    """Volume 20 and volume 100 lie equally far from both ends, which nilearn 0.14 does not bridge by itself."""
    generator = np.random.default_rng(0)
    signals = np.cumsum(generator.normal(size=(N_VOLUMES, 3)), axis=0)
    kept = np.ones(N_VOLUMES, dtype=bool)
    kept[[20, 100]] = False
    finite = np.ones(N_VOLUMES, dtype=bool)
    cleaning = CleaningPlan(kept=kept, low_pass=0.1, high_pass=0.01).of_run(N_VOLUMES)
    results = []
    for size in (0.0, 1e4):
        spoiled = signals.copy()
        spoiled[~kept] += size
        results.append(cleaning(spoiled, finite, 0.4, ("a", "b", "c"), "here"))
    np.testing.assert_allclose(results[0], results[1], atol=1e-9)
    assert np.isnan(results[0][[20, 100]]).all()


def test_missing_samples_are_censored_too(run):
    cleaning = CleaningPlan(low_pass=0.1).of_run(60)
    signals = np.cumsum(np.random.default_rng(0).normal(size=(60, 2)), axis=0)
    signals[33, 1] = np.nan
    cleaned = cleaning(signals, np.isfinite(signals).all(axis=1), 0.5, ("a", "b"), "here")
    assert np.flatnonzero(np.isnan(cleaned).any(axis=1)).tolist() == [33]


def test_columns_by_name_and_pattern(run):
    found = read_confounds(run / TABLE, ["csf", "a_comp_cor_*", "rot_x"], {}, N_VOLUMES)
    assert found.names == ("csf", *(f"a_comp_cor_0{number}" for number in range(6)), "rot_x")


@pytest.mark.parametrize(
    ("change", "strategy", "sentence"),
    [
        ({"rot_y": None}, ["motion"], r"has no column 'rot_y', which the confounds strategy 'motion' needs"),
        ({"std_dvars": None}, ["scrub"], "has no column 'std_dvars', which the confounds strategy 'scrub'"),
        ({}, ["whitematter"], r"has no column 'whitematter' \(did you mean 'white_matter'\?\)"),
        (
            {"csf": np.where(np.arange(N_VOLUMES) == 7, np.nan, 1.0)},
            ["wm_csf"],
            r"Row 8 of .* has no number in column 'csf'",
        ),
    ],
)
def test_faulty_tables(run, change, strategy, sentence):
    columns = {name: values for name, values in (confounds() | change).items() if values is not None}
    write_confounds(run / TABLE, columns)
    with pytest.raises(DataError, match=sentence):
        read_confounds(run / TABLE, strategy, {}, N_VOLUMES)


def test_only_known_columns_censor_and_spikes_do_where_they_are_named(run):
    spike = {"motion_outlier00": (np.arange(N_VOLUMES) == 7).astype(float)}
    others = {"time_since_non_steady_state": np.arange(N_VOLUMES) + 1.0, "not_cosine": np.arange(N_VOLUMES) * 1.0}
    write_confounds(run / TABLE, confounds() | spike | others)
    found = read_confounds(run / TABLE, ["csf", "high_pass"], {}, N_VOLUMES)
    assert found.names == ("csf", "cosine00", "cosine01", "cosine02")
    assert np.flatnonzero(~found.kept).tolist() == [1]
    found = read_confounds(run / TABLE, ["csf", "motion_outlier*"], {}, N_VOLUMES)
    assert (found.names, np.flatnonzero(~found.kept).tolist()) == (("csf",), [1, 7])
    write_confounds(run / TABLE, confounds())
    found = read_confounds(run / TABLE, ["csf", "motion_outlier*"], {}, N_VOLUMES)
    assert np.flatnonzero(~found.kept).tolist() == [1]


def test_tables_that_do_not_fit_the_run(run):
    with pytest.raises(DataError, match=r"timeseries\.tsv has 121 rows, but the run has 120 volumes"):
        read_confounds(run / TABLE, ["wm_csf"], {}, 120)
    (run / TABLE).with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"timeseries\.json does not exist, and only it says which mask"):
        read_confounds(run / TABLE, ["compcor"], {}, N_VOLUMES)
    shutil.copyfile(run / TABLE, run / "second_desc-confounds_timeseries.tsv")
    with pytest.raises(DataError, match="match 2 files .* for 1 runs; give one for each run"):
        make_store(run.parents[1], confounds_strategy=["wm_csf"])


def test_runs_that_leave_too_little(run):
    write_confounds(run / TABLE, confounds(outliers=list(range(0, N_VOLUMES, 4))))
    with pytest.raises(DataError, match="0 of 121 volumes are left after censoring"):
        make_store(run.parents[1], confounds_strategy=["scrub"])
    assert not [path for path in run.parents[1].iterdir() if "store" in path.name]
    with pytest.raises(DataError, match=r"low_pass is 0.2 Hz, but must be below half of the rate, 0.2 Hz"):
        make_store(run.parents[1], confounds_strategy=["wm_csf"], low_pass=0.2)
    signals = np.random.default_rng(0).normal(size=(8, 2))
    everywhere = np.ones(8, dtype=bool)
    with pytest.raises(DataError, match="here: 8 volumes could not be cleaned"):
        CleaningPlan(low_pass=0.1, high_pass=0.01).of_run(8)(signals, everywhere, 0.4, ("a", "b"), "here")
    signals[:, 1] = 7
    with pytest.raises(DataError, match="of the volumes that are left, channel b has the value 7 in all; name it"):
        CleaningPlan(low_pass=0.1).of_run(8)(signals, everywhere, 0.4, ("a", "b"), "here")
    signals = signals.astype(np.float32)
    signals[:, 1] = 1e8 + 8.0 * np.arange(8)
    with pytest.raises(DataError, match=r"channel b varies by no more than the rounding .* mean 1e\+08 .*float32"):
        CleaningPlan(low_pass=0.1).of_run(8)(signals, everywhere, 0.4, ("a", "b"), "here")


@pytest.mark.parametrize("high_pass", [None, 0.01])
def test_a_confound_that_is_constant_in_a_run_removes_nothing_and_is_told(run, high_pass):
    rounding = 1e-13 * np.random.default_rng(1).normal(size=N_VOLUMES)
    alone, beside = (make_confounds(csf) for csf in (None, 500.0 * (1 + rounding)))
    signals = np.random.default_rng(2).normal(size=(N_VOLUMES, 2))
    cleaned = []
    for columns, strategy in ((alone, ["white_matter"]), (beside, ["white_matter", "csf"])):
        write_confounds(run / TABLE, columns)
        plan = CleaningPlan(table=run / TABLE, strategy=tuple(strategy), high_pass=high_pass)
        cleaning = plan.of_run(N_VOLUMES)
        cleaned.append(cleaning(signals, np.ones(N_VOLUMES, dtype=bool), 0.4, ("a", "b"), "here"))
    np.testing.assert_array_equal(*cleaned)
    with pytest.warns(DataWarning, match="A confound is constant in a run, .*: Subject sub-01, .*: csf"):
        make_store(run.parents[1], confounds_strategy=["white_matter", "csf"])
    write_confounds(run / TABLE, make_confounds(np.full(N_VOLUMES, np.nan)))
    with pytest.raises(DataError, match=r"timeseries\.tsv has no number at all in column 'csf'; leave out this run"):
        read_confounds(run / TABLE, ["csf"], {}, N_VOLUMES)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"confounds_strategy": []}, r"bold\.confounds_strategy is \[\], but must be a list such as"),
        ({"confounds_strategy": ["compcor"]}, "a list with 'high_pass' where 'compcor' is"),
        ({"confounds_parameters": {"motion": "basic"}, "confounds_strategy": ["wm_csf"]}, "left out unless 'motion'"),
        ({"confounds_parameters": {"moton": "basic"}, "confounds_strategy": ["wm_csf"]}, "did you mean 'motion'"),
        ({"confounds_parameters": {"motion": "24"}, "confounds_strategy": ["motion"]}, "one of basic, derivatives"),
        ({"confounds_strategy": ["wm_csf"], "confounds": None}, r"bold\.confounds is None"),
        ({"confounds_strategy": ["wm_csf"], "high_pass": 0.1, "low_pass": 0.05}, "below low_pass, 0.05 Hz"),
        ({"confounds_strategy": ["wm_csf"], "smoothing": -1}, "smoothing is -1"),
    ],
)
def test_faulty_settings(run, settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        make_store(run.parents[1], **settings)
    assert not (run.parents[1] / "store.hdf5").exists()


def test_settings_of_images_are_refused_for_arrays(run):
    np.save(run / "a.npy", np.zeros((10, 2)))
    with pytest.raises(ConfigurationError, match=r"bold\.smoothing is 5\.0, .* left out for files like a\.npy"):
        make_store(run.parents[1], files="a.npy", atlas=None, smoothing=5.0, confounds=None, sampling_frequency=1.0)
