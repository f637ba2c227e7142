"""Writes a run as TensorBoard event files into the experiment's folder tensorboard/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.errors import ConfigurationError
from dynml.files import as_dynml_wrote, made_folder, read_json, replacing
from dynml.training.loggers.reported_epochs import ReportedEpochs
from dynml.training.loggers.run_loggers import (
    RunDescription,
    context_and_metric,
    reported_parameters,
    reported_summary,
    tell_best_model,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER, STATE = "tensorboard", "reported.json"
SECONDS_BETWEEN_WRITES = 10


class TensorBoardLogger:
    """Reports a run to TensorBoard: `tensorboard --logdir EXPERIMENTS_PATH` shows all experiments together.

    Raises
    ------
    ConfigurationError
        When the package tensorboard is not installed.
    """

    name = "TensorBoard"

    def __init__(self) -> None:
        try:
            from tensorboard.compat.proto.summary_pb2 import Summary
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            accepted = "false unless tensorboard is installed (pip install tensorboard)"
            raise ConfigurationError("tensorboard.enabled", True, accepted) from error
        self._writer_class, self._summary_class = SummaryWriter, Summary

    def start(self, run: RunDescription) -> None:
        """Go on where the event files end; what they hold of later epochs is not shown any more."""
        folder = made_folder(run.folder / FOLDER)
        state = folder / STATE
        with as_dynml_wrote(state):
            noted = int(read_json(state)["n_reported_epochs"]) if state.exists() else 0
        known = min(noted, run.n_finished_epochs)
        self._writer = self._writer_class(
            str(folder), purge_step=known + 1, flush_secs=SECONDS_BETWEEN_WRITES, filename_suffix=f".from{known + 1}"
        )
        self._reported = ReportedEpochs(lambda n_epochs: _note(state, n_epochs))
        self._tell_table("parameters", reported_parameters(run.parameters), known)
        for epoch, row in enumerate(run.history[known : run.n_finished_epochs], start=known + 1):
            self.log_epoch(epoch, row)
        if run.n_finished_epochs:
            tell_best_model(self, run.folder, after=known)

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch; loss/train and loss/validate stand beside each other."""
        # One event for all of them: an event a scalar takes a tenth of the time of a short epoch.
        scalars = [self._summary_class.Value(tag=_tag(log), simple_value=value) for log, value in metrics.items()]
        writer: Any = self._writer.file_writer
        writer.add_summary(self._summary_class(value=scalars), epoch)
        self._reported.sent(epoch)

    def log_best_model(self, epoch: int, value: float, path: Path, sha256: str) -> None:
        """Write which epoch is the best, and name and checksum of its weights."""
        self._writer.add_scalar("best_epoch", epoch, epoch)
        model = f"{path.parent.name}/{path.name}"
        self._tell_table("best model", {"epoch": epoch, "value": value, "file": model, "sha256": sha256}, epoch)

    def log_kept_model(self, kept: str, path: Path, sha256: str) -> None:
        """Write which model is kept, and name and checksum of its weights."""
        model = f"{path.parent.name}/{path.name}"
        self._tell_table("kept model", {"kept": kept, "file": model, "sha256": sha256}, 0)

    def log_figures(self, figures: Mapping[str, Figure], epoch: int) -> None:
        """Write figures as images."""
        for name, figure in figures.items():
            self._writer.add_figure(name, figure, epoch, close=False)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary and close the event file."""
        self._tell_table("summary", reported_summary(summary), int(summary["epochs"]))
        self._writer.close()
        self._reported.arrived()

    def _tell_table(self, title: str, values: Mapping[str, Any], step: int) -> None:
        rows = (f"| {name} | {value} |" for name, value in values.items())
        self._writer.add_text(title, "\n".join(("| | |", "|---|---|", *rows)), step)


def _tag(log: str) -> str:
    context, metric = context_and_metric(log)
    return f"{metric}/{context}" if context else metric


def _note(path: Path, n_epochs: int) -> None:
    with replacing(path, durable=False) as temporary:
        temporary.write_text(json.dumps({"n_reported_epochs": n_epochs}) + "\n", encoding="utf-8")
