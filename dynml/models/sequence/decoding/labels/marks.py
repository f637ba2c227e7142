"""Which labels trials have, where each may have several.

Shapes: n trials, K labels.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import DataError, DataWarning
from dynml.models.sequence.decoding.config import DecodingConfig
from dynml.models.sequence.decoding.labels.alike import alike_labels
from dynml.models.sequence.decoding.targets import Target, Trials
from dynml.recording import BETWEEN_LABELS, plain_label
from dynml.store.layout import SUBSET_NAMES, natural_order

Floats = NDArray[np.float64]
N_NAMED = 5
FEW_TRIALS = 2
LEAST_TRIALS = 3
"""Training trials: fewer have no held-out ones."""


def labels_in(text: str) -> frozenset[str]:
    """Labels of a value: `face; house` has two, `;` none."""
    return frozenset(map(plain_label, text.split(BETWEEN_LABELS))) - {""}


def marks_of_names(names: Sequence[str], labels: Sequence[str]) -> Floats:
    """1 where a value has a label, else 0, (number of values, K)."""
    plain = list(map(plain_label, labels))
    rows = [[float(label in found) for label in plain] for found in map(labels_in, names)]
    return np.array(rows, dtype=np.float64).reshape(len(names), len(labels))


def marks_of(trials: Trials, labels: Sequence[str]) -> Floats:
    """1 where a trial has a label, else 0, (n, K)."""
    return marks_of_names(trials.names, labels)[trials.truth]


def with_labels(config: DecodingConfig, target: Target, sampler: BatchSamplerConfig) -> DecodingConfig:
    """Settle what follows from the labels: those that some training trials have and others not, and the longest trial.

    Raises
    ------
    DataError
        When training trials are too few, or no label tells them apart.

    Warns
    -----
    DataWarning
        When a label is of all training trials, of a single one, or of trials of other subsets alone.
    """
    found = target.of_subsets(sampler)
    everything = sorted({label for name in target.label_names for label in labels_in(name)}, key=natural_order)
    counts = {name: marks_of(trials, everything).sum(axis=0).astype(int) for name, trials in found.items()}
    own, n_trials = counts["training"], len(found["training"])
    labels = [label for label, count in zip(everything, own.tolist()) if 0 < count < n_trials]
    if n_trials < LEAST_TRIALS or not labels:
        there = f"{n_trials} trials" if n_trials < LEAST_TRIALS else "no label that some have and others have not"
        raise DataError(f"The training trials have {there} in {target.column}: there is nothing to tell apart.")
    _tell_of_labels(everything, counts, n_trials)
    return dataclasses.replace(
        config,
        class_names=labels,
        class_counts=[int(count) for label, count in zip(everything, own) if label in labels],
        n_training_trials=n_trials,
        trial_length=max(int(trials.spans.lengths.max(initial=1)) for trials in found.values()),
    )


def _tell_of_labels(labels: Sequence[str], counts: dict[str, NDArray[np.int64]], n_trials: int) -> None:
    own = counts["training"]
    others = sum(counts[name] for name in SUBSET_NAMES[1:])
    topics = {
        "all training trials have {}, which cannot be told from anything": own == n_trials,
        "a single training trial has {}, which tells nothing": (own < FEW_TRIALS) & (own > 0),
        "no training trial has {}, which are left out of the scores": (own == 0) & (others > 0),
    }
    faults = alike_labels(labels)
    for sentence, concerned in topics.items():
        named = [label for label, is_one in zip(labels, concerned) if is_one]
        if named:
            shown = ", ".join(named[:N_NAMED]) + (" .." if len(named) > N_NAMED else "")
            faults.append(sentence.format(shown))
    if faults:
        sentence = "; ".join(faults)
        warnings.warn(f"{sentence[0].upper()}{sentence[1:]}.", DataWarning, stacklevel=5)
