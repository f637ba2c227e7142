"""Tables and pictures of the page's parts that are not of states: curves, scores, predictions, decoding, responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynml.plotting.style import PALETTE
from dynml.report.comparison import HIGHER_IS_BETTER, SUBSETS, comparison, held_out, scores_of_model
from dynml.report.experiment import ReportedExperiment
from dynml.report.figures import plot_bars, plot_curves, plot_errors_by_lag, plot_scores, plot_starts
from dynml.report.inferred import Inferred
from dynml.report.pictures import Picture, picture_of_figure
from dynml.report.results import ResultsFolder
from dynml.report.starts_facts import Starts
from dynml.report.tables import cell_order, cell_text, table_rows
from dynml.report.words import baseline, loss, number, percent
from dynml.store.layout import SUBSET_NAMES

MOST_ROWS = 40
EFFECTS = {
    "states": "effect (probability)",
    "modes": "effect (mixing coefficient)",
    "predictions": "effect (error)",
}
"""What the effect of an event is measured in."""
CURVES_OF_DECODERS = {
    "cross_entropy": ("cross-entropy", "nats per trial"),
    "binary_cross_entropy": ("cross-entropy", "nats per trial and label"),
    "squared_error": ("squared error", "variances of the training trials"),
}


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    caption: str
    heads: list[str]
    rows: list[list[str]]
    note: str = ""
    marked: int | None = None
    """Row that stands out, from 0."""


@dataclass(frozen=True)
class Part:
    """Tables and pictures that belong together."""

    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tables or self.pictures or self.sentences)


def curves_part(experiment: ReportedExperiment, best_epoch: int | None) -> Part:
    """Losses over epochs, and the table of the model beside its baselines."""
    names = [name for name in ("training_loss", "validation_loss") if name in experiment.logs]
    curves = {name.removesuffix("_loss"): experiment.logs[name] for name in names}
    label, unit = loss(experiment.summary.get("loss"))
    label, unit = CURVES_OF_DECODERS.get(str(experiment.summary.get("loss")), (label, unit))
    compared = held_out(experiment)
    lines = {} if compared is None or compared.higher_is_better else compared.baselines
    pictures = []
    if curves:
        figure = plot_curves(
            curves,
            f"{label} ({unit})" if unit else label,
            best_epoch=best_epoch,
            lines={f"{baseline(name)} (validation)": value for name, value in lines.items()},
        )
        ends = [f"{name} ends at {number(float(values[-1]))}" for name, values in curves.items() if len(values)]
        pictures.append(picture_of_figure(figure, f"{label} over epochs: {'; '.join(ends)}"))
    return Part(_table_of_baselines(experiment), pictures)


def _table_of_baselines(experiment: ReportedExperiment) -> list[Table]:
    summary = experiment.summary
    own = scores_of_model(summary)
    if not own:
        return []
    label, unit = loss(summary.get("loss"))
    show = percent if summary.get("loss") == "cross_entropy" else number
    rows = [["this model", *(show(own.get(name)) for name in SUBSETS)]]
    found = [comparison(experiment, name) for name in SUBSETS]
    names = dict.fromkeys(name for one in found if one is not None for name in one.baselines)
    for name in names:
        values = [None if one is None else one.baselines.get(name) for one in found]
        rows.append([baseline(name, summary.get("loss")), *(show(value) for value in values)])
    order = "higher" if summary.get("loss") in HIGHER_IS_BETTER else "lower"
    caption = f"{label[:1].upper()}{label[1:]}{f' ({unit})' if unit else ''}; {order} is better"
    return [Table(caption, ["", "training", "validation"], rows, marked=0)]


def starts_part(starts: Starts | None, component: str) -> Part:
    """Where the starts arrived."""
    if starts is None or starts.n < 2:
        return Part()
    figure = plot_starts(starts, component)
    alt = f"{starts.n} starts: {starts.n_same} came to the same as the best one, which is number {starts.best + 1}"
    sentences = []
    if starts.n < starts.most:
        sentences.append(f"No more starts were made, up to {starts.most}, since the two best ones agreed.")
    return Part(pictures=[picture_of_figure(figure, alt)], sentences=sentences)


def scores_part(experiment: ReportedExperiment, inferred: Inferred) -> Part:
    """Free energy of each subject by subset, and the highest ones by name."""
    energies = (inferred.summary.get("free_energy") or {}).get("subjects") or {}
    return _scores(experiment, energies, inferred.summary.get("subsets") or {}, "free energy", "nats per sample")


def errors_part(experiment: ReportedExperiment, summary: Mapping[str, Any]) -> Part:
    """Error of a sequence model in each recording by subset, by the summary of its inference."""
    name, unit = loss(summary.get("loss"))
    errors = (summary.get("score") or {}).get("subjects") or {}
    return _scores(experiment, errors, summary.get("subsets") or {}, name, unit)


def _scores(
    experiment: ReportedExperiment,
    scores: Mapping[str, Any],
    subsets: Mapping[str, Sequence[str]],
    name: str,
    unit: str,
) -> Part:
    """Picture and table of a score of each recording that is better where it is lower."""
    by_subset: dict[str, dict[str, float]] = {}
    for subset, subjects in subsets.items():
        for subject in subjects:
            if scores.get(subject) is not None:
                by_subset.setdefault(subset, {})[subject] = float(scores[subject])
    if not by_subset:
        return Part()
    label = f"{name} ({unit})" if unit else name
    ordered: dict[str, dict[str, float]] = {name: by_subset[name] for name in SUBSET_NAMES if name in by_subset}
    compared = held_out(experiment)
    best = None if compared is None else compared.best_baseline
    lines = {}
    if compared is not None and best is not None:
        lines = {f"{baseline(best)} (validation, all together)": compared.baselines[best]}
    figure = plot_scores(ordered, label, lines)
    medians = [f"{subset} median {number(float(np.median(list(own.values()))))}" for subset, own in ordered.items()]
    rows = [
        [subject, subset, number(value)]
        for subset, own in reversed(ordered.items())
        for subject, value in sorted(own.items(), key=lambda one: -one[1])
    ]
    title = f"{name[0].upper()}{name[1:]} of each recording"
    caption = f"{title} ({f'{unit}; ' if unit else ''}lower is better), the worst of each subset first"
    return Part(
        [cut(Table(caption, ["recording", "subset", name], rows))],
        [picture_of_figure(figure, f"{title}: {'; '.join(medians)}")],
    )


def cut(table: Table) -> Table:
    """A table with its first rows, and a note on how many there are."""
    if len(table.rows) <= MOST_ROWS:
        return table
    note = f"{len(table.rows) - MOST_ROWS} more rows are in the folder of results."
    return Table(table.caption, table.heads, table.rows[:MOST_ROWS], note, table.marked)


def prediction_part(experiment: ReportedExperiment) -> Part:
    """Errors of a sequence model by lag and by channel."""
    summary = experiment.summary
    label, unit = loss(summary.get("loss"))
    label = f"{label} ({unit})" if unit else label
    pictures = []
    by_lag = summary.get("score_by_horizon")
    if by_lag:
        names = {"model": "this model"} | {name: baseline(name) for name in by_lag if name != "model"}
        figure = plot_errors_by_lag(by_lag, label, names)
        own = by_lag["model"]
        alt = f"Error by lag: from {number(own[0])} one sample ahead to {number(own[-1])} {len(own)} samples ahead"
        pictures.append(picture_of_figure(figure, alt))
    by_network = {name: value for name, value in (summary.get("score_by_network") or {}).items() if value is not None}
    if by_network:
        worst, best = max(by_network, key=by_network.__getitem__), min(by_network, key=by_network.__getitem__)
        figure = plot_bars(by_network, label, colour=PALETTE[0])
        alt = f"Error by channel: {number(by_network[best])} in {best} to {number(by_network[worst])} in {worst}"
        pictures.append(picture_of_figure(figure, alt))
    parts = ["forecasts so many samples ahead"] * bool(by_lag) + ["each channel, the worst first"] * bool(by_network)
    subset = "training" if held_out(experiment) is None else "validation"
    words = f"Errors in {subset} recordings: of {', and of '.join(parts)}."
    return Part(pictures=pictures, sentences=[words] if parts else [])


def decoding_part(metrics: Mapping[str, Any]) -> Part:
    """Confusion of classes, participants beside the best baseline, and differences from baselines."""
    from dynml.plotting.confusion import plot_confusion

    matrix = metrics["confusion_matrix"]
    figure = plot_confusion(matrix["counts"], matrix["class_names"], title=f"{metrics['subset'].capitalize()} trials")
    alt = f"Confusion matrix of {metrics['n_trials']} {metrics['subset']} trials; {percent(metrics['accuracy'])} right"
    pictures = [picture_of_figure(figure, alt)]
    people = metrics.get("per_participant") or {}
    if people:
        values = {str(metrics["subset"]): {name: one["accuracy"] for name, one in people.items()}}
        known = {name: one["accuracy"] for name, one in (metrics.get("baselines") or {}).items()}
        known = {name: value for name, value in known.items() if value is not None}
        best = max(known, key=known.__getitem__) if known else None
        lines = {} if best is None else {f"{baseline(best)} (all together)": known[best]}
        if metrics.get("balanced_accuracy_chance") is not None:
            lines["chance, classes balanced"] = metrics["balanced_accuracy_chance"]
        figure = plot_scores(values, "accuracy by participant", lines)
        own = list(values[str(metrics["subset"])].values())
        alt = f"Accuracy by participant: {percent(min(own))} to {percent(max(own))} in {len(own)} participants"
        pictures.append(picture_of_figure(figure, alt))
    return Part([*_table_of_differences(metrics), *_table_of_people(metrics)], pictures, _beside_accuracy(metrics))


def _beside_accuracy(metrics: Mapping[str, Any]) -> list[str]:
    """Balanced accuracy and macro F1, and what permuted labels score."""
    said = []
    if metrics.get("balanced_accuracy") is not None:
        scores = [f"Balanced accuracy {percent(metrics['balanced_accuracy'])}"]
        if metrics.get("balanced_accuracy_chance") is not None:
            scores[0] += f" (chance {percent(metrics['balanced_accuracy_chance'])})"
        scores += [f"macro F1 {number(metrics['f1_macro'])}"] if metrics.get("f1_macro") is not None else []
        said.append(f"{', '.join(scores)}.")
    permuted = (metrics.get("permutation") or {}).get("accuracy") or {}
    if permuted.get("p") is not None:
        said.append(
            f"With labels permuted within {metrics['permutation'].get('within', 'runs')} the accuracy is "
            f"{percent(permuted.get('mean'))} on average (p = {permuted['p']:.3g})."
        )
    return said


def _table_of_differences(metrics: Mapping[str, Any]) -> list[Table]:
    rows = [["this decoder", percent(metrics["accuracy"]), "", ""]]
    for name, one in (metrics.get("baselines") or {}).items():
        interval = one.get("difference_interval")
        between = "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
        gain = "" if one.get("difference") is None else f"{100 * one['difference']:+.1f}"
        rows.append([baseline(name), percent(one.get("accuracy")), gain, between])
    heads = ["", "accuracy", "decoder better by (points)", "95 % interval"]
    over = next(
        (one["interval_over"] for one in (metrics.get("baselines") or {}).values() if one.get("interval_over")), ""
    )
    note = f"Intervals are over {over}{', taken as independent' if over == 'trials' else ''}." if over else ""
    return [Table(f"The decoder beside its baselines, {metrics['subset']} trials", heads, rows, note, marked=0)]


def _table_of_people(metrics: Mapping[str, Any]) -> list[Table]:
    """Accuracy of each participant, beside that of the best baseline."""
    people: Mapping[str, Any] = metrics.get("per_participant") or {}
    beside = {name: one for name, one in (metrics.get("baselines") or {}).items() if one.get("per_participant")}
    # A column for each would be wider than a phone.
    best = max(beside, key=lambda name: float(beside[name]["accuracy"])) if beside else None
    rows = [[name, str(one["n_trials"]), percent(one["accuracy"])] for name, one in people.items()]
    heads = ["participant", "trials", "this decoder"]
    if best is not None:
        heads.append(baseline(best))
        for row in rows:
            row.append(percent(beside[best]["per_participant"].get(row[0], {}).get("accuracy")))
    return [cut(Table("Accuracy by participant", heads, rows))] if rows else []


def locking_part(results: ResultsFolder) -> Part:
    """Which states follow which events, by the table of tests of dynml_compute_responses.py."""
    rows = table_rows(results.path / "locking.tsv", ("participant", "condition", "state", "effect", "p"))
    together = [row for row in rows if row["participant"] == "all"] or rows
    if not together:
        return Part()
    single = len({row["participant"] for row in together}) == 1
    names = ["condition", "state"] if single else ["participant", "condition", "state"]
    shown = [
        [*(row[name] for name in names), cell_text(row["effect"]), cell_text(row["p"])]
        for row in sorted(together, key=lambda row: cell_order(row["p"]))
    ]
    what = str(results.summary.get("components") or "states")
    titles = {"condition": "event", "state": what.removesuffix("s")}
    effect = EFFECTS.get("predictions" if results.summary.get("of") == "predictions" else what, "effect")
    heads = [*(titles.get(name, name) for name in names), effect, "p"]
    what = "prediction errors" if results.summary.get("of") == "predictions" else what
    caption = f"Are the {what} locked to the events? The smallest p first; corrected over {what}, not over events"
    return Part([cut(Table(caption, heads, shown))])


def further_tables(results: Sequence[ResultsFolder]) -> list[tuple[str, str, list[str]]]:
    """Kind, folder and files of results, for those who want the numbers."""
    return [
        (one.kind, str(one.path), sorted(path.name for path in one.path.iterdir() if path.suffix in (".tsv", ".npz")))
        for one in results
        if one.is_kept
    ]
