"""A classifier at each sample of a trial, tried at its own and at all other samples.

Shapes: n trials, T samples, C channels, K classes, N participants.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
N_FOLDS = 5
MOST_SAMPLES = 100
"""Trials with more samples are averaged over equal parts."""


def binned(signals: Doubles, most: int = MOST_SAMPLES) -> tuple[Doubles, int]:
    """Means over neighbouring samples, so that at most `most` are left, (n, T', C); and how many each is a mean of.

    Samples at the end that fill no part are left out. What was not observed (NaN) is left out of means, and 0 where
    there is nothing else.
    """
    n_trials, n_times, n_channels = signals.shape
    width = -(-n_times // most)
    parts = signals[:, : n_times // width * width].reshape(n_trials, -1, width, n_channels)
    known = np.isfinite(parts)
    means: Doubles = np.where(known, parts, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    return means, width


def predicted_over_time(fitted_to: Doubles, classes: Integers, signals: Doubles) -> NDArray[np.int16]:
    """Class of each trial at each sample by the classifier of each sample.

    Linear discriminant analysis with the covariance shrunk by Ledoit and Wolf's formula, all classes taken for equally
    frequent.

    Parameters
    ----------
    fitted_to : array, (m, T, C)
    classes : (m,)
    signals : array, (n, T, C)

    Returns
    -------
    array, (T, n, T)
        [s, i, t] is what the classifier of sample s says of trial i at sample t.
    """
    n_trials, n_times, n_channels = signals.shape
    found = np.empty((n_times, n_trials, n_times), dtype=np.int16)
    every = signals.reshape(-1, n_channels)
    for time in range(n_times):
        said = _classifier(len(np.unique(classes))).fit(fitted_to[:, time], classes).predict(every)
        found[time] = said.reshape(n_trials, n_times)
    return found


def cross_validated_over_time(signals: Doubles, classes: Integers, groups: Integers) -> NDArray[np.int16]:
    """The same for trials by classifiers that were not fitted to their group, (T, n, T); -1 for trials in no fold.

    Parameters
    ----------
    signals : array, (n, T, C)
    classes, groups : (n,)
        Groups (participants, runs, or trials) stay together.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    n_times = signals.shape[1]
    found = np.full((n_times, len(signals), n_times), -1, dtype=np.int16)
    n_folds = min(N_FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        return found
    with warnings.catch_warnings():
        # Classes with fewer trials than folds are no fault here.
        warnings.simplefilter("ignore")
        folds = list(StratifiedGroupKFold(n_folds).split(signals, classes, groups))
    for fit, out in folds:
        if len(out) and len(np.unique(classes[fit])) > 1:
            found[:, out] = predicted_over_time(signals[fit], classes[fit], signals[out])
    return found


def balanced_accuracies(predicted: NDArray[np.int16], classes: Integers) -> Doubles:
    """Mean over the classes that occur of the share of their trials that is found, (..) of (.., n, T) -> (.., T)."""
    shares = [(predicted[..., classes == label, :] == label).mean(axis=-2) for label in np.unique(classes)]
    return np.asarray(np.mean(shares, axis=0), dtype=np.float64)


def by_participant(
    predicted: NDArray[np.int16], classes: Integers, participants: Sequence[str]
) -> tuple[list[str], Doubles, Doubles]:
    """Balanced accuracy of each participant with trials of several classes.

    Returns
    -------
    names : list of N str
    scores : array, (N, T, T)
        By the sample of the classifier, and the sample that it is tried at.
    chance : array, (N,)
        1 / classes of the participant's trials.
    """
    people, known = np.asarray(participants), (predicted >= 0).all(axis=(0, 2))
    names, scores, chance = [], [], []
    for name in dict.fromkeys(participants):
        own = (people == name) & known
        n_classes = len(np.unique(classes[own]))
        if n_classes > 1:
            names.append(name)
            scores.append(balanced_accuracies(predicted[:, own], classes[own]))
            chance.append(1 / n_classes)
    n_times = predicted.shape[0]
    return names, np.reshape(scores, (len(names), n_times, n_times)), np.array(chance)


def _classifier(n_classes: int) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(n_classes, 1 / n_classes))
    return make_pipeline(StandardScaler(), analysis)
