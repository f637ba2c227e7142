"""Figures of a finished run for the loggers that show them: drawn from what the model and the history hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dynml.models.registry import Components

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures_of_run(trainer: Any, *, components: Components = "states") -> Mapping[str, Figure]:
    """Curves of the loss, and covariances (of the family's `components`) and transitions where the model has them."""
    from dynml.models.inferred import ModelWithArrays
    from dynml.plotting.curves import plot_free_energy
    from dynml.plotting.matrices import plot_covariances, plot_transition_probabilities

    history = trainer.history
    losses = {name.removesuffix("_loss"): history.column(name) for name in history.names if name.endswith("_loss")}
    label = trainer.loss_name.replace("_", " ").capitalize()
    # What folds of training trials have chosen is not the best by these curves.
    best = None if trainer.progress.stopping_reason == "inner_folds" else trainer.best.best_epoch
    figures = {"loss": plot_free_energy(losses, best_epoch=best, y_label=label)}
    arrays = trainer.model.arrays() if isinstance(trainer.model, ModelWithArrays) else {}
    if "covariances" in arrays:
        names = [str(name) for name in trainer.dataset.channel_names]
        kind = components.removesuffix("s").capitalize()
        labels = [f"{kind} {number}" for number in range(1, len(arrays["covariances"]) + 1)]
        figures["covariances"] = plot_covariances(arrays["covariances"], names, state_names=labels)
    if "transition_probabilities" in arrays:
        figures["transition_probabilities"] = plot_transition_probabilities(arrays["transition_probabilities"])
    return figures
