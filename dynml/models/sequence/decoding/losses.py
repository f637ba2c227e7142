"""What errors of a decoder cost: cross-entropy of classes or labels, or squared error of numbers.

Shapes: B trials of a batch, K classes (1 for numbers), L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dynml.models.sequence.decoding.targets import NO_CLASS


class TrialLoss(Protocol):
    """What a trainer asks of it; labels are codes of the target's column, -1 for none."""

    name: str

    def known(self, label_B: Tensor) -> Tensor:
        """Whether a trial's label can be scored, (B,) bool."""
        ...

    def of(self, logits_BK: Tensor, label_B: Tensor, *, in_training: bool) -> Tensor:
        """Loss of every trial, (B,); anything where a label is not known."""
        ...

    def metrics(self, logits_BK: Tensor, label_B: Tensor, known_B: Tensor) -> dict[str, Tensor | float]:
        """Further means over known trials."""
        ...


class ClassLoss:
    """weight(class) * cross-entropy; smoothed in training alone.

    Parameters
    ----------
    classes : (L + 1,) int64
        Class of each label, -1 for none; the last is that of no label.
    counts : sequence of K int, or None
        Training trials of each class, where all classes are to weigh the same.
    label_smoothing : float
    device : torch.device
    """

    name = "cross_entropy"

    def __init__(
        self,
        classes: NDArray[np.int64],
        counts: Sequence[int] | None,
        label_smoothing: float,
        device: torch.device,
    ) -> None:
        self._class_of_label, self._label_smoothing = torch.from_numpy(classes).to(device), label_smoothing
        self._weights_K: Tensor | None = None
        if counts is not None:
            known = np.asarray(counts, dtype=np.float64)
            self._weights_K = torch.from_numpy(known.sum() / (len(known) * known)).float().to(device)

    def known(self, label_B: Tensor) -> Tensor:
        """Whether a trial's class is one of the model's."""
        return self._class_of_label[label_B] != NO_CLASS

    def of(self, logits_BK: Tensor, label_B: Tensor, *, in_training: bool) -> Tensor:
        """Weighted cross-entropy."""
        return functional.cross_entropy(
            logits_BK.float(),
            self._class_of_label[label_B].clamp(min=0),
            weight=self._weights_K,
            reduction="none",
            label_smoothing=self._label_smoothing if in_training else 0.0,
        )

    def metrics(self, logits_BK: Tensor, label_B: Tensor, known_B: Tensor) -> dict[str, Tensor | float]:
        """Accuracy and its complement."""
        n_correct = ((logits_BK.argmax(dim=1) == self._class_of_label[label_B]) & known_B).sum()
        accuracy = n_correct / known_B.sum().clamp(min=1)
        return {"accuracy": accuracy, "error_rate": 1.0 - accuracy}


class NumberLoss:
    """Squared error, in variances of the training trials.

    Parameters
    ----------
    values : (L,) float64
        Number of each label, standardized.
    device : torch.device
    """

    name = "squared_error"

    def __init__(self, values: NDArray[np.float64], device: torch.device) -> None:
        self._value_of_label = torch.from_numpy(np.append(values, np.nan)).float().to(device)

    def known(self, label_B: Tensor) -> Tensor:
        """Whether a trial has a number."""
        return torch.isfinite(self._value_of_label[label_B])

    def of(self, logits_BK: Tensor, label_B: Tensor, *, in_training: bool) -> Tensor:
        """Squared error."""
        value_B = torch.nan_to_num(self._value_of_label[label_B])
        return (logits_BK[:, 0].float() - value_B).square()

    def metrics(self, logits_BK: Tensor, label_B: Tensor, known_B: Tensor) -> dict[str, Tensor | float]:
        """None: R^2 is no mean over trials."""
        return {}


class LabelLoss:
    """Cross-entropy of each label by itself, its mean over labels.

    Parameters
    ----------
    marks : (L, K) float64
        1 where a value of the column has a label, else 0.
    device : torch.device
    """

    name = "binary_cross_entropy"

    def __init__(self, marks: NDArray[np.float64], device: torch.device) -> None:
        none = np.zeros((1, marks.shape[1]))
        self._marks_LK = torch.from_numpy(np.concatenate([marks, none])).float().to(device)

    def known(self, label_B: Tensor) -> Tensor:
        """Whether it is known which labels a trial has."""
        return label_B >= 0

    def of(self, logits_BK: Tensor, label_B: Tensor, *, in_training: bool) -> Tensor:
        """Mean cross-entropy."""
        marks_BK = self._marks_LK[label_B]
        return functional.binary_cross_entropy_with_logits(logits_BK.float(), marks_BK, reduction="none").mean(dim=1)

    def metrics(self, logits_BK: Tensor, label_B: Tensor, known_B: Tensor) -> dict[str, Tensor | float]:
        """None: areas under curves are no means over trials."""
        return {}
