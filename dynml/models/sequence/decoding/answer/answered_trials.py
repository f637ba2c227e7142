"""What the linear answer says of training trials that it has not seen, found again for the trials of a batch.

Shapes: n trials, B trials of a batch, K classes, M networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.models.sequence.decoding.answer.choice import Floats
from dynml.models.sequence.decoding.targets import Trials


@dataclass(frozen=True)
class AnsweredTrials:
    """Logits and folds by subject and position.

    Windows of a recording that move from epoch to epoch have those of the unmoved window whose middle is nearest.
    """

    subject: NDArray[np.int64]
    middle: NDArray[np.int64]
    """Of each trial, twice, in rows of its subject."""

    logits_NK: Tensor
    fold_N: Tensor

    @classmethod
    def of(cls, trials: Trials, logits: Floats, fold: NDArray[np.int64], device: torch.device) -> AnsweredTrials:
        """Keep what is known of trials."""
        spans = trials.spans
        middle = np.asarray(spans.start + spans.stop, dtype=np.int64)
        subject = np.asarray(spans.subject, dtype=np.int64)
        return cls(subject, middle, torch.from_numpy(logits).float().to(device), torch.from_numpy(fold).to(device))

    def logits_of(self, batch: Batch) -> Tensor:
        """Logits of the trials of a batch, (B, K)."""
        return self.logits_NK[self._rows(batch)]

    def fold_of(self, batch: Batch) -> Tensor:
        """Fold of each trial of a batch, (B,)."""
        return self.fold_N[self._rows(batch)]

    def left_out(self, n_networks: int) -> Tensor:
        """Number of the fold that each of several networks does not learn from, (M,); -2 where there are no folds."""
        n_folds = int(self.fold_N.max()) + 1
        numbers = torch.arange(n_networks, device=self.fold_N.device)
        return numbers % n_folds if n_folds else torch.full_like(numbers, -2)

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {
            "subject": torch.from_numpy(self.subject),
            "middle": torch.from_numpy(self.middle),
            "logits_NK": self.logits_NK.cpu(),
            "fold_N": self.fold_N.cpu(),
        }

    @classmethod
    def of_state(cls, state: dict[str, Any], device: torch.device) -> AnsweredTrials:
        """Go on from `state`."""
        own = state["subject"].numpy(), state["middle"].numpy()
        return cls(*own, state["logits_NK"].to(device), state["fold_N"].to(device))

    def _rows(self, batch: Batch) -> Tensor:
        rows = []
        for subject, _, start, stop in batch.sampled.columns[:4].T.tolist():
            of_subject = np.flatnonzero(self.subject == subject)
            # A subject without any has trials of labels alone that are no classes, which do not count.
            distances = np.abs(self.middle[of_subject] - start - stop)
            rows.append(int(of_subject[distances.argmin()]) if len(of_subject) else 0)
        return torch.tensor(rows, device=self.logits_NK.device)
