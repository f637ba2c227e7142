"""Settings of a dataset: how its subsets are redrawn, its channels embedded or conditioned. No torch here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from dynml.configuration import check_at_least, check_choice
from dynml.errors import ConfigurationError

CONDITIONING = ("dataset.conditioning_group", "dataset.conditioning_lead")
"""Settings that only some families have a use for."""


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which participants train, validate and test; nothing given: the store's own subsets.

    The settings apply one after another: `subsets`, then `folds`, then `n_training_subjects`. All subjects (sessions,
    runs) of a participant go together, but for folds of a store that is split by runs. From `conditioning_group` on:
    what is done to the channels when rows are read.
    """

    subsets: str | None = None
    """JSON file {"training": [...], "validation": [...], "testing": [...]} with names of participants or subjects.
    Those that stand nowhere are not used."""

    folds: int | None = None
    """Cut the participants of training and validation into so many balanced parts, or their runs where the store is
    split by runs. Testing stays as it is."""

    fold: int | None = None
    """Which part is held out for validation, from 0 to folds - 1."""

    held_out: Literal["validation", "testing", "nothing"] = "validation"
    """What held-out participants are for. testing: the fold is the only testing data and all others of training and
    validation train, so that nothing is chosen by it; nothing: those of validation train, too."""

    n_training_subjects: int | None = None
    """Keep so many participants, drawn by `seed`, for training; with one seed, fewer are always among more."""

    seed: int = 0
    """Draws the folds and the training participants. The run's own seed has no part in it."""

    conditioning_group: str | None = None
    """csm and decoding: a second group of the store (stimulus course, physiology, another modality) whose channels are
    laid beside the signals by time. A model is given them, and so are its baselines; csm does not predict them."""

    conditioning_lead: int = 0
    """Samples by which the second group is moved ahead. 0: csm predicts a sample from what was measured up to the one
    before it. 1: it also knows the second group at the predicted sample, as suits a course of stimuli. Below 0: it
    comes later."""

    n_embeddings: int | None = None
    """Put so many neighbouring samples side by side, an odd number, when rows are read; segments lose half of them at
    each end."""

    n_components: int | None = None
    """Project the channels, embedded if `n_embeddings` is given, onto so many principal components of the training
    subjects, fitted anew in each run."""

    whiten: bool = False
    """Divide each component by its standard deviation over the training subjects."""

    standardize_components: bool = False
    """Bring each component of each run to mean 0 and standard deviation 1, as a prepared store does by default."""

    cache_embedded: bool = False
    """Keep the embedded series in memory rather than the stored channels: faster to read, and larger."""

    def __post_init__(self) -> None:
        self._check_embedding()
        self._check_conditioning()
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

    def _check_conditioning(self) -> None:
        lead = self.conditioning_lead
        if not isinstance(lead, int) or isinstance(lead, bool):
            raise ConfigurationError("dataset.conditioning_lead", lead, "a whole number of samples")
        if lead and self.conditioning_group is None:
            accepted = "0 unless dataset.conditioning_group names a group"
            raise ConfigurationError("dataset.conditioning_lead", lead, accepted)
        if self.conditioning_group is not None and self.embeds:
            accepted = "absent where dataset.n_embeddings or dataset.n_components is given"
            raise ConfigurationError("dataset.conditioning_group", self.conditioning_group, accepted)

    def in_force(self) -> dict[str, Any]:
        """Plain values from which the config can be made again, without later settings that are not in use.

        So it reads the same as in runs that were begun before there were embeddings.
        """
        later = (
            *("n_embeddings", "n_components", "whiten", "standardize_components", "cache_embedded"),
            *("conditioning_group", "conditioning_lead"),
        )
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in later or value}
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
