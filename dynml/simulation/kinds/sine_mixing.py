"""Mixing coefficients that are the softmax of sinusoids.

Shapes: T samples, J modes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.config import MixedSineSimulationConfig


def sinusoidal_logits(
    config: MixedSineSimulationConfig, times: NDArray[np.float64], phases: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Sinusoid (T, J) of each mode at times (T,) in seconds, around the mode's relative activation."""
    activation, amplitudes, frequencies = map(
        np.asarray, (config.relative_activation, config.amplitudes, config.frequencies)
    )
    logits = activation + amplitudes * np.sin(2 * np.pi * frequencies * times[:, None] + phases)
    return np.asarray(logits, dtype=np.float32)


def softmax_of(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
