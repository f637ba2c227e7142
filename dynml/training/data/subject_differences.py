"""Whether states or modes tell subjects, data sets or runs apart rather than moments: numbers, and findings in words.

A model can use a state for each subject where subjects differ more than moments do (Ahrends et al. 2022, NeuroImage
258:119001). So a summary says how much of the entropy of the states it explains whose samples they are, beside what
chance would, and the findings name the states that live in one subject.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.subset import MultiSubjectSubset
from dynml.ops.explained_entropy import by_group, explained_share, share_by_chance, shares_of_shuffled
from dynml.training.processes import Processes

SITES = ("dataset", "site", "site_id", "scanner", "center", "centre", "study")
"""Names of covariates, in small letters, that say where or by what a subject was recorded."""

SUBJECT = "subject"
EXCESS = 0.25
"""A share of the entropy above chance that is a finding, for runs and, at least, for subjects."""
MOST_OF_ENTROPY = 0.5
"""Of the entropy that chance leaves, from which on states are subjects: a model with more states than there are, or few
visits, makes subjects that share states look different, too, but not by so much."""
EXCESS_OF_SITES = 0.1
"""The same for data sets and sites, of which there are few; shuffled ones must come to less in 95 % of cases."""
LIVES_IN_ONE, FEWEST_SUBJECTS = 0.95, 4
"""A state lives in one subject when so much of it does, among at least so many subjects."""
SELDOM = 0.01
"""States with less than this share of the samples are no matter here: they are named as such."""
_SHUFFLES_SEED = 17


@dataclass
class Occupancies:
    """Sums of state probabilities (or mode weights) of each run of each subject, as they come in.

    Parameters
    ----------
    kind : {"states", "modes"}
        What they are called.
    """

    kind: str
    people: list[str] = field(default_factory=list)
    """The person behind each run."""
    runs: list[tuple[str, str]] = field(default_factory=list)
    """Subject and name of each run."""
    sites: list[dict[str, str]] = field(default_factory=list)
    """Where each run's subject was recorded, by the name of the covariate."""
    weights: list[NDArray[np.float64]] = field(default_factory=list)
    """(K,) of each run."""
    visits: list[float] = field(default_factory=list)

    def add_subject(self, subset: MultiSubjectSubset, subject: int, alpha_TK: NDArray[np.floating[Any]]) -> None:
        """Add a subject's stored rows, (T, K); those outside of segments, and masked ones, do not count."""
        observed, names = subset.observed(subject), subset.run_names(subject)
        for run, segments in subset.segments_of_runs(subject):
            weights, visits = np.zeros(alpha_TK.shape[1]), 0.0
            for start, stop in segments:
                rows = alpha_TK[start:stop] if observed is None else alpha_TK[start:stop][observed[start:stop]]
                weights += rows.sum(axis=0, dtype=np.float64)
                visits += 1 + np.count_nonzero(np.diff(rows.argmax(axis=1))) if len(rows) else 0
            self.add(subset, subject, names[run], weights, visits)

    def add(
        self, subset: MultiSubjectSubset, subject: int, run: str, weights_K: NDArray[np.float64], visits: float
    ) -> None:
        """Add sums over a run, and how often a state was entered in it."""
        if not weights_K.sum() > 0:
            return
        self.people.append(subset.participants[subject])
        self.runs.append((subset.subjects[subject], run))
        covariates = subset.covariates(subject)
        self.sites.append({name: value for name, value in covariates.items() if name.lower() in SITES and value})
        self.weights.append(weights_K)
        self.visits.append(visits)

    def of_all(self, processes: Processes) -> Occupancies:
        """Put together what all processes have, in the first one's order."""
        if not processes.are_several:
            return self
        gathered = processes.gather(self)
        together = Occupancies(self.kind)
        for one in gathered:
            for name in ("people", "runs", "sites", "weights", "visits"):
                getattr(together, name).extend(getattr(one, name))
        return together

    def summary(self) -> dict[str, Any]:
        """Entries of summary.json: occupancies of each subject, and the explained shares of the entropy."""
        subjects = list(dict.fromkeys(subject for subject, _ in self.runs))
        if not subjects:
            return {}
        sums = by_group(self.weights, _numbers([subject for subject, _ in self.runs], subjects))
        fractions = sums / sums.sum(axis=1, keepdims=True)
        return {
            "occupancies_of_subjects": dict(zip(subjects, fractions.tolist(), strict=True)),
            "explained_entropy": {
                name: {"share": one.share, "by_chance": one.by_chance} for name, one in self.explained().items()
            },
        }

    def explained(self) -> dict[str, Explained]:
        """What subjects, their runs, and sites explain, as far as there are several."""
        found: dict[str, Explained] = {}
        if not self.weights:
            return found
        people = list(dict.fromkeys(self.people))
        of_people = _numbers(self.people, people)
        sums, visits = by_group(self.weights, of_people), np.bincount(of_people, weights=self.visits)
        share = explained_share(sums)
        if share is None:
            return found
        if len(people) > 1:
            found[SUBJECT] = Explained(share, share_by_chance(sums, visits))
        of_runs = explained_share(self.weights)
        if len(self.weights) > len(people) and of_runs is not None:
            # Runs tell more than subjects by what differs between runs of one subject.
            chance = share_by_chance(self.weights, self.visits) - share_by_chance(sums, visits)
            found["run"] = Explained(max(of_runs - share, 0.0), max(chance, 0.0))
        found.update(self._explained_by_sites(sums, people))
        return found

    def _explained_by_sites(self, sums: NDArray[np.float64], people: list[str]) -> dict[str, Explained]:
        found = {}
        for name in dict.fromkeys(name for one in self.sites for name in one):
            site_of = {person: one.get(name, "") for person, one in zip(self.people, self.sites, strict=True)}
            labels = [site_of[person] for person in people]
            values = list(dict.fromkeys(labels))
            if not 1 < len(values) < len(people):
                continue
            groups = _numbers(labels, values)
            share = explained_share(by_group(sums, groups))
            shuffled = shares_of_shuffled(sums, groups, np.random.default_rng(_SHUFFLES_SEED))
            if share is not None:
                found[name] = Explained(share, float(shuffled.mean()), float(np.quantile(shuffled, 0.95)))
        return found

    def findings(self) -> list[str]:
        """Say which differences between subjects, runs and sites the states are made of."""
        said = [_words_of(name, one, self.kind) for name, one in self.explained().items() if one.is_finding(name)]
        alone = self._living_in_one()
        if alone:
            said.append(
                f"These {self.kind} live in one subject each: {', '.join(alone)}. What they describe is that subject, "
                "not moments that others have, too."
            )
        return said

    def _living_in_one(self) -> list[str]:
        people = list(dict.fromkeys(self.people))
        if len(people) < FEWEST_SUBJECTS:
            return []
        sums = by_group(self.weights, _numbers(self.people, people))
        totals = sums.sum(axis=0)
        return [
            f"{state + 1} ({people[int(sums[:, state].argmax())]}, {sums[:, state].max() / total:.1%})"
            for state, total in enumerate(totals.tolist())
            if total >= SELDOM * totals.sum() and sums[:, state].max() >= LIVES_IN_ONE * total
        ]


@dataclass(frozen=True)
class Explained:
    """Share of the states' entropy that some grouping of the samples explains."""

    share: float
    by_chance: float
    """What it would come to on average if the grouping did not matter."""
    seldom_by_chance: float = 0.0
    """What it would come to in 1 of 20 cases."""

    def is_finding(self, name: str) -> bool:
        """Whether a grouping of that name is told apart so much more than by chance that it has to be said."""
        excess = EXCESS_OF_SITES if name.lower() in SITES else EXCESS
        if name == SUBJECT:
            excess = max(excess, MOST_OF_ENTROPY * (1 - self.by_chance))
        return self.share - self.by_chance >= excess and self.share >= self.seldom_by_chance


def _words_of(name: str, explained: Explained, kind: str) -> str:
    what = {
        "subject": "Which subject a sample comes from",
        "run": "Which run of its subject a sample comes from",
    }.get(name, f"The column {name!r} of a subject")
    return (
        f"{what} explains {explained.share:.0%} of the entropy of the {kind} (by chance it would be "
        f"{explained.by_chance:.0%}): they tell apart where the data come from as much as moments. Standardize each "
        f"run, align the subjects, or take fewer {kind}."
    )


def _numbers(labels: list[str], values: list[str]) -> NDArray[np.int64]:
    position = {value: number for number, value in enumerate(values)}
    return np.array([position[label] for label in labels], dtype=np.int64)
