"""Many subjects' series as one object: a store or arrays in, subsets of tensors out.

Wherever the series live (`residency`), a subset gives the same rows, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dynml.configuration import check_instance, nearest_name
from dynml.dataset.array_source import ArraySource, Series
from dynml.dataset.config import DatasetConfig
from dynml.dataset.embedded_source import EmbeddedSource
from dynml.dataset.embedding import Embedding, fit_embedding
from dynml.dataset.preparation_signature import preparation_signature, scale_of_training
from dynml.dataset.residency import check_room, choose_residency
from dynml.dataset.segment_table import SegmentTable
from dynml.dataset.signal_source import SignalSource
from dynml.dataset.subset import MultiSubjectSubset
from dynml.dataset.subsets import draw_subsets
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.store.layout import PREPARATION_FITS, SUBSET_NAMES, natural_order
from dynml.store.reading import Store
from dynml.store.subsets import Subsets, check_fit_saw_no_held_out, subjects_seen_by_fits

__all__ = ["DatasetConfig", "MultiSubjectDataset", "MultiSubjectSubset", "SegmentTable"]

Residency = Literal["auto", "device", "memory", "lazy"]
_BYTES_PER_READING = 2**26


class MultiSubjectDataset:
    """Training, validation and testing subjects of one group of a store.

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

    Raises
    ------
    DataError
        When the store, the group or the redrawn subsets cannot be used, or there are more processes than subjects.
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
    ) -> None:
        accepted = "the path of a store; arrays go to MultiSubjectDataset.from_arrays"
        check_instance("hdf5_file", hdf5_file, (str, os.PathLike), accepted)
        self.rank, self.world_size = rank, world_size
        self._members = members
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
        self.source, self.device, self.config = source, _device(device), config or DatasetConfig()
        self._participants = {subject: source.participant(subject) for subject in source.subjects}
        self._subsets = self._draw_subsets()
        self.group = _only_group(source, self._all_subjects()) if group is None else group
        self._refuse_fits_that_saw_held_out()
        self._describe_channels()
        n_stored_channels = self.n_channels
        self.embedding = embedding
        self._embed()
        row = 0
        subsets = {}
        for name in SUBSET_NAMES:
            subsets[name] = MultiSubjectSubset(self, name, self._subsets.subjects[name], row)
            row += subsets[name].n_own_rows
        self._by_name, self.n_rows = subsets, row
        self._check_ranks()
        # What is read and kept: channels of the store, unless embedded channels are.
        embeds_rows = self.embedding_of_rows is not None
        self.n_channels_before_embedding = n_stored_channels if embeds_rows else self.n_channels
        n_bytes = row * self.n_channels_before_embedding * 4
        self.requested_residency = residency
        self.residency, self.residency_reason = choose_residency(residency, n_bytes, self.device)
        if self.config.cache_embedded and not self.is_resident:
            raise DataError(
                "dataset.cache_embedded needs the series in memory, but their residency is lazy: "
                f"{self.residency_reason}."
            )
        self._series: Tensor | None = None
        self._loaded = False
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
        dataset = type(self).__new__(type(self))
        dataset.rank, dataset.world_size, dataset._members = self.rank, self.world_size, self._members
        dataset._open(self.source, self.requested_residency, self.group, self.device, self.config, embedding)
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

    def subset(self, name: str) -> MultiSubjectSubset:
        """Give the subset `training`, `validation` or `testing`.

        Raises
        ------
        DataError
            For another name.
        """
        if name not in self._by_name:
            raise DataError(f"{name!r} is no subset{nearest_name(str(name), SUBSET_NAMES)}.")
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
        rates = self._sampling_frequencies()
        if len(rates) > 1:
            raise DataError(
                f"The sampling frequencies differ between subjects: {', '.join(f'{r:g}' for r in rates)} Hz."
            )
        return rates[0]

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
        return {name: self.source.fingerprint(self.group, self._subsets.subjects[name]) for name in SUBSET_NAMES}

    @property
    def subjects(self) -> list[str]:
        """Subjects of all subsets."""
        return self._all_subjects()

    @cached_property
    def preparation(self) -> dict[str, Any]:
        """How the stored signals were prepared, see `preparation_signature`."""
        return preparation_signature(self._stored, self.group, self._all_subjects())

    @property
    def _stored(self) -> SignalSource:
        return self.source.base if isinstance(self.source, EmbeddedSource) else self.source

    def participant(self, subject: str) -> str:
        """Person that a subject's signals come from."""
        return self._participants[subject]

    @property
    def embedding_of_rows(self) -> Embedding | None:
        """What is done to rows when they are read: nothing when the embedded series are in memory."""
        return None if self.config.cache_embedded else self.embedding

    def stored_rows(self, subject: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) that `embedding_of_rows` is applied to, read from the source into host memory, (n, C)."""
        assert isinstance(self.source, EmbeddedSource)
        return torch.from_numpy(self.source.stored_rows(subject, self.group, start, stop))

    @property
    def is_resident(self) -> bool:
        """Whether the series are in memory, of the host or the device, rather than in their file."""
        return self.residency != "lazy"

    @property
    def series_device(self) -> torch.device:
        """Where rows are before they are moved to the compute device."""
        return self.device if self.residency == "device" else torch.device("cpu")

    @property
    def series(self) -> Tensor | None:
        """All rows of all subjects end to end, (n_rows, C) float32, where they reside; None when lazy.

        Where there is `embedding_of_rows`, they are what it is applied to.

        Raises
        ------
        DataError
            Before `load_data`.
        """
        if not self._loaded:
            raise DataError("The dataset has not been loaded: call load_data() first.")
        return self._series

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
        if self._loaded:
            return
        series = self._allocate() if self.is_resident else None
        if series is not None or verify:
            self._read_through(series, progress)
        self._series, self._loaded = series, True

    def label_names(self, column: str) -> tuple[str, ...]:
        """Labels of an events' column over all subjects; a label's position is its code in every subject.

        Raises
        ------
        DataError
            When no subject has the column.
        """
        if column not in self._label_names:
            names: set[str] = set()
            columns: set[str] = set()
            for subject in self._all_subjects():
                events = self.source.events(subject, self.group)
                if events is not None:
                    columns.update(events.names)
                    names.update(events.names.get(column, ()))
            if column not in columns:
                near = nearest_name(column, columns) if columns else " (no subject has events)"
                raise DataError(f"No subject has events with a column {column!r}{near}.")
            self._label_names[column] = tuple(sorted(names, key=natural_order))
        return self._label_names[column]

    def describe(self) -> dict[str, Any]:
        """Plain values that say which data a run has seen, ready for JSON."""
        return {
            "hdf5_file": None if self.source.path is None else str(self.source.path),
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
            "config": self.config.in_force(),
            "embedding": None if self.embedding is None else self.embedding.describe(),
            "preparation": self.preparation,
            "scale": scale_of_training(self._stored, self.group, self.training_set.subjects),
            "subsets": {
                name: {
                    "n_subjects": subset.n_subjects,
                    "n_participants": len(set(subset.participants)),
                    "n_segments": len(subset.segments),
                    "n_samples": subset.n_samples,
                    "n_masked": subset.n_masked,
                    "fingerprint": self.fingerprints[name],
                    "subjects": list(subset.subjects),
                    "participants": list(subset.participants),
                    "sources": self._source_hashes(subset.subjects),
                }
                for name, subset in self._by_name.items()
            },
        }

    def _source_hashes(self, subjects: Sequence[str]) -> dict[str, list[str]]:
        """SHA-256 of the files that each subject was read from, so that a later run can tell whether it was seen."""
        described = {subject: self.source.attributes(subject, self.group) for subject in subjects}
        return {subject: [source.sha256 for source in one.sources] for subject, one in described.items()}

    def __getstate__(self) -> dict[str, Any]:
        # What a worker process gets: resident series stay where they are.
        return {**self.__dict__, "_series": None, "_loaded": self._loaded and not self.is_resident}

    def _all_subjects(self) -> list[str]:
        return [subject for name in SUBSET_NAMES for subject in self._subsets.subjects[name]]

    def _draw_subsets(self) -> Subsets:
        listed = self.source.subset if self._members is None else self._members.__getitem__
        stored = Subsets({name: list(listed(name)) for name in SUBSET_NAMES}, self.source.split)
        return draw_subsets(stored, self._participants, self.config)

    def _refuse_fits_that_saw_held_out(self) -> None:
        if isinstance(self.source, Store):
            seen = subjects_seen_by_fits(self.source, self.group)
            where = f"{PREPARATION_FITS}/{self.group} of {self.source.path}"
            check_fit_saw_no_held_out(self._subsets, self._participants, seen, where)

    def _embed(self) -> None:
        """Put the embedding that is asked for between the source and everybody else."""
        if self.embedding is None and not self.config.embeds:
            return
        layout = Layout(sampling_frequency=self.sampling_frequency, channel_names=self.channel_names)
        if self.embedding is None:
            training = self._subsets.subjects["training"]
            self.embedding = fit_embedding(self.source, self.group, layout, training, self.config)
        else:
            where = str(self.source.path or "The dataset")
            self.embedding.check_layout(layout, where, named=self.source.path is not None)
        self.source = EmbeddedSource(self.source, self.group, self._all_subjects(), self.embedding)
        self._describe_channels()

    def _check_ranks(self) -> None:
        n_blocks = len(set(self.training_set.block.tolist()))
        if self.world_size > 1 and self.world_size > n_blocks:
            raise DataError(
                f"{self.world_size} processes were started to share {self.training_set.n_subjects} training subjects: "
                f"start at most {n_blocks}."
            )

    def _describe_channels(self) -> None:
        subjects = self._all_subjects()
        if not subjects:
            raise DataError(f"{self.source.path or 'The dataset'} has no subject in any subset.")
        self.channel_names: tuple[str, ...] = self.source.attributes(subjects[0], self.group).channel_names
        for subject in subjects[1:]:
            names = self.source.attributes(subject, self.group).channel_names
            if names != self.channel_names:
                raise DataError(
                    f"Subject {subject}, group {self.group}: the channels differ from those of {subjects[0]} "
                    f"({len(names)} and {len(self.channel_names)})."
                )
        self.n_channels = len(self.channel_names)

    def _sampling_frequencies(self) -> list[float]:
        return sorted({self.source.attributes(name, self.group).sampling_frequency for name in self._all_subjects()})

    def _allocate(self) -> Tensor:
        check_room(self.n_rows * self.n_channels_before_embedding * 4, self.series_device)
        try:
            shape = self.n_rows, self.n_channels_before_embedding
            return torch.empty(shape, dtype=torch.float32, device=self.series_device)
        except RuntimeError as error:
            size = self.n_rows * self.n_channels_before_embedding * 4 / 2**30
            raise DataError(
                f"The series take {size:.3g} GiB, which the memory of {self.series_device} does not hold: use "
                "residency lazy."
            ) from error

    def _read_through(self, series: Tensor | None, progress: bool) -> None:
        from tqdm import tqdm

        rows_per_reading = max(_BYTES_PER_READING // (4 * self.n_channels_before_embedding), 1)
        numbered = [
            (subset, int(index)) for subset in self._by_name.values() for index in np.flatnonzero(subset.is_own)
        ]
        for subset, index in tqdm(numbered, desc="Reading subjects", unit="subject", disable=not progress):
            subject, n_rows = subset.subjects[index], int(subset.n_rows_of[index])
            own = slice(int(subset.row_offsets[index]), int(subset.row_offsets[index]) + n_rows)
            with self.source.verifying(subject, self.group):
                for start in range(0, n_rows, rows_per_reading):
                    stop = min(start + rows_per_reading, n_rows)
                    rows = self._rows_to_keep(subject, start, stop)
                    if series is not None:
                        series[own][start:stop] = rows
            if series is not None and series.device.type == "cpu" and isinstance(self.source, ArraySource):
                self.source.settle(subject, series[own].numpy())

    def _rows_to_keep(self, subject: str, start: int, stop: int) -> Tensor:
        """Rows as they reside: stored channels when they are embedded each time they are read."""
        if self.embedding_of_rows is not None:
            return self.stored_rows(subject, start, stop)
        if isinstance(self.source, EmbeddedSource):
            return self.source.read_on(self.series_device, subject, self.group, start, stop)
        return torch.from_numpy(self.source.read(subject, self.group, start, stop))


def check_dataset(key: str, dataset: object) -> None:
    """Refuse what is no dataset (a path, arrays, a model) where one is asked for."""
    accepted = (
        "a MultiSubjectDataset: MultiSubjectDataset(path) for a store, MultiSubjectDataset.from_arrays for arrays"
    )
    if not callable(getattr(dataset, "subset", None)):
        check_instance(key, dataset, MultiSubjectDataset, accepted)


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError("device", device, "cpu, cuda or cuda:<number>") from error


def _only_group(source: SignalSource, subjects: list[str]) -> str:
    """Name of the one group that all subjects have."""
    groups = {tuple(source.groups(subject)) for subject in subjects}
    names = sorted({name for of_subject in groups for name in of_subject})
    if len(names) != 1:
        found = f"has the groups {', '.join(names)}" if names else "has no groups"
        raise DataError(f"{source.path or 'The dataset'} {found}: say which one by group=.")
    return names[0]
