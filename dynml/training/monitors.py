"""What a run remembers of itself: epoch means, the best epoch, and the logs on disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynml.files import made_folder, replacing, write_array


class EpochMonitor:
    """Weighted mean of a value over the batches of one epoch, in float64, without waiting for the device.

    Values are added on the device where they are; only `mean` reads them back.
    """

    def __init__(self) -> None:
        self.weighted_sum: torch.Tensor | float = 0.0
        self._weight: torch.Tensor | float = 0.0

    def add(
        self, value: torch.Tensor | float, weight: torch.Tensor | float, usable: torch.Tensor | None = None
    ) -> None:
        """Add one batch's mean `value` over `weight` samples.

        Parameters
        ----------
        value : Tensor, () or float
        weight : Tensor, () or float
            0: the value does not count, whatever it is.
        usable : Tensor, (), bool, optional
            False: it does not count either, as is known on the device alone.
        """
        value, weight = _in_float64(value), _in_float64(weight)
        weighted = value * weight
        if isinstance(weight, torch.Tensor):
            usable = weight > 0 if usable is None else usable & (weight > 0)
        self.weighted_sum = self.weighted_sum + _or_nothing(weighted, usable)
        self._weight = self._weight + _or_nothing(weight, usable)

    @property
    def weight(self) -> float:
        """Samples so far."""
        return float(self._weight)

    @property
    def mean(self) -> float:
        """Mean so far; NaN before the first value."""
        weight = self.weight
        return float(self.weighted_sum) / weight if weight else math.nan

    def state_dict(self) -> dict[str, float]:
        """Plain values from which the sum goes on exactly."""
        return {"weighted_sum": float(self.weighted_sum), "weight": self.weight}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from `state_dict`."""
        self.weighted_sum, self._weight = state["weighted_sum"], state["weight"]

    def add_sums(self, state: Mapping[str, float]) -> None:
        """Add the sums of another monitor, as its `state_dict` has them."""
        self.weighted_sum = self.weighted_sum + state["weighted_sum"]
        self._weight = self._weight + state["weight"]


def _in_float64(value: torch.Tensor | float) -> torch.Tensor | float:
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().double() if value.device.type != "mps" else value.detach()


def _or_nothing(value: torch.Tensor | float, usable: torch.Tensor | None) -> torch.Tensor | float:
    if usable is None:
        return value
    return torch.where(usable, value, 0.0) if isinstance(value, torch.Tensor) else value * usable.double()


def summed_monitors(states: Sequence[Mapping[str, dict[str, float]]]) -> dict[str, EpochMonitor]:
    """Sum the monitors of several processes, name by name, in the order of the processes."""
    total: dict[str, EpochMonitor] = {}
    for states_of_process in states:
        for name, state in states_of_process.items():
            total.setdefault(name, EpochMonitor()).add_sums(state)
    return total


class BestMonitor:
    """Which epoch was the best by a monitored value (lower is better), and since when there is no improvement.

    Parameters
    ----------
    delta : float
        An improvement is a fall by more than this. A value that is not finite never is one.
    """

    def __init__(self, delta: float = 0.0) -> None:
        self.delta = delta
        self.forget()

    def forget(self) -> None:
        """Begin anew, with no best epoch yet."""
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self.n_epochs_without_improvement = 0

    def update(self, value: float, epoch: int) -> bool:
        """Take the value of `epoch` (from 1); True when it is the best so far."""
        if math.isfinite(value) and (self.best_value is None or value < self.best_value - self.delta):
            self.best_value, self.best_epoch, self.n_epochs_without_improvement = value, epoch, 0
            return True
        self.n_epochs_without_improvement += 1
        return False

    def take(self, value: float, epoch: int) -> bool:
        """Take `epoch` as the best one whatever its value, as long as that is finite."""
        if math.isfinite(value):
            self.best_value = None
        return self.update(value, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "n_epochs_without_improvement": self.n_epochs_without_improvement,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.best_value, self.best_epoch = state["best_value"], state["best_epoch"]
        self.n_epochs_without_improvement = state["n_epochs_without_improvement"]


class History:
    """One row of metrics an epoch, kept in memory, in the checkpoint and as plain files."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def append(self, row: dict[str, float]) -> None:
        """Add the metrics of one finished epoch."""
        self.rows.append(dict(row))

    def column(self, name: str) -> np.ndarray:
        """Values of one metric over the epochs; NaN where an epoch has none."""
        return np.array([row.get(name, math.nan) for row in self.rows], dtype=np.float64)

    @property
    def names(self) -> list[str]:
        """Names of all metrics, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def save(self, folder: Path) -> None:
        """Write `<metric>_per_epoch.npy` and `metrics.csv`, each file whole or not at all."""
        made_folder(folder)
        names = self.names
        for name in names:
            write_array(folder / f"{name}_per_epoch.npy", self.column(name))
        path = folder / "metrics.csv"
        with replacing(path, durable=False) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["epoch", *names])
            for epoch, row in enumerate(self.rows, start=1):
                writer.writerow([epoch, *(row.get(name, "") for name in names)])

    def state_dict(self) -> dict[str, Any]:
        """Tensors for a checkpoint: a table of float64, and where it holds a value."""
        names = self.names
        present = torch.tensor([[name in row for name in names] for row in self.rows], dtype=torch.bool)
        values = np.array([[row.get(name, math.nan) for name in names] for row in self.rows], dtype=np.float64)
        return {"names": names, "values": torch.from_numpy(values), "present": present}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        table = zip(state["values"].tolist(), state["present"].tolist())
        self.rows = [
            {name: value for name, value, is_there in zip(state["names"], values, here) if is_there}
            for values, here in table
        ]
