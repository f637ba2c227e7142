"""How one pass of a Gaussian HMM over the data is cut, computed on several threads, and put together again.

Shapes: n rows (segments end to end), C channels, K states.

The rows are cut into chunks, always at the same rows whatever the threads and the memory: short segments together,
up to a chunk, longer ones into chunks of their own. No chunk spans two groups of segments (subjects, say), so that what
a group adds does not depend on the groups around it. A chunk of short segments is one piece of work, from
log-likelihoods to moments, while its signals are in the cache; very short ones are done together, with products of
their own each. Longer segments go in three phases: log-likelihoods of the chunks, forward-backward of the segments,
moments of the chunks. A segment that is too long for the memory goes in blocks of chunks: a first sweep finds the
forward message at every block's border, a second comes back block by block, recomputing.

A row that is NaN in all channels is a sample that was not observed: its density is 1 under every state, so that the
chain goes on through it, and it has no part in moments. Its log-likelihoods come out as NaN, which is all that is
looked for where no row is masked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.ops.devices import float64_device
from dynml.ops.gaussian import Gaussians
from dynml.ops.hmm.forward_backward import ForwardBackward, forward_backward, forward_only
from dynml.ops.hmm.statistics import CovarianceType, GaussianHMMParameters
from dynml.ops.masked_samples import observed_if_masked, observed_without_waiting
from dynml.ops.memory import smaller
from dynml.ops.moments.weighted import Moments, chunk_moments, moments_of_pieces, suits_one_loop
from dynml.ops.workers import Workers

CHUNK_ROWS = {"cpu": 2**13, "gpu": 2**18}

BUNDLE_ROWS = 2**11
"""Pieces of work shorter than this are done together: a small one costs little more than its calls."""

MEMORY = {"cpu": 64 * 2**20, "gpu": 2**31}
"""Default bytes for what is kept of long segments: log-likelihoods, probabilities, and the rows that a reader read."""

_BYTES_PER_PROBABILITY = {"cpu": 4 + 8, "gpu": 4 + 6 * 8}


class Signals(Protocol):
    """A tensor (n, C), or anything that reads one: `reader[a:b]` gives rows a to b as a tensor."""

    @property
    def shape(self) -> Any:
        """(n, C)."""

    def __getitem__(self, rows: slice, /) -> Tensor:
        """Rows as a tensor (rows, C)."""


@dataclass(frozen=True)
class Piece:
    """Rows of consecutive whole segments."""

    segments: slice
    first: int
    last: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.last - self.first


@dataclass
class Chunk:
    """Rows that a product is made of."""

    first: int
    rows: Tensor
    observed: Tensor | None = None
    """(rows,), bool: False for masked rows; None where none is known to be."""

    @property
    def n_masked(self) -> Tensor | int:
        """Number of masked rows, on their device."""
        return 0 if self.observed is None else len(self.rows) - self.observed.sum()


@dataclass
class Part:
    """What some rows add to the sums of a pass."""

    segments: slice
    log_likelihoods: Tensor | None = None
    transitions_KK: Tensor | None = None
    initial_K: Tensor | None = None
    moments: Moments | None = None
    n_masked: Tensor | int = 0


@dataclass
class PassSums:
    """Sums of all parts of a pass, float64, on the device that it computes on."""

    log_likelihoods: Tensor
    """(n_segments,)."""
    transitions_KK: Tensor
    initial_K: Tensor
    moments: Moments
    n_masked: Tensor

    @classmethod
    def zeros(cls, n_segments: int, parameters: GaussianHMMParameters, device: torch.device) -> PassSums:
        """Sums of no part."""
        n_states, n_channels = parameters.n_states, parameters.n_channels
        moments = Moments.zeros(n_states, n_channels, parameters.covariance_type, device)
        new = moments.occupancies_K.new_zeros
        return cls(new(n_segments), new(n_states, n_states), new(n_states), moments, new(()))

    def add(self, part: Part) -> None:
        """Add a part; on a GPU nothing waits for it."""
        if part.log_likelihoods is not None:
            self.log_likelihoods[part.segments] += part.log_likelihoods
        if part.transitions_KK is not None:
            self.transitions_KK += part.transitions_KK
        if part.initial_K is not None:
            self.initial_K += part.initial_K
        if part.moments is not None:
            self.moments.add(part.moments)
        self.n_masked += part.n_masked

    def on_host(self) -> PassSums:
        """The same on the CPU, brought there as one tensor."""
        if self.initial_K.device.type == "cpu":
            return self
        tensors = (self.log_likelihoods, self.transitions_KK, self.initial_K, *vars(self.moments).values())
        tensors = (*tensors, self.n_masked)
        parts = torch.cat([tensor.reshape(-1) for tensor in tensors]).cpu().split([x.numel() for x in tensors])
        logs, transitions, initial, *moments, n_masked = (
            part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)
        )
        return PassSums(logs, transitions, initial, Moments(*moments), n_masked)


def cut_into_pieces(borders: NDArray[Any], largest: int, groups: NDArray[Any] | None = None) -> list[Piece]:
    """Consecutive segments of a group together up to `largest` rows; a longer one alone.

    Parameters
    ----------
    borders : (n_segments + 1,)
        Row borders of the segments.
    largest : int
    groups : (n_groups + 1,), optional
        Number of the first segment of every group, and n_segments. Default: all are one group.
    """
    n_segments = len(borders) - 1
    edges = [0, n_segments] if groups is None else groups.tolist()
    pieces = []
    for segment, end in itertools.pairwise(edges):
        while segment < end:
            first = int(borders[segment])
            fitting = int(np.searchsorted(borders, first + largest, side="right")) - 1
            following = min(max(fitting, segment + 1), end)
            pieces.append(Piece(slice(segment, following), first, int(borders[following])))
            segment = following
    return pieces


def _bundles(pieces: Iterable[Piece], largest: int) -> Iterator[list[Piece]]:
    """Neighbouring pieces together up to `largest` rows; a longer one alone."""
    bundle: list[Piece] = []
    for piece in pieces:
        if bundle and piece.last - bundle[0].first > largest:
            yield bundle
            bundle = []
        bundle.append(piece)
    yield bundle


class HMMPass:
    """One pass over `signals` with fixed parameters."""

    def __init__(
        self,
        signals: Signals,
        borders: NDArray[Any],
        parameters: GaussianHMMParameters,
        workers: Workers,
        *,
        memory: int | None = None,
        posteriors: bool = False,
        groups: NDArray[Any] | None = None,
    ) -> None:
        assert signals.shape[1] == parameters.n_channels, f"{signals.shape[1]} channels for {parameters.n_channels}"
        self._signals, self._borders, self._parameters, self._workers = signals, borders, parameters, workers
        sample = signals if isinstance(signals, Tensor) else signals[0 : min(1, int(borders[-1]))]
        self.dtype = sample.dtype if sample.dtype == torch.float64 else torch.float32
        self.device = sample.device if sample.device.type == "cpu" else float64_device(sample.device)
        kind = "cpu" if self.device.type == "cpu" else "gpu"
        # On a GPU small pieces would cost more than the last digits of float32 are worth.
        self._groups_of_segments = groups if kind == "cpu" else None
        self._chunk_rows = smaller(CHUNK_ROWS[kind])
        bytes_per_row = _BYTES_PER_PROBABILITY[kind] * parameters.n_states
        if not isinstance(signals, Tensor):
            bytes_per_row += sample.element_size() * parameters.n_channels
        chunks_in_memory = smaller(MEMORY[kind] if memory is None else memory) // bytes_per_row // self._chunk_rows
        self._rows_in_memory = max(1, chunks_in_memory) * self._chunk_rows
        self._gaussians = Gaussians.prepare(
            parameters.means_KC, parameters.covariances_KCC, dtype=self.dtype, device=self.device
        )
        self._chain = parameters.initial_probabilities_K, parameters.transition_probabilities_KK
        self.posteriors: Tensor | None = None
        if posteriors:
            shape = int(borders[-1]), parameters.n_states
            self.posteriors = torch.empty(shape, dtype=self.dtype, device=self.device)

    def parts(self) -> Iterator[Part]:
        """Sums of forward-backward and moments, in a fixed order."""
        pieces = cut_into_pieces(self._borders, self._chunk_rows, self._groups_of_segments)
        for is_long, group in itertools.groupby(pieces, key=lambda piece: piece.n_rows > self._chunk_rows):
            if is_long:
                yield from self._long_segments(list(group))
            else:
                bundles = _bundles(group, min(BUNDLE_ROWS, self._chunk_rows))
                yield from itertools.chain.from_iterable(self._workers.map(self._short_segments, bundles))

    def log_likelihoods(self) -> Iterator[Part]:
        """Log-likelihoods alone, by the forward half."""
        pieces = cut_into_pieces(self._borders, self._chunk_rows)
        is_blocked = [piece.n_rows > self._rows_in_memory for piece in pieces]
        yield from self._workers.map(
            self._forward_of_piece, [piece for piece, blocked in zip(pieces, is_blocked, strict=True) if not blocked]
        )
        for piece in itertools.compress(pieces, is_blocked):
            message: Tensor | None = None
            for first, last in self._blocks(piece):
                _, likelihoods = self._likelihoods(first, last)
                logs, message = forward_only(likelihoods, [0, last - first], *self._chain, message_K=message)
                yield Part(piece.segments, logs)

    def state_log_likelihoods(self) -> Iterator[tuple[Piece, Tensor]]:
        """Log-density of the rows of every piece under every state; 0 for masked rows."""
        for piece in cut_into_pieces(self._borders, self._chunk_rows):
            yield piece, self._likelihoods(piece.first, piece.last)[1]

    def local_borders(self, piece: Piece) -> NDArray[Any]:
        """Row borders of a piece's segments, counted from its first row."""
        return np.asarray(self._borders[piece.segments.start : piece.segments.stop + 1] - piece.first)

    def _forward_of_piece(self, piece: Piece) -> Part:
        _, likelihoods = self._filled_likelihoods(self._read(piece.first, piece.last), [piece])
        logs, _ = forward_only(likelihoods, self.local_borders(piece), *self._chain, n_threads=1)
        return Part(piece.segments, logs)

    def _short_segments(self, pieces: list[Piece]) -> list[Part]:
        """Pieces that are done together, since forward-backward of a segment does not depend on those beside it."""
        first, last = pieces[0].first, pieces[-1].last
        bundle = Piece(slice(pieces[0].segments.start, pieces[-1].segments.stop), first, last)
        rows = self._read(first, last)
        chunks, likelihoods = self._filled_likelihoods(rows, pieces)
        parts, posteriors = self._forward_backward(bundle, likelihoods)
        found = [parts]
        is_whole = all(chunk.observed is None for chunk in chunks)
        if is_whole and suits_one_loop(rows, max(piece.n_rows for piece in pieces), self._parameters.covariance_type):
            borders = np.array([first, *(piece.last for piece in pieces)]) - first
            of_pieces = moments_of_pieces(rows, posteriors, borders, *self._centres)
            return found + [Part(piece.segments, moments=own) for piece, own in zip(pieces, of_pieces, strict=True)]
        for piece, chunk in zip(pieces, chunks, strict=True):
            moments, n_masked = self._chunk_moments((chunk, posteriors[piece.first - first : piece.last - first]))
            found.append(Part(piece.segments, moments=moments, n_masked=n_masked))
        return found

    def _long_segments(self, pieces: list[Piece]) -> Iterator[Part]:
        """Segments longer than a chunk: as many at a time as the memory holds."""
        for group in self._groups(pieces):
            if group[0].n_rows > self._rows_in_memory:
                yield from self._segment_in_blocks(group[0])
                continue
            first, last = group[0].first, group[-1].last
            chunks, likelihoods = self._likelihoods(first, last)
            parts_of_likelihoods = likelihoods.split([piece.n_rows for piece in group])
            smoothed = list(self._workers.map(self._forward_backward, group, parts_of_likelihoods))
            yield from (part for part, _ in smoothed)
            for piece, (_, posteriors) in zip(group, smoothed, strict=True):
                inside = [chunk for chunk in chunks if piece.first <= chunk.first < piece.last]
                yield from self._moments_of_chunks(piece.segments, inside, piece.first, posteriors)

    def _groups(self, pieces: list[Piece]) -> Iterator[list[Piece]]:
        group: list[Piece] = []
        for piece in pieces:
            if group and piece.last - group[0].first > self._rows_in_memory:
                yield group
                group = []
            group.append(piece)
        yield group

    def _blocks(self, piece: Piece) -> list[tuple[int, int]]:
        edges = [*range(piece.first, piece.last, self._rows_in_memory), piece.last]
        return list(itertools.pairwise(edges))

    def _segment_in_blocks(self, piece: Piece) -> Iterator[Part]:
        """A segment too long for the memory: forward messages first, then back from its end, block by block."""
        blocks = self._blocks(piece)
        messages: list[Tensor | None] = [None]
        for first, last in blocks[:-1]:
            _, likelihoods = self._likelihoods(first, last)
            messages.append(forward_only(likelihoods, [0, last - first], *self._chain, message_K=messages[-1])[1])
        following: Tensor | None = None
        for (first, last), message in zip(reversed(blocks), reversed(messages), strict=True):
            chunks, likelihoods = self._likelihoods(first, last)
            block = Piece(piece.segments, first, last)
            part, posteriors = self._forward_backward(block, likelihoods, message, following)
            following = posteriors[0].clone()
            if message is not None:
                part.initial_K = None
            yield part
            yield from self._moments_of_chunks(piece.segments, chunks, first, posteriors)

    def _likelihoods(self, first: int, last: int) -> tuple[list[Chunk], Tensor]:
        """Every chunk of a long segment, or of several; log-likelihoods of all their rows."""
        inner = slice(*np.searchsorted(self._borders, [first, last], side="right"))
        cuts = [border for border in self._borders[inner].tolist() if border < last]
        edges = [first, *cuts, last]
        firsts = [start for begin, end in itertools.pairwise(edges) for start in range(begin, end, self._chunk_rows)]
        output = torch.empty(last - first, self._parameters.n_states, dtype=self.dtype, device=self.device)

        def fill(borders: tuple[int, int]) -> Chunk:
            start, stop = borders
            rows = self._read(start, stop)
            self._gaussians.fill_log_likelihoods(rows, output[start - first : stop - first])
            return Chunk(start, rows)

        chunks = list(self._workers.map(fill, itertools.pairwise([*firsts, last])))
        _free_masked_rows(chunks, output)
        return chunks, output

    def _forward_backward(
        self, piece: Piece, likelihoods: Tensor, message: Tensor | None = None, following: Tensor | None = None
    ) -> tuple[Part, Tensor]:
        borders = self._borders[piece.segments.start : piece.segments.stop + 1].clip(piece.first, piece.last)
        borders = borders - piece.first
        result: ForwardBackward = forward_backward(
            likelihoods, borders, *self._chain, n_threads=1, message_K=message, following_K=following
        )
        begins = borders[:-1][borders[1:] > borders[:-1]]
        if self.device.type == "cpu":
            initial = torch.from_numpy(result.posteriors_TK.numpy()[begins].sum(0))
        else:
            initial = result.posteriors_TK[torch.from_numpy(begins).to(self.device)].sum(0)
        if self.posteriors is not None:
            self.posteriors[piece.first : piece.last] = result.posteriors_TK
        return Part(piece.segments, result.log_likelihoods, result.transitions_KK, initial), result.posteriors_TK

    def _moments_of_chunks(
        self, segments: slice, chunks: list[Chunk], first: int, posteriors: Tensor
    ) -> Iterator[Part]:
        starts = [chunk.first - first for chunk in chunks]
        items = [
            (chunk, posteriors[start : start + len(chunk.rows)]) for chunk, start in zip(chunks, starts, strict=True)
        ]
        for moments, n_masked in self._workers.map(self._chunk_moments, items):
            yield Part(segments, moments=moments, n_masked=n_masked)

    def _chunk_moments(self, item: tuple[Chunk, Tensor]) -> tuple[Moments, Tensor | int]:
        chunk, posteriors = item
        return chunk_moments(chunk.rows, posteriors, *self._centres, chunk.observed), chunk.n_masked

    @property
    def _centres(self) -> tuple[Tensor, CovarianceType]:
        return self._parameters.means_KC, self._parameters.covariance_type

    def _filled_likelihoods(self, rows: Tensor, pieces: Sequence[Piece]) -> tuple[list[Chunk], Tensor]:
        """Chunks of neighbouring pieces, whose rows are given, and log-likelihoods of all; each has its own product."""
        output = torch.empty(len(rows), self._parameters.n_states, dtype=self.dtype, device=self.device)
        sizes = [piece.n_rows for piece in pieces]
        chunks = [Chunk(piece.first, own) for piece, own in zip(pieces, rows.split(sizes), strict=True)]
        for chunk, own in zip(chunks, output.split(sizes), strict=True):
            self._gaussians.fill_log_likelihoods(chunk.rows, own)
        _free_masked_rows(chunks, output)
        return chunks, output

    def _read(self, first: int, last: int) -> Tensor:
        return self._signals[first:last].to(self.device, self.dtype)


def _free_masked_rows(chunks: list[Chunk], likelihoods: Tensor) -> None:
    """Find the masked rows of neighbouring chunks, and put 0 in the place of their log-likelihoods."""
    is_on_host = likelihoods.device.type == "cpu"
    # One look at all rows, for which a GPU would have to be waited for; a NaN in a sum stays.
    if is_on_host and not math.isnan(float(likelihoods[:, 0].sum())):
        return
    for chunk in chunks:
        chunk.observed = (observed_if_masked if is_on_host else observed_without_waiting)(chunk.rows)
        if chunk.observed is not None:
            start = chunk.first - chunks[0].first
            likelihoods[start : start + len(chunk.rows)].masked_fill_(~chunk.observed.unsqueeze(1), 0.0)
