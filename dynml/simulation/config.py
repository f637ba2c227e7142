"""What is simulated: the settings of each kind, their defaults and their checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dynml.configuration import check_at_least, check_choice, check_fraction
from dynml.errors import ConfigurationError
from dynml.simulation.gaussian_config import GaussianSimulationConfig

TRANSITIONS = ("sequence", "uniform")
OFF_DIAGONAL_TRANSITIONS = ("sequence", "uniform", "random")
INITIALS = ("uniform", "stationary")
SEEDINGS = ("dynml", "osl", "osl_legacy")
SOFT_MIXTURE = {
    "relative_activation": (1.0, 0.5, 0.5, 0.25, 0.25, 0.1),
    "amplitudes": (6.0, 5.0, 4.0, 3.0, 2.0, 1.0),
    "frequencies": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
}
"""The soft mixture of six modes that DyNeMo is usually shown on."""


@dataclass(frozen=True, kw_only=True)
class HMMSimulationConfig(GaussianSimulationConfig):
    """A hidden Markov model with Gaussian states.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_states: int = 5
    """States K."""

    transition_probabilities: str | list[list[float]] = "sequence"
    """"sequence" (stay, or go on to the next state, the first after the last), "uniform" (stay, or go to any other
    state alike), or numbers (K, K), rows = from-state."""

    stay_probability: float = 0.9
    """Probability to stay in a state from one sample to the next, under "sequence" and "uniform"."""

    initial_probabilities: str | list[float] = "uniform"
    """Where paths start: "uniform", "stationary" (what the transitions leave as it is), or K numbers."""

    @property
    def n_gaussians(self) -> int:
        """States K."""
        return self.n_states

    def _check_own(self) -> None:
        check_at_least("n_states", self.n_states, 1)
        check_fraction("stay_probability", self.stay_probability)
        self._check_probabilities("transition_probabilities", (self.n_states, self.n_states), TRANSITIONS)
        self._check_probabilities("initial_probabilities", (self.n_states,), INITIALS)


@dataclass(frozen=True, kw_only=True)
class HSMMSimulationConfig(GaussianSimulationConfig):
    """A hidden semi-Markov model: Gaussian states whose lifetimes follow Gamma distributions.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_states: int = 5
    """States K, at least 2."""

    gamma_shape: float | list[float] = 10.0
    """Shape of the lifetimes' Gamma distribution: one number, or K."""

    gamma_scale: float | list[float] = 5.0
    """Scale of the lifetimes' Gamma distribution in samples: one number, or K. The mean lifetime is shape x scale, its
    standard deviation sqrt(shape) x scale; a lifetime is rounded, and lasts one sample at least."""

    transition_probabilities: str | list[list[float]] = "sequence"
    """Where a state goes when its lifetime ends: "sequence" (to the next state, to the first after the last), "uniform"
    (to any other state alike), "random" (rows drawn uniformly from all distributions over the other states), or numbers
    (K, K), rows = from-state, with zeros on the diagonal."""

    @property
    def n_gaussians(self) -> int:
        """States K."""
        return self.n_states

    def of_each_state(self, key: str) -> np.ndarray:
        """A setting with one number, or K, as K numbers."""
        return np.broadcast_to(np.asarray(getattr(self, key), dtype=np.float64), (self.n_states,))

    def _check_own(self) -> None:
        check_at_least("n_states", self.n_states, 2)
        for key in ("gamma_shape", "gamma_scale"):
            value = getattr(self, key)
            numbers = value if isinstance(value, list) else [value]
            is_list_of_wrong_length = isinstance(value, list) and len(value) != self.n_states
            if is_list_of_wrong_length or not all(map(_is_positive, numbers)):
                accepted = f"a finite number above 0, or a list of {self.n_states} (n_states)"
                raise ConfigurationError(key, value, accepted)
        shape = (self.n_states, self.n_states)
        transitions = self._check_probabilities("transition_probabilities", shape, OFF_DIAGONAL_TRANSITIONS)
        if transitions is not None and np.diagonal(transitions).any():
            accepted = "with zeros on the diagonal: how long a state lasts is drawn from its Gamma distribution"
            raise ConfigurationError("transition_probabilities", self.transition_probabilities, accepted)


@dataclass(frozen=True, kw_only=True)
class MixedSineSimulationConfig(GaussianSimulationConfig):
    """A soft mixture of Gaussian modes, whose mixing coefficients are the softmax of sinusoids.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_modes: int = 6
    """Modes J."""

    relative_activation: list[float] | None = None
    """J numbers, the mean of each mode's logit. null: 1, 0.5, 0.5, 0.25, 0.25, 0.1 for six modes, and for another
    number of modes what lies between these at even steps."""

    amplitudes: list[float] | None = None
    """J numbers, the amplitude of each mode's sinusoid. null: 6, 5, 4, 3, 2, 1, or what lies between."""

    frequencies: list[float] | None = None
    """J numbers, the frequency of each mode's sinusoid in Hz. null: 1, 2, 3, 4, 6, 8, or what lies between."""

    seeding: Literal["dynml", "osl", "osl_legacy"] = "dynml"
    """Which random numbers a seed stands for: "dynml" (one generator), "osl_legacy" (those of osl-dynamics up to 1.3.0
    with random_seed), or "osl" (those of later versions after numpy.random.seed). The last two are for one subject."""

    @property
    def n_gaussians(self) -> int:
        """Modes J."""
        return self.n_modes

    def _check_own(self) -> None:
        check_at_least("n_modes", self.n_modes, 1)
        for key, numbers in SOFT_MIXTURE.items():
            if getattr(self, key) is None:
                places = np.linspace(0, len(numbers) - 1, self.n_modes)
                object.__setattr__(self, key, np.interp(places, np.arange(len(numbers)), numbers).tolist())
            self._check_numbers(key, (self.n_modes,), ())
        check_choice("seeding", self.seeding, SEEDINGS)
        if self.seeding != "dynml":
            self._check_settings_of_another_seeding()

    def _check_settings_of_another_seeding(self) -> None:
        for key, only in (("n_subjects", 1), ("n_samples_range", None), ("covariance_variability", 0.0)):
            if getattr(self, key) != only:
                accepted = f"left out under seeding {self.seeding!r}, which draws one recording"
                raise ConfigurationError(key, getattr(self, key), accepted)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
