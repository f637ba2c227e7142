"""The same model fitted anew to other data: with the settings of the experiment, in a folder that is thrown away."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.checks.stretches import SubjectStretches, dataset_of
from dynml.configuration import config_from
from dynml.errors import CheckpointError
from dynml.models.build import trainer_of
from dynml.models.experiment import Experiment
from dynml.models.inferred import inferred_subjects
from dynml.models.registry import Family
from dynml.training.environment import resolve_device

MIXTURE = "gaussian_mixture"


@dataclass(frozen=True)
class Refitted:
    """A model that was fitted to other data."""

    model: Any
    gain: float | None
    """By how much its free energy is lower than that of a Gaussian mixture, nats per sample of what it was fitted to;
    None for a family that is not set against one."""


def check_can_be_refitted(experiment: Experiment) -> None:
    """Refuse families without states or modes over time.

    Raises
    ------
    CheckpointError
        Names the family.
    """
    if experiment.family.inference is None:
        raise CheckpointError(
            f"{experiment.name} is of the family {experiment.family.name}, but only families with states or modes over "
            "time can be checked, such as hmm and dynemo."
        )


def refitted(experiment: Experiment, subjects: Sequence[SubjectStretches], device: str) -> Refitted:
    """Fit the experiment's family to stretches, by its own settings and starts."""
    family, parameters = experiment.family, experiment.parameters
    configs = {
        group: config_from(kind, parameters[group], group)
        for group, kind in family.config_classes().items()
        if parameters.get(group) is not None
    }
    configs["trainer"] = dataclasses.replace(configs["trainer"], device=device, max_time=None)
    with tempfile.TemporaryDirectory(prefix="dynml_check_") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dataset_of(subjects, resolve_device(device))
        trainer = trainer_of(family, dataset, configs, (folder, "refitted"), progress=False)
        summary = trainer.train_and_validate()
        if trainer.interruption.exit_status:  # a signal ends the checks, not only this fit
            raise SystemExit(trainer.interruption.exit_status)
    own, mixture = (summary.get("free_energy") or {}), (summary.get("baselines") or {}).get(MIXTURE) or {}
    known = own.get("training") is not None and mixture.get("training") is not None
    return Refitted(trainer.model.eval(), mixture["training"] - own["training"] if known else None)


def alphas_of(family: Family, model: Any, subjects: Sequence[SubjectStretches]) -> list[NDArray[np.float64]]:
    """What a model says of each subject's stretches, one after another, (T, K), NaN where it says nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subset = dataset_of(subjects).training_set
    return [one.alpha.astype(np.float64) for one in inferred_subjects(family, model, subset)]
