"""What a Gaussian HMM is made of, and what one pass over the data leaves behind.

Shapes: K states, C channels. All tensors are float64 on the CPU: they are small, and sums over millions of samples
need the digits.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

CovarianceType = Literal["full", "diagonal"]


@dataclass(frozen=True)
class GaussianHMMParameters:
    """Parameters of a hidden Markov model with Gaussian states.

    Any array-like is taken and kept as a float64 tensor on the CPU.
    """

    means_KC: Tensor
    """(K, C)."""
    covariances_KCC: Tensor
    """(K, C, C), or (K, C): the variances, for diagonal covariances."""
    initial_probabilities_K: Tensor
    """(K,): of the first sample of a segment."""
    transition_probabilities_KK: Tensor
    """(K, K): row = from, column = to."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = torch.as_tensor(getattr(self, field.name)).detach().to("cpu", torch.float64)
            object.__setattr__(self, field.name, value)
        n_states, n_channels = self.means_KC.shape
        assert self.covariances_KCC.shape in {(n_states, n_channels, n_channels), (n_states, n_channels)}
        assert self.initial_probabilities_K.shape == (n_states,)
        assert self.transition_probabilities_KK.shape == (n_states, n_states)

    @property
    def n_states(self) -> int:
        """K."""
        return self.means_KC.shape[0]

    @property
    def n_channels(self) -> int:
        """C."""
        return self.means_KC.shape[1]

    @property
    def covariance_type(self) -> CovarianceType:
        """Whether covariances are "full" or "diagonal"."""
        return "full" if self.covariances_KCC.ndim == 3 else "diagonal"

    def full_covariances(self) -> Tensor:
        """Covariances as matrices, (K, C, C), whatever the type."""
        return self.covariances_KCC if self.covariances_KCC.ndim == 3 else torch.diag_embed(self.covariances_KCC)

    def permuted(self, order: list[int] | Tensor) -> GaussianHMMParameters:
        """The same model with its states in another order: new state i is old state `order[i]`."""
        index = torch.as_tensor(order)
        return GaussianHMMParameters(
            means_KC=self.means_KC[index],
            covariances_KCC=self.covariances_KCC[index],
            initial_probabilities_K=self.initial_probabilities_K[index],
            transition_probabilities_KK=self.transition_probabilities_KK[index][:, index],
        )

    def to_dictionary(self) -> dict[str, Tensor]:
        """Tensors by field name, ready for safetensors."""
        return {field.name: getattr(self, field.name).contiguous() for field in dataclasses.fields(self)}

    @classmethod
    def from_dictionary(cls, tensors: dict[str, Tensor]) -> GaussianHMMParameters:
        """Inverse of `to_dictionary`."""
        return cls(**{field.name: tensors[field.name] for field in dataclasses.fields(cls)})


@dataclass
class Statistics:
    """Sufficient statistics of a Gaussian HMM: sums over samples, weighted by the state probabilities gamma.

    Samples that were not observed count in `initial_K` and `transitions_KK` alone. Statistics of disjoint data add up,
    so subjects, batches and ranks can be passed one by one.
    """

    occupancies_K: Tensor
    """(K,): sum of gamma_t over observed samples."""
    first_moments_KC: Tensor
    """(K, C): sum of gamma_t x_t."""
    second_moments_KCC: Tensor
    """(K, C, C): sum of gamma_t x_t x_t', or (K, C): of its diagonal."""
    initial_K: Tensor
    """(K,): sum of gamma at the first sample of every segment."""
    transitions_KK: Tensor
    """(K, K): sum of the probabilities of each transition, row = from."""
    log_likelihood: float
    """log p(x), nats, all segments together."""
    n_samples: float
    """Observed samples."""
    n_segments: float

    @classmethod
    def zeros(cls, n_states: int, n_channels: int, covariance_type: CovarianceType = "full") -> Statistics:
        """Statistics of no data."""
        second_shape = (n_states, n_channels, n_channels) if covariance_type == "full" else (n_states, n_channels)
        return cls(
            occupancies_K=torch.zeros(n_states, dtype=torch.float64),
            first_moments_KC=torch.zeros(n_states, n_channels, dtype=torch.float64),
            second_moments_KCC=torch.zeros(second_shape, dtype=torch.float64),
            initial_K=torch.zeros(n_states, dtype=torch.float64),
            transitions_KK=torch.zeros(n_states, n_states, dtype=torch.float64),
            log_likelihood=0.0,
            n_samples=0,
            n_segments=0,
        )

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in dataclasses.fields(self)}
        )

    def __iadd__(self, other: Statistics) -> Statistics:
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    @property
    def free_energy(self) -> float:
        """-log p(x) per observed sample, nats."""
        return -self.log_likelihood / self.n_samples

    def scaled(self, factor: float) -> Statistics:
        """Every sum times `factor`, sample counts and log-likelihood included (for decayed statistics)."""
        return Statistics(**{field.name: getattr(self, field.name) * factor for field in dataclasses.fields(self)})

    def to_dictionary(self) -> dict[str, Tensor]:
        """Everything as tensors by field name, so that a checkpoint can hold it."""
        return {
            field.name: torch.as_tensor(getattr(self, field.name), dtype=torch.float64).clone()
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dictionary(cls, tensors: dict[str, Tensor]) -> Statistics:
        """Inverse of `to_dictionary`."""
        values: dict[str, Any] = {field.name: tensors[field.name].double() for field in dataclasses.fields(cls)}
        values |= {name: float(values[name]) for name in ("log_likelihood", "n_samples", "n_segments")}
        return cls(**values)
