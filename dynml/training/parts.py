"""What a trainer is made of: refused where it does not fit together, and described for parameters.json."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.configuration import check_instance, config_to_dictionary
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.store.participants_table import names_of_one
from dynml.training.config import RunConfig
from dynml.training.data.mixed_rates import mixed_rates_in_words
from dynml.training.environment import describe_environment
from dynml.training.processes import Processes
from dynml.training.run_state import RunState


def check_parts(trainer: type[RunState], model: Any, sampler: Any, loader: Any, config: Any, loggers: Any) -> None:
    """Refuse parts of the wrong type, or in the wrong order, and parts that do not belong together.

    Raises
    ------
    ConfigurationError
        Names the part and what is accepted.
    """
    kind = trainer.model_class
    check_instance("model", model, kind, f"a {kind.__name__}, as {trainer.__name__} trains it")
    check_instance("batch_sampler", sampler, BatchSampler, "a BatchSampler, which stands before the BatchLoader")
    check_instance("batch_loader", loader, BatchLoader, "a BatchLoader, which stands after the BatchSampler")
    if config is not None:
        check_instance("config", config, RunConfig, f"a {trainer.config_class.__name__}")
    if isinstance(loggers, str):
        raise ConfigurationError("loggers", loggers, "a list of loggers")
    if sampler.dataset is not loader.dataset and sampler.dataset.fingerprint != loader.dataset.fingerprint:
        raise ConfigurationError(
            "batch_loader", "made with another dataset than batch_sampler", "made with the same one"
        )
    n_channels, of_data = getattr(model, "n_channels", None), loader.dataset.n_channels
    if isinstance(n_channels, int) and n_channels != of_data:
        raise ConfigurationError("model.n_channels", n_channels, f"the data's ({of_data})")
    conditioning = loader.dataset.conditioning
    check_takes_conditioning(type(model), None if conditioning is None else conditioning.group)
    check_takes_further_groups(type(model), loader.dataset.config.further_groups)
    check_nobody_is_held_out_by_another_name(loader.dataset)
    for sentence in mixed_rates_in_words(model, loader.dataset):
        warnings.warn(sentence, DataWarning, stacklevel=4)


def check_nobody_is_held_out_by_another_name(dataset: MultiSubjectDataset) -> None:
    """Refuse to train on a person who is held out under another name, as `001` and `sub-001`.

    Raises
    ------
    DataError
        With both names and their subsets.
    """
    if dataset.split == "runs":
        return
    subsets = {"training": dataset.training_set, "validation": dataset.validation_set, "testing": dataset.testing_set}
    home = {name: subset for subset, members in subsets.items() for name in members.participants}
    for names in names_of_one(home):
        if len({home[name] for name in names}) > 1:
            where = " and ".join(f"{name} ({home[name]})" for name in names)
            raise DataError(
                f"{dataset.signal_source.path or 'The arrays'}: one participant is in two subsets under two names, "
                f"{where}, so that a score would not be about new people; give each one name (the key participants of "
                "a store's config)."
            )


def check_takes_further_groups(model_class: type[Any], groups: Sequence[str] | None) -> None:
    """Refuse several groups for a model that would take channels which are not there for signals.

    Raises
    ------
    ConfigurationError
        When there are several.
    """
    if groups and not getattr(model_class, "takes_montages", False):
        families = "csm, sequence_bert, network_bert and autoencoder"
        accepted = f"null for {model_class.__name__}: the families {families} learn from several groups"
        raise ConfigurationError("dataset.further_groups", groups, accepted)


def check_takes_conditioning(model_class: type[Any], group: str | None) -> None:
    """Refuse a second group for a model that would take its channels for signals.

    Raises
    ------
    ConfigurationError
        When there is one.
    """
    if group is not None and not getattr(model_class, "takes_conditioning", False):
        accepted = f"absent for {model_class.__name__}: the families csm and decoding take a second group"
        raise ConfigurationError("dataset.conditioning_group", group, accepted)


def check_own_model(model: torch.nn.Module, dataset: MultiSubjectDataset, *, own_step: bool) -> None:
    """Refuse a model of a user's own that does not say what its loss is, or that it knows masked samples.

    Parameters
    ----------
    model : torch.nn.Module
    dataset : MultiSubjectDataset
    own_step : bool
        Whether its trainer computes the loss itself.

    Raises
    ------
    ConfigurationError
        Says what is missing.
    """
    kind = type(model).__name__
    if own_step and type(model).__module__.startswith("dynml."):
        return
    if not own_step and not callable(getattr(model, "compute_loss", None)):
        raise ConfigurationError("model", kind, "a module with compute_loss(outputs, batch)")
    n_masked = dataset.training_set.n_masked + dataset.validation_set.n_masked
    if n_masked and not getattr(model, "knows_masked_samples", False):
        raise ConfigurationError(
            "model",
            kind,
            f"one that knows masked samples, since {n_masked} samples of the data are masked (rows of NaN): leave "
            "those out by batch.observed and set knows_masked_samples = True in its class, or open the data with "
            '"missing": "segment"',
        )


def check_share(processes: Processes, dataset: MultiSubjectDataset) -> None:
    """Refuse a dataset that was not opened as this process's share."""
    own, given = (processes.rank, processes.world_size), (dataset.rank, dataset.world_size)
    if own != given:
        raise ConfigurationError(
            "dataset.rank, dataset.world_size", given, f"{own}: this process among those that train together"
        )


def parameters_of(run: RunState, sampler: BatchSampler, loader: BatchLoader, given: dict[str, Any]) -> dict[str, Any]:
    """Content of parameters.json: the settings of all parts, and sections that are given beside them."""
    settings, kind = getattr(run.model, "config", None), type(run.model)
    parameters = {
        "family": run.family_name or getattr(run.model, "family_name", None),
        "model": config_to_dictionary(settings) if dataclasses.is_dataclass(settings) else None,
        "environment": describe_environment(),
        "trainer": config_to_dictionary(run.config),
        "sampler": config_to_dictionary(sampler.config),
        "loader": config_to_dictionary(loader.config),
        "dataset": run.dataset.describe(),
        **given,
    }
    if parameters["family"] is None:
        parameters["model_class"] = f"{kind.__module__}:{kind.__qualname__}"
    return parameters
