"""Small data sets as fMRIPrep and XCP-D lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dynml.conversion.creation import create_store
from dynml.store.reading import Store

SHAPE, N_VOLUMES = (6, 5, 4), 40
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
SPACE = "MNI152NLin2009cAsym"
CONFOUNDS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "csf", "white_matter")


def labels():
    values = np.zeros(SHAPE, dtype=np.int16)
    values[:2], values[2:4, :3], values[5] = 1, 2, 3
    return values


def bold(seed):
    return np.random.default_rng(seed).normal(1000, 50, (*SHAPE, N_VOLUMES)).astype(np.float32)


def confounds(seed):
    return np.random.default_rng(100 + seed).normal(size=(N_VOLUMES, len(CONFOUNDS)))


def means(seed, inside=None):
    """Signals of the three labels, (T, 3), by numpy."""
    values = labels() if inside is None else np.where(inside, labels(), 0)
    return np.stack([bold(seed)[values == value].astype(float).mean(axis=0) for value in (1, 2, 3)], axis=1)


def save(path: Path, data: np.ndarray, seconds: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data, AFFINE)
    if data.ndim == 4:
        image.header.set_zooms((3.0, 3.0, 3.0, seconds))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


def write_table(path: Path, names, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(names), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def inside_brain():
    mask = np.ones(SHAPE, dtype=np.uint8)
    mask[0] = 0
    return mask


def write_fmriprep_run(root: Path, subject: str, run: str, seed: int, session: str | None = None) -> Path:
    """One run with mask, confounds and sidecar; gives the folder."""
    folder = root / subject / (f"ses-{session}" if session else "") / "func"
    stem = f"{subject}_" + (f"ses-{session}_" if session else "") + run
    save(folder / f"{stem}_space-{SPACE}_res-2_desc-preproc_bold.nii.gz", bold(seed))
    save(folder / f"{stem}_space-{SPACE}_res-2_desc-brain_mask.nii.gz", inside_brain())
    sidecar = folder / f"{stem}_space-{SPACE}_res-2_desc-preproc_bold.json"
    sidecar.write_text(json.dumps({"RepetitionTime": 2.0}))
    write_table(folder / f"{stem}_desc-confounds_timeseries.tsv", CONFOUNDS, confounds(seed))
    return folder


class Derivatives:
    """A folder of derivatives, a config and lists; `create` makes the store."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.root, self.target = folder, folder / "derivatives", folder / "store.hdf5"
        self.group: dict[str, Any] = {"type": "timeseries", "standardization": "none", **settings}
        self.config: dict[str, Any] = {"bold": self.group}
        self.subjects = ["sub-01", "sub-02"]

    def create(self, root: Path | None = None) -> Store:
        (self.folder / "config.json").write_text(json.dumps(self.config))
        lists = {subset: self.folder / f"{subset}.txt" for subset in ("training", "validation", "testing")}
        for path, names in zip(lists.values(), (self.subjects[:1], self.subjects[1:], [])):
            path.write_text("".join(f"{name}\n" for name in names))
        create_store(root or self.root, self.target, self.folder / "config.json", lists, overwrite=True)
        return Store(self.target)


def fmriprep(folder: Path, **bids: Any) -> Derivatives:
    """`sub-01` with two sessions of two runs each and another task, `sub-02` with one run."""
    study = Derivatives(folder, atlas="atlas.nii.gz", bids={"pipeline": "fmriprep", "task": "rest", **bids})
    save(folder / "atlas.nii.gz", labels())
    seed = 0
    for session in ("1", "2"):
        for run in ("task-rest_run-1", "task-rest_run-2", "task-faces"):
            write_fmriprep_run(study.root, "sub-01", run, seed, session)
            seed += 1
    write_fmriprep_run(study.root, "sub-02", "task-rest", 10)
    return study


def series(seed):
    return np.random.default_rng(200 + seed).normal(size=(N_VOLUMES, 4))


PARCELS = ("V1", "M1", "A1", "S1")


def write_series(root: Path, subject: str, values, atlas="atlas-4S156Parcels", censored=None) -> Path:
    folder = root / subject / "func"
    stem = f"{subject}_task-rest"
    rows = [["n/a" if np.isnan(value) else repr(float(value)) for value in row] for row in values]
    path = write_table(folder / f"{stem}_space-{SPACE}_{atlas}_stat-mean_timeseries.tsv", PARCELS, rows)
    sidecar = folder / f"{stem}_space-{SPACE}_desc-denoised_bold.json"
    sidecar.write_text(json.dumps({"RepetitionTime": 0.8}))
    if censored is not None:
        flags = [[int(row in censored)] for row in range(N_VOLUMES)]
        write_table(folder / f"{stem}_outliers.tsv", ["framewise_displacement"], flags)
    return path


def xcp_d(folder: Path, censored=(), removed=False, **bids: Any) -> Derivatives:
    """Two subjects with one run each; censored volumes are interpolated, or removed from the files."""
    study = Derivatives(folder, bids={"pipeline": "xcp_d", "task": "rest", **bids})
    for seed, subject in enumerate(study.subjects):
        values = np.delete(series(seed), list(censored), axis=0) if removed else series(seed)
        write_series(study.root, subject, values, censored=censored)
    return study


def write_joined(study: Derivatives, subject: str, runs, drawn: int | None = None) -> None:
    """Runs as XCP-D writes them with `--combine-runs`: each by itself, and all joined under a name without `run`.

    Parameters
    ----------
    runs : list of int
        Seeds of the runs' series.
    drawn : int, optional
        Volumes that a column `exact_N` of the joined table leaves.
    """
    folder = study.root / subject / "func"
    for path in folder.glob(f"{subject}_task-rest*"):
        path.unlink()
    outliers = [[int(row in (3, 4))] for row in range(N_VOLUMES)] * len(runs)
    names = ["framewise_displacement"]
    for number, seed in enumerate(runs, start=1):
        stem = f"{subject}_task-rest_run-{number}"
        write_table(folder / f"{stem}_space-{SPACE}_seg-Tian_stat-mean_timeseries.tsv", PARCELS, series(seed).tolist())
        write_table(folder / f"{stem}_outliers.tsv", names, outliers[:N_VOLUMES])
        (folder / f"{stem}_space-{SPACE}_desc-denoised_bold.json").write_text(json.dumps({"RepetitionTime": 0.8}))
    if drawn is not None:
        names = [*names, f"exact_{drawn}"]
        outliers = [[one, int(row >= drawn)] for row, (one,) in enumerate(outliers)]
    joined = np.concatenate([series(seed) for seed in runs])
    stem = f"{subject}_task-rest"
    write_table(folder / f"{stem}_space-{SPACE}_seg-Tian_stat-mean_timeseries.tsv", PARCELS, joined.tolist())
    write_table(folder / f"{stem}_outliers.tsv", names, outliers)
    (folder / f"{stem}_space-{SPACE}_desc-denoised_bold.json").write_text(json.dumps({"RepetitionTime": 0.8}))
