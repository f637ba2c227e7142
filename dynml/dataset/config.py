"""Settings of a dataset: how its subsets are redrawn and its channels embedded without a new store. No torch here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from dynml.configuration import check_at_least, check_choice
from dynml.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Division into subsets, and embedding of channels; by default as in the store.

    The settings apply one after another: `subsets`, then `folds`, then `n_training_subjects`. All subjects (sessions,
    runs) of a participant go together, but for folds of a store that is split by runs. From `n_embeddings` on: what is
    done to the channels when rows are read.
    """

    subsets: str | None = None
    """JSON file {"training": [...], "validation": [...], "testing": [...]} with names of participants or subjects.
    Those that are not listed are not used."""

    folds: int | None = None
    """Number of balanced folds of the participants of training and validation (of their runs where the store is split
    by runs). The testing subset stays as it is."""

    fold: int | None = None
    """Fold that is held out for validation, from 0 to folds - 1."""

    held_out: Literal["validation", "testing", "nothing"] = "validation"
    """Use of the held-out participants. validation: they validate. testing: the fold is the only testing data, and all
    others of training and validation train, so that the fold has no influence on the model. nothing: there are no
    folds, and the participants of validation train, too."""

    n_training_subjects: int | None = None
    """Number of participants kept for training, drawn by `seed`; smaller draws by one seed are part of larger ones."""

    seed: int = 0
    """Seed of the folds and of the draw of training participants, independent of trainer.seed."""

    n_embeddings: int | None = None
    """Number (odd) of neighbouring samples in the time-delay embedding. Rows are embedded when they are read; segments
    lose half of them at each end."""

    n_components: int | None = None
    """Number of principal components onto which channels are projected. They are those of the training subjects, after
    embedding if `n_embeddings` is given, and fitted anew in each run."""

    whiten: bool = False
    """Divide each component by its standard deviation over the training subjects."""

    standardize_components: bool = False
    """Standardize each component of each run to mean 0 and standard deviation 1, as a prepared store does by
    default."""

    cache_embedded: bool = False
    """Keep the embedded time series in memory instead of the stored channels: faster, but it needs more memory."""

    def __post_init__(self) -> None:
        self._check_embedding()
        check_at_least("dataset.seed", self.seed, 0)
        check_at_least("dataset.folds", self.folds, 2, optional=True)
        check_at_least("dataset.n_training_subjects", self.n_training_subjects, 1, optional=True)
        check_choice("dataset.held_out", self.held_out, ("validation", "testing", "nothing"))
        if self.held_out == ("testing" if self.folds is None else "nothing"):
            accepted = "validation or testing where dataset.folds is given, and validation or nothing where it is not"
            raise ConfigurationError("dataset.held_out", self.held_out, accepted)
        if self.folds is None and self.fold is not None:
            raise ConfigurationError("dataset.fold", self.fold, "absent unless dataset.folds is given")
        if self.folds is not None:
            is_number = isinstance(self.fold, int) and not isinstance(self.fold, bool)
            if not is_number or not 0 <= self.fold < self.folds:  # type: ignore[operator]
                raise ConfigurationError("dataset.fold", self.fold, f"a whole number from 0 to {self.folds - 1}")

    def _check_embedding(self) -> None:
        n_embeddings = self.n_embeddings
        if n_embeddings is not None:
            is_number = isinstance(n_embeddings, int) and not isinstance(n_embeddings, bool)
            if not is_number or n_embeddings < 3 or n_embeddings % 2 == 0:
                raise ConfigurationError("dataset.n_embeddings", n_embeddings, "an odd whole number of at least 3")
        check_at_least("dataset.n_components", self.n_components, 1, optional=True)
        either = ("n_components", "n_embeddings")
        needs = {"whiten": either[:1], "standardize_components": either[:1], "cache_embedded": either}
        for name, needed in needs.items():
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigurationError(f"dataset.{name}", value, "true or false")
            if value and all(getattr(self, one) is None for one in needed):
                named = " or ".join(f"dataset.{one}" for one in needed)
                raise ConfigurationError(f"dataset.{name}", value, f"false unless {named} is given")
        if self.whiten and self.standardize_components:
            accepted = "false where dataset.standardize_components is true, which makes it of no effect"
            raise ConfigurationError("dataset.whiten", True, accepted)

    def in_force(self) -> dict[str, Any]:
        """Plain values from which the config can be made again, without later settings that are not in use.

        So it reads the same as in runs that were begun before there were embeddings.
        """
        embedding = ("n_embeddings", "n_components", "whiten", "standardize_components", "cache_embedded")
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in embedding or value}
        if self.held_out == "validation":
            del values["held_out"]
        return values

    @property
    def embeds(self) -> bool:
        """Whether channels are embedded or projected when rows are read."""
        return self.n_embeddings is not None or self.n_components is not None

    @property
    def redraws(self) -> bool:
        """Whether anything but the store's own subsets is asked for."""
        drawn = any(value is not None for value in (self.subsets, self.folds, self.n_training_subjects))
        return drawn or self.held_out != "validation"
