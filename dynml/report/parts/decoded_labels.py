"""Tables and picture of the page's part on a decoder of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynml.plotting.findings.labels import plot_labels
from dynml.report.parts.sections import Part, Table, cut
from dynml.report.pictures import picture_of_figure
from dynml.report.words import baseline, counted


def labels_part(metrics: Mapping[str, Any]) -> Part:
    """Areas under ROC curves beside those of the baselines, by label and by participant."""
    areas = {label: one["auc"] for label, one in metrics["labels"].items()}
    rivals = {name: one["auc"] for name, one in (metrics.get("baselines") or {}).items()}
    known = [value for value in areas.values() if value is not None]
    pictures = []
    if known:
        alt = f"Area under the ROC curve by label: {min(known):.2f} to {max(known):.2f} of {len(known)} labels"
        pictures.append(picture_of_figure(plot_labels(areas, rivals), alt))
    return Part([_beside_baselines(metrics), _by_label(metrics), *_by_participant(metrics)], pictures)


def found_in_labels(metrics: Mapping[str, Any]) -> str:
    """How well labels are told, in a sentence."""
    trials = counted(metrics["n_trials"], f"{metrics['subset']} trial")
    begin = (
        f"In {trials} of {counted(metrics['n_participants'], 'participant')} it tells {len(metrics['labels'])} labels "
        f"of {metrics['target']} with a mean area under the ROC curve of {_value(metrics['macro_auc'])} (chance 0.5)"
    )
    chance = (metrics.get("permutation") or {}).get("macro_auc")
    begin += "" if chance is None else f"; with permuted labels {_value(chance['mean'])} (p {chance['p']:.2g})"
    rivals = {name: one["macro_auc"] for name, one in (metrics.get("baselines") or {}).items()}
    scored = {name: value for name, value in rivals.items() if value is not None}
    if not scored or metrics["macro_auc"] is None:
        return f"{begin}."
    best = max(scored, key=scored.__getitem__)
    verb = "more than" if metrics["macro_auc"] > scored[best] else "no more than"
    return f"{begin}; this is {verb} its best baseline ({baseline(best)}: {_value(scored[best])})."


def _beside_baselines(metrics: Mapping[str, Any]) -> Table:
    own = [_value(metrics["macro_auc"]), _value(metrics["macro_average_precision"])]
    rows = [["this decoder", *own, "", ""]]
    for name, one in (metrics.get("baselines") or {}).items():
        interval = one.get("difference_interval")
        between = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
        scores = [_value(one["macro_auc"]), _value(one["macro_average_precision"])]
        rows.append([baseline(name), *scores, f"{one['difference']:+.3f}", between])
    heads = ["", "mean area", "mean average precision", "cross-entropy lower by", "95 % interval"]
    return Table(f"The decoder beside its baselines, {metrics['subset']} trials", heads, rows, marked=0)


def _by_label(metrics: Mapping[str, Any]) -> Table:
    rows = [
        [label, str(one["n_trials"]), _value(one["share"]), _value(one["auc"]), _value(one["average_precision"])]
        for label, one in metrics["labels"].items()
    ]
    heads = ["label", "trials", "share of trials", "area under the ROC curve", "average precision"]
    return cut(Table("Scores by label", heads, rows))


def _by_participant(metrics: Mapping[str, Any]) -> list[Table]:
    people = metrics.get("per_participant") or {}
    rows = [[name, str(one["n_trials"]), _value(one["macro_auc"])] for name, one in people.items()]
    heads = ["participant", "trials", "mean area"]
    return [cut(Table("Mean area under the ROC curve by participant", heads, rows))] if rows else []


def _value(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
