"""A linear path on recordings that lack some of its channels, or have others beside them.

Shapes: B windows, T samples, C channels that are there, L channels that the path was fitted to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.models.sequence.objectives.tasks import Task


@dataclass(frozen=True)
class OwnChannels:
    """Which of the channels that are there the linear path was fitted to."""

    column_C: Tensor
    """Number of each among the path's own, int64; -1: it is none of them."""

    n_own: int
    """L."""

    @classmethod
    def of(cls, columns: Sequence[int], n_own: int, device: torch.device) -> OwnChannels | None:
        """None where these are the path's own channels in their order."""
        if list(columns) == list(range(n_own)):
            return None
        return cls(torch.tensor(columns, device=device), n_own)

    @property
    def is_there_C(self) -> Tensor:
        """Which channels the path can predict, bool."""
        return self.column_C >= 0

    def predicted(self, predict: Callable[[Task], Tensor], task: Task, mean_L: Tensor) -> Tensor:
        """Predict the channels that are there, (B, T, C): those that are not stay at their mean, and are not shown.

        Parameters
        ----------
        predict : callable
            Of a task with all of the path's own channels.
        task : Task
        mean_L : Tensor
        """
        own = torch.nonzero(self.is_there_C)[:, 0]
        columns, signals_BTC = self.column_C[own], task.windows.signals_BTC
        signals_BTL = mean_L.to(signals_BTC.dtype).expand(*signals_BTC.shape[:2], self.n_own)
        signals_BTL = signals_BTL.index_copy(2, columns, signals_BTC.index_select(2, own))
        given = dataclasses.replace(
            task,
            windows=dataclasses.replace(task.windows, signals_BTC=signals_BTL),
            visible=self._spread(task.visible, own, columns),
            scored=self._spread(task.scored, own, columns),
            n_hidden_networks=None,
        )
        predicted_BTC: Tensor = predict(given).index_select(2, self.column_C.clamp(min=0))
        return predicted_BTC

    def _spread(self, marked: Tensor, own: Tensor, columns: Tensor) -> Tensor:
        """What holds of each channel that is there, for the path's own ones; False of the others."""
        if marked.shape[2] == 1:
            return marked
        spread = marked.new_zeros(*marked.shape[:2], self.n_own)
        return spread.index_copy(2, columns, marked.index_select(2, own))
