"""The course of a selection: who takes part, the runs on all processes, the outcome, the chosen model on all data."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynml.cli.commands.selection.outcome import Outcome, outcome_of, ranking_of
from dynml.cli.commands.selection.planned_run import RUNS, PlannedRun, finished_row, planned_run, settings_in_words
from dynml.cli.commands.selection.pool import CarryOut, Result, carried_out
from dynml.cli.commands.selection.selection_request import SelectionRequest, default_n_jobs
from dynml.cli.commands.selection.stationary import stationary_runs
from dynml.cli.commands.selection.written import chosen_runs, write_outcome
from dynml.configuration import config_to_dictionary
from dynml.errors import DataError, DynmlError
from dynml.files import folder_made_for, made_folder, read_json, strict_json, write_json
from dynml.locks.writing import LOCK_OF_FOLDER, writing_to

REQUEST, BEST, DEFAULT_FOLDS = "selection_request.json", "best", 5
SECONDS_BETWEEN_LOOKS = 0.5


def run_selection(request: SelectionRequest, carry_out: CarryOut) -> None:
    """Do all runs that are not finished yet by `carry_out`, and say what they come to."""
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folds, unit, fingerprint = _taking_part(request)
    runs = request.runs(folds)
    if rank:
        token = _token()
        results = _results(request, carry_out, runs[rank::world_size])
        write_json(_done(request.root, token, rank), _failures(results))
        return
    with folder_made_for(request.root), writing_to(request.root):
        _check_same_selection(request, folds, fingerprint)
        made_folder(request.root / RUNS)
        # The others wait for it: what they write must not be there before this folder was looked at.
        token = _token() if world_size > 1 else ""
        results = _results(request, carry_out, runs[0::world_size])
        results += _of_others(request.root, runs, world_size, token)
        results += _on_stationary_data(request, carry_out, results, unit, folds)
        outcome = outcome_of(results, unit)
        for sentence in outcome.sentences:
            print(f"Note: {sentence}")
        best, refits = _chosen_model(request, carry_out, outcome)
        write_outcome(request, outcome, best, refits)


def _taking_part(request: SelectionRequest) -> tuple[int, str, str]:
    """Number of folds, what they are made of (participant or run), and the data's fingerprint."""
    from dynml.dataset.dataset import MultiSubjectDataset

    first = request.first
    given = first.configs["dataset"]
    kept = {"subsets": given.subsets, "seed": given.seed, "further_groups": given.further_groups}
    plain = type(given)(**kept, held_out="nothing")
    dataset = MultiSubjectDataset(first.hdf5_file, "lazy", group=first.input_group, config=plain)
    subjects = dataset.training_set.subjects
    unit = "run" if dataset.split == "runs" else "participant"
    units = list(subjects) if unit == "run" else sorted({dataset.participant(name) for name in subjects})
    if len(units) < 2:
        named = f" ({units[0]})" if units else ""
        raise DataError(
            f"Training and validation of {first.hdf5_file} hold {len(units)} {unit}{named}, but models are compared on "
            f'people that were held out: at least 2 are needed, or a store made with "split": "runs".'
        )
    folds = request.folds if request.folds is not None else min(DEFAULT_FOLDS, len(units))
    if folds > len(units):
        raise DataError(
            f"--folds is {folds}, but training and validation of {first.hdf5_file} hold {len(units)} {unit}s."
        )
    for n in {one.configs["dataset"].n_training_subjects for _, one in request.requests} - {None}:
        # Whoever is asked for must be there once a fold is held out.
        kept = dataclasses.replace(plain, held_out="testing", folds=folds, fold=0, n_training_subjects=n)
        MultiSubjectDataset(first.hdf5_file, "lazy", group=first.input_group, config=kept)
    if len(units) < 2 * DEFAULT_FOLDS and not int(os.environ.get("RANK", "0")):
        print(f"Note: there are {len(units)} {unit}s; intervals over so few are wide.")
    start = first.pretrained or getattr(first.configs.get("initialization"), "from_experiment", None)
    if start is not None:
        print(f"Note: runs start from {start}; people that it was trained on are not held out from it.")
    return folds, unit, dataset.fingerprint


def _check_same_selection(request: SelectionRequest, folds: int, fingerprint: str) -> None:
    """Refuse to mix runs of other data or settings with those that are there."""
    groups = ("model", "initialization", "trainer", "sampler", "loader", "dataset")
    configs = request.first.configs
    settings = {
        f"{group}.{name}": value
        for group in groups
        if group in configs
        for name, value in config_to_dictionary(configs[group]).items()
    }
    own: dict[str, Any] = strict_json(
        {
            "grid": sorted(request.requests[0][0]),
            "folds": folds,
            "family": request.first.family.name,
            "group": request.first.input_group,
            "pretrained": request.first.pretrained,
            "data": fingerprint,
            **settings,
        }
    )
    path = request.root / REQUEST
    if path.is_file():
        before = read_json(path)
        free = {"grid", "trainer.seed", "trainer.device", *own["grid"], *before.get("grid", [])}
        other = next((key for key in own if key not in free and before.get(key) != own[key]), None)
        if other is not None:
            raise DynmlError(
                f"{request.root} holds a selection with {other} {before.get(other)!r}, not {own[other]!r}; give "
                "another NAME."
            )
    elif any(LOCK_OF_FOLDER not in one.name for one in request.root.iterdir()):
        raise DynmlError(f"{request.root} is not empty and holds no selection; give another NAME.")
    write_json(path, own)


def _results(request: SelectionRequest, carry_out: CarryOut, runs: Sequence[PlannedRun]) -> list[Result]:
    """Rows of runs: those that were committed before, then the others as they are finished."""
    results: list[Result] = []
    waiting = []
    for run in runs:
        row = finished_row(run)
        if row is None:
            waiting.append(run)
        else:
            results.append((run, row))
    if results:
        print(f"{len(results)} of {len(runs)} runs were finished before.")
    for run, row in carried_out(carry_out, waiting, default_n_jobs(request)):
        results.append((run, row))
        how = f"failed: {row['failed']}" if "failed" in row else _score_in_words(row)
        print(f"{len(results)} of {len(runs)}: {run.in_words}: {how}", flush=True)
    return results


def _score_in_words(row: dict[str, Any]) -> str:
    from dynml.cli.commands.selection.outcome import score_of_row

    score = score_of_row(row)
    return f"trained, {row['epochs']} epochs" if score is None else f"held-out score {score:.4f}"


def _token() -> str:
    """A word that all processes of torchrun share, and no earlier ones had."""
    from dynml.training.processes import join_processes, leave_processes

    token = join_processes("cpu").from_first(lambda: uuid.uuid4().hex)
    leave_processes()
    return token


def _done(root: Path, token: str, rank: int) -> Path:
    return root / f".process-{rank}-{token}.json"


def _failures(results: Sequence[Result]) -> dict[str, str]:
    return {run.folder.name: row["failed"] for run, row in results if "failed" in row}


def _of_others(root: Path, runs: Sequence[PlannedRun], world_size: int, token: str) -> list[Result]:
    """Wait for the other processes of torchrun, which ends all where one dies, and read what they committed."""
    results: list[Result] = []
    for rank in range(1, world_size):
        path = _done(root, token, rank)
        while not path.is_file():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        failures = read_json(path)
        path.unlink()
        for run in runs[rank::world_size]:
            row = finished_row(run)
            failure = failures.get(run.folder.name, "it left no result")
            results.append((run, {"failed": failure, "warnings": []} if row is None else row))
    return results


def _on_stationary_data(
    request: SelectionRequest, carry_out: CarryOut, results: Sequence[Result], unit: str, folds: int
) -> list[Result]:
    """Try the best-ranked setting on surrogates of the same people."""
    runs = stationary_runs(request, ranking_of(results, unit), folds)
    if not runs:
        return []
    print(f"Training {settings_in_words(runs[0].settings)} on stationary data like the recordings.", flush=True)
    return _results(request, carry_out, runs)


def _chosen_model(request: SelectionRequest, carry_out: CarryOut, outcome: Outcome) -> tuple[Path, list[Result]]:
    """Train the chosen settings on all participants, once a seed; the run with the lowest objective is the model."""
    settings = dict(outcome.ranking.chosen.candidate.settings)
    of_settings = next(one for own, one in request.requests if own == settings)
    runs = [planned_run(of_settings, request.root, settings, seed, "all") for seed in range(request.seeds)]
    print(f"Training {outcome.words_of(settings)} on all {outcome.unit}s.", flush=True)
    results = _results(dataclasses.replace(request, requests=[(settings, of_settings)]), carry_out, runs)
    usable = [(run, row) for run, row in results if "failed" not in row]
    if not usable:
        raise DynmlError(f"No run of the chosen settings on all data could be finished: {results[0][1]['failed']}")
    usable.sort(key=lambda one: one[0].seed)
    best = chosen_runs(usable)[0]
    target = request.root / BEST
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(target)
    partial = request.root / f".{BEST}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(best.folder, partial, ignore=shutil.ignore_patterns(f"*{LOCK_OF_FOLDER}*"))
    partial.rename(target)
    return target, usable
