"""Logs of experiments: one panel a log, one colour an experiment."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dynml.errors import CheckpointError
from dynml.files import replacing
from dynml.plotting.style import FAINT, INK, PALETTE, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDING = "_per_epoch.npy"
Logs = dict[str, NDArray[np.float64]]


def read_logs(experiment: str | Path) -> Logs:
    """Read all logs of an experiment folder, metric to one value an epoch.

    Raises
    ------
    CheckpointError
        When the folder is no experiment or has no logs yet.
    """
    folder = Path(experiment)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no existing experiment folder.")
    paths = sorted((folder / "logs").glob(f"*{ENDING}"))
    if not paths:
        raise CheckpointError(f"{folder} has no logs (no file logs/*{ENDING}).")
    return {path.name.removesuffix(ENDING): np.load(path, allow_pickle=False) for path in paths}


def names_of_experiments(paths: Sequence[str | Path]) -> list[str]:
    """Folder names; where two are equal, with as much of their paths as tells them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def plot_logs(logs: Mapping[str, Logs], names: Sequence[str], best_epochs: Mapping[str, int | None]) -> Figure:
    """Draw one panel for each log.

    Parameters
    ----------
    logs : mapping
        Experiment to its logs; an experiment that lacks one is left out of that panel.
    names : sequence of str
        Logs to draw, from top to bottom.
    best_epochs : mapping
        Experiment to its best epoch (from 1), marked by a dot.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8.0, 1.0 + 2.4 * len(names))
    panels = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for axes, name in zip(panels, names):
        for position, (experiment, own) in enumerate(logs.items()):
            if name not in own:
                continue
            values, colour = own[name], PALETTE[position % len(PALETTE)]
            epochs = np.arange(1, len(values) + 1)
            marker = "." if len(values) < 3 else ""
            axes.plot(epochs, values, color=colour, linewidth=1.4, label=experiment, marker=marker)
            best = best_epochs.get(experiment)
            if best is not None and best <= len(values):
                axes.plot(best, values[best - 1], "o", color=colour, markersize=5)
        plain_axes(axes)
        axes.grid(color=FAINT, linewidth=0.5)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=TEXT_SIZE, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=SMALL_TEXT_SIZE + 1, frameon=False)
    panels[-1].set_xlabel("Epoch (dot: best)", fontsize=TEXT_SIZE, color=INK)
    return figure


def write_logs(path: str | Path, logs: Mapping[str, Logs]) -> None:
    """Write a table with one row for each experiment and log: experiment, log, then one value an epoch."""
    longest = max(len(values) for own in logs.values() for values in own.values())
    with replacing(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["experiment", "log", *range(1, longest + 1)])
        for experiment, own in logs.items():
            for name, values in own.items():
                cells = ["" if np.isnan(value) else repr(float(value)) for value in values]
                writer.writerow([experiment, name, *cells, *[""] * (longest - len(cells))])
