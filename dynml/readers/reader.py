"""What all readers share: the keys of a group that a format has of its own, and what a file's header says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dynml.geometry.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class FileEvents:
    """What a file itself says happened, ascending, in its own samples."""

    onset: NDArray[np.int64]
    """First sample of each, (n_events,)."""
    duration: NDArray[np.int64]
    """Samples, (n_events,); no event goes beyond the end."""
    labels: dict[str, list[str]]
    """Per column, the label of each event; `n/a` where it has none."""


@dataclass(frozen=True, kw_only=True)
class FileDescription:
    """What a file's header says of its signals."""

    n_samples: int
    n_channels: int
    channel_names: tuple[str, ...] | None = None
    """None where the format names no channels."""
    sampling_frequency: float | None = None
    """Hz; None where the file does not say."""
    rate_fault: str = ""
    """Why the file does not say, where there is a reason."""
    warned: tuple[str, ...] = ()
    """What the user should be warned of about this file."""
    stretches: NDArray[np.int64] | None = None
    """Good stretches [start, stop) of samples, (n, 2), ascending, at least one; None: all of it is one."""
    kept: NDArray[np.bool_] | None = None
    """False where a sample was censored, (n_samples,); None where nothing says so."""
    events: FileEvents | None = None
    """What happened when, where the file itself says it."""
    units: str | None = None
    """Units of the signals; None where the format has none."""
    units_fault: str = ""
    """Why the file does not say, where that cannot be passed over."""
    further_files: tuple[Path, ...] = ()
    """Files beside this one, in its folder, that the signals are read from."""
    bad_channels: tuple[str, ...] = ()
    """Channels of the file that are left out because it marks them bad."""


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """Keys of a group that a format has of its own; this one has none.

    Each key is a field with a default, and a docstring that `--help` shows. `__post_init__` refuses values by
    `dynml.errors.ConfigurationError`, under the key's bare name.
    """

    files: ClassVar[tuple[str, ...]] = ()
    """Keys whose texts name files: looked for in the subject's folder, then in the config's."""
    of_channels: ClassVar[tuple[str, ...]] = ()
    """Keys that say what the channels are made of, as an atlas does."""
    seen_otherwise: ClassVar[tuple[str, ...]] = ()
    """Keys that two preparations may differ in: they change no signal, or notes, rates and channels tell of them."""

    def located(self, find: Callable[[str, str], Path]) -> Self:
        """Put paths in the place of the names of files, which `find` looks for by key and name."""
        named = {key: value for key in self.files if isinstance(value := getattr(self, key), str)}
        return dataclasses.replace(self, **{key: find(key, name) for key, name in named.items()})


class Reader:
    """Reads files of one format: a format adds `describe` and `read`, and what else it has to say.

    Parameters
    ----------
    config : ReaderConfig, optional
        A `Config` of the class; by default one without any key.
    excluded : tuple of str
        Names of channels to leave out, for a reader that `leaves_channels_out`.
    """

    Config: ClassVar[type[ReaderConfig]] = ReaderConfig
    """Keys of a group that the format has of its own."""
    leaves_channels_out: ClassVar[bool] = False
    """Whether it does so before it reads; channels of other formats are left out of what was read."""
    settings_of_notes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """For each step that `note` tells of, its settings; what else stands in a note was found in the files."""

    config: ReaderConfig
    excluded: tuple[str, ...]

    def __init__(self, config: ReaderConfig | None = None, excluded: tuple[str, ...] = ()) -> None:
        self.config = (self.Config() if config is None else config).located(lambda key, name: Path(name))
        self.excluded = excluded

    def describe(self, path: Path) -> FileDescription:
        """Read the header only, and refuse a file that cannot be used."""
        raise NotImplementedError

    def read(self, path: Path) -> NDArray[Any]:
        """Read the signals, (T, C), float32 or float64; missing samples are NaN."""
        raise NotImplementedError

    def note(self, path: Path, run: str) -> list[dict[str, Any]]:
        """Say for the store's provenance what was done to a run as it was read.

        Returns
        -------
        list of dict
            `step`, its settings, and under `runs` what was found in this run: {run: ..}; those of the other runs join
            it there.
        """
        return []

    def geometry(self, path: Path) -> Geometry | None:
        """Say where the channels lie, for pictures; None where the format or the file does not say."""
        return None

    def warning(self, path: Path) -> tuple[str, str] | None:
        """Topic and detail of what the user should know of a run that was read; None where all is well."""
        return None

    @property
    def lacks_mask(self) -> bool:
        """Whether it looks at voxels, and the config names no mask for them."""
        return False

    def with_mask(self, mask: Path) -> Reader:
        """Give a reader of the same keys that uses the voxels of a mask."""
        raise NotImplementedError

    @property
    def file_in_space(self) -> Path | None:
        """File whose space must be that of the recordings, such as an atlas."""
        return None


class ReaderOfReader(Reader):
    """Reads through another reader, and changes what that gives."""

    leaves_channels_out = True

    def __init__(self, reader: Reader, excluded: tuple[str, ...] = ()) -> None:
        super().__init__(reader.config, excluded)
        self.reader = reader

    def note(self, path: Path, run: str) -> list[dict[str, Any]]:
        """Say what the other reader says."""
        return self.reader.note(path, run)

    def geometry(self, path: Path) -> Geometry | None:
        """Say what the other reader says."""
        return self.reader.geometry(path)

    def warning(self, path: Path) -> tuple[str, str] | None:
        """Say what the other reader says."""
        return self.reader.warning(path)
