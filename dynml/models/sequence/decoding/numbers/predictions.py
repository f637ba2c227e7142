"""What a decoder of numbers says of every trial of a subset, each exactly once.

Shapes: n trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynml.models.sequence.decoding.evaluation import logits_of
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.numbers.values import Floats, values_of
from dynml.models.sequence.decoding.targets import Trials
from dynml.ops.metrics import r_squared


@dataclass(frozen=True)
class NumberPredictions:
    """Trials with the numbers that are predicted for them."""

    trials: Trials
    predicted: Floats
    """(n,), in the target's own units."""

    @property
    def truth(self) -> Floats:
        """Number of each trial, (n,)."""
        return values_of(self.trials)

    @property
    def r_squared(self) -> float | None:
        """1 - squared error / squared deviation from the mean of these trials; None where they are all alike."""
        return r_squared(self.truth, self.predicted)


def predicted_numbers(model: Decoding, trials: Trials) -> NumberPredictions:
    """Numbers of every trial; the model is left in evaluation mode."""
    assert model.config.value_moments is not None
    mean, scale = model.config.value_moments
    parts = [np.zeros((0, 1)), *(logits.cpu().numpy() for logits in logits_of(model, trials))]
    return NumberPredictions(trials, mean + scale * np.concatenate(parts)[:, 0])
