"""What all simulations have in common: subjects, lengths, channels, Gaussians and the seed, with their checks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynml.configuration import check_at_least, check_positive, nearest_name
from dynml.errors import ConfigurationError

MEANS = ("zero", "random")
COVARIANCES = ("random",)


@dataclass(frozen=True, kw_only=True)
class GaussianSimulationConfig:
    """Settings of every simulation whose signals come from Gaussians, one for each state or mode.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_subjects: int = 1
    """Subjects, each with a time course and noise of its own."""

    n_samples: int | list[int] = 25_600
    """Samples of every subject, or a list with one number a subject."""

    n_samples_range: list[int] | None = None
    """Two numbers [shortest, longest]: each subject's number of samples is drawn between them, both included. It takes
    the place of n_samples."""

    n_channels: int = 11
    """Channels C."""

    means: str | list[list[float]] = "zero"
    """"zero", "random" (normal, standard deviation 0.2), or numbers, one row of C a state or mode."""

    covariances: str | list[list[list[float]]] = "random"
    """"random", or numbers, one matrix (C, C) a state or mode."""

    n_covariance_activations: int = 1
    """How often random covariances get active channels: more often sets states or modes further apart."""

    observation_error: float = 0.0
    """Standard deviation of white noise upon the signals; its variance is part of the covariances of the truth."""

    covariance_variability: float = 0.0
    """How far subjects' covariances lie from the group's: the root mean square, over channels, of the logarithms of the
    eigenvalues of (group's covariance)^-1 (subject's covariance). 0: all subjects share the group's."""

    sampling_frequency: float = 250.0
    """Samples per second, Hz."""

    seed: int = 0
    """Seed of the one generator behind all random numbers."""

    @property
    def n_gaussians(self) -> int:
        """States K or modes J."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain_values(getattr(self, field.name)))
        for key in ("n_subjects", "n_channels", "n_covariance_activations"):
            check_at_least(key, getattr(self, key), 1)
        check_at_least("seed", self.seed, 0)
        check_positive("sampling_frequency", self.sampling_frequency)
        for key in ("observation_error", "covariance_variability"):
            check_at_least(key, getattr(self, key), 0.0)
            if not math.isfinite(getattr(self, key)):
                raise ConfigurationError(key, getattr(self, key), "a finite number")
        self._check_lengths()
        self._check_own()
        self._check_numbers("means", (self.n_gaussians, self.n_channels), MEANS)
        self._check_covariances()

    def array(self, key: str) -> np.ndarray | None:
        """Numbers of a setting as an array, or None where it is a name."""
        value = getattr(self, key)
        return None if isinstance(value, str) else np.asarray(value, dtype=np.float64)

    def _check_own(self) -> None:
        """Check the settings of one kind of simulation."""
        raise NotImplementedError

    def _check_lengths(self) -> None:
        if self.n_samples_range is not None:
            numbers = self.n_samples_range
            whole = isinstance(numbers, list) and len(numbers) == 2 and all(map(_is_count, numbers))
            if not whole or numbers[0] > numbers[1]:
                raise ConfigurationError(
                    "n_samples_range", numbers, "two whole numbers of at least 1, the shortest and the longest"
                )
        elif isinstance(self.n_samples, list):
            if len(self.n_samples) != self.n_subjects or not all(map(_is_count, self.n_samples)):
                accepted = f"one whole number, or one for each of the {self.n_subjects} subjects (n_subjects)"
                raise ConfigurationError("n_samples", self.n_samples, accepted)
        else:
            check_at_least("n_samples", self.n_samples, 1)

    def _check_numbers(self, key: str, shape: tuple[int, ...], names: tuple[str, ...]) -> np.ndarray | None:
        value = getattr(self, key)
        size = " x ".join(map(str, shape))
        accepted = f"{', '.join(names)}{', or ' if names else ''}{size} finite numbers"
        if isinstance(value, str):
            if value not in names:
                near = nearest_name(value, names)
                raise ConfigurationError(key, value, accepted + (near if "did you mean" in near else ""))
            return None
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(key, value, accepted) from error
        if numbers.shape != shape:
            raise ConfigurationError(key, f"an array of shape {numbers.shape}", accepted)
        if not np.isfinite(numbers).all():
            raise ConfigurationError(key, "an array with NaN or infinite values", accepted)
        return numbers

    def _check_probabilities(self, key: str, shape: tuple[int, ...], names: tuple[str, ...]) -> np.ndarray | None:
        numbers = self._check_numbers(key, shape, names)
        if numbers is not None and ((numbers < 0).any() or not np.allclose(numbers.sum(axis=-1), 1, atol=1e-6)):
            rows = "rows of " if numbers.ndim == 2 else ""
            raise ConfigurationError(key, getattr(self, key), f"{rows}probabilities that sum to 1")
        return numbers

    def _check_covariances(self) -> None:
        shape = (self.n_gaussians, self.n_channels, self.n_channels)
        numbers = self._check_numbers("covariances", shape, COVARIANCES)
        if numbers is None:
            return
        if self.n_covariance_activations != 1:
            accepted = "left at 1 where covariances are given"
            raise ConfigurationError("n_covariance_activations", self.n_covariance_activations, accepted)
        for state, covariance in enumerate(numbers):
            eigenvalues = np.linalg.eigvalsh(covariance)
            scale = np.abs(covariance).max()
            if not np.allclose(covariance, covariance.T, atol=1e-8 * scale) or eigenvalues[0] <= 0:
                raise ConfigurationError(f"covariances[{state}]", covariance, "symmetric and positive definite")


def plain_values(value: Any) -> Any:
    """Arrays as nested lists and numbers of NumPy as Python's, so that a config is JSON whoever made it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
