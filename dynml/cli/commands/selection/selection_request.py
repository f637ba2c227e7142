"""What is asked for when settings are to be compared."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.cli.commands.run_request import RunRequest
from dynml.cli.commands.selection.planned_run import PlannedRun, planned_run


@dataclass(frozen=True, kw_only=True)
class SelectionRequest:
    """What is to be tried, and how."""

    root: Path
    requests: list[tuple[dict[str, Any], RunRequest]]
    """Settings of the grid with typed values, and the run that they stand for."""

    seeds: int
    folds: int | None
    """None: five, or as many as there are participants."""

    n_jobs: int | None
    split_halves: bool
    surrogates: bool = True
    """Whether the best-ranked setting is also tried on data that are stationary by construction."""

    @property
    def first(self) -> RunRequest:
        """The run of the first setting."""
        return self.requests[0][1]

    def runs(self, folds: int) -> list[PlannedRun]:
        """All runs; those of one fold stand together, since they share their data.

        Neighbours differ in the grid's first key: numbers of states have compiled loops of their own, which processes
        that begin with the same number would compile at the same time.
        """
        requests = sorted(self.requests, key=lambda one: [repr(value) for value in list(one[0].values())[1:]])
        runs = [
            planned_run(request, self.root, settings, seed, "fold", fold, folds)
            for fold in range(folds)
            for seed in range(self.seeds)
            for settings, request in requests
        ]
        if self.split_halves and self.first.family.inference is not None:
            runs += [
                planned_run(request, self.root, settings, 0, "half", half)
                for half in (0, 1)
                for settings, request in self.requests
            ]
        return runs


def default_n_jobs(request: SelectionRequest) -> int:
    """As many processes as there are CPUs for this one; one where the models compute on a GPU."""
    from dynml.training.environment import resolve_device

    if request.n_jobs is not None:
        return request.n_jobs
    if resolve_device(request.first.configs["trainer"].device).type != "cpu":
        return 1
    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, n_cpus // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
