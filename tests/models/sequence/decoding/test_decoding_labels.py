"""Trials that have any number of labels, each of which is told by itself."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from decoding_data import configs_of, recording, trainer_of
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from dynml import MultiSubjectDataset
from dynml.cli.outputs.decoding import write_decoding
from dynml.dataset.trials import with_joined
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.models.experiment import load_experiment
from dynml.models.sequence.decoding.answer.choice import LabelProblem
from dynml.models.sequence.decoding.inference import decode
from dynml.models.sequence.decoding.labels.baselines import fit_label_baselines
from dynml.models.sequence.decoding.labels.marks import labels_in, marks_of
from dynml.models.sequence.decoding.labels.predictions import predicted_labels
from dynml.models.sequence.decoding.losses import LabelLoss
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Target
from dynml.models.sequence.features.attribution import attribution_maps
from dynml.report.experiment import read_reported_experiment
from dynml.report.page import ReportInput, report_page
from dynml.report.results import find_results

TRIAL = 12
LABELS = ("face", "left", "tool")
pytestmark = pytest.mark.filterwarnings("ignore:The arrays are used as they are")


def with_labels(seed, effect=0.6, values=None):
    """Trials with labels drawn one by one; face and tool shift channels 0 and 2, left leaves no trace."""
    plain = recording(seed, effect=0.0)
    generator, n_trials = np.random.default_rng(500 + seed), len(plain.events.onset)
    marks = generator.random((n_trials, 3)) < [0.5, 0.3, 0.4]
    signals = plain.signals.copy()
    for onset, own in zip(plain.events.onset, marks, strict=True):
        for channel in (0, 2):
            signals[onset : onset + TRIAL, channel] += effect * own[channel]
    texts = [";".join(np.array(LABELS)[own]) or ";" for own in marks] if values is None else values(n_trials)
    names, codes = np.unique(texts, return_inverse=True)
    events = dataclasses.replace(plain.events, labels={"what": codes}, names={"what": tuple(map(str, names))})
    for label, own in zip(LABELS, marks.T, strict=True):
        events.labels[label], events.names[label] = own.astype(np.int64), ("0", "1")
    return dataclasses.replace(plain, signals=signals, events=events)


def dataset_of_labels(n_training=4, n_validation=2, n_testing=1, **settings):
    seeds, names = iter(range(100)), iter("abcdefgh")
    parts = [
        {f"sub-{next(names)}": with_labels(next(seeds), **settings) for _ in range(count)}
        for count in (n_training, n_validation, n_testing)
    ]
    return MultiSubjectDataset.from_arrays(*parts)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dataset = dataset_of_labels()
    settings = {"target": "what", "target_values": "labels", "linear_answer": "best", "n_networks": 2}
    limits = {"inner_folds": 0, "max_epochs": 2}
    trainer = trainer_of(dataset, tmp_path_factory.mktemp("labels"), trainer=limits, **settings)
    return dataset, trainer, trainer.train_and_validate()


@pytest.mark.parametrize(
    ("text", "labels"), [("face", {"face"}), ("face; house;face", {"face", "house"}), (";", set()), (" ; ", set())]
)
def test_labels_of_a_value_stand_between_semicolons(text, labels):
    assert labels_in(text) == labels


def test_labels_are_told_one_by_one_beside_baselines(trained):
    _, trainer, summary = trained
    assert summary["loss"] == "binary_cross_entropy"
    assert summary["label_names"] == list(LABELS)
    assert "class_names" not in summary  # a trial has no class here
    trials = trainer.trials("validation")
    found = predicted_labels(trainer.model, trials)
    areas = roc_auc_score(found.marks, found.probabilities, average=None)
    assert summary["score"]["validation"] == pytest.approx(areas.mean(), abs=1e-9)
    assert min(areas[0], areas[2]) > 0.9
    assert summary["baselines"]["frequencies"]["validation"] == 0.5
    assert summary["score"]["validation"] > summary["baselines"]["linear"]["validation"] - 0.06
    assert summary["networks"]["held_out"]["macro_auc"] > 0.7
    assert summary["linear_answer"]["kinds"]["course"]["weight"] > 0.8


def test_before_anything_is_learnt_labels_are_as_likely_as_they_are_frequent():
    dataset = dataset_of_labels()
    settings = {"target": "what", "target_values": "labels", "linear_answer": "none"}
    model = Decoding(configs_of(dataset, **settings)["model"], 4).eval()
    trials = Target.of(dataset, "what").labelled("training", configs_of(dataset, **settings)["sampler"])
    expected = np.tile(marks_of(trials, LABELS).mean(axis=0), (len(trials), 1))
    np.testing.assert_allclose(predicted_labels(model, trials).probabilities, expected, atol=1e-6)


def test_what_is_written_of_them(trained, tmp_path):
    dataset, trainer, summary = trained
    experiment = load_experiment(trainer.folder.path)
    line = write_decoding(experiment, dataset, ["validation"], tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "validation mean area under the ROC curve of 3 labels" in line
    assert metrics["macro_auc"] == pytest.approx(summary["score"]["validation"], abs=1e-6)
    rows = [line.split("\t") for line in (tmp_path / "predictions.tsv").read_text().splitlines()]
    assert rows[0][-3:] == [f"probability_{label}" for label in LABELS]
    marks = np.array([[label in row[4].split(";") for label in LABELS] for row in rows[1:]])
    said = np.array([row[-3:] for row in rows[1:]], dtype=float)
    for number, label in enumerate(LABELS):
        own = metrics["labels"][label]
        assert own["auc"] == pytest.approx(roc_auc_score(marks[:, number], said[:, number]), abs=5e-3)
        expected = average_precision_score(marks[:, number], said[:, number])
        assert own["average_precision"] == pytest.approx(expected, abs=1e-3)
    assert metrics["permutation"]["macro_auc"]["p"] < 0.01
    assert metrics["baselines"]["frequencies"]["difference"] > 0
    assert (tmp_path / "labels.png").read_bytes()[:4] == b"\x89PNG"
    assert "auc_linear" in (tmp_path / "labels.tsv").read_text()
    reported = read_reported_experiment(trainer.folder.path)
    page = report_page(ReportInput(experiment=reported, results=find_results(tmp_path, reported)))
    assert "tells 3 labels of what with a mean area" in page
    assert "Scores by label" in page
    with pytest.raises(DataError, match="this decoder tells labels"):
        attribution_maps(experiment.model, [trainer.trials("validation")], "gradient_x_input")
    with pytest.raises(ConfigurationError, match="absent for a decoder of labels"):
        write_decoding(experiment, dataset, ["validation"], tmp_path, over_time=True)


def test_columns_of_zeros_and_ones_are_the_same_as_one_of_lists(trained):
    dataset, trainer, _ = trained
    sampler = trainer.batch_sampler.config
    joined = Target.of(dataset, "face,left,tool").labelled("training", sampler)
    listed = Target.of(dataset, "what").labelled("training", sampler)
    np.testing.assert_array_equal(marks_of(joined, LABELS), marks_of(listed, LABELS))
    assert len(np.unique(marks_of(listed, LABELS), axis=0)) > 4
    found = decode(load_experiment(trainer.folder.path), dataset, ["testing"])
    again = predicted_labels(trainer.model, trainer.trials("testing"))
    np.testing.assert_allclose(found.predictions["testing"].logits, again.logits, atol=1e-9)
    with pytest.raises(ConfigurationError, match="there are: face, left, tool, what"):
        Target.of(dataset, "face,leftt")


def test_other_values_than_zeros_and_ones_cannot_be_joined():
    plain = with_labels(0)
    events = dataclasses.replace(plain.events, names=plain.events.names | {"left": ("no", "yes")})
    with pytest.raises(DataError, match="column 'left' has the value 'no'"):
        with_joined(events, "face,left")
    codes = plain.events.labels["left"].copy()
    codes[3] = -1
    events = dataclasses.replace(plain.events, labels=plain.events.labels | {"left": codes})
    events = with_joined(events, "face,left")
    assert events.labels["face,left"][3] == -1
    assert set(events.names["face,left"]) == {";", "face", "left", "face;left"}


def test_losses_and_factors_are_those_of_each_label_by_itself():
    generator = np.random.default_rng(1)
    marks, scores = (generator.random((60, 3)) < 0.4).astype(float), generator.normal(size=(60, 3))
    scores[:, 1] += 2 * marks[:, 1]
    odds = np.log(marks.mean(axis=0) / (1 - marks.mean(axis=0)))
    problem = LabelProblem(np.zeros(60, dtype=np.int64), np.ones(60), odds, np.arange(60), (), marks)
    expected = [log_loss(marks[:, k], 1 / (1 + np.exp(-scores[:, k]))) for k in range(3)]
    assert problem.losses(scores).mean() == pytest.approx(np.mean(expected))
    loss = LabelLoss(marks, torch.device("cpu")).of(torch.from_numpy(scores), torch.arange(60), in_training=True)
    np.testing.assert_allclose(loss.numpy(), problem.losses(scores), rtol=1e-5)
    factors, least = problem.calibrated(scores)
    for label in range(3):
        alone = dataclasses.replace(problem, log_priors=odds[[label]], marks=marks[:, [label]])
        assert alone.calibrated(scores[:, [label]])[0] == factors[label]
    assert least <= min(problem.losses(odds + factor * scores).mean() for factor in problem.factors)
    assert factors[1] > max(factors[0], factors[2])


def test_baselines_know_the_training_trials_alone(trained):
    _, trainer, _ = trained
    fitted = fit_label_baselines(trainer.trials("training"), LABELS, by_runs=False, most_trials=1000, seed=0)
    shares = marks_of(trainer.trials("training"), LABELS).mean(axis=0)
    odds = fitted["frequencies"].logits(trainer.trials("validation"))
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), np.tile(shares, (len(odds), 1)))
    assert fitted["linear"].macro_auc(trainer.trials("validation")) > 0.6
    assert fitted["functional_connectivity"].settings["chosen_by"] == "participants"


def test_labels_that_a_subset_lacks_or_has_throughout_are_named(tmp_path):
    def without_tool(n_trials):
        return ["face;left", "left"] * (n_trials // 2) + ["left"] * (n_trials % 2)

    others = iter((10, 11))
    parts = [{f"sub-{name}": with_labels(seed)} for seed, name in enumerate("ab")]
    people = [{f"sub-{name}": with_labels(next(others), values=without_tool)} for name in "cd"]
    dataset = MultiSubjectDataset.from_arrays({**parts[0], **parts[1]}, *people)
    settings = {"target": "what", "target_values": "labels", "linear_answer": "best"}
    trainer = trainer_of(dataset, tmp_path, trainer={"inner_folds": 0, "max_epochs": 1}, **settings)
    summary = trainer.train_and_validate()
    of = "mean area and mean average precision are over the 1 of 3 labels that"
    for subset, found in (("validation", summary["findings"]), ("testing", None)):
        if found is None:
            experiment = load_experiment(trainer.folder.path)
            (tmp_path / "out").mkdir()
            with pytest.warns(DataWarning, match="No testing trial has the label tool"):
                write_decoding(experiment, dataset, ["testing"], tmp_path / "out")
            found = json.loads((tmp_path / "out/metrics.json").read_text())["findings"]
        assert [one for one in found if one.startswith(f"No {subset} trial has the label tool: {of}")]
        assert [one for one in found if one.startswith(f"Every {subset} trial has the label left: {of}")]


def test_labels_that_tell_nothing_are_said_or_refused():
    def once(n_trials):
        return ["face;all"] + ["all", "tool;all"] * ((n_trials - 1) // 2) + ["all"] * ((n_trials - 1) % 2)

    settings = {"target": "what", "target_values": "labels"}
    with pytest.warns(DataWarning, match="All training trials have all, .*a single training trial has face"):
        config = configs_of(dataset_of_labels(1, 1, 0, values=once), **settings)["model"]
    assert config.class_names == ["face", "tool"]
    with pytest.raises(DataError, match="no label that some have and others have not in what"):
        configs_of(dataset_of_labels(1, 1, 0, values=lambda n_trials: ["all"] * n_trials), **settings)
    with pytest.raises(ConfigurationError, match="no effect on target_values labels"):
        configs_of(dataset_of_labels(1, 1, 0), **settings, class_weights="balanced")
    with pytest.warns(DataWarning, match="is one class"):
        configs_of(dataset_of_labels(1, 1, 0), target="what")
