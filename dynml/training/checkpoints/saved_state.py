"""The state of a run in its checkpoint: what is saved beside the weights, and how a run goes on from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from typing import TYPE_CHECKING, Any

import torch

from dynml.errors import CheckpointError, DataWarning
from dynml.files import as_dynml_wrote, strict_json
from dynml.training.checkpoints.earlier_content import goes_on, make_room
from dynml.training.checkpoints.experiment_folder import Checkpoint
from dynml.training.checkpoints.resume import (
    applied_changes,
    check_limits,
    check_resumable,
    ignored_by_finished_run,
    ignored_reports,
)
from dynml.training.gradients.optimization import remarks_on_schedule
from dynml.training.monitors import EpochMonitor, summed_monitors
from dynml.training.progress import Progress

if TYPE_CHECKING:
    from dynml.training.trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Tensors and plain values that a run needs beside its weights; sums are those of all processes."""
    return {
        "progress": dataclasses.asdict(trainer.progress) | {"n_samples": n_samples_of_all(trainer)},
        "best": trainer.best.state_dict(),
        "history": trainer.history.state_dict(),
        "monitors": _monitors_of_all(trainer),
        "optimizer": None if trainer.learner is None else trainer.learner.optimizer.state_dict(),
        "average": None if trainer.average is None else trainer.average.state_dict(),
        "family": trainer.family_state(),
    }


def restore_or_start(trainer: Trainer) -> None:
    """Go on from the newest checkpoint if there is one and it may be, else begin.

    Raises
    ------
    CheckpointError
        When there is an experiment, or what is left of one, and `resume` does not say what to do with it.
    ResumeRefusedError
        When the checkpoint's run has other settings.
    ConfigurationError
        When the run has done more than its limits allow now.
    DataError
        When the processes see different data or settings.
    """
    _check_same_everywhere(trainer)
    folder, processes = trainer.folder, trainer.processes
    if not processes.from_first(lambda: goes_on(folder, trainer.resume)):
        if processes.is_first:
            make_room(folder)
        trainer.settle_schedule()
        trainer.record.begin(trainer.parameters, trainer.history, 0)
        return
    checkpoint = processes.from_first(folder.load_checkpoint)
    if checkpoint is None:
        raise CheckpointError(f"{folder.checkpoint} was changed while it was read.")
    before = _with_defaults(checkpoint.parameters, trainer)
    changes = check_resumable(before, trainer.parameters, force=trainer.resume == "force")
    with as_dynml_wrote(folder.checkpoint):
        _load_state(trainer, checkpoint)
    check_limits(trainer.config, trainer.progress)
    remarks = ignored_reports(before, trainer.parameters)
    was_finished = trainer.progress.phase == "finished"
    if _has_nothing_left(trainer) and was_finished:
        remarks += ignored_by_finished_run(before, trainer.parameters)
        trainer.parameters = checkpoint.parameters
        if not processes.from_first(folder.summary.exists):
            trainer.record.begin(trainer.parameters, trainer.history, trainer.progress.epoch)
    else:
        _check_best_model(trainer)
        remarks += applied_changes(changes) + _remarks_on_schedule(trainer)
        if processes.is_first:
            folder.summary.unlink(missing_ok=True)
        entry = {"resumed_at_step": trainer.progress.step, "epoch": trainer.progress.epoch, "changes": changes}
        trainer.parameters["history"] = [*checkpoint.parameters.get("history", []), entry]
        trainer.record.begin(trainer.parameters, trainer.history, trainer.progress.epoch)
    trainer.record.goes_on()
    if processes.is_first:
        for remark in remarks:
            warnings.warn(remark, DataWarning, stacklevel=3)


def _has_nothing_left(trainer: Trainer) -> bool:
    """Whether a restored run has nothing to train, by the limits of now; one that had ended and was given more has."""
    progress = trainer.progress
    is_between_epochs = progress.phase == "training" and progress.position == 0 and progress.epoch > 0
    if progress.phase != "finished" and not is_between_epochs:
        return False
    reason = trainer.stopping_reason()
    if reason is None:
        progress.phase, progress.position, progress.stopping_reason = "training", 0, None
    elif progress.phase != "finished":
        progress.phase, progress.stopping_reason = "finished", reason
    return reason is not None


def _remarks_on_schedule(trainer: Trainer) -> list[str]:
    if trainer.learner is None:
        return []
    return remarks_on_schedule(trainer.config, trainer.progress, trainer.constant_epochs(), str(trainer.folder.path))


def _check_best_model(trainer: Trainer) -> None:
    """Refuse to go on towards a report on a best model that is lost, or forget it where the user insists.

    Raises
    ------
    CheckpointError
        When the best model so far is missing or damaged.
    """
    best, folder = trainer.best, trainer.folder
    epoch = best.best_epoch
    fault = None if epoch is None else trainer.processes.from_first(lambda: folder.fault_of_best(epoch))
    if fault is None:
        return
    if trainer.resume != "force":
        raise CheckpointError(
            f'{fault}; put a copy of it there, or go on without it (--force, in Python resume="force"): the best of '
            "the epochs to come is kept then."
        )
    best.forget()


def n_samples_of_all(trainer: Trainer) -> int:
    """Training samples of the epoch so far, of all processes."""
    return int(trainer.processes.sum(torch.tensor(trainer.progress.n_samples)))


def _monitors_of_all(trainer: Trainer) -> dict[str, Any]:
    """Sums of all processes. Those of a context are the same everywhere once its last batch is done."""
    own = {name: monitor.state_dict() for name, monitor in trainer.monitors.items()}
    running = {name: state for name, state in own.items() if name.startswith(trainer.progress.phase)}
    several = [running] if trainer.progress.phase == "finished" else trainer.processes.gather(running)
    return own | {name: monitor.state_dict() for name, monitor in summed_monitors(several).items()}


def _load_state(trainer: Trainer, checkpoint: Checkpoint) -> None:
    trainer.model.load_state_dict(checkpoint.weights)
    state, is_first = checkpoint.state, trainer.processes.is_first
    trainer.progress = Progress(**state["progress"])
    trainer.best.load_state_dict(state["best"])
    trainer.history.load_state_dict(state["history"])
    if not is_first:
        trainer.progress.n_samples = 0
    trainer.monitors = {}
    for name, values in state["monitors"].items():
        # A sum that goes on is held by the first process alone; the others start at nothing.
        if is_first or not name.startswith(trainer.progress.phase):
            trainer.monitors[name] = EpochMonitor()
            trainer.monitors[name].load_state_dict(values)
    if trainer.learner is not None and state["optimizer"] is not None:
        trainer.learner.load_state(state["optimizer"])
    if trainer.average is not None:
        trainer.average.begin()
        if state.get("average") is not None:
            trainer.average.load_state_dict(state["average"])
    trainer.load_family_state(state["family"])


def _with_defaults(parameters: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
    """Parameters of a run that may be older than some settings: what was not there yet worked as the default does."""
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(trainer.config)
        if field.default is not dataclasses.MISSING
    }
    return parameters | {"trainer": defaults | (parameters.get("trainer") or {})}


def _check_same_everywhere(trainer: Trainer) -> None:
    """Refuse processes that see other data, or were started with other settings."""
    names = ("family", "model", "initialization", "trainer", "sampler")
    settings = {name: trainer.parameters.get(name) for name in names}
    text = json.dumps(strict_json(settings), sort_keys=True)
    trainer.processes.check_same("data", trainer.dataset.fingerprint[:12])
    trainer.processes.check_same("settings", hashlib.sha256(text.encode()).hexdigest()[:12])
