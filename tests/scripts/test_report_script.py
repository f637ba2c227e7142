"""dynml_report.py on a run of its own: infers what is missing, refuses what it must not touch."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from report_making import made_inference
from running_hmms import switching_signals, train
from running_scripts import create_store, run_here

from dynml.cli.commands.results.infer import _column_of_events

REPORT, INFER = "dynml_report.py", "dynml_infer_from_model.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    arrays = {f"sub-{number}": [switching_signals(400, number)] for number in range(3)}
    subsets = {"training": ["sub-0", "sub-1"], "validation": ["sub-2"]}
    store = create_store(folder, arrays, subsets, run_by=run_here)
    told = train(folder, store, "hmm", run_by=run_here).stdout
    return folder, store, folder / "hmm", told


def test_the_page_infers_what_it_needs_and_is_not_replaced_unasked(run, tmp_path):
    folder, store, experiment, told = run
    assert told.endswith(f"\nNext: {INFER} {experiment} {store} OUT_FOLDER\n")
    out = tmp_path / "new" / "report.html"
    shown = run_here(REPORT, experiment, out, "--hdf5", store).stdout
    assert shown.startswith(f"{out}: ")
    page = out.read_text(encoding="utf-8")
    assert re.search(r'id="time-courses">\{.*"sub-2"', page)
    assert page.count("<article") == 2
    assert "/tmp" not in page.replace(str(folder), "").replace(str(tmp_path), "")
    assert "use -f to replace it" in run_here(REPORT, experiment, out, status=2).stderr
    out.write_text("<html>my own page</html>")
    assert "was not made by this script" in run_here(REPORT, experiment, out, "-f", status=2).stderr
    assert out.read_text() == "<html>my own page</html>"


def test_inference_names_the_report_and_the_report_takes_its_results(run, tmp_path):
    _, store, experiment, _ = run
    states = tmp_path / "states"
    told = run_here(INFER, experiment, store, states).stdout
    words = f"{experiment} report.html --hdf5 {store} --results {states}"
    assert told.endswith(f"\nNext: {REPORT} {words}\n")
    np.save(states / "sub-2_alpha.npy", np.full((400, 2), np.nan, dtype=np.float32))  # taken as it is, not made anew
    run_here(REPORT, experiment, tmp_path / "report.html", "--results", states)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "/" + "/" * 40 in page.partition('"sub-2"')[2]  # base64 of bytes 255: nothing observed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("absent", "page.html"), "absent does not exist"),
        ((".", "page.html"), "is not an experiment: give the experiments in it"),
        (("hmm", "page.pdf"), "OUT_HTML is .*page.pdf, but must end in .html"),
        (("hmm", "page.html", "--results", "absent"), "The folder of results .*absent does not exist"),
        (("hmm", "page.html", "--results", "ready"), "ready holds no results"),
        (("hmm", "page.html", "--hdf5", "absent.hdf5"), "absent.hdf5"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(run, tmp_path, arguments, sentence):
    folder = run[0]
    words = [word if word.startswith("--") else folder / word for word in arguments]
    words[1] = tmp_path / arguments[1]
    error = run_here(REPORT, *words, status=2).stderr
    assert error.count("\n") == 1
    assert re.search(sentence, error)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_was_prepared_otherwise_is_refused_with_the_difference(run, tmp_path):
    other = create_store(
        tmp_path, {"sub-9": [switching_signals(400, 9)]}, {"testing": ["sub-9"]}, run_by=run_here, detrend=True
    )
    states = made_inference(tmp_path / "states", run[2], {"training": ["sub-0"]})
    for further in ((), ("--results", states)):
        error = run_here(REPORT, run[2], tmp_path / "page.html", "--hdf5", other, *further, status=2).stderr
        assert "detrend" in error
        assert not (tmp_path / "page.html").exists()


def test_without_a_best_model_the_page_says_so_and_inference_names_what_there_is(run, tmp_path):
    _, store, experiment, _ = run
    shutil.copytree(experiment, tmp_path / "hmm")
    for one in (tmp_path / "hmm").glob("best_model*"):
        shutil.rmtree(one)
    run_here(REPORT, tmp_path / "hmm", tmp_path / "report.html", "--hdf5", store)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "This run has no best model that can be used" in page
    assert "No states over time here, since there is no best model to infer from." in page
    error = run_here(INFER, tmp_path / "hmm", store, tmp_path / "states", status=2).stderr
    assert error.endswith(
        "has no best_model to load; its latest epoch is there: --use_latest_epoch (in Python: latest=True).\n"
    )
    assert not (tmp_path / "states").exists()


def test_a_few_subjects_are_asked_for_events_to_propose_a_command():
    asked = []
    source = SimpleNamespace(events=lambda subject, group: asked.append(subject))
    dataset = SimpleNamespace(subjects=[f"sub-{number}" for number in range(5000)], signal_source=source, group="g")
    assert _column_of_events(dataset) is None
    assert len(asked) < 10
    names = {"block": ("1",), "rating": ("1", "2", "3"), "trial_type": ("face", "house")}
    source.events = lambda subject, group: SimpleNamespace(names=names, labels=names)
    assert _column_of_events(dataset) == "trial_type"
