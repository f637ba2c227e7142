"""Recordings of two subjects as MEG and EEG programs, fMRIPrep, XCP-D and others leave them: noise, in small files.

Shapes: T = samples, C = channels, X, Y, Z = voxels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUBJECTS = ("sub-01", "sub-02")
SPACE = "MNI152NLin2009cAsym"
N_VOLUMES = 120
GRID = (8, 8, 6)
CONFOUNDS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "csf", "white_matter")
MOVED_VOLUMES, CENSORED_VOLUMES = (40, 41, 90), (0, 50, 51)
CASES = {
    "sub-01": ("0.3,1.2,0.1,0.8:1.5,1.4,0.2,0.9:left", "0.7,0.2,0.9,1.1:0.1,0.6,0.3,0.4:right"),
    "sub-02": ("0.5,1.2,0.1,0.8:1.5,1.4,0.2,0.9:left", "0.7,0.2,0.9,1.1:0.1,0.6,0.5,0.4:right"),
}


def write_meg_and_eeg_files(folder: Path) -> None:
    """Write meeg/<subject>/: a continuous recording with bad stretches, and epochs of two conditions."""
    import mne

    generator = np.random.default_rng(0)
    for name in SUBJECTS:
        place = _made(folder / "meeg" / name)
        info = mne.create_info(["Fz", "Cz", "Pz", "STI"], 250, ["eeg", "eeg", "eeg", "stim"], verbose="ERROR")
        raw = mne.io.RawArray(1e-5 * generator.normal(size=(4, 5000)), info, verbose="ERROR")
        raw.set_annotations(mne.Annotations(onset=[4, 10], duration=[2, 1], description=["BAD movement", "face"]))
        raw.info["bads"] = ["Pz"] if name == SUBJECTS[0] else []
        raw.save(place / "rest_raw.fif", overwrite=True, verbose="ERROR")
        triggers = np.array([[500, 0, 1], [3000, 0, 2]])
        conditions = {"left": 1, "right": 2}
        epochs = mne.Epochs(raw, triggers, conditions, tmin=0, tmax=0.796, baseline=None, verbose="ERROR")
        epochs.save(place / "task-epo.fif", overwrite=True, verbose="ERROR")


def write_time_series_archive(folder: Path) -> None:
    """Write archive/<subject>/trials.ts: two cases of two channels, each with a class."""
    header = ("@univariate false", "@dimensions 2", "@classLabel true left right", "@data")
    for name, cases in CASES.items():
        place = _made(folder / "archive" / name)
        (place / "trials.ts").write_text("\n".join((*header, *cases, "")), encoding="utf-8")


def write_images(folder: Path) -> None:
    """Write labels.nii.gz and maps.nii.gz, two atlases, and images/<subject>/ with two runs and their confounds."""
    generator = np.random.default_rng(0)
    _write_atlases(folder)
    for name in SUBJECTS:
        for run in (1, 2):
            stem = folder / "images" / name / f"run-{run}"
            _write_image(stem.with_name(f"{stem.name}_bold.nii.gz"), _bold(generator))
            _write_confounds(stem.with_name(f"{stem.name}_confounds.tsv"), generator)


def write_cifti_series(folder: Path) -> None:
    """Write areas.dlabel.nii, an atlas, and cifti/<subject>/ with a dense and a parcellated series."""
    import nibabel
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, ParcelsAxis, SeriesAxis

    generator = np.random.default_rng(0)
    vertices = BrainModelAxis.from_surface(np.arange(60), 64, name="CortexLeft")
    names = {0: ("???", (0, 0, 0, 0)), 1: ("V1", (1, 0, 0, 1)), 2: ("M1", (0, 1, 0, 1))}
    keys = np.repeat([1, 0, 2], 20)[None].astype(np.float32)
    nibabel.save(
        nibabel.Cifti2Image(keys, (LabelAxis(["areas"], [names]), vertices)), _made(folder) / "areas.dlabel.nii"
    )
    parcels = ParcelsAxis.from_brain_models([("V1", vertices[:20]), ("M1", vertices[40:])])
    time = SeriesAxis(0, 0.72, 200)
    for name in SUBJECTS:
        place = _made(folder / "cifti" / name)
        dense = generator.normal(100, 5, (200, 60)).astype(np.float32)
        means = np.stack([dense[:, :20].mean(axis=1), dense[:, 40:].mean(axis=1)], axis=1)
        nibabel.save(nibabel.Cifti2Image(dense, (time, vertices)), place / "rest.dtseries.nii")
        nibabel.save(nibabel.Cifti2Image(means, (time, parcels)), place / "rest.ptseries.nii")


def write_fmriprep_derivatives(folder: Path) -> None:
    """Write fmriprep/ with two sessions of each subject, raw/ with their events, and the atlases of `write_images`."""
    generator = np.random.default_rng(0)
    _write_atlases(folder)
    for name in SUBJECTS:
        for session in ("ses-1", "ses-2"):
            run = f"{name}/{session}/func/{name}_{session}_task-rest"
            image = folder / "fmriprep" / f"{run}_space-{SPACE}_res-2_desc-preproc_bold.nii.gz"
            _write_image(image, _bold(generator))
            mask = image.with_name(image.name.replace("preproc_bold", "brain_mask"))
            _write_image(mask, np.ones(GRID, dtype=np.uint8))
            _write_sidecar(image.with_name(image.name.replace(".nii.gz", ".json")), 2.0)
            _write_confounds(folder / "fmriprep" / f"{run}_desc-confounds_timeseries.tsv", generator)
            events = folder / "raw" / f"{run}_events.tsv"
            _made(events.parent)
            rows = ("onset\tduration\ttrial_type", "10\t20\teyes_open", "60\t20\teyes_closed", "")
            events.write_text("\n".join(rows), encoding="utf-8")
    people = ("participant_id\tage", "sub-01\t31", "sub-02\t27", "")
    (folder / "raw" / "participants.tsv").write_text("\n".join(people), encoding="utf-8")


def write_xcp_d_derivatives(folder: Path) -> None:
    """Write xcp_d/ with a table of three parcels and one of censored volumes for each subject."""
    generator = np.random.default_rng(0)
    for name in SUBJECTS:
        stem = f"{_made(folder / 'xcp_d' / name / 'func')}/{name}_task-rest"
        series = generator.normal(size=(N_VOLUMES, 3))
        _write_table(
            Path(f"{stem}_space-{SPACE}_atlas-4S156Parcels_stat-mean_timeseries.tsv"),
            dict(zip(("LH_Vis_1", "LH_Mot_1", "RH_Vis_1"), series.T)),
        )
        _write_sidecar(Path(f"{stem}_space-{SPACE}_desc-denoised_bold.json"), 0.8)
        censored = np.isin(np.arange(N_VOLUMES), CENSORED_VOLUMES).astype(int)
        _write_table(Path(f"{stem}_outliers.tsv"), {"framewise_displacement": censored}, "%d")


def _write_atlases(folder: Path) -> None:
    labels = np.zeros(GRID, dtype=np.int16)
    labels[:2], labels[3:5], labels[6:] = 1, 2, 3
    _write_image(folder / "labels.nii.gz", labels)
    places = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij"), axis=-1)
    centres = np.array([[1, 1, 1], [4, 4, 3], [6, 6, 4]])
    distances = np.square(places[..., None, :] - centres).sum(axis=-1)
    _write_image(folder / "maps.nii.gz", np.exp(-distances / 8).astype(np.float32), seconds=None)


def _bold(generator: np.random.Generator) -> NDArray[np.float32]:
    return generator.normal(1000, 20, (*GRID, N_VOLUMES)).astype(np.float32)


def _write_image(path: Path, data: NDArray[Any], seconds: float | None = 2.0) -> None:
    """Write voxels of 3 mm, (X, Y, Z) or (X, Y, Z, T)."""
    import nibabel

    _made(path.parent)
    image = nibabel.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]))
    if data.ndim == 4 and seconds is not None:
        image.header.set_zooms((3.0, 3.0, 3.0, seconds))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def _write_confounds(path: Path, generator: np.random.Generator) -> None:
    columns = {name: generator.normal(size=N_VOLUMES).cumsum() for name in CONFOUNDS}
    columns["framewise_displacement"] = np.where(np.isin(np.arange(N_VOLUMES), MOVED_VOLUMES), 0.9, 0.1)
    columns["std_dvars"] = np.ones(N_VOLUMES)
    _write_table(path, columns, "%.6f")


def _write_table(path: Path, columns: dict[str, NDArray[Any]], number: str = "%.18e") -> None:
    table = np.stack(list(columns.values()), axis=1)
    np.savetxt(path, table, delimiter="\t", header="\t".join(columns), comments="", fmt=number)


def _write_sidecar(path: Path, repetition_time: float) -> None:
    path.write_text(json.dumps({"RepetitionTime": repetition_time}), encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
