"""Many subjects' series as one object, whose subsets give the same rows, bit for bit, wherever the series live."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from dynml.configuration import check_instance, nearest_name
from dynml.dataset.array_source import ArraySource, Series
from dynml.dataset.conditioning.conditioned_dataset import ConditionedDataset, conditioned
from dynml.dataset.conditioning.conditioned_source import Conditioning
from dynml.dataset.config import DatasetConfig
from dynml.dataset.embedded_source import EmbeddedDataset
from dynml.dataset.embedding import Embedding
from dynml.dataset.montages.united_dataset import UnitedDataset, united, united_anew
from dynml.dataset.montages.united_source import montages_of
from dynml.dataset.preparation_signature import PreparedDataset, preparation_signature
from dynml.dataset.residency import Residency, named_device
from dynml.dataset.rows import Residence
from dynml.dataset.signal_source import ChosenChannels, SignalSource, common_channels, only_group
from dynml.dataset.spans import SegmentTable
from dynml.dataset.subset import MultiSubjectSubset, check_ranks, facts_of, only_rate
from dynml.dataset.subsets import refuse_fits_that_saw_held_out, subsets_in_force
from dynml.dataset.trials import label_names_of
from dynml.errors import ConfigurationError, DataError
from dynml.store.layout import SUBSET_NAMES
from dynml.store.reading import Store
from dynml.tables import Described

__all__ = ["DatasetConfig", "MultiSubjectDataset", "MultiSubjectSubset", "SegmentTable"]


class MultiSubjectDataset(UnitedDataset, PreparedDataset, ConditionedDataset, EmbeddedDataset, Described):
    """Training, validation and testing subjects of one group of a store, or of several.

    Parameters
    ----------
    hdf5_file : str or Path
        The store.
    residency : {"auto", "device", "memory", "lazy"}
        Where the series live: on `device`, in host memory, or in the file; auto: the fastest that fits.
    group : str, optional
        Group of the store; may be left out when all subjects have one and the same.
    device : str or torch.device
        Where the model computes.
    config : DatasetConfig, optional
        How subsets are redrawn and channels embedded.
    rank, world_size : int
        This process among those that share a run: each holds the series of its own subjects.
    embedding : Embedding, optional
        One that was fitted before, in place of what the config says of it.
    members : mapping, optional
        Subset to its subjects, in place of the store's own lists.
    conditioning : Conditioning, optional
        How a second group is laid beside the first, in place of what the config says of it.

    Raises
    ------
    DataError
        When the store, the group or the subsets cannot be used, or there are more processes than subjects.
    """

    def __init__(
        self,
        hdf5_file: str | Path,
        residency: Residency = "auto",
        *,
        group: str | None = None,
        device: str | torch.device = "cpu",
        config: DatasetConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
        embedding: Embedding | None = None,
        members: Mapping[str, Sequence[str]] | None = None,
        conditioning: Conditioning | None = None,
    ) -> None:
        accepted = "the path of a store; arrays go to MultiSubjectDataset.from_arrays"
        check_instance("hdf5_file", hdf5_file, (str, os.PathLike), accepted)
        self.rank, self.world_size = rank, world_size
        self._members, self._conditioning = members, conditioning
        self._open(Store(hdf5_file), residency, group, device, config, embedding)

    @classmethod
    def from_arrays(
        cls,
        training: Series,
        validation: Series = (),
        testing: Series = (),
        *,
        sampling_frequency: float = 1.0,
        standardization: Literal["none", "per_subject", "per_run"] | None = None,
        missing: Literal["error", "segment", "mask"] = "error",
        bad_stretches: Literal["tell", "cut", "error"] = "tell",
        channel_names: Sequence[str] | None = None,
        participants: Mapping[str, str] | None = None,
        residency: Residency = "auto",
        device: str | torch.device = "cpu",
        config: DatasetConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> MultiSubjectDataset:
        """Make a loaded dataset of arrays; nothing is written.

        Parameters
        ----------
        training, validation, testing : array, Recording, list of these, or dict of name to one of these
            Signals (T, C). Listed arrays are named training-0, training-1, ...
        sampling_frequency : float
            Hz. A Recording brings its own.
        standardization : {"none", "per_subject", "per_run"}, optional
            per_subject: from each array's good samples, mean 0 and standard deviation 1 in every channel. per_run: the
            same for every run of a Recording, as stores have it by default. none: arrays as they are. Default: none,
            with a warning where they are far from standard.
        missing : {"error", "segment", "mask"}
            What to do with samples that are NaN or infinite; segment: cut them out; mask: keep them, as rows that are
            NaN in all channels.
        bad_stretches : {"tell", "cut", "error"}
            What to do with dropouts, held values, clipping and isolated spikes: warn, cut them out, or refuse them.
        channel_names : sequence of str, optional
            C names; default: channel_0, channel_1, ...
        participants : mapping, optional
            Name of a subject to its participant; default: each subject is one of its own.
        residency, device, config, rank, world_size
            As for a store.

        Raises
        ------
        DataError
            For values that are not finite, a transposed array, a constant channel, or arrays that do not go together.
        """
        check_instance("participants", participants, (Mapping, type(None)), "a mapping of array to participant")
        if isinstance(channel_names, str):
            raise ConfigurationError("channel_names", channel_names, "a list of names")
        dataset = cls.__new__(cls)
        dataset.rank, dataset.world_size, dataset._members = rank, world_size, None
        source = ArraySource(
            {"training": training, "validation": validation, "testing": testing},
            sampling_frequency=sampling_frequency,
            standardization=standardization,
            missing=missing,
            bad_stretches=bad_stretches,
            channel_names=channel_names,
            participants=participants or {},
        )
        dataset._open(source, residency, source.group, device, config)
        dataset.load_data()
        return dataset

    def _open(
        self,
        source: SignalSource,
        residency: Residency,
        group: str | None,
        device: str | torch.device,
        config: DatasetConfig | None,
        embedding: Embedding | None = None,
    ) -> None:
        check_instance("config", config, (DatasetConfig, type(None)), "a DatasetConfig")
        self.signal_source, self.device, self.config = source, named_device(device), config or DatasetConfig()
        self._participants = {subject: source.participant(subject) for subject in source.subjects}
        stored = subsets_in_force(source, self._members, self._participants, self.config, group)
        self.group = only_group(source, stored.all_subjects) if group is None else group
        together, self._subsets = united(source, self.group, stored, self.config)
        self.subjects = self._subsets.all_subjects
        self._participants |= {one: together.participant(one) for one in self.subjects if one not in self._participants}
        self.signal_source = conditioned(together, self.group, self.subjects, self._conditioning, self.config)
        for one in (*self.groups, *(() if self.conditioning is None else (self.conditioning.group,))):
            refuse_fits_that_saw_held_out(source, one, stored, self._participants)
        self.channel_names = common_channels(self.signal_source, self.group, self.subjects)
        n_stored_channels = len(self.channel_names)
        self.montages = montages_of(self.signal_source, self.subjects)
        self.embedding = embedding
        self._embed()
        self.n_channels = len(self.channel_names)
        # What is kept and read: channels of the store, unless embedded channels are.
        embedding_of_rows = None if self.config.cache_embedded else self.embedding
        self.residence = Residence(
            self.signal_source,
            self.group,
            self.device,
            embedding_of_rows,
            n_channels=self.n_channels,
            n_kept_channels=self.n_channels if embedding_of_rows is None else n_stored_channels,
        )
        self._by_name = {
            name: MultiSubjectSubset(self, name, self._subsets.subjects[name], self.residence) for name in SUBSET_NAMES
        }
        check_ranks(self.training_set, self.world_size)
        self.residence.choose(residency)
        if self.config.cache_embedded and not self.residence.is_resident:
            needed = "dataset.cache_embedded needs the series in memory, but their residency is lazy"
            raise DataError(f"{needed}: {self.residency_reason}.")
        self._label_names: dict[str, tuple[str, ...]] = {}

    def with_embedding(self, embedding: Embedding) -> MultiSubjectDataset:
        """Give the same subjects under an embedding that was fitted before, loaded.

        Raises
        ------
        DataError
            When the embedding was made for other channels or another rate, or these data have another one already.
        """
        if self.embedding is not None:
            if self.embedding.is_like(embedding):
                return self
            raise DataError("The data are embedded already, in another way; give them without dataset.n_embeddings.")
        return self._reading(self.signal_source, embedding)

    def with_channels(self, columns: Sequence[int]) -> Self:
        """Give the same subjects with the channels at these places, in this order, loaded; not of embedded ones."""
        assert self.embedding is None
        if list(columns) == list(range(self.n_channels)):
            return self
        return self._reading(ChosenChannels(self.signal_source, columns))

    def with_channels_apart(self, renamed: Mapping[str, Mapping[str, str]]) -> Self:
        """Give the same groups, loaded, with channels (by group) that are not those of their name in other groups."""
        return self._reading(united_anew(self.signal_source, renamed))

    def _reading(self, source: SignalSource, embedding: Embedding | None = None) -> Self:
        """The same subjects and subsets, loaded from another source."""
        dataset = type(self).__new__(type(self))
        dataset.rank, dataset.world_size, dataset._members = self.rank, self.world_size, self._members
        dataset._open(source, self.residence.requested, self.group, self.device, self.config, embedding)
        dataset.load_data()
        return dataset

    @property
    def training_set(self) -> MultiSubjectSubset:
        """Subjects that the model learns from."""
        return self._by_name["training"]

    @property
    def validation_set(self) -> MultiSubjectSubset:
        """Subjects that choose the best epoch."""
        return self._by_name["validation"]

    @property
    def testing_set(self) -> MultiSubjectSubset:
        """Subjects that nothing is chosen by."""
        return self._by_name["testing"]

    def facts(self) -> dict[str, str]:
        """Subjects and hours of each subset, channels, rates, and where they come from, in words."""
        return facts_of(self._by_name.values(), self.channel_names, self.signal_source.path, self.groups)

    def subset(self, name: str) -> MultiSubjectSubset:
        """Give the subset `training`, `validation` or `testing`.

        Raises
        ------
        DataError
            For another name.
        """
        if name not in self._by_name:
            raise DataError(f"{name!r} is not a subset{nearest_name(str(name), SUBSET_NAMES)}.")
        return self._by_name[name]

    @property
    def split(self) -> str:
        """What separates the subsets: "participants", or "runs" when a participant stands in several."""
        return self._subsets.split

    @property
    def sampling_frequency(self) -> float:
        """Hz, of all subjects.

        Raises
        ------
        DataError
            When subjects differ; a subset's `sampling_frequencies` has them one by one.
        """
        return only_rate(self._sampling_frequencies())

    @property
    def n_masked(self) -> int:
        """Samples in segments that are masked, over all subsets."""
        return sum(subset.n_masked for subset in self._by_name.values())

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the subjects in force, their participants and their data, subset by subset."""
        return hashlib.sha256(json.dumps(self.fingerprints).encode()).hexdigest()

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each subset."""
        return {name: self.signal_source.fingerprint(self.group, self._subsets.subjects[name]) for name in SUBSET_NAMES}

    def participant(self, subject: str) -> str:
        """Person that a subject's signals come from."""
        return self._participants[subject]

    @property
    def residency(self) -> str:
        """Where the series live: "device", "memory" or "lazy"."""
        return self.residence.residency

    @property
    def residency_reason(self) -> str:
        """Why they live there."""
        return self.residence.reason

    @property
    def series(self) -> Tensor | None:
        """All rows of all subjects end to end, (n_rows, C) float32, where they reside; None when lazy.

        Channels that are embedded when they are read are kept as they are before it.

        Raises
        ------
        DataError
            Before `load_data`.
        """
        return self.residence.series

    def load_data(self, *, verify: bool = True, progress: bool = False) -> None:
        """Read all series once, so that damaged data are found before anything is trained. Called again: nothing.

        Parameters
        ----------
        verify : bool
            False: a lazy dataset is not read through, and damage shows only when a window is read.
        progress : bool
            Show a bar.

        Raises
        ------
        DataCorruptionError
            When stored bytes do not match their checksum; names the file, subject and group.
        DataError
            When the series do not fit into the memory that was asked for.
        """
        self.residence.load(list(self._by_name.values()), verify=verify, progress=progress)

    def label_names(self, column: str) -> tuple[str, ...]:
        """Labels of an events' column over all subjects; a label's position is its code in every subject.

        Raises
        ------
        DataError
            When no subject has the column.
        """
        if column not in self._label_names:
            self._label_names[column] = label_names_of(self.signal_source, self.group, self.subjects, column)
        return self._label_names[column]

    def describe(self) -> dict[str, Any]:
        """Plain values that say which data a run has seen, ready for JSON."""
        return {
            "hdf5_file": None if self.signal_source.path is None else str(self.signal_source.path),
            "group": self.group,
            "residency": self.residency,
            "residency_reason": self.residency_reason,
            "device": str(self.device),
            "fingerprint": self.fingerprint,
            "n_channels": self.n_channels,
            "channel_names": list(self.channel_names),
            "sampling_frequencies": self._sampling_frequencies(),
            "split": self.split,
            "redrawn": self.config.redraws,
            **({"left_out": self.left_out} if self.left_out else {}),
            "config": self.config.in_force(),
            **self.described_groups(self.preparations),
            **self.described_conditioning(
                lambda group: preparation_signature(self.stored_source, group, self.subjects)
            ),
            "embedding": None if self.embedding is None else self.embedding.describe(),
            "preparation": self.preparation,
            "scale": self.scale_of(self.training_set.subjects),
            "subsets": {
                name: subset.describe() | {"fingerprint": self.fingerprints[name]}
                for name, subset in self._by_name.items()
            },
        }

    def _sampling_frequencies(self) -> list[float]:
        return sorted({self.signal_source.attributes(name, self.group).sampling_frequency for name in self.subjects})
