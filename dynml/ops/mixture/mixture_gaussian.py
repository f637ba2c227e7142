"""Likelihood of a Gaussian whose mean and covariance are a mixture of modes, anew for every sample.

Shapes: N samples, C channels, J modes. This is DyNeMo's observation model (Gohil et al. 2022, eq. 3): sample n has

    x_n ~ N(m_n, M_n),    m_n = sum_j alpha_nj mu_j,    M_n = sum_j alpha_nj D_j.

Gradients come in closed form. With r = x - m and y = M^-1 r,

    d log N / d M = G = 1/2 (y y' - M^-1),    d log N / d m = y,

    d alpha_j = <G, D_j> + y . mu_j,    d D_j = sum_n alpha_nj G_n,    d mu_j = sum_n alpha_nj y_n.

The mixing coefficients are alpha = softmax(theta / tau), and the logits' Gaussian N(n, r^2) is away from its prior by

    KL(N(n, r^2) || N(m, s^2)) = 1/2 sum_j [(r_j / s_j)^2 + ((n_j - m_j) / s_j)^2 - 1 - log (r_j / s_j)^2].

No (C, C) matrix of a sample is kept: they are made and used chunk by chunk, see `mixture_gaussian_terms`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dynml.ops.gaussian import full_float32_precision
from dynml.ops.mixture.mixture_gaussian_terms import Backend, MixtureTerms, terms_of


def mixture_log_likelihood(
    signals: Tensor,
    alpha: Tensor,
    means_JC: Tensor | None,
    covariances: Tensor,
    *,
    weights: Tensor | None = None,
    weights_hold: bool = False,
    memory: int | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """Log-density of every sample under its own mixture of the modes' means and covariances.

    Parameters
    ----------
    signals : Tensor, (N, C), float32 or float64, or with any leading dimensions, (..., C)
    alpha : Tensor, (N, J) or (..., J)
        Mixing coefficients. They need not add up to one, but every mixed covariance must be positive definite.
    means_JC : Tensor, (J, C), or None for zero means
    covariances : Tensor, (J, C, C), or (J, C), the variances of diagonal covariances
        Taken as the symmetric part.
    weights : Tensor, (N,) or (...), optional
        What the loss multiplies each sample's value by, up to one common factor: a mask of valid samples, say.
        Default: the same for all, as in a mean. It only saves time: gradients of the covariances are made along with
        the values for these weights, and a second time in the backward pass if others are found there.
    weights_hold : bool
        The loss is known to multiply by these weights. An accelerator is then not asked whether it did, for which the
        host would wait; gradients of the covariances are NaN if it did not.
    memory : int, optional
        Bytes of the matrices of a chunk (for each thread). Default: a cache's worth on a CPU, 1 GiB on a GPU.
    backend : callable, optional
        `compiled_terms` or `torch_terms`. Default: compiled loops on a CPU, torch's linear algebra elsewhere.

    Returns
    -------
    Tensor, (N,) or (...), of the signals' type and device, in nats.
        NaN for a sample whose covariance is not positive definite (a channel left with less of its variance than
        rounding makes up), or whose numbers are not finite. Such a sample adds nothing to any
        gradient.

    Notes
    -----
    Everything is computed in the signals' type. In float32 the largest of 2,000 values of 80 channels is off by 3e-5
    nats at condition number 100 of M, by 8e-4 at 1e4 and 5e-3 at 1e5; the error of their mean is 100 times smaller.
    Signals and modes may be whitened by the data's covariance first, which lowers the condition number.
    """
    shape, n_modes = signals.shape[:-1], alpha.shape[-1]
    assert signals.dtype in (torch.float32, torch.float64), f"{signals.dtype} signals"
    assert alpha.shape[:-1] == shape, f"alpha {tuple(alpha.shape)} for signals {tuple(signals.shape)}"
    assert len(covariances) == n_modes, f"{len(covariances)} covariances for {n_modes} modes"
    assert covariances.shape[1:].numel() == signals.shape[-1] ** (covariances.ndim - 1), f"{tuple(covariances.shape)}"
    rows, shares = signals.reshape(-1, signals.shape[-1]), alpha.reshape(-1, n_modes).to(signals.dtype)
    means = None if means_JC is None else means_JC.to(signals.dtype)
    if covariances.ndim == 2:
        return _diagonal(rows, shares, means, covariances.to(signals.dtype)).view(shape)
    matrices = covariances.to(signals.dtype)
    factors = rows.new_ones(len(rows)) if weights is None else weights.detach().reshape(-1).to(signals.dtype)
    asks = not weights_hold or signals.device.type == "cpu"
    options = {"memory": memory, "backend": terms_of(signals.device) if backend is None else backend, "asks": asks}
    tensors = [rows, shares, matrices] if means is None else [rows, shares, matrices, means]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        values: Tensor = _MixtureLogLikelihood.apply(rows, shares, means, matrices, factors, options)
    else:
        with full_float32_precision(signals.device):
            values = _terms(rows, shares, means, matrices, factors, options).log_densities
    return values.view(shape)


def _terms(
    signals: Tensor,
    alpha: Tensor,
    means: Tensor | None,
    covariances: Tensor,
    weights: Tensor,
    options: dict[str, Any],
    **wanted: bool,
) -> MixtureTerms:
    residuals = signals if means is None else torch.addmm(signals, alpha, means, alpha=-1)
    terms: MixtureTerms = options["backend"](residuals, alpha, covariances, weights, memory=options["memory"], **wanted)
    return terms


class _MixtureLogLikelihood(torch.autograd.Function):
    """Log-densities (N,); all that the gradients need is computed along with them, for the expected weights."""

    @staticmethod
    def forward(
        ctx: Any,
        signals: Tensor,
        alpha: Tensor,
        means: Tensor | None,
        covariances: Tensor,
        weights: Tensor,
        options: dict[str, Any],
    ) -> Tensor:
        by_signals, by_alpha, by_means, by_covariances, *_ = ctx.needs_input_grad
        with full_float32_precision(signals.device):
            terms = _terms(
                signals, alpha, means, covariances, weights, options, gradients=True, covariance_gradient=by_covariances
            )
            assert terms.by_residual is not None
            assert terms.by_alpha is not None
            if means is not None and by_alpha:
                terms.by_alpha.addmm_(terms.by_residual, means.T)
        kept = terms.by_residual if by_signals or by_means else None
        ctx.save_for_backward(
            signals, alpha, means, covariances, weights, terms.log_densities, kept, terms.by_alpha, terms.by_covariances
        )
        ctx.options = options
        return terms.log_densities

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        signals, alpha, means, covariances, weights, log_densities, solved, slopes, made = ctx.saved_tensors
        failed = torch.isnan(log_densities)
        factors = upstream.masked_fill(failed, 0.0)
        by_signals, by_alpha, by_means, by_covariances, *_ = ctx.needs_input_grad
        gradients: list[Tensor | None] = [None] * 6
        with full_float32_precision(signals.device):
            if by_signals:
                gradients[0] = solved * -factors.unsqueeze(1)
            if by_alpha:
                gradients[1] = slopes * factors.unsqueeze(1)
            if by_means:
                gradients[2] = torch.where(failed[:, None], 0.0, alpha * factors.unsqueeze(1)).T @ solved
            if by_covariances:
                scale, same = _common_factor(factors, weights.masked_fill(failed, 0.0))
                if not ctx.options["asks"]:
                    scale = torch.where(same, scale, torch.nan)
                elif not bool(same):
                    made, scale = (
                        _terms(
                            signals, alpha, means, covariances, factors, ctx.options, covariance_gradient=True
                        ).by_covariances,
                        factors.new_ones(()),
                    )
                gradients[3] = made * scale
        return tuple(gradients)


def _common_factor(factors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The number that makes factors of weights, and whether there is one."""
    if len(factors) == 0:
        return factors.new_zeros(()), torch.ones_like(factors, dtype=torch.bool).all()
    largest = weights.abs().argmax()
    scale = factors.take(largest) / weights.take(largest)  # an index in brackets would be read by the host
    scale = torch.where(weights.take(largest) == 0, 0.0, scale)  # nothing counts: then nothing has a gradient
    same = torch.isclose(factors, scale * weights, rtol=4 * torch.finfo(weights.dtype).eps, atol=0.0)
    return scale, same.all()


def _diagonal(signals: Tensor, alpha: Tensor, means: Tensor | None, variances_JC: Tensor) -> Tensor:
    """The same with diagonal covariances, by torch's own gradients: nothing in it is larger than the signals."""
    with torch.autocast(signals.device.type, enabled=False):
        residuals = signals if means is None else signals - alpha @ means
        mixed = alpha @ variances_JC
        sound = ((mixed > 0) & torch.isfinite(mixed)).all(1) & torch.isfinite(residuals).all(1)
        mixed = torch.where(sound[:, None], mixed, 1.0)
        residuals = torch.where(sound[:, None], residuals, 0.0)
        values = -0.5 * (mixed.log() + residuals.square() / mixed).sum(1)
        values = values - 0.5 * signals.shape[1] * math.log(2 * math.pi)
        return torch.where(sound & torch.isfinite(values), values, torch.nan)


def mixing_coefficients(theta: Tensor, temperature: Tensor) -> Tensor:
    """Softmax over the last dimension.

    Parameters
    ----------
    theta : Tensor, (..., J)
    temperature : Tensor, ()

    Returns
    -------
    Tensor, (..., J)
    """
    coefficients: Tensor = _MixingCoefficients.apply(theta, temperature)
    return coefficients


def gaussian_divergence(mean: Tensor, scale: Tensor, prior_mean: Tensor, prior_scale: Tensor) -> Tensor:
    """Kullback-Leibler divergence between diagonal Gaussians, summed over the last dimension, in nats.

    Parameters
    ----------
    mean, scale, prior_mean, prior_scale : Tensor, (..., J)
        Standard deviations are above 0.

    Returns
    -------
    Tensor, (...)
    """
    divergence: Tensor = _GaussianDivergence.apply(mean, scale, prior_mean, prior_scale)
    return divergence


class _MixingCoefficients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, temperature: Tensor) -> Tensor:
        logits = theta / temperature
        # torch's own softmax is slow along a few numbers.
        alpha = (logits - logits.amax(dim=-1, keepdim=True)).exp_()
        alpha.div_(alpha.sum(dim=-1, keepdim=True))
        ctx.save_for_backward(alpha, logits, temperature)
        return alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        alpha, logits, temperature = ctx.saved_tensors
        slopes = upstream * alpha
        slopes.sub_(alpha * slopes.sum(dim=-1, keepdim=True)).div_(temperature)
        by_temperature = -(slopes * logits).sum().to(temperature.dtype) if ctx.needs_input_grad[1] else None
        return slopes, by_temperature


class _GaussianDivergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, scale: Tensor, prior_mean: Tensor, prior_scale: Tensor) -> Tensor:
        ratio, distance = scale / prior_scale, (mean - prior_mean) / prior_scale
        squares = ratio.square()
        ctx.save_for_backward(scale, prior_scale, squares, distance)
        return torch.addcmul(squares - squares.log(), distance, distance).sub_(1.0).sum(dim=-1).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
        scale, prior_scale, squares, distance = ctx.saved_tensors
        over_prior = upstream.unsqueeze(-1) / prior_scale
        excess = squares - 1.0
        by_mean = over_prior * distance
        by_scale = excess * upstream.unsqueeze(-1) / scale
        by_prior_scale = torch.addcmul(excess, distance, distance).mul_(over_prior).neg_()
        return by_mean, by_scale, -by_mean, by_prior_scale
