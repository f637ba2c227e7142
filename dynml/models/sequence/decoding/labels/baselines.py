"""What a decoder of labels must beat: their frequencies, and ridge regressions of course and of connectivity.

Penalties (and the number of means over time) are chosen by the cross-entropy of held-out training trials.

Shapes: n trials, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynml.models.sequence.decoding.answer.folds import drawn_trials, trial_problem
from dynml.models.sequence.decoding.baselines import Regression, fitted_regressions, serves
from dynml.models.sequence.decoding.labels.marks import Floats, marks_of
from dynml.models.sequence.decoding.targets import Trials
from dynml.ops.metrics import macro_auc

FREQUENCIES = "frequencies"


@dataclass(frozen=True)
class LabelBaseline:
    """A baseline that predicts logits of labels: log odds + (features - centre) @ weights."""

    name: str
    labels: tuple[str, ...]
    log_odds: Floats
    """Of the labels in training trials, (K,)."""

    regression: Regression | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """What was chosen."""

    def logits(self, trials: Trials) -> Floats:
        """(n, K)."""
        if self.regression is None or not len(trials):
            return np.tile(self.log_odds, (len(trials), 1))
        found = self.regression
        logits: Floats = self.log_odds + (found.features(trials) - found.centre) @ found.weights
        return logits

    def macro_auc(self, trials: Trials) -> float | None:
        """Mean area under the ROC curve; None where it does not serve the trials, or no label has both sides."""
        return macro_auc(marks_of(trials, self.labels), self.logits(trials)) if serves(self.name, trials) else None


def fit_label_baselines(
    trials: Trials, labels: Sequence[str], *, by_runs: bool, most_trials: int, seed: int
) -> dict[str, LabelBaseline | None]:
    """Fit all baselines to training trials.

    Parameters
    ----------
    trials : Trials
    labels : sequence of K str
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
    shares = marks_of(trials, labels).mean(axis=0)
    log_odds = np.log(shares / (1.0 - shares))
    problem, by = trial_problem(
        chosen,
        log_odds,
        by_runs=by_runs,
        balanced=False,
        drawn=np.arange(len(chosen)),
        marks=marks_of(chosen, labels),
    )
    own = tuple(labels), log_odds
    fitted: dict[str, LabelBaseline | None] = {FREQUENCIES: LabelBaseline(FREQUENCIES, *own)}
    for name, found in fitted_regressions(chosen, problem, by).items():
        fitted[name] = None if found is None else LabelBaseline(name, *own, found, found.settings)
    return fitted
