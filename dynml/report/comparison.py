"""The model's score beside those of its baselines, whichever way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynml.report.experiment import ReportedExperiment

SUBSETS = ("training", "validation")

HIGHER_IS_BETTER = ("cross_entropy", "binary_cross_entropy", "squared_error")
"""Losses of decoders, whose scores are accuracy, area under the ROC curve and R^2."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Scores of one subset."""

    subset: str
    own: float
    baselines: Mapping[str, float]
    """Those that have a score there."""
    higher_is_better: bool

    @property
    def best_baseline(self) -> str | None:
        """Name of the best one; None without any."""
        choose = max if self.higher_is_better else min
        return choose(self.baselines, key=self.baselines.__getitem__) if self.baselines else None

    @property
    def gain(self) -> float | None:
        """By how much the model is better than the best baseline; negative where it is worse."""
        if self.best_baseline is None:
            return None
        gain = self.own - self.baselines[self.best_baseline]
        return gain if self.higher_is_better else -gain

    @property
    def is_won(self) -> bool:
        """Whether the model is better than every baseline."""
        return self.gain is not None and self.gain > 0


def comparison(experiment: ReportedExperiment, subset: str) -> Comparison | None:
    """Scores of a subset by summary.json, or None where the model has none there."""
    summary = experiment.summary
    own = _number(scores_of_model(summary).get(subset))
    if own is None:
        return None
    given: dict[str, Any] = dict(summary.get("baselines") or {})
    if summary.get("most_frequent_of_subset"):
        given["most_frequent_of_subset"] = summary["most_frequent_of_subset"]
    found = {name: _number((values or {}).get(subset)) for name, values in given.items()}
    return Comparison(
        subset=subset,
        own=own,
        baselines={name: value for name, value in found.items() if value is not None},
        higher_is_better=summary.get("loss") in HIGHER_IS_BETTER,
    )


def held_out(experiment: ReportedExperiment) -> Comparison | None:
    """Scores of the validation subset."""
    return comparison(experiment, "validation")


def scores_of_model(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Score by subset: the free energy, or the score of a model without one."""
    return summary.get("free_energy") or summary.get("score") or {}


def _number(value: Any) -> float | None:
    """A finite number, or None for whatever else stands there."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
