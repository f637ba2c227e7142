"""What a store holds, as text: its attributes, a table of all subjects, and totals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dynml.configuration import nearest_name
from dynml.errors import DataError
from dynml.store import layout
from dynml.store.geometry.stored import geometry_in_words
from dynml.store.reading import Store

MASKED = "masked"
COLUMNS = (
    ("subject", str.ljust),
    ("participant", str.ljust),
    ("subset", str.ljust),
    ("group", str.ljust),
    ("samples", str.rjust),
    (MASKED, str.rjust),
    ("channels", str.rjust),
    ("segments", str.rjust),
    ("runs", str.rjust),
    ("Hz", str.rjust),
    ("seconds", str.rjust),
    ("rank", str.rjust),
)
N_NAMED = 8


def architecture_lines(store: Store, group: str | None = None) -> Iterator[str]:
    """Describe a store line by line.

    Parameters
    ----------
    store : Store
    group : str, optional
        Tell of this group only.

    Yields
    ------
    str
        Root attributes, one line per subject and group, then totals.

    Raises
    ------
    DataError
        When no subject has the group.
    """
    subsets = {subject: subset for subset in layout.SUBSET_NAMES for subject in store.subset(subset)}
    rows = [
        _row(store, subject, subsets.get(subject, "-"), name)
        for subject in store.subjects
        for name in store.groups(subject)
        if group in (None, name)
    ]
    if group is not None and not rows:
        known = {name for subject in store.subjects for name in store.groups(subject)}
        raise DataError(f"{store.path} has no group {group!r}{nearest_name(group, known)}.")
    yield str(store.path)
    yield from _root_lines(store)
    yield from (f"  warning: {sentence}" for sentence in warnings_of(store))
    yield ""
    yield from _table(rows)
    yield ""
    yield from _total_lines(store, rows)


def warnings_of(store: Store) -> list[str]:
    """Warnings that were given while a store was made or extended."""
    try:
        said = json.loads(str(store.root_attributes().get(layout.WARNINGS, "[]")))
    except ValueError as error:
        raise DataError(f"{store.path}: the attribute {layout.WARNINGS} cannot be read: {error}.") from error
    return [str(one) for one in said] if isinstance(said, list) else []


def _root_lines(store: Store) -> Iterator[str]:
    attributes = store.root_attributes()
    for name in (layout.FORMAT, layout.FORMAT_VERSION_KEY, layout.DYNML_VERSION, layout.CREATED):
        yield f"  {name}: {attributes.get(name, '-')}"
    yield f"  {layout.SPLIT}: {store.split}"
    for name, value in store.config.items():
        is_long = name == layout.PARTICIPANTS and isinstance(value, dict)
        text = f"a mapping of {len(value)} subjects" if is_long else json.dumps(value, ensure_ascii=False)
        yield f"  {layout.CONFIG}.{name}: {text}"


def _row(store: Store, subject: str, subset: str, group: str) -> dict[str, Any]:
    description = store.attributes(subject, group)
    segments = store.segments(subject, group)
    n_good = int((segments[:, 1] - segments[:, 0]).sum())
    return {
        "subject": subject,
        "participant": store.participant(subject),
        "subset": subset,
        "group": group,
        "samples": n_good,
        MASKED: description.n_masked,
        "channels": description.n_channels,
        "segments": len(segments),
        "runs": len(store.run_names(subject, group)),
        "Hz": f"{description.sampling_frequency:.6g}",
        "seconds": f"{n_good / description.sampling_frequency:.1f}",
        "rank": description.rank,
        "names": description.channel_names,
    }


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    has_masked = any(row[MASKED] for row in rows)
    columns = [(name, align) for name, align in COLUMNS if has_masked or name != MASKED]
    cells = [{name: str(row[name]) for name, _ in columns} for row in rows]
    widths = {name: max([len(name), *(len(cell[name]) for cell in cells)]) for name, _ in columns}
    yield "  ".join(align(name, widths[name]) for name, align in columns).rstrip()
    for cell in cells:
        yield "  ".join(align(cell[name], widths[name]) for name, align in columns).rstrip()


def _total_lines(store: Store, rows: list[dict[str, Any]]) -> Iterator[str]:
    for group in sorted({row["group"] for row in rows}):
        names = next(row["names"] for row in rows if row["group"] == group)
        shown = ", ".join(names[:N_NAMED]) + (f", .. {names[-1]}" if len(names) > N_NAMED else "")
        yield f"{group}: {len(names)} channels ({shown})"
        where = geometry_in_words(store, group)
        if where is not None:
            yield f"  {layout.GEOMETRY}: {where}"
        for subset in layout.SUBSET_NAMES:
            chosen = [row for row in rows if row["group"] == group and row["subset"] == subset]
            n_participants = len({row["participant"] for row in chosen})
            n_samples = sum(row["samples"] for row in chosen)
            n_masked = sum(row[MASKED] for row in chosen)
            masked = f" ({n_masked} masked)" if n_masked else ""
            hours = sum(float(row["seconds"]) for row in chosen) / 3600
            yield (
                f"  {subset}: {len(chosen)} subjects, {n_participants} participants, {n_samples} samples{masked}, "
                f"{hours:.2f} h"
            )
