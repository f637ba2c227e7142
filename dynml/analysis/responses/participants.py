"""Responses of one participant after the other, and of all of them together.

Shapes: D conditions, W samples of an epoch, K states, N participants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.responses.epochs import Epochs, Window, cut_epochs
from dynml.analysis.responses.haemodynamic import HaemodynamicModel
from dynml.analysis.responses.locking import ShiftedRuns, exchanged_labels_p, is_periodic
from dynml.analysis.responses.means import TrialSums
from dynml.analysis.responses.series import SubjectSeries

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ResponseSettings:
    """What is looked at, and how it is tested."""

    conditions: tuple[str, ...]
    window: Window
    baseline: Window | None = None
    haemodynamic: str | None = None
    """nilearn's name of the response that a participant's locking is tested with; None: epochs are."""
    with_times: bool = False
    """Test each time of a participant's epochs, too, where a haemodynamic response is used."""
    component: str = "state"
    """What a column of values is called: state, mode, feature."""
    n_surrogates: int = 1000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ConditionLocking:
    """How one participant's states are locked to one condition, (K,) each."""

    effect: Doubles
    """Haemodynamic: the model's effect. Otherwise: the mean response less the reference, where it stands out most."""
    time: Doubles
    """Seconds since the event where it does; NaN of the haemodynamic model."""
    t: Doubles
    """Of the haemodynamic model; NaN otherwise."""
    p: Doubles
    """Corrected over states, and times where there are any."""
    method: str
    surrogates: str = ""
    """How the surrogates were made, by themselves."""
    p_of_times: Doubles | None = None
    """(W, K), corrected over times and states; None where times were not tested."""


@dataclass(frozen=True, kw_only=True)
class ParticipantResponses:
    """Mean responses of one participant."""

    participant: str
    mean: Doubles
    """(D, W, K); NaN without trials."""
    standard_error: Doubles
    """Over trials, (D, W, K)."""
    n_trials: Doubles
    """(D, W)."""
    reference: Doubles
    """Mean over all observed samples, (K,); zeros where a baseline was subtracted."""
    subject_means: dict[str, Doubles]
    """Of each subject, (D, W, K)."""
    epochs: dict[str, Epochs]
    """Of each subject."""
    locking: dict[int, ConditionLocking]
    """By condition; those that could not be tested are absent."""
    untested: dict[int, str]
    """Conditions with trials that could not be tested, and why."""

    @property
    def deviation(self) -> Doubles:
        """Mean response less the reference, (D, W, K)."""
        return self.mean - self.reference


def participant_responses(series: Sequence[SubjectSeries], settings: ResponseSettings) -> ParticipantResponses:
    """Cut, average and test one participant.

    Parameters
    ----------
    series : sequence of SubjectSeries
        All subjects (sessions, runs) of the participant.
    settings : ResponseSettings
    """
    window, n_states = settings.window, series[0].values.shape[1]
    shape = len(settings.conditions), len(window), n_states
    sums, subject_means, epochs = TrialSums(*shape), {}, {}
    for one in series:
        own, epochs[one.subject] = TrialSums(*shape), cut_epochs(one, window, settings.baseline)
        for each in (own, sums):
            each.add(epochs[one.subject])
        subject_means[one.subject] = own.mean
    valid = np.concatenate([one.values[one.valid] for one in series])
    reference = np.zeros(n_states)
    if settings.baseline is None and len(valid):
        reference = valid.mean(axis=0, dtype=np.float64)
    test = _Tests(series, list(epochs.values()), settings, sums.mean - reference)
    locking, untested = test.all()
    return ParticipantResponses(
        participant=series[0].participant,
        mean=sums.mean,
        standard_error=sums.standard_error,
        n_trials=sums.count,
        reference=reference,
        subject_means=subject_means,
        epochs=epochs,
        locking=locking,
        untested=untested,
    )


class _Tests:
    """Tests of one participant's locking to each condition."""

    def __init__(
        self, series: Sequence[SubjectSeries], epochs: list[Epochs], settings: ResponseSettings, deviation: Doubles
    ) -> None:
        self._series, self._epochs, self._settings, self._deviation = series, epochs, settings, deviation
        self._shifted = ShiftedRuns(series, epochs, settings.window, settings.baseline)

    def all(self) -> tuple[dict[int, ConditionLocking], dict[int, str]]:
        """Test each condition that has trials."""
        occurring = np.unique(np.concatenate([one.condition for one in self._epochs])) if self._epochs else ()
        periodic = {int(condition) for condition in occurring if self._is_periodic(int(condition))}
        found = self._haemodynamic() if self._settings.haemodynamic else {}
        untested = {}
        for condition in map(int, occurring):
            if condition in periodic:
                own = self._exchanged(condition)
                found.pop(condition, None)
                if own is None:
                    untested[condition] = "its events come at equal distances, and no run has trials of another one"
                else:
                    found[condition] = own
            elif self._settings.haemodynamic is None:
                found[condition] = self._of_epochs(condition)
            elif condition not in found:
                untested[condition] = "it is the rest of the others, or its runs are too short for their design"
        return found, untested

    def _is_periodic(self, condition: int) -> bool:
        runs = [
            one.onsets.row[(one.run_of_onsets() == run) & (one.onsets.condition == condition)]
            for one in self._series
            for run in range(len(one.runs))
        ]
        occupied = [onsets for onsets in runs if len(onsets)]
        return bool(occupied) and sum(map(is_periodic, occupied)) > len(occupied) / 2

    def _haemodynamic(self) -> dict[int, ConditionLocking]:
        settings = self._settings
        model = HaemodynamicModel(self._series, settings.conditions, str(settings.haemodynamic))
        return {
            condition: ConditionLocking(
                effect=effects.effect,
                time=np.full(len(effects.effect), np.nan),
                t=effects.t,
                p=locking.p,
                method=f"general linear model with the response {settings.haemodynamic}; {locking.method}",
                surrogates=locking.method,
                p_of_times=self._p_of_times(condition) if settings.with_times else None,
            )
            for condition, (effects, locking) in model.tests(n_shifts=settings.n_surrogates, seed=settings.seed).items()
        }

    def _p_of_times(self, condition: int) -> Doubles:
        return self._shifted.p(condition, n_shifts=self._settings.n_surrogates, seed=self._settings.seed).p

    def _of_epochs(self, condition: int) -> ConditionLocking:
        locking = self._shifted.p(condition, n_shifts=self._settings.n_surrogates, seed=self._settings.seed)
        return self._at_peak(condition, locking.p, locking.method)

    def _exchanged(self, condition: int) -> ConditionLocking | None:
        settings = self._settings
        locking = exchanged_labels_p(self._epochs, condition, n_exchanges=settings.n_surrogates, seed=settings.seed)
        return None if locking is None else self._at_peak(condition, locking.p, locking.method)

    def _at_peak(self, condition: int, p: Doubles, surrogates: str) -> ConditionLocking:
        """Describe each state where it stands out most: at the smallest p, the largest deviation among equals."""
        deviation = np.nan_to_num(self._deviation[condition])
        filled = np.where(np.isfinite(p), p, np.inf)
        peak = np.lexsort((-np.abs(deviation), filled), axis=0)[0]
        states = np.arange(p.shape[1])
        return ConditionLocking(
            effect=self._deviation[condition][peak, states],
            time=self._settings.window.times[peak],
            t=np.full(p.shape[1], np.nan),
            p=p[peak, states],
            method=f"epochs; {surrogates}",
            surrogates=surrogates,
            p_of_times=p,
        )
