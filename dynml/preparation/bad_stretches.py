"""Stretches of a run that no brain makes: dropouts, values that are held, clipping, isolated spikes.

A stretch of zeros takes a state of its own, whose covariance is singular, and one spike outweighs the rest of a
recording. What is found here is looked for in recordings as they were read, since any filter hides it.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError, shortened
from dynml.preparation.first_look import FEWEST_CLIPPED, FEWEST_EQUAL, ROWS_FOR_MEDIANS, SPIKE_SD, suspects_of
from dynml.preparation.standardization import robust_moments
from dynml.recording import Recording
from dynml.stretches import source_samples_of_stretches, split_at_gaps, stretches_of

TELL, CUT, ERROR = "tell", "cut", "error"
BAD_STRETCHES = (TELL, CUT, ERROR)
"""What can be done with them."""

CHANNELS_PER_BLOCK, ROWS_PER_TURN = 32, 512
TYPICAL_RUNS = 20.0
"""A run of equal values is long at so many times the run that a typical sample of its channel lies in."""
CERTAINTY = 3.0
"""A run of equal values is long at so many times the longest that chance would make of as many samples."""
N_SET_ASIDE = 10
"""So many of the longest runs say nothing of what is typical."""
FEWEST_TYPICAL, SMALLEST_TYPICAL_SHARE = 50, 0.05
SMALLEST_JUMP = 1.5
RARE = 1e-3
"""Zeros in all channels are no chance where zeros make up less than this share of each channel elsewhere."""
FEWEST_VALUES = 20
FEWEST_CLIPPED_STRETCHES = 5
CLIPPED_RATIO, N_BESIDE = 5.0, 5
"""A channel is clipped where its extreme value is so many times as frequent as the values next to it."""
QUIET_SD = 10.0
"""Robust standard deviations from the median that the samples beside a spike have at most."""
LONGEST_SPIKE, LARGEST_SPIKE_SHARE = 3, 0.005
MAXIMUM_SHARE = 0.5
"""Runs that would lose more are refused."""

HELD, CLIPPED, SPIKE = "held", "clipped", "spike"
WHAT_IS_WRONG = {
    HELD: "Signals are constant for a while (dropouts, held values), which models fit by a state of their own",
    CLIPPED: "Signals are clipped",
    SPIKE: "Signals have isolated spikes",
}


@dataclass(frozen=True, kw_only=True)
class BadStretches:
    """Stretches of one kind in one channel, or in all channels at once."""

    kind: str
    channel: int | None
    """None for all channels at once."""
    stretches: NDArray[np.int64]
    """[start, stop) in samples of the run, (n, 2)."""
    value: float
    """What is held or clipped to, or the robust standard deviations of the largest spike."""

    @property
    def n_samples(self) -> int:
        """Samples of all of them."""
        return int((self.stretches[:, 1] - self.stretches[:, 0]).sum())


def bad_stretches_of(signals: NDArray[np.floating[Any]]) -> list[BadStretches]:
    """Find stretches of a run that stand still, are clipped, or are isolated spikes.

    Parameters
    ----------
    signals : array, (T, C)
        As they were read. Missing samples are in no stretch.

    Returns
    -------
    list of BadStretches
        Those of all channels first; a channel's own are given where they are not among them.

    Notes
    -----
    Coarsely resolved channels repeat values by nature. A run of equal values counts only where it is `TYPICAL_RUNS`
    times as long as the run in which a typical sample of its channel lies, and `CERTAINTY` times as long as log T /
    -log q, the longest run of T samples of which a share q repeats its neighbour by chance. So channels of few levels
    (triggers) are left alone. A slow signal rests on one level and goes on to the next: a run of equal values whose
    both ends are no larger a step than the smallest of the channel does not count either.
    """
    n_samples, n_channels = signals.shape
    suspects = suspects_of(signals)
    if not suspects.together:
        return _of_channels(signals, np.flatnonzero(suspects.channels))
    all_equal, all_zero = np.ones(max(n_samples - 1, 0), dtype=bool), np.ones(n_samples, dtype=bool)
    own: list[BadStretches] = []
    zeros_of: list[int] = []
    for channel, column in _columns(signals):
        equal = column[1:] == column[:-1]
        all_equal &= equal
        zero = column == 0.0
        all_zero &= zero
        zeros_of.append(int(np.count_nonzero(zero)))
        own += _of_channel(channel, column, equal)
    if n_channels == 1:
        return own
    most_zeros = max(zeros_of, default=0) - int(all_zero.sum())
    if most_zeros >= RARE * n_samples or all_zero.sum() < 2:
        all_zero[:] = False
    still = _long_runs(all_equal)
    if len(still):
        jumps = np.zeros(len(still), dtype=bool)
        for _, column in _columns(signals):
            jumps |= _jumps(column, still)
        still = still[jumps]
    rows = _rows(still, n_samples) | all_zero
    shared = stretches_of(rows)
    if not len(shared):
        return own
    held_at = signals[shared[:, 0]]
    value = float(held_at.flat[0]) if (held_at == held_at.flat[0]).all() else math.nan
    everywhere = BadStretches(kind=HELD, channel=None, stretches=shared, value=value)
    return [everywhere, *(rest for one in own if (rest := _without(one, rows)) is not None)]


def _of_channels(signals: NDArray[np.floating[Any]], channels: NDArray[np.int64]) -> list[BadStretches]:
    """Bad stretches of some channels, each for itself."""
    own: list[BadStretches] = []
    if len(channels):
        for number, column in _columns(signals[:, channels]):
            own += _of_channel(int(channels[number]), column, column[1:] == column[:-1])
    return own


def rows_of(found: Sequence[BadStretches], n_samples: int) -> NDArray[np.bool_]:
    """Say of each sample of a run whether it lies in any of the stretches, (T,)."""
    rows = np.zeros(n_samples, dtype=bool)
    for one in found:
        rows |= _rows(one.stretches, n_samples)
    return rows


def rows_to_cut(
    signals: NDArray[np.floating[Any]], channel_names: Sequence[str], do: str, where: str, warned: DataWarnings
) -> NDArray[np.bool_]:
    """Find bad stretches of a run, tell of them or refuse them, and say which samples are to be cut out, (T,).

    Parameters
    ----------
    signals : array, (T, C)
    channel_names : sequence of str
    do : {"tell", "cut", "error"}
    where : str
        Subject, group and run, for messages.
    warned : DataWarnings

    Raises
    ------
    DataError
        Where they are refused, or more than half of the run would be cut out.
    """
    found = bad_stretches_of(signals)
    rows = rows_of(found, len(signals))
    if not found:
        return rows
    texts = {kind: _in_words(found, kind, channel_names, len(signals)) for kind in WHAT_IS_WRONG}
    if do == ERROR:
        kind = found[0].kind
        raise DataError(
            f'{where}: {WHAT_IS_WRONG[kind].lower()}: {texts[kind]}; mend the file, or set "bad_stretches": "cut" to '
            "make gaps of them."
        )
    advice = "" if do == CUT else '; look at them, or set "bad_stretches": "cut" to make gaps of them'
    for kind, text in texts.items():
        if text:
            topic = WHAT_IS_WRONG[kind] + (" and were cut out there" if do == CUT else advice)
            warned.add(topic, f"{where}: {text}")
    if do != CUT:
        return np.zeros_like(rows)
    if rows.mean() > MAXIMUM_SHARE:
        raise DataError(
            f'{where}: "bad_stretches": "cut" would cut out {rows.mean():.0%} of the samples '
            f"({'; '.join(filter(None, texts.values()))}); leave the run out, or such channels in all subjects "
            "(by 'exclude_channels')."
        )
    return rows


def cut_note(cut: dict[str, int]) -> dict[str, Any]:
    """What provenance says of cut stretches; `cut` counts the samples of each run."""
    return {"step": "cut_bad_stretches", "samples_removed": cut}


def without_bad_stretches(recording: Recording, do: str, where: str, warned: DataWarnings) -> Recording:
    """Find bad stretches of a recording at hand, and do what is said with them.

    Raises
    ------
    DataError
        As `rows_to_cut`; or where a run has nothing left.
    """
    rows, cut = np.zeros(recording.n_samples, dtype=bool), {}
    for run, start, stop in recording.runs():
        name = recording.run_names[run]
        where_of_run = where if len(recording.run_names) == 1 else f"{where}, run {name}"
        within = _rows(recording.segments_of_run(run) - start, stop - start)
        signals = recording.signals[start:stop]
        observed = signals if within.all() else np.where(within[:, None], signals, np.nan)
        rows[start:stop] = rows_to_cut(observed, recording.channel_names, do, where_of_run, warned)
        cut[name] = int(rows[start:stop].sum())
    if not rows.any():
        return recording
    marked = dataclasses.replace(recording, signals=np.where(rows[:, None], np.nan, recording.signals))
    stretches, segment = split_at_gaps(marked.signals, marked.segments)
    parts = np.zeros(len(recording.segments), np.int64) if recording.segment_parts is None else recording.segment_parts
    return dataclasses.replace(
        recording,
        segments=stretches,
        segment_runs=recording.segment_runs[segment],
        source_samples=source_samples_of_stretches(
            recording.source_samples, recording.segments, stretches, segment, recording.source_step
        ),
        # What was a border before stays one.
        segment_parts=segment if recording.segment_parts is None and len(parts) > 1 else parts[segment],
        preparation=(*recording.preparation, cut_note(cut)),
    )


def _columns(signals: NDArray[np.floating[Any]]) -> Iterator[tuple[int, NDArray[np.floating[Any]]]]:
    """Each channel as it lies in a cache; infinite samples are as missing as NaN."""
    for first in range(0, signals.shape[1], CHANNELS_PER_BLOCK):
        channels = signals[:, first : first + CHANNELS_PER_BLOCK]
        block = np.empty(channels.shape[::-1], dtype=signals.dtype)
        for start in range(0, len(signals), ROWS_PER_TURN):
            # A few rows at a time stay in the cache while they are turned into columns.
            block[:, start : start + ROWS_PER_TURN] = channels[start : start + ROWS_PER_TURN].T
        if np.isinf(block).any():
            block = np.where(np.isinf(block), np.nan, block)
        yield from enumerate(block, start=first)


def _of_channel(channel: int, column: NDArray[np.floating[Any]], equal: NDArray[np.bool_]) -> Iterator[BadStretches]:
    extremes = _extreme(column, np.min), _extreme(column, np.max)
    rails = list(_rails(column, extremes))
    held = _long_runs(equal)
    if len(held):
        held = held[_jumps(column, held) & ~np.isin(column[held[:, 0]], rails)]
    if len(held):
        values = column[held[:, 0]]
        value = float(values[0]) if (values == values[0]).all() else math.nan
        yield BadStretches(kind=HELD, channel=channel, stretches=held, value=value)
    for value in rails:
        yield BadStretches(kind=CLIPPED, channel=channel, stretches=stretches_of(column == value), value=value)
    spikes, farthest = _spikes(column, extremes)
    if len(spikes):
        yield BadStretches(kind=SPIKE, channel=channel, stretches=spikes, value=farthest)


def _long_runs(equal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Stretches of equal samples that are too long for their channel, (n, 2); `equal` compares neighbours, (T - 1,)."""
    none = np.zeros((0, 2), np.int64)
    if np.count_nonzero(equal) < FEWEST_EQUAL - 1:
        return none
    runs = stretches_of(equal)
    # Three equal samples are two equal pairs.
    runs[:, 1] += 1
    lengths = runs[:, 1] - runs[:, 0]
    n_samples = len(equal) + 1
    if lengths.max() < FEWEST_EQUAL:
        return none
    longest_last = np.sort(lengths)
    kept = longest_last[:-N_SET_ASIDE]
    n_alone = n_samples - int(lengths.sum())
    n_typical = n_alone + int(kept.sum())
    if n_typical < max(FEWEST_TYPICAL, SMALLEST_TYPICAL_SHARE * n_samples):
        return none
    # The run that the middle one of the samples lies in, samples ordered by the length of their run.
    middle = int(np.searchsorted(n_alone + np.cumsum(kept), n_typical / 2)) if n_alone < n_typical / 2 else -1
    typical = 1 if middle < 0 else int(kept[middle])
    ordinary = lengths[lengths <= max(FEWEST_EQUAL, TYPICAL_RUNS * typical)]
    n_ordinary = n_alone + int(ordinary.sum())
    repeating = (int((ordinary - 1).sum()) + 1) / (n_ordinary + 2)
    by_chance = math.log(n_samples) / -math.log(min(repeating, 1.0 - 1.0 / n_samples))
    least = max(FEWEST_EQUAL, CERTAINTY * by_chance, TYPICAL_RUNS * typical if typical > 1 else 0)
    return runs[lengths >= least]


def _jumps(column: NDArray[np.floating[Any]], stretches: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which stretches a channel enters or leaves by more than its smallest step, (n,)."""
    steps = np.abs(np.diff(column))
    moving = steps[steps > 0]
    if not len(moving):
        return np.zeros(len(stretches), dtype=bool)
    largest = np.zeros(len(stretches))
    for number, (start, stop) in enumerate(stretches.tolist()):
        borders = [steps[start - 1]] if start > 0 else []
        borders += [steps[stop - 1]] if stop < len(column) else []
        largest[number] = np.nanmax([0.0, *borders])
    return np.asarray(largest > SMALLEST_JUMP * moving.min())


def _rails(column: NDArray[np.floating[Any]], extremes: tuple[float, float]) -> Iterator[float]:
    """Extreme values of a channel that stand for all that would have been beyond them."""
    for extreme, sign in zip(reversed(extremes), (-1.0, 1.0)):
        n_there = np.count_nonzero(column == extreme)
        # Zero is where rates, counts and power end by nature.
        if n_there < FEWEST_CLIPPED or extreme == 0.0 or 2 * n_there > len(column):
            continue
        values, counts = np.unique(sign * column[~np.isnan(column)], return_counts=True)
        is_rail = len(values) >= FEWEST_VALUES and n_there >= CLIPPED_RATIO * counts[1 : N_BESIDE + 1].mean()
        # One value that is held in few samples happens to be an extreme one.
        if is_rail and len(stretches_of(column == extreme)) >= FEWEST_CLIPPED_STRETCHES:
            yield extreme


def _extreme(column: NDArray[np.floating[Any]], choose: Callable[[NDArray[Any]], Any]) -> float:
    """Largest or smallest value that is not missing; NaN where all are."""
    found = float(choose(column))
    if math.isnan(found):
        observed = column[~np.isnan(column)]
        found = float(choose(observed)) if len(observed) else math.nan
    return found


def _spikes(column: NDArray[np.floating[Any]], extremes: tuple[float, float]) -> tuple[NDArray[np.int64], float]:
    """Isolated spikes, (n, 2), and how far the largest one is."""
    none = np.zeros((0, 2), np.int64)
    sampled = column[:: max(1, len(column) // ROWS_FOR_MEDIANS)]
    sampled = sampled[~np.isnan(sampled)]
    if not len(sampled):
        return none, 0.0
    median, spread = (float(one) for one in robust_moments(sampled))
    if spread == 0.0 or max(extremes[1] - median, median - extremes[0]) <= SPIKE_SD * spread:
        return none, 0.0
    far = np.abs(column - median) > SPIKE_SD * spread
    if not far.any() or far.mean() > max(LARGEST_SPIKE_SHARE, 1.0 / len(column)):
        return none, 0.0
    # Of samples around a spike, those beyond the ends of the run count as quiet.
    distances = np.pad(np.nan_to_num(np.abs(column - median)), 1)
    stretches = stretches_of(far)
    short = stretches[:, 1] - stretches[:, 0] <= LONGEST_SPIKE
    beside = np.maximum(distances[stretches[:, 0]], distances[stretches[:, 1] + 1])
    spikes = stretches[short & (beside < QUIET_SD * spread)]
    rows = _rows(spikes, len(column))
    return spikes, float(distances[1:-1][rows].max(initial=0.0)) / spread


def _rows(stretches: NDArray[np.int64], n_samples: int) -> NDArray[np.bool_]:
    rows = np.zeros(n_samples, dtype=bool)
    for start, stop in stretches.tolist():
        rows[start:stop] = True
    return rows


def _without(one: BadStretches, rows: NDArray[np.bool_]) -> BadStretches | None:
    """Those of a channel's stretches that are not, for the most part, among rows."""
    own = np.array([rows[start:stop].mean() < 0.5 for start, stop in one.stretches.tolist()], dtype=bool)
    return dataclasses.replace(one, stretches=one.stretches[own]) if own.any() else None


def _in_words(found: Sequence[BadStretches], kind: str, names: Sequence[str], n_samples: int) -> str:
    """Channels, samples and share of a kind; empty where there is none."""
    own = [one for one in found if one.kind == kind]
    if not own:
        return ""
    rows = rows_of(own, n_samples)
    n_bad, first = int(rows.sum()), int(np.argmax(rows))
    if any(one.channel is None for one in own):
        channels = f"all {len(names)} channels" if len(own) == 1 else f"all {len(names)} channels or some"
    else:
        listed = list(dict.fromkeys(names[one.channel] for one in own if one.channel is not None))
        channels = f"{'channels' if len(listed) > 1 else 'channel'} {shortened(listed)}"
    largest = max(own, key=lambda one: one.n_samples)
    if kind == SPIKE:
        said = f", up to {max(one.value for one in own):.3g} robust SD from the median"
    else:
        said = "" if math.isnan(largest.value) else f", at {largest.value:.6g}"
    return f"{channels}, {n_bad} of {n_samples} samples ({n_bad / n_samples:.2%}) from sample {first}{said}"
