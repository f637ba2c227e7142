"""What a decoder must beat: the most frequent class, a linear model of means over time, and one of connectivity.

All are fitted to training trials alone. Their penalties (and the number of means over time) are chosen by
cross-validation within them, by participants; or by runs, where there is one participant or subsets are split by runs.

Shapes: n trials, T samples, C channels, F features, K labels (1 for numbers).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.models.sequence.decoding.answer.choice import Problem, Variant, best_choice, coefficients
from dynml.models.sequence.decoding.answer.folds import drawn_trials
from dynml.models.sequence.decoding.evaluation import signals_of_trials
from dynml.models.sequence.decoding.targets import Trials, cross_validation_groups

MAJORITY, LINEAR, CONNECTIVITY = "majority", "linear", "functional_connectivity"

N_FOLDS = 5
CHOICE_TRIALS = 1_500
"""Settings are chosen on at most so many trials; the model is then fitted to all."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of ridge regression, in multiples of the larger of n and F: the mean eigenvalue of standardized features."""
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of logistic regression on standardized features."""
BINS = (1, 4, 16, 64)
MOST_FEATURES = 20_000
MOST_NETWORKS = 64
"""Connectivity of more channels is that of so many of their principal components."""
SHORTEST_FOR_CONNECTIVITY = 3
_STREAM = 31

Features = Callable[[Trials], NDArray[np.float64]]


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that predicts."""

    name: str
    features: Features
    classifier: Any
    """Of scikit-learn, or None for a constant."""

    constant: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    """What was chosen."""

    def predict(self, trials: Trials) -> NDArray[np.int64]:
        """Class of each trial, (n,)."""
        if self.classifier is None or not len(trials):
            return np.full(len(trials), self.constant, dtype=np.int64)
        predicted: NDArray[np.int64] = self.classifier.predict(self.features(trials)).astype(np.int64)
        return predicted

    def accuracy(self, trials: Trials) -> float | None:
        """Share of correct trials; None without trials, or where a trial is too short for it."""
        return float(np.mean(self.predict(trials) == trials.truth)) if serves(self.name, trials) else None


@dataclass(frozen=True)
class Regression:
    """(features - centre) @ weights, which makes logits, or standardized numbers, with what is known without it."""

    features: Features
    weights: NDArray[np.float64]
    """(F, K)."""

    centre: NDArray[np.float64]
    settings: dict[str, Any]
    """What was chosen."""


def serves(name: str, trials: Trials) -> bool:
    """Whether there are trials, and all are long enough for the baseline of that name."""
    if not len(trials):
        return False
    return name != CONNECTIVITY or bool(trials.spans.lengths.min() >= SHORTEST_FOR_CONNECTIVITY)


def fit_baselines(
    trials: Trials, *, by_runs: bool, balanced: bool, most_trials: int, seed: int
) -> dict[str, FittedBaseline | None]:
    """Fit all baselines to training trials.

    Parameters
    ----------
    trials : Trials
    by_runs : bool
        Whether subsets are split by runs, so that cross-validation has to be, too.
    balanced : bool
        Whether classes weigh the same, as in the decoder's own loss.
    most_trials : int
        Of more trials, so many are drawn.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        None for functional connectivity where a trial has fewer than 3 samples, or there is one channel.
    """
    counts = np.bincount(trials.truth)
    majority = FittedBaseline(MAJORITY, _no_features, None, constant=int(counts.argmax()))
    chosen = trials.take(drawn_trials(len(trials), most_trials, seed, (_STREAM, 0)))
    groups, by = cross_validation_groups(chosen, by_runs=by_runs)
    problem = _Problem(chosen, groups, "balanced" if balanced else None, seed)
    fitted: dict[str, FittedBaseline | None] = {MAJORITY: majority, LINEAR: None, CONNECTIVITY: None}
    with warnings.catch_warnings():
        # scikit-learn warns of small classes in folds and of solvers that stop early: neither is a fault here.
        warnings.simplefilter("ignore")
        fitted[LINEAR] = _fitted_linear(problem, by)
        if trials.spans.lengths.min() >= SHORTEST_FOR_CONNECTIVITY and trials.subset.n_channels > 1:
            fitted[CONNECTIVITY] = _fitted_connectivity(problem, by)
    return fitted


@dataclass(frozen=True)
class _Problem:
    trials: Trials
    groups: NDArray[np.int64] | None
    class_weight: str | None
    seed: int

    def part(self) -> NDArray[np.int64]:
        """Trials that settings are chosen on."""
        return drawn_trials(len(self.trials), CHOICE_TRIALS, self.seed, (_STREAM, 1))

    def score(self, make: Callable[[int, int], Any], inputs: NDArray[np.float64], part: NDArray[np.int64]) -> float:
        """Cross-validated accuracy (mean of the classes' where they weigh the same) of a classifier."""
        from sklearn.metrics import accuracy_score, balanced_accuracy_score

        scores, truth = [], self.trials.truth[part]
        for fit, held_out in _folds(truth, None if self.groups is None else self.groups[part]):
            if len(np.unique(truth[fit])) < 2 or not len(held_out):
                continue
            classifier = make(len(fit), inputs.shape[1]).fit(inputs[fit], truth[fit])
            score = accuracy_score if self.class_weight is None else balanced_accuracy_score
            scores.append(score(truth[held_out], classifier.predict(inputs[held_out])))
        return float(np.mean(scores)) if scores else 0.0


def _fitted_linear(problem: _Problem, by: str) -> FittedBaseline:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    part, n_channels = problem.part(), problem.trials.subset.n_channels
    longest = int(problem.trials.spans.lengths.max())
    best: tuple[float, int, float] = (-1.0, 1, 1.0)

    def maker(penalty: float) -> Callable[[int, int], Any]:
        return lambda n_trials, n_features: make_pipeline(
            StandardScaler(),
            RidgeClassifier(alpha=penalty * max(n_trials, n_features), class_weight=problem.class_weight),
        )

    for n_bins in BINS:
        if n_bins > 1 and (n_bins > longest or n_bins * n_channels > MOST_FEATURES):
            break
        inputs = binned_means(problem.trials.take(part), n_bins)
        for penalty in PENALTIES:
            score = problem.score(maker(penalty), inputs, part)
            if score >= best[0]:
                best = (score, n_bins, penalty)
    score, n_bins, penalty = best
    inputs = binned_means(problem.trials, n_bins)
    classifier = maker(penalty)(*inputs.shape).fit(inputs, problem.trials.truth)
    settings = {"n_bins": n_bins, "penalty": penalty, "chosen_by": by, "cross_validated": score}
    return FittedBaseline(LINEAR, lambda trials: binned_means(trials, n_bins), classifier, settings=settings)


def _fitted_connectivity(problem: _Problem, by: str) -> FittedBaseline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    axes = principal_axes(problem.trials) if problem.trials.subset.n_channels > MOST_NETWORKS else None
    inputs, part = correlations(problem.trials, axes), problem.part()

    def maker(inverse: float) -> Callable[[int, int], Any]:
        return lambda *_: make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse, class_weight=problem.class_weight, max_iter=200)
        )

    scores = [problem.score(maker(inverse), inputs[part], part) for inverse in INVERSE_PENALTIES]
    inverse = INVERSE_PENALTIES[int(np.argmax(scores))]
    settings: dict[str, Any] = {"inverse_penalty": inverse, "chosen_by": by, "cross_validated": max(scores)}
    if axes is not None:
        settings["principal_components"] = axes.shape[1]
    classifier = maker(inverse)(*inputs.shape).fit(inputs, problem.trials.truth)
    return FittedBaseline(CONNECTIVITY, lambda trials: correlations(trials, axes), classifier, settings=settings)


def fitted_regressions(chosen: Trials, problem: Problem, by: str) -> dict[str, Regression | None]:
    """Regressions of course and of connectivity; None where these are not for the trials.

    Parameters
    ----------
    chosen : Trials
    problem : Problem
        Of the same trials.
    by : str
        What is held out together.
    """
    fitted: dict[str, Regression | None] = {LINEAR: None, CONNECTIVITY: None}
    n_channels = chosen.subset.n_channels
    bins = [n for n in BINS if n == 1 or n * n_channels <= MOST_FEATURES]
    courses = {n * n_channels: _course(n) for n in bins}
    fitted[LINEAR] = _fitted_regression(LINEAR, courses, chosen, problem, by)
    if chosen.spans.lengths.min() >= SHORTEST_FOR_CONNECTIVITY and n_channels > 1:
        axes = principal_axes(chosen) if n_channels > MOST_NETWORKS else None
        n_networks = min(n_channels, MOST_NETWORKS)
        own = {n_networks * (n_networks - 1) // 2: lambda trials: correlations(trials, axes)}
        fitted[CONNECTIVITY] = _fitted_regression(CONNECTIVITY, own, chosen, problem, by)
    return fitted


def _fitted_regression(
    name: str,
    features: dict[int, Features],
    trials: Trials,
    problem: Problem,
    by: str,
) -> Regression | None:
    sizes = np.max([np.abs(signals).max(axis=0, initial=0.0) for signals in _known_signals(trials)], axis=0)
    variants = [
        Variant(make(trials), sizes=np.tile(sizes, n // len(sizes)) if name == LINEAR else 1.0)
        for n, make in features.items()
    ]
    best = best_choice(name, variants, problem)
    if best is None:
        return None
    slopes, centre = coefficients(variants[best.variant], problem, [best.penalty])
    settings: dict[str, Any] = {"penalty": best.penalty, "n_features": best.n_features, "chosen_by": by}
    if name == LINEAR:
        settings["n_bins"] = best.n_features // trials.subset.n_channels
    return Regression(features[best.n_features], best.factor * slopes[0], centre, settings)


def _course(n_bins: int) -> Features:
    return lambda trials: binned_means(trials, n_bins)


def binned_means(trials: Trials, n_bins: int) -> NDArray[np.float64]:
    """Means of each trial's signals over equal parts of its length, (n, n_bins C); a part has one sample at least.

    Masked samples are left out; the mean of a part that has no other is 0, that of standardized signals.
    """
    rows = []
    for signals in signals_of_trials(trials, np.arange(len(trials))):
        n_times = len(signals)
        starts = np.arange(n_bins) * n_times // n_bins
        stops = np.maximum(np.arange(1, n_bins + 1) * n_times // n_bins, starts + 1)
        is_known = np.isfinite(signals[:, 0])
        known = np.where(is_known[:, None], signals, 0.0)
        running = np.concatenate([np.zeros((1, signals.shape[1])), np.cumsum(known, axis=0, dtype=np.float64)])
        n_known = np.concatenate([[0], np.cumsum(is_known)])
        counts = np.maximum(n_known[stops] - n_known[starts], 1)
        rows.append(((running[stops] - running[starts]) / counts[:, None]).ravel())
    return np.stack(rows)


def correlations(trials: Trials, axes: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Fisher's z of the correlations of all pairs of channels in each trial, (n, C (C - 1) / 2).

    Parameters
    ----------
    trials : Trials
        Of 3 samples or more.
    axes : array (C, n_axes), optional
        What the channels are projected onto before.

    Notes
    -----
    A channel that is constant in a trial correlates with nothing, and neither does any in a trial with fewer than 3
    samples that are not masked. z = arctanh r, with r at most 0.999 in size.
    """
    rows = []
    for signals in _known_signals(trials):
        if len(signals) < SHORTEST_FOR_CONNECTIVITY:
            signals = np.zeros_like(signals, shape=(1, signals.shape[1]))
        series = signals.astype(np.float64) if axes is None else signals @ axes
        series = series - series.mean(axis=0)
        norms = np.linalg.norm(series, axis=0)
        series = np.divide(series, norms, out=np.zeros_like(series), where=norms > 1e-9 * max(norms.max(), 1e-300))
        matrix = series.T @ series
        rows.append(matrix[np.triu_indices(len(matrix), k=1)])
    return np.arctanh(np.clip(np.stack(rows), -0.999, 0.999))


def principal_axes(trials: Trials) -> NDArray[np.float64]:
    """Leading eigenvectors of the mean covariance within trials, (C, `MOST_NETWORKS`)."""
    n_channels = trials.subset.n_channels
    total = np.zeros((n_channels, n_channels))
    for signals in _known_signals(trials):
        centred = signals - signals.mean(axis=0, dtype=np.float64)
        total += centred.T @ centred / len(centred)
    return np.linalg.eigh(total)[1][:, ::-1][:, :MOST_NETWORKS]


def _known_signals(trials: Trials) -> Iterator[NDArray[np.float32]]:
    """Samples of each trial that are not masked, (T, C)."""
    for signals in signals_of_trials(trials, np.arange(len(trials))):
        is_known = np.isfinite(signals[:, 0])
        yield signals if is_known.all() else signals[is_known]


def _folds(
    truth: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import KFold, StratifiedGroupKFold

    if groups is None:
        return list(KFold(min(N_FOLDS, len(truth))).split(truth))
    n_folds = min(N_FOLDS, len(np.unique(groups)))
    return [] if n_folds < 2 else list(StratifiedGroupKFold(n_folds).split(truth, truth, groups))


def _no_features(trials: Trials) -> NDArray[np.float64]:
    return np.zeros((len(trials), 0))
