"""Probabilities of a decoder are no closer to 0 and 1 than its training trials bear out."""

import dataclasses

import numpy as np
import pytest
from decoding_data import configs_of, dataset_of
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from dynml.models.sequence.decoding.answer.choice import LabelProblem, Problem
from dynml.models.sequence.decoding.answer.fitting import fit_answer
from dynml.models.sequence.decoding.answer.network_share import decided
from dynml.models.sequence.decoding.evaluation import predictions_of
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Target

STEP = np.log(1000) / 30
"""Logarithm of the ratio of neighbouring factors."""


def problem_of(truth):
    shares = np.bincount(truth) / len(truth)
    return Problem(truth, np.ones(len(truth)), np.log(shares), np.arange(len(truth)), ())


def labels_of(marks):
    shares = marks.mean(axis=0)
    odds = np.log(shares / (1 - shares))
    n_trials = len(marks)
    return LabelProblem(np.zeros(n_trials, np.int64), np.ones(n_trials), odds, np.arange(n_trials), (), marks)


@pytest.mark.parametrize(("n_trials", "n_classes"), [(80, 2), (12, 2), (240, 8)])
def test_of_n_trials_told_apart_one_more_is_taken_to_be_of_any_class(n_trials, n_classes):
    truth = np.arange(n_trials) % n_classes
    scores = np.eye(n_classes)[truth] - 1 / n_classes
    problem = problem_of(truth)
    factor, loss = problem.calibrated(scores)
    expected = (n_trials + 1 / n_classes) / (n_trials + 1)
    logit = np.log(expected / (1 - expected) * (n_classes - 1))
    assert abs(np.log(factor / logit)) <= STEP / 2 + 1e-9
    probabilities = softmax(problem.log_priors + factor * scores, axis=1)
    prior = log_loss(np.tile(np.arange(n_classes), n_trials), np.repeat(probabilities, n_classes, axis=0))
    assert loss == pytest.approx(log_loss(truth, probabilities) + prior / n_trials)


def test_the_same_for_labels_each_by_itself():
    marks = np.stack([np.arange(60) % 2, np.arange(60) % 3 == 0], axis=1).astype(float)
    problem = labels_of(marks)
    factors, _ = problem.calibrated(marks - marks.mean(axis=0))
    said = expit(problem.log_priors + factors * (marks - marks.mean(axis=0)))
    assert abs(np.log(factors[0] / (2 * np.log(60.5 / 0.5)))) < 2 * STEP
    for number in range(2):
        alone = labels_of(marks[:, [number]])
        assert alone.calibrated(marks[:, [number]] - marks[:, [number]].mean())[0] == factors[number]
    assert 1e-4 < said.min() < 0.02
    assert 0.98 < said.max() < 1 - 1e-4


def test_what_trials_contradict_is_calibrated_as_before():
    generator = np.random.default_rng(0)
    truth = np.arange(200) % 2
    scores = 0.4 * (np.eye(2)[truth] - 0.5) + 0.3 * generator.normal(size=(200, 2))
    problem = problem_of(truth)
    plain = [problem.losses(problem.log_priors + factor * scores).mean() for factor in problem.factors]
    factor, _ = problem.calibrated(scores)
    assert abs(np.log(factor / problem.factors[int(np.argmin(plain))])) <= STEP + 1e-9


def test_a_network_that_is_only_surer_has_no_share():
    truth = np.arange(60) % 2
    scores = np.eye(2)[truth] - 0.5
    problem = problem_of(truth)
    answered = problem.calibrated(scores)[0] * scores
    found = decided(np.stack([30 * scores, 300 * scores]), answered, problem, np.arange(60) // 12)
    assert found.share == 0.0
    assert found.report["cross_entropy_of_linear_answer"] == pytest.approx(log_loss(truth, softmax(answered, axis=1)))


def test_weights_of_classes_are_those_of_the_further_trial_too():
    truth = np.array([0] * 30 + [1] * 10)
    weights = np.where(truth == 0, 2 / 3, 2.0)
    balanced = dataclasses.replace(problem_of(truth), weights=weights, log_priors=np.log([0.5, 0.5]))
    scores = np.eye(2)[truth] - 0.5
    factor, _ = balanced.calibrated(scores)
    assert abs(np.log(factor / np.log(40.5 / 0.5))) <= STEP / 2 + 1e-9


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_trials_that_are_told_apart_without_an_error_leave_a_doubt():
    dataset = dataset_of(5, 2, 0, effect=4.0)
    configs = configs_of(dataset, backbone="linear", linear_answer="best")
    model, target = Decoding(configs["model"], 4), Target.of(dataset, "stimulus")
    training, validation = (
        target.trials(name, configs["sampler"], configs["model"].class_names) for name in ("training", "validation")
    )
    answered = fit_answer(model.answer, training, by_runs=False, balanced=False, most_trials=1000, seed=0)
    assert len(training) == 80
    assert answered.report["held_out"]["accuracy"] == 1.0
    assert answered.report["held_out"]["cross_entropy"] > 1 / 400
    model.network_share.fill_(0.0)
    said = predictions_of(model, validation)
    assert said.accuracy == 1.0
    assert said.probabilities.min() > 1e-4
