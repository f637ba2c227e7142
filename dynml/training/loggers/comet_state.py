"""The comet experiment that belongs to an experiment's folder: its key, the last epoch that was sent, its archives."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from dynml.errors import CheckpointError
from dynml.files import made_folder, read_json, write_json
from dynml.training.loggers.config import CometConfig

FOLDER, STATE = "comet", "experiment.json"


@dataclass(frozen=True)
class CometState:
    """The comet experiment that belongs to a folder: its key, and the last epoch that was sent."""

    experiment_key: str
    project: str | None
    workspace: str | None
    n_reported_epochs: int = 0


def read_state(folder: Path) -> CometState | None:
    """Comet experiment of an experiment's folder, or None when it has none.

    Raises
    ------
    CheckpointError
        When comet/experiment.json cannot be understood.
    """
    path = folder / FOLDER / STATE
    if not path.exists():
        return None
    try:
        return CometState(**read_json(path))
    except TypeError as error:
        raise CheckpointError(f"{path} is not what dynml wrote; remove it to begin a new comet experiment.") from error


def write_state(folder: Path, state: CometState) -> None:
    """Keep the key and the progress of the report in the experiment's folder."""
    made_folder(folder / FOLDER)
    write_json(folder / FOLDER / STATE, vars(state))


def state_for(folder: Path, config: CometConfig) -> CometState:
    """State of a folder for this project: the stored one, or a new key when there is none or the project is another."""
    assert config.project is not None
    stored = read_state(folder)
    if stored is not None and (stored.project, stored.workspace) == (config.project, config.workspace):
        return stored
    return CometState(uuid.uuid4().hex, config.project, config.workspace)


def name_archives(archives: Path, key: str) -> list[Path]:
    """Give archives that comet_ml has just written a number in place of its random letters, so that they sort.

    Returns
    -------
    list of Path
        The new names. `comet upload` in this order tells the experiment in the order in which it was run.
    """
    numbered = [path for path in archives.glob(f"{key}-*.zip") if path.stem.rpartition("-")[2].isdigit()]
    last = max((int(path.stem.rpartition("-")[2]) for path in numbered), default=0)
    named = []
    fresh = set(archives.glob(f"{key}-*.zip")) - set(numbered)
    for number, path in enumerate(sorted(fresh, key=lambda path: path.stat().st_mtime_ns), start=last + 1):
        named.append(path.rename(archives / f"{key}-{number:03d}.zip"))
    return named
