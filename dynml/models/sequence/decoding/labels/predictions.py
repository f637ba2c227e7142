"""What a decoder of several labels says of every trial of a subset, each exactly once.

Shapes: n trials, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynml.models.sequence.decoding.evaluation import logits_of
from dynml.models.sequence.decoding.labels.marks import Floats, marks_of
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials
from dynml.ops.metrics import macro_auc


@dataclass(frozen=True)
class LabelPredictions:
    """Trials with the probability of each label."""

    trials: Trials
    labels: tuple[str, ...]
    logits: Floats
    """(n, K)."""

    @property
    def marks(self) -> Floats:
        """1 where a trial has a label, else 0, (n, K)."""
        return marks_of(self.trials, self.labels)

    @property
    def probabilities(self) -> Floats:
        """(n, K)."""
        from scipy.special import expit

        found: Floats = expit(self.logits)
        return found

    @property
    def macro_auc(self) -> float | None:
        """Mean over labels of the area under the ROC curve; None where no label is of some trials and not of others."""
        return macro_auc(self.marks, self.logits)


def predicted_labels(model: Decoding, trials: Trials) -> LabelPredictions:
    """Logits of the labels of every trial; the model is left in evaluation mode."""
    parts = [np.zeros((0, model.config.n_classes)), *(logits.cpu().numpy() for logits in logits_of(model, trials))]
    return LabelPredictions(trials, tuple(model.config.class_names or ()), np.concatenate(parts))
