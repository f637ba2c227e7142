"""Weights that learning-from-brains published (`pytorch_model.bin`), as models of the sequence families.

They are read, renamed (`published_names`), checked against the model of that family, and saved as an experiment.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dynml.configuration import check_at_least, check_choice, check_positive, config_from, config_to_dictionary
from dynml.errors import CheckpointError, ConfigurationError, in_one_line, shortened
from dynml.exchange.published_names import Weights, renamed_weights
from dynml.files import sha256_of_file
from dynml.host_memory import check_claimed_size
from dynml.models.registry import get_family, load
from dynml.reading_files import check_plain_file, is_there, readable
from dynml.store.layout import SUBSET_NAMES
from dynml.training.checkpoints.experiment_folder import ExperimentFolder
from dynml.training.environment import describe_environment

TRANSFORMERS = ("csm", "sequence_bert", "network_bert")
PUBLISHED_FAMILIES = (*TRANSFORMERS, "autoencoder")
CAUTIONS = {
    "autoencoder": (
        "The autoencoder of learning-from-brains computes otherwise than the one here (it starts each layer from the "
        "state of the one before, and its decoder from a pooled code): its weights are a start for training, not a "
        "trained model"
    ),
}
PUBLISHED_TIME_PRECISION = 0.2
"""Seconds of one row of the embedding of time; the file does not say it."""

_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class ConvertedWeights:
    """Published weights under the names of a model here, and the settings that they fit."""

    family: str
    settings: dict[str, Any]
    """Of the model, as in parameters.json."""
    n_channels: int
    weights: Weights
    """Complete, float32."""
    left_out: tuple[str, ...]
    """Names of published weights that the model here has no place for."""

    caution: str | None
    """In what the model that they are of computes otherwise than the one here; None: in nothing."""


def read_published_weights(path: Path) -> Weights:
    """Read a file of tensors by name; nothing in it is executed.

    Raises
    ------
    CheckpointError
        When it is missing, damaged, or holds anything but tensors.
    """
    return checked_tensors(read_published_file(path), str(path))


def read_published_file(path: Path) -> Any:
    """Read a file of tensors and plain values; nothing in it is executed.

    Raises
    ------
    CheckpointError
        When it is missing, damaged, or holds anything else.
    """
    if is_there(path):
        check_plain_file(path)
    with readable(path, CheckpointError), path.open("rb") as stream:
        is_pointer = stream.read(len(_LFS_POINTER)) == _LFS_POINTER
    if is_pointer:
        raise CheckpointError(f"{path} is a pointer of Git LFS, not the file itself: fetch that by git lfs pull.")
    check_claimed_size(path, _unfolded_bytes(path), "tensors")
    _check_members(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is damaged or holds more than tensors, and was not loaded.") from error


def checked_tensors(content: object, where: str) -> Weights:
    """Refuse what is no mapping of names to finite tensors."""
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{where} holds no tensors by name, but {type(content).__name__}.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{where} must hold tensors by name, but {name!r} is of {type(tensor).__name__}.")
        if tensor.is_complex():
            raise CheckpointError(f"{where}: {name} holds complex numbers, but weights are real.")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.to(torch.float32)).all()):
            raise CheckpointError(f"{where}: {name} holds values that are NaN, infinite or too large for float32.")
    return dict(content)


def as_float32(weights: Weights, where: str) -> Weights:
    """Weights as a model here keeps them.

    Raises
    ------
    CheckpointError
        Names one that is of whole numbers or truth values, as files of quantized models have them.
    """
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{where}: what becomes {name} is of the type {tensor.dtype}, but must be of float.")
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in weights.items()}


def _check_members(path: Path) -> None:
    """Compare the checksums of an archive, which torch does not."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        raise CheckpointError(f"{path} is damaged, and was not loaded: {in_one_line(error)}.") from error
    if damaged is not None:
        raise CheckpointError(
            f"{path} is damaged, and was not loaded: the checksum of its member {damaged} differs; fetch it again."
        )


def _unfolded_bytes(path: Path) -> int:
    """Bytes of all members of an archive; 0 where its list of members cannot be read, as the next to read it tells."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except Exception:
        return 0


def convert_published_weights(
    published: Mapping[str, Tensor],
    family: str,
    *,
    n_heads: int | None = None,
    time_precision: float = PUBLISHED_TIME_PRECISION,
    activation: str = "gelu_tanh",
    where: str = "The file",
) -> ConvertedWeights:
    """Give published weights the names, shapes and order that a model here has.

    Parameters
    ----------
    published : mapping
        Name to tensor.
    family : {"csm", "sequence_bert", "network_bert", "autoencoder"}
        What the weights are of.
    n_heads : int, optional
        Attention heads, which shapes do not tell; default: one for each 64 numbers of the embedding, as published.
    time_precision : float
        Seconds of one row of the embedding of time.
    activation : str
        Of feed-forward layers.
    where : str
        The file, for messages.

    Raises
    ------
    CheckpointError
        Names what is missing, not known, or of another shape than the rest asks for.
    ConfigurationError
        For an unknown family, or heads that do not divide the embedding.
    """
    check_choice("family", family, PUBLISHED_FAMILIES)
    check_at_least("n_heads", n_heads, 1, optional=True)
    check_positive("time_precision", time_precision)
    weights, settings, n_channels, left_out = renamed_weights(
        published, family, n_heads=n_heads, time_precision=time_precision, activation=activation, where=where
    )
    family_parts = get_family(family)
    config = config_from(family_parts.config_classes()["model"], settings, "model")
    with torch.device("meta"):
        expected = load(family_parts.model)(config, n_channels).state_dict()
    _check_shapes(weights, expected, where)
    plain = as_float32(weights, where)
    return ConvertedWeights(family, config_to_dictionary(config), n_channels, plain, left_out, CAUTIONS.get(family))


def import_published_weights(
    path: Path,
    folder: ExperimentFolder,
    family: str,
    *,
    channel_names: Sequence[str] | None = None,
    seen: Sequence[str] = (),
    **conversion: Any,
) -> ConvertedWeights:
    """Make an experiment of published weights, to load, infer from, or start from by `--pretrained`.

    Parameters
    ----------
    path : Path
        `pytorch_model.bin`.
    folder : ExperimentFolder
        Must not hold an experiment yet.
    family : str
        See `convert_published_weights`, also for `conversion`.
    channel_names : sequence of str, optional
        Names of the networks, in their order; default: `network_0` and so on, as in imported tar files.
    seen : sequence of str
        Participants that the weights were trained on, which no testing subset may hold.

    Raises
    ------
    CheckpointError
        For a fault of the file, or an experiment that exists; nothing is written then.
    ConfigurationError
        When the number of names is not that of the networks.
    """
    check_new_experiment(folder)
    converted = convert_published_weights(read_published_weights(path), family, where=str(path), **conversion)
    names = [f"network_{number}" for number in range(converted.n_channels)]
    if channel_names is not None and len(channel_names) != converted.n_channels:
        raise ConfigurationError("channel_names", f"{len(channel_names)} names", f"{converted.n_channels} names")
    if channel_names is not None and len(set(channel_names)) < len(channel_names):
        raise ConfigurationError("channel_names", f"{len(channel_names)} names, some of them twice", "different names")
    save_as_experiment(converted, path, folder, dataset_unknown(list(channel_names or names), seen))
    return converted


def save_as_experiment(
    converted: ConvertedWeights, path: Path, folder: ExperimentFolder, dataset: dict[str, Any], **about: Any
) -> None:
    """Write an experiment of converted weights.

    Parameters
    ----------
    converted : ConvertedWeights
    path : Path
        The published file.
    folder : ExperimentFolder
    dataset : dict
        What is known of the data of the training.
    **about
        Further entries of `imported` in parameters.json.
    """
    seen = dataset["subsets"]["training"]["subjects"]
    parameters = {
        "family": converted.family,
        "model": converted.settings,
        "environment": describe_environment(),
        "dataset": dataset,
        "imported": {
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": sha256_of_file(path),
            "without_place": list(converted.left_out),
            "says_who_it_saw": bool(seen),
            **about,
        },
    }
    with folder.locked():
        check_new_experiment(folder)  # again: another process may have made it while the file was read
        folder.save_best_model(converted.weights, parameters, {"best_epoch": None, "best_value": None})
        folder.save_parameters(parameters)


def check_new_experiment(folder: ExperimentFolder) -> None:
    """Refuse a folder that holds an experiment."""
    if any(is_there(folder.path / name) for name in ("parameters_latest.json", "best_model", "checkpoint")):
        raise CheckpointError(f"The experiment {folder.path} exists already: choose another name.")


def _check_shapes(weights: Weights, expected: Mapping[str, Tensor], where: str) -> None:
    missing = [name for name in expected if name not in weights]
    if missing:
        raise CheckpointError(f"{where} has nothing for {shortened(missing, 4)} of the model here.")
    for name, tensor in weights.items():
        found, needed = tuple(tensor.shape), tuple(expected[name].shape) if name in expected else None
        if found != needed:
            raise CheckpointError(f"{where}: what becomes {name} has the shape {found}, but must have {needed}.")


def dataset_unknown(channel_names: list[str], seen: Sequence[str], group: str | None = "bold") -> dict[str, Any]:
    """Describe the data of a training elsewhere, as far as they are known."""
    subjects = {name: list(seen) if name == "training" else [] for name in SUBSET_NAMES}
    return {
        "hdf5_file": None,
        "group": group,
        "n_channels": len(channel_names),
        "channel_names": channel_names,
        "subsets": {name: {"subjects": listed, "n_subjects": len(listed)} for name, listed in subjects.items()},
    }
