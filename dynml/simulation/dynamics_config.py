"""Settings of simulations in which samples depend on the samples before them, or on time: defaults and checks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_fraction, check_positive, nearest_name
from dynml.errors import ConfigurationError
from dynml.simulation.config import HMMSimulationConfig
from dynml.simulation.gaussian_config import plain_values

RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class DynamicsSimulationConfig:
    """Settings of every simulation of this sort.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_subjects: int = 1
    """Subjects, each with a time course and noise of its own."""

    n_samples: int | list[int] = 400
    """Samples of every subject, or a list with one number a subject."""

    n_samples_range: list[int] | None = None
    """Two numbers [shortest, longest]: each subject's number of samples is drawn between them, both included. It takes
    the place of n_samples."""

    n_channels: int = 8
    """Channels C."""

    sampling_frequencies: list[float] = field(default_factory=lambda: [0.5])
    """Samples per second, Hz. Several make as many data sets, dataset-0 and so on, with subjects in turn."""

    seed: int = 0
    """Seed of the one generator behind all random numbers."""

    def __post_init__(self) -> None:
        for own in dataclasses.fields(self):
            object.__setattr__(self, own.name, plain_values(getattr(self, own.name)))
        _ = self.lengths
        rates = self.sampling_frequencies
        if not isinstance(rates, list) or not rates or not all(map(is_positive, rates)):
            raise ConfigurationError("sampling_frequencies", rates, "a list of finite numbers above 0")
        self._check_own()

    @property
    def lengths(self) -> HMMSimulationConfig:
        """Numbers of subjects, samples and channels as an HMM's simulation has them, which checks them."""
        return HMMSimulationConfig(
            n_states=1,
            n_subjects=self.n_subjects,
            n_samples=self.n_samples,
            n_samples_range=self.n_samples_range,
            n_channels=self.n_channels,
            seed=self.seed,
        )

    def sampling_frequency_of(self, subject: int) -> float:
        """Samples per second of a subject, counted from 0."""
        return float(self.sampling_frequencies[subject % len(self.sampling_frequencies)])

    def array(self, key: str) -> NDArray[np.float64] | None:
        """Numbers of a setting as an array, or None where it is a name."""
        value = getattr(self, key)
        return None if isinstance(value, str) else np.asarray(value, dtype=np.float64)

    def _check_own(self) -> None:
        """Check the settings of one kind of simulation."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AutoregressionConfig(DynamicsSimulationConfig):
    """Settings of autoregressions, with or without states.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    spectral_radius: float = 0.9
    """Size of the largest eigenvalue of random coefficients, below 1: how slowly signals forget."""

    density: float = 1.0
    """Share of the other channels by which each channel is driven, under random coefficients."""

    def _check_own(self) -> None:
        check_positive("spectral_radius", self.spectral_radius)
        if self.spectral_radius >= 1:
            raise ConfigurationError("spectral_radius", self.spectral_radius, "below 1, so that signals settle")
        check_fraction("density", self.density)

    def _check_coefficients(self, given: NDArray[np.float64] | None) -> None:
        """Refuse coefficients (N, p, C, C) of which some are not stable."""
        for position, lags in enumerate([] if given is None else given):
            radius = spectral_radius_of(lags)
            if radius >= 1:
                where = f"coefficients[{position}]" if len(given) > 1 else "coefficients"  # type: ignore[arg-type]
                raise ConfigurationError(where, f"an array with spectral radius {radius:.4g}", "below 1: stable")

    def _check_noise(self, key: str, given: NDArray[np.float64] | None) -> None:
        """Refuse covariances (N, C, C) of which some are none."""
        for covariance in [] if given is None else given:
            scale = np.abs(covariance).max()
            if not np.allclose(covariance, covariance.T, atol=1e-8 * scale) or np.linalg.eigvalsh(covariance)[0] <= 0:
                raise ConfigurationError(key, covariance.tolist(), "symmetric and positive definite")


@dataclass(frozen=True, kw_only=True)
class VarSimulationConfig(AutoregressionConfig):
    """An autoregression: each sample is driven by the p samples before it.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_lags: int = 1
    """Lags p."""

    coefficients: str | list[list[list[float]]] = RANDOM
    """"random", or numbers (p, C, C): one matrix a lag, row = the channel that is driven."""

    noise_covariance: str | list[list[float]] = RANDOM
    """"random", or numbers (C, C)."""

    def _check_own(self) -> None:
        super()._check_own()
        check_at_least("n_lags", self.n_lags, 1)
        square = (self.n_channels, self.n_channels)
        coefficients = checked_numbers("coefficients", self.coefficients, (self.n_lags, *square))
        self._check_coefficients(None if coefficients is None else coefficients[None])
        noise = checked_numbers("noise_covariance", self.noise_covariance, square)
        self._check_noise("noise_covariance", None if noise is None else noise[None])


@dataclass(frozen=True, kw_only=True)
class SwitchingVarSimulationConfig(AutoregressionConfig):
    """Hidden states, each with an autoregression of one lag and noise of its own.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_states: int = 4
    """States K."""

    transition_probabilities: str | list[list[float]] = "uniform"
    """"uniform" (stay, or go to any other state alike), "sequence" (stay, or go on to the next state, the first after
    the last), or numbers (K, K), rows = from-state."""

    stay_probability: float = 0.95
    """Probability to stay in a state from one sample to the next, under "sequence" and "uniform"."""

    initial_probabilities: str | list[float] = "stationary"
    """Where paths start: "uniform", "stationary" (what the transitions leave as it is), or K numbers."""

    coefficients: str | list[list[list[float]]] = RANDOM
    """"random", or numbers (K, C, C): one matrix a state, row = the channel that is driven."""

    noise_covariances: str | list[list[list[float]]] = RANDOM
    """"random", or numbers (K, C, C)."""

    mean_deviation: float = 0.0
    """Standard deviation of the level that channels tend to in each state. 0: states differ in their dynamics alone."""

    @property
    def chain(self) -> HMMSimulationConfig:
        """The chain of states as an HMM's simulation has it, which checks it."""
        return HMMSimulationConfig(
            n_states=self.n_states,
            transition_probabilities=self.transition_probabilities,
            stay_probability=self.stay_probability,
            initial_probabilities=self.initial_probabilities,
        )

    def _check_own(self) -> None:
        super()._check_own()
        _ = self.chain
        check_at_least("mean_deviation", self.mean_deviation, 0.0)
        shape = (self.n_states, self.n_channels, self.n_channels)
        coefficients = checked_numbers("coefficients", self.coefficients, shape)
        self._check_coefficients(None if coefficients is None else coefficients[:, None])
        self._check_noise("noise_covariances", checked_numbers("noise_covariances", self.noise_covariances, shape))


@dataclass(frozen=True, kw_only=True)
class SinesSimulationConfig(DynamicsSimulationConfig):
    """Trials of several classes: every channel is a sine, whose period depends on the class of the trial.

    The lag of every channel is drawn anew in every trial, so that a class shows in the periods alone.
    """

    periods: list[list[float]] = field(default_factory=lambda: [[8.0, 12.0, 16.0], [24.0, 32.0, 40.0]])
    """Periods in seconds, one list a class; each channel keeps to one of them in all trials of the class."""

    trial_duration: float = 40.0
    """Seconds of a trial."""

    rest_duration: float = 20.0
    """Seconds between trials, with noise alone; half of it before the first."""

    max_lag: float = 4.0
    """Largest lag of a channel behind the onset of its trial in seconds."""

    noise: float = 0.5
    """Standard deviation of white noise upon the signals, in units of the sines' amplitude."""

    def _check_own(self) -> None:
        lists = self.periods
        if not isinstance(lists, list) or not all(isinstance(own, list) and own for own in lists) or len(lists) < 2:
            raise ConfigurationError("periods", lists, "at least two lists of seconds, one a class")
        shortest = 2 / min(self.sampling_frequencies)
        for own in [period for periods in lists for period in periods]:
            if not is_positive(own) or own <= shortest:
                accepted = f"seconds above {shortest:g}, two samples at the lowest of sampling_frequencies"
                raise ConfigurationError("periods", own, accepted)
        check_positive("trial_duration", self.trial_duration)
        for key in ("rest_duration", "max_lag", "noise"):
            check_at_least(key, getattr(self, key), 0.0)


def spectral_radius_of(coefficients_pCC: NDArray[np.float64]) -> float:
    """Size of the largest eigenvalue of an autoregression of p lags: below 1 where it is stable."""
    n_lags, n_channels, _ = coefficients_pCC.shape
    companion = np.eye(n_lags * n_channels, k=-n_channels)
    companion[:n_channels] = np.concatenate(list(coefficients_pCC), axis=1)
    return float(np.abs(np.linalg.eigvals(companion)).max())


def checked_numbers(key: str, value: object, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Numbers of the given shape as an array, or None for "random"."""
    size = " x ".join(map(str, shape))
    accepted = f"{RANDOM}, or {size} finite numbers"
    if isinstance(value, str):
        if value != RANDOM:
            near = nearest_name(value, [RANDOM])
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


def is_positive(value: object) -> bool:
    """Say whether a value is a finite number above 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
