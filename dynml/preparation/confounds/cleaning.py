"""Cleans one run of fMRI: confounds and frequencies are removed together, censored volumes become gaps.

Shapes: T volumes, C channels.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError, in_one_line
from dynml.preparation.confounds.regressors import RunConfounds, read_confounds

RELATIVE_REST = 1e-10
"""A channel with less than this share of its size left was explained in full."""


@dataclass(frozen=True, kw_only=True)
class CleaningPlan:
    """What is to be done to one run after it was read; the table of confounds is read when its turn comes."""

    table: Path | None = None
    """Confounds, one row a volume."""
    strategy: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    kept: NDArray[np.bool_] | None = None
    """False where a volume was censored by others, (T,)."""
    high_pass: float | None = None
    low_pass: float | None = None
    detrend: bool = False

    def of_run(self, n_volumes: int) -> Cleaning:
        """Read the table of confounds of a run.

        Raises
        ------
        DataError
            When it does not fit the run or the strategy; see `read_confounds`.
        """
        if self.table is None:
            kept = np.ones(n_volumes, dtype=bool) if self.kept is None else self.kept
            confounds = RunConfounds(names=(), values=np.empty((n_volumes, 0)), kept=kept)
        else:
            confounds = read_confounds(self.table, self.strategy, self.parameters, n_volumes)
        return Cleaning(confounds=confounds, high_pass=self.high_pass, low_pass=self.low_pass, detrend=self.detrend)


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What is done to one run, with its confounds at hand."""

    confounds: RunConfounds
    high_pass: float | None = None
    """Hz."""
    low_pass: float | None = None
    """Hz."""
    detrend: bool = False
    """Remove the linear trend of signals and confounds before the confounds, so that none comes back with them."""

    @property
    def only_censors(self) -> bool:
        """Say that the volumes that stay are left as they are."""
        return not self.confounds.names and self.high_pass is None and self.low_pass is None

    def __call__(
        self,
        signals: NDArray[np.floating[Any]],
        finite: NDArray[np.bool_],
        sampling_frequency: float,
        channel_names: tuple[str, ...],
        where: str,
    ) -> NDArray[np.floating[Any]]:
        """Remove confounds and frequencies as `nilearn.signal.clean` does; other volumes become NaN.

        Parameters
        ----------
        signals : array, (T, C)
        finite : array, (T,)
            False where samples are missing; they are censored as well.
        sampling_frequency : float
            Hz.
        channel_names : tuple of str
        where : str
            Subject, group and run, for messages.

        Returns
        -------
        array, (T, C)

        Raises
        ------
        DataError
            When too few volumes are left, a channel does not vary, or nothing of it is left.

        Notes
        -----
        Signals and confounds are filtered alike before the regression (Lindquist et al. 2018, Human Brain Mapping
        40:2358). For the filter's sake censored volumes are bridged by cubic splines, and censored again before the
        regression. Censored volumes before the first and after the last good one are not seen at all.
        """
        kept = self.confounds.kept & finite
        cleaned = np.full(signals.shape, np.nan)
        positions = np.flatnonzero(kept)
        if len(positions) < len(self.confounds.names) + 3:
            n_confounds = f" for {len(self.confounds.names)} confounds" if self.confounds.names else ""
            raise DataError(f"{where}: {len(positions)} of {len(kept)} volumes are left after censoring{n_confounds}.")
        if self.only_censors:
            cleaned[kept] = signals[kept]
            return cleaned
        _check_varies(signals[kept], channel_names, where)
        inner = slice(positions[0], positions[-1] + 1)
        # A constant is no regressor, yet what filters leave of its rounding would be one.
        confounds = self.confounds.values[inner][:, _varies(self.confounds.values[kept])]
        cleaned[kept] = self._by_nilearn(signals[inner], confounds, kept[inner], sampling_frequency, where)
        _check_left(signals[kept], cleaned[kept], channel_names, where)
        return cleaned

    def constant_confounds(self, finite: NDArray[np.bool_]) -> list[str]:
        """Names of confounds that do not vary over the volumes that are left, so that nothing is removed for them.

        Parameters
        ----------
        finite : array, (T,)
            False where samples are missing.
        """
        varies = _varies(self.confounds.values[self.confounds.kept & finite])
        return [name for name, does in zip(self.confounds.names, varies) if not does]

    def _by_nilearn(
        self,
        signals: NDArray[np.floating[Any]],
        confounds: NDArray[np.float64],
        kept: NDArray[np.bool_],
        sampling_frequency: float,
        where: str,
    ) -> NDArray[np.float64]:
        from nilearn.signal import clean

        # nilearn 0.14 bridges a censored volume wrongly where its mirror image from the run's end is censored too
        # (it negates indices as if they were a mask), so that volumes are bridged here.
        signals, confounds = _bridged(signals.astype(np.float64), kept), _bridged(confounds, kept)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                return clean(
                    signals,
                    detrend=self.detrend,
                    standardize=None,
                    sample_mask=None if kept.all() else np.flatnonzero(kept),
                    confounds=confounds if confounds.shape[1] else None,
                    high_pass=self.high_pass,
                    low_pass=self.low_pass,
                    t_r=1.0 / sampling_frequency,
                )
        except (ValueError, RuntimeWarning) as error:
            reason = in_one_line(error)
            raise DataError(f"{where}: {len(kept)} volumes could not be cleaned: {reason}.") from error

    def note(self, scrubbed: dict[str, int], moved: Mapping[str, float]) -> dict[str, Any]:
        """Say what was done, as plain values.

        Parameters
        ----------
        scrubbed : dict
            Censored volumes of each run.
        moved : mapping
            Mean framewise displacement of each run whose table has it, mm.
        """
        return {
            "step": "clean",
            "confounds": list(self.confounds.names),
            "high_pass": self.high_pass,
            "low_pass": self.low_pass,
            "detrend": self.detrend,
            "censored_volumes": scrubbed,
            **(
                {"runs": {run: {"mean_framewise_displacement_mm": round(moved[run], 4)} for run in moved}}
                if moved
                else {}
            ),
            "versions": {"nilearn": importlib.metadata.version("nilearn")},
        }


def _bridged(values: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    from scipy.interpolate import CubicSpline

    if kept.all() or not values.shape[1]:
        return values
    bridged = values.copy()
    positions = np.flatnonzero(kept)
    bridged[~kept] = CubicSpline(positions, values[positions])(np.flatnonzero(~kept))
    return bridged


def _varies(confounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which confounds vary by more than rounding, (n,)."""
    return np.ptp(confounds, axis=0) > RELATIVE_REST * np.abs(confounds).max(axis=0)


def _check_varies(signals: NDArray[np.floating[Any]], names: tuple[str, ...], where: str) -> None:
    mean, std = signals.mean(axis=0, dtype=np.float64), signals.std(axis=0, dtype=np.float64)
    faulty = np.flatnonzero(std <= 4.0 * np.finfo(signals.dtype).eps * np.abs(mean))
    if not len(faulty):
        return
    first = faulty[0]
    of = f"of the volumes that are left, channel {names[first]}"
    of += f" (and {len(faulty) - 1} more channels)" if len(faulty) > 1 else ""
    if np.ptp(signals[:, first]):
        raise DataError(
            f"{where}: {of} varies by no more than the rounding of its numbers, with mean {mean[first]:g} and standard "
            f"deviation {std[first]:.3g}; subtract the offset before the files are written as {signals.dtype}."
        )
    raise DataError(
        f"{where}: {of} has the value {mean[first]:g} in all; name it in 'exclude_channels', which leaves it out "
        "everywhere, or leave the subject out."
    )


def _check_left(
    before: NDArray[np.floating[Any]], after: NDArray[np.float64], names: tuple[str, ...], where: str
) -> None:
    gone = np.flatnonzero(after.std(axis=0) <= RELATIVE_REST * before.std(axis=0, dtype=np.float64))
    if len(gone):
        raise DataError(f"{where}: nothing is left of channel {names[gone[0]]} without confounds and frequencies.")
