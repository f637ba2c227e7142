"""When the first volume of a series is, on the clock of the run's events.

Events count seconds from the first volume of the raw image. A series may begin later: its program may have dropped
volumes from the start, and slices that were brought to one time stand for a moment after the volume's beginning.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.conversion.bids.config import BidsConfig
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.files import read_json
from dynml.reading_files import is_file
from dynml.tables import read_table

START_TIME, CORRECTED, SLICE_TIMING = "StartTime", "SliceTimingCorrected", "SliceTiming"
DISCARDED = "NumberOfVolumesDiscardedByUser"
DUMMY_VOLUMES = "num_dummy_volumes"
MOVED = "events are placed by the time that each volume stands for"
UNKNOWN_DROPPED = "nothing says how many volumes were dropped from the start of runs; events are placed as if none were"
UNKNOWN_START = "slices were brought to one time, but no sidecar says to which; events may lie up to a volume too late"


@dataclass(frozen=True, kw_only=True)
class ClockFiles:
    """Files of a run that say how its volumes lie in time."""

    sidecars: tuple[Path, ...] = ()
    """Of the series, the nearest first."""
    raw_sidecars: tuple[Path, ...] = ()
    raw_image: Path | None = None
    quality: tuple[Path, ...] = ()
    """XCP-D's tables of quality, which count dummy volumes."""


def start_of_run(
    series: Path,
    files: ClockFiles,
    config: BidsConfig,
    n_volumes: int,
    repetition_time: float,
    where: str,
    warned: DataWarnings,
) -> float:
    """Say when the first volume of a series is, in seconds on the clock of the run's events.

    Parameters
    ----------
    series : Path
        For messages.
    files : ClockFiles
    config : BidsConfig
    n_volumes : int
        Of the series, censored ones included.
    repetition_time : float
        Seconds.
    where : str
        Group, subject and run, for messages.
    warned : DataWarnings
        Warned of a time other than 0, and of what is not known.

    Raises
    ------
    DataError
        When the series has another number of volumes than the raw image, and nothing says which are gone.
    """
    dropped, by = _dropped(series, files, config, n_volumes, where, warned)
    start, said_by = _start_time(files, config, where, warned)
    total = start + dropped * repetition_time
    if total:
        parts = [f"{start:g} s by {said_by}"] if start else []
        parts += [f"{dropped} volumes dropped by {by}"] if dropped else []
        warned.add(MOVED, f"{where}: the first one is at {total:g} s ({', '.join(parts)})")
    return total


def start_by_sidecar(path: Path, where: str, warned: DataWarnings) -> float:
    """Say when the first sample of any file is, by the sidecar of its name (`.json`); 0 where there is none."""
    sidecar = path.with_name(f"{path.name.split('.')[0]}.json")
    content = _content(sidecar)
    value = content.get(START_TIME)
    if value is None:
        if content.get(CORRECTED) is True:
            warned.add(UNKNOWN_START, where)
        return 0.0
    if not isinstance(value, (int, float)):
        return 0.0  # a time of day, say: a `.json` beside any file need not be a sidecar of BIDS
    start = _seconds(value, sidecar)
    if start:
        warned.add(MOVED, f"{where}: the first one is at {start:g} s ({START_TIME} of {sidecar.name})")
    return start


def _dropped(
    series: Path, files: ClockFiles, config: BidsConfig, n_volumes: int, where: str, warned: DataWarnings
) -> tuple[int, str]:
    """Volumes that are gone from the start, and who says so."""
    if config.dropped_volumes is not None:
        return config.dropped_volumes, "bids.dropped_volumes"
    said = _dummy_volumes(files.quality) or _discarded(files)
    if files.raw_image is None:
        if said is None and config.pipeline == "xcp_d":
            warned.add(UNKNOWN_DROPPED, where)
        if said is not None and said.is_copied is None:
            raise DataError(
                f"{where}: {said.path} says {DISCARDED} {said.n_volumes}, but not whether they are gone from the raw "
                "image, too, where events count from; state 'dropped_volumes' in 'bids', or give 'raw'."
            )
        return (0, "") if said is None else (said.n_volumes, said.path.name)
    n_raw = n_volumes_of(files.raw_image)
    missing = n_raw - n_volumes
    counts = f"{where}: {series} has {n_volumes} volumes and the raw image {files.raw_image} has {n_raw}"
    if said is not None and (said.is_copied is None and missing == 0):
        said = None
    n_said = 0 if said is None else said.n_volumes
    if missing < 0 or n_said > missing or (said is None and missing > 0):
        fault = (
            "nothing says how many are gone from the start" if said is None else f"{said.path} says {n_said} are gone"
        )
        raise DataError(f"{counts}, but {fault}, so that events have no place; state 'dropped_volumes' in 'bids'.")
    return n_said, "" if said is None else said.path.name


@dataclass(frozen=True)
class _Said:
    n_volumes: int
    path: Path
    is_copied: bool | None = False
    """None: not known, the same may hold of the raw image."""


def _dummy_volumes(tables: Sequence[Path]) -> _Said | None:
    for path in tables:
        column = read_table(path, delimiter="," if path.suffix == ".csv" else "\t").columns.get(DUMMY_VOLUMES, [])
        numbers = {text.removesuffix(".0") for text in column}
        if len(numbers) == 1 and (text := numbers.pop()).isdecimal():
            return _Said(int(text), path)
    return None


def _discarded(files: ClockFiles) -> _Said | None:
    """Volumes that the sidecar of the series calls discarded beyond those that the raw one does."""
    for path in files.sidecars:
        value = _content(path).get(DISCARDED)
        if isinstance(value, int) and value > 0:
            raw = [_content(sidecar) for sidecar in files.raw_sidecars]
            before = next((content[DISCARDED] for content in raw if isinstance(content.get(DISCARDED), int)), None)
            if before is None:
                return _Said(value, path, False if raw else None)
            return _Said(value - before, path) if value > before else None
    return None


def _start_time(files: ClockFiles, config: BidsConfig, where: str, warned: DataWarnings) -> tuple[float, str]:
    """Seconds from the beginning of a volume to the moment that it stands for, and who says so."""
    if config.start_time is not None:
        return float(config.start_time), "bids.start_time"
    corrected = False
    for path in files.sidecars:
        content = _content(path)
        if content.get(START_TIME) is not None:
            return _seconds(content[START_TIME], path), f"{START_TIME} of {path.name}"
        corrected |= content.get(CORRECTED) is True
    if not corrected:
        return 0.0, ""
    for path in files.raw_sidecars:
        times = _content(path).get(SLICE_TIMING)
        if isinstance(times, list) and times and all(isinstance(time, (int, float)) for time in times):
            return (min(times) + max(times)) / 2, f"the middle of {SLICE_TIMING} of {path.name}, fMRIPrep's default"
    warned.add(UNKNOWN_START, where)
    return 0.0, ""


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path) if is_file(path) else {}
    return content if isinstance(content, dict) else {}


def _seconds(value: object, path: Path) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise DataError(f"{path} says {START_TIME} {value!r}, but must say seconds.")
    return float(value)


def n_volumes_of(image: Path) -> int:
    """Volumes of an image, by its header.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    nibabel: Any = importlib.import_module("nibabel")
    try:
        shape = nibabel.load(image).shape
    except Exception as error:  # nibabel raises what it happens to meet in the bytes
        raise DataError(f"The header of the raw image {image} could not be read: {error}.") from error
    return int(shape[3]) if len(shape) > 3 else 1
