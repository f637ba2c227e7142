"""Settings of a dataset: how its subsets are redrawn, its channels embedded or conditioned. No torch here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from dynml.configuration import check_at_least, check_choice, check_texts
from dynml.errors import ConfigurationError

SUBSETS_BY_DATASET = ("testing", "validation", "training")
"""Subsets in the order in which participants of each data set are drawn for them."""

FURTHER_GROUPS = "dataset.further_groups"
CONDITIONING = ("dataset.conditioning_group", "dataset.conditioning_lead", FURTHER_GROUPS)
"""Settings that only some families have a use for: other groups beside the first one."""


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Division into subsets, and embedding of channels; by default as in the store.

    The settings apply one after another: `subsets`, then `folds`, then numbers of participants by data set, then
    `n_training_subjects`. All subjects (sessions, runs) of a participant go together, but for folds of a store that is
    split by runs. From `further_groups` on: what is done to the channels when rows are read.
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

    n_testing_subjects_per_dataset: int | None = None
    """Number of testing participants of each data set, drawn by `seed` from its testing participants, or from its
    training participants where it has none. Testing participants that are not drawn are not used."""

    n_validation_subjects_per_dataset: int | None = None
    """The same for validation, drawn after the testing participants."""

    n_training_subjects_per_dataset: int | None = None
    """Number of participants of each data set kept for training, drawn by `seed` after the other two."""

    seed: int = 0
    """Seed of the folds and of the draws of participants, independent of trainer.seed."""

    further_groups: list[str] | None = None
    """Sequence models: further groups of the store with channels of their own (other montages, atlases or
    modalities) that the model is trained on beside the first one; needs model.channel_embedding."""

    conditioning_group: str | None = None
    """csm and decoding: a second group of the store (stimulus course, physiology, another modality) whose channels are
    laid beside the signals by time. A model is given them, and so are its baselines; csm does not predict them."""

    conditioning_lead: int = 0
    """Samples by which the second group is moved ahead. 0: csm predicts a sample from what was measured up to the one
    before it. 1: it also knows the second group at the predicted sample, as suits a course of stimuli. Below 0: it
    comes later."""

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
        self._check_conditioning()
        self._check_further_groups()
        check_at_least("dataset.seed", self.seed, 0)
        check_at_least("dataset.folds", self.folds, 2, optional=True)
        check_at_least("dataset.n_training_subjects", self.n_training_subjects, 1, optional=True)
        for subset in SUBSETS_BY_DATASET:
            check_at_least(f"dataset.{key_by_dataset(subset)}", self.n_by_dataset(subset), 1, optional=True)
        if self.n_training_subjects is not None and self.n_training_subjects_per_dataset is not None:
            accepted = "absent where dataset.n_training_subjects_per_dataset is given"
            raise ConfigurationError("dataset.n_training_subjects", self.n_training_subjects, accepted)
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

    def _check_further_groups(self) -> None:
        if self.further_groups is None:
            return
        check_texts("dataset.further_groups", self.further_groups)
        if not self.further_groups:
            raise ConfigurationError("dataset.further_groups", [], "null, or a list of at least one group")
        for name, is_given in (
            ("dataset.conditioning_group", self.conditioning_group is not None),
            ("dataset.n_embeddings or dataset.n_components", self.embeds),
        ):
            if is_given:
                raise ConfigurationError("dataset.further_groups", self.further_groups, f"null where {name} is given")

    def __hash__(self) -> int:
        # By its text, since a list has no hash.
        return hash(repr(self))

    def in_force(self) -> dict[str, Any]:
        """Plain values from which the config can be made again, without later settings that are not in use.

        So it reads the same as in runs that were begun before there were these settings.
        """
        later: tuple[str, ...] = ("n_embeddings", "n_components", "whiten", "standardize_components", "cache_embedded")
        later += ("further_groups", "conditioning_group", "conditioning_lead")
        later += tuple(key_by_dataset(subset) for subset in SUBSETS_BY_DATASET)
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in later or value}
        if self.held_out == "validation":
            del values["held_out"]
        return values

    @property
    def embeds(self) -> bool:
        """Whether channels are embedded or projected when rows are read."""
        return self.n_embeddings is not None or self.n_components is not None

    @property
    def shortest_segment(self) -> int:
        """Samples that a segment must have to be embedded."""
        return (self.n_embeddings or 1) + 1

    @property
    def redraws(self) -> bool:
        """Whether anything but the store's own subsets is asked for."""
        drawn = any(value is not None for value in (self.subsets, self.folds, self.n_training_subjects))
        return drawn or self.draws_by_dataset or self.held_out != "validation"

    @property
    def draws_by_dataset(self) -> bool:
        """Whether participants of each data set are drawn."""
        return any(self.n_by_dataset(subset) is not None for subset in SUBSETS_BY_DATASET)

    def n_by_dataset(self, subset: str) -> int | None:
        """Participants of each data set that are asked for in a subset."""
        number: int | None = getattr(self, key_by_dataset(subset))
        return number


def key_by_dataset(subset: str) -> str:
    """Name of the setting that says how many participants of each data set a subset has."""
    return f"n_{subset}_subjects_per_dataset"
