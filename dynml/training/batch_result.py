"""What one batch gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch

from dynml.errors import ConfigurationError


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

    @classmethod
    def of(cls, found: Any) -> BatchResult:
        """Take what a model's `compute_loss` gives.

        Raises
        ------
        ConfigurationError
            When it is not a loss of one number, and the number of samples that it is a mean of.
        """
        pair = found if isinstance(found, (tuple, list)) and len(found) == 2 else (None, None)
        loss, n = pair
        if not (isinstance(loss, torch.Tensor) and loss.numel() == 1 and isinstance(n, (Real, torch.Tensor))):
            shown = f"a loss of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(found).__name__
            accepted = "a pair: the mean loss, a tensor of one number, and how many samples it is a mean of"
            raise ConfigurationError("what compute_loss gives", shown, accepted)
        return cls(loss, n if isinstance(n, torch.Tensor) else float(n))
