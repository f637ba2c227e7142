"""Fits the steps of a store's chains that need all training subjects, one pass over them a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tqdm import tqdm

from dynml.conversion.config import TimeseriesGroupConfig
from dynml.conversion.sources.agreement import GroupSources
from dynml.conversion.subject_workers import SubjectWorkers
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.fits import Fit, Layout
from dynml.preparation import chain
from dynml.preparation.fitted.fitted_step import FittedStep, Statistics
from dynml.preparation.step import PreparationStep
from dynml.recording import Recording

Steps = Sequence[PreparationStep]
BeforeStep = Callable[[GroupSources, TimeseriesGroupConfig, Steps, str, DataWarnings], Recording]


@dataclasses.dataclass(frozen=True)
class _Task:
    """One training subject and the steps that come before the one that is being fitted."""

    subject: str
    group: str
    sources: GroupSources
    config: TimeseriesGroupConfig
    before: tuple[PreparationStep, ...]
    step: FittedStep
    prepare: BeforeStep


def fitted_chain(
    group: str,
    config: TimeseriesGroupConfig,
    steps: Steps,
    training: Mapping[str, GroupSources],
    prepare: BeforeStep,
    workers: SubjectWorkers,
    *,
    progress: bool = False,
) -> list[PreparationStep]:
    """Fit what is not fitted yet.

    Parameters
    ----------
    group : str
    config : TimeseriesGroupConfig
    steps : sequence of PreparationStep
        The chain.
    training : mapping
        Sources of each training subject, in the order of the subset.
    prepare : callable
        Reads one subject and applies the steps before; a function of a module, so that other processes find it.
    workers : SubjectWorkers
    progress : bool

    Returns
    -------
    list of PreparationStep
        The chain, ready to be applied to any subject.

    Raises
    ------
    DataError
        Without a training subject, or when a step cannot be fitted; names the group, and the subject at fault.
    """
    bound: list[PreparationStep] = []
    if not any(isinstance(step, FittedStep) for step in steps):
        return list(steps)
    if not training:
        name = next(step.name for step in steps if isinstance(step, FittedStep))
        raise DataError(f"Group {group}: the step {name!r} is fitted to training subjects, of which there are none.")
    first = next(iter(training.values()))
    layout = Layout(sampling_frequency=first.sampling_frequency, channel_names=first.channel_names)
    for step in steps:
        if isinstance(step, FittedStep) and step.fit is None:
            tasks = [
                _Task(subject, group, sources, config, tuple(bound), step, prepare)
                for subject, sources in training.items()
            ]
            statistics = _seen(workers.map(_statistics, tasks), f"Fitting {step.name}", len(tasks), progress)
            step = dataclasses.replace(step, fit=_fit(group, step, layout, statistics))
        layout = step.layout_after(layout)
        bound.append(step)
    return bound


def _fit(group: str, step: FittedStep, layout: Layout, statistics: Iterable[tuple[str, Statistics]]) -> Fit:
    try:
        return step.fitted(layout, statistics)
    except DataError as error:
        text = str(error)
        raise error if text.startswith("Subject ") else DataError(f"Group {group}: {text}") from error


def _seen(
    statistics: Iterable[tuple[str, Statistics]], what: str, number: int, progress: bool
) -> Iterator[tuple[str, Statistics]]:
    yield from tqdm(statistics, desc=what, total=number, unit="subject", disable=None if progress else True)


def _statistics(task: _Task) -> tuple[str, Statistics]:
    where = f"Subject {task.subject}, group {task.group}"
    # What there is to warn of is said when the subject is prepared.
    recording = task.prepare(task.sources, task.config, task.before, where, DataWarnings())
    recording, _ = chain.long_enough(task.step, recording, where, DataWarnings())
    try:
        return task.subject, task.step.statistics(recording)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
