"""What a run costs: peak memory of the process and of the GPU."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MEBIBYTE = 2**20
COST_ENDINGS = ("_seconds", "_per_second", "_mebibytes")
"""Logs with these endings tell what an epoch cost; they differ from run to run of the same numbers."""


def peak_memory(device: torch.device) -> dict[str, float]:
    """Most memory so far, in MiB.

    Returns
    -------
    dict
        `peak_memory_mebibytes` of this process (where the system tells it: not on Windows), and
        `gpu_peak_memory_mebibytes` of torch's tensors when `device` is a GPU of which torch
        counts them.
    """
    peaks = {}
    try:
        import resource
    except ImportError:
        pass
    else:
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        peaks["peak_memory_mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE
    if device.type != "cpu":
        from dynml.ops.devices import most_memory

        most = most_memory(device)
        if most is not None:
            peaks["gpu_peak_memory_mebibytes"] = most / MEBIBYTE
    return peaks
