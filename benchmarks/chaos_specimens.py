"""What a specimen is: sound files of a format, in a folder with what a user needs to read them.

A specimen is read as a user reads it: recordings and tables by making a store, the rest by the function behind the
script that takes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RATE, N_SAMPLES, N_CHANNELS = 100.0, 240, 4


@dataclass(frozen=True)
class Specimen:
    """Sound files and what reads them.

    Attributes
    ----------
    name : str
        Of the format.
    make : callable
        Writes all files into an empty folder.
    damaged : tuple of str
        Which of them are damaged, one at a time.
    read : callable
        Reads the folder.
    """

    name: str
    make: Callable[[Path], None]
    damaged: tuple[str, ...]
    read: Callable[[Path], object]


def signals(seed: int = 0, n_channels: int = N_CHANNELS) -> np.ndarray:
    """White noise around a mean, (T, C), float32."""
    generator = np.random.default_rng(seed)
    return generator.normal(5, 1, (N_SAMPLES, n_channels)).astype(np.float32)


# ---------------------------------------------------------------------- read by making a store


def make_store(folder: Path) -> None:
    """Make a store of the folder's recordings by its config and list."""
    from dynml.conversion.creation import create_store

    inputs = folder / "config.json", {"training": folder / "training.txt"}
    create_store(folder / "ready", folder / "store.hdf5", *inputs, overwrite=True)


def make_store_of_table(folder: Path) -> None:
    """Make a store of the files that a table names."""
    from dynml.conversion.creation import create_store

    lists = {"training": folder / "training.txt"}
    create_store(folder / "table.tsv", folder / "store.hdf5", folder / "config.json", lists, overwrite=True)


def write_study(folder: Path, files: str, settings: dict[str, Any], config: dict[str, Any] | None = None) -> Path:
    """Config and list of one subject; gives the subject's folder."""
    group = {"type": "timeseries", "files": [files], **settings}
    (folder / "config.json").write_text(json.dumps({"signals": group, **(config or {})}, indent=1))
    (folder / "training.txt").write_text("sub-a\n")
    subject = folder / "ready" / "sub-a"
    subject.mkdir(parents=True)
    return subject


def recorded(name: str, file: str, write: Callable[[Path], None], *further: str, **settings: Any) -> Specimen:
    """Specimen of one format of recordings; `further` files beside the first are damaged as well."""

    def make(folder: Path) -> None:
        write(write_study(folder, file, settings) / file)

    return Specimen(name, make, tuple(f"ready/sub-a/{one}" for one in (file, *further)), make_store)
