"""Settings of simulations whose signals come from Gaussians, one for each state or mode."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dynml.configuration import check_at_least, check_positive
from dynml.errors import ConfigurationError
from dynml.simulation.config import RANDOM, SimulationConfig, check_covariance

MEANS = ("zero", RANDOM)


@dataclass(frozen=True, kw_only=True)
class GaussianSimulationConfig(SimulationConfig):
    """Settings of every simulation whose signals come from Gaussians.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_samples: int | list[int] = 25_600
    """Samples per subject, or a list with one number per subject."""

    n_channels: int = 11
    """Number of channels C."""

    means: str | list[list[float]] = "zero"
    """"zero", "random" (normal, standard deviation 0.2), or numbers, one row of C per state or mode."""

    covariances: str | list[list[list[float]]] = "random"
    """"random", or numbers, one matrix (C, C) per state or mode."""

    n_covariance_activations: int = 1
    """Number of times that random covariances get active channels: higher values make states or modes differ more."""

    observation_error: float = 0.0
    """Standard deviation of white noise added to the signals; its variance is part of the true covariances."""

    covariance_variability: float = 0.0
    """Distance of subjects' covariances from the group's: the root mean square, over channels, of the logarithms of the
    eigenvalues of (group's covariance)^-1 (subject's covariance). 0: all subjects share the group's."""

    sampling_frequency: float = 250.0
    """Samples per second, Hz."""

    @property
    def n_gaussians(self) -> int:
        """States K or modes J."""
        raise NotImplementedError

    def sampling_frequency_of(self, subject: int) -> float:
        """Samples per second, alike in all subjects."""
        return self.sampling_frequency

    def _check_rates(self) -> None:
        check_positive("sampling_frequency", self.sampling_frequency)

    def _check_own(self) -> None:
        check_at_least("n_covariance_activations", self.n_covariance_activations, 1)
        for key in ("observation_error", "covariance_variability"):
            check_at_least(key, getattr(self, key), 0.0)
            if not math.isfinite(getattr(self, key)):
                raise ConfigurationError(key, getattr(self, key), "a finite number")
        self._check_kind()
        self._check_numbers("means", (self.n_gaussians, self.n_channels), MEANS)
        self._check_covariances()

    def _check_kind(self) -> None:
        """Check the settings of one kind of simulation."""
        raise NotImplementedError

    def _check_covariances(self) -> None:
        numbers = self._check_numbers("covariances", (self.n_gaussians, self.n_channels, self.n_channels))
        if numbers is None:
            return
        if self.n_covariance_activations != 1:
            accepted = "left at 1 where covariances are given"
            raise ConfigurationError("n_covariance_activations", self.n_covariance_activations, accepted)
        for state, covariance in enumerate(numbers):
            check_covariance(f"covariances[{state}]", covariance)
