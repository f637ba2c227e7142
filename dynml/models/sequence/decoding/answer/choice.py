"""Ridge regressions of features on classes, labels or numbers: penalties, calibration, comparison by held-out trials.

Classes and labels are compared by cross-entropy, numbers by squared error. All choices by cross-entropy (factors,
penalties, kinds, the share of a network) are made as if there were one more trial, of which only the frequencies of the
classes are known: n trials without an error do not bear out a probability closer to 1 than about 1 - 1 / n.

Shapes: n trials, K classes or labels (1 for numbers), F features, A penalties.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dynml.ops.metrics import macro_auc

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""In multiples of the larger of n and F: the mean eigenvalue of standardized features."""

FACTORS = (0.0, *np.geomspace(0.3, 300.0, 31).tolist())
"""What regressions are multiplied by to be logits; 0: the classes' frequencies alone."""

FACTORS_OF_NUMBERS = tuple(np.linspace(0.0, 1.5, 31).tolist())
"""The same for numbers, of which a regression is already a prediction."""

COMMON_FACTORS = tuple(np.geomspace(0.3, 3.0, 25).tolist())
"""What a mean of calibrated answers may be multiplied by."""

SMALLEST_WEIGHT = 1e-3
"""Of an answer in their mean; smaller ones are 0."""

_NO_WEIGHT = 1e-9
"""What weights are taken to be at least while they are looked for, so that they have a logarithm."""

PRIOR_TRIALS = 2.0
"""Weights in a mean are drawn towards equal ones: their relative entropy counts as the loss of so many trials does."""

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

    loss_name: ClassVar[str] = "cross_entropy"
    factors: ClassVar[tuple[float, ...]] = FACTORS

    @property
    def targets(self) -> Floats:
        """What is regressed on: 1 for the class of a trial, 0 for the others, (n, K)."""
        return np.eye(len(self.log_priors))[self.truth]

    def losses(self, logits: Floats) -> Floats:
        """Weighted cross-entropy of every trial, (.., n), from logits (.., n, K)."""
        from scipy.special import logsumexp

        picked = np.take_along_axis(logits, self.truth[:, None] + np.zeros((*logits.shape[:-1], 1), np.int64), axis=-1)
        losses: Floats = self.weights * (logsumexp(logits, axis=-1) - picked[..., 0])
        return losses

    def cautious_losses(self, logits: Floats) -> Floats:
        """The same with one more trial that has the prior's classes and is spread evenly over these; for all choices.

        Without it, the loss of trials that can be told apart falls for ever as logits grow.
        """
        losses: Floats = self.losses(logits) + self.weights * self._losses_of_prior(logits) / len(self.truth)
        return losses

    def slopes(self, logits: Floats) -> Floats:
        """Derivatives of the cautious losses by logits (n, K), (n, K)."""
        from scipy.special import softmax

        said, prior = softmax(logits, axis=1), softmax(self.log_priors)
        slopes: Floats = self.weights[:, None] * (said - self.targets + (said - prior) / len(self.truth))
        return slopes

    def scores(self, logits: Floats) -> dict[str, float]:
        """Mean loss of logits (n, K), and a score that people know."""
        correct = logits.argmax(axis=1) == self.truth
        return {self.loss_name: float(self.losses(logits).mean()), "accuracy": float(correct.mean())}

    def score(self, logits: Floats) -> float | None:
        """The score that people know, without the loss; None where there is none."""
        return next((value for name, value in self.scores(logits).items() if name != self.loss_name), None)

    def calibrated(self, scores: Floats) -> tuple[Floats, float]:
        """The factor that makes logits of scores (n, K) with the least mean cautious loss, and that loss."""
        means = [float(self.cautious_losses(self.log_priors + factor * scores).mean()) for factor in self.factors]
        best = int(np.argmin(means))
        return np.array(self.factors[best]), means[best]

    def part(self, chosen: NDArray[np.int64], folds: Folds) -> Self:
        """Some of the trials, with folds of their own."""
        return dataclasses.replace(
            self, truth=self.truth[chosen], weights=self.weights[chosen], groups=self.groups[chosen], folds=folds
        )

    def _losses_of_prior(self, logits: Floats) -> Floats:
        """Cross-entropy of the prior and logits (.., n, K), (.., n)."""
        from scipy.special import logsumexp, softmax

        losses: Floats = logsumexp(logits, axis=-1) - logits @ softmax(self.log_priors)
        return losses


@dataclass(frozen=True)
class NumberProblem(Problem):
    """Numbers of trials; the prior is the mean of those that are fitted to, 0, and a "logit" is a number."""

    values: Floats
    """(n,), in standard deviations of the training trials from their mean."""

    loss_name: ClassVar[str] = "squared_error"
    factors: ClassVar[tuple[float, ...]] = FACTORS_OF_NUMBERS

    @property
    def targets(self) -> Floats:
        """(n, 1)."""
        return self.values[:, None]

    def losses(self, logits: Floats) -> Floats:
        """Weighted squared error of every trial, (.., n), from predictions (.., n, 1)."""
        losses: Floats = self.weights * np.square(logits[..., 0] - self.values)
        return losses

    def slopes(self, logits: Floats) -> Floats:
        """Derivatives of the losses by predictions (n, 1), (n, 1)."""
        slopes: Floats = 2.0 * self.weights[:, None] * (logits - self.targets)
        return slopes

    def scores(self, logits: Floats) -> dict[str, float]:
        """Mean squared error, and R^2 about the mean of these trials."""
        error = float(self.losses(logits).mean())
        return {self.loss_name: error, "r_squared": 1.0 - error / max(float(self.values.var()), 1e-12)}

    def part(self, chosen: NDArray[np.int64], folds: Folds) -> Self:
        """Some of the trials, with folds of their own."""
        return dataclasses.replace(super().part(chosen, folds), values=self.values[chosen])

    def _losses_of_prior(self, logits: Floats) -> Floats:
        # A squared error has a least value of its own, so that nothing grows without it.
        return np.zeros(logits.shape[:-1])


@dataclass(frozen=True)
class LabelProblem(Problem):
    """Labels of trials, of which each has any number; a prior is the logarithm of the odds of a label."""

    marks: Floats
    """1 where a trial has a label, else 0, (n, K)."""

    loss_name: ClassVar[str] = "binary_cross_entropy"

    @property
    def targets(self) -> Floats:
        """(n, K)."""
        return self.marks

    def losses(self, logits: Floats) -> Floats:
        """Mean cross-entropy over labels of every trial, (.., n), from logits (.., n, K)."""
        losses: Floats = self.weights * self._by_label(logits, self.marks).mean(axis=-1)
        return losses

    def slopes(self, logits: Floats) -> Floats:
        """Derivatives of the cautious losses by logits (n, K), (n, K)."""
        from scipy.special import expit

        said = expit(logits)
        slopes: Floats = said - self.marks + (said - self._prior) / len(self.truth)
        return self.weights[:, None] * slopes / slopes.shape[1]

    def scores(self, logits: Floats) -> dict[str, float]:
        """Mean loss, and the mean area under the ROC curve where there is one."""
        area = macro_auc(self.marks, logits)
        known = {} if area is None else {"macro_auc": area}
        return {self.loss_name: float(self.losses(logits).mean()), **known}

    def calibrated(self, scores: Floats) -> tuple[Floats, float]:
        """The factor of each label, (K,), and the mean cautious loss with these."""
        tried = [self._cautious_by_label(self.log_priors + factor * scores) for factor in self.factors]
        factors = np.array(self.factors)[np.argmin(np.stack(tried), axis=0)]
        return factors, float(self.cautious_losses(self.log_priors + factors * scores).mean())

    def part(self, chosen: NDArray[np.int64], folds: Folds) -> Self:
        """Some of the trials, with folds of their own."""
        return dataclasses.replace(super().part(chosen, folds), marks=self.marks[chosen])

    def _losses_of_prior(self, logits: Floats) -> Floats:
        losses: Floats = self._by_label(logits, self._prior).mean(axis=-1)
        return losses

    def _cautious_by_label(self, logits: Floats) -> Floats:
        """Mean over trials of what `cautious_losses` is the mean over labels of, (K,)."""
        own, prior = self._by_label(logits, self.marks), self._by_label(logits, self._prior)
        losses: Floats = (own + prior / len(self.truth)).mean(axis=0)
        return losses

    @property
    def _prior(self) -> Floats:
        from scipy.special import expit

        shares: Floats = expit(self.log_priors)
        return shares

    @staticmethod
    def _by_label(logits: Floats, marks: Floats) -> Floats:
        losses: Floats = np.logaddexp(0.0, logits) - marks * logits
        return losses


@dataclass(frozen=True)
class Variant:
    """Features of trials of one kind, in one of the ways among which is chosen."""

    inputs: Floats
    """(n, F)."""

    axes: Floats | None = None
    """What the channels are multiplied by before the regression, (C, C), where features are channels in parts of a
    trial. These then share one scale; other features are standardized one by one."""

    sizes: Floats | float = 1.0
    """Of what features are made of, (F,) where they have its units: what varies by a share of 1e-9 is rounding."""

    first: int = 0
    """Position of the first feature among those of the kind."""

    parts: Floats | None = None
    """Where features are means over parts of a trial: shares of the finest parts in each, (parts, finest parts)."""

    def part(self, chosen: NDArray[np.int64]) -> Variant:
        """Some of the trials."""
        return dataclasses.replace(self, inputs=self.inputs[chosen])

    def turned(self) -> Floats:
        """Features with their channels multiplied, (n, F)."""
        return self.inputs if self.axes is None else _by_channels(self.inputs, self.axes)

    def turned_back(self, weights: Floats) -> Floats:
        """Weights (F, K) of such features as weights of the features as they are."""
        return weights if self.axes is None else _by_channels(weights.T, self.axes.T).T

    def of_finest(self, weights: Floats) -> Floats:
        """Weights (F, K) of features as weights of those of the finest parts."""
        if self.parts is None:
            return weights
        by_part = weights.reshape(len(self.parts), -1, weights.shape[1])
        return np.tensordot(self.parts, by_part, (0, 0)).reshape(-1, weights.shape[1])


def _by_channels(rows: Floats, axes: Floats) -> Floats:
    """Rows (n, parts * C) with the channels of each part multiplied by axes (C, C)."""
    return (rows.reshape(len(rows), -1, len(axes)) @ axes).reshape(rows.shape)


@dataclass(frozen=True)
class Choice:
    """A regression on the features of one kind."""

    kind: str
    variant: int
    """Position among the variants of its kind."""

    n_features: int
    penalty: float
    factor: Floats
    """Of all scores, (), or of those of each label, (K,)."""

    scores: Floats
    """Of trials in the regressions that were not fitted to them, times the factor, (n, K)."""

    loss: float
    """Mean cautious loss of the same."""


def coefficients(variant: Variant, problem: Problem, penalties: Sequence[float]) -> tuple[Floats, Floats]:
    """Ridge regressions of the classes on features.

    Returns
    -------
    weights : (A, F, K)
        Of features as they are; they are standardized within.
    centre : (F,)
    """
    inputs = variant.turned()
    roots, share = np.sqrt(problem.weights)[:, None], problem.weights / problem.weights.sum()
    centre = share @ inputs
    scale = inputs.std(axis=0)
    if variant.axes is not None:
        scale = np.full_like(scale, np.sqrt(np.square(scale).mean()))
    scale = np.where(scale > 1e-9 * np.maximum(variant.sizes, np.abs(centre)), scale, np.inf)
    rows = roots * (inputs - centre) / scale
    targets = roots * (problem.targets - share @ problem.targets)
    n_trials, n_features = rows.shape
    is_wide = n_features > n_trials
    values, vectors = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    turned = vectors.T @ (targets if is_wide else rows.T @ targets)
    found = []
    for penalty in penalties:
        shrunk = turned / (np.maximum(values, 0.0) + penalty * max(n_trials, n_features))[:, None]
        slopes = (rows.T @ (vectors @ shrunk) if is_wide else vectors @ shrunk) / scale[:, None]
        found.append(variant.turned_back(slopes))
    return np.stack(found), share @ variant.inputs


def held_out_scores(variant: Variant, problem: Problem, penalties: Sequence[float]) -> Floats:
    """What regressions say of trials that they were not fitted to, (A, n, K); 0 where a trial is in no fold."""
    inputs = variant.inputs
    scores = np.zeros((len(penalties), len(inputs), len(problem.log_priors)))
    for fit, held_out in problem.folds:
        weights, centre = coefficients(variant.part(fit), problem.part(fit, ()), penalties)
        scores[:, held_out] = (inputs[held_out] - centre) @ weights
    return scores


def best_choice(kind: str, variants: Sequence[Variant], problem: Problem) -> Choice | None:
    """The variant and the penalty with the least loss of held-out trials."""
    found = [choice for number in range(len(variants)) for choice in choices_of(kind, variants, number, problem)]
    return min(found, key=lambda choice: choice.loss, default=None)


def choices_of(kind: str, variants: Sequence[Variant], number: int, problem: Problem) -> list[Choice]:
    """Regressions on the variant of that number, one for each penalty."""
    found, n_features = [], variants[number].inputs.shape[1]
    for penalty, scores in zip(PENALTIES, held_out_scores(variants[number], problem, PENALTIES)):
        factor, loss = problem.calibrated(scores)
        found.append(Choice(kind, number, n_features, penalty, factor, factor * scores, loss))
    return found


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


def averaged(choices: Sequence[Choice], problem: Problem) -> Floats:
    """Weights of the scores of several choices whose weighted mean has the least loss, times a common factor.

    No weight is negative, and their sum is 1: a sum of answers that say the same is surer than each, and the best of
    many is best by chance, too. The fewer the trials are, the more chance there is, and the closer weights are to equal
    ones: their relative entropy, times `PRIOR_TRIALS`, is added to the sum of the losses. The factor, which is for
    answers that say different things, is 1 unless another one is better by more than one standard error of the paired
    difference, and by as much.
    """
    from scipy.optimize import minimize

    scores, n_trials = np.stack([choice.scores for choice in choices]), len(problem.truth)
    pull = PRIOR_TRIALS / n_trials

    def penalized(weights: Floats) -> tuple[float, Floats]:
        logs = np.log(weights)
        logits = problem.log_priors + np.tensordot(weights, scores, 1)
        slopes = np.tensordot(scores, problem.slopes(logits) / n_trials, 2) + pull * (logs + 1.0)
        return float(problem.cautious_losses(logits).mean() + pull * (weights @ logs)), slopes

    start, bounds = np.full(len(choices), 1.0 / len(choices)), [(_NO_WEIGHT, 1.0)] * len(choices)
    whole = {"type": "eq", "fun": lambda weights: weights.sum() - 1.0, "jac": np.ones_like}
    options = {"ftol": 1e-8, "maxiter": 300}
    found = minimize(penalized, start, jac=True, method="SLSQP", bounds=bounds, constraints=[whole], options=options).x
    weights = np.where(found > SMALLEST_WEIGHT, found, 0.0)
    weights /= weights.sum()
    mean = np.tensordot(weights, scores, 1)
    losses = [problem.cautious_losses(problem.log_priors + factor * mean) for factor in (1.0, *COMMON_FACTORS)]
    gain = losses[0] - min(losses, key=np.mean)
    if gain.mean() > standard_error(gain, problem.groups) + pull:
        weights *= (1.0, *COMMON_FACTORS)[int(np.argmin([one.mean() for one in losses]))]
    return weights
