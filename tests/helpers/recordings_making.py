"""Recordings of the package mne and folders of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mne
import numpy as np

from dynml.conversion.creation import create_store
from dynml.store.reading import Store

mne.set_log_level("ERROR")


def volts(n_channels: int, n_samples: int = 1000, seed: int = 0) -> np.ndarray:
    """White noise of some 10 uV with an offset, (C, T), as mne lies it."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n_channels, n_samples)) * 1e-5 + 1e-5 * np.arange(n_channels)[:, None]


def raw_of(
    signals: np.ndarray, types: Any = "eeg", rate: float = 100.0, first_samp: int = 0, names: Any = None
) -> mne.io.RawArray:
    """A recording in memory; channels are `A0`, `A1` and so on."""
    names = [f"A{number}" for number in range(len(signals))] if names is None else names
    return mne.io.RawArray(signals, mne.create_info(names, rate, types), first_samp=first_samp)


def saved(path: Path, raw: mne.io.BaseRaw, **settings: Any) -> Path:
    """Save a recording without rounding."""
    raw.save(path, fmt="double", overwrite=True, **settings)
    return path


class Folders:
    """A folder of subjects, and what makes a store of it."""

    def __init__(self, folder: Path, subjects: list[str], **settings: Any) -> None:
        self.folder = folder
        self.target = folder / "store.hdf5"
        self.config = {"type": "timeseries", "files": ["*_raw.fif"], **settings}
        self.lists = {"training": subjects[:1], "validation": subjects[1:], "testing": []}
        for subject in subjects:
            self.of(subject).mkdir(parents=True)

    def of(self, subject: str) -> Path:
        return self.folder / "ready" / subject

    def write_inputs(self) -> dict[str, Path]:
        (self.folder / "config.json").write_text(json.dumps({"eeg": self.config}), encoding="utf-8")
        paths = {subset: self.folder / f"{subset}.txt" for subset in self.lists}
        for subset, path in paths.items():
            path.write_text("".join(f"{name}\n" for name in self.lists[subset]), encoding="utf-8")
        return paths

    def create(self) -> Store:
        lists = self.write_inputs()
        create_store(self.folder / "ready", self.target, self.folder / "config.json", lists, overwrite=True)
        return Store(self.target)
