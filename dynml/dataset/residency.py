"""Where the series live while a model trains: on the accelerator, in host memory, or in their file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.configuration import check_choice
from dynml.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

RESIDENCIES = ("auto", "device", "memory", "lazy")
_SHARE = 0.5


def choose_residency(requested: str, n_bytes: int, device: torch.device) -> tuple[str, str]:
    """Resolve a residency.

    `auto` takes the fastest that fits: the accelerator's memory when the series take less than half of what is free
    there, else host memory when they take less than half of what is available, else the file.

    Parameters
    ----------
    requested : {"auto", "device", "memory", "lazy"}
    n_bytes : int
        Size of all series together.
    device : torch.device
        Where the model computes. On a CPU, device memory is host memory.

    Returns
    -------
    residency : {"device", "memory", "lazy"}
    reason : str
        One sentence that says why.
    """
    check_choice("loader.residency", requested, RESIDENCIES)
    if requested == "device" and device.type == "cpu":
        return "memory", "the device asked for is the CPU, whose memory is host memory"
    if requested != "auto":
        return requested, "it was asked for"
    size = f"the series take {_gibibytes(n_bytes)}"
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        if n_bytes < _SHARE * free:
            return "device", f"{size}, less than half of the {_gibibytes(free)} free on {device}"
    available = available_host_memory()
    if available is None:
        return "lazy", f"{size}, and the system does not say how much memory is available"
    if n_bytes < _SHARE * available:
        return "memory", f"{size}, less than half of the {_gibibytes(available)} of available memory"
    return "lazy", f"{size}, half or more of the {_gibibytes(available)} of available memory"


def check_room(n_bytes: int, device: torch.device) -> None:
    """Refuse series that the memory they are to live in does not hold, before it is filled.

    A system that promises more memory than it has would end the process while they are read.

    Raises
    ------
    ConfigurationError
        With their size and what is free.
    """
    if device.type == "cuda":
        import torch

        room: int | None = torch.cuda.mem_get_info(device)[0]
    else:
        room = available_host_memory()
    if room is not None and n_bytes > room:
        where = "of available memory" if device.type == "cpu" else f"free on {device}"
        accepted = f"lazy or auto: the series take {_gibibytes(n_bytes)}, and there are {_gibibytes(room)} {where}"
        raise ConfigurationError("loader.residency", "device" if device.type == "cuda" else "memory", accepted)


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


def _gibibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.3g} GiB"
