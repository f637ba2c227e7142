"""Slow signals: a general linear model with a haemodynamic response, one participant at a time, by nilearn.

Probabilities of K states sum to 1, so that K tests are K - 1; the maximum over states accounts for that.

Shapes: T rows of a run, K states, P columns of a design.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.responses.locking import SHIFTS, Locking, random_lags, shifted_rows, surrogate_p
from dynml.analysis.responses.regressors import response_regressor
from dynml.analysis.responses.series import SubjectSeries

Doubles = NDArray[np.float64]
SLOWEST_FAST = 4.0
"""Hz; signals of fewer samples per second are taken for haemodynamic ones."""
HIGH_PASS = 0.01
"""Hz; slower drifts are modelled by cosines."""
SPARE_ROWS = 5
"""Observed rows that a run must have beyond the columns of its design."""
BYTES_AT_ONCE = 128 * 1024**2
"""Of shifted series, which are fitted together; a model of nilearn holds a few times as much."""
REST = ("rest", "baseline", "fixation")
"""Labels that are what others are compared with, where events fill a run."""
FULL = 0.95
"""Share of a run's rows under events from which it counts as filled."""


@dataclass(frozen=True)
class Effects:
    """Effect of one condition on each state, over all runs of a participant with equal weights, (K,) each."""

    effect: Doubles
    """Change of the state's value at the response's own scale."""
    standard_error: Doubles

    @property
    def t(self) -> Doubles:
        """(K,); NaN where there is no error."""
        positive = self.standard_error > 0
        return np.divide(self.effect, self.standard_error, out=np.full_like(self.effect, np.nan), where=positive)


class HaemodynamicModel:
    """The runs of one participant with their designs.

    Parameters
    ----------
    series : sequence of SubjectSeries
        Of one participant.
    conditions : sequence of str
    response : str
        nilearn's name of the haemodynamic response: glover, spm.
    """

    def __init__(self, series: Sequence[SubjectSeries], conditions: Sequence[str], response: str = "glover") -> None:
        runs = (_DesignedRun.of(one, run, conditions, response) for one in series for run in range(len(one.runs)))
        self._runs = [run for run in runs if run is not None]

    def effects(self, lags: Sequence[NDArray[np.int64]] | None = None) -> dict[int, Effects]:
        """Effects of each condition that occurs, by its number.

        Parameters
        ----------
        lags : sequence of array, (n,), optional
            Of each run: its rows are shifted by each; by default the data as they are.

        Returns
        -------
        dict
            Of arrays (K,), or of (n K,) with lags.
        """
        found: dict[int, list[tuple[Doubles, Doubles]]] = {}
        for number, run in enumerate(self._runs):
            for condition, own in run.fitted(None if lags is None else lags[number]).items():
                found.setdefault(condition, []).append(own)
        return {condition: _over_runs(own) for condition, own in found.items()}

    def tests(self, *, n_shifts: int, seed: int) -> dict[int, tuple[Effects, Locking]]:
        """Test the effects of each condition by circular shifts, corrected over states, (K,)."""
        if not self._runs:
            return {}
        observed = self.effects()
        shifted = self.effects(random_lags([run.n_rows for run in self._runs], n_shifts, seed=seed))
        tests = {}
        for condition, own in observed.items():
            surrogates = np.nan_to_num(shifted[condition].t).reshape(n_shifts, -1)
            p = surrogate_p(np.nan_to_num(own.t), surrogates)
            tests[condition] = own, Locking(np.where(np.isfinite(own.t), p, np.nan), n_shifts, SHIFTS)
        return tests


def _over_runs(found: Sequence[tuple[Doubles, Doubles]]) -> Effects:
    effects, variances = (np.stack(values) for values in zip(*found))
    return Effects(effects.mean(axis=0), np.sqrt(variances.sum(axis=0)) / len(found))


@dataclass(frozen=True)
class _DesignedRun:
    values: Doubles
    """(rows, K), observed ones."""
    designs: tuple[tuple[Doubles, dict[int, int]], ...]
    """Designs, (rows, P), with the columns of conditions."""

    @property
    def n_rows(self) -> int:
        return len(self.values)

    def fitted(self, lags: NDArray[np.int64] | None) -> dict[int, tuple[Doubles, Doubles]]:
        """Effect of each condition and its variance, by nilearn's autoregressive model of first order."""
        if lags is None:
            return self._fitted(self.values)
        doubled = np.concatenate([self.values, self.values])
        n_at_once = max(1, BYTES_AT_ONCE // self.values.nbytes)
        parts = [
            self._fitted(np.concatenate([shifted_rows(doubled, int(lag)) for lag in some], axis=1))
            for some in (lags[first : first + n_at_once] for first in range(0, len(lags), n_at_once))
        ]
        effects = {condition: [part[condition] for part in parts] for condition in parts[0]}
        return {
            condition: (np.concatenate([one for one, _ in own]), np.concatenate([one for _, one in own]))
            for condition, own in effects.items()
        }

    def _fitted(self, values: Doubles) -> dict[int, tuple[Doubles, Doubles]]:
        from nilearn.glm import compute_contrast
        from nilearn.glm.first_level import run_glm

        found = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of states that never change: their effect is zero
            for design, columns in self.designs:
                labels, results = run_glm(values, design, noise_model="ar1")
                for condition, column in columns.items():
                    own = compute_contrast(labels, results, np.eye(design.shape[1])[column], stat_type="t")
                    found[condition] = np.ravel(own.effect_size()), np.ravel(own.effect_variance())
        return found

    @classmethod
    def of(cls, series: SubjectSeries, run: int, conditions: Sequence[str], response: str) -> _DesignedRun | None:
        """Give a run with its designs; None where it has too few rows, or no event."""
        start, stop = (int(row) for row in series.runs[run])
        valid = series.valid[start:stop]
        own = series.run_of_onsets() == run
        occurring = np.unique(series.onsets.condition[own])
        if not own.any() or valid.sum() <= SPARE_ROWS:
            return None
        rest = _rest(series, own, stop - start, conditions)
        tested = [int(condition) for condition in occurring if condition != rest]
        # Conditions that fill a run sum to its mean: each alone, compared with all others.
        sets = [[condition] for condition in tested] if rest == FILLED else [tested]
        designs = tuple(
            (_design(series, own, chosen, (start, stop), response)[valid], {one: n for n, one in enumerate(chosen)})
            for chosen in sets
            if chosen
        )
        widest = max((matrix.shape[1] for matrix, _ in designs), default=0)
        if not designs or valid.sum() < widest + SPARE_ROWS:
            return None
        return cls(series.values[start:stop][valid].astype(np.float64), designs)


FILLED = -2


def _rest(series: SubjectSeries, own: NDArray[np.bool_], n_rows: int, conditions: Sequence[str]) -> int | None:
    """The condition that is left out of a run's design: None where events leave room; FILLED where none is rest."""
    if series.onsets.duration[own].sum() < FULL * n_rows:
        return None
    occurring = np.unique(series.onsets.condition[own]).tolist()
    return next((number for number in occurring if conditions[number].lower() in REST), FILLED)


def _design(
    series: SubjectSeries, own: NDArray[np.bool_], conditions: Sequence[int], rows: tuple[int, int], response: str
) -> Doubles:
    """Regressors of some conditions, in their order, then drifts and a constant, (T, P)."""
    from nilearn.glm.first_level import make_first_level_design_matrix

    rate, (start, stop) = series.sampling_frequency, rows
    regressors = []
    for number in conditions:
        chosen = own & (series.onsets.condition == number)
        onsets, durations = (series.onsets.row[chosen] - start) / rate, series.onsets.duration[chosen] / rate
        regressors.append(response_regressor(onsets, durations, stop - start, rate, response))
    names = [f"condition_{number:06d}" for number in conditions]
    table = make_first_level_design_matrix(
        np.arange(stop - start) / rate,
        drift_model="cosine",
        high_pass=HIGH_PASS,
        add_regs=np.stack(regressors, axis=1),
        add_reg_names=names,
    )
    return np.asarray(table[[*names, *(name for name in table if name not in names)]], dtype=np.float64)
