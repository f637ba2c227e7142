"""Logs and their correlations as tables (CSV), with numbers that read back exactly."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dynml.analysis.log_correlation import LogCorrelation
from dynml.analysis.log_expressions import LogExpression
from dynml.analysis.log_reading import ExperimentLogs
from dynml.files import ODD_BYTES, made_folder, replacing

LOG_COLUMNS = ("experiment", "log", "epoch", "value")
CORRELATION_COLUMNS = (
    "level",
    "experiment",
    "x",
    "y",
    "n",
    "r",
    "p",
    "slope",
    "intercept",
    "mean_squared_error",
    "n_differences",
    "r_of_differences",
    "p_of_differences",
    "sentence",
)


def write_logs(
    path: str | Path, experiments: Sequence[ExperimentLogs], expressions: Sequence[LogExpression] = ()
) -> None:
    """Write one row for each experiment, log and epoch: experiment, log, epoch (from 1), value (empty for NaN).

    Parameters
    ----------
    path : str or Path
        Its folder is made if need be.
    experiments : sequence of ExperimentLogs
        All their logs are written.
    expressions : sequence of LogExpression
        Sums and differences that are written too, where an experiment has their logs.
    """
    rows: list[Sequence[Any]] = []
    for experiment in experiments:
        columns = dict(experiment.logs)
        for expression in expressions:
            if not expression.missing_in(experiment.logs):
                columns[expression.text] = expression.values(experiment.logs)
        for log, values in columns.items():
            rows += [(experiment.name, log, epoch, _cell(value)) for epoch, value in enumerate(values.tolist(), 1)]
    _write(Path(path), LOG_COLUMNS, rows)


def write_correlations(path: str | Path, correlations: Iterable[LogCorrelation], logs: tuple[str, str]) -> None:
    """Write one row for each experiment and one for each way of pooling; slope and intercept are of y over x."""
    rows = []
    for found in correlations:
        line = found.fit.polynomial.convert().coef.tolist() if found.fit else [math.nan, math.nan]
        intercept, slope = [*line, 0.0][:2]
        error = found.fit.mean_squared_error if found.fit else math.nan
        own = (found.n_differences, _cell(found.r_of_differences), _cell(found.p_of_differences), found.sentence)
        numbers = [_cell(value) for value in (found.r, found.p, slope, intercept, error)]
        rows.append((found.level, found.name, *logs, found.n, *numbers, *own))
    _write(Path(path), CORRELATION_COLUMNS, rows)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    made_folder(path.parent)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors=ODD_BYTES)
