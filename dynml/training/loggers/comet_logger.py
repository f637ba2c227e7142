"""Reports a run to comet.ml: parameters, metrics of every epoch, best model, figures, and how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.errors import DataWarning, DynmlError
from dynml.training.loggers.comet_connection import CometSession, check_mode_is_possible, open_session
from dynml.training.loggers.comet_state import FOLDER, name_archives, state_for, write_state
from dynml.training.loggers.config import CometConfig
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

Message = Callable[[Any], None]
"""Tells one thing to a comet experiment."""


class CometLogger:
    """Reports a run to one comet experiment, however often the run is stopped and resumed.

    Parameters
    ----------
    config : CometConfig

    Raises
    ------
    ConfigurationError
        When comet_ml is not installed, or the mode is "online" and there is no API key.
    """

    name = "comet.ml"

    def __init__(self, config: CometConfig) -> None:
        self.config = config
        check_mode_is_possible(config.mode)

    def start(self, run: RunDescription) -> None:
        """Open the folder's comet experiment and tell it the epochs that it does not know."""
        self._folder, self._archives, self._title = run.folder, run.folder / FOLDER, run.experiment_name
        self._state = state_for(run.folder, self.config)
        write_state(run.folder, self._state)
        self._session, sentence = open_session(self._state, self._archives, self._title, self.config.mode)
        if sentence is not None:
            _warn(f"comet.ml is not used online: {sentence} The run is kept in {self._archives}, to be uploaded later.")
        if self._session.online:
            print(f"comet.ml: {self._session.experiment.url}", flush=True)
        self._messages: dict[str, Message] = {}
        self._reported = ReportedEpochs(self._note, at_the_end_only=not self._session.online)
        parameters = reported_parameters(run.parameters)
        self._tell("parameters", lambda experiment: experiment.log_parameters(parameters))
        known = min(self._state.n_reported_epochs, run.n_finished_epochs)
        for epoch, row in enumerate(run.history[known : run.n_finished_epochs], start=known + 1):
            self.log_epoch(epoch, row)
        if run.n_finished_epochs:
            tell_best_model(self, run.folder)

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Tell the metrics of an epoch, in the contexts train and validate."""
        self._tell(f"epoch {epoch}", lambda experiment: tell_metrics(experiment, epoch, metrics))
        self._reported.sent(epoch)

    def log_best_model(self, epoch: int, value: float, path: Path, sha256: str) -> None:
        """Tell which epoch is the best, and name and checksum of its weights."""
        model = f"{path.parent.name}/{path.name}"
        best = {"best_epoch": epoch, "best_value": value, "best_model": model, "best_model_sha256": sha256}
        self._tell("best model", lambda experiment: experiment.log_others(best))

    def log_kept_model(self, kept: str, path: Path, sha256: str) -> None:
        """Tell which model is kept, and name and checksum of its weights."""
        best = {"kept": kept, "best_model": f"{path.parent.name}/{path.name}", "best_model_sha256": sha256}
        self._tell("best model", lambda experiment: experiment.log_others(best))

    def log_figures(self, figures: Mapping[str, Figure], epoch: int) -> None:
        """Send figures; comet.ml keeps those of one name side by side, by epoch."""
        for name, figure in figures.items():
            self._tell(f"figure {name}", partial(_tell_figure, name=name, figure=figure, epoch=epoch))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Tell the summary, and wait at most a minute until all has arrived or lies in an archive."""
        values = {f"summary.{name}": value for name, value in reported_summary(summary).items()}
        self._tell("summary", lambda experiment: experiment.log_others(values))
        fault = self._session.close()
        if fault is not None and self._session.online:
            _warn(f"comet.ml may lack a part of this run: {fault} All of it is kept in {self._archives} too.")
            self._session = CometSession(self._state, self._archives, self._title, online=False)
            for message in self._messages.values():
                message(self._session.experiment)
            fault = self._session.close()
        for archive in name_archives(self._archives, self._state.experiment_key):
            print(f"comet.ml: to upload this run, call: comet upload {archive}", flush=True)
        if fault is not None:
            raise DynmlError(f"the archive in {self._archives} could not be closed: {fault}")
        self._reported.arrived()

    def _tell(self, subject: str, message: Message) -> None:
        """Tell, and remember for an archive; of figures of one name the last is remembered."""
        self._messages[subject] = message
        message(self._session.experiment)

    def _note(self, n_epochs: int) -> None:
        write_state(self._folder, dataclasses.replace(self._state, n_reported_epochs=n_epochs))


def tell_metrics(experiment: Any, epoch: int, metrics: Mapping[str, float]) -> None:
    """Tell a comet experiment the metrics of one epoch, each in its context.

    Parameters
    ----------
    experiment : comet_ml.CometExperiment
    epoch : int
        From 1; it is the step as well.
    metrics : mapping
        Names of logs to values.
    """
    for log, value in metrics.items():
        context, metric = context_and_metric(log)
        with experiment.context_manager(context) if context else contextlib.nullcontext():
            experiment.log_metric(metric, value, step=epoch, epoch=epoch)


def _tell_figure(experiment: Any, *, name: str, figure: Figure, epoch: int) -> None:
    experiment.log_figure(name, figure, step=epoch)


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=3)
