"""What a run writes down: its epochs, its best model, its checkpoints, and its summary in the end."""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from typing import Any

import torch

from dynml.errors import DataWarning
from dynml.files import read_json
from dynml.training.checkpoints.experiment_folder import Checkpoint
from dynml.training.checkpoints.run_record import Figures
from dynml.training.checkpoints.run_summary import costs_of_epoch, summary_of
from dynml.training.checkpoints.saved_state import state_of
from dynml.training.monitors import summed_monitors
from dynml.training.run_state import RunState


class RecordedRun(RunState):
    """A run that keeps its best model and can be saved and ended at any step; `RunRecord` does the writing."""

    figures: Figures | None
    """Made at the end of the run, for loggers that show them."""
    _best_weights: dict[str, torch.Tensor] | None
    """Of the best epoch, where they are not in the folder yet."""
    _summary: dict[str, Any] | None = None
    """Of a run that is finished."""

    # ------------------------------------------------------------------ epochs

    def averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        """Let the model have the averaged weights in a block, if they are averaged."""
        return contextlib.nullcontext() if self.average is None else self.average.in_model()

    def _share_monitors(self, prefix: str = "") -> None:
        """Make the sums of the epoch those of all processes, in all of them."""
        own = {name: monitor for name, monitor in self.monitors.items() if name.startswith(prefix)}
        if self.processes.are_several:
            self.monitors |= summed_monitors(self.processes.gather({n: m.state_dict() for n, m in own.items()}))

    def _close_epoch(self) -> None:
        """Log an epoch, and keep its weights if they are the best."""
        row = {name: monitor.mean for name, monitor in self.monitors.items()}
        if self.learner is not None:
            row["learning_rate"] = self.learner.learning_rate
        if getattr(self.batch_sampler.config, "batches_per_epoch", None) is not None:
            row["step"] = float(self.progress.step)
        row |= costs_of_epoch(self)
        if self.is_best(row):
            with self.averaged_weights():
                self._best_weights = {name: tensor.detach().cpu().clone() for name, tensor in self.weights().items()}
        row["best_value"] = float("nan") if self.best.best_value is None else self.best.best_value
        self.history.append(row)
        self.record.epoch_done(self.progress.epoch + 1, row)
        self.monitors, self.progress.n_samples = {}, 0
        self.progress.epoch += 1
        self.progress.enter("training")

    def save_checkpoint(self) -> None:
        """Commit best model, checkpoint and logs; all processes call it, since sums of all of them are saved."""
        information = {"epoch": self.progress.epoch, "step": self.progress.step, "phase": self.progress.phase}
        training_weights = contextlib.nullcontext() if self.average is None else self.average.out_of_model()
        with self.progress.timed("saving"), training_weights:
            checkpoint = Checkpoint(self.weights(), state_of(self), self.parameters)
            self.record.save(checkpoint, self._best_weights, self.best, self.history, information, self.kept_in_words())
        self._best_weights = None

    # ------------------------------------------------------------------ the end

    def _finish(self) -> dict[str, Any]:
        """Save, report on the best model, and write the summary."""
        self.save_checkpoint()
        self._load_best_weights()
        with self.progress.timed("report"):
            self.model.eval()
            report = self.final_report()
        self._summary = self._write_summary(self.progress.stopping_reason or "max_epochs", report)
        return copy.deepcopy(self._summary)

    def _end_interrupted(self, reason: str) -> dict[str, Any]:
        self.save_checkpoint()
        return self._write_summary(reason, {})

    def _write_summary(self, reason: str, report: dict[str, Any]) -> dict[str, Any]:
        summary = summary_of(self, reason, report)
        self.record.end(summary, None if self.figures is None else functools.partial(self.figures, self))
        return summary

    def _load_best_weights(self) -> None:
        if self.best.best_epoch is not None:
            weights, _ = self.processes.from_first(self.folder.load_model)
            self.model.load_state_dict(weights)

    def _finished_before(self) -> dict[str, Any]:
        """Summary and best model of a run that had nothing left to do when it was taken up again."""
        self._load_best_weights()
        self.record.nothing_to_report()
        self._summary = self.processes.from_first(lambda: read_json(self.folder.summary))
        return copy.deepcopy(self._summary)

    def _again(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Summary of a run that has finished in this process."""
        if not self.processes.from_first(self.folder.summary.exists):
            warnings.warn(
                f"{self.folder.summary} is gone; the summary of the finished run comes from memory.",
                DataWarning,
                stacklevel=3,
            )
        return copy.deepcopy(summary)
