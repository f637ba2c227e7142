"""What the linear answer reads of a trial: its course, power in bands, covariances in the tangent space, connectivity.

Beside these, where a pre-trained model tells states: the course of their probabilities, and which one follows which.

Shapes: T samples, C channels, P networks (channels, or their principal components), S spectra (all frequencies, then
each band), K states, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

COURSE, POWER, TANGENT, CONNECTIVITY = "course", "power", "tangent_space", "connectivity"
OSCILLATIONS = "oscillations"
STATES, TRANSITIONS = STATE_KINDS = ("states", "state_transitions")
KINDS = (COURSE, POWER, TANGENT, CONNECTIVITY, OSCILLATIONS, *STATE_KINDS)

BINS = (1, 2, 4, 8, 16, 32, 64)
BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0), (55.0, 90.0))
"""Hz; mains frequencies are left out."""

BANDS_OF_SOURCES = (*BANDS, (4.0, 6.0), (6.0, 8.0), (8.0, 10.0), (10.0, 13.0), (13.0, 20.0), (20.0, 30.0))
"""Hz; of oscillations, of which each has a frequency that a wide band holds little else of."""

HIGHEST_SHARE = 0.45
"""Bands end below this share of the sampling frequency."""

MOST_NETWORKS = 64
MOST_NETWORKS_BY_BAND = 32
"""Covariances and connectivity of more channels are those of all frequencies together."""

MOST_SOURCES = 8
"""Of oscillations in a band."""

MOST_WHITENED = 1_000
"""The course of more channels is not whitened."""

MOST_FEATURES = 20_000
SHORTEST = 3
"""Samples that a covariance takes."""

LEAST_SHRINKAGE = 0.05
"""Neighbouring samples are alike, so that formulas for independent ones shrink too little."""

LEAST_NOISE = 0.1
"""Within trials, as a share of a channel's standard deviation over all samples."""

_TINY = 1e-12
"""Share of a power that is as good as none; shares alone, so that answers do not depend on units."""

_CONSTANT = 1e-9
"""Of a channel's largest value: what varies less is rounding."""


def bands_within(
    sampling_frequencies: Sequence[float], trial_length: int, bands: Sequence[tuple[float, float]] = BANDS
) -> list[list[float]]:
    """Bands that all recordings have, and that a trial of so many samples resolves, in Hz."""
    lowest, highest = min(sampling_frequencies), max(sampling_frequencies)
    return [
        [low, high]
        for low, high in bands
        if high <= HIGHEST_SHARE * lowest and (high - low) * trial_length / highest >= 2
    ]


@dataclass(frozen=True)
class FeatureLayout:
    """How many features there are of each kind.

    Parameters
    ----------
    n_channels : int
    trial_length : int
        Samples of the longest trial.
    bands : sequence of (low, high), Hz
    n_states : int
        K; 0 without a model that tells states.
    source_bands : sequence of (low, high), Hz
        Of oscillations; none in decoders of before, which do not read them.
    """

    n_channels: int
    trial_length: int
    bands: tuple[tuple[float, float], ...]
    n_states: int = 0
    source_bands: tuple[tuple[float, float], ...] = ()

    @property
    def n_networks(self) -> int:
        """P."""
        return min(self.n_channels, MOST_NETWORKS)

    @property
    def n_spectra(self) -> int:
        """S, of covariances."""
        return 1 + (len(self.bands) if self.n_channels <= MOST_NETWORKS_BY_BAND else 0)

    def variants(self, kind: str) -> list[int]:
        """Numbers of features among which one is chosen: the first of their kind, or those of a band."""
        pairs = self.n_networks * (self.n_networks - 1) // 2
        if kind in (COURSE, STATES):
            bins = sorted({1, *(n for n in (*BINS, self.trial_length) if n <= min(self.trial_length, BINS[-1]))})
            width = self.n_channels if kind == COURSE else self.n_states
            return [n * width for n in bins if width and (n == 1 or n * width <= MOST_FEATURES)]
        if kind == TRANSITIONS:
            return [self.n_states**2] if self.n_states else []
        if kind == POWER:
            return [(1 + len(self.bands)) * self.n_channels]
        if kind == TANGENT:
            size = pairs + self.n_networks
            return sorted({size, self.n_spectra * size})
        if kind == OSCILLATIONS:
            return [MOST_SOURCES**2] * len(self.source_bands)
        return sorted({pairs, (2 * self.n_spectra - 1) * pairs} - {0})

    @property
    def n_resolutions(self) -> int:
        """Numbers of parts that the course is divided into."""
        return len(self.variants(COURSE))

    def size(self, kind: str) -> int:
        """Features of a kind at most."""
        sizes = self.variants(kind)
        return sum(sizes) if kind == OSCILLATIONS else max(sizes, default=0)

    @property
    def n_features(self) -> int:
        """F, of all kinds."""
        return sum(self.size(kind) for kind in KINDS)

    def slice_of(self, kind: str) -> slice:
        """Where a kind lies among all features."""
        first = sum(self.size(other) for other in KINDS[: KINDS.index(kind)])
        return slice(first, first + self.size(kind))


@dataclass(frozen=True)
class Waves:
    """Fourier coefficients of a trial without its mean, under a Hann window of norm 1."""

    centred_TC: Tensor
    values_FC: Tensor
    frequencies_F: Tensor
    """Hz."""


@dataclass(frozen=True)
class Spectra:
    """Second moments of a trial."""

    power_SC: Tensor
    covariances_SPP: Tensor
    """Complex."""

    n_values_S: Tensor
    """Real numbers that each is a mean of."""


def course(signals_TC: Tensor, known_T: Tensor, n_bins: int) -> Tensor:
    """Means over equal parts of a trial, (n_bins C,); a part has one sample at least.

    One without a known sample has the mean over all known ones of the trial; 0 where there is none.
    """
    n_times = len(signals_TC)
    starts = torch.arange(n_bins) * n_times // n_bins
    stops = torch.maximum(torch.arange(1, n_bins + 1) * n_times // n_bins, starts + 1)
    known_TC = torch.where(known_T[:, None], signals_TC, 0.0)
    running = torch.cat([torch.zeros_like(known_TC[:1]), known_TC.cumsum(dim=0)])
    counts = torch.cat([torch.zeros(1, dtype=torch.int64), known_T.long().cumsum(dim=0)])
    n_known = counts[stops] - counts[starts]
    means = (running[stops] - running[starts]) / n_known.clamp(min=1)[:, None]
    return torch.where(n_known[:, None] > 0, means, running[-1] / counts[-1].clamp(min=1)).flatten()


def shares_of_parts(n_parts: int, n_finest: int) -> Tensor:
    """Shares of the finest parts of a trial in its equal parts, (n_parts, n_finest); each row adds up to 1."""
    ends = torch.arange(n_finest + 1, dtype=torch.float64) / n_finest
    borders = torch.arange(n_parts + 1, dtype=torch.float64)[:, None] / n_parts
    first, last = torch.maximum(ends[:-1], borders[:-1]), torch.minimum(ends[1:], borders[1:])
    return (last - first).clamp(min=0) * n_parts


def course_of_states(states_TK: Tensor, n_bins: int) -> Tensor:
    """Means of state probabilities over equal parts of a trial, (n_bins K,); NaN rows do not count."""
    return course(states_TK, states_TK.isfinite().all(dim=1), n_bins)


def state_transitions(states_TK: Tensor) -> Tensor:
    """Share of neighbouring samples in each pair of states, the earlier one first, (K K,)."""
    known_T = states_TK.isfinite().all(dim=1)
    states_TK = torch.where(known_T[:, None], states_TK, 0.0)
    n_pairs = (known_T[:-1] & known_T[1:]).sum().clamp(min=1)
    return (states_TK[:-1].T @ states_TK[1:] / n_pairs).flatten()


def waves_of(series_TC: Tensor, sampling_frequency: float) -> Waves | None:
    """Fourier coefficients of the known samples of a trial; None where these are too few, or all constant."""
    n_times = len(series_TC)
    if n_times < SHORTEST:
        return None
    centred_TC = series_TC - series_TC.mean(dim=0)
    varies_C = centred_TC.abs().amax(dim=0) > _CONSTANT * series_TC.abs().amax(dim=0)
    if not bool(varies_C.any()):
        return None
    centred_TC = torch.where(varies_C, centred_TC, 0.0)
    taper_T = torch.hann_window(n_times + 2, periodic=False, dtype=centred_TC.dtype)[1:-1]
    values_FC = torch.fft.rfft(centred_TC * taper_T[:, None], dim=0) / taper_T.norm()
    return Waves(centred_TC, values_FC, torch.fft.rfftfreq(n_times, 1 / sampling_frequency))


def spectra(waves: Waves, layout: FeatureLayout, axes_CP: Tensor) -> Spectra | None:
    """Second moments of a trial; None where it is too short for a band."""
    n_times, frequencies_F = len(waves.centred_TC), waves.frequencies_F
    parts = [waves.centred_TC / n_times**0.5]
    n_values = [n_times]
    for low, high in layout.bands:
        inside_F = (frequencies_F >= low) & (frequencies_F < high)
        n_values.append(2 * int(inside_F.sum()))
        if not n_values[-1]:
            return None
        parts.append(waves.values_FC[inside_F] / inside_F.sum().sqrt())
    power_SC = torch.stack([part.abs().square().sum(dim=0) for part in parts])
    networks = [part @ axes_CP.to(part.dtype) for part in parts[: layout.n_spectra]]
    covariances_SPP = torch.stack([(part.mH @ part).to(torch.complex128) for part in networks])
    return Spectra(power_SC, covariances_SPP, torch.tensor(n_values[: layout.n_spectra], dtype=torch.float64))


def log_power(found: Spectra) -> Tensor:
    """Logarithms of power, (S C,); a band without any has a very small share, a channel the least of the others."""
    whole_C = found.power_SC[0]
    whole_C = torch.where(whole_C > 0, whole_C, whole_C[whole_C > 0].min())
    return torch.maximum(found.power_SC, _TINY * whole_C).log().flatten()


def shrunk(found: Spectra) -> Tensor:
    """Covariances shrunk towards a multiple of the identity (oracle approximating shrinkage), (S, P, P)."""
    real_SPP = found.covariances_SPP.real
    n_networks = real_SPP.shape[-1]
    scale_S = real_SPP.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    scale_S = torch.maximum(scale_S, _TINY * scale_S[0])
    square_S = real_SPP.square().mean(dim=(-2, -1))
    excess_S = torch.maximum(square_S - scale_S.square() / n_networks, _TINY * scale_S.square())
    share_S = (square_S + scale_S.square()) / ((found.n_values_S + 1) * excess_S)
    share_S = share_S.clamp(min=LEAST_SHRINKAGE, max=1.0)[:, None, None]
    identity = torch.eye(n_networks, dtype=real_SPP.dtype) * scale_S[:, None, None]
    return (1 - share_S) * real_SPP + share_S * identity


def logarithm(matrices: Tensor) -> Tensor:
    """Logarithms of positive definite matrices (.., P, P)."""
    return _of_eigenvalues(matrices, torch.log)


def whitening(covariances_NSPP: Tensor) -> Tensor:
    """Inverse square roots of the log-Euclidean means of covariances, (S, P, P)."""
    return _of_eigenvalues(logarithm(covariances_NSPP).mean(dim=0), lambda values: torch.exp(-values / 2), least=None)


def tangent(covariances_SPP: Tensor, whitening_SPP: Tensor) -> Tensor:
    """Coordinates of covariances in the tangent space at their mean, (S P (P + 1) / 2,)."""
    logs_SPP = logarithm(whitening_SPP @ covariances_SPP @ whitening_SPP)
    rows, columns = torch.triu_indices(*logs_SPP.shape[-2:]).unbind()
    factors = torch.where(rows == columns, 1.0, 2.0**0.5).double()
    return (logs_SPP[:, rows, columns] * factors).flatten()


def network_axes(trials: Sequence[tuple[Tensor, Tensor, float]], n_networks: int) -> Tensor:
    """What channels are projected onto for covariances, (C, P): each in its own standard deviations, whatever the unit.

    Parameters
    ----------
    trials : sequence of (signals (T, C), known samples (T,), sampling frequency)
    n_networks : int
        P; if fewer than channels, these are the leading principal axes of the mean covariance within trials.
    """
    known = [signals_TC[known_T] for signals_TC, known_T, _ in trials if bool(known_T.any())]
    n_channels = trials[0][0].shape[1]
    if not known:
        return torch.eye(n_channels, n_networks, dtype=torch.float64)
    samples_TC = torch.cat(known)
    inverse_C = _where_it_varies(samples_TC, samples_TC.std(dim=0, correction=0))
    if n_networks == n_channels:
        return inverse_C.diag()
    total_CC = torch.zeros(n_channels, n_channels, dtype=torch.float64)
    for signals_TC in known:
        centred_TC = (signals_TC - signals_TC.mean(dim=0)) * inverse_C
        total_CC += centred_TC.T @ centred_TC / len(centred_TC)
    return inverse_C[:, None] * torch.linalg.eigh(total_CC)[1].flip(1)[:, :n_networks]


def noise_normalizations(trials: Sequence[tuple[Tensor, Tensor, float]]) -> list[Tensor]:
    """What channels are multiplied by, so that samples vary alike about the mean of their trial, (C, C).

    Parameters
    ----------
    trials : sequence of (signals (T, C), known samples (T,), sampling frequency)

    Returns
    -------
    list of Tensor
        Of one channel after the other; then of their covariance, shrunk, unless there are very many channels, or they
        do not vary within trials.
    """
    known = [signals_TC[known_T] for signals_TC, known_T, _ in trials if bool(known_T.any())]
    if not known:
        return [torch.eye(trials[0][0].shape[1], dtype=torch.float64)]
    samples_TC = torch.cat(known)
    residuals_TC = torch.cat([signals_TC - signals_TC.mean(dim=0) for signals_TC in known])
    spread_C = samples_TC.std(dim=0, correction=0)
    # What is given, and no noise, may stay the same for a trial: then the noise is not what it is measured by.
    scale_C = torch.maximum(residuals_TC.square().mean(dim=0).sqrt(), LEAST_NOISE * spread_C)
    inverse_C = _where_it_varies(samples_TC, scale_C)
    scaled_TC = residuals_TC * inverse_C
    n_channels = len(inverse_C)
    if not 1 < n_channels <= MOST_WHITENED or float(scaled_TC.abs().max()) < _CONSTANT:
        return [inverse_C.diag()]
    covariance_CC = scaled_TC.T @ scaled_TC / len(scaled_TC)
    covariance_CC.diagonal().fill_(1.0)
    n_values_S = torch.tensor([len(scaled_TC)], dtype=torch.float64)
    found = Spectra(torch.ones(1, n_channels), covariance_CC[None].to(torch.complex128), n_values_S)
    return [inverse_C.diag(), inverse_C[:, None] * whitening(shrunk(found)[None])[0]]


def connectivity(found: Spectra) -> Tensor:
    """Fisher's z of correlations, then of coherency in each band, real and imaginary parts: ((2 S - 1) pairs,)."""
    covariances_SPP = found.covariances_SPP
    powers_SP = covariances_SPP.diagonal(dim1=-2, dim2=-1).real
    norms_SP = torch.maximum(powers_SP, _TINY * powers_SP[0]).sqrt()
    norms_SP = torch.where(norms_SP > 0, norms_SP, torch.inf)
    size = covariances_SPP.shape[-1]
    rows, columns = torch.triu_indices(size, size, offset=1).unbind()
    pairs = covariances_SPP[:, rows, columns] / (norms_SP[:, rows] * norms_SP[:, columns])
    values = torch.cat([pairs.real[:1], pairs.real[1:], pairs.imag[1:]])
    return values.clamp(-0.999, 0.999).arctanh().flatten()


def _where_it_varies(samples_TC: Tensor, scale_C: Tensor) -> Tensor:
    """1 / scale of channels, (C,); 0 of those that do not vary over all samples."""
    spread_C = samples_TC.std(dim=0, correction=0)
    return torch.where(spread_C > _CONSTANT * samples_TC.abs().amax(dim=0), 1 / scale_C, 0.0)


def _of_eigenvalues(matrices: Tensor, function: Callable[[Tensor], Tensor], least: float | None = _TINY) -> Tensor:
    values, vectors = torch.linalg.eigh(matrices)
    if least is not None:
        values = torch.maximum(values, least * values[..., -1:])
    return (vectors * function(values)[..., None, :]) @ vectors.mH
