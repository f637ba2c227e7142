"""Which channels of a recording that mne has opened are meant, and in which units they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dynml.configuration import check_instance, check_texts
from dynml.errors import ConfigurationError, DataError
from dynml.readers.reader import ReaderConfig

MEG_TYPES = ("mag", "grad")
FNIRS_TYPES = (
    "hbo",
    "hbr",
    "fnirs_cw_amplitude",
    "fnirs_fd_ac_amplitude",
    "fnirs_fd_phase",
    "fnirs_od",
    "fnirs_td_gated_amplitude",
    "fnirs_td_moments_intensity",
    "fnirs_td_moments_mean",
    "fnirs_td_moments_variance",
)
DATA_TYPES = (*MEG_TYPES, "eeg", "csd", "seeg", "ecog", "dbs", *FNIRS_TYPES)
"""Types of channels that mne counts as data."""
SEVERAL_TYPES = {"data": DATA_TYPES, "meg": MEG_TYPES, "fnirs": FNIRS_TYPES}
STIM = "stim"
UNIT_NAMES = {107: "V", 112: "T", 201: "T/m", 6: "mol", 7: "rad", 110: "S", 114: "degC", 202: "Am"}
"""Numbers of units in `.fif` files, which mne uses for all formats."""
OTHER_UNIT = "arbitrary"
N_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class PicksConfig(ReaderConfig):
    """Keys of files that mne reads."""

    seen_otherwise: ClassVar[tuple[str, ...]] = ("picks", "include_bads")

    picks: str | list[str] | None = None
    """Channels: types (eeg, meg, mag, misc, ..) or names, or a list of them; by default all MEG, EEG and other data."""

    include_bads: bool = False
    """Keep channels that the file marks as bad."""

    def __post_init__(self) -> None:
        accepted = "a type of channels, a name, or a list of them"
        check_instance("picks", self.picks, (str, list, type(None)), accepted)
        if self.picks is not None:
            check_texts("picks", [self.picks] if isinstance(self.picks, str) else self.picks)
        if self.picks == []:
            raise ConfigurationError("picks", self.picks, "left out, or a list of at least one type or name")
        check_instance("include_bads", self.include_bads, bool, "true or false")


@dataclass(frozen=True, kw_only=True)
class ChosenChannels:
    """Channels of a recording that become the signals' channels, in this order."""

    indices: tuple[int, ...]
    names: tuple[str, ...]
    units: str
    warned: tuple[str, ...]
    bads: tuple[str, ...] = ()
    """Those of `picks` that are left out because they are marked bad."""


KEEP_BADS = 'set "include_bads": true'
"""How channels that are marked bad are kept, where a config says what is read."""


def chosen_channels(recording: Any, config: PicksConfig, path: Path, keep_bads: str = KEEP_BADS) -> ChosenChannels:
    """Find the channels that `picks` names: types in the order of the file, names in the order of `picks`.

    Parameters
    ----------
    recording : mne.io.BaseRaw or mne.BaseEpochs
    config : PicksConfig
    path : Path
        For messages.
    keep_bads : str
        How channels that are marked bad could be kept, for messages.

    Raises
    ------
    DataError
        When there is no such channel, it is marked bad or holds triggers; lists what there is.
    """
    names, types = list(recording.ch_names), list(recording.get_channel_types())
    picks = ["data"] if config.picks is None else [config.picks] if isinstance(config.picks, str) else config.picks
    bads = set() if config.include_bads else set(recording.info["bads"])
    found: dict[int, None] = {}
    left_out: dict[str, None] = {}
    for pick in picks:
        indices = _indices(pick, names, types)
        if not indices:
            raise DataError(_nothing_found(pick, config, path, names, types))
        named = indices == [names.index(pick)] if pick in names else False
        if named and pick in bads:
            raise DataError(f"{path}: channel {pick} of 'picks' is marked bad; leave it out, or {keep_bads}.")
        if any(types[index] == STIM for index in indices):
            raise DataError(f"{path}: {pick} of 'picks' holds triggers, which are not signals; leave it out.")
        left_out.update((names[index], None) for index in indices if names[index] in bads)
        found.update((index, None) for index in indices if names[index] not in bads)
    if not found:
        raise DataError(
            f"{path}: all channels of {', '.join(picks)} are marked bad ({_some(list(left_out))}); {keep_bads}, "
            "or choose others by 'picks'."
        )
    warned = (f"channels marked bad were left out: {_some(list(left_out))}",) if left_out else ()
    return ChosenChannels(
        indices=tuple(found),
        names=tuple(names[index] for index in found),
        units=_units(recording, list(found), types),
        warned=warned,
        bads=tuple(left_out),
    )


def _indices(pick: str, names: Sequence[str], types: Sequence[str]) -> list[int]:
    """Channels of a type, or else the one of that name."""
    meant = SEVERAL_TYPES.get(pick, (pick,))
    of_type = [index for index, kind in enumerate(types) if kind in meant]
    return of_type or [index for index, name in enumerate(names) if name == pick]


def _nothing_found(pick: str, config: PicksConfig, path: Path, names: Sequence[str], types: Sequence[str]) -> str:
    there = ", ".join(
        f"{kind} ({_some([name for name, other in zip(names, types) if other == kind])})"
        for kind in dict.fromkeys(types)
    )
    if config.picks is None:
        return f"{path} has no channels of MEG, EEG or other data; it has {there}; choose among them by 'picks'."
    return f"{path} has no channels {pick!r} as asked for by 'picks'; it has {there}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:N_NAMED]) + (f", .., {len(names)} in all" if len(names) > N_NAMED else "")


def _units(recording: Any, indices: Sequence[int], types: Sequence[str]) -> str:
    """Unit of the channels: one where it is the same, else one a type."""
    units = {index: UNIT_NAMES.get(int(recording.info["chs"][index]["unit"]), OTHER_UNIT) for index in indices}
    if len(set(units.values())) == 1:
        return units[indices[0]]
    return ", ".join(dict.fromkeys(f"{units[index]} ({types[index]})" for index in indices))
