"""What a run leaves behind: checkpoints, best model, logs, summary, reports. Only the first process writes."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from dynml.errors import ConfigurationError, DataWarning, NotWrittenError
from dynml.files import write_json
from dynml.training.checkpoints.committed import newest_committed
from dynml.training.checkpoints.experiment_folder import Checkpoint, ExperimentFolder
from dynml.training.loggers.run_loggers import GuardedLoggers, RunDescription, RunLogger
from dynml.training.monitors import BestMonitor, History
from dynml.training.processes import Processes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Callable[[Any], Mapping[str, "Figure"]]
"""Trainer to figures by name, made at the end of a run for loggers that show them."""


class RunRecord:
    """Writes a run down, in its folder and for its loggers.

    Parameters
    ----------
    folder : ExperimentFolder
    processes : Processes
    loggers : sequence of RunLogger
    saving_share : float
        Checkpoints between epochs may take at most this share of the time.

    Attributes
    ----------
    last_saved : float
        When the last checkpoint was made, by the monotonic clock; minus infinity where there is none.
    """

    def __init__(
        self, folder: ExperimentFolder, processes: Processes, loggers: Sequence[RunLogger], saving_share: float
    ) -> None:
        self.folder, self.processes = folder, processes
        self.loggers = GuardedLoggers(loggers if processes.is_first else ())
        self._saving_share = saving_share
        self.last_saved, self._seconds_of_last_save = -float("inf"), 0.0
        self._begin, self._seconds_saving = time.monotonic(), 0.0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder; a new run that its settings end before it has a model leaves nothing."""
        if not self.processes.is_first:
            yield
            return
        with self.folder.locked():
            is_new = self.folder.is_empty()
            try:
                yield
            except ConfigurationError:
                # Other settings could not go on from its checkpoint, which would only be in their way.
                if is_new and not self.folder.best_model.exists():
                    self.folder.clear()
                raise
            except NotWrittenError as error:
                raise NotWrittenError(f"{error} {self._way_on()}") from error

    def _way_on(self) -> str:
        """What a user may do about a run that a full disk ended."""
        if newest_committed(self.folder.checkpoint)[0] is None:
            return "Nothing was kept of the run: repeat it once it can be written."
        return f"The run goes on from the checkpoint in {self.folder.path} once it can be written: --resume auto."

    @property
    def has_saved(self) -> bool:
        """Whether there is a checkpoint of this run."""
        return self.last_saved > -float("inf")

    @property
    def saving_is_cheap(self) -> bool:
        """Whether a checkpoint now would stay within its share of the time, those before included."""
        spent = self._seconds_saving + self._seconds_of_last_save
        return self._saving_share >= 1 or time.monotonic() - self._begin >= spent / self._saving_share

    def begin(self, parameters: dict[str, Any], history: History, n_epochs: int) -> None:
        """Write the parameters of a run that begins or goes on, and tell the loggers."""
        if not self.processes.is_first:
            return
        self.folder.save_parameters(parameters)
        description = RunDescription(self.folder.path.name, self.folder.path, parameters, n_epochs, list(history.rows))
        self.loggers.start(description)

    def nothing_to_report(self) -> None:
        """Say so when loggers were asked for a run that is finished already."""
        if self.loggers:
            warnings.warn(
                "The run is finished, so there is nothing new to report; dynml_send_value_to_comet_from_log.py sends "
                "the logs of a finished run.",
                DataWarning,
                stacklevel=3,
            )

    def goes_on(self) -> None:
        """Count the checkpoint that a run was restored from as its last one."""
        self.last_saved, self._seconds_of_last_save = time.monotonic(), 0.0

    def epoch_done(self, epoch: int, row: Mapping[str, float]) -> None:
        """Report the metrics of an epoch, from 1."""
        self.loggers.log_epoch(epoch, row)

    def save(
        self,
        checkpoint: Checkpoint,
        best_weights: dict[str, torch.Tensor] | None,
        best: BestMonitor,
        history: History,
        information: dict[str, Any],
        kept: str | None = None,
    ) -> None:
        """Commit the best model if there is a new one, the checkpoint and the logs; `kept` says what no epoch chose."""
        begin = time.monotonic()
        if self.processes.is_first:
            if best_weights is not None:
                self._save_best(best_weights, checkpoint.parameters, best, kept)
            self.folder.save_checkpoint(checkpoint, information)
            history.save(self.folder.logs)
        self.last_saved = time.monotonic()
        self._seconds_of_last_save = self.last_saved - begin
        self._seconds_saving += self._seconds_of_last_save

    def _save_best(
        self, weights: dict[str, torch.Tensor], parameters: dict[str, Any], best: BestMonitor, kept: str | None
    ) -> None:
        values = {"best_epoch": best.best_epoch, "best_value": best.best_value}
        self.folder.save_best_model(weights, parameters, values if kept is None else values | {"kept": kept})
        if self.loggers:
            self.loggers.log_best_model(self.folder.path)

    def end(self, summary: dict[str, Any], figures: Callable[[], Mapping[str, Figure]] | None) -> None:
        """Write summary.json and close the loggers; figures are made only if a logger will show them."""
        if not self.processes.is_first:
            return
        write_json(self.folder.summary, summary)
        if figures is not None:
            self.loggers.log_figures(figures, summary["epochs"])
        self.loggers.finish(summary)
