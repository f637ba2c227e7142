"""Finds a subject's runs in the derivatives of fMRIPrep or XCP-D, and what belongs to each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dynml.conversion.bids.config import BidsConfig
from dynml.conversion.bids.entities import BidsFile, files_in, same_value
from dynml.conversion.bids.joints import JoinedRun, joined_runs
from dynml.conversion.bids.run_choice import IMAGES, chosen_series
from dynml.conversion.bids.run_clock import ClockFiles
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.files import read_json
from dynml.preparation.checks import other_unit_of_time
from dynml.reading_files import is_file
from dynml.store.layout import natural_order

REPETITION_TIME = "RepetitionTime"
PLAUSIBLE_SECONDS = (0.01, 60.0)
SAME_PLACE = ("space", "cohort", "res")


@dataclass(frozen=True, kw_only=True)
class BidsRun:
    """One run of a subject and the files that describe it; None where there is none."""

    path: Path
    name: str
    """Which run, `ses-1_task-rest_run-2`."""
    space: str | None = None
    """Entity `space`."""
    confounds: Path | None = None
    mask: Path | None = None
    outliers: Path | None = None
    """Table of the volumes that XCP-D censored."""
    events: Path | None = None
    repetition_time: float | None = None
    """Seconds, as a sidecar says."""
    sidecar: Path | None = None
    clock: ClockFiles = field(default_factory=ClockFiles)
    """What says when its volumes are."""
    joins: tuple[JoinedRun, ...] = ()
    """Runs that this series joins."""


def find_runs(
    root: Path, raw: Path | None, subject: str, config: BidsConfig, where: str, warned: DataWarnings
) -> list[BidsRun]:
    """Find all runs of a subject that the config asks for.

    Parameters
    ----------
    root : Path
        Folder of the derivatives.
    raw : Path or None
        Folder of the raw data set.
    subject : str
        `sub-01`, as its folder is called.
    config : BidsConfig
    where : str
        Subject and group, for messages.
    warned : DataWarnings
        Gathers what the user should know.

    Returns
    -------
    list of BidsRun
        In natural order of their names; sessions one after the other.

    Raises
    ------
    DataError
        When there is no run, two files match one run, or a sidecar's repetition time is implausible.
    """
    files = files_in(_folders(root / subject))
    raw_files = [] if raw is None else files_in([*_folders(raw / subject), *_above(raw, subject)])
    chosen = chosen_series(files, config, root / subject, where, warned)
    above = files_in(_above(root, subject))
    runs = [_run(file, files, raw_files, above, config, where) for file in chosen]
    _warn_of_lacking_events(runs, where, warned)
    return sorted(runs, key=lambda run: natural_order(run.name))


def _folders(subject_folder: Path) -> list[Path]:
    sessions = sorted(subject_folder.glob("ses-*"))
    return [subject_folder / "func", *(session / "func" for session in sessions)]


def _above(root: Path, subject: str) -> list[Path]:
    """Folders whose sidecars and events hold for all runs below."""
    return [*sorted((root / subject).glob("ses-*")), root / subject, root]


def _warn_of_lacking_events(runs: list[BidsRun], where: str, warned: DataWarnings) -> None:
    lacking = [run.name for run in runs if run.events is None]
    if lacking and len(lacking) < len(runs):
        topic = "Some runs have no table of events, though others of the subject have"
        warned.add(topic, f"{where}: {', '.join(lacking)}")


def _run(
    file: BidsFile,
    files: list[BidsFile],
    raw_files: list[BidsFile],
    above: list[BidsFile],
    config: BidsConfig,
    where: str,
) -> BidsRun:
    inherited = [*raw_files, *above]
    beside = [other for other in files if other.is_of_run(file)]
    mask = None
    if config.pipeline == "fmriprep" and file.extension in IMAGES:
        mask = _one(beside, lambda other: _is_mask_of(other, file), "brain masks", file, where)
    seconds, sidecar = _repetition_time(file, beside, inherited)
    events = [other for other in (*beside, *inherited) if _is_table(other, "events") and other.applies_to(file)]
    return BidsRun(
        path=file.path,
        name=file.run_name,
        space=file.entities.get("space"),
        confounds=_one(beside, _is_confounds, "tables of confounds", file, where),
        mask=mask,
        outliers=_one(beside, lambda other: _is_table(other, "outliers"), "tables of outliers", file, where),
        events=_most_specific(events),
        repetition_time=seconds,
        sidecar=sidecar,
        clock=_clock_files(file, beside, raw_files, above),
        joins=joined_runs(file, files, raw_files, IMAGES),
    )


def _clock_files(
    file: BidsFile, beside: list[BidsFile], raw_files: list[BidsFile], above: list[BidsFile]
) -> ClockFiles:
    images = [other.path for other in raw_files if other.suffix == "bold" and other.extension in IMAGES]
    own = {other.path for other in raw_files if other.run.keys() == file.run.keys() and _is_raw_of(other, file)}
    tables = [other.path for other in beside if other.suffix == "qc" and other.extension in (".tsv", ".csv")]
    return ClockFiles(
        sidecars=tuple(dict.fromkeys([*_near_sidecars(file, beside), *_sidecars_above(file, above)])),
        raw_sidecars=tuple(_sidecars_above(file, raw_files)),
        raw_image=next((path for path in images if path in own), None),
        quality=tuple(tables),
    )


def _is_raw_of(raw: BidsFile, file: BidsFile) -> bool:
    """Say whether a raw image is of a run; any of its echoes is as long as the others."""
    return all(same_value(file.entities.get(key), label) for key, label in raw.run.items())


def _one(files: list[BidsFile], fits: Callable[[BidsFile], bool], what: str, run: BidsFile, where: str) -> Path | None:
    found = [file for file in files if fits(file)]
    # Beside tables of all echoes there may be one of each: the one that says most of this file is its own.
    most = max((len(file.acquired) for file in found), default=0)
    own = [file.path for file in found if len(file.acquired) == most]
    if len(own) > 1:
        raise DataError(f"{where}: run {run.run_name} has two {what}, {own[0]} and {own[1]}; remove one.")
    return own[0] if own else None


def _is_table(file: BidsFile, suffix: str) -> bool:
    return file.suffix == suffix and file.extension == ".tsv"


def _is_confounds(file: BidsFile) -> bool:
    named = file.entities.get("desc") == "confounds" and file.suffix in ("timeseries", "regressors")
    return named and file.extension == ".tsv"


def _is_mask_of(other: BidsFile, file: BidsFile) -> bool:
    is_mask = other.suffix == "mask" and other.entities.get("desc") == "brain" and other.extension in IMAGES
    return is_mask and all(other.entities.get(entity) == file.entities.get(entity) for entity in SAME_PLACE)


def _most_specific(files: list[BidsFile]) -> Path | None:
    return max(files, key=lambda file: len(file.entities)).path if files else None


def _near_sidecars(file: BidsFile, beside: list[BidsFile]) -> list[Path]:
    """The sidecar of a file, then those of the run's images beside it."""
    own = file.path.with_name(f"{file.path.name.removesuffix(file.extension)}.json")
    return [own, *(other.path for other in beside if other.suffix == "bold" and other.extension == ".json")]


def _sidecars_above(file: BidsFile, inherited: list[BidsFile]) -> list[Path]:
    """Sidecars that hold for a file by BIDS's inheritance, the most specific first."""
    found = [other for other in inherited if other.suffix == "bold" and other.extension == ".json"]
    found = sorted((other for other in found if other.applies_to(file)), key=lambda other: -len(other.entities))
    return [other.path for other in found]


def _repetition_time(
    file: BidsFile, beside: list[BidsFile], inherited: list[BidsFile]
) -> tuple[float | None, Path | None]:
    """Seconds from one volume to the next, from the nearest sidecar that says so, and that sidecar."""
    for path in dict.fromkeys([*_near_sidecars(file, beside), *_sidecars_above(file, inherited)]):
        content = read_json(path) if is_file(path) else {}
        value = content.get(REPETITION_TIME) if isinstance(content, dict) else None
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not PLAUSIBLE_SECONDS[0] <= value <= PLAUSIBLE_SECONDS[1]:
            fault = other_unit_of_time(value) if number else None
            words = "" if fault is None else f" ({fault})"
            raise DataError(f"{path} says {REPETITION_TIME} {value!r}, but must say seconds from 0.01 to 60{words}.")
        return float(value), path
    return None, None
