"""Which channels of a dataset a model takes, by their names or by where they lie. No torch here."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.signal_source import SignalSource
from dynml.errors import ConfigurationError, DataError, DataWarning, first_of
from dynml.geometry.geometry import SPACE
from dynml.models.sequence.montages.checks import (
    HasGroups,
    Known,
    Subset,
    channels_apart,
    check_groups,
    refuse_by_order,
    tell_of_other_preparations,
)
from dynml.store.geometry.stored import read_geometry
from dynml.store.reading import Store
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

NONE, NAME, POSITION = "none", "name", "position"
STANDARD_SPACE, UNKNOWN_SPACE = "standard", "unknown"
UNKNOWN_SPACES = (UNKNOWN_SPACE, "aligned")
"""A header that says "aligned" does not say to what."""

SAME_POSITION = 0.1
"""mm, below which two channels have the same vectors."""

SAME_PARCEL = 1.0
"""mm, within which channels of one name are the same."""

_SETTLED = ("channel_names", "known_channels", "channel_positions", "channel_space", "montages")


class HasChannels(HasGroups, Protocol):
    """The part of `MultiSubjectDataset` that says which channels there are; see there."""

    @property
    def signal_source(self) -> SignalSource:
        """What is read from."""
        ...

    @property
    def group(self) -> str:
        """Group of the store."""
        ...

    @property
    def n_channels(self) -> int:
        """How many there are."""
        ...

    @property
    def n_conditioning(self) -> int:
        """How many of them are a second group's."""
        ...

    @property
    def embedding(self) -> object | None:
        """What is done to channels when rows are read."""
        ...

    @property
    def preparation(self) -> dict[str, Any]:
        """How the stored signals were prepared."""
        ...

    @property
    def training_set(self) -> Subset:
        """Who trains."""
        ...

    def with_channels(self, columns: Sequence[int]) -> Self:
        """Give some of the channels."""
        ...

    def with_channels_apart(self, renamed: Mapping[str, Mapping[str, str]]) -> Self:
        """Tell channels of some groups apart from those of the same name in others."""
        ...


Dataset = TypeVar("Dataset", bound=HasChannels)


def dataset_of_run(configs: dict[str, Any], dataset: Dataset, pretrained: str | None) -> Dataset:
    """Give the channels of a dataset that a run can learn from; see `Family`."""
    config = with_pretrained_channels(configs["model"], pretrained)
    if config.channel_embedding == NONE:
        refuse_by_order(dataset)
        return dataset
    if dataset.n_conditioning:
        accepted = "none where dataset.conditioning_group is given: that group's channels are known by their order"
        raise ConfigurationError("model.channel_embedding", config.channel_embedding, accepted)
    if len(dataset.groups) == 1:
        return dataset.with_channels(columns_taken(config, dataset))
    return _of_several_groups(config, dataset)


def _of_several_groups(config: Any, dataset: Dataset) -> Dataset:
    """Give the channels of several groups that a run can learn from."""
    by_name = config.channel_embedding == NAME
    apart = {} if by_name else channels_apart({group: found[0] for group, found in _positions_of_groups(dataset)})
    if apart:
        dataset = dataset.with_channels_apart(apart)
    dataset = dataset.with_channels(columns_taken(config, dataset))
    by_name = by_name and config.known_channels is None
    where = str(dataset.signal_source.path)
    check_groups(dataset, dataset.training_set, by_name=by_name, where=where)
    tell_of_other_preparations(dataset, where)
    return dataset


def with_pretrained_channels(config: Any, pretrained: str | None) -> Any:
    """Let a run know its channels as the model that it starts from does.

    Raises
    ------
    ConfigurationError
        When that model knows them otherwise, or by their order alone and positions are asked for.
    """
    if pretrained is None or config.known_channels is not None:
        return config
    _, parameters = ExperimentFolder.at(pretrained).load_model()
    before = parameters.get("model") or {}
    kind = before.get("channel_embedding", NONE)
    if kind == NONE:
        if config.channel_embedding == NONE:
            return config
        if config.channel_embedding == POSITION:
            accepted = f"absent or name: {pretrained} was not trained to know channels by their positions"
            raise ConfigurationError("model.channel_embedding", POSITION, accepted)
        # Its weights lie in the order of its channels, whose names were noted.
        return dataclasses.replace(config, known_channels=list(parameters["dataset"]["channel_names"]))
    if config.channel_embedding not in (NONE, kind):
        accepted = f"absent, or {kind}, as {pretrained} has it"
        raise ConfigurationError("model.channel_embedding", config.channel_embedding, accepted)
    known = {name: before.get(name) for name in ("known_channels", "channel_space")}
    return dataclasses.replace(config, channel_embedding=kind, **known)


def with_channels_of(config: Any, dataset: HasChannels) -> Any:
    """Note the channels of a dataset, all of which are taken, in a config; as it is where that was done before."""
    if config.channel_embedding == NONE or config.channel_names is not None:
        return config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # it was shown when the channels were chosen
        columns = columns_taken(config, dataset)
    if columns != list(range(dataset.n_channels)):
        accepted = "those that the model takes, in its order: dynml.models.sequence.channels.dataset_of_run gives them"
        raise ConfigurationError("channels", f"{dataset.n_channels} channels", accepted)
    return with_names_and_positions(config, dataset)


def with_names_and_positions(config: Any, dataset: HasChannels) -> Any:
    """Note the channels of a dataset in a config, whether the model knows them or not."""
    names = list(dataset.channel_names)
    noted: dict[str, Any] = {"channel_names": names, "known_channels": config.known_channels or names, "montages": None}
    if config.channel_embedding == POSITION:
        positions_C3, space = positions_of(dataset)
        # JSON has no NaN.
        positions = [own if np.isfinite(own).all() else [] for own in positions_C3.tolist()]
        noted |= {"channel_positions": positions, "channel_space": config.channel_space or space}
    return dataclasses.replace(config, **noted)


def without_channels(config: Any) -> Any:
    """A config whose model knows channels by their order alone."""
    return dataclasses.replace(config, channel_embedding=NONE, **dict.fromkeys(_SETTLED))


def dataset_taken(config: Any, dataset: Dataset) -> Dataset:
    """Give the channels of a dataset that a trained model takes.

    Arrays whose channels have no names, and channels of the names that they had in the training where nothing is known
    of their positions, are taken to be those of the training if they are as many.
    """
    names = dataset.channel_names
    if dataset.preparation["channel_names"] is None and len(names) == len(config.channel_names):
        return dataset
    if config.channel_embedding == POSITION and list(names) == config.channel_names and not _has_positions(dataset):
        return dataset
    return dataset.with_channels(columns_taken(config, dataset))


def has_other_channels(config: Any, pretrained: str) -> bool:
    """Whether a settled config has other channels than the model that a run starts from."""
    if config.channel_embedding == NONE:
        return False
    _, parameters = ExperimentFolder.at(pretrained).load_model()
    before = parameters.get("model") or {}
    names = before.get("channel_names") or parameters["dataset"]["channel_names"]
    kept = ("channel_positions", "montages")
    return names != config.channel_names or any(before.get(name) != getattr(config, name) for name in kept)


def columns_in(config: Any, trained: Any) -> list[int]:
    """Number of each channel of a settled config among those of another one; -1: it is none of them."""
    numbers = {name: number for number, name in enumerate(trained.channel_names)}
    columns = [numbers.get(name, -1) for name in config.channel_names]
    if config.channel_embedding == POSITION:
        # Of two atlases there may be parcels of one name.
        for column, of_trained in enumerate(columns):
            apart = np.subtract(config.channel_positions[column], trained.channel_positions[of_trained])
            if not np.linalg.norm(apart) < SAME_PARCEL:
                columns[column] = -1
    return columns


def tell_of_linear_path(columns: Sequence[int], dataset: HasChannels) -> None:
    """Warn of channels that are none of those which a linear path was fitted to."""
    n_lacking = sum(column < 0 for column in columns)
    if n_lacking:
        words = f"the model's linear path was not fitted to {n_lacking} of {len(columns)} channels, which its network "
        _warn(dataset, [f"{words}predicts alone (a run with --pretrained fits one to them)"])


def columns_taken(config: Any, dataset: HasChannels) -> list[int]:
    """Which channels of a dataset a model takes: by name in the model's order, by position in the dataset's.

    Parameters
    ----------
    config : SequenceConfig
        With `known_channels` and `channel_space`, if the model was trained before.
    dataset : MultiSubjectDataset

    Raises
    ------
    ConfigurationError
        When channels are made as they are read, and have neither names nor positions of their own.
    DataError
        When a name stands twice, two channels lie at one place, or the model can take none.

    Warns
    -----
    DataWarning
        With those that are not taken.
    """
    _check_names(config, dataset)
    if config.channel_embedding == NAME:
        return _by_name(config.known_channels, dataset)
    return _by_position(config.channel_space, dataset)


def positions_of(dataset: HasChannels) -> tuple[NDArray[np.float64], str]:
    """Where the channels of a dataset lie, (C, 3) in mm, NaN where that is unknown; and in which space."""
    known: dict[str, NDArray[np.float64]] = {}
    spaces: dict[str, str] = {}
    for group, (positions, space) in _positions_of_groups(dataset):
        known = {name: position for name, position in positions.items() if np.isfinite(position).all()} | known
        if space != UNKNOWN_SPACE:
            spaces.setdefault(space, group)
    if len(spaces) > 1:
        listed = " and ".join(f"those of group {group} in {space!r}" for space, group in spaces.items())
        raise DataError(f"{dataset.signal_source.path}: the positions of channels lie in different spaces, {listed}.")
    positions_C3 = np.array([known.get(name, np.full(3, np.nan)) for name in dataset.channel_names])
    return positions_C3.reshape(-1, 3), next(iter(spaces), UNKNOWN_SPACE)


def _positions_of_groups(dataset: HasChannels) -> Iterator[tuple[str, tuple[Known, str]]]:
    """Each group, with the positions (3,) of its channels, NaN where unknown, and the space that they lie in."""
    path = dataset.signal_source.path
    for group, channels in dataset.channels_of_groups.items():
        geometry = None
        if path is not None:
            with Store(path) as store:
                geometry = read_geometry(store, group)
        known = {} if geometry is None else dict(zip(geometry.channel_names, geometry.positions))
        space = UNKNOWN_SPACE
        if geometry is not None:
            space = STANDARD_SPACE if geometry.is_standard else str(geometry.values.get(SPACE, UNKNOWN_SPACE))
        unknown = np.full(3, np.nan)
        positions = {name: known.get(stored, unknown) for name, stored in channels.items()}
        yield group, (positions, UNKNOWN_SPACE if space in UNKNOWN_SPACES else space)


def _has_positions(dataset: HasChannels) -> bool:
    return bool(np.isfinite(positions_of(dataset)[0]).any())


def _check_names(config: Any, dataset: HasChannels) -> None:
    names, kind = dataset.channel_names, config.channel_embedding
    if dataset.embedding is not None or all(re.fullmatch(r"component_\d+", name) for name in names):
        accepted = f"none for components and embedded channels, which have no {kind} that others share"
        raise ConfigurationError("model.channel_embedding", kind, accepted)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{_where(dataset)}: {first_of(twice)} is the name of several channels, so that a model cannot know them "
            f"by {kind}."
        )


def _by_name(known: Sequence[str] | None, dataset: HasChannels) -> list[int]:
    names = list(dataset.channel_names)
    if known is None:
        return list(range(len(names)))
    columns = [names.index(name) for name in known if name in names]
    if not columns:
        raise DataError(
            f"{_where(dataset)}: none of its channels ({first_of(names)}) has the name of one that the model knows "
            f"({first_of(known)})."
        )
    unknown = [name for name in names if name not in set(known)]
    missing = [name for name in known if name not in names]
    sentences = []
    if unknown:
        sentences.append(
            f"the model does not know {len(unknown)} of {len(names)} channels, unused here ({first_of(unknown)})"
        )
    if missing:
        sentences.append(f"{len(missing)} of the {len(known)} that it knows are not there ({first_of(missing)})")
    _warn(dataset, sentences)
    return columns


def _by_position(space: str | None, dataset: HasChannels) -> list[int]:
    names, (positions_C3, own_space) = dataset.channel_names, positions_of(dataset)
    is_known_C = np.isfinite(positions_C3).all(axis=1)
    if not is_known_C.any():
        raise DataError(
            f"{_where(dataset)}: nothing is known of where its channels lie, so that model.channel_embedding position "
            "cannot be used (stores of sensors and of parcels keep it; see dynml_hdf5_print_architecture.py)."
        )
    if space is not None and UNKNOWN_SPACE not in (space, own_space) and space != own_space:
        raise DataError(
            f"{_where(dataset)}: its channels lie in the space {own_space!r}, those that the model was trained on in "
            f"{space!r}."
        )
    columns = np.flatnonzero(is_known_C).tolist()
    for channels in dataset.channels_of_groups.values():
        own = [column for column in columns if names[column] in channels]
        _refuse_one_position([names[column] for column in own], positions_C3[own], dataset)
    unknown = [names[column] for column in np.flatnonzero(~is_known_C).tolist()]
    if unknown:
        _warn(
            dataset,
            [f"the place of {len(unknown)} of {len(names)} channels is unknown, unused here ({first_of(unknown)})"],
        )
    return columns


def _refuse_one_position(names: Sequence[str], positions_C3: NDArray[np.float64], dataset: HasChannels) -> None:
    from scipy.spatial import cKDTree

    pairs = [] if len(names) < 2 else sorted(cKDTree(positions_C3).query_pairs(SAME_POSITION))
    if pairs:
        first, second = (names[number] for number in pairs[0])
        raise DataError(
            f"{_where(dataset)}: the channels {first} and {second} lie at the same place, so that a model cannot tell "
            "them apart by position; keep one type of sensor by the step select_channels."
        )


def _warn(dataset: HasChannels, sentences: Sequence[str]) -> None:
    if sentences:
        warnings.warn(f"{_where(dataset)}: {'; '.join(sentences)}.", DataWarning, stacklevel=4)


def _where(dataset: HasChannels) -> str:
    return f"{dataset.signal_source.path or 'The arrays'}, group {' and '.join(dataset.groups)}"
