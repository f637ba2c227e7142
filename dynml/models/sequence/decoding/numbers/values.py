"""Numbers that trials have: what their labels say, read as numbers.

Shapes: n trials.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import ConfigurationError, DataError
from dynml.models.sequence.decoding.config import DecodingConfig
from dynml.models.sequence.decoding.numbers.written import number_of
from dynml.models.sequence.decoding.targets import Target, Trials

Floats = NDArray[np.float64]
N_NAMED = 3
LEAST_TRIALS = 3
"""Training trials: fewer have no held-out ones."""


def numbers_of(names: Sequence[str]) -> Floats:
    """Number of each label, NaN where it is none."""
    found = (number_of(name) for name in names)
    return np.array([math.nan if value is None else value for value in found], dtype=np.float64)


def values_of(trials: Trials) -> Floats:
    """Number of each trial, (n,)."""
    return numbers_of(trials.names)[trials.truth]


def with_numbers(config: DecodingConfig, target: Target, sampler: BatchSamplerConfig) -> DecodingConfig:
    """Settle what follows from the numbers: their mean and spread over training trials, and the longest trial.

    Raises
    ------
    ConfigurationError
        When a label is no number.
    DataError
        When training trials are too few, or all have the same number.
    """
    _check_names(target)
    found = target.of_subsets(sampler)
    values = values_of(found["training"])
    n_different = len(np.unique(values))
    if len(values) < LEAST_TRIALS or n_different < 2:
        there = f"{len(values)} trials" if n_different != 1 else f"one number only ({values[0]:g})"
        raise DataError(f"The training trials have {there} in {target.column}: there is nothing to predict.")
    longest = max(int(trials.spans.lengths.max(initial=1)) for trials in found.values())
    moments = [float(values.mean()), float(values.std())]
    return dataclasses.replace(config, class_names=[], class_counts=[], value_moments=moments, trial_length=longest)


def _check_names(target: Target) -> None:
    """Refuse labels that are no numbers: which of them were meant to count nobody can know."""
    others = [name for name in target.label_names if number_of(name) is None]
    if not others:
        return
    shown = ", ".join(repr(name) for name in others[:N_NAMED])
    accepted = (
        f"classes: of the {len(target.label_names)} values of {target.column} {len(others)} are not numbers with a "
        f"decimal point ({shown}{' ..' if len(others) > N_NAMED else ''}); a missing one is n/a"
    )
    raise ConfigurationError("model.target_values", "numbers", accepted)
