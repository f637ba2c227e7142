"""What a run ran on: versions, processor, device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

import torch

from dynml.errors import ConfigurationError
from dynml.version import __version__


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that exists.

    Of several processes on a machine, each takes the GPU with its own number, unless one is named.

    Raises
    ------
    ConfigurationError
        When there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError("trainer.device", name, "auto, cpu, cuda or cuda:<number>") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError("trainer.device", name, "auto, cpu, cuda or cuda:<number>")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigurationError(
            "trainer.device", name, f"a device of this machine, which has {torch.cuda.device_count()} GPUs"
        )
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
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
