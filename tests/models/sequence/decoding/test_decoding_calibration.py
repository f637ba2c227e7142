"""Probabilities of a decoder are no closer to 0 and 1 than its trials bear out, also of a mean of several answers."""

import dataclasses

import numpy as np
import pytest
from decoding_data import configs_of, dataset_of
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from dynml.models.sequence.decoding.answer.choice import Choice, LabelProblem, NumberProblem, Problem, averaged
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


def answers_of(truth, scores):
    problem = problem_of(truth)
    choices = []
    for one in scores:
        factor, loss = problem.calibrated(one)
        choices.append(Choice("course", 0, 1, 1.0, factor, factor * one, loss))
    return choices, problem


def test_what_is_noise_has_little_weight_and_what_helps_has():
    generator = np.random.default_rng(3)
    truth = np.arange(200) % 2
    signal = (np.eye(2)[truth] - 0.5) * 1.5
    first, second, noise = (generator.normal(size=(200, 2)) for _ in range(3))
    weights = averaged(*answers_of(truth, [noise, signal + first]))
    assert weights[0] < 0.1
    assert (averaged(*answers_of(truth, [signal + first, signal + second])) > 0.3).all()


def test_answers_that_say_the_same_are_no_surer_together_than_alone():
    generator = np.random.default_rng(4)
    truth = np.arange(40) % 2
    scores = 0.4 * (np.eye(2)[truth] - 0.5) + 0.2 * generator.normal(size=(40, 2))
    assert averaged(*answers_of(truth, [scores] * 4)).sum() == pytest.approx(1.0)


def test_answers_that_say_different_things_are_surer_together():
    generator = np.random.default_rng(5)
    truth = np.arange(600) % 2
    scores = [np.eye(2)[truth] - 0.5 + generator.normal(size=(600, 2)) for _ in range(3)]
    choices, problem = answers_of(truth, scores)
    weights = averaged(choices, problem)
    together = sum(weight * choice.scores for weight, choice in zip(weights, choices))
    assert weights.sum() > 1.5
    best = min(problem.cautious_losses(problem.log_priors + f * sum(scores)).mean() for f in np.linspace(0.1, 3, 100))
    assert problem.cautious_losses(problem.log_priors + together).mean() < best + 0.01


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_slopes_are_differences_of_losses(kind):
    generator = np.random.default_rng(6)
    truth, n_values = np.arange(12) % 3, 1 if kind == "numbers" else 3
    plain = problem_of(truth)
    own = truth, np.linspace(0.5, 2, 12), plain.log_priors[:n_values], plain.groups, ()
    problem = {
        "classes": lambda: Problem(*own),
        "labels": lambda: LabelProblem(*own, np.eye(3)[truth]),
        "numbers": lambda: NumberProblem(*own, generator.normal(size=12)),
    }[kind]()
    logits, step = generator.normal(size=(12, n_values)), 1e-6
    for column in range(n_values):
        moved = step * np.eye(n_values)[column]
        rise = problem.cautious_losses(logits + moved) - problem.cautious_losses(logits - moved)
        np.testing.assert_allclose(problem.slopes(logits)[:, column], rise / (2 * step), atol=1e-7)


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
