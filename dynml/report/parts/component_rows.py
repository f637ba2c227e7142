"""One row per state or mode: its statistics, what it looks like, and the pictures that other results have of it.

Shapes: C channels, K states or modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.plotting.matrices import correlations_of
from dynml.report.experiment import ReportedExperiment
from dynml.report.figures import largest_off_diagonal, plot_bars, plot_matrix
from dynml.report.inferred import STATISTICS, Inferred
from dynml.report.parts.state_spectra import spectrum_notes, spectrum_pictures
from dynml.report.pictures import Picture, picture_of_figure, picture_of_file
from dynml.report.results import ResultsFolder
from dynml.report.words import counted, number, percent

MOST_CHANNELS_OF_MEANS = 8
SLOW = 0.5
"""Hz: visits that are rarer than this in every recording are counted by the minute."""
NO_VISIT, ONE_VISIT = "never visited", "at most one visit in a recording"


@dataclass(frozen=True)
class ComponentRow:
    """What a page says of one state or mode."""

    name: str
    colour: str
    statistics: list[tuple[str, str]]
    """Title and value with its spread."""
    pictures: list[Picture]


def component_rows(
    experiment: ReportedExperiment, inferred: Inferred, colours: Sequence[str], results: Sequence[ResultsFolder]
) -> list[ComponentRow]:
    """Make the rows.

    Parameters
    ----------
    experiment : ReportedExperiment
    inferred : Inferred
    colours : sequence of str
        One for each of the K components, those of the time courses.
    results : sequence of ResultsFolder
        Their pictures of single components are put into the rows.
    """
    own = _own_pictures(experiment, inferred, colours)
    spectra = spectrum_pictures(results, inferred.n_components, colours)
    others = {
        position: pictures for position, pictures in pictures_by_component(results).items() if position is not None
    }
    kind = experiment.component
    return [
        ComponentRow(
            name=f"{kind.capitalize()} {position + 1}",
            colour=colours[position],
            statistics=_statistics(experiment, inferred, position) + spectrum_notes(results, position),
            pictures=[*others.get(position + 1, []), *spectra.get(position, []), *own[position]],
        )
        for position in range(inferred.n_components)
    ]


def _statistics(experiment: ReportedExperiment, inferred: Inferred, position: int) -> list[tuple[str, str]]:
    said = []
    activity = experiment.summary.get("relative_activity")
    if activity and position < len(activity):
        said.append(("Share of the variance (training)", percent(activity[position])))
    for name, (title, unit) in STATISTICS.items():
        if name in inferred.statistics:
            absent = ONE_VISIT if name == "mean_interval" and position + 1 not in inferred.never_visited else NO_VISIT
            said.append(_with_unit(title, unit, inferred.statistics[name], position, absent))
    shares = inferred.statistics.get("fractional_occupancy")
    if shares is not None:
        n_with = int((np.nan_to_num(shares[:, position]) > 0).sum())
        said.append(("Occurs in", f"{n_with} of {counted(len(shares), 'recording')}"))
    return said


def _with_unit(title: str, unit: str, values: NDArray[np.float64], position: int, absent: str) -> tuple[str, str]:
    """Title and value; slow switching is counted by the minute."""
    known = values[np.isfinite(values)]
    if unit == "Hz" and known.size and known.max() < SLOW:
        return "Visits per minute", _spread(60 * values[:, position], "", absent)
    return title, _spread(values[:, position], "" if unit == "Hz" else unit, absent)


def _spread(values: NDArray[np.float64], unit: str, absent: str) -> str:
    """Mean over subjects and their standard deviation; `absent` where no subject has a value."""
    known = values[np.isfinite(values)] * (100 if unit == "%" else 1)
    if not len(known):
        return absent
    digits = 1 if unit == "%" or known.mean() >= 10 else 2 if known.mean() >= 1 else 3
    spread = f" (SD {number(float(known.std(ddof=1)), digits)})" if len(known) > 1 else ""
    return " ".join(filter(None, [number(float(known.mean()), digits), unit])) + spread


def _own_pictures(experiment: ReportedExperiment, inferred: Inferred, colours: Sequence[str]) -> list[list[Picture]]:
    pictures: list[list[Picture]] = [[] for _ in range(inferred.n_components)]
    names = [str(name) for name in experiment.dataset.get("channel_names") or ()]
    covariances = inferred.arrays.get("covariances")
    if covariances is not None and covariances.shape[1] > 1:
        if experiment.model.get("covariance_type") == "diagonal":
            _add_variances(pictures, experiment, covariances, names, colours)
        else:
            _add_matrices(pictures, experiment, covariances, _weights(inferred))
    means = inferred.arrays.get("means")
    if means is not None and experiment.model.get("learn_means") and means.shape[1] == len(names):
        _add_means(pictures, experiment, means, names, colours)
    return pictures


def _weights(inferred: Inferred) -> NDArray[np.float64]:
    """Share of the time of each component, by which an average over components is weighted."""
    shares = inferred.statistics.get("fractional_occupancy")
    weights = np.ones(inferred.n_components) if shares is None else np.nan_to_num(shares).mean(axis=0)
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))


def _add_matrices(
    pictures: list[list[Picture]], experiment: ReportedExperiment, covariances: Any, weights: NDArray[np.float64]
) -> None:
    matrices = correlations_of(covariances)
    beside = matrices - np.tensordot(weights, matrices, axes=1)
    kind = experiment.component
    for position in range(len(pictures)):
        for values, limit, title, label in (
            (matrices, largest_off_diagonal(matrices), "Correlations", "Correlation"),
            (beside, largest_off_diagonal(beside), "Minus the average", "Difference"),
        ):
            figure = plot_matrix(values[position], limit, title, label)
            alt = f"{title} of channels in {kind} {position + 1}: {_largest_pair(values[position], experiment)}"
            pictures[position].append(picture_of_figure(figure, alt))


def _largest_pair(matrix: NDArray[np.float64], experiment: ReportedExperiment) -> str:
    size = np.nan_to_num(np.abs(np.triu(matrix, 1)))
    first, second = np.unravel_index(int(size.argmax()), size.shape)
    names = [str(name) for name in experiment.dataset.get("channel_names") or ()]
    pair = f"{names[first]} and {names[second]}" if len(names) == len(matrix) else f"{first + 1} and {second + 1}"
    return f"largest for {pair}, {matrix[first, second]:.2f}"


def _add_variances(
    pictures: list[list[Picture]],
    experiment: ReportedExperiment,
    covariances: Any,
    names: Sequence[str],
    colours: Sequence[str],
) -> None:
    variances = np.diagonal(np.asarray(covariances), axis1=1, axis2=2)
    for position, own in enumerate(variances):
        values = _by_name(own, names)
        figure = plot_bars(values, f"Variance{_unit(experiment, '²')}", colour=colours[position])
        alt = f"Variances of channels in {experiment.component} {position + 1}: {_largest(values)}"
        pictures[position].append(picture_of_figure(figure, alt))


def _add_means(
    pictures: list[list[Picture]],
    experiment: ReportedExperiment,
    means: Any,
    names: Sequence[str],
    colours: Sequence[str],
) -> None:
    for position, own in enumerate(np.asarray(means)):
        values = _by_name(own, names)
        label = f"Mean{_unit(experiment)}, strongest channels"
        figure = plot_bars(values, label, colour=colours[position], most=MOST_CHANNELS_OF_MEANS)
        alt = f"Means of channels in {experiment.component} {position + 1}: {_largest(values)}"
        pictures[position].append(picture_of_figure(figure, alt))


def _unit(experiment: ReportedExperiment, power: str = "") -> str:
    """Unit of the stored signals behind a label: standard deviations of the channel, where it was standardized."""
    preparation = experiment.dataset.get("preparation") or {}
    if experiment.dataset.get("embedding"):
        return ""
    if preparation.get("standardization") in ("per_run", "per_subject"):
        return f" (SD{power})"
    units = preparation.get("units")
    return f" ({units}{power})" if isinstance(units, str) and units not in ("", "arbitrary") else ""


def _by_name(values: NDArray[Any], names: Sequence[str]) -> dict[str, float]:
    known = names if len(names) == len(values) else [str(position + 1) for position in range(len(values))]
    return {name: float(value) for name, value in zip(known, values)}


def _largest(values: Mapping[str, float]) -> str:
    name = max(values, key=lambda one: abs(values[one]))
    return f"largest for {name}, {values[name]:.3g}"


def pictures_by_component(results: Sequence[ResultsFolder]) -> dict[int | None, list[Picture]]:
    """Pictures of results by the number of their component, from 1; None: those of all components together."""
    found: dict[int | None, list[Picture]] = {}
    for one in results:
        for position, path, alt in _listed_pictures(one):
            found.setdefault(position, []).append(picture_of_file(path, alt))
    return found


def _listed_pictures(results: ResultsFolder) -> list[tuple[int | None, Path, str]]:
    """What summary.json lists as pictures, or all PNG files of the folder."""
    listed = results.summary.get("pictures")
    if not isinstance(listed, list):
        return [
            (None, path, f"{results.kind.capitalize()}: {path.stem.replace('_', ' ')}")
            for path in sorted(results.path.glob("*.png"))
        ]
    found: list[tuple[int | None, Path, str]] = []
    for entry in listed:
        about = entry if isinstance(entry, dict) else {"path": entry}
        path = results.path / str(about.get("path"))
        if path.suffix.lower() != ".png" or not path.is_file():
            continue
        state = about.get("state")
        words = about.get("alt") or f"{results.kind.capitalize()}: {path.stem.replace('_', ' ')}"
        found.append((state if isinstance(state, int) else None, path, str(words)))
    return found
