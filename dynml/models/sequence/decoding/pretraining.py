"""What a decoder takes over from a pre-trained model, and whether that model has seen what it is to be tested on."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from dynml.configuration import config_from, config_to_dictionary
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import CheckpointError, ConfigurationError, DataWarning, first_of
from dynml.models.seen_subjects import USED_BEFORE, overlap_with
from dynml.models.sequence.backbones.published.config import CONFIGS_OF_PUBLISHED
from dynml.models.sequence.backbones.published.input_checks import config_for_input
from dynml.models.sequence.channels import NONE, columns_taken, with_names_and_positions, without_channels
from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.decoding.answer.pretrained_states import (
    embedding_of_trials,
    families_with_states,
    load_state_model,
    tells_states,
)
from dynml.models.sequence.decoding.backbones import CLASS_TOKEN, PARTS_WITHOUT_USE
from dynml.models.sequence.decoding.config import CONFIGS_OF_BACKBONES, LINEAR, SIZES, DecodingConfig
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.settling import sampling_frequencies
from dynml.store.layout import SUBSET_NAMES
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

N_NAMED = 3
SEEN = ("training", "validation")
"""Subsets of the pre-training whose subjects must not be tested on."""
LEARNT_ANEW = ("embedder", "channels", CLASS_TOKEN)
"""Parts whose shape depends on the number of channels."""


def with_pretrained_settings(
    config: DecodingConfig, path: str, dataset: MultiSubjectDataset, other_preparation: Literal["refuse", "allow"]
) -> DecodingConfig:
    """Let the family of a pre-trained model be the backbone, and its sizes those of the backbone.

    A model that tells states (an HMM, DyNeMo) is no backbone: the linear answer reads them.

    Parameters
    ----------
    config : DecodingConfig
    path : str
        The experiment.
    dataset : MultiSubjectDataset
        What is to be decoded.
    other_preparation : {"refuse", "allow"}
        What to do with signals that are not what imported weights were trained on.

    Raises
    ------
    ConfigurationError
        When it is no sequence model and tells no states, a size was given that it does not have, it has another number
        of channels and its embedder is to be taken over, or it has seen the testing subset.
    """
    parameters = _parameters_of(path)
    family = parameters.get("family")
    if tells_states(family):
        return _with_states(config, parameters, dataset, path)
    if family not in {**CONFIGS_OF_BACKBONES, **CONFIGS_OF_PUBLISHED}:
        known = ", ".join([*CONFIGS_OF_BACKBONES, *CONFIGS_OF_PUBLISHED])
        accepted = f"an experiment of one of {known}, {', '.join(families_with_states())} (this one is of {family})"
        raise ConfigurationError("pretrained", path, accepted)
    if config.backbone not in (None, family):
        raise ConfigurationError("model.backbone", config.backbone, f"absent, or {family}, the family of {path}")
    if family in CONFIGS_OF_PUBLISHED:
        settings = _published_settings(config, family, parameters, dataset, path, other_preparation)
        return _adapting(config, family, settings, parameters, dataset, path)
    settings = config_from(CONFIGS_OF_BACKBONES[family], parameters["model"], "model", parameters)
    sizes = {name: getattr(settings, name) for name in SIZES}
    _refuse_other_sizes(config, sizes, path)
    settings = _with_channels(settings, dataset, anew=not config.embedder_from_pretrained)
    if isinstance(settings, CsmConfig):
        # A decoder predicts none of the channels, and reads all of them alike.
        settings = dataclasses.replace(settings, conditioning_channels=None)
    n_channels = parameters["dataset"]["n_channels"]
    knows_others = settings.channel_embedding != NONE
    if not knows_others and config.embedder_from_pretrained:
        _refuse_other_conditioning(parameters["dataset"].get("conditioning"), dataset, path)
    if not knows_others and n_channels != dataset.n_channels and config.embedder_from_pretrained:
        accepted = (
            f"a model of {dataset.n_channels} channels as the data (it has {n_channels}); "
            "--model.embedder_from_pretrained false learns the embedder anew"
        )
        raise ConfigurationError("pretrained", path, accepted)
    _refuse_other_rates(settings.patch_length, parameters, dataset, path)
    return _adapting(config, family, settings, parameters, dataset, path, **sizes)


def _adapting(
    config: DecodingConfig,
    family: Any,
    settings: Any,
    parameters: dict[str, Any],
    dataset: MultiSubjectDataset,
    path: str,
    **sizes: Any,
) -> DecodingConfig:
    """Config of a decoder on a pre-trained model that has not seen what it is to be tested on."""
    return dataclasses.replace(
        config,
        backbone=family,
        **sizes,
        backbone_settings=config_to_dictionary(settings),
        pretraining_overlap=_allowed_overlap(config, parameters, dataset, path),
    )


def _allowed_overlap(
    config: DecodingConfig, parameters: dict[str, Any], dataset: MultiSubjectDataset, path: str
) -> dict[str, Any]:
    """What `overlap_with_testing` finds, if anything may be found."""
    overlap = overlap_with_testing(parameters, dataset)
    if overlap["subjects"] and not config.allow_overlap:
        raise ConfigurationError("pretrained", path, _unseen(overlap))
    seen_in_pretraining(parameters, dataset, "validation", path)
    return overlap


def _with_states(
    config: DecodingConfig, parameters: dict[str, Any], dataset: MultiSubjectDataset, path: str
) -> DecodingConfig:
    """Config of a decoder whose linear answer reads the states that a pre-trained model tells."""
    family, n_channels = parameters["family"], parameters["dataset"]["n_channels"]
    needed = {"linear_answer": "best", "fine_tuning": "full", "embedder_from_pretrained": True}
    for name, value in needed.items():
        if getattr(config, name) != value:
            accepted = f"absent: {path} is of {family}, whose states the linear answer reads, and no backbone"
            raise ConfigurationError(f"model.{name}", getattr(config, name), accepted)
    embedding = embedding_of_trials(parameters, dataset)
    n_expected = n_channels if embedding is None else len(embedding["channel_names"])
    # That channels are embedded otherwise is said in full where the preparation is compared.
    is_embedded_otherwise = embedding is None and bool(parameters["dataset"].get("embedding")) and not dataset.embedding
    if n_expected != dataset.n_channels and not is_embedded_otherwise:
        accepted = f"a model of {dataset.n_channels} channels as the data (it has {n_expected})"
        raise ConfigurationError("pretrained", path, accepted)
    described = {"family": family, "settings": parameters["model"], "n_channels": n_channels, "embedding": embedding}
    return dataclasses.replace(
        config,
        backbone=config.backbone or LINEAR,
        state_model=described,
        pretraining_overlap=_allowed_overlap(config, parameters, dataset, path),
    )


def _published_settings(
    config: DecodingConfig,
    family: str,
    parameters: dict[str, Any],
    dataset: MultiSubjectDataset,
    path: str,
    other_preparation: Literal["refuse", "allow"],
) -> Any:
    """Settings of imported weights, with what is done to the signals before them."""
    if not config.embedder_from_pretrained:
        accepted = f"true for {family}, whose first layers belong to its weights"
        raise ConfigurationError("model.embedder_from_pretrained", False, accepted)
    settings = config_from(CONFIGS_OF_PUBLISHED[family], parameters["model"], "model", parameters)
    return config_for_input(
        settings, dataset, pretrained=path, unlike_input=config.unlike_input, other_preparation=other_preparation
    )


def overlap_with_testing(parameters: dict[str, Any], dataset: MultiSubjectDataset) -> dict[str, Any]:
    """Find what the testing subset shares with the subjects that a model was trained and validated on.

    Parameters
    ----------
    parameters : dict
        Content of the other experiment's parameters.json.
    dataset : MultiSubjectDataset

    Returns
    -------
    dict
        What `overlap_with` finds, n_testing_subjects, and files_compared: whether the other experiment has noted its
        files.
    """
    seen: list[dict[str, Any]] = [parameters["dataset"]["subsets"][name] for name in SEEN]
    return {
        **overlap_with(parameters["dataset"], dataset, dataset.testing_set, SEEN),
        "n_testing_subjects": dataset.testing_set.n_subjects,
        "files_compared": all("sources" in subset for subset in seen),
    }


def seen_in_pretraining(
    parameters: dict[str, Any], dataset: MultiSubjectDataset, name: str, path: str | Path
) -> list[str]:
    """Subjects of a held-out subset that a pre-trained model was trained (or validated) on; a warning names them."""
    if name not in USED_BEFORE:
        return []
    seen = overlap_with(parameters["dataset"], dataset, dataset.subset(name), USED_BEFORE[name])["subjects"]
    if seen:
        warnings.warn(
            f"{len(seen)} of {dataset.subset(name).n_subjects} {name} subjects ({first_of(seen, N_NAMED)}) were among "
            f"those that the pre-trained model {path} has learnt from; their scores are not about new people.",
            DataWarning,
            stacklevel=3,
        )
    return seen


def seen_by_pretrained(parameters: dict[str, Any], dataset: MultiSubjectDataset, name: str) -> list[str] | None:
    """Do so for a decoder, by its parameters; None where what it started from can no longer be read."""
    path = parameters.get("pretrained")
    if path is None:
        return []
    try:
        return seen_in_pretraining(_parameters_of(path), dataset, name, path)
    except CheckpointError:
        return None


def check_pretrained(model: Decoding, path: str | Path) -> None:
    """Refuse a pre-trained model whose weights a decoder cannot take over; raises what `load_pretrained` does."""
    if model.config.state_model is None:
        weights_of_backbone(model, path)
    else:
        load_pretrained(model, path)


def load_pretrained(model: Decoding, path: str | Path) -> None:
    """Put the weights of a pre-trained model into a decoder's backbones, each of them or none; or tell states by it."""
    if model.config.state_model is not None:
        assert model.answer is not None
        assert model.answer.states is not None
        load_state_model(model.answer.states, path)
        return
    given = weights_of_backbone(model, path)
    for network in model.networks:
        network.backbone.load_state_dict(network.backbone.state_dict() | given)


def weights_of_backbone(model: Decoding, path: str | Path) -> dict[str, Tensor]:
    """Weights of a pre-trained model that a decoder's backbones take over.

    Raises
    ------
    CheckpointError
        When there is no model there.
    ConfigurationError
        With the first tensor that is missing, left over, or of another shape.
    """
    weights, _ = ExperimentFolder.at(path).load_model()
    left_out = PARTS_WITHOUT_USE if model.config.pooling == "class_token" else (*PARTS_WITHOUT_USE, CLASS_TOKEN)
    learnt_anew = () if model.config.embedder_from_pretrained else LEARNT_ANEW
    own: dict[str, Tensor] = model.backbone.state_dict()
    given = {name: tensor for name, tensor in weights.items() if _part(name) not in (*left_out, *learnt_anew)}
    expected = {name: tensor for name, tensor in own.items() if _part(name) not in learnt_anew}
    for name in sorted({*given, *expected}):
        there, here = (str(tuple(w[name].shape)) if name in w else "absent" for w in (given, expected))
        if there != here:
            accepted = f"a {model.config.backbone} of the same shape ({name} is {there} there, {here} here)"
            raise ConfigurationError("pretrained", str(path), accepted)
    return given


def _parameters_of(path: str) -> dict[str, Any]:
    _, parameters = ExperimentFolder.at(path).load_model()
    subsets = (parameters.get("dataset") or {}).get("subsets") or {}
    if not set(SUBSET_NAMES) <= set(subsets):
        raise CheckpointError(f"{path} does not say which subjects it has seen, so overlap cannot be found.")
    return parameters


def _with_channels(settings: Any, dataset: MultiSubjectDataset, *, anew: bool) -> Any:
    """Settings of a backbone that reads the channels of the data that it can take, the others counting for nothing."""
    if settings.channel_embedding == NONE or anew:
        return without_channels(settings)
    columns_taken(settings, dataset)
    return with_names_and_positions(settings, dataset)


def _refuse_other_sizes(config: DecodingConfig, sizes: dict[str, Any], path: str) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name, value in sizes.items():
        own = getattr(config, name)
        if own not in (defaults[name], value):
            raise ConfigurationError(f"model.{name}", own, f"absent, or {value}, as {path} has it")


def _refuse_other_conditioning(before: dict[str, Any] | None, dataset: MultiSubjectDataset, path: str) -> None:
    """The embedder reads the channels of the second group that it was trained with."""
    there = None if before is None else before["group"]
    here = None if dataset.conditioning is None else dataset.conditioning.group
    if there != here:
        accepted = (
            f"a model with the second group of the data (dataset.conditioning_group is {there} there and {here} here); "
            "--model.embedder_from_pretrained false learns the embedder anew"
        )
        raise ConfigurationError("pretrained", path, accepted)


def _refuse_other_rates(length: int, parameters: dict[str, Any], dataset: MultiSubjectDataset, path: str) -> None:
    """Patches of as many samples last otherwise at other rates; single samples carry their time."""
    known = {float(rate) for rate in parameters["dataset"].get("sampling_frequencies") or ()}
    others = [rate for rate in sampling_frequencies(dataset) if rate not in known]
    if length > 1 and known and others:
        there = ", ".join(f"{rate:g}" for rate in sorted(known))
        accepted = (
            f"a model of data at {others[0]:g} Hz (it has patches of {length} samples at {there} Hz); resample the "
            "recordings when the store is made"
        )
        raise ConfigurationError("pretrained", path, accepted)


def _unseen(overlap: dict[str, Any]) -> str:
    people, n_files = overlap["participants"], len(overlap["files"])
    what = [f"participants {', '.join(people[:N_NAMED])}{' ..' if len(people) > N_NAMED else ''}"] if people else []
    what += [f"{n_files} source files"] if n_files else []
    return (
        f"a model that has not seen the testing subset, of which it saw {' and '.join(what)} "
        f"({len(overlap['subjects'])} of {overlap['n_testing_subjects']} subjects); --allow_overlap goes on all the "
        "same"
    )


def _part(name: str) -> str:
    return name.partition(".")[0]
