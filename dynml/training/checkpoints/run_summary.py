"""What a run comes to: the costs of an epoch, and the entries of summary.json that every family has."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynml.training.costs import peak_memory
from dynml.training.data.mixed_rates import mixed_rates_in_words
from dynml.training.run_state import RunState

TAKEN_WHILE_LEARNING = ("training_loss", "training_error_rate")
"""Values of an epoch in which the weights changed; HMM and DyNeMo choose by values of weights that stood still."""


def costs_of_epoch(run: RunState) -> dict[str, float]:
    """Seconds of each phase of the epoch that ends, which start anew, and throughput and memory."""
    phases = ("training", "validation", "loading", "saving")
    seconds = {phase: run.progress.seconds.pop(f"{phase}_of_epoch", 0.0) for phase in phases}
    return {
        **{f"{phase}_seconds": value for phase, value in seconds.items()},
        "training_samples_per_second": run.n_samples_of_all() / max(seconds["training"], 1e-9),
        **peak_memory(run.device),
    }


def summary_of(run: RunState, reason: str, report: dict[str, Any]) -> dict[str, Any]:
    """Entries of summary.json; those of the family's report come last and win."""
    progress, best = run.progress, run.best
    kept = run.kept_in_words()
    choice = [] if kept else _choice_in_words(run)
    rates = run.history.column("training_samples_per_second")
    return {
        "family": run.parameters.get("family"),
        "stopping_reason": reason,
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": best.best_epoch,
        "monitored": run.monitored_name(),
        "best_value": best.best_value,
        "loss": run.loss_name,
        "n_skipped_batches": progress.n_skipped,
        "split": run.dataset.split,
        "seconds": {name: value for name, value in progress.seconds.items() if not name.endswith("_of_epoch")},
        "processes": run.processes.world_size,
        "training_samples_per_second": float(np.median(rates)) if len(rates) else None,
        **peak_memory(run.device),
        "model": "best",
        **({} if kept is None else {"kept": kept}),
        **report,
        **_with_findings(report, [*choice, *_cap_in_words(run), *_rates_in_words(run)]),
    }


def _with_findings(report: dict[str, Any], further: list[str]) -> dict[str, list[str]]:
    return {"findings": [*report.get("findings", []), *further]} if further else {}


def _rates_in_words(run: RunState) -> list[str]:
    return mixed_rates_in_words(run.model, run.dataset)


def _choice_in_words(run: RunState) -> list[str]:
    """Say what the best epoch was chosen by, where that is a loss taken while the weights changed."""
    epoch, name = run.best.best_epoch, run.monitored_name()
    values = run.history.column(name)
    # A family or a hook of the user's own may have chosen by another value.
    if name not in TAKEN_WHILE_LEARNING or epoch is None or run.best.best_value != values[epoch - 1]:
        return []
    return [
        f"There are no validation subjects, so that the best epoch, {epoch} of {len(values)}, is that of the lowest "
        f"{name.replace('_', ' ')} ({values[epoch - 1]:.6g}): a mean over an epoch in which the weights changed, which "
        "is not a score of the saved weights, and none on new data."
    ]


def _cap_in_words(run: RunState) -> list[str]:
    """Say how many of the validation batches the epochs were validated on, where that is not all of them."""
    if run.batch_sampler.config.max_validation_batches is None or not run.dataset.validation_set.n_subjects:
        return []
    run.batch_sampler.set_context("validation")
    taken = run.batch_sampler.report()
    if not taken.n_batches_left_out:
        return []
    return [
        f"Validation losses of epochs are of {taken.n_batches} of {taken.n_batches + taken.n_batches_left_out} "
        f"validation batches ({taken.n_samples - taken.n_samples_left_out} of {taken.n_samples} samples), the same "
        "ones in every epoch (sampler.max_validation_batches)."
    ]
