"""How much participants moved: as a covariate says, or else as the preparation of their recordings noted it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from dynml.dataset.dataset import MultiSubjectDataset

MEASURED = "mean_framewise_displacement_mm"
MOTION = (
    *("mean_framewise_displacement", MEASURED, "framewise_displacement"),
    *("mean_fd", "fd", "fd_mean", "motion"),
)
"""Names of covariates, in small letters, that say how much a participant moved."""


def covariate_of_motion(names: Iterable[str]) -> str | None:
    """Give the covariate that says how much participants moved, if one does."""
    return next((name for name in names if name.lower() in MOTION), None)


def with_measured_motion(
    columns: Mapping[str, list[str]], dataset: MultiSubjectDataset, participants: Sequence[str]
) -> dict[str, list[str]]:
    """Add what the preparation has measured to covariates of participants, if none of them says how much they moved."""
    with_numbers = [name for name, values in columns.items() if any(math.isfinite(number_of(one)) for one in values)]
    if covariate_of_motion(with_numbers) is not None:
        return dict(columns)
    return {**columns, MEASURED: measured_motion(dataset, participants)}


def measured_motion(dataset: MultiSubjectDataset, participants: Sequence[str]) -> list[str]:
    """Mean framewise displacement that motion_correction measured, or that tables of confounds hold.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    participants : sequence of str

    Returns
    -------
    list of str
        The mean over each participant's runs, in mm; "n/a" where the preparation of none of them notes it.
    """
    found: dict[str, list[float]] = {}
    for subject in dataset.subjects:
        found.setdefault(dataset.participant(subject), []).extend(_of_runs(dataset, subject).values())
    means = {person: sum(values) / len(values) for person, values in found.items() if values}
    return [str(means.get(person, "n/a")) for person in participants]


def _of_runs(dataset: MultiSubjectDataset, subject: str) -> dict[str, float]:
    """Run to what the first of its notes says."""
    found: dict[str, float] = {}
    for note in dataset.stored_source.attributes(subject, dataset.group).preparation:
        runs = note.get("runs")
        for run, figures in (runs if isinstance(runs, dict) else {}).items():
            value = figures.get(MEASURED) if isinstance(figures, dict) else None
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(run, float(value))
    return found


def number_of(text: str) -> float:
    """Give the number that a text of a table is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
