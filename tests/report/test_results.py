"""Results are found by their kind, and those of another experiment are refused by name."""

import json
from hashlib import sha256

import pytest
from report_making import made_experiment, made_inference

from dynml.errors import CheckpointError, DataError, DataWarning
from dynml.report.experiment import read_reported_experiment
from dynml.report.inferred import read_inferred
from dynml.report.parts.sections import locking_part
from dynml.report.results import ResultsFolder, find_results
from dynml.training.checkpoints.committed import commit_directory


@pytest.fixture
def experiment(tmp_path):
    return read_reported_experiment(made_experiment(tmp_path / "run"))


def write_summary(folder, **content):
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(content))


def test_a_folder_and_its_subfolders_are_looked_through(tmp_path, experiment):
    made_inference(tmp_path / "all" / "states", experiment.path)
    write_summary(tmp_path / "all" / "spectra", results="spectra", experiment=str(experiment.path))
    write_summary(tmp_path / "all" / "other_program", frequency=3)
    assert [one.kind for one in find_results(tmp_path / "all", experiment)] == ["spectra", "inference"]
    assert [one.kind for one in find_results(tmp_path / "all" / "spectra", experiment)] == ["spectra"]


def test_results_of_another_experiment_are_refused_by_name(tmp_path, experiment):
    other = made_experiment(tmp_path / "other_run")
    write_summary(tmp_path / "spectra", results="spectra", experiment=str(other))
    with pytest.raises(DataError, match=rf"spectra are of the experiment {other}, not of {experiment.path}"):
        find_results(tmp_path / "spectra", experiment)


def test_results_of_a_run_that_was_trained_anew_since_are_refused(tmp_path, experiment):
    folder = made_inference(tmp_path / "states", experiment.path)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "model_sha256": "0" * 64}))
    with pytest.raises(DataError, match="not of .* as it is now"):
        find_results(folder, experiment)


def test_results_of_an_experiment_that_was_moved_are_its_own(tmp_path, experiment):
    write_summary(tmp_path / "spectra", results="spectra", experiment="/where/it/was/run")
    assert find_results(tmp_path / "spectra", experiment)
    made_inference(tmp_path / "states", experiment.path)
    summary = json.loads((tmp_path / "states" / "summary.json").read_text())
    (tmp_path / "states" / "summary.json").write_text(json.dumps({**summary, "experiment": "another_name"}))
    assert find_results(tmp_path / "states", experiment)


def test_two_folders_of_one_kind_are_refused(tmp_path, experiment):
    for name in ("a", "b"):
        write_summary(tmp_path / "all" / name, results="spectra", experiment=str(experiment.path))
    with pytest.raises(DataError, match="Both .*a and .*b hold results of the kind spectra"):
        find_results(tmp_path / "all", experiment)


def test_a_folder_without_results_or_that_is_none_is_refused(tmp_path, experiment):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no results"):
        find_results(tmp_path / "empty", experiment)
    with pytest.raises(DataError, match="absent does not exist"):
        find_results(tmp_path / "absent", experiment)


def test_an_experiment_with_neither_model_nor_logs_has_nothing_to_report(tmp_path):
    folder = made_experiment(tmp_path / "run", None, model=False, n_epochs=0)
    with pytest.raises(
        CheckpointError, match="nothing to report of .*run: it has no best model yet, and it has no logs"
    ):
        read_reported_experiment(folder)
    with pytest.raises(CheckpointError, match="absent does not exist"):
        read_reported_experiment(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="is not an experiment: give the experiments in it"):
        read_reported_experiment(tmp_path)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("subject\tshare\nsub-1\t0.5\n", "lacks state"),
        ("subject\tstate\tmean_lifetime\nsub-1\tfirst\t0.5\n", "whole numbers from 1 in its column state"),
        ("subject\tstate\tmean_lifetime\nsub-1\n", "has 1 values, but there are 3 columns"),
    ],
)
def test_a_damaged_table_is_told_in_a_sentence(tmp_path, experiment, table, sentence):
    folder = made_inference(tmp_path / "states", experiment.path)
    (folder / "state_statistics.tsv").write_text(table)
    with pytest.raises(DataError, match=sentence):
        read_inferred(find_results(folder, experiment)[0])


def test_locking_of_modes_is_told_of_modes_and_must_be_whole(tmp_path, experiment):
    (tmp_path / "locking.tsv").write_text("participant\tcondition\tstate\teffect\tp\np1\tface\t2\t0.5\tn/a\n")
    results = ResultsFolder(tmp_path, "responses", {"components": "modes"})
    table = locking_part(results).tables[0]
    assert table.caption.startswith("Are the modes locked")
    assert (table.heads, table.rows) == (
        ["event", "mode", "effect (mixing coefficient)", "p"],
        [["face", "2", "0.5", "–"]],
    )
    (tmp_path / "locking.tsv").write_text("participant\tcondition\tstate\teffect\np1\tface\t2\t0.5\n")
    with pytest.raises(DataError, match=r"lacks p\."):
        locking_part(results)


def test_a_folder_of_results_that_is_a_file_is_refused_as_one(tmp_path, experiment):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is not a folder"):
        find_results(tmp_path / "file", experiment)


def test_the_model_before_a_damaged_best_one_is_told_and_known_for_the_one_of_its_results(tmp_path):
    path = made_experiment(tmp_path / "run")
    commit_directory(path / "best_model", lambda folder: (folder / "model.safetensors").write_bytes(b"later weights"))
    before = sha256(b"weights").hexdigest()
    assert read_reported_experiment(path).model_sha256 != before
    (path / "best_model" / "model.safetensors").write_bytes(b"damaged")
    with pytest.warns(DataWarning, match=r"best_model cannot be used: .* Using .*best_model.previous"):
        experiment = read_reported_experiment(path)
    assert (experiment.model_sha256, experiment.fault_of_model) == (before, None)
    write_summary(tmp_path / "maps", results="maps", weights="best_model", model_sha256=before)
    assert find_results(tmp_path / "maps", experiment)
