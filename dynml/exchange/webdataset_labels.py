"""Labels of the samples of tars: the names that a user gives them, and the events that they become."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dynml.errors import DataError
from dynml.exchange.webdataset import TarRun
from dynml.files import read_json
from dynml.recording import NO_LABEL, Events
from dynml.store import layout


def read_target_names(path: Path | None) -> dict[str, dict[str, str]]:
    """Read the names of labels, column by column, from a JSON file; none without a file.

    Raises
    ------
    DataError
        When it holds something else.
    """
    if path is None:
        return {}
    content = read_json(path)
    names = {}
    for column, values in content.items() if isinstance(content, dict) else [("", None)]:
        pairs = dict(enumerate(values)) if isinstance(values, list) else values
        if not isinstance(pairs, dict) or not all(isinstance(name, str) and name.strip() for name in pairs.values()):
            example = json.dumps({"task_label": {"0": "rest", "1": "motor"}})
            raise DataError(f"{path} must map columns to the names of their labels, such as {example}.")
        names[column] = {str(code): name.strip() for code, name in pairs.items()}
    return names


def events_of_runs(runs: Sequence[TarRun], names: Mapping[str, Mapping[str, str]]) -> Events | None:
    """One event for each sample with labels, as long as the sample, in rows of all runs one after another."""
    onset, duration, labels, row = [], [], [], 0
    for run in runs:
        for sample in run.samples:
            if sample.labels and len(sample.signals) > 1:
                onset.append(row)
                duration.append(len(sample.signals))
                labels.append({column: names.get(column, {}).get(code, code) for column, code in sample.labels.items()})
            row += len(sample.signals)
    if not onset:
        return None
    columns = sorted({column for one in labels for column in one}, key=layout.natural_order)
    known = {
        column: tuple(sorted({one[column] for one in labels if column in one}, key=layout.natural_order))
        for column in columns
    }
    codes = {column: {name: code for code, name in enumerate(known[column])} for column in columns}
    return Events(
        onset=np.array(onset, dtype=np.int64),
        duration=np.array(duration, dtype=np.int64),
        labels={
            column: np.array([codes[column].get(one.get(column, ""), NO_LABEL) for one in labels], dtype=np.int64)
            for column in columns
        },
        names=known,
    )
