"""Whether forward-backward goes by the Triton kernels: on which devices, and what their first use in a process found.

A kernel is compiled for a number of states on the machine that it runs on. So before it is used, it meets the plain
form of torch's operations on a small problem there.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings

import torch
from torch import Tensor

from dynml.errors import DataWarning
from dynml.ops.hmm.forward_backward_scan import scan_forward, scan_forward_backward
from dynml.ops.hmm.fused.scan import fused_forward, fused_forward_backward
from dynml.ops.memory import is_out_of_memory

MOST_STATES = 32
"""Beyond, a (K, K) matrix fills the registers of a program."""

TOLERANCE = 1e-9
"""Largest difference of probabilities, and of log-likelihoods relative to their size."""

_BORDERS = [0, 1, 1, 60, 211]
_ROWS_PER_CHUNK = 4  # so that there are groups of chunks


def fused_serves(log_likelihoods_TK: Tensor) -> bool:
    """Whether the kernels take these log-likelihoods: on a GPU of CUDA or ROCm, up to 32 states, found right there."""
    n_states, device = log_likelihoods_TK.shape[1], log_likelihoods_TK.device
    return device.type == "cuda" and n_states <= MOST_STATES and found_right(device, n_states, log_likelihoods_TK.dtype)


@functools.cache
def found_right(device: torch.device, n_states: int, dtype: torch.dtype) -> bool:
    """Whether the kernels give the numbers of the plain form on a device; tried once a process.

    Warns
    -----
    DataWarning
        If not, with the reason: the plain form is used instead.
    """
    if importlib.util.find_spec("triton") is None:
        reason = "Triton is not installed"
    else:
        try:
            difference = _largest_difference(device, n_states, dtype)
        except Exception as error:  # what a compiler raises has no common kind
            if is_out_of_memory(error):
                raise
            line = (str(error).strip().splitlines() or [""])[0]
            reason = f"they failed with {type(error).__name__}: {line}"
        else:
            if difference <= TOLERANCE:
                return True
            reason = f"they differ from torch's operations by {difference:.1e}, more than {TOLERANCE:.0e}"
    text = f"Forward-backward of {n_states} states on {device} goes without its Triton kernels, more slowly: {reason}."
    warnings.warn(text, DataWarning, stacklevel=3)
    return False


def _largest_difference(device: torch.device, n_states: int, dtype: torch.dtype) -> float:
    """On random rows that continue a segment, hold short ones, and are continued."""
    generator = torch.Generator().manual_seed(n_states)

    def distributions(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(2).softmax(-1)

    likelihoods = torch.randn(_BORDERS[-1], n_states, generator=generator).mul(5).sub(100).to(device, dtype)
    parts = likelihoods, torch.tensor(_BORDERS), distributions(n_states), distributions(n_states, n_states)
    message, following, size = distributions(n_states), distributions(n_states).to(device), _ROWS_PER_CHUNK
    found: list[Tensor] = [
        *fused_forward_backward(*parts, message_K=message, following_K=following, rows_per_chunk=size),
        *fused_forward(*parts, message_K=message, rows_per_chunk=size),
    ]
    expected: list[Tensor] = [
        *scan_forward_backward(*parts, message_K=message, following_K=following),
        *scan_forward(*parts, message_K=message),
    ]
    differences = [((a - b).abs() / b.abs().clamp(min=1)).max() for a, b in zip(found, expected, strict=True)]
    return float(torch.stack(differences).max())
