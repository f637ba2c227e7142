"""What one batch gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class BatchResult:
    """What one batch gives: the mean loss over `n` samples, and further means to be logged.

    `n` may be a tensor on the device where it is known only there.
    """

    loss: torch.Tensor
    n: torch.Tensor | float
    metrics: dict[str, torch.Tensor | float] = field(default_factory=dict)
    usable: torch.Tensor | None = None
    """Set by the trainer: whether to learn from it, where that is known on the device alone."""
