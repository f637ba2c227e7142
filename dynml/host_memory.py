"""Memory of the host: what is left of it, and files that claim more, which are refused from their headers."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from dynml.errors import DataError

LARGEST_KEPT, MOST_KEPT = 2**25, 2**28
"""Bytes of an array, and in all, that `keep_freed_memory` keeps; the GNU C library takes no more than the first."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
SHARE = 0.9
"""Of the memory that is available; the rest is for what is made of the signals."""


def available_host_memory(root: Path = Path("/")) -> int | None:
    """Bytes that a process may still take without swapping.

    Linux: MemAvailable, what the control group of a container leaves, and what a limit of the process's address space
    (ulimit -v, as some clusters set it) leaves, whichever is least. Elsewhere half of the
    physical memory, which is all that is known there. None where nothing is known.

    Parameters
    ----------
    root : Path
        Where `proc` and `sys` are mounted.
    """
    found = (_memory_available(root), _left_by_control_group(root), _left_to_process(root))
    limits = [limit for limit in found if limit is not None]
    if limits:
        return max(min(limits), 0)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return None


def keep_freed_memory() -> None:
    """Let this process keep what it frees for its next array: for one that makes alike arrays one after another.

    The GNU C library maps large blocks anew, page by page, which takes as long as to go through them several times.
    Nothing is done where the C library is another.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(_TRIM_THRESHOLD, MOST_KEPT)


def _memory_available(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_to_process(root: Path) -> int | None:
    """What the limit of this process's address space leaves it."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        n_pages = int((root / "proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError, ValueError, IndexError):
        return None
    return None if limit == resource.RLIM_INFINITY else limit - n_pages * resource.getpagesize()


def _left_by_control_group(root: Path) -> int | None:
    group = root / "sys/fs/cgroup"
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = (group / limit_name).read_text().strip(), (group / used_name).read_text().strip()
        except OSError:
            continue
        if limit.isdigit() and used.isdigit():
            return int(limit) - int(used) + _reclaimable(group / used_name)
    return None


def _reclaimable(usage: Path) -> int:
    """Bytes of cached files that a control group counts as used but gives back when asked."""
    try:
        lines = usage.with_name("memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)


def largest_size() -> int | None:
    """Bytes that a file's content may take in memory; None where the system does not say what is available."""
    available = available_host_memory()
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
            f"{path} claims {what} of {gibibytes(n_bytes)} in memory, but at most {SHARE:.0%} of what is available "
            f"here, {gibibytes(limit)}, may be taken; split the file, or free memory (other programs, a smaller "
            "--n_jobs, more of it asked for in a batch system)."
        )


def gibibytes(n_bytes: int) -> str:
    """A size in words."""
    return f"{n_bytes / 2**30:.3g} GiB"
