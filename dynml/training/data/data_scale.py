"""Whether data have the scale that networks take for granted."""

from __future__ import annotations

import warnings

from torch import Tensor

from dynml.errors import DataWarning

FAR_FROM_STANDARD = 3.0
"""Standard deviations beyond this factor from 1, or means beyond this many of them from 0, draw a warning."""


def warn_of_scale(mean_C: Tensor, scales_C: Tensor, whose: str) -> None:
    """Warn when the training data are far from standardized.

    Parameters
    ----------
    mean_C, scales_C : Tensor, (C,)
        Means and standard deviations of the channels.
    whose : str
        Who expects values near 1 ("DyNeMo's networks").
    """
    advice = f'{whose} expect values near 1: make the store with "standardization": "per_run".'
    lowest, highest = float(scales_C.min()), float(scales_C.max())
    farthest = float((mean_C / scales_C).abs().max())
    if highest > FAR_FROM_STANDARD or lowest < 1 / FAR_FROM_STANDARD:
        found = f"standard deviations of the channels go from {lowest:.3g} to {highest:.3g}"
    elif farthest > FAR_FROM_STANDARD:
        found = f"a channel's mean is {farthest:.3g} standard deviations from 0"
    else:
        return
    warnings.warn(f"The training data are not standardized: {found}. {advice}", DataWarning, stacklevel=4)


def warn_of_zero_means(mean_C: Tensor, scales_C: Tensor) -> None:
    """Warn when a model whose means stay zero is given data whose means are not."""
    farthest = float((mean_C / scales_C).abs().max())
    if farthest > 1:
        warnings.warn(
            f"model.learn_means is false, so that the states' means stay zero, but a channel's mean is {farthest:.3g} "
            'standard deviations from 0: covariances will hold it. Make the store with "standardization": "per_run", '
            "or learn the means.",
            DataWarning,
            stacklevel=3,
        )
