"""Mixing coefficients of drawn logits, and how far the Gaussians that they are drawn from are from their prior.

    alpha = softmax(theta / tau)
    KL(N(n, r^2) || N(m, s^2)) = 1/2 sum_j [(r_j / s_j)^2 + ((n_j - m_j) / s_j)^2 - 1 - log (r_j / s_j)^2]

Gradients in closed form go over the numbers fewer times than one operation after the other, which in small batches is
what a step's own time goes to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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
