"""Files of a selection: the table of runs, the table of people, the figure and summary.json."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.analysis.selection.ranking import OVER_MIXTURE, STATIONARY
from dynml.analysis.tidy import KIND, Column, write_tidy
from dynml.cli.commands.selection.outcome import Outcome, alphas_of, key_of, score_of_row
from dynml.cli.commands.selection.planned_run import ALPHA, PlannedRun
from dynml.cli.commands.selection.pool import Result
from dynml.files import write_json

if TYPE_CHECKING:
    from dynml.analysis.selection.agreement import Agreement, RunAgreement
    from dynml.analysis.selection.ranking import Estimate, Ranked
    from dynml.cli.commands.selection.selection_request import SelectionRequest

TABLE, PEOPLE, FIGURE = "selection.tsv", "selection_participants.tsv", "selection"
FREE_ENERGY, LOSS = "Held-out free energy (nats per sample)", "Held-out loss"


def write_outcome(request: SelectionRequest, outcome: Outcome, best: Path, refits: Sequence[Result]) -> None:
    """Write all files of a selection, and print where they are."""
    root = request.root
    what = FREE_ENERGY if request.first.family.inference is not None else LOSS
    _write_runs(root, outcome, refits, what)
    _write_people(root, outcome, what)
    alt = _draw(root, outcome, what)
    found = chosen_runs(refits)[1]
    summary = {
        KIND: "selection",
        "family": request.first.family.name,
        "experiment": str(best.resolve()),
        "score": what,
        "unit": outcome.unit,
        "best": dict(outcome.ranking.chosen.candidate.settings),
        "best_ranked": dict(outcome.ranking.best_ranked.candidate.settings),
        "not_worse": [dict(one.candidate.settings) for one in outcome.ranking.not_worse],
        "states": outcome.verdict.states,
        "verdict": outcome.verdict.sentences,
        "reproducibility": _reproducibility(outcome, outcome.ranking.chosen),
        "settings": [_of_setting(outcome, one) for one in outcome.ranking.ranked],
        "runs_on_all": _runs_on_all(refits, found),
        "n_runs": len(outcome.results) + len(refits),
        "failed": {run.folder.name: row["failed"] for run, row in outcome.results if "failed" in row},
        "pictures": [{"path": f"{FIGURE}.png", "alt": alt}],
        "findings": outcome.sentences,
    }
    write_json(root / "summary.json", summary)
    print(f"The chosen model, trained on all {outcome.unit}s: {best}. Results: {root}")


def chosen_runs(refits: Sequence[Result]) -> tuple[PlannedRun, RunAgreement | None]:
    """The run with the lowest objective out of those on all data, and how they agree; None for fewer than two."""
    from dynml.analysis.selection.agreement import match_runs

    objectives = [math.inf if row["objective"] is None else float(row["objective"]) for _, row in refits]
    best = refits[min(range(len(refits)), key=objectives.__getitem__)][0]
    if len(refits) < 2 or not all((run.folder / ALPHA).is_file() for run, _ in refits):
        return best, None
    return best, match_runs([alphas_of(run) for run, _ in refits])


def _runs_on_all(refits: Sequence[Result], found: RunAgreement | None) -> dict[str, Any]:
    runs = [{"run": run.folder.name, "seed": run.seed, "objective": row["objective"]} for run, row in refits]
    agreement = {
        "central": None if found is None else runs[found.central]["run"],
        "similarity": None if found is None else found.similarity_RR.tolist(),
    }
    best = min(runs, key=lambda one: math.inf if one["objective"] is None else one["objective"])
    return {"runs": runs, "lowest_objective": best["run"], **agreement}


def _of_setting(outcome: Outcome, one: Ranked) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "settings": dict(candidate.settings),
        "score": _interval(one.score),
        "difference_from_best_ranked": _interval(one.difference),
        "is_not_worse": one.is_not_worse,
        "gain_over": {name: _interval(gain) for name, gain in one.gain.items()},
        "n_parameters": candidate.n_parameters,
        "aic": candidate.aic,
        "bic": candidate.bic,
        "reproducibility": _reproducibility(outcome, one),
    }


def _interval(found: Estimate) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in dataclasses.asdict(found).items()}


def _reproducibility(outcome: Outcome, one: Ranked) -> dict[str, Any]:
    found = outcome.reproducibility[key_of(one.candidate.settings)]
    return {"seeds": _agreement(found.seeds), "split_halves": _agreement(found.halves)}


def _agreement(found: Agreement | None) -> dict[str, Any] | None:
    return None if found is None else dataclasses.asdict(found)


def _write_runs(root: Path, outcome: Outcome, refits: Sequence[Result], what: str) -> None:
    results = [*outcome.results, *refits]
    keys = list(results[0][0].settings)
    baselines = sorted(
        {name for _, row in results for one in (row.get("subjects") or {}).values() for name in one["baselines"]}
    )
    columns = [
        *(Column(key, "Setting of the grid") for key in keys),
        Column("seed", "Seed of the run"),
        Column(
            "part",
            "fold: one fold is held out; half: trained on one half; all: trained on all; var, phases: as fold, of "
            "stationary data like the recordings (a VAR; random phases)",
        ),
        Column("fold", "Number of the fold or half that is held out, from 0"),
        Column("score", f"{what} of the model, mean over samples; lower is better"),
        *(Column(name, f"{what} of a baseline fitted to the same training data") for name in baselines),
        Column("training", "The same on the training data"),
        Column("objective", "What the training minimised; the lowest of the seeds counts for a fold"),
        Column("n_parameters", "Free parameters"),
        Column("aic", "Akaike's criterion on the training data"),
        Column("bic", "Bayesian criterion on the training data"),
        Column("seconds", "Duration of the training", "s"),
        Column("status", "finished, or why it failed"),
        Column("run", "Folder of the run in runs/"),
    ]
    rows = [_row(run, row, keys, baselines) for run, row in results]
    write_tidy(root / TABLE, columns, rows, Score=what, Unit=outcome.unit)


def _row(run: PlannedRun, row: dict[str, Any], keys: Sequence[str], baselines: Sequence[str]) -> list[Any]:
    numbers = ("training", "objective", "n_parameters", "aic", "bic", "seconds")
    return [
        *(run.settings[key] for key in keys),
        run.seed,
        run.part,
        None if run.part == "all" else run.fold,
        score_of_row(row),
        *(score_of_row(row, name) for name in baselines),
        *(row.get(name) for name in numbers),
        "finished" if "failed" not in row else f"failed: {' '.join(row['failed'].split())}",
        run.folder.name,
    ]


def _write_people(root: Path, outcome: Outcome, what: str) -> None:
    ranked = outcome.ranking.ranked
    keys, baselines = list(ranked[0].candidate.settings), list(ranked[0].candidate.baselines)
    columns = [
        *(Column(key, "Setting of the grid") for key in keys),
        Column(outcome.unit, f"The {outcome.unit} that was held out"),
        Column("score", f"{what} of the seed with the lowest objective; lower is better"),
        *(Column(name, _of_baseline(name, what)) for name in baselines),
    ]
    rows = [
        [
            *(one.candidate.settings[key] for key in keys),
            unit,
            score,
            *(one.candidate.baselines.get(name, {}).get(unit) for name in baselines),
        ]
        for one in ranked
        for unit, score in one.candidate.scores.items()
    ]
    write_tidy(root / PEOPLE, columns, rows, Score=what)


def _of_baseline(name: str, what: str) -> str:
    if name.removesuffix(OVER_MIXTURE) in STATIONARY.values():
        over = "a mixture" if name.endswith(OVER_MIXTURE) else "one Gaussian"
        return f"{what} if the setting gained as much over {over} as of stationary data like the recordings"
    return f"{what} of a baseline fitted to the same training data"


def _draw(root: Path, outcome: Outcome, what: str) -> str:
    """Draw the figure; gives the words for those who do not see it."""
    from dynml.plotting.findings.selection import Point, plot_selection
    from dynml.plotting.style import save_figure

    chosen = outcome.ranking.chosen
    points = []
    for one in outcome.ranking.ranked:
        found = outcome.reproducibility[key_of(one.candidate.settings)]
        points.append(
            Point(
                settings=dict(one.candidate.settings),
                score=(one.score.mean, one.score.low, one.score.high),
                difference=(one.difference.mean, one.difference.low, one.difference.high),
                baselines={
                    name: sum(values.values()) / len(values) for name, values in one.candidate.baselines.items()
                },
                is_chosen=one is chosen,
                is_not_worse=one.is_not_worse,
                seeds=_drawn(found.seeds),
                halves=_drawn(found.halves),
            )
        )
    figure = plot_selection(points, label=what)
    for ending in (".png", ".svg"):
        save_figure(figure, root / f"{FIGURE}{ending}")
    scores = "; ".join(f"{outcome.words_of(point.settings)}: {point.score[0]:.4f}" for point in points)
    return f"{what} of each setting, with its interval over {outcome.unit}s, best first. {scores}."


def _drawn(found: Agreement | None) -> tuple[float, float, float] | None:
    return None if found is None else (found.similarity, *found.shifted_interval)
