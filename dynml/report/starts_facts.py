"""How well the starts of a run agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dynml.report.experiment import ReportedExperiment

SAME_STATES = 0.01
"""Nats: states of two starts that diverge by less on average are the same, as the HMM's starts are compared."""


@dataclass(frozen=True)
class Starts:
    """Where the starts of a run arrived, in the order in which they were made."""

    objectives: list[float]
    """Nats per sample, lower is better; NaN for a start that came to no finite value."""
    divergences: list[float]
    """Nats from the states of the best start; NaN where it is not known."""
    most: int
    """How many there could have been."""
    agreement: float
    """Nats: objectives closer than this agree."""

    @property
    def n(self) -> int:
        """Starts that were made."""
        return len(self.objectives)

    @property
    def best(self) -> int:
        """Number of the best one, from 0."""
        return min(range(self.n), key=lambda start: (math.isnan(self.objectives[start]), self.objectives[start]))

    @property
    def knows_states(self) -> bool:
        """Whether the states of the starts were compared."""
        return any(math.isfinite(value) for value in self.divergences)

    @property
    def n_same(self) -> int:
        """Starts with the best one's states, itself included; where states are not known, with its objective."""
        if self.knows_states:
            return sum(value < SAME_STATES for value in self.divergences)
        least = self.objectives[self.best]
        return sum(value - least < max(self.agreement, 1e-4) for value in self.objectives)


def starts_of(experiment: ReportedExperiment) -> Starts | None:
    """The starts of a run, or None where it made none, or did not record them."""
    found = experiment.summary.get("starts")
    if not found:
        return None
    settings = experiment.parameters.get("initialization") or {}
    return Starts(
        objectives=[_finite(start.get("objective")) for start in found],
        divergences=[_finite(start.get("divergence_from_best")) for start in found],
        most=int(settings.get("n_init") or len(found)),
        agreement=float(settings.get("agreement") or 0.0),
    )


def _finite(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def words_on_starts(starts: Starts, component: str) -> str:
    """One clause: how many starts there were, and how many of them found the same."""
    if starts.n == 1:
        return f"only one start was made, so that whether another one finds the same {component}s is not known"
    what = f"the same {component}s" if starts.knows_states else "an equally good optimum"
    if starts.n_same == 1:
        return f"none of the other {starts.n - 1} starts found {what} as the best one, so that another seed may differ"
    return f"{starts.n_same} of {starts.n} starts found {what}"
