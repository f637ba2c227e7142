"""From a family, its settings and a dataset to a trainer that is ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dynml.configuration import config_to_dictionary
from dynml.models.registry import Family, load, package_of_family

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset


def settled_trainer(
    family: Family,
    dataset: MultiSubjectDataset,
    configs: dict[str, Any],
    folder: tuple[str | Path, str],
    pretrained: str | None = None,
    *,
    asked: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    **settings: Any,
) -> Any:
    """As `trainer_of`, of what the family makes of dataset and settings; both are noted in the run's parameters.

    So is what was asked for where the family settled it otherwise; `asked` has that of the run that is gone on with,
    whose settings are settled.
    """
    given = _plain(configs)
    if family.dataset_of_run is not None:
        dataset = load(family.dataset_of_run)(configs, dataset, pretrained)
    if family.settle_with_data is not None:
        settle = load(family.settle_with_data)
        configs = family.given_back("settle_with_data", configs, settle(configs, dataset, pretrained))
    sections = _plain(configs)
    before = {
        group: {name: value for name, value in given[group].items() if value != settled[name]}
        | dict(asked.get(group, {}))
        for group, settled in sections.items()
    }
    before = {group: values for group, values in before.items() if values}
    settings["parameters"] = {"family": family.name, "pretrained": pretrained, "asked": before, **sections}
    if (package := package_of_family(family.name)) is not None:
        settings["parameters"]["family_package"] = package
    if pretrained is not None:
        settings["pretrained"] = pretrained
    return trainer_of(family, dataset, configs, folder, **settings)


def _plain(configs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {group: config_to_dictionary(config) for group, config in configs.items() if group != "dataset"}


def trainer_of(
    family: Family,
    dataset: MultiSubjectDataset,
    configs: dict[str, Any],
    folder: tuple[str | Path, str],
    **settings: Any,
) -> Any:
    """Make model, sampler, loader and trainer, all random numbers by the run's seed.

    Parameters
    ----------
    family : Family
    dataset : MultiSubjectDataset
        Loaded.
    configs : dict
        Group of settings to its Config.
    folder : tuple
        Folder of the experiment's folder, and its name.
    **settings
        Of the trainer, besides those of the configs.
    """
    from dynml.batches.loader import BatchLoader
    from dynml.batches.sampler import BatchSampler
    from dynml.training.environment import resolve_device
    from dynml.training.progress import seed_generators

    family.check_trainer()
    seed = configs["trainer"].seed
    seed_generators(seed, resolve_device(configs["trainer"].device))
    model = load(family.model)(configs["model"], dataset.n_channels)
    if "initialization" in configs:
        settings["initialization"] = configs["initialization"]
    return load(family.trainer)(
        model,
        *folder,
        BatchSampler(dataset, configs["sampler"], seed=seed),
        BatchLoader(dataset, model, config=configs["loader"], seed=seed),
        configs["trainer"],
        **settings,
    )
