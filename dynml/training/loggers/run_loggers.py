"""Where a run is reported to, beside its own folder: one protocol, and a guard that no fault of a logger passes.

The local logs are the truth. A logger may be slow to come up, lose its network or hold a wrong key; the training goes
on as if it were not there, and the user is warned once.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dynml.errors import DataWarning, in_one_line
from dynml.files import read_json
from dynml.training.checkpoints.committed import MANIFEST, newest_committed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTEXTS = {"training_": "train", "validation_": "validate"}
"""Beginnings of the names of logs, and what the contexts are called where runs are reported to."""

KEPT_HERE = {"subjects", "participants", "sources", "channel_names", "pretraining_overlap", "history"}
"""Parts of parameters.json that are not reported: names of people's recordings stay on the computer."""

ASKED = "asked"
"""Section of parameters.json that is no parameter of the run: what was asked for where something else came of it."""

BEST = ("best_epoch", "best_value")

PATH = re.compile(r"\S*/\S*")


@dataclass(frozen=True)
class RunDescription:
    """What a logger receives when a run begins."""

    experiment_name: str
    folder: Path
    """The experiment's folder; a logger keeps its own files in a folder of its own name there."""
    parameters: Mapping[str, Any]
    """Content of parameters.json."""
    n_finished_epochs: int
    """Above 0 when the run goes on from a checkpoint; epochs up to this one were reported before."""
    history: Sequence[Mapping[str, float]] = ()
    """Metrics of the finished epochs, for a logger that was not there before."""


class RunLogger(Protocol):
    """One service or file to report a run to. Any method may raise; the guard takes care of it."""

    name: str
    """What users call it."""

    def start(self, run: RunDescription) -> None:
        """Begin, or go on with, the report of a run."""

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report the metrics of a finished epoch (from 1); names start with their context: training_, validation_."""

    def log_best_model(self, epoch: int, value: float, path: Path, sha256: str) -> None:
        """Report that the model of `epoch` is the best so far and where its weights lie."""

    def log_kept_model(self, kept: str, path: Path, sha256: str) -> None:
        """Report in words which model is kept where no value of an epoch has chosen it, and where its weights lie."""

    def log_figures(self, figures: Mapping[str, Figure], epoch: int) -> None:
        """Report figures by name."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Report the content of summary.json and let go of everything."""


def context_and_metric(log: str) -> tuple[str | None, str]:
    """Split the name of a log: training_loss is the metric loss in the context train; others have no context."""
    for beginning, context in CONTEXTS.items():
        if log.startswith(beginning):
            return context, log.removeprefix(beginning)
    return None, log


def reported_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a run as they may leave the computer, by dotted names."""
    return flat({section: values for section, values in parameters.items() if section != ASKED})


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names to plain values, as they may leave the computer.

    Lists become text, empty values are left out, a path is only its file's name, and what `KEPT_HERE` names stays.
    """
    values: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if key in KEPT_HERE or value is None or value in ([], (), {}):
            continue
        if isinstance(value, Mapping):
            values |= flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            values[name] = ", ".join(map(str, value))
        else:
            values[name] = Path(value).name if isinstance(value, str) and PATH.fullmatch(value) else value
    return values


def reported_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Content of summary.json by dotted names, without a best epoch where no epoch's value has chosen the model."""
    return flat({name: None if summary.get("kept") and name in BEST else value for name, value in summary.items()})


def tell_best_model(logger: RunLogger, folder: Path, after: int = 0) -> None:
    """Report the best model in an experiment's folder to one logger, if it is of an epoch later than `after`."""
    path, _ = newest_committed(folder / "best_model")
    if path is None:
        return
    manifest = read_json(path / MANIFEST)
    if manifest["best_epoch"] <= after:
        return
    name, entry = next((name, entry) for name, entry in manifest["files"].items() if name.endswith(".safetensors"))
    weights, kept = folder / "best_model" / name, manifest.get("kept")
    if kept is None:
        logger.log_best_model(manifest["best_epoch"], manifest["best_value"], weights, entry["sha256"])
    else:
        logger.log_kept_model(kept, weights, entry["sha256"])


class GuardedLoggers:
    """Several loggers as one. The first fault of a logger silences it for the rest of the run, with a warning.

    Parameters
    ----------
    loggers : sequence of RunLogger
    """

    def __init__(self, loggers: Sequence[RunLogger] = ()) -> None:
        self._loggers = list(loggers)

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def start(self, run: RunDescription) -> None:
        """Begin the report of a run."""
        self._tell(lambda logger: logger.start(run))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report a finished epoch."""
        self._tell(lambda logger: logger.log_epoch(epoch, metrics))

    def log_best_model(self, folder: Path) -> None:
        """Report the best model in an experiment's folder, which is new."""
        self._tell(lambda logger: tell_best_model(logger, folder))

    def log_figures(self, make: Callable[[], Mapping[str, Figure]], epoch: int) -> None:
        """Make figures, if there is a logger to show them, and report them."""
        if not self:
            return
        try:
            figures = make()
        except Exception as error:
            warnings.warn(f"The figures could not be drawn: {error}", DataWarning, stacklevel=2)
            return
        self._tell(lambda logger: logger.log_figures(figures, epoch))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Report the end."""
        self._tell(lambda logger: logger.finish(summary))

    def _tell(self, report: Callable[[RunLogger], None]) -> None:
        for logger in list(self._loggers):
            try:
                report(logger)
            except Exception as error:
                self._loggers.remove(logger)
                failed = f"{logger.name} failed and is not used any more in this run: {in_one_line(error)}."
                warnings.warn(f"{failed} The training and its local logs go on.", DataWarning, stacklevel=3)
