"""What all baselines share, and what they ask of the training subset."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from dynml.models.sequence.baselines.stretches import predicted_by_stretch
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.linear_prediction import Halves


class TrainingMoments(Protocol):
    """Moments of the training subset; see `passes.TrainingPasses`, which finds them."""

    @property
    def mean_and_scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, two (C,) float64."""
        ...

    def neighbour_products(self) -> tuple[Tensor, Tensor]:
        """Sums over neighbouring samples of products, and of squares of the earlier one; two (C,), centred."""
        ...

    def longest_window(self, wanted: int) -> int:
        """Rows of the longest windows, up to `wanted`, that both halves of the data have."""
        ...

    def halves(self, window_length: int) -> Halves:
        """Second moments of windows of standardized rows, one half of the data apart from the other."""
        ...

    def drawn_windows(self, window_length: int, n_most: int) -> Tensor:
        """Windows from evenly drawn positions, (n, T, C); NaN in padding and at masked samples."""
        ...

    def of_montage(self, number: int) -> TrainingMoments:
        """Moments of the subjects and channels of one montage, where there are several."""
        ...


class Baseline(nn.Module):
    """Something that a sequence model must beat: buffers, no parameters, and a prediction of every task.

    The shapes of the buffers follow from the constructor's arguments, so a state can be loaded into a new one.
    """

    name: ClassVar[str]

    def fit(self, moments: TrainingMoments) -> None:
        """Set the buffers from the training subset. The default does nothing: there is nothing to fit."""

    def predict(self, task: Task) -> Tensor:
        """Predict what a task scores, (B, T, C) float32, looking at nothing but what it shows.

        What is predicted where nothing is scored may be anything finite. No gradient, no autocast.
        """
        if torch.compiler.is_compiling():  # the compiler, which takes seconds to import, is asked only then
            return torch.compiler.disable(self._without_gradient)(task)  # type: ignore[no-any-return]
        return self._without_gradient(task)

    def _without_gradient(self, task: Task) -> Tensor:
        with torch.no_grad(), torch.autocast(task.windows.device.type, enabled=False):
            if task.causal and task.block > 1:
                return predicted_by_stretch(self._predicted, task)
            return self._predicted(task)

    def _predicted(self, task: Task) -> Tensor:
        raise NotImplementedError
