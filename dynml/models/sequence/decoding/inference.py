"""What a decoder says of a dataset: every trial of some subsets once, beside the baselines of its training data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.configuration import config_from
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import DataError
from dynml.models.experiment import Experiment
from dynml.models.sequence.decoding.answer.choice import Floats
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer
from dynml.models.sequence.decoding.baselines import FittedBaseline, Regression, fit_baselines
from dynml.models.sequence.decoding.evaluation import Predictions, check_trials, predictions_of, windows_of_trials
from dynml.models.sequence.decoding.labels.baselines import LabelBaseline, fit_label_baselines
from dynml.models.sequence.decoding.labels.predictions import LabelPredictions, predicted_labels
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.numbers.baselines import NumberBaseline, fit_number_baselines
from dynml.models.sequence.decoding.numbers.predictions import NumberPredictions, predicted_numbers
from dynml.models.sequence.decoding.targets import Target, Trials
from dynml.recording import plain_label

Found = TypeVar("Found")

WITHOUT_STATES = "without_states"
"""Name of the linear answer that knows no states, among the baselines of one that does."""


@dataclass(frozen=True)
class Decoded:
    """Predictions of a decoder, and what to compare them with."""

    of_numbers: ClassVar[bool] = False
    of_labels: ClassVar[bool] = False

    predictions: Mapping[str, Predictions]
    """Of each subset that has trials, at least one."""

    baselines: Mapping[str, FittedBaseline | None]
    """Fitted to the training data of the experiment; None for one that these trials do not allow. Where the dataset has
    other training data, only the model's own answer without states, if it reads states."""


@dataclass(frozen=True)
class DecodedNumbers:
    """Predicted numbers, and what to compare them with."""

    of_numbers: ClassVar[bool] = True
    of_labels: ClassVar[bool] = False

    predictions: Mapping[str, NumberPredictions]
    """Of each subset that has trials, at least one."""

    baselines: Mapping[str, NumberBaseline | None]
    """As those of `Decoded`."""


@dataclass(frozen=True)
class DecodedLabels:
    """Labels of trials that may have several, and what to compare them with."""

    of_numbers: ClassVar[bool] = False
    of_labels: ClassVar[bool] = True

    predictions: Mapping[str, LabelPredictions]
    """Of each subset that has trials, at least one."""

    baselines: Mapping[str, LabelBaseline | None]
    """As those of `Decoded`."""


def decode(
    experiment: Experiment, dataset: MultiSubjectDataset, subset_names: Sequence[str]
) -> Decoded | DecodedNumbers | DecodedLabels:
    """Decode every trial of some subsets once, and fit the baselines again where the training data are at hand.

    Parameters
    ----------
    experiment : Experiment
        Its model has a `DecodingConfig`.
    dataset : MultiSubjectDataset
    subset_names : sequence of str

    Raises
    ------
    DataError
        When there is no trial in these subsets.
    """
    model: Any = experiment.model
    config = model.config
    if config.tells_numbers:
        return DecodedNumbers(
            _predictions(experiment, dataset, subset_names, predicted_numbers),
            {**_number_baselines(experiment, dataset), **answer_without_states(model)},
        )
    if config.tells_labels:
        return DecodedLabels(
            _predictions(experiment, dataset, subset_names, predicted_labels),
            {**_label_baselines(experiment, dataset), **answer_without_states(model)},
        )
    return Decoded(
        _predictions(experiment, dataset, subset_names, predictions_of),
        {**_baselines(experiment, dataset), **answer_without_states(model)},
    )


def _predictions(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    subset_names: Sequence[str],
    predict: Callable[[Any, Trials], Found],
) -> dict[str, Found]:
    model: Any = experiment.model
    found = {}
    for name in subset_names:
        trials = trials_of_subset(experiment, dataset, name)
        if len(trials):
            check_trials(model.config, trials, dataset)
            found[name] = predict(model, trials)
    if not found:
        raise DataError(f"There are no trials of {model.config.target} in the {' or '.join(subset_names)} subset.")
    return found


def trials_of_subset(experiment: Experiment, dataset: MultiSubjectDataset, name: str) -> Trials:
    """All trials of a subset, cut as those of the training."""
    config: Any = experiment.model.config
    sampler = config_from(BatchSamplerConfig, experiment.parameters["sampler"], "sampler", experiment.parameters)
    target = Target.of(dataset, config.target)
    if config.classes is not None:
        # New data need not have all of them.
        present = [label for label in config.classes if plain_label(label) in target.label_names]
        target = Target.of(dataset, config.target, present)
    return target.trials(name, sampler, config.class_names)


def _baselines(experiment: Experiment, dataset: MultiSubjectDataset) -> Mapping[str, FittedBaseline | None]:
    if not _has_training_data(experiment, dataset):
        return {}
    config: Any = experiment.model.config
    trials, balanced = trials_of_subset(experiment, dataset, "training"), config.class_weights == "balanced"
    return fit_baselines(trials, balanced=balanced, **_choices(experiment, dataset))


def _number_baselines(experiment: Experiment, dataset: MultiSubjectDataset) -> Mapping[str, NumberBaseline | None]:
    if not _has_training_data(experiment, dataset):
        return {}
    trials = trials_of_subset(experiment, dataset, "training")
    return fit_number_baselines(trials, **_choices(experiment, dataset))


def _label_baselines(experiment: Experiment, dataset: MultiSubjectDataset) -> Mapping[str, LabelBaseline | None]:
    if not _has_training_data(experiment, dataset):
        return {}
    config: Any = experiment.model.config
    trials = trials_of_subset(experiment, dataset, "training")
    return fit_label_baselines(trials, config.class_names, **_choices(experiment, dataset))


def _choices(experiment: Experiment, dataset: MultiSubjectDataset) -> dict[str, Any]:
    trainer = experiment.parameters["trainer"]
    return {
        "by_runs": dataset.split == "runs",
        "most_trials": trainer["baseline_trials"],
        "seed": trainer["seed"],
    }


def _has_training_data(experiment: Experiment, dataset: MultiSubjectDataset) -> bool:
    trained = experiment.parameters["dataset"]["subsets"]["training"]["fingerprint"]
    return bool(dataset.fingerprints["training"] == trained)


class _Largest:
    """Classes of the largest logits."""

    def predict(self, logits: Floats) -> NDArray[np.int64]:
        """(n,) of (n, K)."""
        return logits.argmax(axis=1)


def answer_without_states(model: Decoding) -> dict[str, Any]:
    """By its name, a baseline of the kind that the target has; none where the answer reads no states."""
    config, answer = model.config, model.answer
    if answer is None or answer.states is None:
        return {}
    features = functools.partial(_logits, answer)
    if config.tells_numbers:
        assert config.value_moments is not None
        mean, scale = config.value_moments
        return {WITHOUT_STATES: NumberBaseline(WITHOUT_STATES, mean, features, np.full(1, scale), np.zeros(1))}
    n_classes = config.n_classes
    if config.tells_labels:
        as_they_are = Regression(features, np.eye(n_classes), np.zeros(n_classes), {})
        labels = tuple(config.class_names or ())
        return {WITHOUT_STATES: LabelBaseline(WITHOUT_STATES, labels, np.zeros(n_classes), as_they_are)}
    return {WITHOUT_STATES: FittedBaseline(WITHOUT_STATES, features, _Largest())}


def _logits(answer: LinearAnswer, trials: Trials) -> Floats:
    """(n, K)."""
    windows = windows_of_trials(trials, torch.device("cpu"))
    with torch.no_grad():
        said = [answer.logits(one, answer.without_states_FK).double().numpy() for one in windows]
    return np.concatenate([np.zeros((0, len(answer.bias_K))), *said])
