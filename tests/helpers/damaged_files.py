"""Small sound files of every format, and ways to damage them: `python damaged_files.py FOLDER FIRST LAST [format ..]`.

As a program it lets the readers loose on damaged files, and prints one line for each that was neither read nor refused
by a sentence. Its memory is limited, so that a file that claims too much shows.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dynml.errors import DynmlError
from dynml.readers import Reader, reader_class
from dynml.readers.formats import config_for

BYTES_OF_MEMORY = 2 * 2**30
SLOW_SECONDS = 20.0
"""Of one small file: a hang, on any machine."""


def write_sound_files(folder: Path) -> dict[str, Path]:
    """One file of each format by its extension."""
    import edfio
    import h5py
    import mne
    import nibabel
    import pybv
    import scipy.io
    from cifti_making import grayordinates, keys_of, noise, parcels, write_labels, write_series
    from matlab_making import save_hdf5

    mne.set_log_level("ERROR")
    generator = np.random.default_rng(0)
    signals = generator.normal(size=(100, 3))
    paths = {extension: folder / f"sound{extension}" for extension in FORMATS}
    np.save(paths[".npy"], signals)
    np.savez_compressed(paths[".npz"], a=signals, b=np.arange(3))
    scipy.io.savemat(paths[".mat"], {"a": signals, "t": "text", "s": {"x": 1.0}}, do_compression=True)
    save_hdf5(paths["-7.3.mat"], a=signals)
    with h5py.File(paths[".h5"], "w") as file:
        file.create_dataset("group/a", data=signals, chunks=(20, 3), compression="gzip", fletcher32=True)
    for extension, delimiter in ((".txt", " "), (".csv", ","), (".tsv", "\t"), (".tsv.gz", "\t")):
        np.savetxt(paths[extension], signals, delimiter=delimiter, header=delimiter.join("äbc"), comments="")
    labels = np.arange(64).reshape(4, 4, 4) % 3
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.int16), np.eye(4)), folder / "atlas.nii.gz")
    image = nibabel.Nifti1Image((100 + generator.normal(size=(4, 4, 4, 12))).astype(np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    for extension in (".nii", ".nii.gz"):
        nibabel.save(image, paths[extension])
    axis = grayordinates()
    write_series(paths[".ptseries.nii"], noise(3), parcels(["a", "b", "c"]))
    write_series(paths[".dtseries.nii"], noise(len(axis)), axis)
    write_labels(folder / "labels.dlabel.nii", keys_of(axis), axis)
    raw = mne.io.RawArray(signals.T * 1e-5, mne.create_info(["Fz", "Cz", "Pz"], 50.0, "eeg"))
    raw.set_annotations(mne.Annotations([0.2, 0.5], [0.1, 0.0], ["BAD", "x"]))
    raw.save(folder / "sound_raw.fif")
    raw.save(folder / "sound_raw.fif.gz")
    for extension in (".fif", ".fif.gz"):
        paths[extension] = folder / f"sound_raw{extension}"
    edf = [
        edfio.EdfSignal(column, 50, label=f"C{number}", physical_range=(-200, 200))
        for number, column in enumerate(signals.T * 20)
    ]
    edfio.Edf(edf, annotations=[edfio.EdfAnnotation(0.2, None, "müde")]).write(paths[".edf"])
    pybv.write_brainvision(
        data=signals.T * 1e-5, sfreq=50.0, ch_names=["Fz", "Cz", "Pz"], fname_base="sound", folder_out=folder
    )
    scipy.io.savemat(paths[".set"], {"EEG": eeglab_struct(signals)}, appendmat=False, do_compression=True)
    paths[".ts"].write_text("@univariate true\n@classLabel true a b\n@data\n1,2,3:a\n4,5,?:b\n", encoding="utf-8")
    return paths


FORMATS = (
    *(".npy", ".npz", ".mat", "-7.3.mat", ".h5", ".txt", ".csv", ".tsv", ".tsv.gz", ".nii", ".nii.gz", ".ptseries.nii"),
    *(".dtseries.nii", ".fif", ".fif.gz", ".edf", ".vhdr", ".set", ".ts"),
)
"""Of the sound files; the data of the format `.vhdr` stand beside its file."""


def eeglab_struct(signals: np.ndarray, names: tuple[str, ...] = ("Fz", "Cz", "Pz")) -> dict[str, object]:
    """Fields of an EEGLAB file, as scipy writes them."""
    n_samples, n_channels = signals.shape
    empty = np.empty((0, 0))
    return {
        "setname": "sound",
        "nbchan": float(n_channels),
        "trials": 1.0,
        "pnts": float(n_samples),
        "srate": 50.0,
        "xmin": 0.0,
        "xmax": (n_samples - 1) / 50.0,
        "data": signals.T.astype(np.float32),
        "chanlocs": np.array([(name,) for name in names], dtype=[("labels", object)]),
        "event": np.array([("x", 11.0, 0.0)], dtype=[("type", object), ("latency", float), ("duration", float)]),
        "urevent": empty,
        "icaweights": empty,
        "icasphere": empty,
        "icawinv": empty,
    }


def damaged(content: bytes, seed: int) -> bytes:
    """Damage bytes in one of the ways that disks, transfers and writers have, and some that only attackers have."""
    generator = np.random.default_rng([seed, len(content)])
    bytes_left = bytearray(content)
    for _ in range(int(generator.integers(1, 4))):
        bytes_left = DAMAGES[int(generator.integers(len(DAMAGES)))](bytes_left, generator)
    return bytes(bytes_left)


def _place(content: bytearray, generator: np.random.Generator) -> int:
    # Headers are most of what readers trust, and a small part of most files.
    near = generator.random() < 0.5
    return int(generator.integers(max(1, min(len(content), 600) if near else len(content))))


def _flip(content: bytearray, generator: np.random.Generator) -> bytearray:
    place = _place(content, generator)
    content[place : place + 1] = bytes([content[place] ^ (1 << int(generator.integers(8)))]) if content else b""
    return content


def _overwrite(content: bytearray, generator: np.random.Generator) -> bytearray:
    place, length = _place(content, generator), int(generator.integers(1, 9))
    fills = (b"\0" * length, b"\xff" * length, generator.bytes(length), b"9" * length, b"-1 nan 1e999"[:length])
    content[place : place + length] = fills[int(generator.integers(len(fills)))]
    return content


def _number(content: bytearray, generator: np.random.Generator) -> bytearray:
    numbers = (0, 1, -1, 2**31 - 1, -(2**31), 2**40, 2**63 - 1)
    number = numbers[int(generator.integers(len(numbers)))]
    size = 8 if abs(number) > 2**31 else 4
    place = _place(content, generator) // size * size
    content[place : place + size] = number.to_bytes(size, "little" if generator.random() < 0.5 else "big", signed=True)
    return content


def _cut(content: bytearray, generator: np.random.Generator) -> bytearray:
    return content[: _place(content, generator)]


def _repeat(content: bytearray, generator: np.random.Generator) -> bytearray:
    place = _place(content, generator)
    piece = content[place : place + int(generator.integers(1, 200))]
    return content[:place] + piece * int(generator.integers(2, 20)) + content[place:]


def _remove(content: bytearray, generator: np.random.Generator) -> bytearray:
    place = _place(content, generator)
    del content[place : place + int(generator.integers(1, 50))]
    return content


Damage = Callable[[bytearray, np.random.Generator], bytearray]
DAMAGES: tuple[Damage, ...] = (_flip, _flip, _overwrite, _overwrite, _number, _number, _cut, _repeat, _remove)


def reader_of(folder: Path, path: Path) -> Reader:
    """Reader of a file, with the keys that it needs."""
    keys: dict[str, Any] = {"variable": "a"} if path.name.endswith(".npz") else {}
    if path.name.endswith(".dtseries.nii"):
        keys = {"atlas": folder / "labels.dlabel.nii"}
    elif path.name.endswith((".nii", ".nii.gz")) and not path.name.endswith(".ptseries.nii"):
        keys = {"atlas": folder / "atlas.nii.gz"}
    return reader_class(path)(config_for(path, keys))


def fault_of_reader(folder: Path, path: Path) -> str:
    """Describe and read a file; say what was raised that is no sentence of the project's, or nothing."""
    started = time.monotonic()
    try:
        reader = reader_of(folder, path)
        description = reader.describe(path)
        signals = reader.read(path)
        assert signals.shape == (description.n_samples, description.n_channels)
        assert signals.dtype in (np.float32, np.float64)
    except DynmlError as error:
        text = str(error)
        if "sound" not in text and "damaged" not in text:
            return f"names no file: {text}"
        if "\n" in text.strip() and "Traceback" in text:
            return f"holds a traceback: {text}"
    except BaseException:
        return traceback.format_exc()
    if time.monotonic() - started > SLOW_SECONDS:
        return f"took {time.monotonic() - started:.0f} s"
    return ""


def main(folder: Path, first: int, last: int, formats: list[str]) -> None:
    """Damage each file anew for each seed, and print what the readers made of it."""
    paths = write_sound_files(folder)
    fault_of_reader(folder, paths[".nii.gz"])  # imports what has to be imported
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES_OF_MEMORY, resource.RLIM_INFINITY))
    n_files = 0
    for extension in formats or FORMATS:
        content = paths[extension].read_bytes()
        target = paths[extension].with_name(f"damaged_raw{extension.removeprefix('-7.3')}")
        fault = fault_of_reader(folder, paths[extension])
        if fault:
            print(json.dumps([extension, "sound", fault]), flush=True)
        for seed in range(first, last):
            target.write_bytes(damaged(content, seed))
            n_files += 1
            fault = fault_of_reader(folder, target)
            if fault:
                print(json.dumps([extension, seed, fault]), flush=True)
    print(json.dumps(["done", n_files, ""]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
