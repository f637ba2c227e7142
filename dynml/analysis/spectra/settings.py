"""How spectra are estimated, and over which bands they are summed up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dynml.configuration import check_choice, check_positive
from dynml.errors import ConfigurationError

Method = Literal["auto", "multitaper", "pairs", "regression", "model"]
METHODS: tuple[Method, ...] = ("auto", "multitaper", "pairs", "regression", "model")

SLOW_RATE = 5.0
"""Hz: below it signals are those of fMRI, whose windows are 50 times as long."""
SLOWER = 50.0
SMEARING = 4.0
"""Hz (below 5 Hz that many fiftieths): visits of less than one by it smear spectra beyond what tapers do by default."""
UNSTATED_RATE = 1.0
"""Hz of signals whose rate nobody knew: seconds are then samples, and Hz cycles per sample."""

FAST_BANDS = (("delta", 1, 4), ("theta", 4, 8), ("alpha", 8, 13), ("beta", 13, 30), ("gamma", 30, 45))
SLOW_BANDS = (("low", 0.01, 0.1), ("high", 0.1, 0.25))
REACH = 0.95
"""Part of half the sampling frequency that default frequencies reach: at the half itself densities are not doubled."""
NARROWEST = 0.5
"""Part of a default band that must lie below half the sampling frequency."""


@dataclass(frozen=True)
class Band:
    """A range of frequencies with a name."""

    name: str
    lowest: float
    """Hz."""
    highest: float
    """Hz."""

    @property
    def in_words(self) -> str:
        """Name and limits."""
        return f"{self.name} ({self.lowest:g} to {self.highest:g} Hz)"


@dataclass(frozen=True, kw_only=True)
class SpectraConfig:
    """How spectra are estimated. What is left out follows from the sampling frequency, see `settled`."""

    method: Method = "auto"
    """Estimator: multitaper (weighted by state), pairs (of samples that are both in a state), regression (modes), model
    (the model's own covariances); auto: regression for modes; pairs for states where one by the mean visit is above
    4 Hz (signals below 5 Hz: 0.08 Hz), else multitaper."""

    window_length: float | None = None
    """Seconds of a window; default 2 (regression 0.5), below 5 Hz 100 (regression 25)."""

    time_half_bandwidth: float | None = None
    """Of the tapers, which are twice as many less one; default 4, below 5 Hz 2."""

    longest_lag: float | None = None
    """Seconds between the samples of a pair, at most; default 1, below 5 Hz 50."""

    frequency_range: tuple[float, float] | None = None
    """Hz from .. to; default 1 to 45, below 5 Hz 0.01 to 0.5, at most 0.95 of half the sampling frequency."""

    bands: tuple[Band, ...] | None = None
    """Default: delta, theta, alpha, beta, gamma; below 5 Hz low (0.01 to 0.1) and high (0.1 to 0.25)."""

    n_components: int = 0
    """Spectral components that the coherence is factorized into, beside the bands; 0: none."""

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        for key in ("window_length", "time_half_bandwidth", "longest_lag"):
            if getattr(self, key) is not None:
                check_positive(key, getattr(self, key))
        if self.frequency_range is not None:
            lowest, highest = self.frequency_range
            if not 0 <= lowest < highest:
                raise ConfigurationError("frequency_range", [lowest, highest], "two ascending frequencies in Hz")
        if self.n_components < 0:
            raise ConfigurationError("n_components", self.n_components, "a whole number of at least 0")

    def settled(self, sampling_frequency: float, method: Method) -> Settled:
        """Fill in what follows from the sampling frequency and the method.

        Raises
        ------
        ConfigurationError
            When the frequencies or bands do not lie below half the sampling frequency, or a window is too short.
        """
        slow = SLOWER if sampling_frequency < SLOW_RATE else 1.0
        half_bandwidth = self.time_half_bandwidth or (2.0 if slow > 1 else 4.0)
        seconds = self.window_length or (0.5 if method == "regression" else 2.0) * slow
        window = round(seconds * sampling_frequency)
        fewest = max(4, int(2 * half_bandwidth) + 1)
        if window < fewest:
            accepted = f"at least {fewest} samples at {sampling_frequency:g} Hz ({fewest / sampling_frequency:g} s)"
            raise ConfigurationError("window_length", seconds, accepted)
        lag_seconds = self.longest_lag or slow
        lags = round(lag_seconds * sampling_frequency)
        if lags < 2:
            raise ConfigurationError("longest_lag", lag_seconds, f"at least {2 / sampling_frequency:g} s (2 samples)")
        frequency_range = self._frequency_range(sampling_frequency, slow > 1)
        return Settled(
            sampling_frequency=sampling_frequency,
            window=window,
            time_half_bandwidth=half_bandwidth,
            lags=lags,
            frequency_range=frequency_range,
            bands=self._bands(frequency_range, slow > 1),
        )

    def _frequency_range(self, sampling_frequency: float, slow: bool) -> tuple[float, float]:
        half = sampling_frequency / 2
        if self.frequency_range is None:
            lowest, highest = (0.01, 0.5) if slow else (1.0, 45.0)
            return (min(lowest, half / 4), min(highest, REACH * half))
        if self.frequency_range[1] > half * (1 + 1e-9):
            accepted = f"at most half the sampling frequency ({half:g} Hz)"
            raise ConfigurationError("frequency_range", list(self.frequency_range), accepted)
        return self.frequency_range

    def _bands(self, frequency_range: tuple[float, float], slow: bool) -> tuple[Band, ...]:
        lowest, highest = frequency_range
        if self.bands is None:
            return _default_bands(lowest, highest, slow)
        for band in self.bands:
            if not (lowest * (1 - 1e-9) <= band.lowest and band.highest <= highest * (1 + 1e-9)):
                accepted = f"within the frequencies that are estimated ({lowest:g} to {highest:g} Hz)"
                raise ConfigurationError("bands", f"{band.name}={band.lowest:g}-{band.highest:g}", accepted)
        return self.bands


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Settings in samples and Hz."""

    sampling_frequency: float
    window: int
    """Samples."""
    time_half_bandwidth: float
    lags: int
    """Samples."""
    frequency_range: tuple[float, float]
    bands: tuple[Band, ...]


def smearing_limit(sampling_frequency: float) -> float:
    """One by the mean visit, in Hz, from which on the multitaper is not taken by itself."""
    return SMEARING / SLOWER if sampling_frequency < SLOW_RATE else SMEARING


def _default_bands(lowest: float, highest: float, slow: bool) -> tuple[Band, ...]:
    """Those of which at least half lies in the range, cut there; one of all where none does."""
    bands = [Band(name, float(low), float(high)) for name, low, high in (SLOW_BANDS if slow else FAST_BANDS)]
    cut = [replace(band, lowest=max(band.lowest, lowest), highest=min(band.highest, highest)) for band in bands]
    kept = [
        own for own, band in zip(cut, bands) if own.highest - own.lowest >= NARROWEST * (band.highest - band.lowest)
    ]
    return tuple(kept) or (Band("all", lowest, highest),)


def read_bands(texts: Sequence[str]) -> tuple[Band, ...]:
    """Read bands that are written as NAME=LOW-HIGH.

    Raises
    ------
    ConfigurationError
        Names the one that cannot be read, or a name that stands twice.
    """
    bands: list[Band] = []
    for text in texts:
        found = re.fullmatch(r"([^=\s/]+)=(\d+\.?\d*|\.\d+)-(\d+\.?\d*|\.\d+)", text.strip())
        if found is None or not float(found[2]) < float(found[3]):
            raise ConfigurationError("bands", text, "NAME=LOW-HIGH with frequencies in Hz, as alpha=8-13")
        if found[1] in [band.name for band in bands]:
            raise ConfigurationError("bands", text, f"one of each name; {found[1]} stands there twice")
        bands.append(Band(found[1], float(found[2]), float(found[3])))
    return tuple(bands)
