"""The state of a run in its checkpoint: what is saved beside the weights, and how a run goes on from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

from dynml.files import as_dynml_wrote, strict_json
from dynml.training.experiment_folder import Checkpoint
from dynml.training.monitors import EpochMonitor, summed_monitors
from dynml.training.progress import Progress
from dynml.training.resume import check_resumable

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
    ResumeRefusedError
        When the checkpoint's run has other settings.
    DataError
        When the processes see different data or settings.
    """
    _check_same_everywhere(trainer)
    folder, processes = trainer.folder, trainer.processes
    checkpoint = processes.from_first(folder.load_checkpoint) if trainer.resume != "refuse" else None
    if checkpoint is None:
        if processes.is_first:
            folder.clear()
        trainer.settle_schedule()
        trainer.record.begin(trainer.parameters, trainer.history, 0)
        return
    before = _with_defaults(checkpoint.parameters, trainer)
    changes = check_resumable(before, trainer.parameters, force=trainer.resume == "force")
    with as_dynml_wrote(folder.checkpoint):
        _load_state(trainer, checkpoint)
    if trainer.progress.phase == "finished":
        if trainer.stopping_reason() is not None:
            trainer.parameters = checkpoint.parameters
            trainer.record.goes_on()
            return
        trainer.progress.phase, trainer.progress.position = "training", 0
        trainer.progress.stopping_reason = None
    if processes.is_first:
        folder.summary.unlink(missing_ok=True)
    entry = {"resumed_at_step": trainer.progress.step, "epoch": trainer.progress.epoch, "changes": changes}
    trainer.parameters["history"] = [*checkpoint.parameters.get("history", []), entry]
    trainer.record.begin(trainer.parameters, trainer.history, trainer.progress.epoch)
    trainer.record.goes_on()


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
