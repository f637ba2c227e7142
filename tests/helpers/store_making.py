"""Small recordings on disk and the stores made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dynml.conversion.creation import create_store
from dynml.store.reading import Store

SUBSETS = ("training", "validation", "testing")


class Study:
    """A folder of subjects, a config and three lists, to be changed at will before the store is made."""

    def __init__(self, folder: Path, runs: dict[str, list[np.ndarray]], **settings: Any) -> None:
        self.folder = folder
        self.ready = folder / "ready"
        self.target = folder / "store.hdf5"
        self.runs = runs
        self.config: dict[str, Any] = {
            "signals": {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 100.0, **settings}
        }
        self.lists: dict[str, list[str]] = {"training": list(runs), "validation": [], "testing": []}
        for subject, arrays in runs.items():
            (self.ready / subject).mkdir(parents=True)
            for number, array in enumerate(arrays):
                self.save(subject, number, array)

    def save(self, subject: str, number: int, array: np.ndarray) -> None:
        np.save(self.ready / subject / f"run-{number}.npy", array)

    def write_inputs(self) -> None:
        (self.folder / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        for subset in SUBSETS:
            text = "".join(f"{subject}\n" for subject in self.lists[subset])
            (self.folder / f"{subset}.txt").write_text(text, encoding="utf-8")

    def list_files(self) -> dict[str, Path]:
        return {subset: self.folder / f"{subset}.txt" for subset in SUBSETS}

    def create(self, overwrite: bool = False) -> Store:
        self.write_inputs()
        create_store(self.ready, self.target, self.folder / "config.json", self.list_files(), overwrite=overwrite)
        return Store(self.target)


def noise(n_samples: int, n_channels: int = 4, seed: int = 0) -> np.ndarray:
    """White noise with a mean and scale of its own in each channel, float32."""
    generator = np.random.default_rng(seed)
    scale = 1.0 + np.arange(n_channels)
    return (generator.normal(size=(n_samples, n_channels)) * scale + 10.0 * scale).astype(np.float32)


def two_subjects(folder: Path, **settings: Any) -> Study:
    """`sub-a` with two runs, `sub-b` with one."""
    runs = {"sub-a": [noise(120, seed=1), noise(60, seed=2)], "sub-b": [noise(80, seed=3)]}
    return Study(folder, runs, **settings)
