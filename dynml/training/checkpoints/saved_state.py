"""The state of a run in its checkpoint: what is saved beside the weights, and how a run goes on from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from typing import Any

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
from dynml.training.gradients.optimization import sentences_on_schedule, settled_schedule
from dynml.training.monitors import EpochMonitor, summed_monitors
from dynml.training.progress import Progress
from dynml.training.run_state import RunState


def state_of(run: RunState) -> dict[str, Any]:
    """Tensors and plain values that a run needs beside its weights; sums are those of all processes."""
    return {
        "progress": dataclasses.asdict(run.progress) | {"n_samples": run.n_samples_of_all()},
        "best": run.best.state_dict(),
        "history": run.history.state_dict(),
        "monitors": _monitors_of_all(run),
        "optimizer": None if run.learner is None else run.learner.optimizer.state_dict(),
        "average": None if run.average is None else run.average.state_dict(),
        "family": run.family_state(),
    }


def restore_or_start(run: RunState, steps_per_epoch: Callable[[], int]) -> None:
    """Go on from the newest checkpoint if there is one and it may be, else begin.

    Parameters
    ----------
    run : RunState
    steps_per_epoch : callable
        Counts the training batches of the first epoch, by which the learning rate's schedule is laid out.

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
    _check_same_everywhere(run)
    folder, processes = run.folder, run.processes
    if not processes.from_first(lambda: goes_on(folder, run.resume)):
        if processes.is_first:
            make_room(folder)
        run.progress.steps_per_epoch = steps_per_epoch()
        run.progress.schedule_length = settled_schedule(run.config, run.progress.steps_per_epoch)
        run.record.begin(run.parameters, run.history, 0)
        return
    checkpoint = processes.from_first(folder.load_checkpoint)
    if checkpoint is None:
        raise CheckpointError(f"{folder.checkpoint} was changed while it was read.")
    before = _with_defaults(checkpoint.parameters, run)
    changes = check_resumable(before, run.parameters, force=run.resume == "force")
    with as_dynml_wrote(folder.checkpoint):
        _load_state(run, checkpoint)
    check_limits(run.config, run.progress)
    sentences = ignored_reports(before, run.parameters)
    was_finished = run.progress.phase == "finished"
    if _has_nothing_left(run) and was_finished:
        sentences += ignored_by_finished_run(before, run.parameters)
        run.parameters = checkpoint.parameters
        if not processes.from_first(folder.summary.exists):
            run.record.begin(run.parameters, run.history, run.progress.epoch)
    else:
        _check_best_model(run)
        sentences += applied_changes(changes) + _sentences_on_schedule(run)
        if processes.is_first:
            folder.summary.unlink(missing_ok=True)
        entry = {"resumed_at_step": run.progress.step, "epoch": run.progress.epoch, "changes": changes}
        run.parameters["history"] = [*checkpoint.parameters.get("history", []), entry]
        run.record.begin(run.parameters, run.history, run.progress.epoch)
    run.record.goes_on()
    if processes.is_first:
        for sentence in sentences:
            warnings.warn(sentence, DataWarning, stacklevel=3)


def check_has_checkpoint(run: RunState) -> None:
    """Refuse to take up a run again, in the process that began it, without a checkpoint.

    Raises
    ------
    CheckpointError
        Names the folder.
    """
    if not run.processes.from_first(lambda: goes_on(run.folder, run.resume)):
        raise CheckpointError(
            f"{run.folder.path} has no checkpoint that this run could go on from; build model and trainer anew."
        )


def _has_nothing_left(run: RunState) -> bool:
    """Whether a restored run has nothing to train, by the limits of now; one that had ended and was given more has."""
    progress = run.progress
    is_between_epochs = progress.phase == "training" and progress.position == 0 and progress.epoch > 0
    if progress.phase != "finished" and not is_between_epochs:
        return False
    reason = run.stopping_reason()
    if reason is None:
        progress.phase, progress.position, progress.stopping_reason = "training", 0, None
    elif progress.phase != "finished":
        progress.phase, progress.stopping_reason = "finished", reason
    return reason is not None


def _sentences_on_schedule(run: RunState) -> list[str]:
    if run.learner is None:
        return []
    return sentences_on_schedule(run.config, run.progress, run.constant_epochs(), str(run.folder.path))


def _check_best_model(run: RunState) -> None:
    """Refuse to go on towards a report on a best model that is lost, or forget it where the user insists.

    Raises
    ------
    CheckpointError
        When the best model so far is missing or damaged.
    """
    best, folder = run.best, run.folder
    epoch = best.best_epoch
    fault = None if epoch is None else run.processes.from_first(lambda: folder.fault_of_best(epoch))
    if fault is None:
        return
    if run.resume != "force":
        raise CheckpointError(
            f'{fault}; put a copy of it there, or go on without it (--force, in Python resume="force"): the best of '
            "the epochs to come is kept then."
        )
    best.forget()


def _monitors_of_all(run: RunState) -> dict[str, Any]:
    """Sums of all processes. Those of a context are the same everywhere once its last batch is done."""
    own = {name: monitor.state_dict() for name, monitor in run.monitors.items()}
    running = {name: state for name, state in own.items() if name.startswith(run.progress.phase)}
    several = [running] if run.progress.phase == "finished" else run.processes.gather(running)
    return own | {name: monitor.state_dict() for name, monitor in summed_monitors(several).items()}


def _load_state(run: RunState, checkpoint: Checkpoint) -> None:
    run.model.load_state_dict(checkpoint.weights)
    state, is_first = checkpoint.state, run.processes.is_first
    run.progress = Progress(**state["progress"])
    run.best.load_state_dict(state["best"])
    run.history.load_state_dict(state["history"])
    if not is_first:
        run.progress.n_samples = 0
    run.monitors = {}
    for name, values in state["monitors"].items():
        # A sum that goes on is held by the first process alone; the others start at nothing.
        if is_first or not name.startswith(run.progress.phase):
            run.monitors[name] = EpochMonitor()
            run.monitors[name].load_state_dict(values)
    if run.learner is not None and state["optimizer"] is not None:
        run.learner.load_state(state["optimizer"])
    if run.average is not None:
        run.average.begin()
        if state.get("average") is not None:
            run.average.load_state_dict(state["average"])
    run.load_family_state(state["family"])


def _with_defaults(parameters: dict[str, Any], run: RunState) -> dict[str, Any]:
    """Parameters of a run that may be older than some settings: what was not there yet worked as the default does."""
    settings = {"trainer": run.config, "model": getattr(run.model, "config", None)}
    completed = {
        section: _defaults_of(config) | (parameters.get(section) or {})
        for section, config in settings.items()
        if dataclasses.is_dataclass(config)
    }
    return parameters | completed


def _defaults_of(config: Any) -> dict[str, Any]:
    return {
        field.name: field.default for field in dataclasses.fields(config) if field.default is not dataclasses.MISSING
    }


def _check_same_everywhere(run: RunState) -> None:
    """Refuse processes that see other data, or were started with other settings."""
    names = ("family", "model", "initialization", "trainer", "sampler")
    settings = {name: run.parameters.get(name) for name in names}
    text = json.dumps(strict_json(settings), sort_keys=True)
    run.processes.check_same("data", run.dataset.fingerprint[:12])
    run.processes.check_same("settings", hashlib.sha256(text.encode()).hexdigest()[:12])
