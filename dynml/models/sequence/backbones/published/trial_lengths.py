"""Whether trials are long enough for a published model, and what of them it reads."""

from __future__ import annotations

import warnings

from dynml.errors import ConfigurationError, DataWarning
from dynml.models.sequence.backbones.published.config import PublishedConfig
from dynml.models.sequence.backbones.published.resampling import n_resampled


def check_published_trials(config: PublishedConfig, longest: int) -> None:
    """Refuse trials that are shorter than a token, and tell what of longer ones is not read.

    Parameters
    ----------
    config : PublishedConfig
        Settled.
    longest : int
        Samples of the longest trial.

    Raises
    ------
    ConfigurationError
        With the least number of samples.

    Warns
    -----
    DataWarning
        With the samples behind the last whole patch or clip.
    """
    there = config.sampling_frequency
    n_samples = n_resampled(longest, config.input_rate, there, config.resampling)
    seconds = config.patch_length / there
    if n_samples < config.patch_length:
        rate = config.input_rate or there
        accepted = f"at least {round(seconds * rate)} samples, the {seconds:g} s of a patch of {config.title}"
        raise ConfigurationError("sampler.trial_length", longest, accepted)
    left = n_samples - config.samples_read(n_samples)
    if left:
        text = (
            f"{config.title} reads whole patches, so the last {left} of {n_samples} samples at {there:g} Hz of the "
            "longest trials are not seen by it."
        )
        warnings.warn(text, DataWarning, stacklevel=4)
