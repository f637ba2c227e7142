"""What is said of a file system without locks."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from dynml.errors import DataWarning

_warned_of: set[str] = set()


def warn_of_missing_locks(folder: Path, error: OSError, instead: str) -> None:
    """Say once a folder that its file system has no locks, and what is done instead."""
    where = os.path.realpath(folder)
    if where not in _warned_of:
        _warned_of.add(where)
        reason = os.strerror(error.errno) if error.errno else error
        text = f"The file system of {folder} has no file locks ({reason}): {instead}."
        warnings.warn(text, DataWarning, stacklevel=4)
