"""Trials at the rate that the weights of a published model were trained at, each resampled by itself."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor

LARGEST_FACTOR = 1000
Method = Literal["polyphase", "linear"]


@functools.lru_cache(maxsize=64)
def resampling_matrix(n_samples: int, rate: float, new_rate: float, method: Method) -> Tensor:
    """Weights of the old samples in the new ones.

    Parameters
    ----------
    n_samples : int
        T.
    rate, new_rate : float
        Hz.
    method : {"polyphase", "linear"}
        polyphase: with a low-pass filter, a line through the trial's first and last sample going on beyond its ends.
        linear: values between two samples on the line between them.

    Returns
    -------
    Tensor, (T', T), float32
    """
    if n_samples == 1:  # a trial of masked samples alone; no line goes through one sample
        return torch.ones(1, 1)
    if method == "polyphase":
        from scipy.signal import resample_poly

        factor = Fraction(new_rate / rate).limit_denominator(LARGEST_FACTOR)
        resampled = resample_poly(np.eye(n_samples), factor.numerator, factor.denominator, axis=0, padtype="line")
        return torch.from_numpy(resampled).float()
    n_new = max(1, round(n_samples * new_rate / rate))
    identity = torch.eye(n_samples, dtype=torch.float64)[None]
    return torch.nn.functional.interpolate(identity, size=n_new, mode="linear")[0].T.float()


def n_resampled(n_samples: int, rate: float | None, new_rate: float, method: Method) -> int:
    """Samples T' of a trial of T samples; the same where nothing is resampled."""
    return n_samples if rate is None else len(resampling_matrix(n_samples, rate, new_rate, method))


def nearest_old_sample(n_samples: int, n_new: int) -> Tensor:
    """Old sample that each new one lies in, (T',), int64."""
    return (torch.arange(n_new) * n_samples // n_new).clamp(max=n_samples - 1)
