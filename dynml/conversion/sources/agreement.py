"""Refuses differences between subjects: all of a group have the same channels, in one order, and one rate."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dynml.errors import DataError
from dynml.preparation.confounds.cleaning import CleaningPlan
from dynml.readers.reader import FileDescription, Reader
from dynml.recording import Events


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One run's file, as its header describes it."""

    path: Path
    name: str
    """Path within the subject's folder."""
    run_name: str
    """The same without its extension."""
    description: FileDescription
    reader: Reader
    cleaning: CleaningPlan | None = None
    """What is removed from the run after it was read."""
    columns: tuple[int, ...] | None = None
    """Column of the file for each channel of the first run, where it has them in another order."""


@dataclass(frozen=True, kw_only=True)
class GroupSources:
    """What makes one group of one subject."""

    files: list[SourceFile]
    channel_names: tuple[str, ...]
    sampling_frequency: float
    """Hz."""
    events: Events | None
    units: str
    order: tuple[int, ...] | None = None
    """Column of the files for each channel, where they were brought into another order."""


def check_agreement(group: str, sources: Mapping[str, GroupSources], *, mixed_rates: bool) -> None:
    """Refuse differences between subjects in the channels, their order, or the rate.

    Raises
    ------
    DataError
        Names the subject that differs from most, the group, the field and both values.
    """
    n_channels = {subject: len(one.channel_names) for subject, one in sources.items()}
    odd = _odd_one_out(n_channels)
    if odd is not None:
        subject, other = odd
        run = sources[subject].files[0]
        if run.description.n_samples == n_channels[other] and run.description.channel_names is None:
            raise DataError(
                f"Subject {subject}, group {group}: {run.path} has {run.description.n_samples} samples of "
                f"{n_channels[subject]} channels, while {other} has {n_channels[other]} channels: it looks transposed; "
                "save array.T instead."
            )
        raise DataError(
            f"Subject {subject}, group {group}: the number of channels is {n_channels[subject]}, but "
            f"{n_channels[other]} in {_how_many(n_channels, other)}{_difference(sources[subject], sources[other])}."
        )
    names = {subject: one.channel_names for subject, one in sources.items()}
    odd = _odd_one_out(names)
    if odd is not None:
        subject, other = odd
        same_set = set(names[subject]) == set(names[other])
        position = next(i for i, pair in enumerate(zip(names[subject], names[other])) if pair[0] != pair[1])
        what = "the order of the channels differs" if same_set else "the channel names differ"
        hint = '; "match_channels": true brings them into one order' if same_set else ""
        raise DataError(
            f"Subject {subject}, group {group}: {what}: channel {position} is {names[subject][position]!r}, but "
            f"{names[other][position]!r} in {_how_many(names, other)}{hint}."
        )
    rates = {subject: float(f"{one.sampling_frequency:.6g}") for subject, one in sources.items()}
    odd = None if mixed_rates else _odd_one_out(rates)
    if odd is not None:
        subject, other = odd
        raise DataError(
            f"Subject {subject}, group {group}: the sampling frequency is {rates[subject]:g} Hz, but "
            f"{rates[other]:g} Hz in {_how_many(rates, other)}; resample, or allow it by "
            '"allow_mixed_sampling_frequency": true.'
        )


def in_one_order(group: str, sources: Mapping[str, GroupSources]) -> dict[str, GroupSources]:
    """Bring the channels of all subjects, by their names, into the order that most of them have.

    Raises
    ------
    DataError
        When a subject lacks a channel, or has one that others lack; names it.
    """
    order = Counter(one.channel_names for one in sources.values()).most_common(1)[0][0]
    matched = {}
    for subject, one in sources.items():
        positions = {name: position for position, name in enumerate(one.channel_names)}
        lacking = [name for name in order if name not in positions]
        more = [name for name in positions if name not in set(order)]
        if lacking or more:
            what = f"has no channel {lacking[0]!r}" if lacking else f"has a channel {more[0]!r}"
            others = "which other subjects have" if lacking else "which other subjects have not"
            raise DataError(
                f"Subject {subject}, group {group} {what}, {others}; leave it out in all subjects, or leave this "
                "subject out."
            )
        if one.channel_names != order:
            one = dataclasses.replace(one, channel_names=order, order=tuple(positions[name] for name in order))
        matched[subject] = one
    return matched


def _difference(one: GroupSources, other: GroupSources) -> str:
    """Channels that one lacks, or has beyond the other, where the files name channels."""
    if any(sources.files[0].description.channel_names is None for sources in (one, other)):
        return ""
    own, others = set(one.channel_names), set(other.channel_names)
    lacking = [name for name in other.channel_names if name not in own]
    more = [name for name in one.channel_names if name not in others]
    if not lacking and not more:
        return ""
    named = lacking or more
    said = f": it {'lacks' if lacking else 'has'} {', '.join(named[:3])}{', ..' if len(named) > 3 else ''}"
    return f'{said}; "exclude_channels" leaves channels out of all, such as those that some files mark bad'


def _odd_one_out(values: Mapping[str, Hashable]) -> tuple[str, str] | None:
    """First subject that differs from most, and one of these; None when all agree."""
    most = Counter(values.values()).most_common(1)[0][0]
    typical = next(subject for subject, value in values.items() if value == most)
    odd = next((subject for subject, value in values.items() if value != most), None)
    return None if odd is None else (odd, typical)


def _how_many(values: Mapping[str, Hashable], typical: str) -> str:
    others = sum(value == values[typical] for value in values.values()) - 1
    return typical if others == 0 else f"{typical} and {others} more"
