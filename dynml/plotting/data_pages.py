"""One HTML page on the recordings of a store: a table of all subjects, outliers first, and pictures.

The page needs no network and no scripts; pictures lie beside it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from dynml.analysis.data_quality import (
    CHANNEL_FACTOR,
    FEWEST_SUBJECTS,
    N_DEVIATIONS,
    VISIBLE_LINE,
    Flag,
    SubjectSummary,
)
from dynml.recording import Source

N_SOURCES = 50
GENERATOR = '<meta name="generator" content="dynml_visualize_data.py">'
"""By this line a page is known for one that may be replaced."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #333; max-width: 1240px; margin: 2em auto; padding: 0 1em; }
h1, h2, h3 { line-height: 1.2; } h3 { margin-bottom: 0.2em; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 13px; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: 3px 9px; border-bottom: 1px solid #d9d9d9; white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; } th.text, td.text { text-align: left; }
td.reasons { text-align: left; white-space: normal; min-width: 22em; }
tr.far { background: #fdf0e6; } .far-words { color: #a34700; } img { max-width: 100%; height: auto; }
.picture { overflow-x: auto; margin: 1em 0; } .picture img { min-width: min(100%, 640px); }
code, pre { font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; } section { margin: 2.5em 0; }
@media screen and (max-width: 700px) {
  body { margin: 1em auto; } h1 { font-size: 1.4em; overflow-wrap: anywhere; } section { margin: 1.5em 0; }
  ol, ul { padding-left: 1.4em; } .picture img { min-width: 640px; }
  thead { position: absolute; left: -9999px; }
  table, tbody, tr { display: block; } tr { border: 1px solid #d9d9d9; border-radius: 4px; margin: 0.7em 0; }
  tbody td, td.text { display: flex; justify-content: space-between; gap: 1em; white-space: normal; }
  tbody td { overflow-wrap: anywhere; text-align: right; border-bottom: 1px solid #eee; }
  tbody td::before { content: attr(data-name); color: #666; text-align: left; } td.none { display: none; }
  td.reasons { min-width: 0; }
}
@media print { details { display: none; } .picture { overflow: visible; } .picture img { min-width: 0; } }
"""
COLUMNS = (
    ("seconds", "{0:.5g}"),
    ("segments", "{0}"),
    ("runs", "{0}"),
    ("missing", "{0:.1%}"),
    ("rank", "{0}"),
    ("amplitude", "{0:.3g}"),
    ("slope of spectrum", "{0:.2f}"),
    ("mains line", "{0:.2f}"),
    ("kurtosis", "{0:.2f}"),
    ("distance of covariance", "{0:.2f}"),
)
UNKNOWN = "–"


@dataclass(frozen=True, kw_only=True)
class SubjectEntry:
    """What the page says of one subject."""

    summary: SubjectSummary
    flags: tuple[Flag, ...]
    picture: str
    """Path from the page."""
    sources: tuple[Source, ...]
    preparation: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """What the page says of the store."""

    path: str
    group: str
    subset: str
    """The subset that was looked at, or "all"."""
    root: Mapping[str, str]
    """Attributes of the file: format, version, date."""
    max_seconds: float | None
    pictures: tuple[tuple[str, str], ...]
    """(path from the page, what it shows) of the pictures of all subjects."""
    left_out: tuple[str, ...] = ()
    """Subjects without the group."""


def page_of_store(facts: StoreFacts, entries: Sequence[SubjectEntry]) -> str:
    """Write the page; subjects far from the others come first, otherwise their order stays.

    Parameters
    ----------
    facts : StoreFacts
    entries : sequence of SubjectEntry
        At least one.

    Returns
    -------
    str, HTML
    """
    ordered = far_first(entries)
    title = f"Recordings of {facts.path}, group {facts.group}"
    usual = most_common_preparation(entries)
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        GENERATOR,
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{escape(title)}</h1>",
        *_introduction(facts, entries),
        "<h2>Subjects</h2>",
        _table(ordered),
        _legend(),
        "<h2>All subjects together</h2>",
        *(_picture(path, words) for path, words in facts.pictures),
        "<h2>Preparation</h2>",
        *_preparation(usual, entries),
        "<h2>One by one</h2>",
        *(_section(number, entry, usual) for number, entry in enumerate(ordered, 1)),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def far_first(entries: Sequence[SubjectEntry]) -> list[SubjectEntry]:
    """Those with most reasons first; then the order that they came in."""
    return sorted(entries, key=lambda entry: -len(entry.flags))


def most_common_preparation(entries: Sequence[SubjectEntry]) -> tuple[Mapping[str, Any], ...]:
    """The steps that most subjects went through."""
    texts = [json.dumps(entry.preparation, sort_keys=True, default=str) for entry in entries]
    return entries[texts.index(Counter(texts).most_common(1)[0][0])].preparation


def _introduction(facts: StoreFacts, entries: Sequence[SubjectEntry]) -> list[str]:
    first = entries[0].summary
    summaries = [entry.summary for entry in entries]
    rates = sorted({own.sampling_frequency for own in summaries})
    hours = sum(own.seconds for own in summaries) / 3600
    n_missing = sum(own.missing > 0 for own in summaries)
    n_far = sum(bool(entry.flags) for entry in entries)
    n_mains = sum(own.mains > VISIBLE_LINE for own in summaries)
    lines = [
        f"{len(entries)} subjects ({'all subsets' if facts.subset == 'all' else f'subset {facts.subset}'}), "
        f"{len({own.participant for own in summaries})} participants, {len(first.channel_names)} channels, "
        f"{', '.join(f'{rate:.6g}' for rate in rates)} Hz, {hours:.3g} h of good samples.",
        f"Store: {', '.join(f'{name} {value}' for name, value in facts.root.items())}.",
    ]
    if facts.max_seconds is not None:
        lines.append(f"Only the first {facts.max_seconds:g} s of each subject were looked at, in numbers and pictures.")
    if facts.left_out:
        lines.append(f"Without this group, and left out: {', '.join(facts.left_out)}.")
    lines.append(
        f"Missing data: samples outside of segments or masked in {n_missing} of {len(entries)} subjects; "
        f"the most is {max(own.missing for own in summaries):.1%}."
        if n_missing
        else "Missing data: none; every sample of every subject lies within a segment."
    )
    if n_mains:
        lines.append(f"A mains line (50 or 60 Hz) stands out in {n_mains} of {len(entries)} subjects.")
    if len(entries) < FEWEST_SUBJECTS:
        lines.append(f"With fewer than {FEWEST_SUBJECTS} subjects, outliers are not searched for.")
        return [f"<p>{escape(line)}</p>" for line in lines]
    verdict = f"Outliers: {n_far or 'none'} of {len(entries)} subjects"
    return [*(f"<p>{escape(line)}</p>" for line in lines), f'<p class="far-words"><b>{escape(verdict)}.</b></p>']


def _table(ordered: Sequence[SubjectEntry]) -> str:
    heads = '<th class="text">subject</th><th class="text">subset</th><th class="text">outlier in</th>'
    heads += "".join(f"<th>{escape(name)}</th>" for name, _ in COLUMNS)
    rows = [_row(number, entry) for number, entry in enumerate(ordered, 1)]
    return (
        f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{"".join(rows)}</tbody>\n</table></div>'
    )


def _row(number: int, entry: SubjectEntry) -> str:
    own = entry.summary
    name = f'<td class="text" data-name="subject"><a href="#subject-{number}">{escape(own.subject)}</a></td>'
    subset = f'<td class="text" data-name="subset">{escape(own.subset)}</td>'
    words = "<br>".join(escape(flag.words) for flag in entry.flags)
    reasons = f'<td class="reasons{"" if words else " none"}" data-name="outlier in"><span>{words}</span></td>'
    numbers = "".join(
        f'<td data-name="{escape(column)}">{_number(value, form)}</td>'
        for (column, form), value in zip(COLUMNS, numbers_of(own))
    )
    mark = ' class="far"' if entry.flags else ""
    return f"<tr{mark}>{name}{subset}{reasons}{numbers}</tr>\n"


def numbers_of(own: SubjectSummary) -> tuple[float, ...]:
    """Values of `COLUMNS`."""
    return (
        own.seconds,
        own.n_segments,
        own.n_runs,
        own.missing,
        own.rank,
        own.amplitude,
        own.slope,
        own.mains,
        own.kurtosis,
        own.distance,
    )


def _number(value: float, form: str) -> str:
    return UNKNOWN if math.isnan(value) else form.format(value)


def _legend() -> str:
    words = (
        "Amplitude: median over channels of the robust standard deviation (median absolute deviation), before "
        "standardization. Slope: of log power over log frequency. Mains line: power at 50 or 60 Hz over that 2 to 6 Hz "
        "away, in the worst channel. Kurtosis: of the worst channel; a Gaussian has 3. Distance of covariance: "
        "affine-invariant, of its shape (without its scale) from the geometric median of all. A subject is called far "
        f"from the others where a number is more than {N_DEVIATIONS:g} robust standard deviations from the median of "
        "all subjects and the difference matters in practice. A channel is named where it is also "
        f"{CHANNEL_FACTOR:g} times weaker or stronger, against the subject's other channels, than in other subjects."
    )
    return f"<p><small>{escape(words)}</small></p>"


def _preparation(usual: Sequence[Mapping[str, Any]], entries: Sequence[SubjectEntry]) -> list[str]:
    others = [entry.summary.subject for entry in entries if entry.preparation != usual]
    if not usual:
        lines = ["<p>No step is recorded.</p>"]
    else:
        lines = [f"<ol>{''.join(f'<li><code>{escape(_step(step))}</code></li>' for step in usual)}</ol>"]
    if others:
        words = f"{len(others)} of {len(entries)} subjects went through other steps, which are given below"
        lines.append(f"<p>{escape(words)}.</p>")
    return lines


def _step(step: Mapping[str, Any]) -> str:
    return json.dumps(step, ensure_ascii=False, default=str)


def _section(number: int, entry: SubjectEntry, usual: Sequence[Mapping[str, Any]]) -> str:
    own = entry.summary
    lines = [f'<section id="subject-{number}">', f"<h3>{escape(own.subject)}</h3>"]
    lines.append(f"<p>Participant {escape(own.participant)}, {escape(own.subset)} subset.</p>")
    if entry.flags:
        reasons = "; ".join(escape(flag.words) for flag in entry.flags)
        lines.append(f'<p class="far-words">Outlier: {reasons}.</p>')
    lines.append(_picture(entry.picture, f"Signals, spectra, correlations and segments of {own.subject}"))
    if tuple(entry.preparation) != tuple(usual):
        steps = "".join(f"<li><code>{escape(_step(step))}</code></li>" for step in entry.preparation)
        lines.append(f"<p>Its own preparation:</p><ol>{steps}</ol>")
    if entry.sources:
        listed = "".join(
            f"<li><code>{escape(source.file)}</code>, {source.n_bytes} bytes, SHA-256 {escape(source.sha256)}</li>"
            for source in entry.sources[:N_SOURCES]
        )
        more = len(entry.sources) - N_SOURCES
        listed += f"<li>and {more} more</li>" if more > 0 else ""
        lines.append(f"<details><summary>{len(entry.sources)} source files</summary><ul>{listed}</ul></details>")
    return "\n".join([*lines, "</section>"])


def _picture(path: str, words: str) -> str:
    link = escape(quote(path))
    return f'<p class="picture"><a href="{link}"><img src="{link}" alt="{escape(words)}" loading="lazy"></a></p>'
