"""What baselines are fitted to: passes over the training subset, segment by segment, in float64.

Nothing is ever taken across the border of a segment or across masked samples, and no more than a chunk of rows is held
in float64 at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.batches.whole_segments import SegmentPasses
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import DataError
from dynml.ops.linear_prediction import Halves, WindowMoments
from dynml.stretches import stretches_of
from dynml.training.processes import Processes

CHUNK_ROWS = 2**14
WINDOWS_STREAM = 15
_LEAST_SHARE_OF_WINDOWS = 0.25
_SHARE_OF_MEAN = 1e-9
"""A standard deviation below this share of the mean is rounding: the channel is constant."""


class TrainingPasses:
    """Moments of the training subset, the same in all processes.

    Penalties are chosen on one half of the data after a fit to the other. Halves are made of participants; of runs
    where there is only one participant, or the participants of a half have no segment that is long enough; of the
    first and the second half of each segment where runs do not do either. Masked samples divide a segment, but do not
    move its halves.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    processes : Processes
    seed : int
        Of what is drawn.
    montage : int, optional
        Only the subjects and channels of one montage, where there are several.
    """

    def __init__(
        self, dataset: MultiSubjectDataset, processes: Processes, seed: int = 0, montage: int | None = None
    ) -> None:
        self.dataset, self.processes, self.seed = dataset, processes, seed
        self._passes = SegmentPasses(dataset)
        self.n_channels = dataset.n_channels
        self._is_taken: NDArray[np.bool_] | None = None
        self._columns: Tensor | None = None
        if montage is not None:
            assert dataset.montages is not None
            columns, self._is_taken = dataset.montages.columns[montage], self.subset.montage_of == montage
            self._columns, self.n_channels = torch.tensor(columns, device=dataset.device), len(columns)
        self._mean_and_scale: tuple[Tensor, Tensor] | None = None
        self._of_montages: dict[int, TrainingPasses] = {}
        self._observed_lengths: dict[str, list[NDArray[np.int64]]] | None = None

    @property
    def subset(self) -> MultiSubjectSubset:
        """The training subset."""
        return self.dataset.training_set

    @property
    def mean_and_scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over all rows, two (C,) float64; 1 for a constant channel."""
        if self._mean_and_scale is None:
            self._mean_and_scale = self._found_mean_and_scale()
        return self._mean_and_scale

    def _found_mean_and_scale(self) -> tuple[Tensor, Tensor]:
        n_channels = self.n_channels
        sums = torch.zeros(2 * n_channels + 1, dtype=torch.float64, device=self.dataset.device)
        for _, rows, _ in self._chunks(1):
            count = torch.full((1,), len(rows), dtype=rows.dtype, device=rows.device)
            sums += torch.cat([rows.sum(0), rows.square().sum(0), count])
        sums = self.processes.sum(sums)
        first, second = (sums[:-1] / sums[-1]).split(n_channels)
        scale = (second - first.square()).clamp(min=0).sqrt()
        return first, torch.where(scale > _SHARE_OF_MEAN * first.abs(), scale, 1.0)

    def neighbour_products(self) -> tuple[Tensor, Tensor]:
        """Sums over samples and the ones after them: product, and square of the earlier one; two (C,), centred."""
        sums = torch.zeros(2, self.n_channels, dtype=torch.float64, device=self.dataset.device)
        for _, rows, borders in self._standardized_chunks(2):
            inside = torch.ones(len(rows) - 1, 1, dtype=rows.dtype, device=rows.device)
            inside[torch.tensor(borders[1:-1], dtype=torch.int64) - 1] = 0
            earlier = rows[:-1] * inside
            sums += torch.stack([(earlier * rows[1:]).sum(0), earlier.square().sum(0)])
        products, squares = self.processes.sum(sums)
        return products, squares

    def longest_window(self, wanted: int) -> int:
        """Rows of the longest windows, up to `wanted`, that both halves of the data have.

        Masked samples leave few long windows. So these are no longer than leaves a share of the windows of two rows.

        Raises
        ------
        DataError
            When the segments are so short that a half has no sample with another one before it.
        """
        longest, needed = max(self._longest_pieces(split) for split in _SPLITS), min(wanted, 2)
        if longest < needed:
            raise DataError(
                f"Baselines need training segments of at least {2 * needed} samples, but the longest of the "
                f"{self.subset.n_subjects} training subjects has {self.subset.segments.lengths.max(initial=0)}."
            )
        longest = min(wanted, longest)
        if self.subset.n_masked:
            enough = _LEAST_SHARE_OF_WINDOWS * self._least_windows(needed)
            longest = next(
                rows for rows in range(longest, 0, -1) if rows <= needed or self._least_windows(rows) >= enough
            )
        return longest

    def halves(self, window_length: int) -> Halves:
        """Second moments of windows of standardized rows, no longer than `longest_window` allows."""
        sums = [WindowMoments(window_length, self.n_channels, self.dataset.device) for _ in range(2)]
        for half, rows, borders in self._standardized_chunks(window_length):
            sums[half].add(rows, borders)
        for moments in sums:
            for values in moments.sums:
                values.copy_(self.processes.sum(values))
        return Halves(*(moments.second_moments() for moments in sums))

    def drawn_windows(self, window_length: int, n_most: int) -> Tensor:
        """Windows from evenly drawn positions, alike in all processes, (n, T, C); NaN in padding and masked samples."""
        subset = self.subset
        windows = drawn_windows(subset, window_length, n_most, self.seed, self._is_taken)
        values = torch.full((len(windows), window_length, self.n_channels), torch.nan, device=subset.device)
        for number, (subject, start, stop) in enumerate(windows.tolist()):
            values[number, : stop - start] = self._own(subset.read(subject, start, stop))
        return values

    def of_montage(self, number: int) -> TrainingPasses:
        """Passes over the subjects and channels of one montage, where there are several."""
        if number not in self._of_montages:
            self._of_montages[number] = TrainingPasses(self.dataset, self.processes, self.seed, number)
        return self._of_montages[number]

    def _standardized_chunks(self, window_length: int) -> Iterator[tuple[int, Tensor, list[int]]]:
        mean, scale = self.mean_and_scale
        for half, rows, borders in self._chunks(window_length):
            yield half, (rows - mean) / scale, borders

    def _chunks(self, window_length: int) -> Iterator[tuple[int, Tensor, list[int]]]:
        """Half, rows (n, C) float64 and borders of pieces that together have every window of this process once."""
        split = self._split(window_length)
        for batch in self._passes("training"):
            for half, pieces in _pieces(batch, self._half_of_subject(split), window_length, self._is_taken):
                rows = self._own(torch.cat([batch.signals[start:stop] for start, stop in pieces])).double()
                yield half, rows, [0, *itertools.accumulate(stop - start for start, stop in pieces)]

    def _own(self, rows_TC: Tensor) -> Tensor:
        return rows_TC if self._columns is None else rows_TC[:, self._columns]

    def _split(self, window_length: int) -> str:
        return next((one for one in _SPLITS if self._longest_pieces(one) >= window_length), _SPLITS[-1])

    def _half_of_subject(self, split: str) -> NDArray[np.int64] | None:
        if split == "segments":
            return None
        units = self.subset.participants if split == "participants" else self.subset.subjects
        taken = itertools.compress(units, self._is_taken) if self._is_taken is not None else units
        number = dict.fromkeys(units, 0) | {unit: index for index, unit in enumerate(dict.fromkeys(taken))}
        return np.array([number[unit] % 2 for unit in units])

    def _longest_pieces(self, split: str) -> int:
        """Rows of the longest piece, in the half where it is shorter."""
        if self.subset.n_masked:
            longest = [int(lengths.max(initial=0)) for lengths in self._lengths_of_observed(split)]
            return min(self.processes.largest(longest))
        table, halves = self.subset.segments, self._half_of_subject(split)
        lengths = table.lengths if self._is_taken is None else np.where(self._is_taken[table.subject], table.lengths, 0)
        if halves is None:
            return int(lengths.max(initial=0)) // 2
        return min(int(lengths[halves[table.subject] == half].max(initial=0)) for half in range(2))

    def _least_windows(self, window_length: int) -> int:
        """Windows without a masked row, in the half that has fewer of them."""
        both = self._lengths_of_observed(self._split(window_length))
        counts = [float(np.maximum(lengths - window_length + 1, 0).sum()) for lengths in both]
        device = self.dataset.device
        return int(self.processes.sum(torch.tensor(counts, dtype=torch.float64, device=device)).min())

    def _lengths_of_observed(self, split: str) -> list[NDArray[np.int64]]:
        """Rows of this process's stretches between masked ones, for each half: only a pass over the data can tell."""
        if self._observed_lengths is None:
            found: dict[str, tuple[list[int], list[int]]] = {one: ([], []) for one in _SPLITS}
            for batch in self._passes("training"):
                for one, halves in found.items():
                    for half, first, last in _ranges(batch, self._half_of_subject(one), self._is_taken):
                        halves[half].append(last - first)
            self._observed_lengths = {
                one: [np.array(lengths, dtype=np.int64) for lengths in halves] for one, halves in found.items()
            }
        return self._observed_lengths[split]


_SPLITS = ("participants", "runs", "segments")


def _pieces(
    batch: Batch,
    half_of_subject: NDArray[np.int64] | None,
    window_length: int,
    is_taken: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Row ranges of segments, or of parts of them that overlap by a window less one row, gathered to chunks by half."""
    gathered: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    n_gathered = [0, 0]
    for half, first, last in _ranges(batch, half_of_subject, is_taken):
        for piece in range(first, last - window_length + 1, CHUNK_ROWS):
            end = min(piece + CHUNK_ROWS + window_length - 1, last)
            gathered[half].append((piece, end))
            n_gathered[half] += end - piece
            if n_gathered[half] >= CHUNK_ROWS:
                yield half, list(gathered[half])
                gathered[half].clear()
                n_gathered[half] = 0
    yield from ((half, pieces) for half, pieces in enumerate(gathered) if pieces)


def _ranges(
    batch: Batch, half_of_subject: NDArray[np.int64] | None, is_taken: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, int, int]]:
    """Half and rows [first, last) of each segment, or of each stretch of it that is nowhere masked."""
    assert batch.starts is not None
    subjects, observed = batch.spans.subject.tolist(), None
    if batch.observed is not None:
        observed = batch.observed.cpu().numpy()
    for number, (start, stop) in enumerate(itertools.pairwise(batch.starts.tolist())):
        if is_taken is not None and not is_taken[subjects[number]]:
            continue
        middle = (start + stop) // 2
        ranges = [(0, start, middle), (1, middle, stop)]
        if half_of_subject is not None:
            ranges = [(int(half_of_subject[subjects[number]]), start, stop)]
        for half, first, last in ranges:
            if observed is None:
                yield half, first, last
            else:
                stretches = stretches_of(observed[first:last]) + first
                yield from ((half, begin, end) for begin, end in stretches.tolist())


def drawn_windows(
    subset: MultiSubjectSubset,
    window_length: int,
    n_most: int,
    seed: int,
    is_taken: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Draw windows evenly from all positions where one fits; a shorter segment is one window.

    With `is_taken`, only of those subjects.

    Returns
    -------
    (n, 3) int64
        Subject, first sample, one after the last; in stored order.
    """
    table = subset.segments
    counts = np.maximum(table.lengths - window_length, 0) + 1
    if is_taken is not None:
        counts = np.where(is_taken[table.subject], counts, 0)
    ends = np.cumsum(counts)
    generator = np.random.default_rng(np.random.SeedSequence((seed, WINDOWS_STREAM)))
    chosen = np.sort(generator.choice(int(ends[-1]), size=min(n_most, int(ends[-1])), replace=False))
    segment = np.searchsorted(ends, chosen, side="right")
    start = table.start[segment] + chosen - (ends - counts)[segment]
    return np.stack([table.subject[segment], start, np.minimum(start + window_length, table.stop[segment])], axis=1)
