"""The page: all parts of a report put into its templates."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynml.plotting.style import state_colours
from dynml.report.experiment import ReportedExperiment
from dynml.report.inferred import Inferred, read_inferred
from dynml.report.parts.component_rows import component_rows, pictures_by_component
from dynml.report.parts.data_facts import data_facts
from dynml.report.parts.decoded_labels import labels_part
from dynml.report.parts.decoded_numbers import numbers_part
from dynml.report.parts.decoded_over_time import OVER_TIME, over_time_part
from dynml.report.parts.methods import methods_in_words
from dynml.report.parts.people import people_tables
from dynml.report.parts.reproduction import fingerprints, training_command, versions
from dynml.report.parts.sections import (
    Part,
    curves_part,
    decoding_part,
    errors_part,
    further_tables,
    locking_part,
    prediction_part,
    scores_part,
    starts_part,
)
from dynml.report.parts.selection import selection_part
from dynml.report.parts.time_courses import time_courses
from dynml.report.parts.verdicts import dynamics_in_short, verdict_tables
from dynml.report.pictures import Picture, picture_of_figure
from dynml.report.results import DECODING, INFERENCE, PREDICTIONS, ResultsFolder, of_kind
from dynml.report.starts_facts import starts_of
from dynml.report.verdict import asked, found, trusted
from dynml.report.words import FAMILIES, STOPPING, counted, duration
from dynml.version import __version__

GENERATOR = "dynml_report.py"
"""The page says by this word in its head what made it, so that it may be replaced."""
TITLES = {
    "spectra": "Spectra",
    "maps": "Maps and networks",
    "responses": "Responses to events",
    "selection": "How many states, and do they come back?",
    "features": "Features and attribution",
    "decoding": "Decoding",
    "comparison": "Differences between people",
    "prediction": "Predictions of people",
    "check": "Is it dynamics?",
}
ANSWERS = ("responses", "comparison", "prediction", "selection", "check")
"""Results whose findings say what came out, not what limits it."""


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """What a page is made of."""

    experiment: ReportedExperiment
    results: Sequence[ResultsFolder] = ()
    hdf5: Path | None = None
    """Store with events, gaps and ranks."""
    warnings: Sequence[str] = ()
    """Warnings that were given while the results were made."""
    commands: Sequence[str] = field(default_factory=list)
    """Command lines that led here, the report's own last."""


def report_page(given: ReportInput) -> str:
    """Make the page.

    Returns
    -------
    str
        HTML that needs no other file and no network.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dynml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = importlib.resources.files("dynml.report") / "templates"
    code = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.css", "time_courses.js")}
    return environment.get_template("page.html").render(
        **_context(given), style=code["page.css"], script=code["time_courses.js"], generator=GENERATOR
    )


def _decoding(metrics: Mapping[str, Any]) -> Part:
    if "macro_auc" in metrics:
        return labels_part(metrics)
    return numbers_part(metrics) if "r_squared" in metrics else decoding_part(metrics)


def _context(given: ReportInput) -> dict[str, Any]:
    experiment = given.experiment
    inference = of_kind(given.results, INFERENCE)
    inferred = None if inference is None else read_inferred(inference)
    starts = starts_of(experiment)
    decoded = of_kind(given.results, DECODING)
    return {
        "title": _title(experiment),
        "state_of_run": state_of_run(experiment),
        "sentences": [
            ("Asked", asked(experiment)),
            ("Found", found(experiment, given.results)),
            (
                "How far to trust it",
                trusted(experiment, _limits(given), [] if inferred is None else inferred.never_visited),
            ),
            *dynamics_in_short(given.results),
        ],
        "made": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "version": __version__,
        "experiment": experiment,
        "data": data_facts(experiment, given.hdf5),
        "settings": _settings(experiment),
        "training": _training_in_words(experiment),
        "curves": curves_part(
            experiment, None if experiment.summary.get("kept") else experiment.summary.get("best_epoch")
        ),
        "starts": starts_part(starts, experiment.component),
        "prediction": prediction_part(experiment),
        "decoding": None if decoded is None else _decoding(decoded.summary),
        "findings": _findings_by_kind(given),
        "methods": methods_in_words(experiment, given.results),
        "warnings": list(given.warnings),
        "commands": [*filter(None, [training_command(experiment)]), *given.commands],
        "seed": (experiment.parameters.get("trainer") or {}).get("seed"),
        "versions": versions(experiment),
        "fingerprints": fingerprints(experiment),
        "files": further_tables(given.results),
        "next_step": _next_step(experiment, inferred, given),
        **_of_components(given, inferred),
        "other_parts": _other_parts(given, inferred),
    }


def _title(experiment: ReportedExperiment) -> str:
    family = FAMILIES.get(str(experiment.family_name), experiment.family_name or "Model")
    return f"{family[0].upper()}{family[1:]}: {experiment.name}"


def state_of_run(experiment: ReportedExperiment) -> str | None:
    """Say that a run has not finished, or has no model; None where all is there."""
    written = experiment.last_written.strftime("%Y-%m-%d %H:%M")
    if not experiment.is_finished:
        text = (
            f"This run has not finished: it is still under way, or it was broken off. Its last file was written on "
            f"{written}, after {counted(experiment.n_epochs, 'epoch')}; what is there so far is below."
        )
        return text if experiment.fault_of_model is None else f"{text} It has no best model yet."
    if experiment.fault_of_model is not None:
        return f"This run has no best model that can be used: {experiment.fault_of_model.rstrip('.')}."
    return None


def findings_of(given: ReportInput) -> list[str]:
    """Findings of the run and of all results, each once."""
    said = list(given.experiment.summary.get("findings") or ())
    for one in given.results:
        said += [str(finding) for finding in one.summary.get("findings") or ()]
    return list(dict.fromkeys(said))


def _limits(given: ReportInput) -> list[str]:
    """Those that limit the results; what answers a question, such as whether states respond, is a result itself."""
    return findings_of(dataclasses.replace(given, results=[one for one in given.results if one.kind not in ANSWERS]))


def _findings_by_kind(given: ReportInput) -> list[tuple[str, list[str]]]:
    """Title of what the findings are of, and the findings, each once."""
    parts = [("The run", list(given.experiment.summary.get("findings") or ()))]
    for one in given.results:
        title = TITLES.get(one.kind, one.kind.replace("_", " ").capitalize())
        parts.append((title, [str(finding) for finding in one.summary.get("findings") or ()]))
    left = findings_of(given)
    shown = []
    for title, said in parts:
        own = [finding for finding in dict.fromkeys(said) if finding in left]
        left = [finding for finding in left if finding not in own]
        shown += [(title, own)] * bool(own)
    return shown


def _settings(experiment: ReportedExperiment) -> list[tuple[str, str]]:
    # The labels of a decoder of labels are kept where another has its classes.
    named = {"class_names": "labels"} if experiment.model.get("target_values") == "labels" else {}
    # What is made of several numbers stands elsewhere on the page; of a model within the model, its kind says enough.
    flat = {
        name: value.get("family") if isinstance(value, dict) else value
        for name, value in experiment.model.items()
        if name != "class_counts"
    }
    return [
        (named.get(name, name).replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in flat.items()
        if value not in (None, [])
    ]


def _training_in_words(experiment: ReportedExperiment) -> str:
    summary = experiment.summary
    if not summary:
        return f"{counted(experiment.n_epochs, 'epoch')} so far."
    reason = str(summary.get("stopping_reason"))
    why = STOPPING.get(reason, f"by {reason.replace('_', ' ')}")
    seconds = sum(float(value) for value in (summary.get("seconds") or {}).values() if value is not None)
    best, kept = summary.get("best_epoch"), ""
    if summary.get("kept"):
        kept = f" Kept is {summary['kept']}."
    elif best:
        kept = f" The best model is that of epoch {best} (by {str(summary.get('monitored')).replace('_', ' ')})."
    epochs = counted(int(summary.get("epochs") or 0), "epoch")
    return f"Training took {duration(seconds)} and {epochs}, and ended {why}.{kept}"


def _of_components(given: ReportInput, inferred: Inferred | None) -> dict[str, Any]:
    """Rows, time courses and scores by subject, where something was inferred."""
    if inferred is None or not inferred.n_components:
        predicted = of_kind(given.results, PREDICTIONS)
        scores = None if predicted is None else errors_part(given.experiment, predicted.summary)
        return {"rows": [], "time_courses": None, "n_without_time_course": 0, "scores": scores, "transitions": None}
    experiment = given.experiment
    colours = state_colours(inferred.n_components)
    rows = component_rows(experiment, inferred, colours, given.results)
    courses = time_courses(experiment, inferred, [row.name for row in rows], colours, given.hdf5)
    return {
        "rows": rows,
        "time_courses": None if courses is None else courses.content,
        "n_without_time_course": 0 if courses is None else courses.n_left_out,
        "scores": scores_part(experiment, inferred),
        "transitions": _transitions(inferred),
    }


def _transitions(inferred: Inferred) -> Picture | None:
    matrix = inferred.arrays.get("transition_probabilities")
    if matrix is None:
        return None
    from dynml.plotting.matrices import plot_transition_probabilities

    stays = ", ".join(f"{value:.2f}" for value in matrix.diagonal())
    alt = f"Transition probabilities from one sample to the next; of staying: {stays}"
    return picture_of_figure(plot_transition_probabilities(matrix), alt)


def _other_parts(given: ReportInput, inferred: Inferred | None) -> list[dict[str, Any]]:
    """Pictures and tables of all components together, a part for each kind of results."""
    parts = []
    for one in given.results:
        if one.kind == DECODING and (over_time := over_time_part(one)):
            content = {"pictures": over_time.pictures, "tables": over_time.tables}
            parts.append({"id": OVER_TIME, "title": "Decoding over time", **content})
        if one.kind in (INFERENCE, DECODING, PREDICTIONS):
            continue
        pictures = pictures_by_component([one])
        shown = pictures.get(None, []) if inferred is not None else [p for own in pictures.values() for p in own]
        tables = [*locking_part(one).tables, *people_tables(one), *verdict_tables(one), *selection_part(one).tables]
        if shown or tables:
            title = TITLES.get(one.kind, one.kind.replace("_", " ").capitalize())
            parts.append({"id": one.kind, "title": title, "pictures": shown, "tables": tables})
    return parts


def _next_step(experiment: ReportedExperiment, inferred: Inferred | None, given: ReportInput) -> str | None:
    """What to do to see more, where nothing was inferred."""
    known = inferred is not None or of_kind(given.results, DECODING) is not None
    if known or experiment.kind not in ("components", "decoding"):
        return None
    what = f"{experiment.component}s over time" if experiment.kind == "components" else "what it says of each trial"
    if experiment.fault_of_model is not None:
        return f"No {what} here, since there is no best model to infer from."
    return f"No {what} here: give the store by --hdf5, or the folder of dynml_infer_from_model.py by --results."
