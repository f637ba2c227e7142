"""From scores of held-out people under many settings to a ranking: means with intervals, and who is not worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONFIDENCE = 0.95
GAUSSIAN, MIXTURE = "gaussian", "gaussian_mixture"
STATIONARY = {"var": "stationary_var", "phases": "phase_randomized"}
"""Kind of surrogates to the baseline of their name: what the model would score if it gained as much over one Gaussian
as it gains of data like the recordings that are stationary by construction."""
OVER_MIXTURE = "_over_mixture"
"""End of the name of the same in terms of the gain over a mixture, which heavy tails do not add to."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over units (participants, or runs where the store is split by runs), with its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting with the held-out scores that its runs gave."""

    settings: Mapping[str, Any]
    scores: Mapping[str, float]
    """Unit to score; lower is better."""

    baselines: Mapping[str, Mapping[str, float]]
    """Baseline to unit to score."""

    n_parameters: int
    aic: float | None = None
    bic: float | None = None
    """Means over the folds."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One setting in its place."""

    candidate: Candidate
    score: Estimate
    difference: Estimate
    """Score minus that of the best-ranked setting, paired by unit; 0 for the best-ranked itself."""

    gain: Mapping[str, Estimate] = field(default_factory=dict)
    """Baseline to its score minus that of the setting, paired by unit: above 0 where the setting is better."""

    @property
    def is_not_worse(self) -> bool:
        """Whether the interval of its difference from the best-ranked setting includes 0."""
        return self.difference.low <= 0


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All settings, best score first."""

    ranked: Sequence[Ranked]

    @property
    def best_ranked(self) -> Ranked:
        """The setting with the best mean score."""
        return self.ranked[0]

    @property
    def not_worse(self) -> list[Ranked]:
        """Settings that are not worse than the best-ranked one, fewest parameters first."""
        return sorted((one for one in self.ranked if one.is_not_worse), key=lambda one: one.candidate.n_parameters)

    @property
    def chosen(self) -> Ranked:
        """The setting with the fewest parameters that is not worse than the best-ranked one."""
        return self.not_worse[0]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean with its 95 % interval by Student's t; of a single value it is not known (NaN)."""
    from scipy.special import stdtrit

    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return Estimate(mean=mean, low=math.nan, high=math.nan)
    half = float(stdtrit(len(array) - 1, (1 + CONFIDENCE) / 2) * array.std(ddof=1) / math.sqrt(len(array)))
    return Estimate(mean=mean, low=mean - half, high=mean + half)


def rank(candidates: Sequence[Candidate]) -> Ranking:
    """Rank settings by their mean score over units, all of them scored on the same units.

    Notes
    -----
    Units of one fold share their training people, so that the intervals are a little too narrow; differences are
    paired by unit, because people differ far more than settings do.
    """
    assert candidates
    ordered = sorted(candidates, key=lambda one: (float(np.mean(list(one.scores.values()))), one.n_parameters))
    best = ordered[0]
    return Ranking(ranked=[_ranked(one, best) for one in ordered])


def _ranked(candidate: Candidate, best: Candidate) -> Ranked:
    difference = _paired(candidate.scores, best.scores)
    if candidate is best:
        difference = Estimate(mean=0.0, low=0.0, high=0.0)
    gain = {
        name: _paired(values, candidate.scores)
        for name, values in candidate.baselines.items()
        if values.keys() == candidate.scores.keys()
    }
    score = estimate(list(candidate.scores.values()))
    return Ranked(candidate=candidate, score=score, difference=difference, gain=gain)


def _paired(first: Mapping[str, float], second: Mapping[str, float]) -> Estimate:
    return estimate([first[unit] - second[unit] for unit in second])
