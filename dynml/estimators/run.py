"""From an estimator's parameters and a dataset to a trained experiment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dynml.configuration import config_from, nearest_name
from dynml.dataset.config import DatasetConfig
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.models.build import settled_trainer
from dynml.models.experiment import Experiment, load_experiment
from dynml.models.registry import Family, load
from dynml.training.environment import resolve_device

ORDER = ("model", "initialization", "trainer", "dataset", "sampler", "loader")


def configs_of(family: Family, parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the Config of every group.

    Parameters
    ----------
    family : Family
    parameters : mapping
        By the names of settings without their group; those that are none are not looked at.
    settings : mapping
        By dotted names, as on the command line.

    Raises
    ------
    ConfigurationError
        For unknown names in `settings`, and for values that a Config refuses.
    """
    classes: dict[str, Any] = {**family.config_classes(), "dataset": DatasetConfig}
    values: dict[str, dict[str, Any]] = {group: {} for group in classes}
    values["sampler"] |= family.sampler_defaults
    values["loader"] |= family.loader_defaults
    for name, value in parameters.items():
        group = next(
            (group for group in ORDER if group in classes and name in classes[group].__dataclass_fields__), None
        )
        if group is not None:
            values[group][name] = value
    for key, value in settings.items():
        group, _, name = key.partition(".")
        if group not in classes:
            accepted = f"a setting of a group, as trainer.max_epochs{nearest_name(group, classes)}"
            raise ConfigurationError(f"settings[{key!r}]", value, accepted)
        values[group][name] = value
    configs: dict[str, Any] = {group: config_from(kind, values[group], group) for group, kind in classes.items()}
    return configs if family.settle is None else load(family.settle)(configs)


def trained(
    family: Family, dataset: MultiSubjectDataset, configs: dict[str, Any], folder: str | Path | None
) -> tuple[Experiment, dict[str, Any]]:
    """Train, or go on with what the folder holds.

    Parameters
    ----------
    family : Family
    dataset : MultiSubjectDataset
        Loaded.
    configs : dict
        See `configs_of`.
    folder : path or None
        The experiment's; None: a temporary one, which is removed.

    Returns
    -------
    experiment : Experiment
    summary : dict
        Content of summary.json.

    Raises
    ------
    KeyboardInterrupt
        When a signal ended the training; where a folder was given, the next fit goes on from its checkpoint.
    """
    path = Path(tempfile.mkdtemp(prefix="dynml_")) / "experiment" if folder is None else Path(folder)
    try:
        with torch.random.fork_rng(devices=[]):  # a caller's own random numbers stay as they were
            trainer = settled_trainer(family, dataset, configs, (path.parent, path.name), resume="auto")
            summary = trainer.train_and_validate()
        if trainer.interruption.exit_status:
            raise KeyboardInterrupt
        experiment = load_experiment(path, device=str(resolve_device(configs["trainer"].device)))
        if folder is None:
            experiment.name = f"the fitted {family.name} model"  # its folder is nobody's
        return experiment, summary
    finally:
        if folder is None:
            shutil.rmtree(path.parent, ignore_errors=True)
