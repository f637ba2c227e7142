"""What a reader of spectra must know before believing them, in sentences with numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dynml.analysis.signal_units import STANDARDIZED
from dynml.analysis.spectra.choice import pooled_visits, short_states
from dynml.analysis.spectra.estimation import WeightedSignals
from dynml.analysis.spectra.group import GatheredSpectra
from dynml.analysis.spectra.settings import UNSTATED_RATE, Method, Settled, SpectraConfig
from dynml.analysis.spectra.subjects import Visits
from dynml.errors import first_of
from dynml.ops.spectra.cross_spectra import MOST_REMOVED
from dynml.ops.spectra.lagged_pairs import FEWEST_PAIRS
from dynml.ops.spectra.regression import correlated_modes

ILL_CONDITIONED = 30.0
MUCH_REMOVED = 0.2
HIGH_FLOOR = 0.3
N_NAMED = 4


@dataclass(kw_only=True)
class Asked:
    """What was asked, of which data, and what was noticed on the way."""

    config: SpectraConfig
    method: Method
    settled: Settled
    components: str
    """states or modes"""
    channel_names: tuple[str, ...]
    units: str
    visits: list[Visits] = field(default_factory=list)
    short_subjects: list[str] = field(default_factory=list)
    twins: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def component(self) -> str:
        """State or Mode, for tables and figures."""
        return self.components.removesuffix("s").capitalize()

    @property
    def squared_units(self) -> str:
        """Units of power."""
        return "1" if self.units in ("arbitrary", "", "1", STANDARDIZED) else f"({self.units})^2"

    def note_subject(self, subject: str, data: WeightedSignals) -> None:
        """Note a subject without a stretch of a window's length, and modes that go together."""
        lengths = data.stretches[:, 1] - data.stretches[:, 0]
        if lengths.max(initial=0) < self._shortest:
            self.short_subjects.append(subject)
        if self.components == "modes":
            for first, second, correlation in correlated_modes(data.weights):
                self.twins[first, second] = max(correlation, self.twins.get((first, second), -1.0))

    def note_visits(self, visits: Visits) -> None:
        """Note how long a subject's visits are."""
        self.visits.append(visits)

    @property
    def why_nothing(self) -> str:
        """What every subject lacks where none has a spectrum."""
        if self.method == "pairs":
            return f"no subject has {FEWEST_PAIRS:g} pairs of samples that are both in a state"
        return (
            f"no subject has a stretch of {self.settled.window} samples without a gap in which a state is there; take "
            "a shorter --window_length"
        )

    @property
    def _shortest(self) -> int:
        return 1 if self.method == "pairs" else self.settled.window

    def findings(self, gathered: GatheredSpectra) -> list[str]:
        """Sentences, the gravest first."""
        return [
            *self._of_absent(gathered),
            *self._of_leakage(),
            *self._of_conditions(gathered),
            *self._of_floors(gathered),
            *self._of_signals(),
        ]

    def _of_absent(self, gathered: GatheredSpectra) -> list[str]:
        found = []
        if self.short_subjects:
            found.append(
                f"{_named(self.short_subjects)} no stretch of {self.settled.window} samples without a gap, the length "
                "of a window, and no spectrum."
            )
        absent = np.asarray(np.isnan(gathered.stacked("power")).all(axis=(2, 3)))
        long_enough = [name not in self.short_subjects for name in gathered.subjects]
        absent, names = absent[long_enough], [n for n, is_long in zip(gathered.subjects, long_enough) if is_long]
        nowhere = absent.all(axis=0) if len(names) else np.zeros(absent.shape[1], dtype=bool)
        if nowhere.sum() > 1:
            numbers = ", ".join(str(state + 1) for state in np.flatnonzero(nowhere))
            which = "any other subject" if self.short_subjects else f"any of {len(names)} subjects"
            found.append(f"These {self.components} are too rare for a spectrum in {which}: {numbers}.")
            absent = absent & ~nowhere
        for state in np.flatnonzero(absent.any(axis=0)):
            without = [name for name, gone in zip(names, absent[:, state]) if gone]
            found.append(
                f"{self.component} {state + 1} is too rare for a spectrum in {len(without)} of "
                f"{len(gathered.subjects)} subjects ({first_of(without, N_NAMED)})."
            )
        return found

    def _of_leakage(self) -> list[str]:
        if self.method != "multitaper" or not self.visits:
            return []
        rate = self.settled.sampling_frequency
        visits = pooled_visits(self.visits)
        short = short_states(visits, rate)
        if self.components == "modes" or not len(short):
            return []
        seconds = visits.mean_seconds(rate)[short]
        return [
            f"Visits to {_states(short)} last {seconds.min():.3g} s on average, which broadens their spectra by about "
            f"{1 / seconds.min():.3g} Hz: they contain power of other states; --method pairs avoids this."
        ]

    def _of_conditions(self, gathered: GatheredSpectra) -> list[str]:
        found = []
        worst = float(np.max(gathered.conditions))
        if worst > ILL_CONDITIONED:
            name = gathered.subjects[int(np.argmax(gathered.conditions))]
            found.append(
                f"The {self.components} overlap too much in time to be separated well (condition number up to "
                f"{worst:.3g}, in "
                f"{name}), so that their spectra trade off against each other."
            )
        for (first, second), correlation in sorted(self.twins.items()):
            found.append(
                f"Modes {first + 1} and {second + 1} come and go together (correlation up to {correlation:.2f}); their "
                "spectra cannot be separated."
            )
        found += self._of_missing_coherence(gathered)
        removed = np.nanmax(np.append(gathered.stacked("negative_share").ravel(), 0.0))
        if removed > MUCH_REMOVED:
            found.append(
                f"Up to {100 * removed:.0f} % of a cross spectrum was negative and removed: there is little data for "
                f"{len(self.channel_names)} channels at this resolution; coherence of weak edges is uncertain."
            )
        return found

    def _of_missing_coherence(self, gathered: GatheredSpectra) -> list[str]:
        found, power = [], gathered.stacked("power")
        there = np.asarray(np.isfinite(power).all(axis=2))
        for state in range(there.shape[1]):
            missing = there[:, state] & (gathered.stacked("negative_share_KF")[:, state] > MOST_REMOVED)
            if missing.any():
                affected = gathered.frequencies[missing.any(axis=0)]
                share = 100 * missing.sum() / there[:, state].sum()
                found.append(
                    f"{self.component} {state + 1} has no coherence at {share:.2g} % "
                    f"of the frequencies of its subjects, within {affected[0]:.3g} to {affected[-1]:.3g} Hz: more than "
                    f"{100 * MOST_REMOVED:g} % of the cross spectrum is negative there, so that too little is left."
                )
        return found

    def _of_floors(self, gathered: GatheredSpectra) -> list[str]:
        floors = gathered.stacked("coherence_floor")
        high = floors > HIGH_FLOOR
        if not high.any():
            return []
        return [
            f"Independent channels would have a coherence of up to {np.nanmax(floors):.2f} here, and more than "
            f"{HIGH_FLOOR:g} in {int(high.sum())} of {high.size} spectra: compare coherence with the floor beside it."
        ]

    def _of_signals(self) -> list[str]:
        found = []
        if self.settled.sampling_frequency == UNSTATED_RATE:
            found.append(
                "The sampling frequency is 1 Hz; where that only stands for a rate that is not known, seconds are "
                "samples and Hz are cycles per sample."
            )
        if any(name.startswith("component_") for name in self.channel_names):
            found.append(
                "The spectra are those of principal components; --group names the group of the channels or parcels."
            )
        return found


def _states(numbers: np.ndarray) -> str:
    listed = ", ".join(str(number + 1) for number in numbers)
    return f"state {listed}" if len(numbers) == 1 else f"states {listed}"


def _named(subjects: list[str]) -> str:
    if len(subjects) == 1:
        return f"Subject {subjects[0]} has"
    return f"{len(subjects)} subjects ({first_of(subjects, N_NAMED)}) have"
