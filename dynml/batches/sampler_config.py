"""Settings of the sampler: which windows make a batch. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice, check_positive
from dynml.errors import ConfigurationError

STRATEGIES = ("random_windows", "fixed_windows", "whole_segments", "trials")


@dataclass(frozen=True, kw_only=True)
class BatchSamplerConfig:
    """How windows are cut, ordered and grouped into batches."""

    strategy: Literal["random_windows", "fixed_windows", "whole_segments", "trials"] | None = None
    """random_windows: segments are cut at different positions in every epoch. fixed_windows: always at the same
    positions. whole_segments: no cuts. trials: windows marked by events. null: trials if sampler.trials is given,
    random_windows if there is a window_length, else whole_segments."""

    window_length: int | list[int] | None = None
    """Samples of a window, or [shortest, longest] (on the command line also 10,50), between which the length of every
    random window is drawn."""

    step: int | None = None
    """Samples from the start of one window to the start of the next; null: window_length + gap. Below window_length,
    windows overlap and samples occur several times in an epoch."""

    gap: int = 0
    """Samples left out between windows."""

    minimum_length: int | None = None
    """Minimum length in samples of a span that is shorter than a window: a short segment, or the end of a segment.
    null: in training whole windows only; in validation and testing every end, so that all samples count."""

    trials: str | None = None
    """Column of the events whose labels define trials; events without a label are not used."""

    onset_shift: float = 0.0
    """Seconds from the onset of an event to the start of its trial, for example for a haemodynamic delay."""

    trial_length: int | None = None
    """Samples of a trial; null: the event's duration. A trial that extends beyond its segment is cut there if at least
    half of it remains, and left out otherwise."""

    batch_size_training: int = 64
    """Windows (or samples, see `batch_size_units`) in a training batch, over all processes."""

    batch_size_validation: int | None = None
    """Windows (or samples) in a validation or testing batch; null: as in training."""

    max_validation_batches: int | None = None
    """Maximum number of validation batches, evenly spread over all and the same in every epoch; null: all."""

    batch_size_units: Literal["nb_windows", "nb_samples"] = "nb_windows"
    """Unit of `batch_size_*`. With nb_samples, a span longer than that is a batch of its own."""

    nb_subjects_per_batch: int | None = None
    """Draw the windows of a training batch from this number of subjects only; null: from all."""

    cycles: int | None = None
    """Keep the drawn subjects for this number of batches (less reading of large data); null: 1."""

    draws_per_epoch: int | None = None
    """Number of windows drawn for one training epoch; null: every window once."""

    batches_per_epoch: int | None = None
    """End a training epoch after so many batches (steps); the next one goes on where it stopped, so that all windows
    come once before one comes again. Validation, the best model and patience count these epochs. null: an epoch is one
    pass over all windows (draws)."""

    dataset_temperature: float | None = None
    """Draw from each data set with a probability proportional to its number of windows to the power 1 /
    dataset_temperature: large values give all data sets the same share; null: 1, in proportion."""

    def __post_init__(self) -> None:
        if self.strategy is not None:
            check_choice("sampler.strategy", self.strategy, STRATEGIES)
        check_choice("sampler.batch_size_units", self.batch_size_units, ("nb_windows", "nb_samples"))
        check_at_least("sampler.gap", self.gap, 0)
        check_at_least("sampler.batch_size_training", self.batch_size_training, 1)
        for name in (
            "step",
            "minimum_length",
            "batch_size_validation",
            "max_validation_batches",
            "nb_subjects_per_batch",
            "cycles",
            "batches_per_epoch",
        ):
            check_at_least(f"sampler.{name}", getattr(self, name), 1, optional=True)
        self._check_trials()
        self._check_window()
        self._check_draws()
        if self.cycles is not None and self.nb_subjects_per_batch is None:
            raise ConfigurationError("sampler.cycles", self.cycles, "absent unless nb_subjects_per_batch is given")

    def _check_trials(self) -> None:
        # That trials are named is for the sampler to check: a family may fill them in once all settings are read.
        check_at_least("sampler.trial_length", self.trial_length, 1, optional=True)
        shift = self.onset_shift
        if not isinstance(shift, (int, float)) or isinstance(shift, bool) or not math.isfinite(shift):
            raise ConfigurationError("sampler.onset_shift", shift, "a number of seconds")
        if self.trials is not None and (not isinstance(self.trials, str) or not self.trials):
            raise ConfigurationError("sampler.trials", self.trials, "the name of a column of the events")
        if self.resolved_strategy != "trials":
            if self.trials is not None:
                raise ConfigurationError("sampler.strategy", self.strategy, "trials where sampler.trials is given")
            return
        for name in ("window_length", "step", "gap", "minimum_length"):
            if getattr(self, name):
                raise ConfigurationError(f"sampler.{name}", getattr(self, name), "absent for trials")

    def _check_draws(self) -> None:
        check_at_least("sampler.draws_per_epoch", self.draws_per_epoch, 1, optional=True)
        check_positive("sampler.dataset_temperature", self.dataset_temperature, optional=True)
        if self.dataset_temperature is not None and self.draws_per_epoch is None:
            accepted = "absent unless draws_per_epoch is given"
            raise ConfigurationError("sampler.dataset_temperature", self.dataset_temperature, accepted)

    def _check_window(self) -> None:
        bounds = self.window_bounds
        if bounds is None:
            for name in ("step", "gap"):
                if getattr(self, name):
                    raise ConfigurationError(f"sampler.{name}", getattr(self, name), "absent for whole segments")
            return
        shortest, longest = bounds
        if shortest != longest and (self.step is not None or self.strategy == "fixed_windows"):
            raise ConfigurationError(
                "sampler.window_length", self.window_length, "one number when step is given or windows are fixed"
            )
        if self.step is not None and self.gap:
            raise ConfigurationError("sampler.gap", self.gap, "absent when step is given")
        if self.minimum_length is not None and self.minimum_length > shortest:
            raise ConfigurationError("sampler.minimum_length", self.minimum_length, f"at most a window ({shortest})")

    @property
    def resolved_strategy(self) -> str:
        """The strategy in force."""
        if self.strategy is not None:
            return self.strategy
        if self.trials is not None:
            return "trials"
        return "whole_segments" if self.window_length is None else "random_windows"

    @property
    def window_bounds(self) -> tuple[int, int] | None:
        """Shortest and longest window in samples, None for whole segments and trials.

        Raises
        ------
        ConfigurationError
            When the length does not suit the strategy or is no length.
        """
        whole, length = self.resolved_strategy in ("whole_segments", "trials"), self.window_length
        if whole != (length is None):
            accepted = f"absent for {self.resolved_strategy}" if whole else f"a number of samples for {self.strategy}"
            raise ConfigurationError("sampler.window_length", length, accepted)
        if length is None:
            return None
        bounds = list(length) if isinstance(length, Sequence) else [length, length]
        numbers = all(isinstance(bound, int) and not isinstance(bound, bool) and bound >= 1 for bound in bounds)
        if len(bounds) != 2 or not numbers or bounds[0] > bounds[1]:
            accepted = "a whole number of at least 1, or [shortest, longest]"
            raise ConfigurationError("sampler.window_length", length, accepted)
        return bounds[0], bounds[1]

    def batch_size(self, context: str) -> int:
        """Windows or samples of a batch in a context."""
        if context == "training" or self.batch_size_validation is None:
            return self.batch_size_training
        return self.batch_size_validation
