"""Settings of a decoder that follow from the data and from the pre-trained model."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.models.sequence.backbones.published.trial_lengths import check_published_trials
from dynml.models.sequence.decoding.answer.features import BANDS, BANDS_OF_SOURCES, bands_within
from dynml.models.sequence.decoding.config import LINEAR, DecodingConfig
from dynml.models.sequence.decoding.labels.alike import alike_labels
from dynml.models.sequence.decoding.labels.marks import labels_in, with_labels
from dynml.models.sequence.decoding.numbers.values import with_numbers
from dynml.models.sequence.decoding.pretraining import with_pretrained_settings
from dynml.models.sequence.decoding.targets import Target
from dynml.models.sequence.settling import check_windows, sampling_frequencies, settled_model
from dynml.recording import number_of
from dynml.store.layout import SUBSET_NAMES

MOST_NAMED = 5
FEW_TRIALS = 2
LARGEST_SHARE = 0.8
"""Of one class among training trials, up to which no word is lost about it."""


def settle_with_data(configs: dict[str, Any], dataset: MultiSubjectDataset, pretrained: str | None) -> dict[str, Any]:
    """Fill in what follows from the data: how trials are cut, classes, length of trials, the backbone's settings.

    Parameters
    ----------
    configs : dict
        One Config per group of settings.
    dataset : MultiSubjectDataset
    pretrained : str or None
        Experiment whose model becomes the backbone, or tells the states that the linear answer reads.

    Returns
    -------
    dict
        The same again when called with its own result.

    Raises
    ------
    ConfigurationError
        When the target is neither a column of the events nor a covariate, or settings contradict data or model.
    DataError
        When the training trials have one class only.

    Warns
    -----
    DataWarning
        When validation or testing has a class that training has not: its trials count as wrong. When a class has a
        single training trial, or nearly all. When labels differ by case or by ways of writing a number alone.
    """
    model, sampler = configs["model"], configs["sampler"]
    target = Target.of(dataset, model.target, model.classes)
    if target.of_events and sampler.trials is None:
        strategy = "trials" if sampler.strategy is None else sampler.strategy
        sampler = dataclasses.replace(sampler, trials=model.target, strategy=strategy)
    if not target.of_events and sampler.resolved_strategy == "trials":
        accepted = f"absent: {model.target} is a covariate of the subjects, whose recordings are cut into windows"
        raise ConfigurationError("sampler.trials", sampler.trials, accepted)
    settled = {"classes": _with_classes, "numbers": with_numbers, "labels": with_labels}[model.target_values]
    model = settled(model, target, sampler)
    if pretrained is None:
        _refuse_without_pretrained(model)
        model = dataclasses.replace(model, backbone=model.backbone or LINEAR)
    elif model.backbone_settings is None and model.state_model is None:
        alike: Any = getattr(configs.get("trainer"), "other_preparation", "refuse")
        model = with_pretrained_settings(model, pretrained, dataset, alike)
        if model.is_published:
            check_published_trials(model.backbone_config(), int(model.trial_length or 0))
    if model.backbone != LINEAR and not model.is_published:
        model = _with_times(model, dataset)
    if model.backbone != LINEAR:
        model = _with_pooling(model)
    if model.linear_answer != "none":
        assert model.trial_length is not None
        rates = sampling_frequencies(dataset)
        bands, finer = (bands_within(rates, model.trial_length, some) for some in (BANDS, BANDS_OF_SOURCES))
        # A decoder of before goes on without what it did not read.
        source_bands = finer if model.answer_bands is None else model.answer_source_bands
        model = dataclasses.replace(model, answer_bands=bands, answer_source_bands=source_bands)
    _check_head_epochs(getattr(configs.get("trainer"), "head_epochs", None), model)
    return configs | {"model": model, "sampler": sampler}


def _check_head_epochs(head_epochs: int | None, model: DecodingConfig) -> None:
    if head_epochs is not None and (model.backbone_settings is None or model.fine_tuning != "full"):
        accepted = "absent: it is for a pre-trained backbone that is trained in full (fine_tuning full)"
        raise ConfigurationError("trainer.head_epochs", head_epochs, accepted)


def _with_classes(config: DecodingConfig, target: Target, sampler: Any) -> DecodingConfig:
    found = target.of_subsets(sampler)
    n_labels = len(target.label_names)
    counts = {name: np.bincount(trials.truth, minlength=n_labels) for name, trials in found.items()}
    classes = np.flatnonzero(counts["training"])
    names = [target.label_names[label] for label in classes]
    if len(classes) < 2:
        none = "no class" if target.chosen is None else f"none of model.classes ({', '.join(target.chosen)})"
        there = f"one class only ({names[0]})" if names else none
        raise DataError(f"The training trials have {there} in {target.column}: there is nothing to decode.")
    _refuse_values_without_classes(target, found["training"].participants, len(classes))
    _refuse_numbers_without_classes(target, names, int(counts["training"].sum()))
    for name in SUBSET_NAMES[1:]:
        unseen = [target.label_names[label] for label in np.flatnonzero(counts[name]) if label not in classes]
        if unseen:
            n_trials = sum(int(counts[name][target.label_names.index(label)]) for label in unseen)
            warnings.warn(
                f"The {name} subset has {n_trials} trials of classes that no training trial has "
                f"({', '.join(unseen[:MOST_NAMED])}{' ..' if len(unseen) > MOST_NAMED else ''}): they count as wrong.",
                DataWarning,
                stacklevel=4,
            )
    alike = alike_labels(target.label_names if target.chosen is None else target.chosen)
    _tell_of_balance(names, counts["training"][classes], alike)
    longest = max(int(trials.spans.lengths.max(initial=1)) for trials in found.values())
    return dataclasses.replace(
        config,
        class_names=names,
        class_counts=counts["training"][classes].tolist(),
        trial_length=longest,
    )


def _tell_of_balance(names: list[str], counts: NDArray[np.int64], alike: list[str]) -> None:
    """Warn of classes that next to no training trial has, of one that nearly all have, and of such as are `alike`."""
    rare = [f"{name} ({count})" for name, count in zip(names, counts.tolist()) if count < FEW_TRIALS]
    faults = alike
    if rare:
        more = " .." if len(rare) > MOST_NAMED else ""
        faults.append(f"some classes have only one training trial: {', '.join(rare[:MOST_NAMED])}{more}")
    several = next((name for name in names if len(labels_in(name)) > 1), None)
    if several is not None:
        faults.append(f"{several!r} is one class (of several labels per trial: --model.target_values labels)")
    share = float(counts.max() / counts.sum())
    if share > LARGEST_SHARE:
        faults.append(
            f"{share:.0%} of the training trials are of the class {names[int(counts.argmax())]}: look at balanced "
            "accuracy, and see model.class_weights"
        )
    if faults:
        sentence = "; ".join(faults)
        warnings.warn(f"{sentence[0].upper()}{sentence[1:]}.", DataWarning, stacklevel=5)


def _refuse_values_without_classes(target: Target, participants: list[str], n_classes: int) -> None:
    """A covariate such as an age has nearly a class of its own for each participant."""
    n_participants = len(set(participants))
    if not target.of_events and n_classes > 2 and 2 * n_classes > n_participants:
        accepted = (
            f"a covariate of classes (it has {n_classes} values in {n_participants} training participants); "
            "--model.target_values numbers predicts a quantity"
        )
        raise ConfigurationError("model.target", target.column, accepted)


def _refuse_numbers_without_classes(target: Target, names: list[str], n_trials: int) -> None:
    """Events such as response times have nearly a number of their own for each trial."""
    if 2 * len(names) > n_trials and all(number_of(name) is not None for name in names):
        accepted = (
            f"a column of classes (it has {len(names)} numbers in {n_trials} training trials); "
            "--model.target_values numbers predicts a quantity"
        )
        raise ConfigurationError("model.target", target.column, accepted)


def _refuse_without_pretrained(config: DecodingConfig) -> None:
    accepted = "{} unless --pretrained names an experiment"
    if config.is_published:
        needed = f"absent unless --pretrained names {config.backbone} as dynml_import_weights.py has made it"
        raise ConfigurationError("model.backbone", config.backbone, needed)
    if config.fine_tuning != "full":
        raise ConfigurationError("model.fine_tuning", config.fine_tuning, accepted.format("full"))
    if not config.embedder_from_pretrained:
        raise ConfigurationError("model.embedder_from_pretrained", False, accepted.format("true"))


def _with_times(config: DecodingConfig, dataset: MultiSubjectDataset) -> DecodingConfig:
    """Settle precision and reach of the embedding of time, and refuse trials that it cannot hold."""
    backbone = settled_model(config.backbone_config(), dataset)
    assert config.trial_length is not None
    check_windows(backbone, config.trial_length, min(sampling_frequencies(dataset)))
    return dataclasses.replace(config, time_precision=backbone.time_precision, max_seconds=backbone.max_seconds)


def _with_pooling(config: DecodingConfig) -> DecodingConfig:
    """Read trials from the class token where pre-training has trained it, else from the mean of their states."""
    if config.pooling is not None or config.backbone == "autoencoder":
        return config
    has_trained_token = bool((config.backbone_settings or {}).get("next_sequence"))
    return dataclasses.replace(config, pooling="class_token" if has_trained_token else "mean")
