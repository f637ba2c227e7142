"""What a run ran on: versions, processor, device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

import torch

from dynml.errors import ConfigurationError
from dynml.ops.devices import accelerator, float64_device, has_float64, is_here, n_accelerators, name_of
from dynml.version import __version__

ACCEPTED_DEVICES = "auto, cpu, or an accelerator that torch finds here: cuda, cuda:<number>, xpu"


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, or an accelerator's kind, with or without its number, into a device that exists.

    Of several processes on a machine, each takes the accelerator with its own number, unless one is named.

    Raises
    ------
    ConfigurationError
        When there is no such device here.
    """
    kind = accelerator()
    if name == "auto":
        name = "cpu" if kind is None else float64_device(kind).type
    if kind is not None and name == kind.type and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        name = f"{name}:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError("trainer.device", name, ACCEPTED_DEVICES) from None
    if device.type == "meta":
        raise ConfigurationError("trainer.device", name, ACCEPTED_DEVICES)
    if not is_here(device):
        there = "no accelerator" if kind is None else f"{n_accelerators()} of the kind {kind.type}"
        raise ConfigurationError("trainer.device", name, f"a device of this machine, which has {there}")
    if not has_float64(device):
        raise ConfigurationError("trainer.device", name, "a device with float64, which sums and factorizations need")
    return device


def describe_environment() -> dict[str, Any]:
    """Versions and machine, for parameters.json."""
    packages = ("torch", "numpy", "h5py", "numba", "safetensors")
    return {
        "dynml": __version__,
        "python": sys.version.split()[0],
        **{name: importlib.metadata.version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": name_of(accelerator()),
    }
