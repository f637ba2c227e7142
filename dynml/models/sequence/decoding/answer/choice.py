"""Ridge regressions of features on classes: penalties, calibration and comparison by the log loss of held-out trials.

Shapes: n trials, K classes, F features, A penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""In multiples of the larger of n and F: the mean eigenvalue of standardized features."""

FACTORS = (0.0, *np.geomspace(0.3, 300.0, 31).tolist())
"""What regressions are multiplied by to be logits; 0: the classes' frequencies alone."""

Floats = NDArray[np.float64]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Problem:
    """Classes of trials, and what stays together when some are held out."""

    truth: NDArray[np.int64]
    weights: Floats
    """(n,), of each trial in all losses."""

    log_priors: Floats
    """(K,)."""

    groups: NDArray[np.int64]
    """Participant or run of each trial; or its own number."""

    folds: Folds
    """Trials to fit to, and trials to hold out."""

    @property
    def one_hot(self) -> Floats:
        """(n, K)."""
        return np.eye(len(self.log_priors))[self.truth]

    def losses(self, logits: Floats) -> Floats:
        """Weighted cross-entropy of every trial, (.., n), from logits (.., n, K)."""
        from scipy.special import logsumexp

        picked = np.take_along_axis(logits, self.truth[:, None] + np.zeros((*logits.shape[:-1], 1), np.int64), axis=-1)
        losses: Floats = self.weights * (logsumexp(logits, axis=-1) - picked[..., 0])
        return losses

    def part(self, chosen: NDArray[np.int64], folds: Folds) -> Problem:
        """Some of the trials, with folds of their own."""
        return Problem(self.truth[chosen], self.weights[chosen], self.log_priors, self.groups[chosen], folds)


@dataclass(frozen=True)
class Choice:
    """The best regression on the features of one kind."""

    kind: str
    n_features: int
    penalty: float
    factor: float
    scores: Floats
    """Of trials in the regressions that were not fitted to them, times the factor, (n, K)."""

    loss: float
    """Mean cross-entropy of the same."""


def coefficients(inputs: Floats, problem: Problem, penalties: Sequence[float]) -> tuple[Floats, Floats]:
    """Ridge regressions of the classes on features.

    Returns
    -------
    weights : (A, F, K)
        Of features as they are; they are standardized within.
    centre : (F,)
    """
    roots, share = np.sqrt(problem.weights)[:, None], problem.weights / problem.weights.sum()
    centre = share @ inputs
    scale = inputs.std(axis=0)
    scale = np.where(scale > 1e-9 * np.maximum(1.0, np.abs(centre)), scale, np.inf)
    rows = roots * (inputs - centre) / scale
    targets = roots * (problem.one_hot - share @ problem.one_hot)
    n_trials, n_features = rows.shape
    is_wide = n_features > n_trials
    values, vectors = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    turned = vectors.T @ (targets if is_wide else rows.T @ targets)
    found = []
    for penalty in penalties:
        shrunk = turned / (np.maximum(values, 0.0) + penalty * max(n_trials, n_features))[:, None]
        found.append((rows.T @ (vectors @ shrunk) if is_wide else vectors @ shrunk) / scale[:, None])
    return np.stack(found), centre


def held_out_scores(inputs: Floats, problem: Problem, penalties: Sequence[float]) -> Floats:
    """What regressions say of trials that they were not fitted to, (A, n, K); 0 where a trial is in no fold."""
    scores = np.zeros((len(penalties), len(inputs), len(problem.log_priors)))
    for fit, held_out in problem.folds:
        weights, centre = coefficients(inputs[fit], problem.part(fit, ()), penalties)
        scores[:, held_out] = (inputs[held_out] - centre) @ weights
    return scores


def calibrated(scores: Floats, problem: Problem) -> tuple[float, float]:
    """The factor that makes logits of scores (n, K) with the least cross-entropy, and that cross-entropy."""
    means = [float(problem.losses(problem.log_priors + factor * scores).mean()) for factor in FACTORS]
    best = int(np.argmin(means))
    return FACTORS[best], means[best]


def best_choice(kind: str, variants: Sequence[tuple[int, Floats]], problem: Problem) -> Choice | None:
    """The number of features and the penalty with the least cross-entropy of held-out trials.

    Parameters
    ----------
    kind : str
    variants : sequence of (number of features, inputs)
    problem : Problem
    """
    best: Choice | None = None
    for n_features, features in variants:
        for penalty, scores in zip(PENALTIES, held_out_scores(features, problem, PENALTIES)):
            factor, loss = calibrated(scores, problem)
            if best is None or loss < best.loss:
                best = Choice(kind, n_features, penalty, factor, factor * scores, loss)
    return best


def standard_error(differences: Floats, groups: NDArray[np.int64]) -> float:
    """Standard error of a mean over trials that are alike within groups (participants, runs).

    SE^2 = G / (G - 1) sum_g (n_g (mean_g - mean))^2 / n^2; infinite with one group.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    n_groups = int(numbers.max()) + 1
    if n_groups < 2:
        return float("inf")
    sums = np.bincount(numbers, weights=differences - differences.mean())
    return float(np.sqrt(n_groups / (n_groups - 1) * np.square(sums).sum()) / len(differences))


def stacked(choices: Sequence[Choice], problem: Problem) -> Floats:
    """Weights of the scores of several choices: 1 for the best alone, unless a sum of several is better.

    Better is by more than one standard error of the paired difference. Only choices that are better by as much than
    the classes' frequencies are added; no weight is negative, or above 1.
    """
    from scipy.optimize import minimize

    scores = np.stack([choice.scores for choice in choices])
    best = int(np.argmin([choice.loss for choice in choices]))
    alone = np.eye(len(choices))[best]
    without = problem.losses(np.tile(problem.log_priors, (len(problem.truth), 1)))
    gains = [without - problem.losses(problem.log_priors + own) for own in scores]
    useful = [bool(gain.mean() > standard_error(gain, problem.groups)) for gain in gains]
    if sum(useful) < 2:
        return alone

    def losses(weights: Floats) -> Floats:
        return problem.losses(problem.log_priors + np.tensordot(weights, scores, 1))

    bounds = [(0.0, float(is_useful)) for is_useful in useful]
    start = np.array(useful) / sum(useful)
    weights = minimize(lambda own: float(losses(own).mean()), start, method="L-BFGS-B", bounds=bounds).x
    gain = losses(alone) - losses(weights)
    return weights if gain.mean() > standard_error(gain, problem.groups) else alone
