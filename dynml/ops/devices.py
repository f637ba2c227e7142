"""Accelerators, whatever they are: which one is here, what it can do, how much memory it has.

torch knows several kinds (cuda, which is also ROCm's name, xpu, mps and those of other packages); a process sees one.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch

from dynml.errors import DataWarning


def accelerator() -> torch.device | None:
    """Kind of accelerator that this process can compute on, or None."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def n_accelerators() -> int:
    """How many there are."""
    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def is_here(device: torch.device) -> bool:
    """Whether torch can compute on a device here."""
    if device.type == "cpu":
        return True
    kind = accelerator()
    return kind is not None and kind.type == device.type and (device.index or 0) < n_accelerators()


def name_of(device: torch.device | None) -> str | None:
    """Name of an accelerator as its maker gives it, where torch knows it; else its kind."""
    if device is None or device.type == "cpu":
        return None
    get_name: Any = getattr(torch.get_device_module(device), "get_device_name", None)
    return device.type if get_name is None else str(get_name())


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on an accelerator, or None where torch does not know."""
    module: Any = torch.get_device_module(device)
    if hasattr(module, "mem_get_info"):
        return int(module.mem_get_info(device)[0])
    if device.type == "mps":
        return int(module.recommended_max_memory() - module.driver_allocated_memory())
    return None


def most_memory(device: torch.device) -> int | None:
    """Bytes that torch's tensors took at most so far on an accelerator, or None where torch does not count them."""
    count: Any = getattr(torch.get_device_module(device), "max_memory_allocated", None)
    return None if count is None else int(count(device))


def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64; tried, where the kind does not say so."""
    if device.type in ("cpu", "cuda"):
        return True
    try:
        torch.zeros(1, dtype=torch.float64, device=device) + 1
    except (RuntimeError, TypeError):
        return False
    return True


def float64_device(device: torch.device) -> torch.device:
    """Where to do what needs float64: on the device itself, or on the host if the device has none.

    Warns
    -----
    DataWarning
        Once a process: part of the computations run on the host.
    """
    if has_float64(device):
        return device
    _tell_of_the_host(device)
    return torch.device("cpu")


@functools.cache
def _tell_of_the_host(device: torch.device) -> None:
    text = f"{device} has no float64, which sums and factorizations need: computed on the host."
    warnings.warn(text, DataWarning, stacklevel=4)
