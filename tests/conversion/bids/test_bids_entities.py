from pathlib import Path

import pytest

from dynml.conversion.bids.entities import parsed, same_value


def test_a_name_is_entities_suffix_and_extension():
    file = parsed(Path("func/sub-01_ses-1_task-rest_run-02_space-MNI_desc-preproc_bold.nii.gz"))
    entities = {"sub": "01", "ses": "1", "task": "rest", "run": "02", "space": "MNI", "desc": "preproc"}
    assert (file.entities, file.suffix, file.extension) == (entities, "bold", ".nii.gz")
    assert file.run_name == "ses-1_task-rest_run-02"


@pytest.mark.parametrize("name", ["README", "bold.nii.gz", "sub-01_T1w", "sub_01_bold.nii.gz", "sub-01_task-.tsv"])
def test_other_names_are_none_of_bids(name):
    assert parsed(Path(name)) is None


def test_runs_are_compared_as_numbers_and_labels_as_text():
    assert same_value("01", 1)
    assert same_value("1", "01")
    assert not same_value("1a", "01a")
    assert not same_value(None, 1)


@pytest.mark.parametrize(
    ("name", "applies", "of_run"),
    [
        ("task-rest_bold.json", True, False),
        ("sub-01_ses-1_task-rest_run-2_events.tsv", True, True),
        ("sub-01_ses-1_task-rest_run-02_desc-brain_mask.nii.gz", True, True),
        ("sub-01_ses-1_task-rest_events.tsv", True, False),
        ("sub-01_ses-1_task-rest_run-2_acq-x_events.tsv", False, False),
        ("sub-02_ses-1_task-rest_run-2_events.tsv", False, False),
        ("sub-01_ses-2_task-rest_run-2_events.tsv", False, False),
    ],
)
def test_inheritance(name, applies, of_run):
    run = parsed(Path("sub-01_ses-1_task-rest_run-2_space-MNI_desc-preproc_bold.nii.gz"))
    assert (parsed(Path(name)).applies_to(run), parsed(Path(name)).is_of_run(run)) == (applies, of_run)
