"""Sound recordings of every format that dynml reads: arrays, tables, EEG, MEG and fMRI."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from chaos_specimens import N_CHANNELS, RATE, Specimen, recorded, signals


def arrays() -> list[Specimen]:
    """Formats of plain arrays and tables."""
    import scipy.io

    table = "\n".join("\t".join(f"{value:.5g}" for value in row) for row in signals())
    names = "\t".join(f"c{number}" for number in range(N_CHANNELS))
    rate = {"sampling_frequency": RATE}
    variables = {"x": signals(), "note": {"text": "a"}, "cells": np.array([["a", "b"]], dtype=object), "n": 3}
    return [
        recorded("npy", "run.npy", lambda path: np.save(path, signals()), **rate),
        recorded(
            "npy, float64, Fortran", "run.npy", lambda path: np.save(path, np.asfortranarray(signals() * 1.0)), **rate
        ),
        recorded("npz", "run.npz", lambda path: np.savez(path, x=signals(), y=np.arange(3)), variable="x", **rate),
        recorded("npz, compressed", "run.npz", lambda path: np.savez_compressed(path, x=signals()), **rate),
        recorded("mat v5", "run.mat", lambda path: scipy.io.savemat(path, variables), variable="x", **rate),
        recorded(
            "mat v5, compressed",
            "run.mat",
            lambda path: scipy.io.savemat(path, {"x": signals()}, do_compression=True),
            **rate,
        ),
        recorded("mat v7.3", "run.mat", _write_mat_7_3, **rate),
        recorded("hdf5", "run.h5", _write_hdf5, variable="a/x", **rate),
        recorded("tsv", "run.tsv", lambda path: path.write_text(f"{names}\n{table}\n") and None, **rate),
        recorded(
            "csv", "run.csv", lambda path: path.write_text(f"{names}\n{table}\n".replace("\t", ",")) and None, **rate
        ),
        recorded("txt", "run.txt", lambda path: path.write_text(table.replace("\t", "  ")) and None, **rate),
        recorded("ts", "run.ts", _write_ts, **rate),
    ]


def _write_mat_7_3(path: Path) -> None:
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=signals().T, chunks=(2, 60), compression="gzip")
        file["x"].attrs["MATLAB_class"] = np.bytes_("single")
        file.create_group("#refs#")["a"] = np.ones((2, 2))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def _write_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["a/x"] = signals()
        file["a/x"].attrs["units"] = "uV"
        file["a/y"] = h5py.SoftLink("/a/x")


def _write_ts(path: Path) -> None:
    generator = np.random.default_rng(0)
    header = "@problemName A\n@timeStamps false\n@missing false\n@univariate false\n@dimensions 3\n@equalLength false\n"
    lines = [
        ":".join(",".join(f"{x:.4g}" for x in row) for row in generator.normal(size=(3, 40))) + f":{label}"
        for label in ("left", "right", "left")
    ]
    path.write_text(f"{header}@classLabel true left right\n@data\n" + "\n".join(lines) + "\n")


# ---------------------------------------------------------------------- read by mne


def electrophysiology() -> list[Specimen]:
    """Formats of EEG and MEG."""

    def exported(path: Path) -> None:
        import mne

        mne.export.export_raw(path, _raw(), verbose="error")

    def saved(path: Path) -> None:
        _raw().save(path, verbose="error")

    return [
        recorded("fif", "a_raw.fif", saved),
        recorded("fif.gz", "a_raw.fif.gz", saved),
        recorded("fif, epochs", "a-epo.fif", lambda path: _epochs().save(path, verbose="error") and None),
        recorded("edf", "a.edf", exported),
        recorded("bdf", "a.bdf", _write_bdf),
        recorded("vhdr, vmrk, eeg", "a.vhdr", exported, "a.vhdr", "a.vmrk", "a.vmrk", "a.eeg"),
        recorded("set", "a.set", exported),
        recorded("set, epochs", "a.set", lambda path: _export_epochs(path)),
    ]


def _raw() -> Any:
    import mne

    names = [f"A{number}" for number in range(N_CHANNELS)]
    raw = mne.io.RawArray(signals().T * 1e-5, mne.create_info(names, RATE, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations([0.5, 1.2, 2.0], [0.1, 0.2, 0.0], ["BAD move", "face", "house"]))
    return raw


def _epochs() -> Any:
    import mne

    marks = np.array([[20, 0, 1], [90, 0, 2], [160, 0, 1]])
    settings = {"tmin": -0.1, "tmax": 0.4, "baseline": None, "preload": True, "verbose": "error"}
    return mne.Epochs(_raw().set_annotations(None), marks, {"face": 1, "house": 2}, **settings)


def _export_epochs(path: Path) -> None:
    import mne

    mne.export.export_epochs(path, _epochs(), verbose="error")


def _write_bdf(path: Path) -> None:
    import edfio

    rows = (signals()[: 2 * int(RATE)] - 5).T
    channels = [
        edfio.BdfSignal(row.astype(float), RATE, label=f"A{number}", physical_dimension="uV")
        for number, row in enumerate(rows)
    ]
    edfio.Bdf(channels, annotations=[edfio.EdfAnnotation(0.5, 0.1, "face")]).write(path)


# ---------------------------------------------------------------------- images


def images() -> list[Specimen]:
    """Formats of fMRI with atlas and confounds."""
    atlas = {"atlas": "atlas.nii.gz", "atlas_labels": "labels.tsv"}
    cleaned = {"confounds": "confounds.tsv", "confounds_strategy": ["motion", "high_pass", "compcor"]}
    cleaned["confounds_parameters"] = {"motion": "basic", "compcor": "anat_combined", "n_compcor": 2}
    maps = {"atlas": "maps.nii.gz", "repetition_time": 2.0}
    return [
        recorded("nii", "bold.nii", _write_bold, **atlas),
        recorded("nii.gz", "bold.nii.gz", _write_bold, **atlas),
        recorded("nii.gz, atlas", "bold.nii.gz", _write_bold, "atlas.nii.gz", "labels.tsv", **atlas),
        recorded("nii.gz, maps", "bold.nii.gz", _write_bold, "maps.nii.gz", **maps),
        recorded("confounds.tsv", "bold.nii.gz", _write_bold, "confounds.tsv", "confounds.json", **atlas, **cleaned),
        recorded("ptseries.nii", "a.ptseries.nii", _write_parcels),
        recorded("dtseries.nii, dlabel.nii", "a.dtseries.nii", _write_dense, "a.dlabel.nii", atlas="a.dlabel.nii"),
    ]


def _save(image: Any, path: Path) -> None:
    import nibabel

    nibabel.save(image, path)  # type: ignore[attr-defined]
    if path.name.endswith(".gz"):
        # nibabel writes the time of day into the header.
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=0))


def _write_bold(path: Path) -> None:
    import nibabel

    generator = np.random.default_rng(1)
    affine, shape = np.diag([3.0, 3.0, 3.0, 1.0]), (5, 4, 3)
    bold = nibabel.Nifti1Image(generator.normal(100, 5, (*shape, 40)).astype(np.float32), affine)
    bold.header.set_xyzt_units("mm", "sec")
    bold.header.set_zooms((3.0, 3.0, 3.0, 2.0))
    _save(bold, path)
    labels = (np.arange(60) % 4).reshape(shape).astype(np.int16)
    _save(nibabel.Nifti1Image(labels, affine), path.parent / "atlas.nii.gz")
    maps = generator.random((*shape, 3)).astype(np.float32)
    _save(nibabel.Nifti1Image(maps, affine), path.parent / "maps.nii.gz")
    (path.parent / "labels.tsv").write_text("index\tname\n1\tone\n2\ttwo\n3\tthree\n")
    columns = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    columns += ["cosine00", *(f"a_comp_cor_0{number}" for number in range(3))]
    rows = ["\t".join(f"{value:.4g}" for value in row) for row in generator.normal(0, 0.1, (40, len(columns)))]
    (path.parent / "confounds.tsv").write_text("\n".join(["\t".join(columns), *rows]) + "\n")
    (path.parent / "confounds.json").write_text(json.dumps({name: {"Mask": "combined"} for name in columns[-3:]}))


def _write_parcels(path: Path) -> None:
    from nibabel.cifti2 import cifti2_axes as axes

    surface = "CIFTI_STRUCTURE_CORTEX_LEFT"
    places = [{surface: np.array([place])} for place in range(N_CHANNELS)]
    voxels = [np.zeros((0, 3), dtype=int)] * N_CHANNELS
    names = [f"p{place}" for place in range(N_CHANNELS)]
    _write_cifti(path, signals(), axes.ParcelsAxis(names, voxels, places, nvertices={surface: 30}))


def _write_dense(path: Path) -> None:
    import nibabel
    from nibabel.cifti2 import cifti2_axes as axes

    surface = axes.BrainModelAxis.from_surface(np.arange(20), 20, name="CortexLeft")
    mask = np.zeros((4, 3, 2), dtype=bool)
    mask[1:3, 1, 0] = True
    axis = surface + axes.BrainModelAxis.from_mask(mask, affine=np.diag([2.0, 2, 2, 1]), name="thalamus_left")
    _write_cifti(path, signals(n_channels=len(axis)), axis)
    table = axes.LabelAxis(
        ["parcels"], [{0: ("???", (1, 1, 1, 1)), 1: ("one", (1, 0, 0, 1)), 2: ("two", (0, 0, 1, 1))}]
    )
    keys = (np.arange(len(axis)) % 3)[None].astype(np.float32)
    _save(nibabel.Cifti2Image(keys, (table, axis)), path.parent / "a.dlabel.nii")


def _write_cifti(path: Path, values: np.ndarray, axis: Any) -> None:
    import nibabel
    from nibabel.cifti2 import cifti2_axes as axes

    _save(nibabel.Cifti2Image(values, (axes.SeriesAxis(0, 0.8, len(values)), axis)), path)
