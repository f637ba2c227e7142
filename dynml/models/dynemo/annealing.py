"""How the prior comes in: the weight eta of the Kullback-Leibler term over the epochs.

Bowman et al. 2016, "Generating sentences from a continuous space" (annealing); Fu et al. 2019, "Cyclical annealing
schedule" (several rises). With e finished epochs out of n and sharpness s,

    tanh:    eta = 1/2 + 1/2 tanh(s (e - n/2) / n)        linear:    eta = e / n

0 in the first epoch, 1 from epoch n on. Cyclical: tanh in each of several equal parts of the n epochs.
"""

from __future__ import annotations

import math

from dynml.models.dynemo.config import DynemoConfig


def kl_weight(config: DynemoConfig, epoch: int) -> float:
    """Weight of the Kullback-Leibler term in an epoch, from 0."""
    n_epochs = config.annealing_epochs
    if epoch >= n_epochs:
        return 1.0
    if config.kl_annealing_curve == "linear":
        return epoch / n_epochs
    if config.kl_annealing_curve == "tanh":
        return _rise(epoch, n_epochs, config.kl_annealing_sharpness)
    period = math.ceil(n_epochs / config.n_kl_annealing_cycles)
    return _rise(epoch % period, period, config.kl_annealing_sharpness)


def _rise(epoch: int, n_epochs: int, sharpness: float) -> float:
    if epoch == 0:
        return 0.0
    return 0.5 + 0.5 * math.tanh(sharpness * (epoch - n_epochs / 2) / n_epochs)
