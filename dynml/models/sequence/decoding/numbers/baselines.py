"""What a decoder of numbers must beat: the training trials' mean, ridge regressions of course and of connectivity.

Penalties (and the number of means over time) are chosen by the squared error of held-out training trials.

Shapes: n trials, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynml.models.sequence.decoding.answer.folds import drawn_trials, number_problem
from dynml.models.sequence.decoding.baselines import fitted_regressions, serves
from dynml.models.sequence.decoding.numbers.values import Floats, values_of
from dynml.models.sequence.decoding.targets import Trials
from dynml.ops.metrics import r_squared

MEAN = "mean"


@dataclass(frozen=True)
class NumberBaseline:
    """A baseline that predicts numbers: mean + (features - centre) @ slopes."""

    name: str
    mean: float
    features: Callable[[Trials], Floats] | None = None
    slopes: Floats | None = None
    centre: Floats | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """What was chosen."""

    def predict(self, trials: Trials) -> Floats:
        """Number of each trial, (n,)."""
        if self.features is None or not len(trials):
            return np.full(len(trials), self.mean)
        assert self.slopes is not None
        assert self.centre is not None
        predicted: Floats = self.mean + (self.features(trials) - self.centre) @ self.slopes
        return predicted

    def r_squared(self, trials: Trials) -> float | None:
        """R^2 about the mean of these trials; None where it does not serve them, or they are all alike."""
        return r_squared(values_of(trials), self.predict(trials)) if serves(self.name, trials) else None


def fit_number_baselines(
    trials: Trials, *, by_runs: bool, most_trials: int, seed: int
) -> dict[str, NumberBaseline | None]:
    """Fit all baselines to training trials.

    Parameters
    ----------
    trials : Trials
    by_runs : bool
        Whether subsets are split by runs, so that cross-validation has to be, too.
    most_trials : int
        Of more trials, so many are drawn.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        None for functional connectivity where a trial has fewer than 3 samples, or there is one channel.
    """
    chosen = trials.take(drawn_trials(len(trials), most_trials, seed))
    values = values_of(chosen)
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    problem, by = number_problem(chosen, (values - mean) / scale, by_runs=by_runs, drawn=np.arange(len(chosen)))
    fitted: dict[str, NumberBaseline | None] = {MEAN: NumberBaseline(MEAN, mean)}
    for name, found in fitted_regressions(chosen, problem, by).items():
        fitted[name] = None
        if found is not None:
            slopes = scale * found.weights[:, 0]
            fitted[name] = NumberBaseline(name, mean, found.features, slopes, found.centre, found.settings)
    return fitted
