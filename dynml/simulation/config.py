"""Settings that all simulations share: subjects, lengths, channels and the seed, with their checks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, nearest_name
from dynml.errors import ConfigurationError

RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """Settings of every simulation.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_subjects: int = 1
    """Number of subjects, each with its own time course and noise."""

    n_samples: int | list[int] = 400
    """Samples per subject, or a list with one number per subject."""

    n_samples_range: list[int] | None = None
    """Two numbers [shortest, longest], instead of n_samples: each subject's number of samples is drawn between them,
    both included."""

    n_channels: int = 8
    """Number of channels C."""

    seed: int = 0
    """Random seed."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain_values(getattr(self, field.name)))
        for key in ("n_subjects", "n_channels"):
            check_at_least(key, getattr(self, key), 1)
        check_at_least("seed", self.seed, 0)
        self._check_lengths()
        self._check_rates()
        self._check_own()

    def sampling_frequency_of(self, subject: int) -> float:
        """Samples per second of a subject, counted from 0."""
        raise NotImplementedError

    def array(self, key: str) -> NDArray[np.float64] | None:
        """Numbers of a setting as an array, or None where it is a name."""
        value = getattr(self, key)
        return None if isinstance(value, str) else np.asarray(value, dtype=np.float64)

    def number_of_samples(self, subject: int, generator: np.random.Generator) -> int:
        """Samples of one subject, counted from 0: as stated, or drawn."""
        if self.n_samples_range is not None:
            shortest, longest = self.n_samples_range
            return int(generator.integers(shortest, longest, endpoint=True))
        return self.n_samples[subject] if isinstance(self.n_samples, list) else self.n_samples

    def _check_rates(self) -> None:
        """Check samples per second."""
        raise NotImplementedError

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

    def _check_numbers(self, key: str, shape: tuple[int, ...], names: tuple[str, ...] = (RANDOM,)) -> Numbers:
        return checked_numbers(key, getattr(self, key), shape, names)

    def _check_probabilities(self, key: str, shape: tuple[int, ...], names: tuple[str, ...]) -> Numbers:
        numbers = self._check_numbers(key, shape, names)
        if numbers is not None and ((numbers < 0).any() or not np.allclose(numbers.sum(axis=-1), 1, atol=1e-6)):
            rows = "rows of " if numbers.ndim == 2 else ""
            raise ConfigurationError(key, getattr(self, key), f"{rows}probabilities that sum to 1")
        return numbers


Numbers = NDArray[np.float64] | None
"""An array, or None where a name was given."""


def checked_numbers(key: str, value: object, shape: tuple[int, ...], names: tuple[str, ...] = (RANDOM,)) -> Numbers:
    """Numbers of the given shape as an array, or None for one of the names.

    Raises
    ------
    ConfigurationError
        For another name, another shape, or numbers that are not finite.
    """
    size = " x ".join(map(str, shape))
    accepted = f"{', '.join(names)}{', or ' if names else ''}{size} finite numbers"
    if isinstance(value, str):
        if value not in names:
            near = nearest_name(value, names)
            raise ConfigurationError(key, value, accepted + (near if "did you mean" in near else ""))
        return None
    try:
        numbers: NDArray[np.float64] = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(key, value, accepted) from error
    if numbers.shape != shape:
        raise ConfigurationError(key, f"an array of shape {numbers.shape}", accepted)
    if not np.isfinite(numbers).all():
        raise ConfigurationError(key, "an array with NaN or infinite values", accepted)
    return numbers


def check_covariance(key: str, covariance: NDArray[np.float64]) -> None:
    """Refuse a matrix (C, C) that is no covariance."""
    scale = np.abs(covariance).max()
    if not np.allclose(covariance, covariance.T, atol=1e-8 * scale) or np.linalg.eigvalsh(covariance)[0] <= 0:
        raise ConfigurationError(key, covariance.tolist(), "symmetric and positive definite")


def plain_values(value: Any) -> Any:
    """Arrays as nested lists and numbers of NumPy as Python's, so that a config is JSON whoever made it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return value


def is_positive(value: object) -> bool:
    """Say whether a value is a finite number above 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
