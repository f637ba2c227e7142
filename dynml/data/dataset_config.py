"""Settings of a dataset: how its subsets are redrawn without a new store. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which participants train, validate and test; nothing given: the store's own subsets.

    The settings apply one after another: `subsets`, then `folds`, then `n_training_subjects`. All subjects (sessions,
    runs) of a participant go together.
    """

    subsets: str | None = None
    """JSON file {"training": [...], "validation": [...], "testing": [...]} with names of participants or subjects.
    Those that stand nowhere are not used."""

    folds: int | None = None
    """Cut the participants of training and validation into so many balanced parts. Testing stays as it is."""

    fold: int | None = None
    """Which part is held out for validation, from 0 to folds - 1."""

    n_training_subjects: int | None = None
    """Keep so many participants, drawn by `seed`, for training; with one seed, fewer are always among more."""

    seed: int = 0
    """Draws the folds and the training participants. The run's own seed has no part in it."""

    def __post_init__(self) -> None:
        check_at_least("dataset.seed", self.seed, 0)
        check_at_least("dataset.folds", self.folds, 2, optional=True)
        check_at_least("dataset.n_training_subjects", self.n_training_subjects, 1, optional=True)
        if self.folds is None and self.fold is not None:
            raise ConfigurationError("dataset.fold", self.fold, "absent unless dataset.folds is given")
        if self.folds is not None:
            is_number = isinstance(self.fold, int) and not isinstance(self.fold, bool)
            if not is_number or not 0 <= self.fold < self.folds:  # type: ignore[operator]
                raise ConfigurationError("dataset.fold", self.fold, f"a whole number from 0 to {self.folds - 1}")

    @property
    def redraws(self) -> bool:
        """Whether anything but the store's own subsets is asked for."""
        return any(value is not None for value in (self.subsets, self.folds, self.n_training_subjects))
