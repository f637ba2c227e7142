"""Says where signals are in units that networks do not learn from."""

from __future__ import annotations

import warnings

import torch

from dynml.errors import DataWarning
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.targets import Trials

LEAST_FACTOR = 1e3
"""From 1, of the typical standard deviation of what networks learn from: beyond that it is said."""


def tell_of_units(trials: Trials) -> None:
    """Warn of training trials whose signals are far from a standard deviation of 1.

    Parameters
    ----------
    trials : Trials
        Of training, of which some are looked at.
    """
    windows = next(windows_of_trials(trials, torch.device("cpu")), None)
    if windows is None:
        return
    samples_nC = windows.signals_BTC[windows.known_BT].double()
    typical = float(samples_nC.std(dim=0, correction=0).median()) if len(samples_nC) else 0.0
    if typical and not 1 / LEAST_FACTOR <= typical <= LEAST_FACTOR:
        warnings.warn(
            f"The training trials have a typical standard deviation of {typical:.2g}, but networks learn from signals "
            "near 1: standardize them, or give them in other units (the linear answer is the same in all units).",
            DataWarning,
            stacklevel=3,
        )
