"""Which spans make a batch, and in which order: a pure function of (seed, epoch).

A `Span` is a stretch of one segment of one subject: a window, a whole segment or a trial. The sampler holds no running
state: batch k of an epoch is the same whether the epoch was walked through or entered at k, so a run resumes exactly
at any step.
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dynml.batches.composition import (
    Composition,
    between,
    by_subjects,
    drawn_from_datasets,
    evenly_spread,
    in_order,
    one_after_another,
    shuffled_batches,
)
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.batches.trial_checks import check_training_trials, check_trials_are_named, warn_of_lost_trials
from dynml.batches.window_cutting import cut_random_lengths, cut_windows
from dynml.configuration import check_at_least, check_choice, check_instance, config_from
from dynml.dataset.dataset import MultiSubjectDataset, MultiSubjectSubset
from dynml.dataset.spans import SegmentTable, Span, Spans
from dynml.dataset.trials import TrialTable
from dynml.errors import ConfigurationError, DataError, DataWarning

__all__ = ["CONTEXTS", "BatchSampler", "BatchSamplerConfig", "SamplingReport", "Span", "Spans"]

CONTEXTS = ("training", "validation", "testing")
_WINDOWS_STREAM, _BATCHES_STREAM, _DRAWS_STREAM = 1, 2, 3


@dataclass(frozen=True)
class SamplingReport:
    """What an epoch takes of a subset, in counts."""

    n_spans: int
    n_batches: int
    n_segments: int
    n_segments_left_out: int
    n_samples: int
    n_samples_left_out: int
    n_batches_left_out: int = 0
    """By `max_validation_batches`."""


class BatchSampler:
    """Batches of spans for training, validation and testing.

    In training every span of an epoch comes once, in an order drawn from (seed, epoch). Random windows start at a
    random phase in every segment, so that borders move from epoch to epoch while no sample is in two windows. Whole
    segments counted in samples are packed with their neighbours, and the packs are shuffled: a pack of resident rows
    is then a view. Validation and testing: every span, in stored order, the same in every epoch (in validation, with
    `max_validation_batches`, those of so many batches); a range of lengths counts as its longest. Trials
    (`sampler.trials`) are the spans that events mark, the same in every epoch.

    With `draws_per_epoch` a training epoch is so many spans drawn from all: within a data set every span comes before
    one comes again, and `dataset_temperature` says how often each data set of a mixture has its turn.

    With `batches_per_epoch` epochs are stretches of so many batches, cut out of such passes laid end to end.

    Over several processes, batches are those that one process would make, and each process gets the spans of its own
    subjects: the same number of steps everywhere, and in some steps an empty list.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    config : BatchSamplerConfig, optional
        Or its fields as keywords.
    seed : int

    Raises
    ------
    ConfigurationError
        A setting that cannot be used, or a window or trial longer than every segment.
    DataError
        No training data, an unknown column of trials, or no training trials.

    Warns
    -----
    DataWarning
        When segments are too short to be used or trials reach beyond their segments, with their number.
    """

    def __init__(
        self,
        dataset: MultiSubjectDataset,
        config: BatchSamplerConfig | None = None,
        *,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if config is not None and settings:
            raise ConfigurationError("sampler", sorted(settings), "a config or single settings, not both")
        check_dataset("BatchSampler's dataset", dataset)
        if config is not None:
            check_instance("sampler.config", config, BatchSamplerConfig, "a BatchSamplerConfig")
        check_at_least("sampler.seed", seed, 0)
        self.dataset, self.seed = dataset, seed
        self.config = config if config is not None else config_from(BatchSamplerConfig, settings, "sampler")
        check_trials_are_named(self.config)
        self._plans: dict[str, tuple[int, NDArray[np.int64], Composition]] = {}
        self._pass: tuple[int, NDArray[np.int64], Composition] | None = None
        self._pass_borders = [0]
        self._checked: set[str] = set()
        self.context = "training"
        self.set_context("training")

    @property
    def strategy(self) -> str:
        """The strategy in force."""
        return self.config.resolved_strategy

    @property
    def subset(self) -> MultiSubjectSubset:
        """The subset of the context in force."""
        return self.dataset.subset(self.context)

    def set_context(self, context: Literal["training", "validation", "testing"]) -> None:
        """Choose the subset that `batches` draws from."""
        check_choice("context", context, CONTEXTS)
        self.context = context
        if context not in self._checked:
            if self.strategy == "trials":
                self._check_trials()
            else:
                self._check_segments()
            if context == "training":
                self._check_mixture()
            self._checked.add(context)

    @property
    def trials(self) -> TrialTable:
        """Trials of the context in force, which `Span.trial` counts in; only for the strategy trials."""
        assert self.config.trials is not None
        return self.subset.trials(self.config.trials, self.config.onset_shift, self.config.trial_length)

    def without_cap(self) -> BatchSampler:
        """Give this sampler without `max_validation_batches`, for scores of all of the data."""
        if self.config.max_validation_batches is None:
            return self
        uncapped = copy.copy(self)
        uncapped.config, uncapped._plans = dataclasses.replace(self.config, max_validation_batches=None), {}
        return uncapped

    def n_batches(self, epoch: int = 0) -> int:
        """Count the batches of an epoch (random phases let it vary a little between epochs)."""
        return len(self._plan(epoch)[1].borders) - 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Spans]:
        """Yield the batches of an epoch from number `start` on, each a sequence of `Span`.

        Parameters
        ----------
        epoch : int
            From 0. Without meaning in validation and testing.
        start : int
            How many batches are skipped; they cost nothing.
        """
        columns, composition = self._plan(epoch)
        order, is_own = composition.order, self.subset.is_own

        def batch(first: int, last: int) -> Spans:
            found = columns[:, order[first:last]]
            return Spans(np.ascontiguousarray(found[:, is_own[found[0]]]))

        return (batch(first, last) for first, last in itertools.pairwise(composition.borders[start:]))

    def passes(self, epoch: int, start: int = 0) -> Iterator[int]:
        """Number of the pass that each batch of `batches` is of, by which augmentation is keyed: the epoch's own.

        With `batches_per_epoch` a window may come in several passes of one epoch, and is augmented anew in each.
        """
        n_batches = self.config.batches_per_epoch
        if self.context != "training" or n_batches is None:
            return itertools.repeat(epoch)
        self._plan(epoch)
        positions = range(epoch * n_batches + start, (epoch + 1) * n_batches)
        return (bisect.bisect_right(self._pass_borders, position) - 1 for position in positions)

    def first_own_span(self, epoch: int) -> Span:
        """A span of this process, for a step in which its share of the batch is empty but all must take part."""
        columns, _ = self._plan(epoch)
        return Span(*columns[:, np.argmax(self.subset.is_own[columns[0]])].tolist())

    def is_oversized(self, spans: Sequence[Span], context: str | None = None) -> bool:
        """Whether a batch is one span with more samples than a batch of the context (default: in force) may have."""
        limit = self.config.batch_size(context or self.context)
        return self.config.batch_size_units == "nb_samples" and len(spans) == 1 and spans[0].length > limit

    def report(self, epoch: int = 0) -> SamplingReport:
        """How much of the subset an epoch uses."""
        columns, composition = self._plan(epoch)
        spans, segments = SegmentTable(*columns[:4, np.unique(composition.order)]), self.subset.segments
        used = np.unique(np.stack([spans.subject, spans.segment]), axis=1).shape[1]
        return SamplingReport(
            n_spans=len(composition.order),
            n_batches=len(composition.borders) - 1,
            n_segments=len(segments),
            n_segments_left_out=len(segments) - used,
            n_samples=segments.n_samples,
            n_samples_left_out=segments.n_samples - _samples_covered(spans),
            n_batches_left_out=composition.n_left_out,
        )

    def _check_trials(self) -> None:
        segments, length = self.subset.segments, self.config.trial_length
        if length is not None and len(segments) and length > segments.lengths.max():
            raise self._too_long("trial_length", length)
        if self.context == "training":
            check_training_trials(self.trials, self.subset, self.config)
        warn_of_lost_trials(self.trials, self.subset, self.context)

    def _check_mixture(self) -> None:
        names = self.subset.datasets if self.config.dataset_temperature is not None else []
        if names and len(set(names)) == 1:
            warnings.warn(
                f"sampler.dataset_temperature is {self.config.dataset_temperature}, but is not used: all training "
                "subjects are of one data set.",
                DataWarning,
                stacklevel=4,
            )

    def _too_long(self, setting: str, found: object) -> ConfigurationError:
        """Say how long a span of the context in force may be."""
        segments = self.subset.segments
        longest = int(np.argmax(segments.lengths))
        return ConfigurationError(
            f"sampler.{setting}",
            found,
            f"at most {segments.lengths[longest]}, the samples of the longest {self.context} segment (segment "
            f"{segments.segment[longest]} of {self.subset.subjects[segments.subject[longest]]})",
        )

    def _check_segments(self) -> None:
        segments, minimum = self.subset.segments, self._minimum_length()
        usable = segments.lengths >= (minimum or self._shortest_window())
        # Windows that do not move are those of scores and inference, which new data need no training subset for.
        if self.context == "training" and not len(segments) and self.strategy != "fixed_windows":
            raise DataError("The training subset has no samples in good segments.")
        if len(segments) and not usable.any():
            if minimum is None:
                raise self._too_long("window_length", self.config.window_length)
            raise self._too_long("minimum_length", minimum)
        if not usable.all():
            lost = segments.take(~usable)
            warnings.warn(
                f"{len(lost)} of {len(segments)} {self.context} segments ({lost.n_samples} of {segments.n_samples} "
                f"samples) are shorter than {minimum or self._shortest_window()} samples and are not used.",
                DataWarning,
                stacklevel=4,
            )

    def _shortest_window(self) -> int:
        bounds = self.config.window_bounds
        return 1 if bounds is None else bounds[0]

    def _minimum_length(self) -> int | None:
        if self.config.minimum_length is not None:
            return self.config.minimum_length
        return None if self.context == "training" else 1

    def _generator(self, stream: int, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, stream, epoch])))

    def _plan(self, epoch: int) -> tuple[NDArray[np.int64], Composition]:
        """All spans of an epoch as the columns of `Spans`, and which of them make each batch."""
        epoch = epoch if self.context == "training" else 0
        if self.context not in self._plans or self._plans[self.context][0] != epoch:
            is_stretch = self.context == "training" and self.config.batches_per_epoch is not None
            self._plans[self.context] = (epoch, *(self._stretch(epoch) if is_stretch else self._one_pass(epoch)))
        return self._plans[self.context][1:]

    def _one_pass(self, number: int) -> tuple[NDArray[np.int64], Composition]:
        spans = self._cut(number)
        return self._columns(spans), self._compose(spans, number)

    def _training_pass(self, number: int) -> tuple[NDArray[np.int64], Composition]:
        """Spans and batches of a training pass, of which the last one is kept: epochs shorter than it share it."""
        if self._pass is None or self._pass[0] != number:
            self._pass = (number, *self._one_pass(number))
        return self._pass[1:]

    def _stretch(self, epoch: int) -> tuple[NDArray[np.int64], Composition]:
        """As `_plan`, for `batches_per_epoch`: batches of as many passes as the epoch reaches over."""
        n_batches = self.config.batches_per_epoch
        assert n_batches is not None
        first, last = epoch * n_batches, (epoch + 1) * n_batches
        while self._pass_borders[-1] < last:
            # Passes differ a little in their batches, so that where one begins is known once those before are cut.
            number = len(self._pass_borders) - 1
            self._pass_borders.append(self._pass_borders[-1] + len(self._training_pass(number)[1].borders) - 1)
        columns, pieces = [], []
        for number in range(bisect.bisect_right(self._pass_borders, first) - 1, len(self._pass_borders) - 1):
            begin, end = self._pass_borders[number : number + 2]
            if begin < last:
                spans, composition = self._training_pass(number)
                columns.append(spans)
                pieces.append(between(composition, max(first - begin, 0), min(last, end) - begin))
        if len(pieces) == 1:
            return columns[0], pieces[0]
        return np.concatenate(columns, axis=1), one_after_another(pieces, [spans.shape[1] for spans in columns])

    def _cut(self, epoch: int) -> SegmentTable:
        if self.strategy == "trials":
            return self.trials.spans
        segments, bounds, minimum = self.subset.segments, self.config.window_bounds, self._minimum_length()
        if bounds is None:
            return segments.take(segments.lengths >= (minimum or 1))
        shortest, longest = bounds
        if self.context != "training" or self.strategy == "fixed_windows":
            return cut_windows(segments, longest, self.config.step or longest + self.config.gap, 0, minimum)
        generator = self._generator(_WINDOWS_STREAM, epoch)
        period = self.config.step or shortest + self.config.gap
        highest_phases = np.clip(segments.lengths - shortest, 0, period - 1)
        phases = generator.integers(0, highest_phases, endpoint=True)
        if shortest == longest:
            return cut_windows(segments, longest, period, phases, minimum)
        return cut_random_lengths(segments, shortest, longest, self.config.gap, phases, minimum, generator)

    def _compose(self, spans: SegmentTable, epoch: int) -> Composition:
        in_samples = self.config.batch_size_units == "nb_samples"
        costs = spans.lengths if in_samples else np.ones(len(spans), np.int64)
        budget = self.config.batch_size(self.context)
        stored_order = np.arange(len(spans), dtype=np.int64)
        if self.context != "training":
            return self._capped(in_order(stored_order, costs, budget))
        drawn = self._drawn(spans, epoch)
        chosen = stored_order if drawn is None else drawn
        generator = self._generator(_BATCHES_STREAM, epoch)
        if self.config.nb_subjects_per_batch is not None:
            n_subjects, cycles = self.config.nb_subjects_per_batch, self.config.cycles or 1
            dealt = by_subjects(spans.subject[chosen], costs[chosen], budget, n_subjects, cycles, generator)
            return Composition(chosen[dealt.order], dealt.borders)
        if in_samples and self.strategy == "whole_segments":
            return shuffled_batches(in_order(np.sort(chosen), costs, budget), generator)
        return in_order(generator.permutation(len(spans)) if drawn is None else drawn, costs, budget)

    def _capped(self, composition: Composition) -> Composition:
        n_most = self.config.max_validation_batches if self.context == "validation" else None
        return composition if n_most is None else evenly_spread(composition, n_most)

    def _drawn(self, spans: SegmentTable, epoch: int) -> NDArray[np.int64] | None:
        """Spans of an epoch of draws, in random order; None where every span comes once."""
        if self.config.draws_per_epoch is None:
            return None
        _, dataset_of_subject = np.unique(self.subset.datasets, return_inverse=True)
        return drawn_from_datasets(
            dataset_of_subject[spans.subject],
            self.config.draws_per_epoch,
            self.config.dataset_temperature or 1.0,
            self._generator(_DRAWS_STREAM, epoch),
        )

    def _columns(self, spans: SegmentTable) -> NDArray[np.int64]:
        if self.strategy == "trials":
            trial, label = np.arange(len(spans)), self.trials.label
        else:
            trial = label = np.full(len(spans), -1)
        return np.stack([spans.subject, spans.segment, spans.start, spans.stop, trial, label])


def _samples_covered(spans: SegmentTable) -> int:
    """Count the samples in at least one span."""
    if not len(spans):
        return 0
    spans = spans.take(np.lexsort((spans.start, spans.segment, spans.subject)))
    # Moved apart by more than any segment reaches, all segments lie on one line.
    is_new = (np.diff(spans.subject, prepend=-1) != 0) | (np.diff(spans.segment, prepend=-1) != 0)
    origin = np.cumsum(is_new) * spans.stop.max()
    starts, stops = spans.start + origin, spans.stop + origin
    covered_before = np.concatenate([[0], np.maximum.accumulate(stops)[:-1]])
    return int(np.maximum(stops - np.maximum(starts, covered_before), 0).sum())


def check_dataset(key: str, dataset: object) -> None:
    """Refuse what is no dataset (a path, arrays, a model) where one is asked for."""
    if not callable(getattr(dataset, "subset", None)):
        made_by = "MultiSubjectDataset(path) for a store, MultiSubjectDataset.from_arrays for arrays"
        check_instance(key, dataset, MultiSubjectDataset, f"a MultiSubjectDataset: {made_by}")
