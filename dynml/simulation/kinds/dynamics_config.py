"""Settings of simulations in which samples depend on the samples before them, or on time."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynml.errors import ConfigurationError
from dynml.simulation.config import SimulationConfig, is_positive


@dataclass(frozen=True, kw_only=True)
class DynamicsSimulationConfig(SimulationConfig):
    """Settings of every simulation of this sort.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    sampling_frequencies: list[float] = field(default_factory=lambda: [0.5])
    """Sampling frequencies, Hz. Several make as many data sets, dataset-0 and so on, to which subjects belong in
    turn."""

    def sampling_frequency_of(self, subject: int) -> float:
        """Samples per second of a subject, counted from 0."""
        return float(self.sampling_frequencies[subject % len(self.sampling_frequencies)])

    def _check_rates(self) -> None:
        rates = self.sampling_frequencies
        if not isinstance(rates, list) or not rates or not all(map(is_positive, rates)):
            raise ConfigurationError("sampling_frequencies", rates, "a list of finite numbers above 0")
