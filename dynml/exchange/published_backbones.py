"""CBraMod and CortexMAE as experiments that `dynml_train_model.py decoding --pretrained` adapts.

The file is read, renamed (`backbone_layouts`), checked against the model here, and saved with what its weights take for
granted about signals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dynml.configuration import check_at_least, check_choice, config_to_dictionary
from dynml.errors import CheckpointError, ConfigurationError
from dynml.exchange.backbone_layouts import (
    CBRAMOD_CHANNELS,
    cbramod_config,
    cbramod_weights,
    cortex_mae_config,
    cortex_mae_weights,
)
from dynml.exchange.published_weights import (
    ConvertedWeights,
    as_float32,
    check_new_experiment,
    checked_tensors,
    dataset_unknown,
    read_published_file,
    save_as_experiment,
)
from dynml.models.sequence.backbones.published.config import CONFIGS_OF_PUBLISHED, CBraModConfig, PublishedConfig
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

WEIGHTS_IN_CHECKPOINT, SETTINGS_IN_CHECKPOINT = "model", "args"


def import_published_backbone(
    path: Path,
    folder: ExperimentFolder,
    family: str,
    *,
    channel_names: Sequence[str] | None = None,
    seen: Sequence[str] = (),
    n_heads: int | None = None,
) -> tuple[ConvertedWeights, PublishedConfig]:
    """Make an experiment of a published backbone, for `--pretrained` of a decoder.

    Parameters
    ----------
    path : Path
        `pretrained_weights.pth` of CBraMod, or `checkpoint-last.pth` of a CortexMAE of parcels.
    folder : ExperimentFolder
        Must not hold an experiment yet.
    family : {"cbramod", "cortex_mae"}
    channel_names : sequence of str, optional
        Names of the channels that the weights were trained on, in their order; of CBraMod by default those of its
        pre-training, of CortexMAE unknown.
    seen : sequence of str
        Participants that the weights were trained on, which no testing subset may hold.
    n_heads : int, optional
        Attention heads, which shapes do not tell; default: as published, 8 of CBraMod, and one for each 64 numbers of a
        token of CortexMAE.

    Returns
    -------
    converted : ConvertedWeights
    config : PublishedConfig

    Raises
    ------
    CheckpointError
        For a fault of the file, or an experiment that exists; nothing is written then.
    ConfigurationError
        For names or heads that do not fit.
    """
    check_choice("family", family, tuple(CONFIGS_OF_PUBLISHED))
    check_at_least("n_heads", n_heads, 1, optional=True)
    check_new_experiment(folder)
    content, where = read_published_file(path), str(path)
    converted, config = convert_published_backbone(content, family, n_heads=n_heads, names=channel_names, where=where)
    names = config.channel_names or [f"parcel_{number}" for number in range(converted.n_channels)]
    save_as_experiment(
        converted, path, folder, dataset_unknown(names, seen, None), licence=f"{config.title}: {config.licence}."
    )
    return converted, config


def convert_published_backbone(
    content: object, family: str, *, n_heads: int | None = None, names: Sequence[str] | None = None, where: str
) -> tuple[ConvertedWeights, PublishedConfig]:
    """Give published weights the names and shapes that the backbone here has.

    Parameters
    ----------
    content : object
        Of the file, as it was read.
    family, n_heads, names
        See `import_published_backbone`.
    where : str
        The file, for messages.

    Raises
    ------
    CheckpointError
        Names what is missing, not known, or of another shape.
    """
    config: PublishedConfig
    if family == "cbramod":
        published = checked_tensors(content, where)
        config = cbramod_config(published, n_heads, where)
        weights, left_out = cbramod_weights(published, config, where)
        n_channels = len(CBRAMOD_CHANNELS if names is None else names)
    else:
        published, settings = _of_checkpoint(content, where)
        config = cortex_mae_config(published, settings, n_heads, where)
        weights, left_out = cortex_mae_weights(published, config, where)
        n_channels = config.n_parcels
    config = _with_names(config, names, n_channels)
    plain = as_float32(weights, where)
    settings_here = config_to_dictionary(config)
    return ConvertedWeights(family, settings_here, n_channels, plain, tuple(left_out), None), config


def _of_checkpoint(content: object, where: str) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Weights and settings of a checkpoint of CortexMAE."""
    if not isinstance(content, Mapping) or WEIGHTS_IN_CHECKPOINT not in content:
        found = ", ".join(map(str, list(content)[:4])) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(
            f"{where} must be a checkpoint of CortexMAE, with the entries {SETTINGS_IN_CHECKPOINT} and "
            f"{WEIGHTS_IN_CHECKPOINT}, but holds {found or 'nothing'}."
        )
    settings = content.get(SETTINGS_IN_CHECKPOINT) or {}
    if not isinstance(settings, Mapping):
        raise CheckpointError(
            f"{where}: {SETTINGS_IN_CHECKPOINT} must hold settings by name, but is {type(settings).__name__}."
        )
    return checked_tensors(content[WEIGHTS_IN_CHECKPOINT], f"{where}, {WEIGHTS_IN_CHECKPOINT}"), settings


def _with_names(config: PublishedConfig, names: Sequence[str] | None, n_channels: int) -> PublishedConfig:
    if names is None:
        return config
    if len(names) != n_channels and not isinstance(config, CBraModConfig):
        raise ConfigurationError("channel_names", f"{len(names)} names", f"{n_channels} names, one for each parcel")
    if len(set(names)) < len(names):
        raise ConfigurationError("channel_names", f"{len(names)} names, some of them twice", "different names")
    return dataclasses.replace(config, channel_names=list(names))
