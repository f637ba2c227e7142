"""Sources of oscillations, found by what stands out of the frequencies beside a band, and how they go together.

With the mean covariances S of the signals in a band and N beside it, over all training trials, a source is a weighted
sum of channels with a large

    r(u) = u^T S u / u^T N u

(spatio-spectral decomposition, Nikulin, Nolte and Curio 2011). Noise has no peak in the band, whatever its spectrum, so
that few sources are left of many channels, and the way they go together in a trial needs few trials to be learnt.
Classes have no part in it.

Shapes: T samples, C channels, P networks, A bands, J sources at most, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dynml.models.sequence.decoding.answer.features import MOST_SOURCES, FeatureLayout, Waves, waves_of

FEWEST = 2
"""Sources that go together, or not."""

_BINS_OF_TAPER = 1.5
"""Equivalent noise bandwidth of a Hann window: so many neighbouring frequencies say as much as one."""

_DEPENDENT = 1e-9
"""Share of the largest variance: directions with less have no signal of their own (average reference)."""

Trial = tuple[Tensor, Tensor, float]


def source_axes(trials: Sequence[Trial], layout: FeatureLayout, axes_CP: Tensor) -> Tensor:
    """Weights of networks that make the sources of every band, (A, P, J); 0 for sources that are not there.

    Covariances of a trial count relative to its power in the band and beside it, so that no trial outweighs the others.
    All sources of a band have the same power over all trials.

    Parameters
    ----------
    trials : sequence of (signals (T, C), known samples (T,), sampling frequency)
    layout : FeatureLayout
    axes_CP : Tensor
        Of networks.
    """
    n_networks = axes_CP.shape[1]
    found = torch.zeros(len(layout.source_bands), n_networks, MOST_SOURCES, dtype=torch.float64)
    sums = torch.zeros(2, len(layout.source_bands), n_networks, n_networks, dtype=torch.float64)
    n_values = torch.zeros(2, len(layout.source_bands), dtype=torch.float64)
    for signals_TC, known_T, rate in trials:
        waves = waves_of(signals_TC[known_T], rate)
        if waves is None:
            continue
        waves_FP = waves.values_FC @ axes_CP.to(waves.values_FC.dtype)
        for number, band in enumerate(layout.source_bands):
            sides = [waves_FP[chosen] for chosen in _inside_and_beside(waves, band)]
            powers = [side.abs().square().sum(dim=1) for side in sides]
            if not all(bool(power_F.any()) for power_F in powers):
                continue
            for which, (side, power_F) in enumerate(zip(sides, powers)):
                sums[which, number] += (side.mH @ side).real / sum(power_F.sum() for power_F in powers)
                n_values[which, number] += 2 / _BINS_OF_TAPER * len(side)
    for number in torch.nonzero(n_values[0]).flatten().tolist():
        axes_PJ = _standing_out(*sums[:, number], *n_values[:, number].tolist())
        n_sources = min(axes_PJ.shape[1], MOST_SOURCES)
        found[number, :, :n_sources] = axes_PJ[:, :n_sources]
    return found


def oscillations(waves: Waves, bands: Sequence[tuple[float, float]], axes_CP: Tensor, sources_APJ: Tensor) -> Tensor:
    """Power of the sources in each band, then real and imaginary parts of their cross-spectra, (A J^2,).

    All are relative to the power of the sources together, in the band and beside it; 0 where there is none.
    """
    found = []
    size = sources_APJ.shape[2]
    rows, columns = torch.triu_indices(size, size, offset=1).unbind()
    for band, axes_PJ in zip(bands, sources_APJ):
        inside_F, beside_F = _inside_and_beside(waves, band)
        sources_FJ = waves.values_FC @ (axes_CP @ axes_PJ).to(waves.values_FC.dtype)
        together_JJ = sources_FJ[inside_F].mH @ sources_FJ[inside_F]
        pairs = together_JJ[rows, columns]
        total = sources_FJ[inside_F | beside_F].abs().square().sum()
        parts = [together_JJ.diagonal().real, pairs.real, pairs.imag]
        found.append(torch.cat(parts) / torch.where(total > 0, total, 1.0))
    return torch.cat(found)


def bands_with_sources(sources_APJ: Tensor) -> list[int]:
    """Numbers of the bands that have sources enough to go together."""
    n_sources_A = (sources_APJ != 0).any(dim=1).sum(dim=1)
    return torch.nonzero(n_sources_A >= FEWEST).flatten().tolist()


def _inside_and_beside(waves: Waves, band: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Which frequencies lie in a band, and within half its width on either side; the mean has no part in either."""
    (low, high), frequencies_F = band, waves.frequencies_F
    inside_F = (frequencies_F >= low) & (frequencies_F < high)
    near_F = (frequencies_F >= low - (high - low) / 2) & (frequencies_F < high + (high - low) / 2) & (frequencies_F > 0)
    return inside_F, near_F & ~inside_F


def _standing_out(inside_PP: Tensor, beside_PP: Tensor, n_inside: float, n_beside: float) -> Tensor:
    """Axes with a larger r than noise has by chance, the largest first, (P, sources); r of noise is the median one.

    Its largest value is that of a ratio of two covariances of unrelated series, from so many values (Wachter 1980). A
    steep spectrum holds fewer than it has frequencies, so that noise may pass: held-out trials tell it from sources,
    and a weak source that did not pass would be lost.
    """
    values, vectors = torch.linalg.eigh(beside_PP)
    vectors = vectors[:, values > _DEPENDENT * values[-1]] / values[values > _DEPENDENT * values[-1]].sqrt()
    size = vectors.shape[1]
    shares = [size / n_inside, size / n_beside]
    if size < FEWEST or shares[1] >= 1:
        return vectors[:, :0]
    ratios, turned = torch.linalg.eigh(vectors.T @ inside_PP @ vectors)
    edge = ((1 + (shares[0] + shares[1] - shares[0] * shares[1]) ** 0.5) / (1 - shares[1])) ** 2
    chosen = ratios > edge * ratios.median()
    return (vectors @ (turned[:, chosen] / ratios[chosen].sqrt())).flip(1)
