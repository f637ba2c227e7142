"""Twelve real fMRI runs of one person who looks at pictures: as files, as arrays, or laid out for a store.

The recordings are those of Haxby et al. 2001 (Science 293:2425) at 25 mm, as PyMVPA 2.6.5 ships them, under the licence
CC BY-SA 3.0; `haxby2001/NOTICE.md` beside them has authors, source and terms.

Shapes: T = 121 volumes of a run, C = 21 parcels.
"""

from __future__ import annotations

import csv
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.files import write_json

HAXBY_REPETITION_TIME = 2.5
"""Seconds from one volume to the next."""

HAXBY_PARCEL_NAMES: dict[int, str] = {
    1: "Frontal Pole",
    3: "Superior Frontal Gyrus",
    4: "Middle Frontal Gyrus",
    7: "Precentral Gyrus",
    8: "Temporal Pole",
    12: "Middle Temporal Gyrus (posterior)",
    14: "Inferior Temporal Gyrus (anterior)",
    17: "Postcentral Gyrus",
    18: "Superior Parietal Lobule",
    22: "Lateral Occipital Cortex (superior)",
    23: "Lateral Occipital Cortex (inferior)",
    24: "Intracalcarine Cortex",
    28: "Paracingulate Gyrus",
    31: "Precuneous Cortex",
    32: "Cuneal Cortex",
    33: "Frontal Orbital Cortex",
    35: "Parahippocampal Gyrus (posterior)",
    36: "Lingual Gyrus",
    42: "Central Opercular Cortex",
    43: "Parietal Operculum Cortex",
    44: "Planum Polare",
}
"""Name of every label that holds voxels, after the numbering of the Harvard-Oxford cortical atlas (from 1)."""

PARTICIPANT = "sub-001"
GROUP = "bold"
N_TRAINING_RUNS, N_VALIDATION_RUNS = 8, 2

_FOLDER = Path(__file__).parent / "haxby2001"


@dataclass(frozen=True, kw_only=True)
class HaxbyFiles:
    """Where the recordings lie."""

    runs: tuple[Path, ...]
    """The 12 runs in order, 4D NIfTI."""
    atlas: Path
    """Harvard-Oxford labels on the grid of the runs."""
    masks: dict[str, Path]
    """brain, gray, white and vt (ventral temporal cortex), on the same grid."""
    labels: Path
    """Table with columns run (from 1), volume (from 0) and label."""
    notice: Path
    """Authors, source and licence: to be kept beside every copy."""


@dataclass(frozen=True, kw_only=True)
class HaxbyArrays:
    """The recordings as arrays."""

    signals: tuple[NDArray[np.float32], ...]
    """For each of the 12 runs, the mean over the voxels of every parcel, (T, C); neither detrended nor standardized."""
    labels: tuple[tuple[str, ...], ...]
    """For each run, what was shown during each volume: "rest" or a category."""
    parcel_names: tuple[str, ...]
    """C names."""
    repetition_time: float
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class ReadyFolder:
    """The arguments of `dynml_create_hdf5_dataset.py`, in its order (the store's own path comes second there)."""

    subjects_folder: Path
    """One folder per run, which is stored as a subject of its own."""
    config: Path
    training: Path
    validation: Path
    testing: Path


def haxby2001_files() -> HaxbyFiles:
    """Give the paths of the recordings inside the package.

    Raises
    ------
    DataError
        When the package was installed without them.
    """
    files = HaxbyFiles(
        runs=tuple(_FOLDER / f"run{run:02d}_bold.nii.gz" for run in range(1, 13)),
        atlas=_FOLDER / "mask_hoc.nii.gz",
        masks={name: _FOLDER / f"mask_{name}.nii.gz" for name in ("brain", "gray", "white", "vt")},
        labels=_FOLDER / "labels.tsv",
        notice=_FOLDER / "NOTICE.md",
    )
    for path in (*files.runs, files.atlas, *files.masks.values(), files.labels, files.notice):
        if not path.is_file():
            raise DataError(f"{path} is missing: install dynml again, with its data files.")
    return files


def haxby2001_arrays() -> HaxbyArrays:
    """Read the 12 runs as parcel time series.

    No parcel is empty or constant in any run, and every run has the full rank of 21; a parcel is the mean of only one
    to five voxels of 25 mm.

    Returns
    -------
    HaxbyArrays
        `signals` holds 12 arrays (121, 21), float32, in scanner units.
    """
    import nibabel

    files = haxby2001_files()
    atlas = np.asarray(nibabel.load(files.atlas).dataobj)  # type: ignore[attr-defined]
    signals = []
    for path in files.runs:
        volumes = nibabel.load(path).get_fdata(dtype=np.float64)  # type: ignore[attr-defined]
        parcels = [volumes[atlas == label].mean(axis=0) for label in HAXBY_PARCEL_NAMES]
        signals.append(np.stack(parcels, axis=1).astype(np.float32))
    return HaxbyArrays(
        signals=tuple(signals),
        labels=_labels_of_runs(files),
        parcel_names=tuple(HAXBY_PARCEL_NAMES.values()),
        repetition_time=HAXBY_REPETITION_TIME,
    )


def write_haxby2001_ready_folder(folder: str | Path) -> ReadyFolder:
    """Lay the recordings out as `dynml_create_hdf5_dataset.py` wants them.

    Parameters
    ----------
    folder : str or Path
        Made, with its parents, if need be. It gets `subjects/sub-001_run-01/` and so on (bold.nii.gz and one label per
        volume), `config.json`, the atlas with its names, the three lists of subjects and the notice.

    Returns
    -------
    ReadyFolder

    Raises
    ------
    DataError
        When `folder` exists and is not empty, or cannot be written; nothing half-written stays.

    Notes
    -----
    There is one participant only, so each run is a subject of its own, all of participant sub-001, and the config says
    `"split": "runs"`: runs 1 to 8 are for training, 9 and 10 for validation, 11 and 12 for testing. The offsets between
    runs are most of the variance: each run is detrended and standardized by itself.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty: give a new or an empty folder.")
    temporary = folder.with_name(f".{folder.name}.partial-{secrets.token_hex(4)}-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        _fill(temporary)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        raise DataError(f"{folder} could not be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    lists = {subset: folder / f"{subset}.txt" for subset in ("training", "validation", "testing")}
    return ReadyFolder(subjects_folder=folder / "subjects", config=folder / "config.json", **lists)


def _fill(folder: Path) -> None:
    files = haxby2001_files()
    subjects = [f"{PARTICIPANT}_run-{run:02d}" for run in range(1, len(files.runs) + 1)]
    for subject, run, labels in zip(subjects, files.runs, _labels_of_runs(files)):
        subject_folder = folder / "subjects" / subject
        subject_folder.mkdir(parents=True)
        shutil.copyfile(run, subject_folder / "bold.nii.gz")
        (subject_folder / "labels.tsv").write_text("\n".join(["label", *labels]) + "\n", encoding="utf-8")
    shutil.copyfile(files.atlas, folder / "atlas.nii.gz")
    shutil.copyfile(files.notice, folder / "NOTICE.md")
    parcels = [f"{label}\t{name}" for label, name in HAXBY_PARCEL_NAMES.items()]
    (folder / "atlas_labels.tsv").write_text("\n".join(["index\tname", *parcels]) + "\n", encoding="utf-8")
    write_json(folder / "config.json", _config(subjects))
    first_testing = N_TRAINING_RUNS + N_VALIDATION_RUNS
    _write_list(folder / "training.txt", subjects[:N_TRAINING_RUNS])
    _write_list(folder / "validation.txt", subjects[N_TRAINING_RUNS:first_testing])
    _write_list(folder / "testing.txt", subjects[first_testing:])


def _config(subjects: list[str]) -> dict[str, object]:
    return {
        "split": "runs",
        "participants": dict.fromkeys(subjects, PARTICIPANT),
        GROUP: {
            "type": "timeseries",
            "files": ["bold.nii.gz"],
            "atlas": "atlas.nii.gz",
            "atlas_labels": "atlas_labels.tsv",
            "events": "labels.tsv",
            "detrend": True,
            "standardization": "per_run",
        },
    }


def _labels_of_runs(files: HaxbyFiles) -> tuple[tuple[str, ...], ...]:
    labels: list[list[str]] = [[] for _ in files.runs]
    with files.labels.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            run = labels[int(row["run"]) - 1]
            assert int(row["volume"]) == len(run), row
            run.append(row["label"])
    return tuple(map(tuple, labels))


def _write_list(path: Path, subjects: list[str]) -> None:
    path.write_text("".join(f"{subject}\n" for subject in subjects), encoding="utf-8")
