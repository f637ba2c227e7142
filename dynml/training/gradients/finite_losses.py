"""Whether losses and gradients are finite, asked on the host: after every batch, or what was counted on the device."""

from __future__ import annotations

import torch

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
    n_seen, n_faulty = check.n_unseen, check.look()
    if n_faulty and run.config.non_finite == "stop":
        raise NonFiniteLossError(
            f"A loss or its gradient is not finite in epoch {run.progress.epoch + 1}, among its last {n_seen} "
            "batches; the model was left as it was before that step (trainer.non_finite_check_every 1 names the batch)."
        )
    run.progress.n_skipped += n_faulty


def is_usable(run: RunState, result: BatchResult, batch: Batch) -> bool:
    """Whether to learn from a batch: some process has samples of it, and no loss is NaN or infinite.

    Raises
    ------
    NonFiniteLossError
        When a loss is not finite and `non_finite` is "stop"; names the spans.
    """
    is_faulty = bool(result.n) and not bool(torch.isfinite(result.loss))
    has_samples, faulty = run.processes.largest([int(bool(result.n)), int(is_faulty)])
    if not faulty:
        return bool(has_samples)
    if run.config.non_finite == "stop":
        subjects = run.dataset.training_set.subjects
        spans = [f"{subjects[s.subject]} samples {s.start} to {s.stop}" for s in run.spans_at_fault(batch)[:3]]
        faults = run.processes.gather((result.loss.item(), ", ".join(spans)) if is_faulty else None)
        loss, where = next(fault for fault in faults if fault is not None)
        raise NonFiniteLossError(
            f"The loss is {loss} in {_place(run)} ({where}); the model was left as it was before this step."
        )
    run.progress.n_skipped += 1
    return False


def refuse_gradient(run: RunState, step: Step) -> None:
    """Stop at a gradient that is not finite, or count the step that was left out.

    Raises
    ------
    NonFiniteLossError
        When `non_finite` is "stop".
    """
    if run.config.non_finite == "stop":
        raise NonFiniteLossError(
            f"The norm of the gradient is {step.norm.item()} in {_place(run)}; the model was left as it was before "
            "this step."
        )
    run.progress.n_skipped += 1


def _place(run: RunState) -> str:
    return f"epoch {run.progress.epoch + 1}, batch {run.progress.position + 1}"
