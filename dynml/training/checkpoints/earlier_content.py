"""What an experiment's folder holds before a run begins in it, and whether one may: beginning never deletes a result.

A run goes on from a usable checkpoint, or is refused, as `resume` says. A model without one, and a checkpoint that is
damaged, are refused with "auto" as well, since nobody knows what they are worth; so is what cannot be read, which says
nothing of what it holds. Logs and summary alone are moved aside. What a kill before the first checkpoint leaves is
written over.
"""

from __future__ import annotations

import datetime
import os
import warnings
from pathlib import Path
from typing import Literal

from dynml.errors import CheckpointError, DataWarning
from dynml.training.checkpoints.committed import MANIFEST, free_name, newest_committed
from dynml.training.checkpoints.experiment_folder import LOCK, ExperimentFolder

Resume = Literal["refuse", "auto", "force", "anew"]
"""What to do with an experiment that is there: refuse; go on if it was started with the same settings; go on whatever
its settings were; move it aside and begin."""


def goes_on(folder: ExperimentFolder, resume: Resume) -> bool:
    """Whether a run in this folder goes on from a checkpoint (True) or begins (False); changes nothing.

    Raises
    ------
    CheckpointError
        When it may do neither; the sentence says what would be accepted.
    """
    if resume == "anew" or not _names_in(folder.path):
        return False
    checkpoint, sentences = newest_committed(folder.checkpoint)
    if checkpoint is not None:
        if resume == "refuse":
            raise CheckpointError(
                f"The experiment {folder.path} exists already; resume it (--resume auto), or choose another name."
            )
        return True
    ways = 'choose another name, or let what is there be moved aside (--resume anew, in Python resume="anew")'
    if _holds_files(folder.checkpoint):
        reason = " ".join(sentences).rstrip(".") or f"{folder.checkpoint} cannot be used"
        raise CheckpointError(f"{folder.path} has no checkpoint to go on from ({reason}); {ways}.")
    if _holds_files(folder.best_model):
        raise CheckpointError(
            f"{folder.path} holds a model, but no checkpoint to go on from; train on from it under another name "
            f"(--pretrained {folder.path}), {ways}."
        )
    return False


def make_room(folder: ExperimentFolder) -> None:
    """Move aside what an earlier run left, where a run begins: all of it, or logs and summary; the lock must be held.

    Raises
    ------
    CheckpointError
        When it cannot be moved.
    """
    has_results = os.path.lexists(folder.summary) or bool(_names_in(folder.logs))
    is_worth_keeping = has_results or any(_holds_files(path) for path in (folder.checkpoint, folder.best_model))
    names = [name for name in _names_in(folder.path) if not name.startswith(LOCK)]
    if not is_worth_keeping or not names:
        return
    date = datetime.datetime.now().strftime("%Y-%m-%d_%Hh%Mm%Ss")
    aside = free_name(folder.path.with_name(f"{folder.path.name}.before_{date}"))
    # Checkpoints first: should this be interrupted, no later run goes on without the best model that belongs to them.
    names.sort(key=lambda name: (not name.startswith(folder.checkpoint.name), name))
    try:
        aside.mkdir()
        for name in names:
            os.rename(folder.path / name, aside / name)
    except OSError as error:
        raise CheckpointError(
            f"What {folder.path} holds could not be moved to {aside}: {error.strerror or error}."
        ) from error
    warnings.warn(f"What {folder.path} held was moved to {aside}.", DataWarning, stacklevel=2)


def _holds_files(target: Path) -> bool:
    """Whether there is anything of a committed directory, but for what a kill amid its first saving leaves."""
    siblings = [name for name in _names_in(target.parent) if name == target.name or name.startswith(f"{target.name}.")]
    unfinished = f"{target.name}.new"
    return any(
        MANIFEST in held if name == unfinished else held
        for name in siblings
        for held in [_names_in(target.with_name(name))]
    )


def _names_in(path: Path) -> list[str]:
    """Names in a folder; none where there is no folder."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}.") from error
