"""Gaussian log-likelihoods of many states at once.

Shapes: T samples, C channels, K states. `Gaussians` holds what is made once per set of parameters (whiteners factored
in float64), `state_log_likelihoods` is the same in one call.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numba import njit
from torch import Tensor

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.lanes.tiles import LANES, TILE_ROWS, product_4
from dynml.ops.lanes.vectors import load, splat, store
from dynml.ops.memory import smaller

CHUNK_ROWS = 2048
"""Rows per matrix product on a CPU: the (rows, K C) intermediate stays in the cache."""

GPU_CHUNK_ROWS = 65536

RESIDUAL_VARIANCE_FLOOR = 1e-12
"""Smallest fraction of a channel's variance that the other channels may leave unexplained."""

LANES_CHECKSUM = "d2490dc0"
"""CRC-32 of `ops/lanes`, which is compiled into these loops. numba's cache on disk looks at this file alone; a test
compares, so that a change there changes it too."""

_SAMPLES = 4 * LANES
"""Samples that the loop of full covariances works on together."""

_MINIMUM_BLOCK_CHANNELS = 20
_MAXIMUM_BLOCKS = 4
_LARGEST_UNSHIFTED_MEAN = 16.0

_LARGEST_SHIFTED_MEAN = 1000.0
"""Standard deviations of a state between its mean and the common shift, from which on states are shifted one by one."""


@contextlib.contextmanager
def full_float32_precision(device: torch.device | str = "cpu") -> Iterator[None]:
    """Keep matrix products in true float32 for a block: no TF32, no bfloat16, no autocast; restored afterwards.

    TF32 keeps 10 bits of the mantissa, which would cost whole nats in a whitened distance. The setting belongs to the
    process, autocast to the thread.
    """
    # PyTorch before 2.9 has one setting for all, and none of a backend's own.
    candidates: list[Any] = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    backends = [backend for backend in candidates if hasattr(backend, "fp32_precision")]
    per_backend = [backend.fp32_precision for backend in backends]
    try:
        before: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:  # torch's answer once a backend was set by itself
        before = None
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(torch.device(device).type, enabled=False), torch.no_grad():
            yield
    finally:
        if before is not None:
            torch.set_float32_matmul_precision(before)
        for backend, precision in zip(backends, per_backend, strict=True):
            backend.fp32_precision = precision


def inverse_cholesky(covariances_KCC: Tensor) -> Tensor:
    """Whiteners of covariances: W = L^-1 with L L' = S, so that W x has unit covariance.

    Parameters
    ----------
    covariances_KCC : Tensor, (K, C, C), symmetric positive definite

    Returns
    -------
    Tensor, (K, C, C), float64, lower triangular.

    Raises
    ------
    NotPositiveDefiniteError
        Names the first state whose covariance has no Cholesky factor, or one where some channel is, to 12 digits, a
        linear combination of the channels before it.
    """
    covariances = covariances_KCC.double()
    factors, faults = torch.linalg.cholesky_ex(covariances)
    residual_variances = factors.diagonal(dim1=-2, dim2=-1).square()
    # One comparison for all states; what fails it is looked at more closely.
    is_regular = residual_variances > RESIDUAL_VARIANCE_FLOOR * covariances.diagonal(dim1=-2, dim2=-1)
    if not bool(is_regular.all()) or bool(faults.any()):
        singular = (faults != 0) | ~is_regular.all(dim=-1)
        _refuse(int(singular.nonzero()[0, 0]), len(covariances), "covariance is not positive definite")
    identity = torch.eye(covariances.shape[-1], dtype=torch.float64, device=covariances.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False)


def inverse_standard_deviations(variances_KC: Tensor) -> Tensor:
    """Whiteners of diagonal covariances: one over the standard deviations, (K, C), float64.

    Raises
    ------
    NotPositiveDefiniteError
        Names the first state with a variance that is not a finite number above zero.
    """
    variances = variances_KC.double()
    unusable = ~((variances > 0) & torch.isfinite(variances)).all(dim=1)
    if bool(unusable.any()):
        _refuse(int(unusable.nonzero()[0, 0]), len(variances), "variances are not all finite and above 0")
    return variances.rsqrt()


def _refuse(state: int, n_states: int, fault: str) -> None:
    raise NotPositiveDefiniteError(
        f"State {state + 1} of {n_states}: its {fault}; give the covariances a prior "
        "(model.covariance_prior_samples, model.covariances_epsilon), reduce the channels to the rank of the data by "
        "PCA, or use fewer states."
    )


@dataclass(frozen=True)
class Gaussians:
    """The Gaussians of K states, factored once, ready for many chunks of signals.

    Whiteners of full covariances are lower triangular, and multiply no more channels than they can depend on.
    float32 on a CPU goes by one compiled loop; all else by matrix products, with the outputs cut into up to four blocks
    of channels (a third of the work saved at 80 channels).
    """

    n_states: int
    n_channels: int
    shift_C: Tensor | None
    weights: tuple[Tensor, ...]
    """Products: one (inputs, K outputs) matrix a block of channels. Compiled: the whiteners, flat. Diagonal: the
    inverse standard deviations (K, C)."""
    offsets: tuple[Tensor, ...]
    """What to subtract after the product: the whitened means, (K outputs) a block, or all of them, flat. Diagonal: the
    means (K, C). Both of the means less `shift_C`."""
    log_normalizers_K: Tensor
    form: Literal["compiled", "products", "diagonal"]
    each: tuple[Gaussians, ...] = ()
    """Every state by itself, where the means lie so far apart that no common shift suits all of them."""

    @classmethod
    def prepare(
        cls, means_KC: Tensor, covariances: Tensor, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> Gaussians:
        """Factor covariances (K, C, C), or variances (K, C), in float64 and lay them out for chunks of `dtype`."""
        means = means_KC.double().cpu()
        n_states, n_channels = means.shape
        is_diagonal = covariances.ndim == 2
        is_compiled = not is_diagonal and dtype == torch.float32 and torch.device(device).type == "cpu"
        whiteners = (inverse_standard_deviations if is_diagonal else inverse_cholesky)(covariances.cpu())
        shift = _common_shift(means, whiteners, dtype)
        centred = means if shift is None else means - shift
        whitened = _whitened(whiteners, centred)
        each: tuple[Gaussians, ...] = ()
        if n_states > 1 and bool(whitened.abs().max() > _LARGEST_SHIFTED_MEAN):
            pairs = zip(means.split(1), covariances.split(1), strict=True)
            each = tuple(cls.prepare(mean, own, dtype=dtype, device=device) for mean, own in pairs)
        if is_diagonal:
            weights, offsets, scales = [whiteners], [centred], whiteners
        else:
            lay_out = _whole_triangles if is_compiled else _triangular_blocks
            weights, offsets = lay_out(whiteners, whitened)
            scales = whiteners.diagonal(dim1=-2, dim2=-1)
        log_determinants = scales.log().sum(1)
        log_normalizers = log_determinants - 0.5 * n_channels * math.log(2 * math.pi)
        return cls(
            n_states=n_states,
            n_channels=n_channels,
            shift_C=None if shift is None else shift.to(device, dtype),
            weights=tuple(weight.to(device, dtype).contiguous() for weight in weights),
            offsets=tuple(offset.to(device, dtype) for offset in offsets),
            log_normalizers_K=log_normalizers.to(device, dtype),
            form="diagonal" if is_diagonal else "compiled" if is_compiled else "products",
            each=each,
        )

    def log_likelihoods(self, signals_TC: Tensor) -> Tensor:
        """Log-density of every sample under every state, (T, K), in nats."""
        shape = len(signals_TC), self.n_states
        output = torch.empty(shape, dtype=self.log_normalizers_K.dtype, device=signals_TC.device)
        with full_float32_precision(signals_TC.device):
            self.fill_log_likelihoods(signals_TC, output)
        return output

    def fill_log_likelihoods(self, signals_TC: Tensor, output_TK: Tensor) -> None:
        """`log_likelihoods` into given memory, chunk by chunk; the caller sees to `full_float32_precision`."""
        is_on_host = signals_TC.device.type == "cpu"
        chunk = CHUNK_ROWS if is_on_host else smaller(GPU_CHUNK_ROWS)
        # Products go into the same memory chunk after chunk, which stays in the cache.
        n_products = 0
        if self.form == "compiled":
            n_filled = len(self.offsets[0]) // self.n_states
            n_products = (n_filled + TILE_ROWS + 1) * _SAMPLES
        elif self.form == "products" and is_on_host:
            n_products = min(chunk, len(signals_TC)) * max(weight.shape[1] for weight in self.weights)
        products = output_TK.new_empty(n_products)
        for first in range(0, len(signals_TC), chunk):
            rows = signals_TC[first : first + chunk].to(output_TK.dtype)
            self._distances(rows, output_TK[first : first + chunk], products)

    def _distances(self, rows: Tensor, output: Tensor, products: Tensor) -> None:
        for state, alone in enumerate(self.each):
            column = output.new_empty(len(rows), 1)
            alone._distances(rows, column, products)
            output[:, state] = column[:, 0]
        if self.each:
            return
        centred = rows if self.shift_C is None else rows - self.shift_C
        if centred.device.type == "cpu":
            self._distances_on_host(centred, output, products)
        elif self.form == "diagonal":
            for state, (scale, mean) in enumerate(zip(self.weights[0], self.offsets[0], strict=True)):
                output[:, state] = torch.linalg.vector_norm((centred - mean) * scale, dim=1)
            output.square_().mul_(-0.5).add_(self.log_normalizers_K)
        else:
            output.copy_(self.log_normalizers_K)
            for weight, offset in zip(self.weights, self.offsets, strict=True):
                deviations = (centred[:, : len(weight)] @ weight - offset).view(len(rows), self.n_states, -1)
                output.sub_(torch.linalg.vector_norm(deviations, dim=2).square_(), alpha=0.5)

    def _distances_on_host(self, centred: Tensor, output: Tensor, products: Tensor) -> None:
        values, log_normalizers = output.numpy(), self.log_normalizers_K.numpy()
        if self.form != "products":
            weights, offsets = self.weights[0].numpy(), self.offsets[0].numpy()
            if self.form == "diagonal":
                _fill_diagonal(centred.numpy(), weights, offsets, log_normalizers, values)
            else:
                rows = centred.contiguous().numpy()
                _fill_full(rows, weights, offsets, log_normalizers, products.numpy(), values)
            return
        values[:] = log_normalizers
        for weight, offset in zip(self.weights, self.offsets, strict=True):
            inputs = centred if len(weight) == self.n_channels else centred[:, : len(weight)]
            whitened = products[: len(centred) * weight.shape[1]].view(len(centred), weight.shape[1])
            torch.mm(inputs, weight, out=whitened)
            _subtract_half_squares(whitened.numpy(), offset.numpy(), values)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_full(signals, whiteners, whitened_means, log_normalizers, workspace, output):  # type: ignore  # noqa
    """Log-densities (T, K) of samples (T, C) under Gaussians of full covariances, all float32.

    As many samples at a time as four vectors have lanes are laid out channel by channel. One tile of the product with a
    whitener is then TILE_ROWS whitened channels of all these samples. It runs along the channels that triangular rows
    depend on, half of them in the mean, and its squares go into sums that stay in registers: a whitened channel is
    never written to memory. The numbers of a sample do not depend on the samples beside it.

    whiteners (K, D, D), lower triangular, and whitened_means (K, D), both flat, with D channels filled up to whole
    tiles of TILE_ROWS by zeros; workspace (D + TILE_ROWS + 1, _SAMPLES), flat.
    """
    n_channels, n_states = signals.shape[1], output.shape[1]
    D = -(-n_channels // TILE_ROWS) * TILE_ROWS
    samples, tile = workspace[: D * _SAMPLES], workspace[D * _SAMPLES :]
    samples[n_channels * _SAMPLES :] = np.float32(0)
    sums = TILE_ROWS * 4  # where they stand in `tile`, counted in vectors
    for first in range(0, len(signals), _SAMPLES):
        n_samples = min(_SAMPLES, len(signals) - first)
        for t in range(n_samples):
            for c in range(n_channels):
                samples[c * _SAMPLES + t] = signals[first + t, c]
        for state in range(n_states):
            one = two = three = four = splat(np.float32(0))
            for row in range(state * D, (state + 1) * D, TILE_ROWS):
                for i in range(TILE_ROWS):
                    start = splat(-whitened_means[row + i])
                    for vector in range(4):
                        store(tile, 4 * i + vector, start)
                depth = row - state * D + TILE_ROWS
                product_4(tile, 0, _SAMPLES, whiteners, row * D, D, 1, samples, 0, _SAMPLES, depth)
                for i in range(TILE_ROWS):
                    deviation = load(tile, 4 * i)
                    one = one + deviation * deviation
                    deviation = load(tile, 4 * i + 1)
                    two = two + deviation * deviation
                    deviation = load(tile, 4 * i + 2)
                    three = three + deviation * deviation
                    deviation = load(tile, 4 * i + 3)
                    four = four + deviation * deviation
            store(tile, sums, one)
            store(tile, sums + 1, two)
            store(tile, sums + 2, three)
            store(tile, sums + 3, four)
            for t in range(n_samples):
                output[first + t, state] = log_normalizers[state] - np.float32(0.5) * tile[sums * LANES + t]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
def _subtract_half_squares(whitened, offset, output):  # type: ignore  # noqa
    """Subtract |whitened - offset|^2 / 2, summed over each state's share of the columns, still in the cache."""
    n_rows, n_states = output.shape
    half = whitened.dtype.type(0.5)
    n_outputs = whitened.shape[1] // n_states
    for row in range(n_rows):
        for state in range(n_states):
            total = whitened.dtype.type(0)
            first = state * n_outputs
            for i in range(n_outputs):  # counted from 0, or the compiler does not vectorise it
                deviation = whitened[row, first + i] - offset[first + i]
                total += deviation * deviation
            output[row, state] -= half * total


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
def _fill_diagonal(signals, scales, means, log_normalizers, output):  # type: ignore  # noqa
    """Log-densities of samples under Gaussians of diagonal covariances."""
    half = signals.dtype.type(0.5)
    n_channels = signals.shape[1]
    for row in range(len(signals)):
        for state in range(len(scales)):
            total = signals.dtype.type(0)
            for c in range(n_channels):
                deviation = (signals[row, c] - means[state, c]) * scales[state, c]
                total += deviation * deviation
            output[row, state] = log_normalizers[state] - half * total


def _common_shift(means: Tensor, whiteners: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Mean of the means, when it is so large that whitening first and subtracting later would lose digits.

    It is a number of `dtype`, so that subtracting it from the signals and from the means is the same.
    """
    shift = means.mean(0).to(dtype).double()
    if not bool(shift.any()):
        return None
    return shift if bool(_whitened(whiteners, shift).abs().max() > _LARGEST_UNSHIFTED_MEAN) else None


def _whitened(whiteners: Tensor, means: Tensor) -> Tensor:
    """Means (K, C), or one (C,), in standard deviations of each state, (K, C)."""
    if whiteners.ndim == 2:
        return whiteners * means
    return torch.from_numpy(np.matmul(whiteners.numpy(), means.numpy()[..., None])[..., 0])


def _triangular_blocks(whiteners: Tensor, whitened_means: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    n_states, n_channels, _ = whiteners.shape
    n_blocks = max(1, min(_MAXIMUM_BLOCKS, n_channels // _MINIMUM_BLOCK_CHANNELS))
    borders = [n_channels * block // n_blocks for block in range(n_blocks + 1)]
    weights, offsets = [], []
    for first, last in itertools.pairwise(borders):
        rows = whiteners[:, first:last, :last]
        weights.append(rows.permute(2, 0, 1).reshape(last, n_states * (last - first)))
        offsets.append(whitened_means[:, first:last].reshape(-1))
    return weights, offsets


def _whole_triangles(whiteners: Tensor, whitened_means: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Whiteners and means as `_fill_full` takes them: flat, channels filled up to whole tiles."""
    n_more = -whiteners.shape[-1] % TILE_ROWS
    padded = torch.nn.functional.pad(whiteners, (0, n_more, 0, n_more))
    return [padded.reshape(-1)], [torch.nn.functional.pad(whitened_means, (0, n_more)).reshape(-1)]


def state_log_likelihoods(signals_TC: Tensor, means_KC: Tensor, covariances: Tensor) -> Tensor:
    """Log-density of every sample under every state's Gaussian.

    Parameters
    ----------
    signals_TC : Tensor, (T, C), float32 (or float64, then everything is float64)
    means_KC : Tensor, (K, C)
    covariances : Tensor, (K, C, C), symmetric positive definite, or (K, C), the variances of diagonal covariances

    Returns
    -------
    Tensor, (T, K), of the signals' type and device, in nats.

    Raises
    ------
    NotPositiveDefiniteError
        Names the first state whose covariance has no Cholesky factor.

    Notes
    -----
    log N(x; m, S) = -1/2 (|W (x - m)|^2 + C log 2 pi) + log det W, with the whitener W = inverse Cholesky factor of S
    (Bishop 2006, eq. 2.43). W is made in float64 and applied in the signals' type: at condition number 1e6 a float32
    factor costs 0.05 nats, a float64 one applied in float32 0.003.
    """
    gaussians = Gaussians.prepare(means_KC, covariances, dtype=signals_TC.dtype, device=signals_TC.device)
    return gaussians.log_likelihoods(signals_TC)
