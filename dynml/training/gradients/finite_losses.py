"""What follows on a loss or a gradient that is not finite: the run stops, or goes on without that batch."""

from __future__ import annotations

from dynml.batches.batch import Batch
from dynml.errors import NonFiniteLossError
from dynml.training.batch_result import BatchResult
from dynml.training.gradients.learning import Step
from dynml.training.run_state import RunState


def look_at_losses(run: RunState) -> None:
    """Read what a deferred check counted since the last look: stop, or count what was left out.

    Raises
    ------
    NonFiniteLossError
        When something was counted and `non_finite` is "stop".
    """
    check = run.deferred_check
    if check is None:
        return
    n_seen, n_faulty = check.n_unseen, check.read_count()
    if n_faulty and run.config.non_finite == "stop":
        raise NonFiniteLossError(
            f"A loss or its gradient is not finite in epoch {run.progress.epoch + 1}, among its last {n_seen} "
            "batches; the model was left as it was before that step (trainer.non_finite_check_every 1 names the batch)."
        )
    run.progress.n_skipped += n_faulty


def refuse_loss(run: RunState, result: BatchResult, batch: Batch, *, is_faulty: bool) -> None:
    """Stop at a loss that is not finite, in this process (`is_faulty`) or another one, or count the batch left out.

    Raises
    ------
    NonFiniteLossError
        When `non_finite` is "stop"; names the spans.
    """
    if run.config.non_finite == "stop":
        subjects = run.dataset.training_set.subjects
        spans = [f"{subjects[s.subject]} samples {s.start} to {s.stop}" for s in run.spans_at_fault(batch)[:3]]
        faults = run.processes.gather((result.loss.item(), ", ".join(spans)) if is_faulty else None)
        loss, where = next(fault for fault in faults if fault is not None)
        raise NonFiniteLossError(
            f"The loss is {loss} in {_epoch_and_batch(run)} ({where}); the model was left as it was before this step."
        )
    run.progress.n_skipped += 1


def refuse_gradient(run: RunState, step: Step) -> None:
    """Stop at a gradient that is not finite, or count the step that was left out.

    Raises
    ------
    NonFiniteLossError
        When `non_finite` is "stop".
    """
    if run.config.non_finite == "stop":
        raise NonFiniteLossError(
            f"The norm of the gradient is {step.norm.item()} in {_epoch_and_batch(run)}; the model was left as it "
            "was before this step."
        )
    run.progress.n_skipped += 1


def refuse_epoch_without_losses(run: RunState) -> None:
    """Stop after an epoch of which no batch could be learnt from.

    Raises
    ------
    NonFiniteLossError
        Names the epoch.
    """
    if "training_loss" not in run.monitors or not run.monitors["training_loss"].weight:
        raise NonFiniteLossError(f"All batches of epoch {run.progress.epoch + 1} had a loss that is not finite.")


def _epoch_and_batch(run: RunState) -> str:
    return f"epoch {run.progress.epoch + 1}, batch {run.progress.position + 1}"
