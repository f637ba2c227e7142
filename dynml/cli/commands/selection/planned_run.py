"""One run of a selection: its settings, what it holds out, and where it goes."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dynml.cli.commands.run_request import RunRequest
from dynml.files import read_json

Part = Literal["fold", "half", "all", "var", "phases"]
"""fold: one part of the participants is held out and scored; half: trained on one half of them; all: on all of them;
var, phases: as fold, but of data that are stationary by construction and like the recordings otherwise."""
RUNS, ROW, ALPHA = "runs", "selection_run.json", "alpha.npz"
LONGEST_NAME = 80


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be done, or was done."""

    settings: dict[str, Any]
    """Key to value, of the settings in the grid."""

    seed: int
    part: Part
    fold: int
    """Which fold or half is held out, from 0; 0 where nothing is."""

    request: RunRequest

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        return Path(self.request.experiments_path) / self.request.experiment_name

    @property
    def in_words(self) -> str:
        """Settings, seed and part, for messages."""
        held_out = "" if self.part == "all" else f", {self.part} {self.fold}"
        return f"{settings_in_words(self.settings)}, seed {self.seed}{held_out}"

    @property
    def scored_subsets(self) -> tuple[str, ...]:
        """Whose states are kept, for the comparison of runs."""
        return {"half": ("training", "testing"), "all": ("training",)}.get(self.part, ("testing",))

    @property
    def is_scored(self) -> bool:
        """Whether it holds out people on whom it is scored."""
        return self.part not in ("half", "all")


def planned_run(
    request: RunRequest, root: Path, settings: dict[str, Any], seed: int, part: Part, fold: int = 0, folds: int = 2
) -> PlannedRun:
    """Make the run that a request of its settings stands for.

    Parameters
    ----------
    request : RunRequest
        With the settings of the grid in force.
    root : Path
        The selection's folder.
    settings : dict
    seed, part, fold
        See `PlannedRun`.
    folds : int
        Into how many the participants are cut.
    """
    held_out: dict[str, Any] = (
        {"held_out": "nothing"} if part == "all" else {"held_out": "testing", "folds": folds, "fold": fold}
    )
    if part == "half":
        held_out["folds"] = 2
    configs = {
        **request.configs,
        "dataset": dataclasses.replace(request.configs["dataset"], **held_out),
        "trainer": dataclasses.replace(request.configs["trainer"], seed=seed, progress=False),
    }
    name = f"{_name(settings)}_seed-{seed}_{part if part == 'all' else f'{part}-{fold}'}"
    paths: dict[str, Any] = {"experiments_path": str(root / RUNS), "experiment_name": name}
    return PlannedRun(settings, seed, part, fold, dataclasses.replace(request, **paths, configs=configs, resume="auto"))


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Keys without their groups, and values."""
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in settings.items())


def _name(settings: dict[str, Any]) -> str:
    written = "_".join(f"{key.partition('.')[2]}-{value}" for key, value in settings.items())
    name = re.sub(r"[^\w.+-]+", "-", written)
    if name == written and len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


def finished_row(run: PlannedRun) -> dict[str, Any] | None:
    """The result of a run that was committed before; None if it has to be done."""
    path = run.folder / ROW
    return read_json(path) if path.is_file() else None
