"""State probabilities of hidden Markov chains by forward-backward over whole segments.

Shapes: T samples (all segments end to end), K states. `starts`, (n_segments + 1,), holds the row borders of the
segments, from 0 to T: segments of any lengths, nothing padded, nothing dropped.

On a CPU the recursions are compiled sequential loops, several segments at a time over threads; on a GPU (or with
`method="scan"`) they are a two-level scan, which goes by kernels of its own on CUDA and ROCm (`fused`). Rows may also
begin or end inside a segment: `message` and `following` then carry what the neighbouring rows know, so that a segment
too long for memory can be passed in blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.ops.hmm import forward_backward_kernels as kernels
from dynml.ops.hmm.forward_backward_scan import scan_forward, scan_forward_backward
from dynml.ops.hmm.fused.first_use import fused_serves
from dynml.ops.hmm.fused.scan import fused_forward, fused_forward_backward
from dynml.ops.hmm.state_paths import most_likely_path, sample_states
from dynml.ops.workers import over_threads

__all__ = ["ForwardBackward", "as_borders", "forward_backward", "forward_only", "most_likely_path", "sample_states"]

Array = NDArray[Any]
Method = Literal["auto", "sequential", "scan"]

_FEWEST_ROWS_PER_THREAD = 2048
_NEGLIGIBLE_PATHS = 1e-13


@dataclass
class ForwardBackward:
    """What forward-backward knows about every row, and its sums."""

    posteriors_TK: Tensor
    """gamma: (T, K), float64, probabilities of the states given the whole segment; rows sum to 1."""
    transitions_KK: Tensor
    """(K, K), float64: sum over neighbouring rows of xi_t(i, j), the probability of i at t and j at t + 1."""
    log_likelihoods: Tensor
    """(n_segments,), float64: log p of the rows of each segment, nats. On a CPU, as all, or all on the device."""


def as_borders(starts: Tensor | Array | list[int], n_rows: int) -> Array:
    """Row borders as an int64 array; asserts that they go from 0 to `n_rows` and never fall."""
    borders = np.ascontiguousarray(starts.cpu() if isinstance(starts, Tensor) else starts, dtype=np.int64)
    assert borders.ndim == 1
    assert len(borders) >= 1
    assert borders[0] == 0
    assert borders[-1] == n_rows, f"the last border is {borders[-1]}, but there are {n_rows} rows"
    assert (borders[1:] >= borders[:-1]).all()
    return borders


def needs_logarithms(transitions_KK: Tensor) -> bool:
    """Whether some transition is so unlikely that a scaled recursion could lose a path that still matters."""
    return bool(transitions_KK.detach().cpu().numpy().min() < kernels.SMALLEST_SCALED_PROBABILITY)


def forward_backward(
    log_likelihoods_TK: Tensor,
    starts: Tensor | Array | list[int],
    initial_probabilities_K: Tensor,
    transition_probabilities_KK: Tensor,
    *,
    method: Method = "auto",
    n_threads: int | None = None,
    message_K: Tensor | None = None,
    following_K: Tensor | None = None,
) -> ForwardBackward:
    """Probabilities of the states at every row, given their whole segment.

    Parameters
    ----------
    log_likelihoods_TK : Tensor, (T, K), float32 or float64
        Log-density of every row under every state, finite.
    starts : Tensor or array, (n_segments + 1,)
        Row borders of the segments; 0 first, T last.
    initial_probabilities_K, transition_probabilities_KK : Tensor
        Of the first row of a segment, and from state (row) to state (column).
    method : {"auto", "sequential", "scan"}
        "auto" takes the compiled loop for tensors on a CPU and the scan on a GPU.
    n_threads : int, optional
        CPU threads of the sequential method; default: torch's. A lone segment runs on one.
    message_K : Tensor, optional
        When the first row continues a segment: the message that `forward_only` gives for the rows before it.
    following_K : Tensor, optional
        When the last row is followed by another of its segment: the posteriors of that row. The sum of xi then includes
        the step to it.

    Notes
    -----
    Everything between the log-likelihoods and the posteriors is float64. Zeros in the initial and transition
    probabilities and log-likelihoods of any size are exact. Where transition probabilities are below 1e-100, they are
    first raised to that: if the posteriors then expect fewer than 1e-13 such transitions, paths without any hold all
    but 1e-13 of the probability, and no result is further off than that. Otherwise the recursions run on logarithms,
    several times slower.
    """
    borders = as_borders(starts, len(log_likelihoods_TK))
    initial, transitions = initial_probabilities_K.double().cpu(), transition_probabilities_KK.double().cpu()

    in_logarithms = needs_logarithms(transitions)

    def run(matrix: Tensor, *, in_logarithms: bool) -> ForwardBackward:
        parts = log_likelihoods_TK, borders, initial, matrix, in_logarithms, message_K, following_K
        return _scan(*parts) if _by_scan(method, log_likelihoods_TK) else _sequential(*parts, n_threads)

    if message_K is None and following_K is None and in_logarithms:
        floored = transitions.clamp(min=kernels.SMALLEST_SCALED_PROBABILITY)
        result = run(floored, in_logarithms=False)
        pairs = result.transitions_KK
        is_unlikely = (transitions < floored).to(pairs.device)
        if float(torch.where(is_unlikely, pairs, 0.0).sum()) < _NEGLIGIBLE_PATHS:
            result.transitions_KK = pairs * (transitions / floored).to(pairs.device)
            return result
    return run(transitions, in_logarithms=in_logarithms)


def _scan(
    likelihoods: Tensor,
    borders: Array,
    initial: Tensor,
    transitions: Tensor,
    in_logarithms: bool,
    message: Tensor | None,
    following: Tensor | None,
) -> ForwardBackward:
    parts = likelihoods, torch.from_numpy(borders), initial, transitions
    if not in_logarithms and fused_serves(likelihoods):
        return ForwardBackward(*fused_forward_backward(*parts, message_K=message, following_K=following))
    scanned = scan_forward_backward(*parts, in_logarithms=in_logarithms, message_K=message, following_K=following)
    return ForwardBackward(*scanned)


def _sequential(
    likelihoods: Tensor,
    borders: Array,
    initial: Tensor,
    transitions: Tensor,
    in_logarithms: bool,
    message: Tensor | None,
    following: Tensor | None,
    n_threads: int | None,
) -> ForwardBackward:
    shares = _shares(borders, n_threads)
    array = likelihoods.cpu().contiguous().numpy()
    filtered, logs = _filter(array, borders, initial, transitions, in_logarithms, message, shares)
    summed = _smooth_in_place(filtered, borders, transitions, in_logarithms, following, shares)
    return ForwardBackward(torch.from_numpy(filtered), torch.from_numpy(summed), torch.from_numpy(logs))


def forward_only(
    log_likelihoods_TK: Tensor,
    starts: Tensor | Array | list[int],
    initial_probabilities_K: Tensor,
    transition_probabilities_KK: Tensor,
    *,
    method: Method = "auto",
    n_threads: int | None = None,
    message_K: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Forward recursion alone; parameters as in `forward_backward`.

    Returns
    -------
    log_likelihoods : Tensor, (n_segments,), float64
        log p of the rows of each segment, nats; on the device where the scan ran, as the message.
    message : Tensor, (K,), float64
        What these rows predict for the next row of their last segment, for `message_K`: probabilities, or logarithms
        where the recursions run on logarithms.
    """
    borders = as_borders(starts, len(log_likelihoods_TK))
    initial, transitions = initial_probabilities_K.double().cpu(), transition_probabilities_KK.double().cpu()
    in_logarithms = needs_logarithms(transitions)
    if _by_scan(method, log_likelihoods_TK):
        parts = log_likelihoods_TK, torch.from_numpy(borders), initial, transitions
        if not in_logarithms and fused_serves(log_likelihoods_TK):
            return fused_forward(*parts, message_K=message_K)
        return scan_forward(*parts, in_logarithms=in_logarithms, message_K=message_K)
    likelihoods, shares = log_likelihoods_TK.cpu().contiguous().numpy(), _shares(borders, n_threads)
    filtered, logs = _filter(likelihoods, borders, initial, transitions, in_logarithms, message_K, shares)
    last = torch.from_numpy(filtered[-1]) if len(filtered) else initial
    message = (last.unsqueeze(1) + transitions.log()).logsumexp(0) if in_logarithms else last @ transitions
    return torch.from_numpy(logs), message


def _by_scan(method: Method, log_likelihoods: Tensor) -> bool:
    return method == "scan" or (method == "auto" and log_likelihoods.device.type != "cpu")


def _filter(
    likelihoods: Array,
    borders: Array,
    initial: Tensor,
    transitions: Tensor,
    in_logarithms: bool,
    message: Tensor | None,
    shares: list[tuple[int, int]],
) -> tuple[Array, Array]:
    """Filtered probabilities (or their logarithms), and log p of each segment."""
    if in_logarithms:
        forward: Callable[..., Any] = kernels.logarithmic_forward
        initial, transitions = initial.log(), transitions.log()
    else:
        forward = kernels.scaled_kernels(len(initial))[0]
    entry, matrix = initial.contiguous().numpy(), transitions.contiguous().numpy()
    first_entry = entry if message is None else message.double().cpu().contiguous().numpy()
    filtered, segment_logs = np.empty(likelihoods.shape), np.zeros(len(borders) - 1)

    def run(share: int) -> None:
        first, last = shares[share]
        predicted = first_entry if first == 0 else entry
        part, logs = borders[first : last + 1], segment_logs[first:last]
        forward(likelihoods, part, predicted, entry, matrix, filtered, logs)

    over_threads(run, range(len(shares)), n_threads=len(shares))
    return filtered, segment_logs


def _smooth_in_place(
    filtered: Array,
    borders: Array,
    transitions: Tensor,
    in_logarithms: bool,
    following: Tensor | None,
    shares: list[tuple[int, int]],
) -> Array:
    """Turn filtered into smoothed probabilities; returns the sum of xi, (K, K)."""
    n_states, n_segments = len(transitions), len(borders) - 1
    backward: Callable[..., Any]
    backward = kernels.logarithmic_backward if in_logarithms else kernels.scaled_kernels(n_states)[1]
    matrix = (transitions.log() if in_logarithms else transitions).contiguous().numpy()
    known = np.zeros(n_states) if following is None else following.double().cpu().contiguous().numpy()
    pairs = np.zeros((len(shares), n_states, n_states))

    def run(share: int) -> None:
        first, last = shares[share]
        continues = following is not None and last == n_segments
        backward(filtered, borders[first : last + 1], known, continues, matrix, pairs[share])

    over_threads(run, range(len(shares)), n_threads=len(shares))
    summed = pairs.sum(0)
    return np.asarray(summed if in_logarithms else summed * matrix)


def _shares(borders: Array, n_threads: int | None) -> list[tuple[int, int]]:
    """Segments of each thread, [first, last), of about equal numbers of rows; a function of its arguments only."""
    n_segments, n_rows = len(borders) - 1, int(borders[-1])
    n_shares = max(1, min(n_threads or torch.get_num_threads(), n_segments, n_rows // _FEWEST_ROWS_PER_THREAD))
    cuts = [int(np.searchsorted(borders, n_rows * share / n_shares)) for share in range(1, n_shares)]
    edges = sorted({0, *(min(cut, n_segments) for cut in cuts), n_segments})
    return list(itertools.pairwise(edges)) or [(0, 0)]
