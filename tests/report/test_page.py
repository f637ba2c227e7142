"""The page: one file without a network, with words for each picture, and names that are not taken for code."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from report_making import HMM_SUMMARY, made_experiment, made_inference, parameters_of

from dynml.plotting.style import new_figure, save_figure
from dynml.report.experiment import read_reported_experiment
from dynml.report.page import ReportInput, report_page
from dynml.report.results import find_results

EVIL = '<script>alert("x")</script>&\'"</title>'


class Seen(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += f"{data} "

    def of(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def page_of(folder, *, summary=HMM_SUMMARY, parameters=None, results=None, subsets=None, **further):
    path = made_experiment(folder / "run", summary, parameters, **further)
    experiment = read_reported_experiment(path)
    if subsets is not None:
        made_inference(folder / "results" / "states", path, subsets)
    given = [] if subsets is None and results is None else find_results(results or folder / "results", experiment)
    return report_page(ReportInput(experiment=experiment, results=given))


SUBSETS = {"training": ["sub-1", "sub-2"], "validation": ["sub-3"], "testing": ["sub-4"]}


def test_the_page_is_one_file_whose_pictures_have_words(tmp_path):
    page = page_of(tmp_path, subsets=SUBSETS)
    seen = Seen(page)
    sources = [one[key] for _, one in seen.elements for key in ("src", "href", "data", "action") if one.get(key)]
    assert [one for one in sources if not one.startswith(("data:", "#"))] == []
    assert re.findall(r"url\(|@import|https?://", page) == []
    images = seen.of("img")
    assert len(images) > 5
    assert all(len(one["alt"]) > 20 for one in images)
    assert len(seen.of("html")) == len(seen.of("title")) == len(seen.of("h1")) == 1
    names = [one["id"] for _, one in seen.elements if "id" in one]
    assert len(set(names)) == len(names)
    assert {one["href"][1:] for one in seen.of("a")} <= set(names)
    assert len(seen.of("article")) == 2


def test_names_of_subjects_channels_and_folders_are_text(tmp_path):
    parameters = parameters_of(subsets={"training": [EVIL], "validation": ["sub-3"]})
    parameters["dataset"]["channel_names"] = [EVIL, "b", "c"]
    path = made_experiment(tmp_path / "<b>run", {**HMM_SUMMARY, "findings": [EVIL]}, parameters)
    experiment = read_reported_experiment(path)
    subsets = {"training": ["sub-1"], "validation": ["sub-3"]}
    folder = made_inference(tmp_path / "states", path, subsets)
    (folder / "sub-1_alpha.npy").rename(folder / "<script>x_alpha.npy")
    summary = json.loads((folder / "summary.json").read_text())
    summary["subsets"]["training"] = ["<script>x"]
    summary["free_energy"]["subjects"]["<script>x"] = 3.0
    (folder / "summary.json").write_text(json.dumps(summary))
    page = report_page(ReportInput(experiment=experiment, results=find_results(folder, experiment), warnings=[EVIL]))
    assert page.count("<script") == 2  # time courses and the viewer's own
    assert "<b>run" not in page
    seen = Seen(page)
    assert EVIL in seen.text
    assert json.loads(re.search(r'id="time-courses">(.*?)</script>', page, re.DOTALL)[1])["subjects"]


@pytest.mark.parametrize("model", [True, False])
def test_a_run_under_way_shows_what_is_there_and_says_so(tmp_path, model):
    page = page_of(tmp_path, summary=None, model=model, n_epochs=3)
    text = " ".join(Seen(page).text.split())
    assert "This run has not finished: it is still under way, or it was broken off" in text
    assert "after 3 epochs" in text
    assert ("It has no best model yet" in text) == (not model)
    assert "It has not been compared with its baselines yet" in text
    assert len(Seen(page).of("img")) == 1


def test_a_model_of_no_family_has_its_curves(tmp_path):
    parameters = parameters_of(None, model=None, model_class="my_models.step:OneStepAhead")
    summary = {
        "epochs": 4,
        "best_epoch": 4,
        "loss": "mse",
        "best_value": 3.25,
        "monitored": "validation_loss",
        "stopping_reason": "max_epochs",
    }
    text = " ".join(Seen(page_of(tmp_path, summary=summary, parameters=parameters)).text.split())
    assert "The model OneStepAhead was trained on 2 recordings of 2 participants" in text
    assert "The best validation loss was 3.250, in epoch 4; this kind of model has no baselines" in text
    assert "The run was started in Python" in text


@pytest.mark.parametrize(("head_epochs", "told"), [(0, False), (1, True), (6, True)])
def test_how_a_pretrained_decoder_learnt_is_told(tmp_path, head_epochs, told):
    model = {"target": "trial_type", "class_names": ["face", "house"], "backbone": {"family": "csm"}}
    parameters = parameters_of("decoding", model=model, pretrained="/experiments/before")
    answer = {"linear_answer": {"kinds": [], "network": {"share": 0.5}}, "head_epochs": head_epochs}
    summary = {**HMM_SUMMARY, "free_energy": None, "baselines": {}, **answer}
    text = " ".join(Seen(page_of(tmp_path, summary=summary, parameters=parameters)).text.split())
    assert "a network (backbone csm, pre-trained without labels" in text
    alone = f"; its head learnt alone in the first {head_epochs} epoch{'s' * (head_epochs > 1)}) that folds"
    assert (alone in text) == told


def test_a_run_that_goes_on_after_its_summary_has_not_finished(tmp_path):
    assert "has not finished" in page_of(tmp_path, n_epochs=6)
    assert "has not finished" not in page_of(tmp_path / "done", n_epochs=4)


def test_a_damaged_best_model_is_told(tmp_path):
    path = made_experiment(tmp_path / "run")
    (path / "best_model" / "model.safetensors").write_bytes(b"other")
    page = report_page(ReportInput(experiment=read_reported_experiment(path)))
    assert "no best model that can be used" in page


def made_spectra(folder, experiment):
    folder.mkdir()
    frequencies = np.arange(1.0, 40.0)
    power = np.stack([np.exp(-((frequencies - peak) ** 2)) * np.ones((3, 1)) for peak in (10, 20)])
    np.savez(folder / "spectra.npz", frequencies=frequencies, group_power=power)
    states = [{"state": state, "resolution_Hz": 2.0 * state, "coherence_floor": None} for state in (1, 2)]
    summary = {"results": "spectra", "experiment": str(experiment), "states": states, "units_of_power": "uV^2/Hz"}
    (folder / "summary.json").write_text(json.dumps(summary))


def test_pictures_and_tables_of_other_results_have_their_places(tmp_path):
    figure = new_figure(8.0, 3.0)
    figure.add_subplot().plot([1, 2])
    results = tmp_path / "results"
    for name, pictures in {
        "maps": [{"state": 2, "kind": "map", "path": "two.png", "alt": "Map of the second one"}],
        "responses": ["responses.png", "responses.svg"],
    }.items():
        (results / name).mkdir(parents=True)
        summary = {"results": name, "experiment": str(tmp_path / "run"), "pictures": pictures, "findings": [f"{name}!"]}
        (results / name / "summary.json").write_text(json.dumps(summary))
    save_figure(figure, results / "maps" / "two.png")
    made_spectra(results / "spectra", tmp_path / "run")
    save_figure(figure, results / "responses" / "responses.png")
    rows = [
        "all\tface\t1\t0.2\tn/a\tn/a\t0.5\ts",
        "all\tface\t2\t0.7\tn/a\tn/a\t0.001\ts",
        "p1\tface\t1\t1\t1\t1\t1\ts",
    ]
    heads = "participant\tcondition\tstate\teffect\ttime\tt\tp\tmethod"
    (results / "responses" / "locking.tsv").write_text("\n".join([heads, *rows]) + "\n")
    page = page_of(tmp_path, subsets=SUBSETS)
    second = page[page.index("State 2</h3>") :]
    row = second[: second.index("</article>")]
    assert "Map of the second one" in row
    assert "Power spectrum of component 2, mean over channels: largest at 20 Hz" in row
    assert "4.00 Hz" in row  # resolution
    assert 'id="responses"' in page
    text = " ".join(Seen(page[page.index('id="responses"') :]).text.split())
    assert "face 2 0.7 0.001 face 1 0.2 0.5" in text
    assert "maps!" in text
    assert "responses!" in text


def test_what_a_state_lacks_is_told_as_it_is(tmp_path):
    """A state of one visit was visited; one that has no spectrum has no picture of the others' spectra."""
    results, run = tmp_path / "results", tmp_path / "run"
    path = made_experiment(run)
    folder = made_inference(results / "states", path, {"training": ["sub-1"]})
    lines = (folder / "state_statistics.tsv").read_text().splitlines()
    heads = lines[0].split("\t")
    cells = lines[2].split("\t")
    cells[heads.index("mean_interval")] = "n/a"
    (folder / "state_statistics.tsv").write_text("\n".join([lines[0], lines[1], "\t".join(cells)]) + "\n")
    made_spectra(results / "spectra", run)
    summary = json.loads((results / "spectra" / "summary.json").read_text())
    summary["states"][1] = {"state": 2, "resolution_Hz": None, "coherence_floor": None}
    (results / "spectra" / "summary.json").write_text(json.dumps(summary))
    with np.load(results / "spectra" / "spectra.npz") as archive:
        power = archive["group_power"].copy()
        power[1] = np.nan
        np.savez(results / "spectra" / "spectra.npz", frequencies=archive["frequencies"], group_power=power)
    experiment = read_reported_experiment(path)
    page = report_page(ReportInput(experiment=experiment, results=find_results(results, experiment)))
    rows = [Seen(row) for row in re.findall(r"<article.*?</article>", page, re.DOTALL)]
    texts = [" ".join(row.text.split()) for row in rows]
    assert "Mean time between visits at most one visit in a recording" in texts[1]
    assert "Spectrum none: too rare in every recording" in texts[1]
    assert "Spectrum none" not in texts[0]
    with_spectrum = [any("Power spectrum" in one["alt"] for one in row.of("img")) for row in rows]
    assert with_spectrum == [True, False]


def test_findings_stand_by_what_they_are_of_and_answers_do_not_count_as_limits(tmp_path):
    results, run = tmp_path / "results", tmp_path / "run"
    for name, said in {
        "maps": ["few edges", "of the run"],
        "responses": ["face: no state responds", "cat: none"],
    }.items():
        (results / name).mkdir(parents=True)
        summary = {"results": name, "experiment": str(run), "findings": said}
        (results / name / "summary.json").write_text(json.dumps(summary))
    page = page_of(tmp_path, summary={**HMM_SUMMARY, "findings": ["of the run"]}, subsets=SUBSETS)
    text = " ".join(Seen(page).text.split())
    titles = "The run of the run Maps and networks few edges Responses to events face: no state responds cat: none"
    assert titles in text
    assert "2 findings below should be read" in text


def test_the_methods_are_drafted_from_what_was_recorded(tmp_path):
    parameters = parameters_of()
    parameters["model"]["learn_means"] = False
    step = {"step": "clean", "high_pass": 0.01, "low_pass": None, "detrend": False}
    parameters["dataset"]["preparation"]["steps"] = [step]
    text = " ".join(Seen(page_of(tmp_path, parameters=parameters, subsets=SUBSETS)).text.split())
    for words in (
        "3 channels sampled at 100 Hz were divided by participant into training (2 recordings of 2 participants, 4 s)",
        "Preparation: high-pass filter, 0.01 Hz; each channel standardized",
        "with 2 states, each a Gaussian with a mean of zero and full covariance, was fitted to all training recordings "
        "together, from the best of 3 starts, by expectation maximization.",
        "Training ended after 4 epochs because it had converged; that of epoch 4, the best by validation loss, was "
        "kept (dynml 0.1.0, seed 7).",
        "these baselines: one Gaussian and a mixture of Gaussians.",
        "most likely sequence by the Viterbi algorithm",
    ):
        assert words in text
    assert "For the paper" not in page_of(tmp_path / "under way", summary=None)


def test_what_no_epoch_has_chosen_is_not_called_best(tmp_path):
    text = " ".join(Seen(page_of(tmp_path, summary=HMM_SUMMARY | {"kept": "the linear answer alone"})).text.split())
    assert "Kept is the linear answer alone." in text
    assert "; the linear answer alone, was kept" in text
    assert "best model is that of epoch" not in text
    assert "the best by" not in text


def test_many_recordings_stay_within_the_size_of_a_page(tmp_path):
    subsets = {"training": [f"sub-{number:03d}" for number in range(130)], "testing": ["last"]}
    path = made_experiment(tmp_path / "run")
    folder = made_inference(tmp_path / "states", path, subsets, n_samples=200)
    long = np.tile(np.load(folder / "last_alpha.npy"), (100, 1))
    for subject in [*subsets["training"], "last"]:
        np.save(folder / f"{subject}_alpha.npy", long)
    experiment = read_reported_experiment(path)
    page = report_page(ReportInput(experiment=experiment, results=find_results(folder, experiment)))
    assert len(page) < 8e6
    courses = json.loads(re.search(r'id="time-courses">(.*?)</script>', page, re.DOTALL)[1])
    assert len(courses["subjects"]) == 100
    assert courses["subjects"][0]["name"] == "last"
    assert "31 more recordings have no place here" in page


def test_a_sequence_model_shows_its_errors_by_lag_channel_and_recording(tmp_path):
    summary = {
        **HMM_SUMMARY,
        "family": "csm",
        "loss": "l1",
        "free_energy": None,
        "score": {"training": 0.4, "validation": 0.45},
        "score_by_network": dict(zip(parameters_of()["dataset"]["channel_names"], (0.4, 0.5, 0.45))),
        "score_by_horizon": {"model": [0.4, 0.5], "zero": [0.6, 0.6]},
    }
    run = made_experiment(tmp_path / "run", summary, parameters_of("csm", model={}))
    experiment = read_reported_experiment(run)
    errors = {"results": "predictions", "experiment": str(run), "loss": "l1", "subsets": SUBSETS}
    errors["score"] = {"testing": 0.52, "subjects": {"sub-3": 0.45, "sub-4": 0.52}}
    (tmp_path / "windows").mkdir()
    (tmp_path / "windows" / "summary.json").write_text(json.dumps(errors))
    page = Seen(report_page(ReportInput(experiment=experiment, results=find_results(tmp_path / "windows", experiment))))
    assert "Errors in validation recordings: of forecasts so many samples ahead, and of each channel" in page.text
    assert "Mean absolute error of each recording (lower is better), the worst of each subset first" in page.text
    words = [one["alt"] for one in page.of("img")]
    assert "Error by channel: 0.400 in Frontal Pole to 0.500 in Cuneal Cortex" in words
    assert "Mean absolute error of each recording: validation median 0.450; testing median 0.520" in words


def test_the_accuracy_of_each_participant_stands_beside_that_of_the_best_baseline():
    from dynml.report.parts.sections import decoding_part

    def of(first, second):
        shares = {"sub-1": {"accuracy": first, "n_trials": 4}, "sub-2": {"accuracy": second, "n_trials": 4}}
        return {"accuracy": (first + second) / 2, "per_participant": shares}

    metrics = {
        "subset": "testing",
        "n_trials": 8,
        "confusion_matrix": {"class_names": ["face", "house"], "counts": [[4, 0], [1, 3]]},
        "baselines": {"linear": of(0.75, 0.5), "majority": of(0.5, 0.5), "functional_connectivity": {"accuracy": None}},
        **of(1.0, 0.75),
    }
    table = decoding_part(metrics).tables[-1]
    assert table.heads == ["participant", "trials", "this decoder", "linear classifier"]
    assert table.rows == [["sub-1", "4", "100.0 %", "75.0 %"], ["sub-2", "4", "75.0 %", "50.0 %"]]
    further = {"balanced_accuracy": 0.875, "balanced_accuracy_chance": 0.5, "f1_macro": 0.871}
    permuted = {"within": "runs", "accuracy": {"mean": 0.51, "p": 0.0099}}
    metrics["baselines"]["linear"] |= {"interval_over": "trials"}
    part = decoding_part(metrics | further | {"permutation": permuted})
    assert part.sentences == [
        "Balanced accuracy 87.5 % (chance 50.0 %), macro F1 0.871.",
        "With labels permuted within runs the accuracy is 51.0 % on average (p = 0.0099).",
    ]
    assert part.tables[0].note == "Intervals are over trials, taken as independent."
    for one in metrics["baselines"].values():
        one.pop("per_participant", None)
    assert decoding_part(metrics).tables[-1].heads == ["participant", "trials", "this decoder"]
