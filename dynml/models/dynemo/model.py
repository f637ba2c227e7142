"""DyNeMo: the data's mean and covariance are mixtures of modes, anew at every sample.

    x_t ~ N(sum_j alpha_jt mu_j, sum_j alpha_jt D_j),    alpha_t = softmax(theta_t / tau)
    theta_t ~ N(m(theta_1..t-1), s(theta_1..t-1)^2)              prior: a recurrent network that looks back
    q(theta_t | x) = N(n(x_1..T), r(x_1..T)^2)                   posterior: a recurrent network that looks both ways

Training raises a lower bound on log p(x) of each window of T samples,

    sum_t E_q[log N(x_t; ..)] - eta E_q[KL(q(theta_t) || p(theta_t | theta_1..t-1))],

with one draw of theta by reparameterization and a weight eta that rises to 1. The first sample's prior is what the
network says without any past (a zero input), so that the sum is a bound of the window's likelihood. A sample that was
not observed has no likelihood: the bound is then one of the likelihood of those that were. The posterior's network
reads zeros in its place, the mean of standardized signals.

Shapes: B windows, T samples, C channels, J modes, H units.

Reference: Gohil et al. 2022, "Mixtures of large-scale dynamic functional brain network modes", NeuroImage 263:119595.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dynml.configuration import check_at_least, check_instance
from dynml.models.dynemo.config import DynemoConfig
from dynml.models.dynemo.recurrent_networks import GaussianHead, RecurrentStack, gaussian_of
from dynml.ops.keyed_noise import derived_keys, keyed_normal
from dynml.ops.mixture.cholesky_parameters import (
    covariances_from_vectors,
    variances_from_vectors,
    vectors_from_covariances,
    vectors_from_variances,
)
from dynml.ops.mixture.mixture_gaussian import gaussian_divergence, mixing_coefficients, mixture_log_likelihood
from dynml.training.model_summary import Summarized

DRAWS_SEED = 0
"""What the draws of validation and reports are keyed by, beside the window: the same for every model."""


@dataclass(frozen=True)
class BoundTerms:
    """The two parts of the bound for every sample; 0 in padding."""

    log_likelihood_BT: Tensor
    divergence_BT: Tensor
    """Kullback-Leibler divergence between posterior and prior, summed over modes."""


class ParameterCount(NamedTuple):
    """A row of the printed summary."""

    layer: str
    shape: str
    n_parameters: int
    n_trained: int


class Dynemo(Summarized, torch.nn.Module):
    """The model and what can be asked of it; training is the trainer's.

    Parameters
    ----------
    config : DynemoConfig
    n_channels : int
        Channels C of the signals.
    """

    goes_by_samples = True
    """Time counts in samples, whatever the rate."""

    kl_annealing_factor: Tensor

    def __init__(self, config: DynemoConfig, n_channels: int) -> None:
        super().__init__()
        check_instance("config", config, DynemoConfig, "a DynemoConfig: Dynemo(DynemoConfig(n_modes=6), n_channels)")
        check_at_least("n_channels", n_channels, 1)
        self.config, self.n_channels = config, n_channels
        J = config.n_modes
        self.inference_rnn = RecurrentStack(
            config.inference_rnn,
            n_channels,
            config.inference_n_units,
            config.inference_n_layers,
            normalization=config.inference_normalization,
            activation=config.inference_activation,
            dropout=config.inference_dropout,
            bidirectional=True,
        )
        self.posterior_head = GaussianHead(self.inference_rnn.n_outputs, J)
        self.model_rnn = RecurrentStack(
            config.model_rnn,
            J,
            config.model_n_units,
            config.model_n_layers,
            normalization=config.model_normalization,
            activation=config.model_activation,
            dropout=config.model_dropout,
            bidirectional=False,
        )
        self.prior_head = GaussianHead(self.model_rnn.n_outputs, J)
        temperature = torch.tensor(config.initial_alpha_temperature)
        self.alpha_temperature = torch.nn.Parameter(temperature, requires_grad=config.learn_alpha_temperature)
        self.means = torch.nn.Parameter(torch.zeros(J, n_channels), requires_grad=config.learn_means)
        self.covariance_vectors = torch.nn.Parameter(
            self._vectors(self._random_covariances()), requires_grad=config.learn_covariances
        )
        self.register_buffer("kl_annealing_factor", torch.tensor(0.0 if config.annealing_epochs else 1.0))

    # ------------------------------------------------------------------ the modes

    def covariances(self) -> Tensor:
        """Covariances of the modes, (J, C, C), or variances (J, C), as functions of the trained numbers."""
        if self.config.covariance_type == "diagonal":
            return variances_from_vectors(self.covariance_vectors, self.config.covariances_epsilon)
        return covariances_from_vectors(self.covariance_vectors, self.config.covariances_epsilon)

    def full_covariances(self) -> Tensor:
        """Covariances as matrices, (J, C, C) float64, detached."""
        covariances = self.covariances().detach().double()
        return torch.diag_embed(covariances) if covariances.ndim == 2 else covariances

    @torch.no_grad()
    def set_modes(self, covariances_JCC: Tensor, means_JC: Tensor | None = None) -> None:
        """Take over covariances (J, C, C), and means (J, C) if they are learnt."""
        self.covariance_vectors.copy_(self._vectors(covariances_JCC.double()))
        if means_JC is not None:
            self.means.copy_(means_JC)

    # ------------------------------------------------------------------ the networks

    def posterior(
        self, signals_BTC: Tensor, lengths: Tensor | None = None, observed_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the logits given the observed samples of whole windows, two (B, T, J)."""
        signals_BTC = signals_BTC if observed_BT is None else torch.where(observed_BT[:, :, None], signals_BTC, 0.0)
        return gaussian_of(self.inference_rnn, self.posterior_head, signals_BTC, lengths)

    def prior(self, theta_BTJ: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each logit given those before it, two (B, T, J)."""
        past = torch.nn.functional.pad(theta_BTJ[:, :-1], (0, 0, 1, 0))
        return gaussian_of(self.model_rnn, self.prior_head, past, lengths)

    def alpha(self, theta: Tensor) -> Tensor:
        """Mixing coefficients of logits, (..., J)."""
        return mixing_coefficients(theta, self.alpha_temperature)

    # ------------------------------------------------------------------ the bound

    def bound_terms(
        self,
        signals_BTC: Tensor,
        noise_BTJ: Tensor | None,
        mask_BT: Tensor | None = None,
        observed_BT: Tensor | None = None,
        *,
        lengths_B: Tensor | None = None,
        in_sum: bool = False,
    ) -> BoundTerms:
        """Both parts of the bound for a draw of the logits.

        Parameters
        ----------
        signals_BTC : Tensor, (B, T, C)
        noise_BTJ : Tensor, (B, T, J), or None
            Standard normal numbers; None: the posterior's mean stands for the draw.
        mask_BT : Tensor, (B, T) bool, optional
            Where some windows are shorter than T.
        observed_BT : Tensor, (B, T) bool, optional
            Where some samples were not observed: they have no likelihood, and what lies there is not read.
        lengths_B : Tensor, (B,), optional
            Samples of each window, on the host. Default: counted in the mask, for which an accelerator is waited for.
        in_sum : bool
            The loss takes the sum or the mean of the log-likelihood: then no accelerator is asked whether it did.
        """
        lengths_B = _lengths(mask_BT, lengths_B)
        mean, scale = self.posterior(signals_BTC, lengths_B, observed_BT)
        parts = signals_BTC, mean, scale, noise_BTJ, mask_BT, observed_BT
        return self.terms_of(*parts, lengths_B=lengths_B, in_sum=in_sum)

    def terms_of(
        self,
        signals_BTC: Tensor,
        mean: Tensor,
        scale: Tensor,
        noise_BTJ: Tensor | None,
        mask_BT: Tensor | None,
        observed_BT: Tensor | None = None,
        *,
        lengths_B: Tensor | None = None,
        in_sum: bool = False,
    ) -> BoundTerms:
        """`bound_terms` with the posterior at hand."""
        theta = mean if noise_BTJ is None else mean + scale * noise_BTJ
        prior_mean, prior_scale = self.prior(theta, _lengths(mask_BT, lengths_B))
        divergence = gaussian_divergence(mean, scale, prior_mean, prior_scale)
        counted_BT = mask_BT if observed_BT is None else observed_BT
        weights = None if counted_BT is None else counted_BT.to(signals_BTC.dtype)
        log_likelihood = mixture_log_likelihood(
            signals_BTC if observed_BT is None else torch.where(observed_BT[:, :, None], signals_BTC, 0.0),
            self.alpha(theta),
            self.means if self.config.learn_means else None,
            self.covariances(),
            weights=weights,
            weights_hold=in_sum,
        )
        if mask_BT is not None:
            divergence = torch.where(mask_BT, divergence, 0.0)
        if counted_BT is not None:
            log_likelihood = torch.where(counted_BT, log_likelihood, 0.0)
        return BoundTerms(log_likelihood, divergence)

    def bounds_of_draws(
        self,
        signals_BTC: Tensor,
        keys_B: Tensor,
        n_draws: int,
        mask_BT: Tensor | None = None,
        observed_BT: Tensor | None = None,
        lengths_B: Tensor | None = None,
    ) -> Tensor:
        """Negative bound of every window, (B,), the mean of several keyed draws, in nats, summed over its samples."""
        lengths_B = _lengths(mask_BT, lengths_B)
        mean, scale = self.posterior(signals_BTC, lengths_B, observed_BT)
        total = torch.zeros(len(signals_BTC), dtype=torch.float64, device=signals_BTC.device)
        for draw in range(n_draws):
            noise = self.noise(derived_keys(keys_B, draw), signals_BTC)
            terms = self.terms_of(signals_BTC, mean, scale, noise, mask_BT, observed_BT, lengths_B=lengths_B)
            total += (terms.divergence_BT - terms.log_likelihood_BT).sum(dim=1, dtype=torch.float64)
        return total / n_draws

    def noise(self, keys_B: Tensor, signals_BTC: Tensor) -> Tensor:
        """Standard normal numbers for every logit of windows, (B, T, J), a function of each window's key."""
        shape = signals_BTC.shape[1], self.config.n_modes
        counters = torch.arange(shape[0] * shape[1], device=signals_BTC.device)
        return keyed_normal(keys_B[:, None], counters).view(-1, *shape)

    def log_prior(self, covariance_CC: Tensor, mean_C: Tensor) -> Tensor:
        """Log-density, up to a constant, of the priors of covariances and means around those of all data."""
        config, covariances = self.config, self.covariances()
        S, m = covariance_CC.to(covariances), mean_C.to(covariances)
        total = covariances.new_zeros(())
        if config.covariance_prior_samples:
            if covariances.ndim == 2:
                terms = covariances.log().sum(dim=1) + (S.diagonal() / covariances).sum(dim=1)
            else:
                solved = torch.linalg.solve(covariances, S.expand_as(covariances))
                terms = torch.logdet(covariances) + solved.diagonal(dim1=1, dim2=2).sum(1)
            total = total - 0.5 * config.covariance_prior_samples * terms.sum()
        if config.means_prior_samples and config.learn_means:
            differences = self.means - m
            squares = (differences * torch.linalg.solve(S, differences.T).T).sum()
            total = total - 0.5 * config.means_prior_samples * squares
        return total

    # ------------------------------------------------------------------ what users ask for

    @torch.no_grad()
    def sample_alpha(self, n_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw coefficients from the learnt prior, (n_samples, J): each drawn logit is fed back.

        The state of the network is carried on, so a sample looks back as far as the network remembers.
        """
        rolling = _RollingPrior(self)
        theta = torch.zeros(1, 1, self.config.n_modes, device=self.means.device)
        drawn = []
        for _ in range(n_samples):
            mean, scale = rolling.step(theta)
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            theta = mean + scale * noise
            drawn.append(theta[0, 0])
        return self.alpha(torch.stack(drawn))

    def arrays(self) -> dict[str, np.ndarray]:
        """Parameters as NumPy arrays, under the names of their files."""
        return {
            "means": self.means.detach().double().cpu().numpy(),
            "covariances": self.full_covariances().cpu().numpy(),
        }

    def parameter_table(self) -> list[ParameterCount]:
        """Counts by layer, in the order in which data go through them."""
        rows = []
        for layer, part in (
            ("inference rnn", self.inference_rnn.recurrent),
            ("inference normalization", self.inference_rnn.normalization),
            ("posterior mean", self.posterior_head.mean),
            ("posterior scale", self.posterior_head.scale),
            ("alpha temperature", self.alpha_temperature),
            ("means", self.means),
            ("covariances", self.covariance_vectors),
            ("model rnn", self.model_rnn.recurrent),
            ("model normalization", self.model_rnn.normalization),
            ("prior mean", self.prior_head.mean),
            ("prior scale", self.prior_head.scale),
            ("kl annealing factor", self.kl_annealing_factor),
        ):
            tensors = [part] if isinstance(part, Tensor) else list(part.parameters())
            if tensors:
                shapes = ", ".join("x".join(map(str, tensor.shape)) or "1" for tensor in tensors)
                trained = sum(tensor.numel() for tensor in tensors if tensor.requires_grad)
                rows.append(ParameterCount(layer, shapes, sum(tensor.numel() for tensor in tensors), trained))
        return rows

    # ------------------------------------------------------------------ small helpers

    def _vectors(self, covariances_JCC: Tensor) -> Tensor:
        epsilon = self.config.covariances_epsilon
        if self.config.covariance_type == "diagonal":
            variances = covariances_JCC if covariances_JCC.ndim == 2 else covariances_JCC.diagonal(dim1=1, dim2=2)
            return vectors_from_variances(variances, epsilon).float()
        return vectors_from_covariances(covariances_JCC, epsilon).float()

    def _random_covariances(self) -> Tensor:
        """Diagonal matrices of variances near 1, which suit standardized data."""
        variances = torch.nn.init.trunc_normal_(
            torch.empty(self.config.n_modes, self.n_channels, dtype=torch.float64), mean=1.0, std=0.1, a=0.8, b=1.2
        )
        return torch.diag_embed(variances)


def _lengths(mask_BT: Tensor | None, lengths_B: Tensor | None) -> Tensor | None:
    return mask_BT.sum(dim=1).cpu() if lengths_B is None and mask_BT is not None else lengths_B


class _RollingPrior:
    """The prior, step by step, with the state of every layer carried on."""

    def __init__(self, model: Dynemo) -> None:
        self._model, self._stack = model, model.model_rnn
        self._states: list[object] = [None] * len(self._stack.recurrent)

    def step(self, theta_11J: Tensor) -> tuple[Tensor, Tensor]:
        hidden = theta_11J
        for number, (layer, normalization) in enumerate(zip(self._stack.recurrent, self._stack.normalization)):
            hidden, self._states[number] = layer(hidden, self._states[number])
            hidden = self._stack.activation(normalization(hidden))
        mean, scale = self._model.prior_head(hidden)
        return mean, scale
