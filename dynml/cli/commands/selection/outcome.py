"""From the rows of all runs to the ranking of settings and to how well their runs agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dynml.analysis.selection.ranking import GAUSSIAN, MIXTURE, OVER_MIXTURE, STATIONARY, Candidate, Ranking, rank
from dynml.analysis.selection.verdict import Verdict, verdict
from dynml.cli.commands.selection.planned_run import ALPHA, PlannedRun, settings_in_words
from dynml.cli.commands.selection.pool import Result
from dynml.errors import DynmlError

if TYPE_CHECKING:
    from dynml.analysis.selection.agreement import Agreement

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Reproducibility:
    """How well the runs of one setting agree; None where there are no two to compare."""

    seeds: Agreement | None
    halves: Agreement | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a selection came to."""

    results: list[Result]
    ranking: Ranking
    reproducibility: dict[Key, Reproducibility]
    verdict: Verdict
    unit: str
    sentences: list[str]
    """Runs that failed and settings that are not ranked for it, warnings, then the verdict."""

    def words_of(self, settings: Mapping[str, Any]) -> str:
        """Settings as they are read."""
        return settings_in_words(settings)


def outcome_of(results: list[Result], unit: str) -> Outcome:
    """Rank settings by held-out people, and compare runs.

    Parameters
    ----------
    results : list of (PlannedRun, row)
    unit : str
        participant, or run.

    Raises
    ------
    DynmlError
        When no setting has a run of every fold.
    """
    results = sorted(results, key=lambda one: one[0].folder.name)
    by_key = _by_key(results)
    ranking = ranking_of(results, unit)
    ranked = {key_of(one.candidate.settings) for one in ranking.ranked}
    agreements = {key: _reproducibility(own) for key, own in by_key.items() if key in ranked}
    of_chosen = agreements[key_of(ranking.chosen.candidate.settings)]
    tried = {key: list(dict.fromkeys(run.settings[key] for run, _ in results)) for key in results[0][0].settings}
    said = verdict(ranking, of_chosen.seeds, of_chosen.halves, unit=unit, tried=tried)
    missing = [settings_in_words(own[0][0].settings) for key, own in by_key.items() if key not in ranked]
    sentences = [*_failures(results), *_not_ranked(missing), *_warnings(results), *said.sentences]
    return Outcome(
        results=results, ranking=ranking, reproducibility=agreements, verdict=said, unit=unit, sentences=sentences
    )


def ranking_of(results: Sequence[Result], unit: str) -> Ranking:
    """Rank settings by held-out people.

    Raises
    ------
    DynmlError
        When no setting has a run of every fold.
    """
    candidates = [one for own in _by_key(results).values() if (one := _candidate(own, unit)) is not None]
    if not candidates:
        reason = next((row["failed"] for _, row in results if "failed" in row), "none was finished")
        raise DynmlError(f"No setting has a run of every fold that could be finished: {reason}")
    return rank(candidates)


def _by_key(results: Sequence[Result]) -> dict[Key, list[Result]]:
    found: dict[Key, list[Result]] = {}
    for run, row in sorted(results, key=lambda one: one[0].folder.name):
        found.setdefault(key_of(run.settings), []).append((run, row))
    return found


def key_of(settings: Any) -> Key:
    """Settings as a key."""
    return tuple((key, repr(value)) for key, value in settings.items())


def score_of_row(row: dict[str, Any], baseline: str | None = None) -> float | None:
    """Held-out score of a run, or of one of its baselines, per observed sample; None where nothing was scored."""
    subjects = list((row.get("subjects") or {}).values())
    values = [one["score"] if baseline is None else one["baselines"].get(baseline) for one in subjects]
    if not subjects or None in values:
        return None
    n_samples = [one["n_samples"] for one in subjects]
    return float(sum(value * n for value, n in zip(values, n_samples)) / sum(n_samples))


def _candidate(results: Sequence[Result], unit: str) -> Candidate | None:
    """Join the folds: in each, the seed with the lowest training objective counts; None where a fold has none."""
    folds: dict[int, list[dict[str, Any]]] = {}
    for run, row in results:
        if run.part == "fold":
            folds.setdefault(run.fold, [])
            if score_of_row(row) is not None and math.isfinite(score_of_row(row) or math.nan):
                folds[run.fold].append(row)
    if not folds or not all(folds.values()):
        return None
    chosen = [min(rows, key=_objective) for rows in folds.values()]
    subjects = [one for row in chosen for one in row["subjects"].values()]
    scores = _of_units(chosen, unit)
    return Candidate(
        settings=results[0][0].settings,
        scores=scores,
        baselines={
            **{
                baseline: _of_units(chosen, unit, baseline)
                for baseline in sorted(set.intersection(*(set(one["baselines"]) for one in subjects)))
            },
            **_stationary(results, scores, unit),
        },
        n_parameters=chosen[0]["n_parameters"],
        aic=_mean([row["aic"] for row in chosen]),
        bic=_mean([row["bic"] for row in chosen]),
    )


def _of_units(rows: Sequence[dict[str, Any]], unit: str, baseline: str | None = None) -> dict[str, float]:
    """Score of each held-out unit, or of a baseline on it, per observed sample."""
    of_unit: dict[str, dict[str, Any]] = {}
    for row in rows:
        for name, one in row["subjects"].items():
            of_unit.setdefault(name if unit == "run" else one["participant"], {})[name] = one
    return {name: score_of_row({"subjects": own}, baseline) or 0.0 for name, own in of_unit.items()}


def _stationary(results: Sequence[Result], scores: Mapping[str, float], unit: str) -> dict[str, dict[str, float]]:
    """What the setting would score if it gained as much over one Gaussian (or a mixture) as of surrogates, by kind.

    Surrogates have one seed, so that their gain is set against that of the same seed on the recordings; the lowest
    objective of several would gain a little more of anything.
    """
    found = {}
    for kind, name in STATIONARY.items():
        of_kind = [(run, row) for run, row in results if run.part == kind]
        if not of_kind or not all(row.get("subjects") for _, row in of_kind):
            continue
        seed = of_kind[0][0].seed
        own = [row for run, row in results if run.part == "fold" and run.seed == seed and row.get("subjects")]
        for baseline, ending in ((GAUSSIAN, ""), (MIXTURE, OVER_MIXTURE)):
            gains, stationary = (_gains(rows, unit, baseline) for rows in (own, [row for _, row in of_kind]))
            if gains.keys() == stationary.keys() == scores.keys():
                found[name + ending] = {one: scores[one] + gains[one] - stationary[one] for one in scores}
    return found


def _gains(rows: Sequence[dict[str, Any]], unit: str, baseline: str) -> dict[str, float]:
    if not all(baseline in one["baselines"] for row in rows for one in row["subjects"].values()):
        return {}
    of_baseline = _of_units(rows, unit, baseline)
    return {name: of_baseline[name] - score for name, score in _of_units(rows, unit).items()}


def _objective(row: dict[str, Any]) -> float:
    return float("inf") if row["objective"] is None else float(row["objective"])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _reproducibility(results: Sequence[Result]) -> Reproducibility:
    from dynml.analysis.selection.agreement import agreement_of_runs

    done = [run for run, row in results if "failed" not in row and (run.folder / ALPHA).is_file()]
    seeds = list(_pairs_of_seeds([run for run in done if run.part == "fold"]))
    halves = list(combinations(sorted((run for run in done if run.part == "half"), key=lambda run: run.fold), 2))
    found = [
        agreement_of_runs([(alphas_of(first), alphas_of(second)) for first, second in pairs]) if pairs else None
        for pairs in (seeds, halves)
    ]
    return Reproducibility(seeds=found[0], halves=found[1])


def _pairs_of_seeds(runs: Sequence[PlannedRun]) -> Iterator[tuple[PlannedRun, PlannedRun]]:
    """Pairs of runs that held out the same people, whom both are compared on."""
    for fold in sorted({run.fold for run in runs}):
        yield from combinations(sorted((run for run in runs if run.fold == fold), key=lambda run: run.seed), 2)


def alphas_of(run: PlannedRun) -> list[Any]:
    """States' probabilities that a run left, one array per subject, by name."""
    import numpy as np

    with np.load(run.folder / ALPHA) as stored:
        return [stored[name] for name in sorted(stored.files)]


def _failures(results: Sequence[Result]) -> list[str]:
    return [f"The run {run.in_words} failed: {row['failed'].rstrip('.')}." for run, row in results if "failed" in row]


def _not_ranked(missing: Sequence[str]) -> list[str]:
    return [f"Not ranked, because no run of a fold was finished: {name}." for name in missing]


def _warnings(results: Sequence[Result]) -> list[str]:
    counts: dict[str, int] = {}
    for _, row in (one for one in results if one[0].part not in STATIONARY):
        for text in row.get("warnings", []):
            counts[text] = counts.get(text, 0) + 1
    return [text if n == 1 else f"In {n} runs: {text}" for text, n in counts.items()]
