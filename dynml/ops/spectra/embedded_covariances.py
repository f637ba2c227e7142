"""Autocovariances and spectra from covariances of time-delay embedded channels.

Shapes: K states or modes, n embeddings, C channels, P components, F frequencies.
"""

from __future__ import annotations

import numpy as np

from dynml.ops.spectra.cross_spectra import CrossSpectra, Real, one_sided, positive_semidefinite
from dynml.ops.spectra.lagged_pairs import parzen_window, resolution_of_lags


def autocovariances(covariances_KNN: Real, n_embeddings: int) -> Real:
    """Mean of x_i(t) x_j(t + l) over the pairs of samples in an embedding that are l apart, (K, n, C, C).

    Parameters
    ----------
    covariances_KNN : array, (K, n C, n C)
        Row i C + c is channel c at sample i of a window, the earliest first.
    n_embeddings : int
    """
    n_channels = covariances_KNN.shape[-1] // n_embeddings
    blocks = covariances_KNN.reshape(-1, n_embeddings, n_channels, n_embeddings, n_channels).swapaxes(2, 3)
    lags = [
        np.mean([blocks[:, first, first + lag] for first in range(n_embeddings - lag)], axis=0)
        for lag in range(n_embeddings)
    ]
    return np.stack(lags, axis=1)


def spectra_of_autocovariances(
    autocovariances_KnCC: Real, sampling_frequency: float, frequencies: Real
) -> CrossSpectra:
    """Transform autocovariances under Parzen's window to spectra, made positive semi-definite.

    The number of independent estimates is infinite: the model says nothing of it.
    """
    n_states, n_lags = autocovariances_KnCC.shape[:2]
    phases = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(n_lags)) / sampling_frequency)
    phases = phases * parzen_window(n_lags)[:n_lags]
    phases[:, 0] /= 2
    half = np.einsum("fl,klij->kfij", phases, autocovariances_KnCC)
    scale = one_sided(frequencies, sampling_frequency) / sampling_frequency
    values = (half + np.conj(np.swapaxes(half, 2, 3))) * scale[:, None, None]
    values, negative_share, negative_share_KF = positive_semidefinite(values)
    return CrossSpectra(
        frequencies=frequencies,
        values=values,
        weight=np.full(n_states, np.nan),
        n_independent=np.full(n_states, np.nan),
        resolution=np.full(n_states, resolution_of_lags(n_lags, sampling_frequency)),
        negative_share=negative_share,
        negative_share_KF=negative_share_KF,
    )
