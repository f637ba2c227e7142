"""A baseline for each set of channels that recordings have, so that none is fitted to channels which are not there.

Shapes: B windows, T samples, C channels of all montages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dynml.models.sequence.baselines.baseline import Baseline, TrainingMoments
from dynml.models.sequence.objectives.tasks import Task


class ByMontage(Baseline):
    """Baselines of one kind, each of which predicts the windows of its own montage; 0 in channels that are not there.

    Parameters
    ----------
    baselines : sequence of Baseline
        One for each montage.
    columns : sequence of list of int
        Numbers of the channels of each montage.
    """

    def __init__(self, baselines: Sequence[Baseline], columns: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.baselines = nn.ModuleList(baselines)
        self._columns = [list(own) for own in columns]
        self._taken: Baseline | None = None

    def fit(self, moments: TrainingMoments) -> None:
        """Fit each to the subjects of its montage."""
        for number, baseline in enumerate(self._own()):
            baseline.fit(moments.of_montage(number))

    def take(self, columns: Sequence[int]) -> tuple[list[int], int]:
        """Go on with the baseline that knows most channels of a recording.

        Parameters
        ----------
        columns : sequence of int
            Number of each of its channels among those of all montages; -1: it is none of them.

        Returns
        -------
        columns : list of int
            The same among the channels of that baseline.
        n_channels : int
            Of that baseline.
        """
        own = [{column: number for number, column in enumerate(montage)} for montage in self._columns]
        # Of those that know as many, the one with the fewest others.
        best = max(range(len(own)), key=lambda one: (len(own[one].keys() & set(columns)), -len(own[one])))
        self._taken = self._own()[best]
        return [own[best].get(column, -1) for column in columns], len(own[best])

    @property
    def mean_C(self) -> Tensor:
        """Mean of the channels of the baseline that was taken."""
        assert self._taken is not None
        mean_C: Tensor = self._taken.mean_C  # type: ignore[assignment]
        return mean_C

    def _own(self) -> list[Baseline]:
        return list(self.baselines)  # type: ignore[arg-type]

    def _predicted(self, task: Task) -> Tensor:
        if self._taken is not None:
            return self._taken._predicted(task)
        return self._by_montage(task, lambda baseline: baseline._predicted)

    def _without_gradient(self, task: Task) -> Tensor:
        if self._taken is not None:
            return self._taken._without_gradient(task)
        return self._by_montage(task, lambda baseline: baseline._without_gradient)

    def _by_montage(self, task: Task, predicting: Callable[[Baseline], Callable[[Task], Tensor]]) -> Tensor:
        on_host, signals_BTC = task.windows.montages_on_host, task.windows.signals_BTC
        assert on_host is not None, "windows of a dataset of several montages say which they are of"
        found_BTC = torch.zeros_like(signals_BTC)
        for number in sorted(set(on_host)):
            listed = [row for row, montage in enumerate(on_host) if montage == number]
            rows, columns = (torch.tensor(one, device=signals_BTC.device) for one in (listed, self._columns[number]))
            predicted = predicting(self._own()[number])(_part(task, rows, listed, columns))
            of_windows = found_BTC.new_zeros(len(listed), *found_BTC.shape[1:])
            found_BTC = found_BTC.index_copy(0, rows, of_windows.index_copy(2, columns, predicted.to(found_BTC.dtype)))
        return found_BTC


def _part(task: Task, rows: Tensor, listed: Sequence[int], columns: Tensor) -> Task:
    """The task of some windows in the channels of their montage."""
    windows = task.windows.chosen(rows, listed)
    windows = dataclasses.replace(
        windows, signals_BTC=windows.signals_BTC[..., columns], present_BC=None, montages_on_host=None
    )
    n_windows, n_hidden = len(task.windows.signals_BTC), task.n_hidden_networks
    # Where channels are shown together, all that are there are scored, and one stands for them.
    own = columns if task.visible.shape[2] > 1 else columns[:1]

    def of_part(marked: Tensor) -> Tensor:
        of_all = marked.expand(n_windows, -1, -1)[rows]
        return of_all if of_all.shape[2] == 1 else of_all[..., own]

    return dataclasses.replace(
        task,
        windows=windows,
        visible=of_part(task.visible),
        scored=of_part(task.scored),
        n_hidden_networks=None if n_hidden is None else min(n_hidden, len(columns)),
    )
