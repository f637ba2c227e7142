"""What all estimators share: X to a dataset, parameters to a run, the trained experiment to attributes.

Shapes: n trials, T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dynml.configuration import check_choice, check_positive
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError
from dynml.estimators.blocks import (
    Item,
    check_none_missing,
    check_rows_are_samples,
    is_list_of_items,
    item_of_array,
    items_of,
    missing_told,
)
from dynml.estimators.run import configs_of, trained
from dynml.estimators.series import TimeSeries
from dynml.estimators.validation import check_fraction_held_out, people_held_out
from dynml.models.experiment import Experiment
from dynml.models.registry import Family, get_family
from dynml.readers.text_table import check_no_clock
from dynml.recording import masked_as_nan
from dynml.store.layout import SUBSET_NAMES
from dynml.training.config import TrainerConfig
from dynml.training.environment import resolve_device

STANDARDIZATIONS = ("training", "per_run", "per_subject", "none")
SAMPLES_NEEDED = 2
DEFAULT_SEED = TrainerConfig.seed


class TimeSeriesEstimator(BaseEstimator):
    """A family as an estimator; a subclass has its parameters, and what it says of new data."""

    _family_name: ClassVar[str]
    _rows_are_trials: ClassVar[bool] = False
    _samples_to_predict: ClassVar[int] = SAMPLES_NEEDED
    sampling_frequency: float | None
    standardization: str
    missing: str
    picks: str | Sequence[str] | None
    group: str | None
    validation_fraction: float | None
    random_state: Any
    device: str
    folder: str | Path | None
    settings: Mapping[str, Any] | None
    verbose: bool

    def _keep(self, given: Mapping[str, Any]) -> None:
        """Keep the constructor's arguments as they are, each under its own name, as scikit-learn wants them."""
        for name in self._get_param_names():
            setattr(self, name, given[name])

    # ------------------------------------------------------------------ X to a dataset

    def _fitted_to(self, X: Any, groups: Any, labels: Any) -> Self:
        """Read X, train, and take the experiment over."""
        configs = configs_of(self._family, self._plain_parameters(), self._all_settings())
        dataset, _ = self._dataset(X, groups, labels, configs, reset=True)
        self.experiment_, self.summary_ = trained(self._family, dataset, configs, self.folder)
        self.n_iter_ = int(self.summary_["epochs"])
        rates = {float(rate) for name in SUBSET_NAMES for rate in dataset.subset(name).sampling_frequencies}
        self.sampling_frequency_ = rates.pop() if len(rates) == 1 else None
        return self

    def _dataset(
        self, X: Any, groups: Any, labels: Any, configs: Mapping[str, Any] | None, *, reset: bool
    ) -> tuple[MultiSubjectDataset, TimeSeries | None]:
        """Make a dataset of X; in training by the configs, later as the experiment takes it."""
        if isinstance(X, MultiSubjectDataset):
            return self._noted(X, reset), None
        device = resolve_device(self.device)
        if reset and isinstance(X, (str, Path)) and self.validation_fraction is not None:
            accepted = "None for a store, which has its own validation subset"
            raise ConfigurationError("validation_fraction", self.validation_fraction, accepted)
        if isinstance(X, (str, Path)):
            if not reset:
                return self.experiment_.open(X, group=self.group), None
            assert configs is not None
            residency = configs["loader"].residency
            stored = MultiSubjectDataset(X, residency, group=self.group, device=device, config=configs["dataset"])
            stored.load_data()
            return self._noted(stored, reset), None
        series = self._series(X, groups, labels, reset=reset)
        dataset = MultiSubjectDataset.from_arrays(
            *series.learnt_and_held_out(),
            standardization="none" if self.standardization == "training" else self.standardization,  # type: ignore[arg-type]
            missing=self.missing,  # type: ignore[arg-type]
            participants=series.participants,
            device=device,
            config=configs["dataset"] if configs else None,
        )
        return dataset, series

    def _noted(self, dataset: MultiSubjectDataset, reset: bool) -> MultiSubjectDataset:
        if reset:
            names = dataset.channel_names if dataset.embedding is None else dataset.embedding.layout.channel_names
            self.n_features_in_, self.feature_names_in_ = len(names), np.array(names, dtype=object)
        return dataset

    def _series(self, X: Any, groups: Any, labels: Any, *, reset: bool) -> TimeSeries:
        check_choice("standardization", self.standardization, STANDARDIZATIONS)
        check_positive("sampling_frequency", self.sampling_frequency, optional=True)
        check_fraction_held_out(self.validation_fraction)
        listed, names = items_of(X, self.picks)
        if not listed:
            raise DataError("X is an empty list: it must have at least one recording (time x channels).")
        series = TimeSeries(is_list=is_list_of_items(X), names=names)
        several = series.is_list or names is not None
        of_items = [None] * len(listed) if groups is None else list(groups) if several else [groups]
        if len(of_items) != len(listed):
            raise DataError(f"There are {len(of_items)} groups for {len(listed)} recordings: give one for each.")
        if groups is not None:
            check_none_missing(of_items)
        checked = [
            self._item(x, group, several, reset=reset and number == 0, where=f"recording {number}" if several else "X")
            for number, (x, group) in enumerate(zip(listed, of_items))
        ]
        people = [series.people_of(number, *one) for number, one in enumerate(checked)]
        if reset and self.validation_fraction is not None:
            seed = DEFAULT_SEED if self.random_state is None else seed_of(self.random_state)
            everyone = [name for names in people for name in names]
            series.held_out = people_held_out(everyone, self.validation_fraction, seed)
        if reset and self.standardization == "training":
            self._learn_scale(
                block
                for (item, _), names in zip(checked, people)
                for block, name in zip(item.blocks, names)
                if name not in series.held_out
            )
        for item, item_groups in checked:
            series.add(self._scaled(item), item_groups, labels, self._rate_of(item, reset=reset))
        return series

    def _item(self, x: Any, group: Any, several: bool, *, reset: bool, where: str) -> tuple[Item, NDArray[Any] | None]:
        if isinstance(x, Item):
            self._check_names(x, reset=reset)
            given = None if group is None else np.asarray(group)
            if given is not None and len(x.blocks) == 1 and given.ndim:
                raise DataError(f"The groups of {where} must be one for each Raw, in a list.")
            return x, None if given is None else np.broadcast_to(given, len(x.blocks))
        array = self._checked(x, reset=reset, where=where)
        groups = None if group is None else np.asarray(group)
        groups = np.full(len(array), group) if groups is not None and not groups.ndim else groups
        item, groups = item_of_array(array, groups, rows_are_trials=self._rows_are_trials, where=where)
        if item.channel_names is None and hasattr(self, "feature_names_in_"):
            item = Item(**vars(item) | {"channel_names": tuple(map(str, self.feature_names_in_))})
        return item, groups

    def _checked(self, x: Any, *, reset: bool, where: str) -> NDArray[np.float64]:
        """Check an array or a table as scikit-learn does; arrays (n, T, C) go through it as rows."""
        x = np.asarray(x) if isinstance(x, (list, tuple)) else masked_as_nan(x)
        shape: tuple[int, ...] = getattr(x, "shape", ())
        table = np.asarray(x).reshape(-1, shape[2]) if len(shape) == 3 else x
        n_needed = SAMPLES_NEEDED if reset else self._samples_to_predict
        if len(shape) == 2 and not self._rows_are_trials:
            check_rows_are_samples(x, where)
        with missing_told(where):
            found: NDArray[np.float64] = validate_data(
                self,
                table,
                reset=reset,
                dtype=np.float64,
                ensure_all_finite=True if self.missing == "error" else "allow-nan",
                ensure_min_samples=n_needed,
            )
        if hasattr(x, "columns"):
            check_no_clock(f"The table {where}" if where != "X" else where, found, tuple(map(str, x.columns)))
        return found.reshape(shape) if len(shape) == 3 else found

    def _check_names(self, item: Item, *, reset: bool) -> None:
        assert item.channel_names is not None
        if reset:
            self.n_features_in_ = len(item.channel_names)
            self.feature_names_in_ = np.array(item.channel_names, dtype=object)
            return
        expected = tuple(getattr(self, "feature_names_in_", item.channel_names))
        if item.channel_names != expected or len(item.channel_names) != self.n_features_in_:
            lacking = [name for name in expected if name not in item.channel_names]
            what = f"lacks {', '.join(lacking[:4])}" if lacking else "has others, or another order"
            raise DataError(
                f"The data have {len(item.channel_names)} channels and {type(self).__name__} was fitted to "
                f"{self.n_features_in_}: this recording {what}; choose channels by picks."
            )

    def _rate_of(self, item: Item, *, reset: bool) -> float:
        stated: Any = self.sampling_frequency
        if item.sampling_frequency is None:
            known = None if reset else getattr(self, "sampling_frequency_", None)
            return float(stated or known or 1.0)
        if stated is not None and not np.isclose(stated, item.sampling_frequency):
            accepted = f"left out, or that of the recording ({item.sampling_frequency:g} Hz)"
            raise ConfigurationError("sampling_frequency", stated, accepted)
        return item.sampling_frequency

    # ------------------------------------------------------------------ scale of the training data

    def _learn_scale(self, blocks: Iterable[NDArray[np.float64]]) -> None:
        rows = np.concatenate(list(blocks))
        self.offset_, self.scale_ = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
        self.scale_[self.scale_ == 0] = 1.0

    def _scaled(self, item: Item) -> Item:
        if self.standardization != "training":
            return item
        blocks = [(block - self.offset_) / self.scale_ for block in item.blocks]
        return Item(**vars(item) | {"blocks": blocks})

    # ------------------------------------------------------------------ parameters

    @property
    def _family(self) -> Family:
        return get_family(self._family_name)

    def _plain_parameters(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in self.get_params(deep=False).items()}

    def _all_settings(self) -> dict[str, Any]:
        seed = {} if self.random_state is None else {"trainer.seed": seed_of(self.random_state)}
        return {"trainer.progress": bool(self.verbose), **seed, **(self.settings or {})}

    def _fitted_experiment(self) -> Experiment:
        check_is_fitted(self, "experiment_")
        return self.experiment_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    # ------------------------------------------------------------------ what it is

    def summary(self) -> str:
        """Describe the fitted model: its parameters, layer by layer."""
        return str(self._fitted_experiment().summary())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def seed_of(random_state: Any) -> int:
    """Seed of a run by the conventions of scikit-learn."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
