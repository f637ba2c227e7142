"""Events lie where the signals show them, whatever the pipeline did to the volumes.

The truth: a pulse in the volume whose time is nearest to the event.
"""

import json

import numpy as np
import pytest
from bids_making import N_VOLUMES, SHAPE, fmriprep, save, series, write_table, xcp_d

from dynml.errors import DataError, DataWarning

ONSETS = (9.3, 21.2, 40.9, 63.2)
COLUMNS = ["onset", "duration", "trial_type"]


def write_events(tmp_path, onsets=ONSETS):
    rows = [[onset, 4, "x"] for onset in onsets]
    return write_table(tmp_path / "raw/sub-02/func/sub-02_task-rest_events.tsv", COLUMNS, rows).parent


def study_of(tmp_path, sidecar=None, **bids):
    """fMRIPrep's run of 40 volumes of 2 s, with events of the raw data set."""
    study = fmriprep(tmp_path, raw="raw", **bids)
    study.subjects = ["sub-02"]
    write_events(tmp_path)
    path = next((study.root / "sub-02" / "func").glob("*preproc_bold.json"))
    path.write_text(json.dumps({"RepetitionTime": 2.0, **(sidecar or {})}))
    return study


def nearest(start, seconds=2.0):
    return np.rint((np.array(ONSETS) - start) / seconds).astype(int).tolist()


def placed(study):
    return study.create().events("sub-02", "bold").onset.tolist()


def test_start_time_moves_events(tmp_path):
    study = study_of(tmp_path, {"SliceTimingCorrected": True, "StartTime": 0.95})
    with pytest.warns(DataWarning, match=r"first one is at 0\.95 s \(0\.95 s by StartTime of .*preproc_bold\.json"):
        assert placed(study) == nearest(0.95) != nearest(0)
    study.group["bids"]["start_time"] = 0
    assert placed(study) == nearest(0)


def test_a_correction_without_its_time_takes_the_middle_of_the_raw_slices_or_says_so(tmp_path):
    study = study_of(tmp_path, {"SliceTimingCorrected": True})
    with pytest.warns(DataWarning, match="no sidecar says to which; events may lie up to a volume too late"):
        assert placed(study) == nearest(0)
    raw = tmp_path / "raw/task-rest_bold.json"
    raw.write_text(json.dumps({"SliceTiming": [0, 1.8, 0.9]}))
    with pytest.warns(DataWarning, match=r"0\.9 s by the middle of SliceTiming of task-rest_bold\.json"):
        assert placed(study) == nearest(0.9)
    raw.write_text(json.dumps({"SliceTiming": [0, 1.8, 0.9], "StartTime": "noon"}))
    assert placed(study) == nearest(0.9)


def test_a_time_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"says StartTime 'half', but must say seconds"):
        study_of(tmp_path, {"StartTime": "half"}).create()


def write_raw(tmp_path, n_volumes):
    data = np.zeros((*SHAPE, n_volumes), dtype=np.int16)
    save(tmp_path / "raw/sub-02/func/sub-02_task-rest_bold.nii.gz", data)


def test_a_series_shorter_than_its_raw_run_is_refused_unless_something_says_where(tmp_path):
    study = study_of(tmp_path)
    write_raw(tmp_path, N_VOLUMES + 4)
    with pytest.raises(DataError, match=r"has 40 volumes and the raw image .* has 44, but nothing says how many"):
        study.create()
    study.group["bids"]["dropped_volumes"] = 4
    with pytest.warns(DataWarning, match=r"first one is at 8 s \(4 volumes dropped by bids\.dropped_volumes\)"):
        assert placed(study) == nearest(8.0)
    study.group["bids"]["dropped_volumes"] = 0
    assert placed(study) == nearest(0)
    del study.group["bids"]["dropped_volumes"]
    write_raw(tmp_path, N_VOLUMES)
    assert placed(study) == nearest(0)
    write_raw(tmp_path, N_VOLUMES - 1)
    with pytest.raises(DataError, match=r"has 40 volumes and the raw image .* has 39"):
        study.create()


def test_volumes_that_the_user_discarded_count_where_the_raw_image_still_has_them(tmp_path):
    study = study_of(tmp_path, {"NumberOfVolumesDiscardedByUser": 3})
    with pytest.raises(DataError, match=r"says NumberOfVolumesDiscardedByUser 3, but not whether .* raw image, too"):
        study.create()
    write_raw(tmp_path, N_VOLUMES + 3)
    assert placed(study) == nearest(6.0)
    write_raw(tmp_path, N_VOLUMES)
    assert placed(study) == nearest(0)
    (tmp_path / "raw/task-rest_bold.json").write_text(json.dumps({"NumberOfVolumesDiscardedByUser": 3}))
    assert placed(study) == nearest(0)


def test_dummy_volumes_of_xcp_d(tmp_path):
    study = xcp_d(tmp_path, (), raw="raw")
    write_events(tmp_path, (12.0, 20.0))
    study.subjects = ["sub-02"]
    with pytest.warns(DataWarning, match="nothing says how many volumes were dropped from the start of runs"):
        assert placed(study) == [15, 25]
    write_table(
        study.root / "sub-02" / "func" / "sub-02_task-rest_desc-linc_qc.tsv",
        ["mean_fd", "num_dummy_volumes", "num_censored_volumes"],
        [["0.1", "5", "0"]],
    )
    with pytest.warns(DataWarning, match=r"first one is at 4 s \(5 volumes dropped by .*desc-linc_qc\.tsv"):
        assert placed(study) == [10, 20]
    write_raw(tmp_path, N_VOLUMES + 3)
    with pytest.raises(DataError, match=r"has 43, but .*linc_qc\.tsv says 5 are gone"):
        study.create()
    assert series(0).shape[0] == N_VOLUMES


def test_the_sidecar_of_a_file_that_a_pattern_names(tmp_path):
    study = study_of(tmp_path)
    func = study.root / "sub-02" / "func"
    write_events(tmp_path).joinpath("sub-02_task-rest_events.tsv").rename(func / "sub-02_task-rest_events.tsv")
    study.config = {
        "bold": {
            "type": "timeseries",
            "files": "func/*_bold.nii.gz",
            "atlas": "atlas.nii.gz",
            "events": "func/*_events.tsv",
        }
    }
    assert placed(study) == nearest(0)
    next(func.glob("*preproc_bold.json")).write_text(json.dumps({"SliceTimingCorrected": True, "StartTime": 0.95}))
    assert placed(study) == nearest(0.95)


def test_events_that_begin_before_the_first_volume_are_cut_or_left_out(tmp_path):
    study = study_of(tmp_path, dropped_volumes=12)
    with (
        pytest.warns(DataWarning, match=r"cut at its start: .*1 of 4"),
        pytest.warns(DataWarning, match="left out: .*1 of 4"),
    ):
        events = study.create().events("sub-02", "bold")
    assert events.onset.tolist() == [0, 8, 20]
    assert events.duration.tolist() == [1, 2, 2]
