"""Speed of conversion to a store, beside a plain copy of the same files and beside their decoder alone.

    python benchmarks/conversion.py [--subjects 40] [--seconds 300] [--volumes 300] [--rounds 3]

- arrays: `.npy` files of 38 channels at 250 Hz, by `dynml_create_hdf5_dataset.py` (standardized, checksummed, written
  and verified) on one process and on two; beside it `shutil.copyfile` with fsync, the least that a verified copy does
  (read, SHA-256, write, fsync, read again, SHA-256), and numpy's load and save.
- images: 4D `.nii.gz` of 40 x 48 x 34 voxels through an atlas of 100 parcels; beside it the decoder, which reads each
  image once by nibabel, and the least that a verified conversion does: a verified copy, and unpacking by zlib.

MB/s are of the recordings' files. All take turns; medians of the clock and minima of the processor time count, the
latter because other work may run beside it; starting Python is part of the command and told apart. Python's bytecode is
kept between the runs, as it is where a package is installed: without it each process compiles dynml anew.
Results go to benchmarks/results/conversion.json.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from hmm_pass import RESULTS, machine

RATE, N_CHANNELS, SHAPE, N_PARCELS = 250, 38, (40, 48, 34), 100
BYTES_AT_ONCE = 2**20


def write_arrays(folder: Path, n_subjects: int, seconds: int) -> list[Path]:
    """A folder a subject with white noise."""
    for number in range(n_subjects):
        place = folder / "subjects" / f"sub-{number:03d}"
        place.mkdir(parents=True)
        signals = np.random.default_rng(number).standard_normal((seconds * RATE, N_CHANNELS), dtype=np.float32)
        np.save(place / "signals.npy", signals)
    write_lists(folder, n_subjects, {"type": "timeseries", "files": ["signals.npy"], "sampling_frequency": RATE})
    return sorted((folder / "subjects").glob("*/signals.npy"))


def write_images(folder: Path, n_subjects: int, n_volumes: int) -> list[Path]:
    """A folder a subject with a compressed image, and an atlas of slabs."""
    parcels = (np.arange(np.prod(SHAPE)) * N_PARCELS // np.prod(SHAPE) + 1).reshape(SHAPE).astype(np.int16)
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(parcels, np.diag([4.0, 4, 4, 1])), folder / "atlas.nii.gz")  # type: ignore[attr-defined]
    for number in range(n_subjects):
        place = folder / "subjects" / f"sub-{number:03d}"
        place.mkdir(parents=True)
        generator = np.random.default_rng(number)
        values = 1000 + 20 * generator.standard_normal((*SHAPE, n_volumes), dtype=np.float32)
        image: Any = nibabel.Nifti1Image(values.astype(np.int16), np.diag([4.0, 4, 4, 1]))  # type: ignore[attr-defined]
        image.header.set_zooms((4, 4, 4, 2))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, place / "bold.nii.gz")  # type: ignore[attr-defined]
    write_lists(folder, n_subjects, {"type": "timeseries", "files": ["bold.nii.gz"], "atlas": "atlas.nii.gz"})
    return sorted((folder / "subjects").glob("*/bold.nii.gz"))


def write_lists(folder: Path, n_subjects: int, group: dict[str, Any]) -> None:
    """Config and lists of subjects."""
    names = [f"sub-{number:03d}" for number in range(n_subjects)]
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    (folder / "training.txt").write_text("\n".join(names) + "\n")
    for name in ("validation", "testing"):
        (folder / f"{name}.txt").write_text("")


def converted(folder: Path, n_jobs: int) -> None:
    """Run the script."""
    script = Path(sys.executable).parent / "dynml_create_hdf5_dataset.py"
    names = ("subjects", "store.hdf5", "config.json", "training.txt", "validation.txt", "testing.txt")
    command = [sys.executable, str(script), *(str(folder / name) for name in names), "-f", "--n_jobs", str(n_jobs)]
    subprocess.run(command, check=True, capture_output=True, env=with_bytecode(folder.parent))


def with_bytecode(home: Path) -> dict[str, str]:
    """Variables of a program that keeps its bytecode below a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": str(home / "bytecode")}


def started(command: list[str], home: Path) -> None:
    """Run a program that only says how it is used."""
    subprocess.run(command, check=True, capture_output=True, env=with_bytecode(home))


def copied(files: list[Path], target: Path) -> None:
    """Plain copies, on the disk when done."""
    for number, file in enumerate(files):
        shutil.copyfile(file, target / str(number))
        with (target / str(number)).open("rb") as copy:
            os.fsync(copy.fileno())


def copied_and_verified(files: list[Path], target: Path) -> None:
    """Copies whose checksums are taken before and after."""
    for number, file in enumerate(files):
        content = file.read_bytes()
        before = hashlib.sha256(content).digest()
        with (target / str(number)).open("wb") as copy:
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
        assert hashlib.sha256((target / str(number)).read_bytes()).digest() == before


def loaded_and_saved(files: list[Path], target: Path) -> None:
    """Numpy alone."""
    for number, file in enumerate(files):
        np.save(target / f"{number}.npy", np.load(file))


def decoded(files: list[Path]) -> None:
    """Nibabel alone, each image once."""
    for file in files:
        image: Any = nibabel.load(file)  # type: ignore[attr-defined]
        np.asarray(image.dataobj)


def unpacked_and_copied(files: list[Path], target: Path) -> None:
    """Zlib alone, each image once, and a verified copy."""
    for file in files:
        with gzip.open(file) as stream:
            while stream.read(BYTES_AT_ONCE):
                pass
    copied_and_verified(files, target)


def seconds_of(action: Callable[[], None]) -> tuple[float, float]:
    """Time on the clock, and processor time of this process and of those that it started."""
    begin, before = time.perf_counter(), os.times()
    action()
    return time.perf_counter() - begin, sum(os.times()[:4]) - sum(before[:4])


def turns(actions: dict[str, Callable[[], None]], n_bytes: int, rounds: int) -> dict[str, Any]:
    """Let all take turns; the first round warms up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            taken = seconds_of(action)
            if number:
                seconds[name].append(taken)
    return {
        name: {
            "seconds": [clock for clock, _ in values],
            "processor_seconds": [processor for _, processor in values],
            "MB_per_second": n_bytes / 1e6 / float(np.median([clock for clock, _ in values])),
            "MB_per_processor_second": n_bytes / 1e6 / min(processor for _, processor in values),
        }
        for name, values in seconds.items()
    }


def main() -> None:
    """Write files, take turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--volumes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"date": date.today().isoformat(), "machine": machine("cpu"), "load": os.getloadavg()[0]}
    help_of = [sys.executable, str(Path(sys.executable).parent / "dynml_create_hdf5_dataset.py"), "--help"]
    with tempfile.TemporaryDirectory() as temporary:
        home, target = Path(temporary), Path(temporary) / "copies"
        target.mkdir()
        for _ in range(2):  # the first one compiles
            report["start_of_the_command_s"] = seconds_of(lambda: started(help_of, home))
        arrays = write_arrays(home / "arrays", arguments.subjects, arguments.seconds)
        n_bytes = sum(file.stat().st_size for file in arrays)
        ways: dict[str, Callable[[], None]] = {
            "store": lambda: converted(home / "arrays", 1),
            "store, two processes": lambda: converted(home / "arrays", 2),
            "plain copy": lambda: copied(arrays, target),
            "verified copy": lambda: copied_and_verified(arrays, target),
            "numpy load and save": lambda: loaded_and_saved(arrays, target),
        }
        report["arrays"] = {"bytes": n_bytes, **turns(ways, n_bytes, arguments.rounds)}
        images = write_images(home / "images", arguments.images, arguments.volumes)
        n_bytes = sum(file.stat().st_size for file in images)
        ways = {
            "store": lambda: converted(home / "images", 1),
            "store, two processes": lambda: converted(home / "images", 2),
            "decoder": lambda: decoded(images),
            "unpacking and verified copy": lambda: unpacked_and_copied(images, target),
        }
        report["images"] = {"bytes": n_bytes, **turns(ways, n_bytes, arguments.rounds)}
    for kind in ("arrays", "images"):
        for name, values in report[kind].items():
            if name != "bytes":
                rates = f"{values['MB_per_second']:.1f} MB/s, {values['MB_per_processor_second']:.1f} MB/processor s"
                print(f"{kind}, {name}: {rates}", flush=True)
    (RESULTS / "conversion.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
