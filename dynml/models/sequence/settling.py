"""Settings that follow from the data: the precision and the reach of the embedding of time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.tokens import N_TOKENS_OF_PAIR
from dynml.models.sequence.channels import with_channels_of, with_pretrained_channels
from dynml.models.sequence.config import CsmConfig, SequenceConfig
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset


def settled_model(config: Any, dataset: MultiSubjectDataset) -> Any:
    """Fill in `time_precision`, `max_seconds`, the channels and those of a second group where they are open.

    Parameters
    ----------
    config : SequenceConfig
    dataset : MultiSubjectDataset
        Its highest sampling frequency gives the precision, its lowest one the reach.

    Returns
    -------
    SequenceConfig
        The same if nothing was open.

    Raises
    ------
    ConfigurationError
        When the embedding of time cannot tell two samples of the fastest recording apart, or ends before the windows.
    """
    assert isinstance(config, SequenceConfig)
    rates = [rate / config.patch_length for rate in sampling_frequencies(dataset)]
    config = with_channels_of(config, dataset)
    if isinstance(config, CsmConfig) and config.conditioning_channels is None and dataset.n_conditioning:
        config = dataclasses.replace(config, conditioning_channels=list(dataset.conditioning_names))
    montages = None if dataset.montages is None else dataset.montages.columns
    if montages is not None and getattr(config, "next_sequence", False):
        accepted = "false where recordings have different channels (dataset.further_groups)"
        raise ConfigurationError("model.next_sequence", True, accepted)
    if config.montages != montages:
        config = dataclasses.replace(config, montages=montages)
    precision = config.time_precision or 0.5 / max(rates)
    max_seconds = config.max_seconds or config.n_positions / min(rates)
    if precision > 1 / max(rates) * (1 + 1e-9):
        of_what = "the sampling interval" if config.patch_length == 1 else "a patch's length"
        accepted = f"at most {1 / max(rates):g} s, {of_what} at {max(sampling_frequencies(dataset)):g} Hz"
        raise ConfigurationError("model.time_precision", precision, accepted)
    return dataclasses.replace(config, time_precision=precision, max_seconds=max_seconds)


def sampling_frequencies(dataset: MultiSubjectDataset) -> list[float]:
    """Sampling frequencies that occur in a dataset, Hz."""
    subsets = (dataset.training_set, dataset.validation_set, dataset.testing_set)
    return sorted({float(rate) for subset in subsets for rate in subset.sampling_frequencies})


def check_windows(config: SequenceConfig, longest: int, lowest_rate: float) -> None:
    """Refuse windows that are longer than the embeddings of positions and of time reach.

    Parameters
    ----------
    config : SequenceConfig
        Settled.
    longest : int
        Samples of the longest window.
    lowest_rate : float
        Hz.

    Raises
    ------
    ConfigurationError
        With the largest admissible number of samples.
    """
    length = config.patch_length
    most = (config.n_positions - N_TOKENS_OF_PAIR) * length
    if longest > most:
        of_patches = f" patches of {length}," if length > 1 else ""
        accepted = (
            f"at most {most} samples,{of_patches} since model.n_positions is {config.n_positions} and tokens need 3"
        )
        raise ConfigurationError("sampler.window_length", longest, accepted)
    if longest < length:
        raise ConfigurationError("model.patch_length", length, f"at most {longest}, the samples of the longest window")
    assert config.time_precision is not None
    last_row = round((longest - 1) // length * length / lowest_rate / config.time_precision)
    if last_row >= config.n_time_rows:
        reach = (config.n_time_rows - 1) * config.time_precision
        samples = int(reach * lowest_rate) + 1
        accepted = f"at most {samples} samples at {lowest_rate:g} Hz, since model.max_seconds is {config.max_seconds:g}"
        raise ConfigurationError("sampler.window_length", longest, accepted)


def settle_with_data(configs: dict[str, Any], dataset: MultiSubjectDataset, pretrained: str | None) -> dict[str, Any]:
    """Settle the model's settings by the dataset, or as the model to start from has them; see `Family`."""
    model = configs["model"]
    if pretrained is not None:
        _, parameters = ExperimentFolder.at(pretrained).load_model()
        known = parameters.get("model") or {}
        taken = {name: known.get(name) for name in ("time_precision", "max_seconds") if getattr(model, name) is None}
        model = dataclasses.replace(with_pretrained_channels(model, pretrained), **taken)
    return configs | {"model": settled_model(model, dataset)}
