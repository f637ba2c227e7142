"""How to make a run again: the command, with the settings that differ from their defaults, versions, fingerprints."""

from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Any

from dynml.dataset.config import DatasetConfig
from dynml.report.experiment import ReportedExperiment

SAY_NOTHING = {"trainer": ("progress", "profile", "device")}
"""Settings that have no part in the result."""
FILLED_IN = ("model.time_precision", "model.max_seconds")
"""Settings that data filled in, beside those that no help shows, in runs that do not note what was asked for."""
SET_BY_SEQUENCE_LENGTH = ("window_length", "strategy")
"""Settings of the sampler that a model with a sequence_length sets itself."""


def training_command(experiment: ReportedExperiment) -> str | None:
    """The command line that trains the same model; None for a run that was started in Python.

    Notes
    -----
    A run that was resumed with other settings has been through those that it began with, too: they stand in the
    parameters_<date>.json of its folder.
    """
    dataset, family = experiment.dataset, experiment.family
    if family is None or experiment.family_name is None or not dataset.get("hdf5_file"):
        return None
    words = ["dynml_train_model.py", experiment.family_name, str(experiment.path.parent), experiment.name]
    lines = [shlex.join([*words, str(dataset["hdf5_file"]), str(dataset["group"])])]
    stored = {"dataset": dataset.get("config") or {}} | {
        group: experiment.parameters.get(group) or {} for group in family.config_classes()
    }
    classes: dict[str, type[Any]] = {"dataset": DatasetConfig, **family.config_classes()}
    defaults = {"sampler": family.sampler_defaults, "loader": family.loader_defaults}
    asked = experiment.parameters.get("asked")
    filled_in = (*FILLED_IN, *family.unused_settings) if asked is None else ()
    for group, config_class in classes.items():
        usual = _defaults(config_class) | defaults.get(group, {})
        for name, value in (stored[group] | (asked or {}).get(group, {})).items():
            if name in SAY_NOTHING.get(group, ()) or f"{group}.{name}" in filled_in:
                continue
            if name in usual and usual[name] == value:
                continue
            if group == "sampler" and name in SET_BY_SEQUENCE_LENGTH and "sequence_length" in experiment.model:
                continue
            lines.append(shlex.join([f"--{group}.{_option(name)}", _written(value)]))
    if experiment.parameters.get("pretrained"):
        lines.append(shlex.join(["--pretrained", str(experiment.parameters["pretrained"])]))
    return " \\\n  ".join(lines)


def _defaults(config_class: type[Any]) -> dict[str, Any]:
    found = {}
    for one in dataclasses.fields(config_class):
        if one.default is not dataclasses.MISSING:
            found[one.name] = one.default
        elif one.default_factory is not dataclasses.MISSING:
            found[one.name] = one.default_factory()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _option(name: str) -> str:
    return "from" if name == "from_experiment" else name


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return json.dumps(value)


def versions(experiment: ReportedExperiment) -> dict[str, str]:
    """What the run was made with."""
    environment = experiment.parameters.get("environment") or {}
    return {name.replace("_", " "): str(value) for name, value in environment.items() if value is not None}


def fingerprints(experiment: ReportedExperiment) -> dict[str, str]:
    """What a colleague's run must share to come to the same numbers."""
    found: dict[str, Any] = {"data of the training, with its subsets": experiment.dataset.get("fingerprint")}
    for name, subset in (experiment.dataset.get("subsets") or {}).items():
        if subset and subset.get("n_subjects"):
            found[f"{name} recordings"] = subset.get("fingerprint")
    found["weights of the best model (SHA-256)"] = experiment.model_sha256
    return {name: str(value) for name, value in found.items() if value}
