"""Pictures of the recordings in a store: one per subject, and two of all subjects together.

Shapes: T rows, C channels, F frequencies, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.data_measures import Envelope, SubjectMeasures
from dynml.analysis.data_quality import FILTERED, MAINS, MEASURES, VISIBLE_LINE, Flag, SubjectSummary, mains_lines
from dynml.plotting.logs import plain_text
from dynml.plotting.style import FAINT, INK, PALETTE, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes, state_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CHANNELS = 40
"""So many channels are drawn as signals; of more, evenly many."""
MOST_ROWS_OF_EVENTS = 3
MOST_LABELS = len(PALETTE)
MOST_NAMED_RUNS = 12
MOST_EVENTS = 20_000
MOST_LINES = 100
FEWEST_ROWS_OF_RUNS = 5
"""So that the bar of a single run does not fill its panel."""
LETTERS_OF_NAME = 24
LETTERS_OF_TITLE = 130
SPREAD_OF_CHANNELS = 99.0
"""Percentile of the channels' extents that sets the distance from one channel to the next."""


def plot_subject(measures: SubjectMeasures) -> Figure:
    """Draw one subject: signals with segments and events, power spectra, correlations, and runs over original samples.

    Parameters
    ----------
    measures : SubjectMeasures

    Returns
    -------
    Figure
    """
    n_drawn = min(measures.description.n_channels, MOST_CHANNELS)
    columns = _columns_of_events(measures)
    heights = [0.9 + 0.16 * max(n_drawn, 6), 0.16 + 0.24 * len(columns), 3.0]
    figure = new_figure(12.0, sum(heights) + 0.7)
    rows = figure.add_gridspec(3, 1, height_ratios=heights)
    signals = figure.add_subplot(rows[0])
    draw_signals(signals, measures)
    events = figure.add_subplot(rows[1], sharex=signals)
    draw_events(events, measures, columns)
    below = rows[2].subgridspec(1, 3, width_ratios=(1.25, 1.0, 1.25))
    draw_spectra(figure.add_subplot(below[0]), measures)
    draw_correlations(figure.add_subplot(below[1]), measures)
    draw_runs(figure.add_subplot(below[2]), measures)
    seconds = measures.n_rows / measures.description.sampling_frequency
    all_rows = measures.n_rows == measures.description.n_samples
    words = f"{measures.subject}: {seconds:.5g} s{'' if all_rows else ' from the beginning'}, " + (
        f"{measures.description.n_channels} channels at {measures.description.sampling_frequency:.6g} Hz"
    )
    figure.suptitle(plain_text(words, LETTERS_OF_TITLE), size=TEXT_SIZE + 1, color=INK, x=0.01, ha="left")
    return figure


def draw_signals(axes: Axes, measures: SubjectMeasures) -> None:
    """Draw signals one above the other: an envelope where rows are more than bins; gaps are grey, runs are bordered."""
    envelope, description = measures.envelope, measures.description
    rate, n_channels = description.sampling_frequency, description.n_channels
    drawn = evenly(n_channels, MOST_CHANNELS)
    middle, step = _offsets(envelope, drawn)
    times, is_line = _bin_times(envelope, rate)
    for position, channel in enumerate(drawn):
        colour = PALETTE[0] if position % 2 == 0 else PALETTE[7]
        low, high = (
            (values[:, channel] - middle[position]) / step - position for values in (envelope.lowest, envelope.highest)
        )
        if is_line:
            axes.plot(times[:-1], low, color=colour, linewidth=0.6)
        else:
            # Thinner than a line's width, an envelope would vanish: its outline is drawn as well.
            axes.fill_between(
                times, np.append(low, low[-1:]), np.append(high, high[-1:]), step="post", color=colour, linewidth=0.3
            )
    for start, stop in gaps_of(measures.segments, measures.n_rows):
        axes.axvspan(start / rate, stop / rate, color=FAINT, linewidth=0, zorder=0)
    for start in measures.segment_starts[1:] if measures.n_segments <= MOST_LINES else ():
        axes.axvline(start / rate, color=PALETTE[5], linewidth=0.6, linestyle=(0, (4, 3)))
    _name_runs(axes, measures)
    axes.set_xlim(0, measures.n_rows / rate)
    lowest = np.nanmin(envelope.lowest[:, drawn[-1]] - middle[-1]) / step - (len(drawn) - 1)
    highest = np.nanmax(envelope.highest[:, drawn[0]] - middle[0]) / step
    axes.set_ylim(max(min(lowest, -len(drawn) + 0.4), -len(drawn) - 2), min(max(highest, 0.6), 3))
    names = [plain_text(_short(description.channel_names[channel]), 60) for channel in drawn]
    axes.set_yticks([-position for position in range(len(drawn))], names)
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=SMALL_TEXT_SIZE, length=0)
    axes.tick_params(axis="x", labelbottom=False)
    axes.yaxis.label.set_fontsize(SMALL_TEXT_SIZE + 1)
    kind = "signals" if is_line else "smallest and largest value of each bin"
    some = f" of {len(drawn)} of {n_channels} channels" if len(drawn) < n_channels else ""
    axes.set_ylabel(f"{kind}{some},\n{step:.3g} apart; shaded: missing".capitalize())


def draw_events(axes: Axes, measures: SubjectMeasures, columns: Sequence[str]) -> None:
    """Draw events as bars, one row a column of labels, with a legend; the axis of time stands beneath."""
    rate, events = measures.description.sampling_frequency, measures.events
    axes.set_xlabel("Time (s), as stored")
    axes.set_ylim(-max(len(columns), 1) + 0.5, 0.5)
    axes.set_yticks([-row for row in range(len(columns))], [plain_text(_short(name), 60) for name in columns])
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=SMALL_TEXT_SIZE, length=0)
    axes.spines["left"].set_visible(False)
    if events is None or not columns:
        return
    from matplotlib.patches import Patch

    handles = []
    shown = np.flatnonzero((events.onset < measures.n_rows) & (events.onset + events.duration >= 0))[:MOST_EVENTS]
    for row, column in enumerate(columns):
        names = events.names.get(column, ())
        few = len(names) <= MOST_LABELS
        labels = events.labels[column][shown] if column in events.labels else np.zeros(len(shown), dtype=np.int64)
        colours = state_colours(len(names)) if few and names else [PALETTE[7]]
        for code, colour in enumerate(colours):
            own = shown[labels == code] if few and names else shown
            onsets = events.onset[own] / rate
            # An instant has no width: it gets that of a line.
            spans = list(zip(onsets, np.maximum(events.duration[own] / rate, 0.0)))
            axes.broken_barh(spans, (-row - 0.4, 0.8), facecolor=colour, edgecolor=colour, linewidth=0.5)
            if few and names and len(own):
                handles.append(Patch(color=colour, label=plain_text(_short(names[code]), 60)))
        if not few:
            handles.append(Patch(color=PALETTE[7], label=f"{plain_text(_short(column), 60)}: {len(names)} labels"))
    if handles:
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            fontsize=SMALL_TEXT_SIZE,
            frameon=False,
            borderaxespad=0.0,
            labelspacing=0.15,
        )


def draw_spectra(axes: Axes, measures: SubjectMeasures) -> None:
    """Draw the power spectrum of each channel and their mean, and the mains frequency where it stands out."""
    spectrum = measures.spectrum
    used = without_ends(spectrum.frequencies)
    frequencies, power = spectrum.frequencies[used], spectrum.power[used]
    drawn = evenly(power.shape[1], MOST_LINES)
    axes.plot(frequencies, np.where(power > 0, power, np.nan)[:, drawn], color=PALETTE[4], linewidth=0.5, alpha=0.6)
    if (power > 0).any():
        axes.plot(frequencies, power.mean(axis=1), color=INK, linewidth=1.6)
        axes.set_yscale("log")
    for mains in MAINS:
        lines = mains_lines(spectrum, mains)
        if np.isfinite(lines).any() and np.nanmax(lines) > VISIBLE_LINE:
            axes.axvline(mains, color=PALETTE[5], linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            axes.annotate(
                f"{mains:g} Hz", (mains, 1), (2, -8), xycoords=("data", "axes fraction"), textcoords="offset points",
                size=SMALL_TEXT_SIZE, color=PALETTE[5],
            )  # fmt: skip
    axes.set_xlabel("Frequency (Hz)")
    axes.set_ylabel("Power per Hz")
    _limit_power(axes, power)
    _panel_title(axes, f"Channels and their mean (Welch, {spectrum.n_windows} windows)")
    plain_axes(axes)


def draw_correlations(axes: Axes, measures: SubjectMeasures) -> None:
    """Draw the correlations of channels; white where a channel is constant."""
    covariance = measures.covariance
    deviations = np.sqrt(np.diagonal(covariance))
    products = np.outer(deviations, deviations)
    correlations = np.divide(covariance, products, out=np.full_like(covariance, np.nan), where=products > 0)
    borders = (0.5, len(covariance) + 0.5)
    image = axes.imshow(
        correlations,
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        extent=(*borders, *borders[::-1]),
    )
    from matplotlib.ticker import MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("Channel")
    axes.set_ylabel("Channel")
    _panel_title(axes, "Correlation, within runs")
    plain_axes(axes)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, aspect=22)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE, colors=INK)


def draw_runs(axes: Axes, measures: SubjectMeasures) -> None:
    """Draw the segments of each run over its original samples; where no segment is, samples are missing."""
    step, n_runs = measures.description.source_step, len(measures.run_names)
    spans: list[list[tuple[float, float]]] = [[] for _ in range(n_runs)]
    for (start, stop), (sample, run) in zip(measures.segments.tolist(), measures.source_samples.tolist()):
        spans[run].append((sample + measures.description.source_offset, (stop - start) * step))
    ends = [*measures.run_starts[1:].tolist(), measures.n_rows]
    for run, own in enumerate(spans):
        whole = max([(ends[run] - measures.run_starts[run]) * step, *(first + width for first, width in own)])
        axes.broken_barh([(0, whole)], (run - 0.4, 0.8), facecolor=FAINT, linewidth=0)
        axes.broken_barh(own, (run - 0.4, 0.8), facecolor=PALETTE[2], edgecolor="white", linewidth=0.4)
    axes.set_ylim(max(n_runs, FEWEST_ROWS_OF_RUNS) - 0.5, -0.5)
    if n_runs <= MOST_NAMED_RUNS:
        axes.set_yticks(range(n_runs), [plain_text(_short(name), 60) for name in measures.run_names])
    else:
        from matplotlib.ticker import MaxNLocator

        axes.set_ylabel("Run, from 0")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("Original sample of the run")
    axes.set_xlim(left=0)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.locator_params(axis="x", nbins=5)
    segments = f"{measures.n_segments} segment{'s' if measures.n_segments > 1 else ''} (green)"
    if measures.description.n_masked:
        segments += " without masked samples"
    _panel_title(axes, f"{segments} in {n_runs} run{'s' if n_runs > 1 else ''}")
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=SMALL_TEXT_SIZE, length=0)


def plot_all_spectra(summaries: Sequence[SubjectSummary], flags: Sequence[Sequence[Flag]]) -> Figure:
    """Draw the mean spectra of all subjects, as stored; those flagged for spectrum, mains or amplitude in colour."""
    figure = new_figure(9.0, 4.2)
    axes = figure.add_subplot()
    named = [
        index
        for index, own in enumerate(flags)
        if {flag.measure for flag in own} & {"slope", "mains", "amplitude", "channels"}
    ]
    colours = dict(zip(named[:MOST_LABELS], state_colours(min(len(named), MOST_LABELS))))
    for index in [*(index for index in range(len(summaries)) if index not in colours), *colours]:
        own = summaries[index]
        used = without_ends(own.frequencies) & (own.power > 0)
        label = plain_text(_short(own.subject), 60) if index in colours else None
        style = {"color": colours[index], "linewidth": 1.4} if index in colours else {"color": PALETTE[7]}
        axes.plot(own.frequencies[used], own.power[used], label=label, **{"linewidth": 0.5, **style})  # type: ignore[arg-type]
    axes.set_yscale("log")
    _limit_power(axes, np.concatenate([own.power for own in summaries]))
    axes.set_xlabel("Frequency (Hz)")
    axes.set_ylabel("Power per Hz, mean over channels")
    _panel_title(axes, "Spectra of all subjects, as stored" + ("; those that stand out in colour" if colours else ""))
    plain_axes(axes)
    if colours:
        figure.legend(loc="outside right upper", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, labelcolor=INK)
    return figure


def plot_measures(summaries: Sequence[SubjectSummary], flags: Sequence[Sequence[Flag]]) -> Figure:
    """Draw each number that differs as a row of dots, one per subject; those far from the others in it are named."""
    drawn = [measure for measure in MEASURES if _differs([getattr(own, measure.name) for own in summaries])]
    figure = new_figure(10.0, 0.95 * max(len(drawn), 1) + 0.5)
    if not drawn:
        figure.text(0.5, 0.5, "No number differs between the subjects.", ha="center", size=TEXT_SIZE, color=INK)
        return figure
    panels = figure.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for axes, measure in zip(panels, drawn):
        values = np.array([getattr(own, measure.name) for own in summaries])
        far = np.array([any(flag.measure == measure.name for flag in own) for own in flags], dtype=bool)
        known = np.isfinite(values)
        heights = spread_heights(len(values))
        axes.plot(values[known & ~far], heights[known & ~far], "o", color=PALETTE[0], markersize=4, alpha=0.5, mew=0)
        axes.plot(values[known & far], heights[known & far], "o", color=PALETTE[5], markersize=5, mew=0)
        if measure.on_logarithms and values[known].min() > 0 and values[known].max() / values[known].min() > 3:
            _logarithmic(axes)
        axes.axvline(float(np.median(values[known])), color=INK, linewidth=0.8)
        _name_far(axes, [(values[index], summaries[index].subject) for index in np.flatnonzero(far).tolist()])
        axes.set_ylim(-1, 1)
        axes.set_yticks([])
        axes.margins(x=0.08)
        _panel_title(axes, measure.title)
        plain_axes(axes)
        axes.spines["left"].set_visible(False)
    return figure


def without_ends(frequencies: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which frequencies to draw: not 0, whose power the removal of means took, nor the last, with its one side."""
    used = frequencies > 0
    used[-1] &= used.sum() < 2
    return used


def spread_heights(n_subjects: int) -> NDArray[np.float64]:
    """Heights of dots that would cover one another in a row: the same for the same number of subjects, (N,)."""
    return 0.6 * (np.modf(np.arange(n_subjects) * 0.6180339887498949)[0] - 0.5)


def evenly(number: int, most: int) -> list[int]:
    """All of `number` indices, or `most` of them evenly spaced from the first to the last."""
    return list(range(number)) if number <= most else np.linspace(0, number - 1, most).round().astype(int).tolist()


def gaps_of(segments: NDArray[np.int64], n_rows: int) -> list[tuple[int, int]]:
    """Rows outside segments as stretches [start, stop)."""
    starts, stops = [0, *segments[:, 1].tolist()], [*segments[:, 0].tolist(), n_rows]
    return [(start, stop) for start, stop in zip(starts, stops) if stop > start]


def _columns_of_events(measures: SubjectMeasures) -> list[str]:
    """Columns to draw: those with few labels first; one without a name where events have no labels."""
    events = measures.events
    if events is None or not len(events):
        return []
    ordered = sorted(events.names, key=lambda name: (not 1 < len(events.names[name]) <= MOST_LABELS, name))
    return ordered[:MOST_ROWS_OF_EVENTS] or ["events"]


def _offsets(envelope: Envelope, drawn: list[int]) -> tuple[NDArray[Any], float]:
    """Middle of each drawn channel, and the distance from one to the next in units of the signals."""
    low, high = envelope.lowest[:, drawn], envelope.highest[:, drawn]
    with np.errstate(all="ignore"):
        middle = np.nanmedian((low + high) / 2, axis=0)
        extents = np.nanpercentile(high - middle, SPREAD_OF_CHANNELS, axis=0) - np.nanpercentile(
            low - middle, 100.0 - SPREAD_OF_CHANNELS, axis=0
        )
    step = float(np.median(extents))
    return middle, step if step > 0 else float(extents.max()) or 1.0


def _bin_times(envelope: Envelope, rate: float) -> tuple[NDArray[np.float64], bool]:
    """Edges of the bins in seconds, and whether each bin is one row."""
    return envelope.edges / rate, bool(envelope.edges[-1] == len(envelope.lowest))


def _name_runs(axes: Axes, measures: SubjectMeasures) -> None:
    if not 1 < len(measures.run_names) <= MOST_LINES:
        return
    rate = measures.description.sampling_frequency
    named = len(measures.run_names) <= MOST_NAMED_RUNS
    for name, start in zip(measures.run_names, measures.run_starts.tolist()):
        axes.axvline(start / rate, color=INK, linewidth=1.0)
        if named:
            axes.annotate(
                plain_text(_short(name), 60), (start / rate, 1), (2, 2), xycoords=("data", "axes fraction"),
                textcoords="offset points", size=SMALL_TEXT_SIZE, color=INK,
            )  # fmt: skip


def _limit_power(axes: Axes, power: NDArray[np.float64]) -> None:
    """Leave out what filters have taken away, which would flatten all the rest."""
    positive = power[power > 0]
    if len(positive):
        axes.set_ylim(bottom=max(0.5 * float(positive.min()), FILTERED * float(positive.max())))


def _differs(values: Sequence[float]) -> bool:
    known = np.asarray(values)[np.isfinite(values)]
    return len(known) > 1 and float(known.max() - known.min()) > 1e-9 * float(np.abs(known).max())


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _name_far(axes: Axes, found: list[tuple[float, str]]) -> None:
    for position, (value, subject) in enumerate(sorted(found)[-6:]):
        axes.annotate(
            plain_text(_short(subject), 60), (value, 0.45), (0, 1 + 6 * (position % 2)), textcoords="offset points",
            size=SMALL_TEXT_SIZE, color=PALETTE[5], ha="center",
        )  # fmt: skip


def _panel_title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=TEXT_SIZE, color=INK)


def _short(name: str) -> str:
    return name if len(name) <= LETTERS_OF_NAME else f"{name[: LETTERS_OF_NAME - 2]}.."
