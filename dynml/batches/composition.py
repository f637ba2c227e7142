"""Spans dealt out to batches: which ones go together, up to a budget of spans or samples.

A composition is `order`, the spans' indices batch after batch, and `borders`, where each batch starts in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Composition:
    """Batches as slices of an order.

    Parameters
    ----------
    order : (n,) int64
        Every span's index, once; or the spans of an epoch of draws.
    borders : (n_batches + 1,) int64
        Batch b holds order[borders[b]:borders[b + 1]].
    n_left_out : int
        Batches that there are beside these.
    """

    order: NDArray[np.int64]
    borders: NDArray[np.int64]
    n_left_out: int = 0


def in_order(order: NDArray[np.int64], costs: NDArray[np.int64], budget: int) -> Composition:
    """Fill batches one after another in the given order.

    Parameters
    ----------
    order : (n,) int64
        Indices of spans.
    costs : (n_spans,) int64
        What each span takes of the budget (1, or its samples).
    budget : int
        No batch goes above it, except a single span that is above it by itself.
    """
    cumulative = np.concatenate([[0], np.cumsum(costs[order])])
    borders = [0]
    while borders[-1] < len(order):
        reached = int(np.searchsorted(cumulative, cumulative[borders[-1]] + budget, side="right")) - 1
        borders.append(max(reached, borders[-1] + 1))
    return Composition(order, np.array(borders, np.int64))


def evenly_spread(composition: Composition, n_most: int) -> Composition:
    """Keep at most so many batches, in their order: each from the middle of an equal share of all."""
    n_batches = len(composition.borders) - 1
    if n_batches <= n_most:
        return composition
    kept = (2 * np.arange(n_most, dtype=np.int64) + 1) * n_batches // (2 * n_most)
    starts, stops = composition.borders[kept], composition.borders[kept + 1]
    pieces = [composition.order[start:stop] for start, stop in zip(starts, stops)]
    borders = np.concatenate([[0], np.cumsum(stops - starts)])
    return Composition(np.concatenate(pieces), borders, n_batches - n_most)


def between(composition: Composition, first: int, last: int) -> Composition:
    """Keep the batches from number `first` to before number `last`."""
    borders = composition.borders[first : last + 1]
    return Composition(composition.order[borders[0] : borders[-1]], borders - borders[0])


def one_after_another(compositions: Sequence[Composition], n_spans: Sequence[int]) -> Composition:
    """Put batches of several lists of spans one after another, whose spans are counted on from list to list.

    Parameters
    ----------
    compositions : sequence of Composition
    n_spans : sequence of int
        Spans of each list.
    """
    offsets = np.concatenate([[0], np.cumsum(n_spans[:-1], dtype=np.int64)])
    order = np.concatenate([one.order + offset for one, offset in zip(compositions, offsets)])
    sizes = np.concatenate([np.diff(one.borders) for one in compositions])
    return Composition(order, np.concatenate([[0], np.cumsum(sizes)]))


def shuffled_batches(composition: Composition, generator: np.random.Generator) -> Composition:
    """Put the same batches in random order."""
    batches = np.split(composition.order, composition.borders[1:-1])
    pieces = [batches[index] for index in generator.permutation(len(composition.borders) - 1)]
    borders = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)])
    return Composition(np.concatenate([composition.order[:0], *pieces]), borders)


def drawn_from_datasets(
    datasets: NDArray[Any], n_draws: int, temperature: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw spans of several data sets.

    A data set's probability is in proportion to the number of its spans to the power 1 / `temperature`. Shares keep to
    these probabilities as closely as whole numbers can: of every data set the expected number is drawn, rounded up or
    down (systematic sampling). Within a data set all spans come before one comes again.

    Parameters
    ----------
    datasets : (n_spans,)
        The data set of every span, by name or number.
    n_draws : int
    temperature : float
        Above 0. 1: in proportion; large: equal shares.
    generator : numpy.random.Generator

    Returns
    -------
    (n_draws,) int64
        Indices of spans, in random order.
    """
    _, dataset, counts = np.unique(datasets, return_inverse=True, return_counts=True)
    weights = (counts / counts.max()) ** (1 / temperature)
    reached = np.cumsum(weights) / weights.sum() * n_draws
    reached[-1] = n_draws
    n_drawn = np.diff(np.floor(reached + generator.random()), prepend=0).astype(np.int64)
    order = generator.permutation(np.repeat(np.arange(len(counts)), n_drawn))
    drawn = np.empty(n_draws, dtype=np.int64)
    for number, (count, n_of_dataset) in enumerate(zip(counts.tolist(), n_drawn.tolist())):
        members = np.flatnonzero(dataset == number)
        rounds = [members[generator.permutation(count)] for _ in range(-(-n_of_dataset // count))]
        drawn[order == number] = np.concatenate([members[:0], *rounds])[:n_of_dataset]
    return drawn


def by_subjects(
    subjects: NDArray[np.int64],
    costs: NDArray[np.int64],
    budget: int,
    n_subjects_per_batch: int,
    cycles: int,
    generator: np.random.Generator,
) -> Composition:
    """Batches of few subjects each, the same ones for `cycles` batches.

    Subjects are drawn with a probability in proportion to what they have left. Each gives an even part of the budget;
    what one cannot give any more the others of the batch do, and when all of them have run dry another is drawn, so
    that only the last batch of an epoch falls short of its size.

    Parameters
    ----------
    subjects : (n_spans,) int64
        Whose span each is.
    costs, budget
        As in `in_order`.
    n_subjects_per_batch, cycles : int
        How many subjects are drawn, and for how many batches they stay.
    generator : numpy.random.Generator
        Draws the spans' order and the subjects.
    """
    queues = _Queues.of(subjects, costs, generator)
    batches: list[NDArray[np.int64]] = []
    while queues.any_left:
        chosen = queues.draw(n_subjects_per_batch, generator)
        for _ in range(cycles):
            chosen = [subject for subject in chosen if queues.left(subject)]
            if not chosen:
                break
            batches.append(_fill(queues, chosen, budget, generator))
    borders = np.concatenate([[0], np.cumsum([len(batch) for batch in batches], dtype=np.int64)])
    return Composition(np.concatenate([queues.order[:0], *batches]), borders)


def _fill(queues: _Queues, chosen: list[int], budget: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Take one batch from the chosen subjects, drawing others (appended to `chosen`) only when all have run dry."""
    taken: list[NDArray[np.int64]] = []
    room, givers = budget, list(chosen)
    while room > 0:
        givers = [subject for subject in givers if queues.left(subject) and queues.next_cost(subject) <= room]
        for position, subject in enumerate(givers):
            next_cost = queues.next_cost(subject)
            if next_cost <= room:
                even_share = -(-room // (len(givers) - position))
                spans, cost = queues.take(subject, max(even_share, next_cost))
                taken.append(spans)
                room -= cost
        if not givers:
            if not queues.any_left or any(queues.left(subject) for subject in chosen):
                break
            givers = queues.draw(1, generator)
            chosen.extend(givers)
    if not taken:
        taken.append(queues.take_one(next(subject for subject in chosen if queues.left(subject))))
    return np.concatenate(taken)


@dataclass
class _Queues:
    """The spans that each subject still has to give, in random order."""

    order: NDArray[np.int64]
    cumulative: NDArray[np.int64]
    cursors: NDArray[np.int64]
    ends: NDArray[np.int64]
    n_left: int = field(default=0)

    @classmethod
    def of(cls, subjects: NDArray[np.int64], costs: NDArray[np.int64], generator: np.random.Generator) -> _Queues:
        order = generator.permutation(len(subjects))
        order = order[np.argsort(subjects[order], kind="stable")]
        counts = np.bincount(subjects)
        ends = np.cumsum(counts)
        return cls(order, np.concatenate([[0], np.cumsum(costs[order])]), ends - counts, ends, len(subjects))

    @property
    def any_left(self) -> bool:
        return self.n_left > 0

    def left(self, subject: int) -> int:
        return int(self.ends[subject] - self.cursors[subject])

    def next_cost(self, subject: int) -> int:
        cursor = self.cursors[subject]
        return int(self.cumulative[cursor + 1] - self.cumulative[cursor])

    def draw(self, n_subjects: int, generator: np.random.Generator) -> list[int]:
        """Subjects without replacement, in proportion to the spans they have left: the first of exponential clocks."""
        candidates = np.flatnonzero(self.ends > self.cursors)
        rates = (self.ends - self.cursors)[candidates]
        clocks = generator.exponential(size=len(candidates)) / rates
        return [int(candidates[index]) for index in np.argsort(clocks, kind="stable")[:n_subjects]]

    def take(self, subject: int, budget: int) -> tuple[NDArray[np.int64], int]:
        """Take the next spans of a subject whose costs together stay within `budget`; give them and their cost."""
        cursor, end = int(self.cursors[subject]), int(self.ends[subject])
        reach = np.searchsorted(self.cumulative[cursor : end + 1], self.cumulative[cursor] + budget, side="right")
        stop = cursor + int(reach) - 1
        return self._advance(subject, stop), int(self.cumulative[stop] - self.cumulative[cursor])

    def take_one(self, subject: int) -> NDArray[np.int64]:
        """Take the next span of a subject, whatever it costs."""
        return self._advance(subject, int(self.cursors[subject]) + 1)

    def _advance(self, subject: int, stop: int) -> NDArray[np.int64]:
        spans = self.order[self.cursors[subject] : stop]
        self.n_left -= len(spans)
        self.cursors[subject] = stop
        return spans
