"""The fits of a chain of steps, as a store keeps them: named by their position in the chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dynml.errors import DataError
from dynml.fits import Fit
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.preparation.step import PreparationStep
from dynml.store.fits import StoredFit


def fits_of(steps: Sequence[PreparationStep]) -> dict[str, StoredFit]:
    """What a chain has learnt, under the names that a store gives it."""
    return {
        f"{position:02d}_{step.name}": StoredFit(step=step.name, parameters=step.parameters(), fit=step.learnt)
        for position, step in enumerate(steps)
        if isinstance(step, FittedStep)
    }


def with_fits(steps: Sequence[PreparationStep], fits: Mapping[str, Fit], where: str) -> list[PreparationStep]:
    """Give a chain the fits of another one that has the same steps.

    Parameters
    ----------
    steps : sequence of PreparationStep
    fits : mapping
        Name, as a store has it, to what was learnt.
    where : str
        Whose they are, for the message.

    Raises
    ------
    DataError
        When there is no fit of a step.
    """
    bound = list(steps)
    for position, step in enumerate(steps):
        if isinstance(step, FittedStep):
            name = f"{position:02d}_{step.name}"
            if name not in fits:
                raise DataError(f"{where} holds no fit {name}.")
            bound[position] = dataclasses.replace(step, fit=fits[name])
    return bound
