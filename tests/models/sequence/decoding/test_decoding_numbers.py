import dataclasses
import json

import numpy as np
import pytest
from decoding_data import configs_of, recording, trainer_of
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from dynml import MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.cli.outputs.decoding import write_decoding
from dynml.errors import ConfigurationError, DataError
from dynml.models.experiment import load_experiment
from dynml.models.sequence.decoding.answer.choice import NumberProblem, Variant, coefficients
from dynml.models.sequence.decoding.inference import decode
from dynml.models.sequence.decoding.numbers.baselines import fit_number_baselines
from dynml.models.sequence.decoding.numbers.predictions import predicted_numbers
from dynml.models.sequence.decoding.numbers.values import values_of
from dynml.models.sequence.decoding.numbers.written import number_of
from dynml.models.sequence.decoding.targets import Target
from dynml.report.experiment import read_reported_experiment
from dynml.report.page import ReportInput, report_page
from dynml.report.results import find_results

TRIAL = 12


def with_numbers(seed, effect=0.5, **settings):
    """Trials whose number is what channel 2 is shifted by, and written as a label of its own."""
    plain = recording(seed, effect=0.0, **settings)
    generator = np.random.default_rng(1000 + seed)
    force = generator.uniform(-3, 5, size=len(plain.events.onset)).round(3)
    signals = plain.signals.copy()
    for onset, value in zip(plain.events.onset, force, strict=True):
        signals[onset : onset + TRIAL, 2] += effect * value
    names = tuple(sorted({f"{value:.3f}" for value in force}))
    codes = np.array([names.index(f"{value:.3f}") for value in force], dtype=np.int64)
    events = dataclasses.replace(plain.events, labels={"force": codes}, names={"force": names})
    return dataclasses.replace(plain, signals=signals, events=events)


def dataset_of_numbers(n_training=4, n_validation=2, n_testing=1, **settings):
    seeds, names = iter(range(100)), iter("abcdefgh")
    parts = [
        {f"sub-{next(names)}": with_numbers(next(seeds), **settings) for _ in range(count)}
        for count in (n_training, n_validation, n_testing)
    ]
    return MultiSubjectDataset.from_arrays(*parts)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dataset = dataset_of_numbers()
    settings = {"target": "force", "target_values": "numbers", "linear_answer": "best"}
    trainer = trainer_of(dataset, tmp_path_factory.mktemp("numbers"), **settings)
    return dataset, trainer, trainer.train_and_validate()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), (" -3 ", -3.0), ("1e-3", 1e-3), (".5", 0.5), ("2.", 2.0)]
    + [(text, None) for text in ("1,5", "nan", "inf", "1_0", "a", "", "3 s", "1e999", "٣")],
)
def test_a_label_is_a_number_with_a_decimal_point_or_none(text, value):
    assert number_of(text) == value


def test_numbers_are_predicted_beside_baselines_that_scikit_learn_scores_alike(trained):
    dataset, trainer, summary = trained
    assert summary["loss"] == "squared_error"
    assert summary["score"]["validation"] > 0.7
    assert summary["score"]["validation"] >= summary["baselines"]["linear"]["validation"] - 0.02
    assert abs(summary["baselines"]["mean"]["training"]) < 1e-12
    assert summary["baselines"]["functional_connectivity"]["validation"] is not None
    trials = trainer.trials("validation")
    found = predicted_numbers(trainer.model, trials)
    assert summary["score"]["validation"] == pytest.approx(r2_score(values_of(trials), found.predicted), abs=1e-9)
    labels = dataset.signal_source.events("sub-e", dataset.group).names["force"]
    assert set(values_of(trials)) >= {float(label) for label in labels}


def test_what_is_kept_on_disk_predicts_the_same(trained):
    dataset, trainer, _ = trained
    found = decode(load_experiment(trainer.folder.path), dataset, ["testing"])
    assert found.of_numbers
    again = predicted_numbers(trainer.model, trainer.trials("testing"))
    np.testing.assert_allclose(found.predictions["testing"].predicted, again.predicted, atol=1e-9)
    assert list(found.baselines) == ["mean", "linear", "functional_connectivity"]


def test_tables_scores_and_the_page_of_numbers(trained, tmp_path):
    dataset, trainer, summary = trained
    experiment = load_experiment(trainer.folder.path)
    line = write_decoding(experiment, dataset, ["validation"], tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "validation R^2" in line
    assert metrics["r_squared"] == pytest.approx(summary["score"]["validation"], abs=1e-6)
    assert set(metrics["per_participant"]) == {"sub-e", "sub-f"}
    assert metrics["permutation"]["r_squared"]["p"] < 0.01
    assert metrics["baselines"]["mean"]["interval_over"] == "participants"
    rows = [line.split("\t") for line in (tmp_path / "predictions.tsv").read_text().splitlines()]
    assert rows[0] == ["participant", "subject", "run", "trial", "truth", "predicted"]
    numbers = np.array([row[-2:] for row in rows[1:]], dtype=float)
    assert r2_score(*numbers.T) == pytest.approx(metrics["r_squared"], abs=1e-6)
    assert (tmp_path / "predictions.png").read_bytes()[:4] == b"\x89PNG"
    reported = read_reported_experiment(trainer.folder.path)
    page = report_page(ReportInput(experiment=reported, results=find_results(tmp_path, reported)))
    assert "explains" in page
    assert "correlation by participant" in page


def test_of_numbers_without_a_trace_in_the_signals_nothing_of_the_network_stays(tmp_path):
    settings = {"target": "force", "target_values": "numbers", "linear_answer": "best"}
    summary = trainer_of(dataset_of_numbers(effect=0.0), tmp_path, **settings).train_and_validate()
    assert summary["linear_answer"]["network"]["share"] == 0.0
    assert summary["score"]["validation"] == pytest.approx(summary["baselines"]["mean"]["validation"], abs=0.1)
    assert any("does not lower the squared error" in finding for finding in summary["findings"])


def test_ridge_regressions_of_numbers_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    for n_trials, n_features in ((30, 5), (10, 40)):
        inputs = generator.normal(size=(n_trials, n_features))
        values = generator.normal(size=n_trials)
        values = (values - values.mean()) / values.std()
        zeros = np.zeros(n_trials, dtype=np.int64)
        problem = NumberProblem(zeros, np.ones(n_trials), np.zeros(1), np.arange(n_trials), (), values)
        slopes, centre = coefficients(Variant(inputs), problem, [0.1])
        scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        ridge = Ridge(alpha=0.1 * max(n_trials, n_features)).fit(scaled, values)
        np.testing.assert_allclose((inputs - centre) @ slopes[0, :, 0], ridge.predict(scaled), atol=1e-9)


def test_baselines_of_numbers_know_the_training_trials_alone():
    dataset = dataset_of_numbers(4, 1, 0)
    target = Target.of(dataset, "force")
    training, validation = (target.trials(name, BatchSamplerConfig(), ()) for name in ("training", "validation"))
    fitted = fit_number_baselines(training, by_runs=False, most_trials=4000, seed=0)
    assert fitted["mean"].predict(validation) == pytest.approx(np.full(len(validation), values_of(training).mean()))
    assert fitted["linear"].settings["chosen_by"] == "participants"
    assert fitted["linear"].r_squared(validation) > 0.7


@pytest.mark.parametrize(
    ("column", "settings", "error", "words"),
    [
        ("stimulus", {"target_values": "numbers"}, ConfigurationError, "not numbers with a decimal point \\('face'"),
        ("force", {}, ConfigurationError, "--model.target_values numbers predicts a quantity"),
    ],
)
def test_labels_that_are_no_numbers_and_numbers_that_are_no_classes_are_refused(column, settings, error, words):
    make = recording if column == "stimulus" else with_numbers
    dataset = MultiSubjectDataset.from_arrays([make(0), make(1)], [make(2)])
    with pytest.raises(error, match=words):
        configs_of(dataset, target=column, **settings)


def test_one_number_for_all_trials_is_refused_and_settings_of_classes_are():
    one = with_numbers(0)
    same = dataclasses.replace(
        one,
        events=dataclasses.replace(
            one.events, labels={"force": np.zeros(len(one.events.onset), np.int64)}, names={"force": ("2.5",)}
        ),
    )
    with pytest.raises(DataError, match="one number only \\(2.5\\)"):
        configs_of(MultiSubjectDataset.from_arrays([same]), target="force", target_values="numbers")
    for key, value in (("class_weights", "balanced"), ("label_smoothing", 0.1), ("classes", ["1"])):
        with pytest.raises(ConfigurationError, match=f"model.{key}"):
            configs_of(dataset_of_numbers(2, 1, 0), target="force", target_values="numbers", **{key: value})
