"""Where dynml_extract_features.py puts what it found: a folder of .npy and .tsv files, or one HDF5 file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from dynml.cli.outputs.folders import check_output_folder, output_folder
from dynml.errors import DynmlError
from dynml.files import write_array
from dynml.tables import write_table

HDF5_ENDINGS = (".hdf5", ".h5")
Columns = dict[str, list[Any]]


class FeatureOutput(Protocol):
    """Takes what is found, piece by piece."""

    def embeddings(self, kind: str, vectors: Any, columns: Columns, label_names: tuple[str, ...]) -> None:
        """Vectors (n, d) with a table of where they come from; `label` holds positions in `label_names`, or -1."""

    def states(self, subject: str, states: Any) -> None:
        """Hidden state of every stored sample of a subject, (T, d)."""

    def group(self, name: str, arrays: Mapping[str, Any], tables: Mapping[str, Columns]) -> None:
        """Maps and what describes them: arrays, and (in a folder) tables."""

    def summary(self, content: dict[str, Any]) -> None:
        """What was done, as plain values."""

    def figure(self, name: str) -> Path:
        """Path of a picture."""


def check_output_is_free(path: Path, *, force: bool) -> None:
    """Refuse to overwrite, before anything is computed.

    Raises
    ------
    DynmlError
        Names what stands in the way.
    """
    if path.suffix.lower() in HDF5_ENDINGS:
        if path.is_dir():
            raise DynmlError(f"{path} is a folder, not an HDF5 file to write to.")
        if path.exists() and not force:
            raise DynmlError(f"{path} exists already; use -f to overwrite it.")
        if path.exists() and not _holds_features(path):
            raise DynmlError(
                f"{path} holds no features that dynml extracted, so that -f does not overwrite it; move it, or give "
                "another name."
            )
        return
    if path.exists() and not path.is_dir():
        raise DynmlError(f"{path} is a file: OUT must be a folder, or end in .hdf5 or .h5.")
    check_output_folder(path, force=force)


def _holds_features(path: Path) -> bool:
    import h5py

    if path.stat().st_size == 0:
        return True
    try:
        with h5py.File(path, "r", locking=False) as file:
            return "summary" in file.attrs and "embeddings" in file
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


@contextlib.contextmanager
def opened_output(path: Path, *, force: bool) -> Iterator[FeatureOutput]:
    """Open a folder, or an HDF5 file that appears when it is whole; other processes are kept out.

    Raises
    ------
    DynmlError
        When it cannot be made, or is there already and `force` is not set.
    """
    if path.suffix.lower() not in HDF5_ENDINGS:
        with output_folder(path, force=force):
            yield _Folder(path)
        return
    from dynml.files import folder_made_for, replacing
    from dynml.locks.writing import writing_to
    from dynml.store.file import new_hdf5_file

    with folder_made_for(path.parent), writing_to(path):
        check_output_is_free(path, force=force)
        with replacing(path) as temporary, new_hdf5_file(temporary) as (file, _):
            yield _File(path, file, force=force)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def embeddings(self, kind: str, vectors: Any, columns: Columns, label_names: tuple[str, ...]) -> None:
        import numpy as np

        subjects = np.array(columns["subject"])
        for subject in dict.fromkeys(columns["subject"]):
            write_array(self.path / f"{subject}_embeddings.npy", vectors[subjects == subject])
        if label_names:
            columns = columns | {"label": [label_names[code] if code >= 0 else "n/a" for code in columns["label"]]}
        self._write_table(f"{kind}s.tsv", columns)

    def states(self, subject: str, states: Any) -> None:
        write_array(self.path / f"{subject}_states.npy", states)

    def group(self, name: str, arrays: Mapping[str, Any], tables: Mapping[str, Columns]) -> None:
        for key, array in arrays.items():
            write_array(self.path / f"{name}_{key}.npy", array)
        for key, columns in tables.items():
            self._write_table(f"{name}_{key}.tsv", columns)

    def summary(self, content: dict[str, Any]) -> None:
        from dynml.files import write_json

        write_json(self.path / "summary.json", content)

    def figure(self, name: str) -> Path:
        return self.path / f"{name}.png"

    def _write_table(self, name: str, columns: Columns) -> None:
        write_table(self.path / name, columns, zip(*columns.values(), strict=True), durable=False)


class _File:
    def __init__(self, path: Path, file: Any, *, force: bool) -> None:
        self.path, self.file, self._force = path, file, force

    def embeddings(self, kind: str, vectors: Any, columns: Columns, label_names: tuple[str, ...]) -> None:
        self.file["embeddings"] = vectors
        for name, values in columns.items():
            self._write(self.file, name, values)
        if label_names:
            self.file["label"].attrs["names"] = list(label_names)

    def states(self, subject: str, states: Any) -> None:
        self.file.create_dataset(f"states/{subject}", data=states)

    def group(self, name: str, arrays: Mapping[str, Any], tables: Mapping[str, Columns]) -> None:
        for key, array in arrays.items():
            self.file.create_dataset(f"{name}/{key}", data=array)
        for key, columns in tables.items():
            for column, values in columns.items():
                self._write(self.file.require_group(f"{name}/{key}"), column, values)

    def summary(self, content: dict[str, Any]) -> None:
        from dynml.files import strict_json

        self.file.attrs["summary"] = json.dumps(strict_json(content), ensure_ascii=False)

    def figure(self, name: str) -> Path:
        path = self.path.with_name(f"{self.path.stem}_{name}.png")
        if path.exists() and not self._force:
            raise DynmlError(f"{path} exists already; use -f to overwrite it.")
        return path

    @staticmethod
    def _write(group: Any, name: str, values: list[Any]) -> None:
        import h5py
        import numpy as np

        if values and isinstance(values[0], str):
            group.create_dataset(name, data=values, dtype=h5py.string_dtype())
        else:
            group[name] = np.array(values)
