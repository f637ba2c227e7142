"""What a run comes to: the costs of an epoch, and the entries of summary.json that every family has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynml.training.checkpoints.saved_state import n_samples_of_all
from dynml.training.costs import peak_memory

if TYPE_CHECKING:
    from dynml.training.trainer import Trainer


def costs_of_epoch(trainer: Trainer) -> dict[str, float]:
    """Seconds of each phase of the epoch that ends, which start anew, and throughput and memory."""
    phases = ("training", "validation", "loading", "saving")
    seconds = {phase: trainer.progress.seconds.pop(f"{phase}_of_epoch", 0.0) for phase in phases}
    return {
        **{f"{phase}_seconds": value for phase, value in seconds.items()},
        "training_samples_per_second": n_samples_of_all(trainer) / max(seconds["training"], 1e-9),
        **peak_memory(trainer.device),
    }


def summary_of(trainer: Trainer, reason: str, report: dict[str, Any]) -> dict[str, Any]:
    """Entries of summary.json; those of the family's report come last and win."""
    progress, best = trainer.progress, trainer.best
    rates = trainer.history.column("training_samples_per_second")
    return {
        "family": trainer.parameters.get("family"),
        "stopping_reason": reason,
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": best.best_epoch,
        "monitored": trainer.monitored_name(),
        "best_value": best.best_value,
        "loss": trainer.loss_name,
        "n_skipped_batches": progress.n_skipped,
        "split": trainer.dataset.split,
        "seconds": {name: value for name, value in progress.seconds.items() if not name.endswith("_of_epoch")},
        "processes": trainer.processes.world_size,
        "training_samples_per_second": float(np.median(rates)) if len(rates) else None,
        **peak_memory(trainer.device),
        "model": "best",
        **report,
    }
