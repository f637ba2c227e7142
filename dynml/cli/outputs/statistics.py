"""Tables of state statistics that dynml_infer_from_model.py writes beside each subject's alpha."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynml.analysis.state_statistics import StateStatistics, state_statistics, write_state_statistics
from dynml.analysis.state_statistics.soft import (
    OnOff,
    above_percentile,
    largest_is_on,
    on_off_levels,
    reweighted,
    soft_statistics,
)
from dynml.analysis.state_statistics.statistics import STATE, SUBJECT
from dynml.analysis.state_statistics.summaries import in_windows, occupancy_entropy, soft_occupancy, soft_visits
from dynml.analysis.state_statistics.transitions import transition_counts, transition_probabilities
from dynml.analysis.state_statistics.visits import all_visits
from dynml.analysis.tidy import Column, write_tidy
from dynml.stretches import common_stretches, stretches_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dynml.models.inferred import InferredSubject

WINDOW_SECONDS, WINDOW_SAMPLES = 10.0, 50
"""A window of summaries has both at least, unless its length is asked for."""


class StatisticsTables:
    """Takes subjects as they are inferred, and writes the tables in the end.

    Parameters
    ----------
    folder : Path
    covariances : array (K, C, C), optional
        Of states or modes in units of the signals, which alpha is reweighted by; None: it is not.
    window_seconds : float, optional
        Length of windows.
    binarise : {"argmax", "percentile", "mixture"}, optional
        How alpha is made on and off for a table of its own; None: there is none.
    percentile : float
    """

    def __init__(
        self,
        folder: Path,
        *,
        covariances: NDArray[Any] | None = None,
        window_seconds: float | None = None,
        binarise: str | None = None,
        percentile: float = 90.0,
    ) -> None:
        self._folder, self._covariances, self._window_seconds = folder, covariances, window_seconds
        self._binarise, self._percentile = binarise, percentile
        self.statistics: dict[str, StateStatistics] = {}
        self._visits: list[list[Any]] = []
        self._transitions: list[list[Any]] = []
        self._subjects: list[list[Any]] = []
        self._soft: list[list[Any]] = []
        self._correlations: list[list[Any]] = []
        self._windows: list[list[Any]] = []
        self._alphas: dict[str, tuple[NDArray[Any], NDArray[np.int64], float]] = {}

    def add(self, result: InferredSubject) -> None:
        """Take a subject."""
        own = state_statistics(result.alpha, result.segments, result.sampling_frequency)
        self.statistics[result.subject] = own
        self._add_visits(result)
        self._add_transitions(result)
        fano = self._add_windows(result)
        self._add_soft(result, fano)
        occupancy = own.fractional_occupancy
        n_visits = round(float(own.switching_rate.sum()) * _seconds(result))
        self._subjects.append(
            [
                result.subject,
                float(occupancy.max()),
                int(occupancy.argmax()) + 1,
                occupancy_entropy(occupancy),
                int((occupancy > 0).sum()),
                n_visits,
                float(own.switching_rate.sum()),
                _seconds(result),
            ]
        )
        if self._binarise:
            self._alphas[result.subject] = result.alpha, result.segments, result.sampling_frequency

    def findings(self, component: str) -> list[str]:
        """Say which states or modes are the largest one at no sample of any subject."""
        shares = [one.fractional_occupancy for one in self.statistics.values()]
        never = [int(k) + 1 for k in np.flatnonzero(np.nansum(shares, axis=0) == 0)] if shares else []
        names = ", ".join(map(str, never))
        if not names:
            return []
        what = f"{component.capitalize()} {names} is" if len(never) == 1 else f"{component.capitalize()}s {names} are"
        return [f"{what} never the most probable one in these data."]

    def write(self) -> list[Path]:
        """Write all tables, and give their paths; those that have no rows are left out."""
        written = [self._folder / "state_statistics.tsv"]
        write_state_statistics(written[0], self.statistics)
        for name, columns, rows in (
            ("visits", VISITS, self._visits),
            ("transitions", TRANSITIONS, self._transitions),
            ("subject_statistics", SUBJECTS, self._subjects),
            ("alpha_statistics", SOFT, self._soft),
            ("alpha_correlations", CORRELATIONS, self._correlations),
            ("windows", WINDOWS, self._windows),
        ):
            if rows:
                written.append(self._folder / f"{name}.tsv")
                write_tidy(written[-1], columns, rows)
        if self._binarise:
            about = {"method": self._binarise}
            if self._binarise == "percentile":
                about["percentile"] = str(self._percentile)
            written.append(self._folder / "on_off.tsv")
            write_tidy(written[-1], ON_OFF, self._on_off(), **about)
        return written

    def _add_visits(self, result: InferredSubject) -> None:
        visits, rate = all_visits(result.alpha, result.segments), result.sampling_frequency
        columns = (visits.state, visits.segment, visits.start, visits.length, visits.interval, visits.is_cut)
        for state, segment, start, length, interval, is_cut in zip(*(column.tolist() for column in columns)):
            cut = "true" if is_cut else "false"
            self._visits.append([result.subject, state + 1, segment + 1, start, length / rate, interval / rate, cut])

    def _add_transitions(self, result: InferredSubject) -> None:
        counts = transition_counts(result.alpha, result.segments)
        probabilities = transition_probabilities(counts)
        soft = np.full_like(counts, np.nan) if result.transitions is None else result.transitions
        soft_probabilities = transition_probabilities(soft)
        for before in range(len(counts)):
            for after in range(len(counts)):
                pair = before, after
                numbers = [int(counts[pair]), probabilities[pair], float(soft[pair]), soft_probabilities[pair]]
                self._transitions.append([result.subject, before + 1, after + 1, *numbers])

    def _add_windows(self, result: InferredSubject) -> NDArray[np.float64]:
        rate = result.sampling_frequency
        seconds = self._window_seconds or max(WINDOW_SECONDS, WINDOW_SAMPLES / rate)
        windows = in_windows(result.alpha, result.segments, max(1, round(seconds * rate)))
        for number, start in enumerate(windows.start.tolist()):
            for state, (share, onsets) in enumerate(zip(windows.occupancy[number], windows.n_onsets[number])):
                lasting = [start / rate, windows.length / rate]
                self._windows.append([result.subject, number + 1, *lasting, state + 1, float(share), int(onsets)])
        return windows.fano_factor

    def _add_soft(self, result: InferredSubject, fano: NDArray[np.float64]) -> None:
        rows = np.asarray(np.isfinite(result.alpha).all(axis=1))
        soft = soft_statistics(result.alpha, result.segments, result.sampling_frequency)
        occupancy = soft_occupancy(result.alpha, rows)
        n_states = len(occupancy)
        visits, lifetime, weighted = (np.full(n_states, np.nan) for _ in range(3))
        if result.transitions is not None:
            expected = soft_visits(result.alpha, result.segments, result.transitions, result.sampling_frequency)
            visits, lifetime = expected.n_visits, expected.lifetime
        if self._covariances is not None:
            weighted = reweighted(result.alpha[rows], self._covariances).mean(axis=0)
        columns = (
            *(occupancy, soft.standard_deviation, soft.kurtosis, soft.autocorrelation_time),
            *(visits, lifetime, weighted, fano),
        )
        for state in range(n_states):
            self._soft.append([result.subject, state + 1, *(float(column[state]) for column in columns)])
            for other in range(state + 1, n_states):
                value = float(soft.correlation[state, other])
                self._correlations.append([result.subject, state + 1, other + 1, value])

    def _on_off(self) -> Iterator[list[Any]]:
        levels = None
        if self._binarise == "mixture":
            levels = on_off_levels([alpha for alpha, _, _ in self._alphas.values()])
        for subject, (alpha, segments, rate) in self._alphas.items():
            on, n_samples = self._is_on(alpha, levels), int(np.diff(segments, axis=1).sum())
            for state in range(on.shape[1]):
                threshold, gain = (None, None) if levels is None else (levels.threshold[state], levels.bic_gain[state])
                numbers: list[Any] = [None, None, None]
                if threshold is None or not np.isnan(threshold):
                    stretches = common_stretches(stretches_of(on[:, state]), segments)
                    lengths = np.diff(stretches, axis=1)
                    lifetime = float(lengths.mean()) / rate if len(lengths) else float("nan")
                    numbers = [float(lengths.sum()) / n_samples, len(lengths), lifetime]
                yield [subject, state + 1, *numbers, threshold, gain]

    def _is_on(self, alpha: NDArray[Any], levels: OnOff | None) -> NDArray[np.bool_]:
        if levels is not None:
            return levels.is_on(alpha)
        return above_percentile(alpha, self._percentile) if self._binarise == "percentile" else largest_is_on(alpha)


def _seconds(result: InferredSubject) -> float:
    return float(np.diff(result.segments, axis=1).sum()) / result.sampling_frequency


VISITS = (
    SUBJECT,
    STATE,
    Column("segment", "Segment of the subject, from 1"),
    Column("start", "Stored row in which the visit begins, from 0"),
    Column("lifetime", "Duration, as far as it was seen", "s"),
    Column("interval", "Time since the state's visit before in the same segment; n/a for the first one", "s"),
    Column("censored", "Whether a border of the segment cuts the visit, so that it may have lasted longer"),
)
TRANSITIONS = (
    SUBJECT,
    Column("from", "State or mode, from 1"),
    Column("to", "State or mode one sample later, from 1"),
    Column("count", "Pairs of neighbouring samples within segments, of the most probable states"),
    Column("probability", "count divided by all with the same from; n/a where there are none", "1"),
    Column("expected_count", "Sum of the posterior of the pair of states; n/a of models without it"),
    Column("expected_probability", "expected_count divided by all with the same from", "1"),
)
SUBJECTS = (
    SUBJECT,
    Column("maximum_occupancy", "Largest share of samples that one state has; near 1: one state for all time", "1"),
    Column("most_visited", "The state that has it, from 1"),
    Column("occupancy_entropy", "Entropy of the shares divided by the logarithm of the number of states", "1"),
    Column("n_states_visited", "States that are ever the most probable one"),
    Column("n_visits", "Visits to all states"),
    Column("switching_rate", "Visits to all states per second", "Hz"),
    Column("duration", "Samples in segments", "s"),
)
SOFT = (
    SUBJECT,
    STATE,
    Column("mean", "Mean of alpha: the soft occupancy", "1"),
    Column("standard_deviation", "Of alpha over time", "1"),
    Column("kurtosis", "Of alpha over time, above that of the normal distribution"),
    Column("autocorrelation_time", "First lag with an autocorrelation below 1/e", "s"),
    Column("expected_visits", "Sum of the probabilities that a visit begins; n/a of models without it"),
    Column("expected_lifetime", "Expected time in the state divided by expected visits", "s"),
    Column("reweighted_mean", "Mean of alpha times the trace of the covariance, divided by the sum over states", "1"),
    Column("fano_factor", "Variance over mean of the onsets in windows; 1: visits come at random"),
)
CORRELATIONS = (
    SUBJECT,
    STATE,
    Column("other", "Another state or mode"),
    Column("correlation", "Of their alphas over time; negative by the sum of 1 alone", "1"),
)
WINDOWS = (
    SUBJECT,
    Column("window", "From 1; windows stand side by side within segments"),
    Column("start", "Of the window, in stored rows", "s"),
    Column("length", "Of the window", "s"),
    STATE,
    Column("occupancy", "Share of the window's samples in which the state is the most probable one", "1"),
    Column("n_onsets", "Visits that begin in the window, not counting a segment's first"),
)
ON_OFF = (
    SUBJECT,
    STATE,
    Column("share_on", "Share of samples in which alpha is on; n/a where it has no two levels", "1"),
    Column("n_visits", "Stretches in which it is on"),
    Column("mean_lifetime", "Their mean duration", "s"),
    Column("threshold", "Logit of alpha above which it is on, for all subjects; n/a of other methods"),
    Column("bic_gain", "BIC of one Gaussian less that of two, over all subjects; n/a of other methods"),
)
