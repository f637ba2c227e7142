"""What headers of EDF, BDF and BrainVision files say and mne passes over: several rates, units, gaps, lost ends."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynml.errors import DataCorruptionError, DataError

BYTES_OF_HEADER = 256
BYTES_OF_CHANNEL = 256
LABELS, UNITS, SAMPLES = (0, 16), (96, 8), (216, 8)
"""Fields of the channels: bytes of all fields before, and its own."""
KIND, N_RECORDS, DURATION, N_CHANNELS = slice(192, 236), slice(236, 244), slice(244, 252), slice(252, 256)
ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
BYTES_OF_SAMPLE = {".edf": 2, ".bdf": 3}
BYTES_OF_BRAINVISION = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4, "IEEE_FLOAT_64": 8}


@dataclass(frozen=True)
class EdfHeader:
    """Channels of an EDF or BDF file, without those of annotations."""

    rates: tuple[float, ...]
    """Hz."""
    units: tuple[str, ...]


def edf_header(path: Path) -> EdfHeader:
    """Read and check the header. Source: Kemp et al. 1992 (EDF), Kemp and Olivan 2003 (EDF+).

    Raises
    ------
    DataError
        When the recording has gaps (EDF+D); `DataCorruptionError` when the file is shorter than its header says.
    """
    with path.open("rb") as stream:
        start = stream.read(BYTES_OF_HEADER)
        try:
            n_records, duration = int(start[N_RECORDS]), float(start[DURATION])
            n_channels = int(start[N_CHANNELS])
            if n_channels < 1 or not 0 <= duration < math.inf:
                raise ValueError(f"{n_channels} channels, records of {duration} s")
            table = stream.read(BYTES_OF_CHANNEL * n_channels)
            counts = [int(text) for text in _texts(table, n_channels, *SAMPLES)]
        except ValueError as error:
            kind = path.suffix[1:].upper()
            raise DataCorruptionError(f"{path} is not a valid {kind} file, or its header is truncated.") from error
    if start[KIND].startswith((b"EDF+D", b"BDF+D")):
        raise DataError(
            f"{path} is a recording with gaps (EDF+D), which would be read as if it had none; export it as EDF+C, one "
            "file a stretch."
        )
    n_bytes = BYTES_OF_HEADER + BYTES_OF_CHANNEL * n_channels
    n_bytes += max(n_records, 0) * sum(counts) * BYTES_OF_SAMPLE[path.suffix.lower()]
    if path.stat().st_size < n_bytes:
        raise DataCorruptionError(f"{path} is truncated: it has {path.stat().st_size} bytes instead of {n_bytes}.")
    labels, units = _texts(table, n_channels, *LABELS), _texts(table, n_channels, *UNITS)
    signals = [channel for channel in range(n_channels) if labels[channel] not in ANNOTATIONS]
    return EdfHeader(
        rates=tuple(counts[channel] / duration if duration else 0.0 for channel in signals),
        units=tuple(units[channel] for channel in signals),
    )


def check_one_rate(path: Path, header: EdfHeader, names: Sequence[str], chosen: Sequence[int]) -> None:
    """Refuse channels of several rates, which mne would bring to the highest without saying so.

    Raises
    ------
    DataError
        Names two channels and their rates.
    """
    first = chosen[0]
    for channel in chosen:
        if header.rates[channel] != header.rates[first]:
            raise DataError(
                f"{path}: channel {names[channel]} has {header.rates[channel]:g} samples per second, but "
                f"{names[first]} {header.rates[first]:g}; choose channels of one sampling frequency by 'picks'."
            )


def check_brainvision_is_whole(path: Path, n_samples: int, n_channels: int, data: Path) -> None:
    """Refuse BrainVision data that end within a sample, or not at the number of samples that the header states.

    Raises
    ------
    DataCorruptionError
        Names the file and what was found.
    """
    header = path.read_text(encoding="latin-1")  # the keys looked for are ASCII
    stated = re.search(r"^DataPoints=(\d+)\s*$", header, flags=re.MULTILINE)
    if stated is not None and int(stated[1]) != n_samples:
        raise DataCorruptionError(f"{data} is truncated: it has {n_samples} samples instead of {stated[1]}.")
    kind = re.search(r"^BinaryFormat=(\w+)\s*$", header, flags=re.MULTILINE)
    bytes_of_sample = BYTES_OF_BRAINVISION.get(kind[1].upper()) if kind is not None else None
    if bytes_of_sample is not None and data.stat().st_size % (bytes_of_sample * n_channels):
        raise DataCorruptionError(f"{data} is truncated: it ends within a sample of {n_channels} channels.")


def _texts(table: bytes, n_channels: int, before: int, width: int) -> list[str]:
    """Texts of one field of all channels, which lie together, channel after channel."""
    starts = range(before * n_channels, (before + width) * n_channels, width)
    return [table[start : start + width].decode("latin-1").strip() for start in starts]
