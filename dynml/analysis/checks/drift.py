"""Whether occupancies rise or fall: over the runs of participants, and over the time within runs.

Shapes: R runs, W windows of a run, K states, N participants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.checks.verdicts import Verdict, not_made, p_of_draws
from dynml.dataset.subset import MultiSubjectSubset
from dynml.store.layout import natural_order
from dynml.stretches import runs_of_equal

Array = NDArray[np.float64]
LEVEL, N_DRAWS = 0.05, 999
VISITS_OF_WINDOW, MOST_WINDOWS, FEWEST_WINDOWS = 5, 20, 6
"""A window lasts so many visits, each sample counted by the visit that it is in: neighbours hardly depend on each other
then, so that they can be permuted. At most and at least so many are made of a run."""
N_PARTS = 10
"""Parts of a run where signs of participants are flipped, which takes no independence of the parts."""
FEWEST_RUNS, FEWEST_TO_FLIP = 6, 6
"""Runs of a participant that have an order worth testing, and participants whose signs are flipped."""
WORDS = {"runs": "over the runs of a participant", "windows": "over the time within a run"}


@dataclass(frozen=True)
class Trends:
    """How occupancies go up or down along one course of time."""

    kind: str
    """runs or windows."""
    series: list[list[Array]]
    """Of each participant: one (R, K), or one (W, K) a run."""
    correlations_NK: Array
    """Rank correlation with time; the mean over runs for windows."""
    draws: list[float]
    """Largest absolute mean over participants without a trend."""

    @property
    def mean_K(self) -> Array:
        """Mean over participants."""
        return np.asarray(self.correlations_NK.mean(axis=0))

    @property
    def p(self) -> float:
        """Over all states."""
        return p_of_draws(float(np.abs(self.mean_K).max()), self.draws)


@dataclass
class Courses:
    """Occupancies of every run and of its windows, as subjects come in."""

    runs: dict[str, list[tuple[str, int, Array]]] = field(default_factory=dict)
    """Participant to subject, number and shares (K,) of each run."""
    windows: dict[str, list[Array]] = field(default_factory=dict)
    """Participant to shares (W, K), for each run that is long enough."""
    parts: dict[str, list[Array]] = field(default_factory=dict)
    """Participant to shares (10, K), for each run of so many samples."""

    def add_subject(self, subset: MultiSubjectSubset, subject: int, alpha_TK: NDArray[np.floating[Any]]) -> None:
        """Add a subject's stored rows; those outside of segments, and masked ones, do not count."""
        observed, person = subset.observed(subject), subset.participants[subject]
        for run, segments in subset.segments_of_runs(subject):
            rows = np.concatenate(
                [
                    alpha_TK[start:stop] if observed is None else alpha_TK[start:stop][observed[start:stop]]
                    for start, stop in segments
                ]
            ).astype(np.float64)
            rows = rows[np.isfinite(rows).all(axis=1)]
            if len(rows):
                self.add_run(person, (subset.subjects[subject], run), rows)

    def add_run(self, person: str, run: tuple[str, int], alpha_TK: Array) -> None:
        """Add the observed samples of a run, which is known by its recording and its number in it."""
        self.runs.setdefault(person, []).append((*run, alpha_TK.mean(axis=0)))
        windows = windows_of(alpha_TK)
        if windows is not None:
            self.windows.setdefault(person, []).append(windows)
        if len(alpha_TK) >= N_PARTS:
            parts = [own.mean(axis=0) for own in np.array_split(alpha_TK, N_PARTS)]
            self.parts.setdefault(person, []).append(np.array(parts))

    def trends(self, seed: int) -> list[Trends]:
        """Test both courses of time, as far as there is enough of them."""
        runs = [_in_order(own) for own in self.runs.values() if len(own) >= FEWEST_RUNS]
        within = self.parts if len(self.parts) >= FEWEST_TO_FLIP else self.windows
        found = [("runs", [[one] for one in runs]), ("windows", list(within.values()))]
        return [_trends(kind, series, seed) for kind, series in found if series]


def windows_of(alpha_TK: Array) -> Array | None:
    """Mean over windows that are long beside visits, (W, K); None where there would be fewer than six."""
    path = alpha_TK.argmax(axis=1)
    lengths = np.diff(runs_of_equal(path), axis=1).astype(np.float64)
    visit = float((lengths**2).sum() / lengths.sum())
    length = max(math.ceil(VISITS_OF_WINDOW * visit), len(path) // MOST_WINDOWS, 1)
    n_windows = len(path) // length
    if n_windows < FEWEST_WINDOWS:
        return None
    return np.asarray(alpha_TK[: n_windows * length].reshape(n_windows, length, -1).mean(axis=1))


def _in_order(runs: Sequence[tuple[str, int, Array]]) -> Array:
    """Runs by the name of the recording, with its numbers as numbers, and as they are stored in it."""
    return np.array([shares for _, _, shares in sorted(runs, key=lambda one: (natural_order(one[0]), one[1]))])


def _trends(kind: str, series: list[list[Array]], seed: int) -> Trends:
    generator = np.random.default_rng(seed)
    ranked = [[_ranks(one) for one in own] for own in series]
    correlations = np.array([_mean_trend(own) for own in ranked])
    draw: Callable[[], Array]
    if len(series) >= FEWEST_TO_FLIP:

        def draw() -> Array:
            return generator.choice([-1.0, 1.0], (len(series), 1)) * correlations

    else:

        def draw() -> Array:
            return np.array([_mean_trend([generator.permutation(one) for one in own]) for own in ranked])

    draws = [float(np.abs(draw().mean(axis=0)).max()) for _ in range(N_DRAWS)]
    return Trends(kind, series, correlations, draws)


def _ranks(shares: Array) -> Array:
    """Ranks of each column, centred, of length 1; 0 for a column that is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(shares, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    lengths = np.sqrt((ranks**2).sum(axis=0))
    return np.asarray(ranks / np.where(lengths > 0, lengths, np.inf))


def _mean_trend(ranked: Sequence[Array]) -> Array:
    """Rank correlation with time, mean over series, (K,)."""
    found = np.zeros(ranked[0].shape[1])
    for ranks in ranked:
        time = np.arange(len(ranks)) - (len(ranks) - 1) / 2
        found += time @ ranks / np.sqrt((time**2).sum())
    return found / len(ranked)


def drift_verdict(trends: Sequence[Trends], kind: str) -> Verdict:
    """Say whether one of the states (or modes) takes over from others in the course of time."""
    if not trends:
        why = (
            f"There are fewer than {FEWEST_TO_FLIP} participants, no run is long enough for {FEWEST_WINDOWS} windows "
            f"of several visits, and none has {FEWEST_RUNS} runs: a drift cannot be distinguished from slow changes."
        )
        return not_made("drift", why)
    first = min(trends, key=lambda one: one.p)
    p, mean = min(1.0, first.p * len(trends)), first.mean_K
    state, drifts = int(np.abs(mean).argmax()), p <= LEVEL
    n = len(first.series)
    people = "one participant" if n == 1 else f"the mean over {n} participants"
    meaning = (
        f"occupancies drift, as a scanner, fatigue or motion would make them, and not only {kind} that come and go"
        if drifts
        else "no sign of a drift"
    )
    sentence = (
        f"The occupancy of {kind.removesuffix('s')} {state + 1} {'grows' if mean[state] > 0 else 'falls'} most "
        f"{WORDS[first.kind]} (rank correlation {mean[state]:.2f}, {people}; p = {p:.3f} over all {kind}): {meaning}."
    )
    return Verdict(
        name="drift",
        value=float(abs(mean[state])),
        reference=float(np.quantile(first.draws, 1 - LEVEL / len(trends))),
        sentence=sentence,
        holds=not drifts,
    )


def course_of(trend: Trends, n_points: int = 12) -> tuple[Array, Array]:
    """Mean course over participants, for a picture: positions from 0 to 1 (P,), and shares (P, K)."""
    all_of = [one for own in trend.series for one in own]
    n_points = min(n_points, max(len(one) for one in all_of))
    positions = np.linspace(0, 1, n_points)
    shares = [
        np.stack([np.interp(positions, np.linspace(0, 1, len(one)), column) for column in one.T], axis=1)
        for one in all_of
    ]
    return positions, np.asarray(np.mean(shares, axis=0))
