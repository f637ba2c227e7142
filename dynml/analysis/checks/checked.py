"""All checks of one model in their order, each as a verdict with what a picture of it needs.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.analysis.checks.covariates import covariate_verdicts, global_signal_verdict
from dynml.analysis.checks.drift import Courses, Trends, drift_verdict
from dynml.analysis.checks.dynamics import KINDS, overall_verdict, surrogate, surrogate_verdict, trimmed
from dynml.analysis.checks.halves import FEWEST_PARTICIPANTS, Agreement, agreement, halves, halves_verdict
from dynml.analysis.checks.motion import with_measured_motion
from dynml.analysis.checks.occupancy import occupancy_verdicts
from dynml.analysis.checks.predictive import (
    Summaries,
    can_draw,
    drawn_like,
    part_to_compare,
    predictive_verdicts,
    summaries_of,
)
from dynml.analysis.checks.refitting import Refitted, alphas_of, refitted
from dynml.analysis.checks.stretches import SubjectStretches, stretches_of_subset
from dynml.analysis.checks.verdicts import CHECKS, Verdict, not_made
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import DataError
from dynml.models.experiment import Experiment
from dynml.models.inferred import inferred_subjects
from dynml.store.layout import SUBSET_NAMES
from dynml.training.data.subject_differences import Occupancies

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What is checked, and how thoroughly."""

    checks: tuple[str, ...] = CHECKS
    n_surrogates: int = 5
    """Of each kind."""
    n_draws: int = 19
    seed: int = 0
    device: str = "cpu"


@dataclass
class Checked:
    """Verdicts, and the numbers that pictures are made of."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    occupancies: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """(K,) of each subject; NaN where nothing was observed."""
    trends: list[Trends] = field(default_factory=list)
    """Of occupancies, over runs and within them."""
    gain: float | None = None
    gains: dict[str, list[float]] = field(default_factory=dict)
    """Of each kind of surrogates."""
    observed: Summaries | None = None
    drawn: list[Summaries] = field(default_factory=list)
    agreement: Agreement | None = None

    def add(self, *verdicts: Verdict) -> None:
        """Take verdicts in."""
        self.verdicts.update({one.name: one for one in verdicts})


def checked(
    experiment: Experiment, dataset: MultiSubjectDataset, settings: CheckSettings, tell: Say = print
) -> Checked:
    """Make all checks of an experiment on a dataset like that of its training.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
        Occupancies are those of all subjects; refitted is to the training subjects.
    settings : CheckSettings
    tell : callable
        Called with how long things take.

    Raises
    ------
    DataError
        When there is no training subject with a stretch that is long enough.
    """
    found, components = Checked(), experiment.family.components
    subjects = stretches_of_subset(dataset.training_set)
    if not subjects:
        raise DataError("The training subset has no subject with a stretch of 20 observed samples or more.")
    _refuse_several_rates(subjects, settings)
    if "occupancy" in settings.checks or "covariates" in settings.checks:
        _occupancy(experiment, dataset, settings, found)
    if "covariates" in settings.checks:
        alphas = alphas_of(experiment.family, experiment.model, subjects)
        found.add(global_signal_verdict(subjects, alphas, components, has_channels=_sees_channels(dataset)))
    if "surrogates" in settings.checks:
        _surrogates(experiment, subjects, settings, found, tell)
    if "predictive" in settings.checks:
        _predictive(experiment, subjects, settings, found)
    if "split_half" in settings.checks:
        _split_half(experiment, subjects, settings, found, tell)
    found.verdicts = {"dynamics": overall_verdict(found.verdicts, components), **found.verdicts}
    return found


def _refuse_several_rates(subjects: Sequence[SubjectStretches], settings: CheckSettings) -> None:
    rates = sorted({one.sampling_frequency for one in subjects})
    if len(rates) > 1 and set(settings.checks) != {"occupancy"}:
        raise DataError(
            f"The training subjects have several sampling frequencies ({', '.join(f'{rate:g}' for rate in rates)} Hz), "
            "but models are refitted and compared at one; --checks occupancy does without, and the step 'downsample' "
            "of a store's config brings all to one rate."
        )


def _sees_channels(dataset: MultiSubjectDataset) -> bool:
    return dataset.embedding is None and "pca" not in str(dataset.preparation.get("steps"))


def _occupancy(experiment: Experiment, dataset: MultiSubjectDataset, settings: CheckSettings, found: Checked) -> None:
    components = experiment.family.components
    occupancies, courses = Occupancies(components), Courses()
    covariates: dict[str, dict[str, str]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for name in SUBSET_NAMES:
        subset = dataset.subset(name)
        for index, one in enumerate(inferred_subjects(experiment.family, experiment.model, subset)):
            occupancies.add_subject(subset, index, one.alpha)
            courses.add_subject(subset, index, one.alpha)
            person = subset.participants[index]
            weights = np.asarray(np.nansum(one.observed_alpha, axis=0, dtype=np.float64))
            sums[person] = sums.get(person, np.zeros_like(weights)) + weights
            covariates.setdefault(person, {}).update(subset.covariates(index))
            found.occupancies[one.subject] = _shares(weights)
    if "occupancy" in settings.checks:
        found.trends = courses.trends(settings.seed)
        found.add(*occupancy_verdicts(occupancies), drift_verdict(found.trends, components))
    if "covariates" in settings.checks:
        names = sorted({name for own in covariates.values() for name in own} - {"dataset"})
        columns = {name: [covariates[person].get(name, "") for person in sums] for name in names}
        columns = with_measured_motion(columns, dataset, list(sums))
        shares = np.array([_shares(weights) for weights in sums.values()])
        found.add(*covariate_verdicts(shares, columns, components, settings.seed))


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum()
    return weights / total if total > 0 else np.full_like(weights, np.nan)


def _surrogates(
    experiment: Experiment, subjects: Sequence[SubjectStretches], settings: CheckSettings, found: Checked, tell: Say
) -> None:
    names = [f"surrogates_{kind}" for kind in KINDS]
    if not settings.n_surrogates:
        found.add(*(not_made(name, "No surrogates were requested.") for name in names))
        return
    like, begun = trimmed(subjects), time.monotonic()
    found.gain = refitted(experiment, like, settings.device).gain
    if found.gain is None:
        why = f"The family {experiment.family.name} is not compared with a Gaussian mixture."
        found.add(*(not_made(name, why) for name in names))
        return
    _tell_how_long(tell, time.monotonic() - begun, len(KINDS) * settings.n_surrogates, "surrogates")
    for kind in KINDS:
        gains = []
        for number in range(settings.n_surrogates):
            made = surrogate(kind, like, settings.seed, number)
            gain = refitted(experiment, made, settings.device).gain
            assert gain is not None
            gains.append(gain)
        found.gains[kind] = gains
        found.add(surrogate_verdict(kind, found.gain, gains, experiment.family.components))


def _tell_how_long(tell: Say, seconds: float, n_further: int, what: str) -> None:
    tell(f"The model was refitted in {seconds:.1f} s; {n_further} {what} take about {n_further * seconds:.0f} s.")


def _predictive(
    experiment: Experiment, subjects: Sequence[SubjectStretches], settings: CheckSettings, found: Checked
) -> None:
    model: Any = experiment.model
    if not can_draw(model) or settings.n_draws < 2:
        why = "The model cannot simulate data." if not can_draw(model) else "Fewer than 2 draws were requested."
        found.add(not_made("predictive_covariance", why))
        return
    part = part_to_compare(subjects)
    generator = torch.Generator().manual_seed(settings.seed)
    found.observed = summaries_of(experiment.family, model, part)
    for _ in range(settings.n_draws):
        found.drawn.append(summaries_of(experiment.family, model, drawn_like(model, part, generator)))
    found.add(*predictive_verdicts(found.observed, found.drawn, experiment.family.components))


def _split_half(
    experiment: Experiment, subjects: Sequence[SubjectStretches], settings: CheckSettings, found: Checked, tell: Say
) -> None:
    n_people = len({one.participant for one in subjects})
    if n_people < FEWEST_PARTICIPANTS:
        people = "one participant" if n_people == 1 else f"{n_people} participants"
        why = f"The training subset has {people}; {FEWEST_PARTICIPANTS} are needed for two halves."
        found.add(not_made("split_half", why))
        return
    models: list[Refitted] = []
    for half in halves(subjects, settings.seed):
        models.append(refitted(experiment, half, settings.device))
    first, second = (alphas_of(experiment.family, one.model, subjects) for one in models)
    found.agreement = agreement(first, second, settings.seed)
    found.add(halves_verdict(found.agreement, experiment.family.components))
