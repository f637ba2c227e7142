"""Hidden Markov model with Gaussian states.

    p(s_1) = pi,    p(s_t | s_t-1) = P[s_t-1, s_t],    p(x_t | s_t = k) = N(x_t; mu_k, D_k)

Shapes: T samples, C channels, K states. Parameters are float64: they are few, and EM sums over many samples.

References
----------
Rabiner 1989, Proceedings of the IEEE 77:257. Vidaurre et al. 2018, NeuroImage 180:646 (brain dynamics).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from dynml.configuration import check_at_least, check_instance
from dynml.errors import DataError
from dynml.models.hmm.config import HMMConfig
from dynml.models.hmm.priors import allowed_transitions_of
from dynml.ops.hmm.forward_backward import sample_states
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, e_step, n_parameters, viterbi
from dynml.training.model_summary import Summarized

STAY_PROBABILITY = 0.9


class GaussianHMM(Summarized, torch.nn.Module):
    """The model and what can be asked of it; training is the trainer's.

    Parameters
    ----------
    config : HMMConfig
    n_channels : int
        Channels C of the signals.
    """

    goes_by_samples = True
    """Time counts in samples, whatever the rate."""

    means: torch.Tensor
    covariances: torch.Tensor
    initial_probabilities: torch.Tensor
    transition_probabilities: torch.Tensor

    def __init__(self, config: HMMConfig, n_channels: int) -> None:
        super().__init__()
        check_instance("config", config, HMMConfig, "an HMMConfig: GaussianHMM(HMMConfig(n_states=8), n_channels)")
        check_at_least("n_channels", n_channels, 1)
        self.config = config
        K, C = config.n_states, n_channels
        identity = torch.eye(C, dtype=torch.float64) if config.covariance_type == "full" else torch.ones(C).double()
        self.register_buffer("means", torch.zeros(K, C, dtype=torch.float64))
        self.register_buffer("covariances", identity.expand(K, *identity.shape).clone())
        self.register_buffer("initial_probabilities", torch.full((K,), 1 / K, dtype=torch.float64))
        self.register_buffer("transition_probabilities", _first_transitions(config))

    def extra_repr(self) -> str:
        """What torch shows between the brackets."""
        return (
            f"n_states={self.config.n_states}, n_channels={self.n_channels}, {self.config.covariance_type} covariances"
        )

    @property
    def n_channels(self) -> int:
        """Channels C."""
        return self.means.shape[1]

    def get_parameters(self) -> GaussianHMMParameters:
        """Return all parameters as one value, in float64 on the CPU."""
        buffers = self.means, self.covariances, self.initial_probabilities, self.transition_probabilities
        if self.means.device.type == "cpu":
            means, covariances, initial, transitions = (buffer.clone() for buffer in buffers)
        else:
            # Together, so that the host waits for a GPU once.
            flat = torch.cat([buffer.reshape(-1) for buffer in buffers]).cpu()
            parts = flat.split([buffer.numel() for buffer in buffers])
            means, covariances, initial, transitions = (
                part.reshape(buffer.shape).clone() for part, buffer in zip(parts, buffers, strict=True)
            )
        return GaussianHMMParameters(
            means_KC=means,
            covariances_KCC=covariances,
            initial_probabilities_K=initial,
            transition_probabilities_KK=transitions,
        )

    def set_parameters(self, parameters: GaussianHMMParameters) -> None:
        """Take over all parameters."""
        self.means.copy_(parameters.means_KC)
        self.covariances.copy_(parameters.covariances_KCC)
        self.initial_probabilities.copy_(parameters.initial_probabilities_K)
        self.transition_probabilities.copy_(parameters.transition_probabilities_KK)

    def arrays(self) -> dict[str, np.ndarray]:
        """Parameters as NumPy arrays, under the names of their files."""
        return {
            "means": self.means.cpu().numpy(),
            "covariances": self.full_covariances().cpu().numpy(),
            "transition_probabilities": self.transition_probabilities.cpu().numpy(),
            "initial_probabilities": self.initial_probabilities.cpu().numpy(),
        }

    def full_covariances(self) -> torch.Tensor:
        """Covariances as matrices, (K, C, C) float64, also where only variances are learnt."""
        return torch.diag_embed(self.covariances) if self.config.covariance_type == "diagonal" else self.covariances

    def posteriors(self, signals: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """State probabilities given whole segments.

        Parameters
        ----------
        signals : Tensor, (T, C), float32
            Segments laid end to end. Rows that are NaN in all channels were not observed, and are inferred through.
        starts : Tensor, (n_segments + 1,), int64
            Row borders of the segments.

        Returns
        -------
        posteriors : Tensor, (T, K)
        log_likelihoods : Tensor, (n_segments,), float64
            Exact log p(x) of each segment, in nats.

        Raises
        ------
        DataError
            When the signals have another number of channels than the model, or the borders are not theirs.
        """
        self._check(signals, starts)
        _, log_likelihoods, posteriors = e_step(signals, starts, self.get_parameters(), posteriors=True)
        assert posteriors is not None
        return posteriors, log_likelihoods

    def most_likely_path(self, signals: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Viterbi path of each segment, (T,) int64."""
        self._check(signals, starts)
        return viterbi(signals, starts, self.get_parameters())[0]

    def sample(self, n_samples: int, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one segment from the model.

        Returns
        -------
        signals : Tensor, (n_samples, C), float32
        states : Tensor, (n_samples,), int64
        """
        check_at_least("n_samples", n_samples, 1)
        generator = generator or torch.Generator()
        parameters = self.get_parameters()
        states = sample_states(
            n_samples, parameters.initial_probabilities_K, parameters.transition_probabilities_KK, generator
        )
        noise = torch.randn(n_samples, self.n_channels, generator=generator, dtype=torch.float64)
        factors = torch.linalg.cholesky(self.full_covariances().cpu())
        signals = torch.empty_like(noise)
        for state, factor in enumerate(factors):
            rows = states == state
            signals[rows] = noise[rows] @ factor.T + parameters.means_KC[state]
        return signals.float(), states

    def _check(self, signals: torch.Tensor, starts: torch.Tensor) -> None:
        check_instance("signals", signals, torch.Tensor, "a tensor (T, C): torch.from_numpy(array)")
        if signals.ndim != 2 or signals.shape[1] != self.n_channels:
            raise DataError(
                f"The signals have the shape {tuple(signals.shape)}, but must be time x {self.n_channels} channels, as "
                "the model has them."
            )
        if not len(starts) or int(starts[0]) != 0 or int(starts[-1]) != len(signals):
            raise DataError(f"starts must go from 0 to the number of samples ({len(signals)}), segment by segment.")

    def parameter_table(self) -> Iterator[tuple[str, str, int, int]]:
        """Rows (layer, shape, parameters, trained) of the printed summary; a covariance counts its free entries."""
        K, C = self.config.n_states, self.n_channels
        counts = n_parameters(K, C, self.config.covariance_type)
        counts["covariances"] //= K if self.config.tied_covariance else 1
        shape = f"{K}x{C}x{C}" if self.config.covariance_type == "full" else f"{K}x{C}"
        shape = shape.replace(f"{K}x", "1x", 1) if self.config.tied_covariance else shape
        yield "means", f"{K}x{C}", counts["means"], counts["means"] * self.config.learn_means
        yield "covariances", shape, counts["covariances"], counts["covariances"] * self.config.learn_covariances
        hidden = counts["hidden_states"]
        yield "hidden states", f"{K}x{K}, {K}", hidden, hidden if self.config.learn_transitions else K


def _first_transitions(config: HMMConfig) -> torch.Tensor:
    transitions, allowed = sticky_transitions(config.n_states), allowed_transitions_of(config)
    if allowed is None:
        return transitions
    kept = transitions * allowed
    return kept / kept.sum(1, keepdim=True)


def sticky_transitions(n_states: int, stay_probability: float = STAY_PROBABILITY) -> torch.Tensor:
    """Transition matrix that stays with a given probability and moves to every other state alike, (K, K) float64."""
    if n_states == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    matrix = torch.full((n_states, n_states), (1 - stay_probability) / (n_states - 1), dtype=torch.float64)
    return matrix.fill_diagonal_(stay_probability)
