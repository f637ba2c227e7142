"""The linear answer that knows no states, as a baseline of the one that does.

Shapes: n trials, K classes or labels (1 for numbers).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.models.sequence.decoding.answer.choice import Floats
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer
from dynml.models.sequence.decoding.baselines import FittedBaseline, Regression
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.labels.baselines import LabelBaseline
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.numbers.baselines import NumberBaseline
from dynml.models.sequence.decoding.targets import Trials

WITHOUT_STATES = "without_states"


class _Largest:
    """Classes of the largest logits."""

    def predict(self, logits: Floats) -> NDArray[np.int64]:
        """(n,) of (n, K)."""
        return logits.argmax(axis=1)


def answer_without_states(model: Decoding) -> dict[str, Any]:
    """By its name, a baseline of the kind that the target has; none where the answer reads no states."""
    config, answer = model.config, model.answer
    if answer is None or answer.states is None:
        return {}
    features = functools.partial(_logits, answer)
    if config.tells_numbers:
        assert config.value_moments is not None
        mean, scale = config.value_moments
        return {WITHOUT_STATES: NumberBaseline(WITHOUT_STATES, mean, features, np.full(1, scale), np.zeros(1))}
    n_classes = config.n_classes
    if config.tells_labels:
        as_they_are = Regression(features, np.eye(n_classes), np.zeros(n_classes), {})
        labels = tuple(config.class_names or ())
        return {WITHOUT_STATES: LabelBaseline(WITHOUT_STATES, labels, np.zeros(n_classes), as_they_are)}
    return {WITHOUT_STATES: FittedBaseline(WITHOUT_STATES, features, _Largest())}


def _logits(answer: LinearAnswer, trials: Trials) -> Floats:
    """(n, K)."""
    windows = windows_of_trials(trials, torch.device("cpu"))
    with torch.no_grad():
        said = [answer.logits(one, answer.without_states_FK).double().numpy() for one in windows]
    return np.concatenate([np.zeros((0, len(answer.bias_K))), *said])
