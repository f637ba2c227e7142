"""Numbers, durations and names as a page says them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

FAMILIES = {
    "hmm": "hidden Markov model",
    "dynemo": "DyNeMo",
    "csm": "causal sequence model",
    "sequence_bert": "Sequence-BERT",
    "network_bert": "Network-BERT",
    "autoencoder": "recurrent autoencoder",
    "decoding": "decoder",
}
SQUARED_ERROR = "squared_error"
LOSSES = {
    "free_energy": ("free energy", "nats per sample"),
    "l1": ("mean absolute error", ""),
    "l2": ("mean squared error", ""),
    "huber": ("Huber's loss", ""),
    "cross_entropy": ("accuracy", ""),
    "binary_cross_entropy": ("mean area under the ROC curve", ""),
    SQUARED_ERROR: ("R²", ""),
}
BASELINES = {
    "gaussian": "one Gaussian",
    "gaussian_mixture": "a mixture of Gaussians",
    "hmm": "a hidden Markov model",
    "zero": "always 0",
    "persistence": "the last sample",
    "ar1": "autoregression of each channel",
    "ridge_var": "ridge regression on the past",
    "interpolation": "interpolation",
    "ridge_both_sides": "ridge regression on both sides",
    "ridge_from_other_networks": "ridge regression on the other channels",
    "pca": "principal components",
    "mean": "always the mean of the training trials",
    "frequencies": "each label by its frequency",
    "majority": "always the most frequent class",
    "most_frequent_of_subset": "always these trials' most frequent class",
    "linear": "linear classifier",
    "functional_connectivity": "classifier of correlations",
    "without_states": "the same linear model without states",
}
BASELINES_OF_NUMBERS = {"linear": "linear regression", "functional_connectivity": "regression on correlations"}
STOPPING = {
    "converged": "because it had converged",
    "max_epochs": "at the largest number of epochs",
    "max_steps": "at the largest number of steps",
    "max_time": "at its time limit",
    "inner_folds": "after as many epochs as served left-out training trials best",
    "patience": "because validation no longer improved",
}
NOT_KNOWN = "–"


def counted(number: int, noun: str) -> str:
    """`1 recording`, `2 recordings`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = 6) -> str:
    """`a, b and c`; of more than `most`, the first and how many more."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else ""


def duration(seconds: float) -> str:
    """In the unit that suits its size: `0.8 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` decimals, fewer where it is large; a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_KNOWN
    size = abs(float(value))
    return f"{float(value):.{digits if size < 1000 else 1}f}"


def distinguishable(first: float, second: float) -> tuple[str, str]:
    """Two numbers with as many decimals, from 3 to 6, as it takes to see which is larger."""
    for digits in range(3, 6):
        if number(first, digits) != number(second, digits):
            return number(first, digits), number(second, digits)
    return number(first, 6), number(second, 6)


def difference(value: float) -> str:
    """A difference by its size, with as many decimals as two digits of it need."""
    size = abs(value)
    if size == 0 or not math.isfinite(size):
        return f"{value:g}"
    return f"{size:.{max(0, 1 - math.floor(math.log10(size)))}f}"


def percent(share: Any, digits: int = 1) -> str:
    """`12.3 %`, or a dash."""
    return NOT_KNOWN if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def baseline(name: str, loss: str | None = None) -> str:
    """A baseline's name in words; those of decoders of numbers, which minimize the squared error, are regressions."""
    of_numbers = BASELINES_OF_NUMBERS if loss == SQUARED_ERROR else {}
    return of_numbers.get(name) or BASELINES.get(name, name.replace("_", " "))


def loss(name: str | None) -> tuple[str, str]:
    """What a score is called, and its unit."""
    return LOSSES.get(str(name), (str(name or "loss").replace("_", " "), ""))
