"""The fits of a chain of steps, as a store keeps them: named by their position in the chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.preparation.step import PreparationStep
from dynml.store.fits import StoredFit, read_fit
from dynml.store.reading import Store


def fits_of(steps: Sequence[PreparationStep]) -> dict[str, StoredFit]:
    """What a chain has learnt, under the names that a store gives it."""
    return {
        f"{position:02d}_{step.name}": StoredFit(step=step.name, parameters=step.parameters(), fit=step.learnt)
        for position, step in enumerate(steps)
        if isinstance(step, FittedStep)
    }


def with_stored_fits(store: Store, group: str, steps: Sequence[PreparationStep]) -> list[PreparationStep]:
    """Give a chain the fits of a store that was made by the same chain.

    Raises
    ------
    DataError
        When the store has no such fit.
    DataCorruptionError
        When a fit cannot be read.
    """
    bound = list(steps)
    for position, step in enumerate(steps):
        if isinstance(step, FittedStep):
            name = f"{position:02d}_{step.name}"
            bound[position] = dataclasses.replace(step, fit=read_fit(store, group, name))
    return bound
