"""Reads the steps of a config, checks them before anything is read, and applies them one after the other."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

from dynml.configuration import nearest_name
from dynml.data_warnings import DataWarnings
from dynml.entry_points import loaded_entry, names_of_group, unusable_entry
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.preparation.fitted.pca import EmbeddedPrincipalComponents, PrincipalComponents
from dynml.preparation.fitted.sign_alignment import SignAlignment
from dynml.preparation.step import PreparationStep
from dynml.preparation.steps.bad_samples import RemoveBadSamples
from dynml.preparation.steps.channels import SelectChannels, TimeDelayEmbedding
from dynml.preparation.steps.filters import Filter, Notch
from dynml.preparation.steps.leakage import SymmetricOrthogonalisation
from dynml.preparation.steps.resampling import Downsample
from dynml.preparation.steps.smoothing import AmplitudeEnvelope, MovingAverage
from dynml.preparation.steps.standardize import Standardize
from dynml.preparation.steps.trend import Detrend
from dynml.recording import Recording

ENTRY_POINT_GROUP = "dynml.steps"
STEPS: dict[str, type[PreparationStep]] = {
    kind.name: kind
    for kind in (
        SelectChannels,
        Filter,
        Notch,
        Downsample,
        Detrend,
        RemoveBadSamples,
        AmplitudeEnvelope,
        MovingAverage,
        TimeDelayEmbedding,
        Standardize,
        SymmetricOrthogonalisation,
        PrincipalComponents,
        EmbeddedPrincipalComponents,
        SignAlignment,
    )
}
"""Steps of this package that the config's `preparation` can name; others come by the entry point `dynml.steps`."""


def step_names() -> list[str]:
    """Names of all steps, those of other packages last."""
    return [*STEPS, *(name for name in names_of_group(ENTRY_POINT_GROUP) if name not in STEPS)]


def step_class(name: str) -> type[PreparationStep] | None:
    """Class of a step, or None where no installed package has one of that name.

    Raises
    ------
    DataError
        When it is another package's and cannot be used.
    """
    if name in STEPS or name not in names_of_group(ENTRY_POINT_GROUP):
        return STEPS.get(name)
    kind: Any = loaded_entry(ENTRY_POINT_GROUP, name)
    is_step = inspect.isclass(kind) and issubclass(kind, PreparationStep) and dataclasses.is_dataclass(kind)
    if not is_step or getattr(kind, "name", None) != name:
        accepted = f"a dataclass made from PreparationStep, with the name {name!r}"
        raise unusable_entry(ENTRY_POINT_GROUP, name, kind, accepted)
    return cast(type[PreparationStep], kind)


def chosen_steps(entries: Sequence[Any], detrend: bool = False) -> list[PreparationStep]:
    """Make the steps of a config, in order; `detrend` stands for a first step of that name.

    Parameters
    ----------
    entries : sequence
        Each {"step": name, parameter: value, ..}, or the name alone.
    detrend : bool

    Raises
    ------
    DynmlError
        For an unknown step or parameter, with the nearest name, a value that is not accepted, or a parameter that is
        missing; names its position in the list.
    """
    steps = [_step(f"preparation[{number}]", entry) for number, entry in enumerate(entries)]
    if not detrend:
        return steps
    if any(isinstance(step, Detrend) for step in steps):
        raise DataError("The step 'detrend' is given twice: as 'detrend': true and in 'preparation'.")
    return [Detrend(), *steps]


def layout_after(steps: Sequence[PreparationStep], layout: Layout, where: str) -> Layout:
    """Check steps against the rate and the channels that each of them will meet.

    Raises
    ------
    DataError
        Names `where`, the step, what was found and what is accepted.
    """
    for step in steps:
        try:
            layout = step.layout_after(layout)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    return layout


def origins(steps: Sequence[PreparationStep], layout: Layout) -> list[int]:
    """Index of the recorded channel that each prepared channel is made from."""
    indices = list(range(len(layout.channel_names)))
    for step in steps:
        indices = [indices[index] for index in step.origins(layout)]
        layout = step.layout_after(layout)
    return indices


def applied(steps: Sequence[PreparationStep], recording: Recording, where: str, warned: DataWarnings) -> Recording:
    """Apply steps; segments too short for one are dropped before it, which is warned of and noted.

    Raises
    ------
    DataError
        When a run has no segment that is long enough, or a step cannot be applied, named.
    """
    for step in steps:
        recording, n_dropped = long_enough(step, recording, where, warned)
        try:
            recording = step(recording)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        warning = step.warning(recording)
        if warning is not None:
            topic, detail = warning
            warned.add(topic, f"{where}: {detail}")
        if n_dropped:
            *before, note = recording.preparation
            recording = dataclasses.replace(recording, preparation=(*before, {**note, "segments_dropped": n_dropped}))
    return recording


def _step(where: str, entry: Any) -> PreparationStep:
    if isinstance(entry, str):
        entry = {"step": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("step"), str):
        raise ConfigurationError(where, entry, 'a step, such as {"step": "notch", "frequency": 50}')
    name, values = entry["step"], {key: value for key, value in entry.items() if key != "step"}
    kind = step_class(name)
    if kind is None:
        raise DataError(f"{where}: {name!r} is not a preparation step{nearest_name(name, step_names())}.")
    given_later = FittedStep.settings_of_fit if issubclass(kind, FittedStep) else ()
    fields = [one for one in dataclasses.fields(kind) if one.name not in given_later]  # type: ignore[arg-type]
    known = [one.name for one in fields]
    for key, value in values.items():
        if key not in known:
            near = nearest_name(key, known) if known else " (it has none)"
            raise ConfigurationError(f"{where}.{key}", value, f"a parameter of {name!r}{near}")
    for one in fields:
        if one.default is dataclasses.MISSING and one.name not in values:
            raise DataError(f"{where}: the step {name!r} has no {one.name!r}.")
    try:
        return kind(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}.{error.key}", error.found, error.accepted) from error


def long_enough(step: PreparationStep, recording: Recording, where: str, warned: DataWarnings) -> tuple[Recording, int]:
    """Leave out segments that are too short for a step, and say how many.

    Raises
    ------
    DataError
        When a run has no segment that is long enough, named.
    """
    needed = step.shortest_segment(recording.sampling_frequency)
    lengths = recording.segments[:, 1] - recording.segments[:, 0]
    kept = lengths >= needed
    if kept.all():
        return recording, 0
    for run, name in enumerate(recording.run_names):
        own = recording.segment_runs == run
        if not (own & kept).any():
            raise DataError(
                f"{where}, run {name}: the step {step.name!r} needs a segment of at least {needed} samples, but "
                f"the longest has {lengths[own].max()}; leave the run or the step out."
            )
        n_short = int((own & ~kept).sum())
        if n_short:
            topic = f"Segments too short for the step {step.name!r} ({needed} samples) were dropped"
            warned.add(topic, f"{where}, run {name}: {n_short} of {int(own.sum())}")
    parts = recording.segment_parts
    shortened = dataclasses.replace(
        recording,
        segments=recording.segments[kept],
        segment_runs=recording.segment_runs[kept],
        source_samples=recording.source_samples[kept],
        segment_parts=None if parts is None else parts[kept],
    )
    return shortened, int((~kept).sum())
