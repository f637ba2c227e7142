"""With few trials the linear answer is not chosen by chance: it is near the mean of what there is, and no worse."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss

from dynml.models.sequence.decoding.answer.choice import (
    PENALTIES,
    Choice,
    Problem,
    Variant,
    averaged,
    choices_of,
    coefficients,
)
from dynml.models.sequence.decoding.answer.features import course, shares_of_parts
from dynml.models.sequence.decoding.answer.folds import folds_of

N_TESTED, N_PARTS, N_CHANNELS = 400, 8, 4


def drawn(generator, n_trials):
    """Trials of two classes whose mean over time differs in one channel; the course has more parts than it needs."""
    truth = np.arange(n_trials) % 2
    inputs = generator.normal(size=(n_trials, N_PARTS, N_CHANNELS))
    inputs[:, :, 0] += 0.7 * (truth - 0.5)[:, None]
    return truth, inputs


def variants_of(inputs):
    shares = [shares_of_parts(n, N_PARTS).numpy() for n in (1, 4, 8)]
    rows = [np.einsum("pr,nrc->npc", share, inputs).reshape(len(inputs), -1) for share in shares]
    noise = np.random.default_rng(9).normal(size=(len(inputs), 3, 20))
    return {"course": [Variant(one) for one in rows], "power": [Variant(one) for one in noise.transpose(1, 0, 2)]}


def problem_of(truth):
    return Problem(truth, np.ones(len(truth)), np.log([0.5, 0.5]), np.arange(len(truth)), folds_of(truth, None))


def logits_of(choices, weights, variants, new, problem):
    logits = np.tile(problem.log_priors, (N_TESTED, 1))
    for weight, choice in zip(weights, choices):
        own, other = variants[choice.kind][choice.variant], new[choice.kind][choice.variant]
        slopes, centre = coefficients(own, problem, [choice.penalty])
        logits += weight * choice.factor * ((other.inputs - centre) @ slopes[0])
    return logits


def test_in_the_mean_over_draws_the_mean_of_all_is_better_than_the_best_of_each():
    losses = {"best of each": [], "mean of all": [], "plain ridge": []}
    right = {name: [] for name in losses}
    for seed in range(8):
        generator = np.random.default_rng(seed)
        (truth, inputs), (new_truth, new_inputs) = drawn(generator, 16), drawn(generator, N_TESTED)
        variants, new, problem = variants_of(inputs), variants_of(new_inputs), problem_of(truth)
        everything = [
            one for kind, own in variants.items() for n in range(len(own)) for one in choices_of(kind, own, n, problem)
        ]
        best = {kind: min((c for c in everything if c.kind == kind), key=lambda c: c.loss) for kind in variants}
        chosen = [one for one in everything if one.variant == best[one.kind].variant]
        plain = [best["course"]]
        ways = {
            "best of each": (chosen, without_pull(chosen, problem)),
            "mean of all": (everything, averaged(everything, problem)),
            "plain ridge": (plain, [1.0]),
        }
        for name, (choices, weights) in ways.items():
            logits = logits_of(choices, weights, variants, new, problem)
            losses[name].append(log_loss(new_truth, softmax(logits, axis=1)))
            right[name].append(np.mean(logits.argmax(axis=1) == new_truth))
    mean_loss, accuracy = ({name: np.mean(own) for name, own in one.items()} for one in (losses, right))
    assert mean_loss["mean of all"] < mean_loss["best of each"] - 0.03
    assert accuracy["mean of all"] > accuracy["best of each"] + 0.01
    assert accuracy["mean of all"] > accuracy["plain ridge"] - 0.01


def without_pull(choices, problem):
    """Weights of least loss and nothing else, and a common factor: what fits few trials best."""
    from scipy.optimize import minimize

    scores = np.stack([choice.scores for choice in choices])

    def mean_loss(weights):
        logits = problem.log_priors + np.tensordot(weights, scores, 1)
        slopes = problem.slopes(logits) / len(logits)
        return problem.cautious_losses(logits).mean(), np.tensordot(scores, slopes, 2)

    whole = {"type": "eq", "fun": lambda weights: weights.sum() - 1.0}
    start, bounds = np.full(len(choices), 1 / len(choices)), [(0, 1)] * len(choices)
    return minimize(mean_loss, start, jac=True, method="SLSQP", bounds=bounds, constraints=[whole]).x


def test_weights_are_nearly_equal_of_few_trials_and_those_of_least_loss_of_many():
    found = {}
    for n_trials in (8, 80, 800):
        generator = np.random.default_rng(1)
        truth = np.arange(n_trials) % 2
        signal = 0.6 * (np.eye(2)[truth] - 0.5)
        problem, choices = problem_of(truth), []
        for scores in (signal + 0.5 * generator.normal(size=(n_trials, 2)), generator.normal(size=(n_trials, 2))):
            choices.append(Choice("course", 0, 1, 1.0, np.array(0.5), 0.5 * scores, 0.0))
        weights = averaged(choices, problem)
        found[n_trials] = weights[1] / weights.sum()
    assert found[8] > 0.2
    assert found[800] < 0.05


@pytest.mark.parametrize("n_parts", [1, 2, 3, 8])
def test_parts_are_means_of_the_finest_ones(n_parts):
    signals = torch.from_numpy(np.random.default_rng(0).normal(size=(48, 3)))
    known = torch.ones(48, dtype=torch.bool)
    finest = course(signals, known, 24).reshape(24, 3)
    np.testing.assert_allclose((shares_of_parts(n_parts, 24) @ finest).flatten(), course(signals, known, n_parts))
    shares = shares_of_parts(n_parts, 9).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares.sum(axis=0), n_parts / 9)


def test_weights_of_parts_are_those_of_the_finest_ones():
    generator = np.random.default_rng(2)
    truth, inputs = drawn(generator, 30)
    problem = problem_of(truth)
    for own in variants_of(inputs)["course"]:
        variant = Variant(own.inputs, parts=shares_of_parts(own.inputs.shape[1] // N_CHANNELS, N_PARTS).numpy())
        slopes, centre = coefficients(variant, problem, PENALTIES[2:3])
        flat = inputs.reshape(len(inputs), -1)
        expected = (variant.inputs - centre) @ slopes[0]
        np.testing.assert_allclose((flat - flat.mean(axis=0)) @ variant.of_finest(slopes[0]), expected, atol=1e-12)


def test_a_part_without_a_known_sample_has_the_mean_of_the_others():
    signals = torch.arange(12, dtype=torch.float64).reshape(6, 2)
    known = torch.tensor([True, True, True, True, False, False])
    np.testing.assert_allclose(course(signals, known, 3), [1.0, 2.0, 5.0, 6.0, 3.0, 4.0])
    np.testing.assert_allclose(course(signals, known & False, 3), np.zeros(6))
