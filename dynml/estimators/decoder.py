"""Decoders of trials: the classifier and the regressor.

Shapes: n trials, T samples, C channels, K classes or labels (1 for numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_consistent_length

from dynml.configuration import check_choice
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError
from dynml.estimators.base import DEFAULT_SEED, TimeSeriesEstimator, seed_of
from dynml.estimators.labels import (
    has_columns,
    labels_of,
    marks_of_columns,
    plain_labels,
    quantities_of,
    texts_of_marks,
)
from dynml.estimators.series import LABELS
from dynml.estimators.validation import check_fraction_held_out, trials_held_out
from dynml.models.sequence.decoding.evaluation import TRIALS_AT_ONCE
from dynml.models.sequence.decoding.inference import decode
from dynml.models.sequence.windows import Windows, masked_windows
from dynml.ops.masked_samples import observed_rows
from dynml.store.layout import SUBSET_NAMES


def _stacked(X: Any) -> Any:
    """Trials (T, C) of a list or tuple as one array; anything else as it is."""
    if not isinstance(X, (list, tuple)) or not len(X) or np.ndim(X[0]) < 2:
        return X
    shapes = {np.shape(trial) for trial in X}
    if len(shapes) > 1:
        raise DataError(f"The trials of X have several shapes ({', '.join(map(str, sorted(shapes)))}): give them one.")
    return np.stack(list(X))


class TrialEstimator(TimeSeriesEstimator):
    """What the classifier and the regressor share."""

    _family_name = "decoding"
    _rows_are_trials: ClassVar[bool] = True
    _samples_to_predict: ClassVar[int] = 1
    _target_values: ClassVar[str]
    target: str | None

    def _values_of(self, y: Any, *, of_store: bool) -> tuple[str, ...]:
        """Kinds of targets that settings["model.target_values"] may say, the one by default first."""
        return (self._target_values,)

    def _refuse_other_targets(self, values: tuple[str, ...]) -> None:
        kind = (self.settings or {}).get("model.target_values", values[0])
        if kind not in values:
            accepted = f"absent: {type(self).__name__} has {values[0]} here"
            raise ConfigurationError("settings['model.target_values']", kind, accepted)

    def _fitted_to_store(self, X: Any, y: Any) -> bool:
        """Fit to a store, if X is one."""
        check_choice("standardization", self.standardization, ("training", "none"))
        check_fraction_held_out(self.validation_fraction)
        of_store = isinstance(X, (str, Path, MultiSubjectDataset))
        self._refuse_other_targets(self._values_of(y, of_store=of_store))
        if not of_store:
            return False
        if y is not None:
            raise DataError("y is not for a store, whose events have the labels: name their column by target.")
        self._fitted_to(X, None, None)
        return True

    def _trials(self, X: Any, y: Any) -> Any:
        """X as one array, where it is a list of trials; refuse it where y does not fit."""
        X = _stacked(X)
        if y is None:
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None: one label for each trial.")
        check_consistent_length(X, y)
        return X

    def _with_held_out(self, groups: Any, y: NDArray[Any], *, by_class: bool) -> Any:
        """Participants of trials; where there are none, but some trials are to be held out, these."""
        if self.validation_fraction is None or groups is not None:
            return groups
        seed = DEFAULT_SEED if self.random_state is None else seed_of(self.random_state)
        return trials_held_out(y, self.validation_fraction, seed, by_class=by_class)

    def _plain_parameters(self) -> dict[str, Any]:
        own = {"target": self.target or LABELS, "target_values": self._target_values}
        return super()._plain_parameters() | own

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """What the model says of trials in an array, (n, K)."""
        series = self._series(_stacked(X), None, None, reset=False)
        if len(series.items) != 1:
            raise DataError("X must be one array (n, T, C), a list of trials (T, C), a table, Epochs or a store.")
        item, _ = series.items[0]
        return self._outputs_of(item.blocks, next(iter(series.recordings.values())).sampling_frequency)

    @torch.no_grad()
    def _outputs_of(self, blocks: list[NDArray[np.float64]], rate: float) -> NDArray[np.float64]:
        model = self.experiment_.model.eval()
        device = next(model.parameters()).device
        longest = self.experiment_.model.config.trial_length  # type: ignore[union-attr]
        if len(blocks[0]) > longest:  # type: ignore[operator]
            raise DataError(
                f"The trials have {len(blocks[0])} samples, but those of the training had {longest} at most."
            )
        found = []
        for first in range(0, len(blocks), TRIALS_AT_ONCE):
            signals_BTC = torch.from_numpy(np.stack(blocks[first : first + TRIALS_AT_ONCE]).astype(np.float32)).to(
                device
            )
            n_trials, n_times, _ = signals_BTC.shape
            mask_BT = torch.ones(n_trials, n_times, dtype=torch.bool, device=device)
            seconds_BT = (torch.arange(n_times, dtype=torch.float64, device=device) / rate).expand(n_trials, n_times)
            windows = Windows(signals_BTC, mask_BT, seconds_BT, torch.zeros(n_trials, dtype=torch.int64, device=device))
            windows = masked_windows(windows, observed_rows(signals_BTC))
            found.append(model(windows).double().cpu())
        return torch.cat(found).numpy()

    def _of_store(self, X: Any, wanted: Callable[[Any], NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What is wanted of predictions, by subject."""
        dataset = self.experiment_.open(X, group=self.group)
        decoded: Any = decode(self.experiment_, dataset, SUBSET_NAMES)
        found: dict[str, NDArray[Any]] = {}
        for predictions in decoded.predictions.values():
            subjects = np.array(predictions.trials.subjects)
            for name in dict.fromkeys(subjects.tolist()):
                found[name] = wanted(predictions)[subjects == name]
        return found


class Decoder(ClassifierMixin, TrialEstimator):  # type: ignore[misc]
    """Tells the classes of trials: a weighted mean over time of each channel, or a sequence model, below a linear head.

    Trials that have any number of labels at once are given as scikit-learn has them: y with a column of 0 and 1 for
    each label. `predict` gives such columns, `predict_proba` the probability of each label, and `score` is the share of
    trials all of whose labels are right.

    The parameters from `sampling_frequency` on are those of `HMM`.

    Parameters
    ----------
    backbone : {"linear", "csm", "sequence_bert", "network_bert", "autoencoder"}
        Model that encodes a trial. Sizes of sequence models are set in `settings`, such as {"model.n_layers": 2}.
    target : str, optional
        Column of the events of a store, or covariate of its subjects, that is decoded.
    class_weights : {"balanced"} or None
        balanced: weight the loss so that all classes count the same.
    label_smoothing : float
        Fraction of each training target that is spread evenly over the classes.
    linear_rank : int, optional
        linear: number of weighted means over time that the head sees of each channel; None: chosen on held-out
        training trials.
    max_epochs : int
        Passes over the training trials.
    learning_rate : float
    batch_size_training : int
        Trials in a batch.
    standardization : {"training", "none"}
        Standardize each channel by the mean and standard deviation of all training trials, or not.
    validation_fraction : float, optional
        As for `HMM`; without `groups`, this fraction of the trials of each class is held out.

    Attributes
    ----------
    classes_ : array, (K,)
        Of several labels: the columns' numbers, or their names in a table.
    experiment_, summary_, n_iter_, n_features_in_, feature_names_in_, sampling_frequency_
        As of `HMM`.

    Examples
    --------
    >>> import numpy as np
    >>> from dynml import Decoder
    >>> trials = np.random.default_rng(0).normal(size=(60, 20, 4))
    >>> labels = np.repeat(["face", "house"], 30)
    >>> trials[30:, :, 0] += 2
    >>> decoder = Decoder(max_epochs=20).fit(trials, labels)
    >>> decoder.predict(trials[[0, -1]]).tolist()
    ['face', 'house']
    """

    _target_values = "classes"

    def __init__(
        self,
        backbone: Literal["linear", "csm", "sequence_bert", "network_bert", "autoencoder"] = "linear",
        *,
        target: str | None = None,
        class_weights: Literal["balanced"] | None = None,
        label_smoothing: float = 0.0,
        linear_rank: int | None = None,
        max_epochs: int = 50,
        learning_rate: float | str = 0.001,
        batch_size_training: int = 32,
        sampling_frequency: float | None = None,
        standardization: Literal["training", "none"] = "training",
        missing: Literal["error", "segment", "mask"] = "error",
        picks: str | Sequence[str] | None = None,
        group: str | None = None,
        validation_fraction: float | None = None,
        random_state: Any = None,
        device: str = "auto",
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Fit the model to trials.

        Parameters
        ----------
        X : array (n, T, C) or (n, C), table, Epochs, or path of a store
            An array (n, C) or a table has trials of one sample. Of a store, the trials that `target` labels.
        y : sequence of n labels, or array or table (n, K)
            Not for a store. Of several labels per trial: 1 where a trial has the label of a column, else 0.
        groups : sequence of n, optional
            Participant of each trial; baselines are then chosen by cross-validation across participants.

        Returns
        -------
        self
        """
        self._values_of_y = self._target_values
        if self._fitted_to_store(X, y):
            self.classes_ = np.array(self._class_names)
            return self
        X = self._trials(X, y)
        if has_columns(y):
            return self._fitted_to_columns(X, y, groups)
        self.classes_, codes = np.unique(labels_of(y), return_inverse=True)
        names = self._names_of_classes()
        groups = self._with_held_out(groups, codes, by_class=True)
        return self._fitted_to(X, groups, [names[code] for code in codes])

    def _values_of(self, y: Any, *, of_store: bool) -> tuple[str, ...]:
        if of_store:
            return ("classes", "labels")
        return ("labels",) if has_columns(y) else ("classes",)

    def _fitted_to_columns(self, X: Any, y: Any, groups: Any) -> Self:
        marks, names = marks_of_columns(y)
        self.classes_ = np.array(names) if hasattr(y, "columns") else np.arange(len(names))
        self._values_of_y, self._shares = "labels", marks.mean(axis=0)
        groups = self._with_held_out(groups, marks, by_class=False)
        return self._fitted_to(X, groups, texts_of_marks(marks, names))

    def _plain_parameters(self) -> dict[str, Any]:
        return super()._plain_parameters() | {"target_values": getattr(self, "_values_of_y", self._target_values)}

    def predict(self, X: Any) -> Any:
        """Give the class of each trial, (n,); of a store: a dict of these by subject.

        Of several labels: (n, K), 1 where a label is more likely than not.
        """
        probabilities = self.predict_proba(X)
        if self._tells_labels:
            if isinstance(probabilities, dict):
                return {name: (found > 0.5).astype(np.int64) for name, found in probabilities.items()}
            return (probabilities > 0.5).astype(np.int64)
        if isinstance(probabilities, dict):
            return {name: self.classes_[found.argmax(axis=1)] for name, found in probabilities.items()}
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Give the accuracy, with blanks and composed letters of labels as in `classes_`."""
        return float(super().score(X, y if has_columns(y) else plain_labels(y), sample_weight))

    def predict_proba(self, X: Any) -> Any:
        """Give the probabilities of the classes, (n, K), in the order of `classes_`; of a store: a dict by subject.

        Of several labels: that of each, 0 or 1 for one that no training trial has, or all.
        """
        self._fitted_experiment()
        if isinstance(X, (str, Path, MultiSubjectDataset)):
            return self._of_store(X, lambda predictions: predictions.probabilities)
        if self._tells_labels:
            return self._probabilities_of_labels(self._outputs(X))
        order = [self._class_names.index(name) for name in self._names_of_classes()]
        return torch.from_numpy(self._outputs(X)).softmax(dim=1).numpy()[:, order]

    def _probabilities_of_labels(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.tile(np.round(self._shares), (len(logits), 1))
        names = self._names_of_classes()
        for name, own in zip(self._class_names, torch.from_numpy(logits).sigmoid().numpy().T):
            found[:, names.index(name)] = own
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def _tells_labels(self) -> bool:
        return bool(self.experiment_.model.config.tells_labels)  # type: ignore[union-attr]

    @property
    def _class_names(self) -> list[str]:
        model: Any = self.experiment_.model
        names: list[str] = model.config.class_names
        return names

    def _names_of_classes(self) -> list[str]:
        return [str(label) for label in self.classes_]


class DecoderRegressor(RegressorMixin, TrialEstimator):  # type: ignore[misc]
    """Predicts a number for each trial (a rating, a force, an age) by least squares, with the models of `Decoder`.

    The parameters are those of `Decoder` without `class_weights` and `label_smoothing`. `score` is R^2.

    Attributes
    ----------
    experiment_, summary_, n_iter_, n_features_in_, feature_names_in_, sampling_frequency_
        As of `HMM`.

    Examples
    --------
    >>> import numpy as np
    >>> from dynml import DecoderRegressor
    >>> trials = np.random.default_rng(0).normal(size=(60, 20, 4))
    >>> forces = np.linspace(0, 1, 60)
    >>> trials[:, :, 0] += 4 * forces[:, None]
    >>> regressor = DecoderRegressor(max_epochs=5).fit(trials, forces)
    >>> bool(regressor.score(trials, forces) > 0.9)
    True
    """

    _target_values = "numbers"

    def __init__(
        self,
        backbone: Literal["linear", "csm", "sequence_bert", "network_bert", "autoencoder"] = "linear",
        *,
        target: str | None = None,
        linear_rank: int | None = None,
        max_epochs: int = 50,
        learning_rate: float | str = 0.001,
        batch_size_training: int = 32,
        sampling_frequency: float | None = None,
        standardization: Literal["training", "none"] = "training",
        missing: Literal["error", "segment", "mask"] = "error",
        picks: str | Sequence[str] | None = None,
        group: str | None = None,
        validation_fraction: float | None = None,
        random_state: Any = None,
        device: str = "auto",
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Fit the model to trials.

        Parameters
        ----------
        X : array (n, T, C) or (n, C), table, Epochs, or path of a store
            As for `Decoder`.
        y : sequence of n numbers
            Not for a store.
        groups : sequence of n, optional
            Participant of each trial.

        Returns
        -------
        self
        """
        if self._fitted_to_store(X, y):
            return self
        X = self._trials(X, y)
        numbers = quantities_of(y)
        groups = self._with_held_out(groups, numbers, by_class=False)
        return self._fitted_to(X, groups, [repr(number) for number in numbers.tolist()])

    def predict(self, X: Any) -> Any:
        """Give the number of each trial, (n,); of a store: a dict of these by subject."""
        model: Any = self._fitted_experiment().model
        if isinstance(X, (str, Path, MultiSubjectDataset)):
            return self._of_store(X, lambda predictions: predictions.predicted)
        mean, scale = model.config.value_moments
        return mean + scale * self._outputs(X)[:, 0]
