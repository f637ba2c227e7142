"""One acquisition is one run, whatever it was recorded or processed as."""

import shutil

import numpy as np
import pytest
from bids_making import (
    N_VOLUMES,
    PARCELS,
    SPACE,
    bold,
    fmriprep,
    inside_brain,
    means,
    save,
    series,
    write_joined,
    write_table,
    xcp_d,
)

from dynml.conversion.bids.entity_table import ENTITIES, Meaning, is_acquired, makes_runs
from dynml.errors import ConfigurationError, DataError, DataWarning


def test_what_makes_a_run_by_the_specification():
    makers = {key for key in ENTITIES if makes_runs(key)}
    assert makers == {"ses", "task", "acq", "ce", "trc", "dir", "run", "split"}
    assert ENTITIES["sub"].meaning is Meaning.OWNER
    assert not any(makes_runs(key) for key in ("echo", "part", "rec", "recording", "res", "den", "chunk", "foo"))
    assert is_acquired("echo")
    assert not is_acquired("space")


def one_subject(tmp_path, **bids):
    study = fmriprep(tmp_path, brain_mask=False, **bids)
    study.subjects = ["sub-02"]
    folder = study.root / "sub-02" / "func"
    return study, next(folder.glob("*preproc_bold.nii.gz"))


@pytest.mark.parametrize(
    ("entity", "labels", "key"),
    [
        ("echo", ("1", "2"), "echo"),
        ("part", ("mag", "phase"), "part"),
        ("rec", ("dis2d", "dis3d"), "reconstruction"),
        ("recording", ("a", "b"), "recording"),
        ("res", ("1", "2"), "resolution"),
        ("cohort", ("1", "2"), "cohort"),
        ("chunk", ("1", "2"), "entities.chunk"),
        ("foo", ("1", "2"), "entities.foo"),
    ],
)
def test_versions_of_one_acquisition_are_refused_until_one_is_chosen(tmp_path, entity, labels, key):
    study, image = one_subject(tmp_path)
    for seed, label in enumerate(labels):
        save(image.with_name(f"sub-02_task-rest_{entity}-{label}_space-{SPACE}_desc-preproc_bold.nii.gz"), bold(seed))
    image.unlink()
    labelled = rf"say which by bids\.{key} \(there are: {', '.join(labels)}\)"
    with pytest.raises(DataError, match=rf"are both run task-rest; {labelled}"):
        study.create()
    section, _, name = key.partition(".")
    study.group["bids"] |= {section: {name: labels[1]} if name else labels[1]}
    store = study.create()
    assert store.run_names("sub-02", "bold") == ["task-rest"]
    np.testing.assert_allclose(store.read("sub-02", "bold"), means(1), rtol=1e-6)


def test_the_combination_of_all_echoes_is_the_file_without_one(tmp_path):
    study, image = one_subject(tmp_path)
    save(image.with_name(f"sub-02_task-rest_echo-1_space-{SPACE}_desc-preproc_bold.nii.gz"), bold(5))
    with pytest.raises(DataError, match=r"say which by bids\.echo \(there are: 1, none\) or bids\.resolution"):
        study.create()
    study.group["bids"]["echo"] = "none"
    np.testing.assert_allclose(study.create().read("sub-02", "bold"), means(10), rtol=1e-6)


def test_files_beside_a_run_are_of_its_echo(tmp_path):
    study, image = one_subject(tmp_path, echo=2)
    study.group["bids"]["brain_mask"] = True
    for echo in (1, 2):
        stem = f"sub-02_task-rest_echo-{echo}_space-{SPACE}_desc"
        save(image.with_name(f"{stem}-preproc_bold.nii.gz"), bold(echo))
        save(image.with_name(f"{stem}-brain_mask.nii.gz"), inside_brain() * (echo == 2))
    np.testing.assert_allclose(study.create().read("sub-02", "bold"), means(2, inside_brain()), rtol=1e-6)


def test_phase_encodings_and_acquisitions_are_runs(tmp_path):
    study, image = one_subject(tmp_path)
    for seed, entities in enumerate(("acq-a_dir-AP", "acq-a_dir-PA", "acq-b_dir-AP")):
        save(image.with_name(f"sub-02_task-rest_{entities}_space-{SPACE}_desc-preproc_bold.nii.gz"), bold(seed))
    image.unlink()
    names = ["task-rest_acq-a_dir-AP", "task-rest_acq-a_dir-PA", "task-rest_acq-b_dir-AP"]
    assert study.create().run_names("sub-02", "bold") == names
    study.group["bids"] |= {"direction": "AP", "acquisition": ["a", "b"]}
    assert study.create().run_names("sub-02", "bold") == [names[0], names[2]]


def test_several_tasks_are_refused_unless_listed(tmp_path):
    study = fmriprep(tmp_path)
    del study.group["bids"]["task"]
    study.subjects = ["sub-01"]
    with pytest.raises(DataError, match=r"there are several tasks \(faces, rest\); say which by bids\.task"):
        study.create()
    study.group["bids"]["task"] = ["faces", "rest"]
    assert len(study.create().run_names("sub-01", "bold")) == 6


def joined(tmp_path, **bids):
    study = xcp_d(tmp_path, **bids)
    study.subjects = ["sub-01"]
    write_joined(study, "sub-01", [0, 1], drawn=20)
    return study


def test_a_joined_series_beside_its_runs_is_refused_until_run_says_which(tmp_path):
    study = joined(tmp_path)
    sentence = r"looks like the runs task-rest_run-1, task-rest_run-2 joined .*bids\.run \(there are: 1, 2, none\)"
    with pytest.raises(DataError, match=sentence):
        study.create()
    study.group["bids"]["run"] = [1, 2]
    names = ["task-rest_run-1", "task-rest_run-2"]
    assert study.create().run_names("sub-01", "bold") == names
    study.group["bids"]["run"] = [1, 2, "none"]
    with pytest.warns(DataWarning, match="Series that join runs were left out, since the runs themselves are there"):
        assert study.create().run_names("sub-01", "bold") == names
    study.group["bids"]["run"] = "none"
    with pytest.warns(DataWarning, match="Series that join several runs were cut at their joints: .* 2 runs, .* 0, 40"):
        store = study.create()
    assert store.run_names("sub-01", "bold") == ["task-rest"]
    assert store.attributes("sub-01", "bold").n_samples == 2 * N_VOLUMES
    censored = [[0, 3], [5, N_VOLUMES], [N_VOLUMES, N_VOLUMES + 3], [N_VOLUMES + 5, 2 * N_VOLUMES]]
    assert store.segments("sub-01", "bold").tolist() == censored


def only_joined(tmp_path, lengths, entity="run"):
    """A series that joins runs of some lengths; of the runs themselves, only their tables are there."""
    study = xcp_d(tmp_path, run="none", direction="none")
    study.subjects = ["sub-01"]
    folder = study.root / "sub-01" / "func"
    for path in folder.glob("*_outliers.tsv"):
        path.unlink()
    for label, n_volumes in lengths.items():
        stem = f"sub-01_task-rest_{entity}-{label}_space-{SPACE}_atlas-4S156Parcels_stat-mean_timeseries.tsv"
        write_table(folder / stem, PARCELS, np.random.default_rng(0).normal(size=(n_volumes, 4)).tolist())
    return study


@pytest.mark.parametrize(
    ("lengths", "entity", "segments", "told"),
    [
        ({"2": 15, "10": 25}, "run", [[0, 15], [15, 40]], r"cut at their joints: .* begin at samples 0, 15"),
        ({"AP": 20, "PA": 20}, "dir", [[0, 20], [20, 40]], r"cut at their joints: .* begin at samples 0, 20"),
        ({"AP": 15, "PA": 25}, "dir", [[0, 40]], r"taken as one run.*differ in length, and their order .* not known"),
        ({"1": 15, "2": 30}, "run", [[0, 40]], r"taken as one run.*its runs have 45 samples together, not 40"),
    ],
)
def test_a_joined_series_is_cut_where_its_runs_end_if_that_is_known(tmp_path, lengths, entity, segments, told):
    with pytest.warns(DataWarning, match=told):
        store = only_joined(tmp_path, lengths, entity).create()
    assert store.segments("sub-01", "bold").tolist() == segments


@pytest.mark.parametrize("known", [True, False])
def test_raw_images_say_how_long_runs_were(tmp_path, known):
    study, raw = only_joined(tmp_path, {}), tmp_path / "raw" / "sub-01" / "func"
    for run in (1, 2):
        save(raw / f"sub-01_task-rest_run-{run}_bold.nii.gz", bold(run)[..., : N_VOLUMES // (2 if known else 1)])
    study.group["bids"]["raw"] = str(tmp_path / "raw")
    with pytest.warns(DataWarning, match="cut at their joints" if known else "have 80 samples together, not 40"):
        store = study.create()
    assert store.segments("sub-01", "bold").tolist() == ([[0, 20], [20, 40]] if known else [[0, 40]])


def test_columns_that_draw_good_volumes_censor_nothing(tmp_path):
    study = joined(tmp_path, run="none")
    with pytest.warns(DataWarning, match="censor nothing were not used: exact_20, which draws good volumes at random"):
        store = study.create()
    found = store.read("sub-01", "bold")
    censored = [3, 4, N_VOLUMES + 3, N_VOLUMES + 4]
    kept = np.setdiff1d(np.arange(2 * N_VOLUMES), censored)
    np.testing.assert_allclose(found[kept], np.concatenate([series(0), series(1)])[kept], rtol=1e-6)
    assert np.isnan(found[censored]).all()


def test_a_table_without_a_column_that_censors_is_refused(tmp_path):
    study = joined(tmp_path, run="none")
    table = study.root / "sub-01" / "func" / "sub-01_task-rest_outliers.tsv"
    table.write_text(table.read_text().replace("framewise_displacement", "quality"))
    with pytest.raises(DataError, match=r"no column that is known to say .* it has 'quality', 'exact_20'"):
        study.create()


def test_further_keys_are_checked(tmp_path):
    for bids in ({"echo": []}, {"entities": {"echo": 1}}, {"entities": {"proc": 1.5}}, {"dropped_volumes": -1}):
        with pytest.raises(ConfigurationError, match=rf"bids\.{next(iter(bids))}"):
            fmriprep(tmp_path, **bids).create()
        shutil.rmtree(tmp_path / "derivatives")
