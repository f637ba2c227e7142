"""One vector per subject from what dynml_extract_features.py has written: the mean over its windows or trials.

Shapes: W windows or trials of a subject, D dimensions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.files import read_json

Doubles = NDArray[np.float64]
ENDING = "_embeddings.npy"
HDF5_ENDINGS = (".hdf5", ".h5")


def has_embeddings(path: Path) -> bool:
    """Whether a path is that of extracted features: an HDF5 file, or a folder with embeddings of subjects."""
    if path.is_dir():
        return any(path.glob(f"*{ENDING}"))
    return path.suffix.lower() in HDF5_ENDINGS


def mean_embeddings(path: Path) -> tuple[dict[str, Doubles], dict[str, Any]]:
    """Read the embeddings of all subjects.

    Parameters
    ----------
    path : Path
        See `has_embeddings`.

    Returns
    -------
    dict
        Subject to the mean of its embeddings, (D,); those that are not finite are left out of it.
    dict
        Content of the summary.

    Raises
    ------
    DataError
        When a file cannot be read, holds something else, or has no finite embedding.
    """
    found, summary = _of_folder(path) if path.is_dir() else _of_file(path)
    return {subject: _mean(vectors, path, subject) for subject, vectors in found.items()}, summary


def _mean(vectors_WD: NDArray[Any], path: Path, subject: str) -> Doubles:
    if vectors_WD.ndim != 2 or not np.issubdtype(vectors_WD.dtype, np.floating):
        raise DataError(
            f"{path}: the embeddings of {subject} have shape {vectors_WD.shape} and type {vectors_WD.dtype}, not "
            "numbers of (windows, dimensions)."
        )
    finite = vectors_WD[np.isfinite(vectors_WD).all(axis=1)]
    if not len(finite):
        raise DataError(f"{path}: {subject} has no embedding with finite numbers only.")
    return finite.mean(axis=0, dtype=np.float64)


def _of_folder(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    summary = read_json(folder / "summary.json") if (folder / "summary.json").is_file() else {}
    # Embeddings of an earlier extraction may lie in the same folder.
    subjects = {name for own in (summary.get("subsets") or {}).values() for name in own}
    found = {}
    for path in sorted(folder.glob(f"*{ENDING}")):
        if subjects and path.name.removesuffix(ENDING) not in subjects:
            continue
        try:
            found[path.name.removesuffix(ENDING)] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} cannot be read as an array: {' '.join(str(error).split())}") from None
    return found, summary


def _of_file(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            if "summary" not in file.attrs or not {"embeddings", "subject"} <= set(file):
                raise DataError(f"{path} holds no embeddings of dynml_extract_features.py.")
            vectors, subjects = file["embeddings"][()], file["subject"].asstr()[()]
            summary = json.loads(file.attrs["summary"])
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as an HDF5 file: {' '.join(str(error).split())}") from None
    return {str(name): vectors[subjects == name] for name in dict.fromkeys(subjects.tolist())}, summary
