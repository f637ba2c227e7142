"""Refuses files that claim more than memory holds, from their headers, before anything is reserved for them."""

from __future__ import annotations

from pathlib import Path

from dynml.dataset import residency
from dynml.errors import DataError

SHARE = 0.9
"""Of the memory that is available; the rest is for what is made of the signals."""


def largest_size() -> int | None:
    """Bytes that a file's content may take in memory; None where the system does not say what is available."""
    available = residency.available_host_memory()
    return None if available is None else int(SHARE * available)


def check_claimed_size(path: Path, n_bytes: int, what: str) -> None:
    """Refuse a size that memory cannot hold.

    Parameters
    ----------
    path : Path
        The file that claims it.
    n_bytes : int
        What it would take in memory.
    what : str
        What takes it, such as "signals".

    Raises
    ------
    DataError
        Names the file, the size, the limit and how to raise it.
    """
    limit = largest_size()
    if limit is not None and n_bytes > limit:
        raise DataError(
            f"{path} claims {what} of {_gibibytes(n_bytes)} in memory, but at most {SHARE:.0%} of what is available "
            f"here, {_gibibytes(limit)}, may be taken; split the file, or free memory (other programs, a smaller "
            "--n_jobs, more of it asked for in a batch system)."
        )


def _gibibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.3g} GiB"
