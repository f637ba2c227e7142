"""The one trainer: epochs over batches, best model, resumable checkpoints, logs, and the reasons to stop.

    train_and_validate()
        initialize                  step by step where the family has starts; each finished step can be resumed from
        for each epoch
            train_one_epoch         for batch: run_one_batch -> loss, n, metrics; back_propagation
            validate_one_epoch
            best model, checkpoint, logs
            stop?                   max_epochs, max_steps, patience, max_time, signal, non-finite loss

A family overrides `run_one_batch` and, where it does not learn by gradients, `back_propagation` and the hooks.
Randomness has no memory: torch's generator is seeded anew for every batch from (seed, epoch, batch), so a run that
goes on from any step computes the same numbers as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from dynml.configuration import config_from, config_to_dictionary
from dynml.errors import CheckpointError, ConfigurationError, NonFiniteLossError
from dynml.files import read_json, strict_json
from dynml.training.batch import Batch
from dynml.training.batch_loader import BatchLoader
from dynml.training.batch_sampler import BatchSampler, Span
from dynml.training.config import RunConfig, TrainerConfig
from dynml.training.costs import peak_memory
from dynml.training.environment import describe_environment, resolve_device
from dynml.training.experiment_folder import Checkpoint, ExperimentFolder
from dynml.training.gradient_learning import GradientLearner
from dynml.training.interruption import Interruption
from dynml.training.monitors import BestMonitor, EpochMonitor, History, summed_monitors
from dynml.training.processes import Processes, join_processes
from dynml.training.profiling import Profiler
from dynml.training.progress import Progress, RunEnded, Stopwatch, batch_seed
from dynml.training.progress_bar import ProgressBars
from dynml.training.resume import check_resumable
from dynml.training.run_loggers import RunLogger
from dynml.training.run_record import Figures, RunRecord


@dataclass
class BatchResult:
    """What one batch gives: the mean loss over `n` samples, and further means to be logged."""

    loss: torch.Tensor
    n: float
    metrics: dict[str, torch.Tensor | float] = field(default_factory=dict)


class Trainer:
    """Trains any model on batches of a `MultiSubjectDataset`.

    Parameters
    ----------
    model : torch.nn.Module
        With `compute_loss(outputs, batch) -> (mean loss, n)`; called as `model(batch.signals)`.
    experiments_path, experiment_name : str or Path, str
        The experiment's folder is `experiments_path/experiment_name`.
    batch_sampler, batch_loader
        Which spans make a batch, and how they become tensors.
    config : TrainerConfig, optional
        Settings may also be given by name, as keywords.
    parameters : dict, optional
        Further sections for parameters.json (family, model).
    resume : {"refuse", "auto", "force"}
        What to do with an experiment that has a checkpoint: refuse; go on if it was started with the same settings;
        go on whatever its settings were.
    loggers : sequence of RunLogger
        Where the run is reported to, beside its own folder. None of their faults stops or changes it.
    figures : callable, optional
        Takes the trainer and gives figures by name, for loggers that show them.
    processes : Processes, optional
        Those that train together; default: the ones that torchrun started, or this one alone.

    Raises
    ------
    CheckpointError
        When the experiment exists (and `resume` is "refuse"), or `experiments_path` does not.
    ResumeRefusedError
        When the run to go on with has other settings; every difference is named.
    ConfigurationError
        When the dataset was not opened as this process's share.
    """

    config_class: ClassVar[type[RunConfig]] = TrainerConfig
    loss_name: ClassVar[str] = "loss"
    family_name: ClassVar[str | None] = None
    """Name in the registry, for models that are built without a script."""

    def __init__(
        self,
        model: torch.nn.Module,
        experiments_path: str | Path,
        experiment_name: str,
        batch_sampler: BatchSampler,
        batch_loader: BatchLoader,
        config: RunConfig | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        resume: Literal["refuse", "auto", "force"] = "refuse",
        loggers: Sequence[RunLogger] = (),
        figures: Figures | None = None,
        processes: Processes | None = None,
        **settings: Any,
    ) -> None:
        base = config_to_dictionary(config) if config is not None else {}
        self.config: Any = config_from(type(config) if config else self.config_class, base | settings, "trainer")
        self.processes = processes or join_processes(self.config.device)
        self.folder = ExperimentFolder(experiments_path, experiment_name)
        self.record = RunRecord(self.folder, self.processes, loggers, self.config.saving_share)
        self.figures = figures
        self.device = resolve_device(self.config.device)
        self.model = self._on_device(model)
        self.batch_sampler, self.batch_loader = batch_sampler, batch_loader
        self.dataset = batch_loader.dataset
        self._check_share()
        self.parameters = self._collect_parameters(parameters or {})
        self.learner = GradientLearner.for_model(self.model, self.config, self.processes)
        self.progress = Progress(schedule_length=self.config.max_epochs)
        self.best = BestMonitor(self.config.patience_delta)
        self.history = History()
        self.monitors: dict[str, EpochMonitor] = {}
        self.interruption = Interruption()
        self.resume = resume
        self._best_weights: dict[str, torch.Tensor] | None = None
        self._profiler = Profiler(self.folder.logs, on=self.config.profile and self.processes.is_first)
        if self.config.deterministic:
            torch.use_deterministic_algorithms(True)
        if resume == "refuse" and self.processes.from_first(self.folder.has_checkpoint):
            raise CheckpointError(
                f"The experiment {self.folder.path} exists already; resume it, or choose another name."
            )

    # ------------------------------------------------------------------ the run, from above

    def train_and_validate(self) -> dict[str, Any]:
        """Run until there is a reason to stop, and return what summary.json holds.

        Raises
        ------
        NonFiniteLossError
            When a loss is not finite and `non_finite` is "stop".
        """
        maximum = self.config.max_time
        self.interruption = Interruption(None if maximum is None else 60 * maximum)
        with self.record.locked(), self.interruption.listening():
            self._restore_or_start()
            if self.progress.phase == "finished" and self.processes.from_first(self.folder.summary.exists):
                self._load_best_weights()
                self.record.nothing_to_report()
                return self.processes.from_first(lambda: read_json(self.folder.summary))
            shown = self.config.progress and self.processes.is_first
            bars = ProgressBars(self.config.max_epochs, self.progress.epoch, shown=shown)
            try:
                self._run_phases(bars)
            except RunEnded as ended:
                return self._end_interrupted(str(ended))
            except NonFiniteLossError:
                self._write_summary("non_finite_loss", {})
                raise
            finally:
                bars.close()
                self._profiler.close()
            return self._finish()

    def _run_phases(self, bars: ProgressBars) -> None:
        if self.progress.phase == "initialization":
            with self._timed("initialization"):
                self.initialize()
            self._enter("training")
        while self.progress.phase != "finished":
            self.train_one_epoch(bars)
            self.validate_one_epoch(bars)
            self._close_epoch()
            bars.epoch_done(self.monitored_value(self.history.rows[-1]), self.best.best_value, self.best.best_epoch)
            reason = self.stopping_reason()
            if reason is not None:
                self.progress.phase, self.progress.stopping_reason = "finished", reason
            else:
                self._save_or_end()

    def train_one_epoch(self, bars: ProgressBars) -> None:
        """Go through the training batches that this epoch still lacks."""
        if self.progress.phase != "training":
            return
        with self._timed("training"):
            if self.progress.position == 0:
                self.start_of_epoch()
            self.model.train()
            for batch in self._batches("training", bars):
                result = self._training_result(batch)
                if self._is_usable(result, batch):
                    self._monitor("training", result)
                    self.back_propagation(result)
                self.progress.step += 1
                self.progress.n_samples += batch.n_samples
                self._profiler.step()
                if self._after_batch():
                    break
            self._share_monitors()
            self._refuse_epoch_without_batches()
            self.end_of_training_epoch()
        self._enter("validation")

    def validate_one_epoch(self, bars: ProgressBars) -> None:
        """Go through all validation batches, always the same ones, without learning."""
        if not self.dataset.validation_set.n_subjects:
            return
        with self._timed("validation"), torch.no_grad():
            self.model.eval()
            for batch in self._batches("validation", bars):
                if batch.spans:
                    self._monitor("validation", self.run_one_batch(batch))
                self._after_batch()
            self._share_monitors("validation_")

    # ------------------------------------------------------------------ what families override

    def initialize(self) -> None:
        """Prepare the model before the first epoch; long work goes through `initialization_step`."""

    def start_of_epoch(self) -> None:
        """Set the learning rate (gradient families)."""
        if self.learner is not None:
            self.learner.start_of_epoch(self.progress.epoch, self.progress.schedule_length)

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """Compute the loss of one batch, in training and in validation."""
        model: Any = self.model
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            outputs = model(batch.signals)
        loss, n = model.compute_loss(outputs, batch)
        return BatchResult(loss, float(n))

    def back_propagation(self, result: BatchResult) -> None:
        """Learn from one batch: backward, clip, step, and clear the gradients."""
        if self.learner is None:
            return
        n_batches = self.batch_sampler.n_batches(self.progress.epoch)
        norm = self.learner.learn(result, self.progress.position, n_batches)
        if norm is not None:
            self.monitors.setdefault("gradient_norm", EpochMonitor()).add(norm, 1.0)

    def end_of_training_epoch(self) -> None:
        """Do what follows the last training batch of an epoch."""

    def monitored_name(self) -> str:
        """Name of the value that chooses the best model and that patience looks at."""
        return "validation_loss" if self.dataset.validation_set.n_subjects else "training_loss"

    def monitored_value(self, row: dict[str, float]) -> float:
        """Value that chooses the best model, out of the metrics of an epoch; lower is better."""
        return row[self.monitored_name()]

    def stopping_reason(self) -> str | None:
        """Why the run is over after this epoch, or None."""
        if self.config.patience is not None and self.best.n_epochs_without_improvement >= self.config.patience:
            return "patience"
        if self.progress.epoch >= self.config.max_epochs:
            return "max_epochs"
        if self.config.max_steps is not None and self.progress.step >= self.config.max_steps:
            return "max_steps"
        return None

    def family_state(self) -> dict[str, Any]:
        """Tensors and plain values that a family needs beside the weights to go on."""
        return {}

    def load_family_state(self, state: dict[str, Any]) -> None:
        """Go on from `family_state`."""

    def final_report(self) -> dict[str, Any]:
        """Further entries of summary.json, computed with the best model."""
        return {}

    # ------------------------------------------------------------------ batches

    def _batches(self, context: Literal["training", "validation"], bars: ProgressBars) -> Iterator[Batch]:
        self.batch_sampler.set_context(context)
        self.batch_loader.set_context(context)
        epoch, start = self.progress.epoch, self.progress.position
        total = self.batch_sampler.n_batches(epoch)
        batches = self._timed_loading(self.batch_loader.iterate(self.batch_sampler, epoch, start))
        for batch in bars.batches(batches, total, start, context.capitalize()):
            rank = self.processes.rank
            torch.manual_seed(batch_seed(self.config.seed, epoch, self.progress.position, context, rank))
            yield batch

    def _timed_loading(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            with self._timed("loading"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _training_result(self, batch: Batch) -> BatchResult:
        """Loss of a training batch; where gradients are shared, a process without spans takes part with weight 0."""
        if self.learner is None:
            return self.run_one_batch(batch)
        return self.learner.result(batch, self.run_one_batch, self._stand_in)

    def _stand_in(self) -> Batch:
        """A batch of this process's own subjects, for a step in which it has no share."""
        epoch = self.progress.epoch
        return self.batch_loader.on_device(
            self.batch_loader.load_batch([self.batch_sampler.first_own_span(epoch)], epoch)
        )

    def _after_batch(self) -> bool:
        """Count the batch, save or end if it is time; True when no further step is allowed in this phase."""
        self.progress.position += 1
        every = getattr(self.config, "accumulate_gradients", 1)
        if self.progress.phase == "validation" or self.progress.position % every == 0:
            self._save_or_end(is_due=self.record.seconds_since_save > 60 * self.config.save_every)
        return (
            self.progress.phase == "training"
            and self.config.max_steps is not None
            and self.progress.step >= self.config.max_steps
        )

    def _save_or_end(self, is_due: bool | None = None) -> None:
        """Save if it is due (default: if it is cheap); end if the run is interrupted. All processes do the same."""
        is_due = self.record.saving_is_cheap if is_due is None else is_due
        wants_to_save = is_due and self.processes.is_first
        saves, code = self.processes.largest([int(wants_to_save), self.interruption.code])
        if saves:
            self.save_checkpoint()
        reason = self.interruption.adopt(code)
        if reason is not None:
            raise RunEnded(reason)

    def initialization_step_done(self) -> None:
        """Commit one finished step of the initialization, and end there if the run is interrupted."""
        self.progress.position += 1
        self._save_or_end()

    def _is_usable(self, result: BatchResult, batch: Batch) -> bool:
        """Whether to learn from a batch: some process has samples of it, and no loss is NaN or infinite."""
        is_faulty = bool(result.n) and not bool(torch.isfinite(result.loss))
        has_samples, faulty = self.processes.largest([int(bool(result.n)), int(is_faulty)])
        if not faulty:
            return bool(has_samples)
        if self.config.non_finite == "stop":
            where = ", ".join(self._name_of_span(span) for span in self.spans_at_fault(batch)[:3])
            faults = self.processes.gather((result.loss.item(), where) if is_faulty else None)
            loss, where = next(fault for fault in faults if fault is not None)
            raise NonFiniteLossError(
                f"The loss is {loss} in epoch {self.progress.epoch + 1}, batch "
                f"{self.progress.position + 1} ({where}); the model was left as it was before this step."
            )
        self.progress.n_skipped += 1
        return False

    def spans_at_fault(self, batch: Batch) -> Sequence[Span]:
        """Spans to be named when the loss of a batch is not finite."""
        return batch.spans

    def _name_of_span(self, span: Any) -> str:
        return f"{self.dataset.training_set.subjects[span.subject]} samples {span.start} to {span.stop}"

    def _refuse_epoch_without_batches(self) -> None:
        if "training_loss" not in self.monitors:
            raise NonFiniteLossError(f"All batches of epoch {self.progress.epoch + 1} had a loss that is not finite.")

    def _monitor(self, context: str, result: BatchResult) -> None:
        if not result.n:
            return
        for name, value in {"loss": result.loss, **result.metrics}.items():
            self.monitors.setdefault(f"{context}_{name}", EpochMonitor()).add(value, result.n)

    def _share_monitors(self, prefix: str = "") -> None:
        """Make the sums of the epoch those of all processes, in all of them."""
        own = {name: monitor for name, monitor in self.monitors.items() if name.startswith(prefix)}
        if self.processes.are_several:
            self.monitors |= summed_monitors(self.processes.gather({n: m.state_dict() for n, m in own.items()}))

    # ------------------------------------------------------------------ epochs

    def _enter(self, phase: Literal["training", "validation"]) -> None:
        self.progress.phase, self.progress.position = phase, 0

    def _close_epoch(self) -> None:
        row = {name: monitor.mean for name, monitor in self.monitors.items()}
        if self.learner is not None:
            row["learning_rate"] = self.learner.learning_rate
        row |= self._costs_of_epoch()
        if self.best.update(self.monitored_value(row), self.progress.epoch + 1):
            self._best_weights = {name: tensor.detach().cpu().clone() for name, tensor in self.weights().items()}
        row["best_value"] = float("nan") if self.best.best_value is None else self.best.best_value
        self.history.append(row)
        self.record.epoch_done(self.progress.epoch + 1, row)
        self.monitors, self.progress.n_samples = {}, 0
        self.progress.epoch += 1
        self._enter("training")

    def _costs_of_epoch(self) -> dict[str, float]:
        phases = ("training", "validation", "loading", "saving")
        seconds = {phase: self.progress.seconds.pop(f"{phase}_of_epoch", 0.0) for phase in phases}
        return {
            **{f"{phase}_seconds": value for phase, value in seconds.items()},
            "training_samples_per_second": self._n_samples_of_all() / max(seconds["training"], 1e-9),
            **peak_memory(self.device),
        }

    def _n_samples_of_all(self) -> int:
        return int(self.processes.sum(torch.tensor(self.progress.n_samples)))

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights of the model as they are saved."""
        return self.model.state_dict()

    # ------------------------------------------------------------------ saving and restoring

    def save_checkpoint(self) -> None:
        """Commit best model, checkpoint and logs; all processes call it, since sums of all of them are saved."""
        information = {"epoch": self.progress.epoch, "step": self.progress.step, "phase": self.progress.phase}
        with self._timed("saving"):
            checkpoint = Checkpoint(self.weights(), self._state(), self.parameters)
            self.record.save(checkpoint, self._best_weights, self.best, self.history, information)
        self._best_weights = None

    def _state(self) -> dict[str, Any]:
        return {
            "progress": dataclasses.asdict(self.progress) | {"n_samples": self._n_samples_of_all()},
            "best": self.best.state_dict(),
            "history": self.history.state_dict(),
            "monitors": self._monitors_of_all(),
            "optimizer": None if self.learner is None else self.learner.optimizer.state_dict(),
            "family": self.family_state(),
        }

    def _monitors_of_all(self) -> dict[str, Any]:
        """Sums of all processes. Those of a context are the same everywhere once its last batch is done."""
        own = {name: monitor.state_dict() for name, monitor in self.monitors.items()}
        running = {name: state for name, state in own.items() if name.startswith(self.progress.phase)}
        several = [running] if self.progress.phase == "finished" else self.processes.gather(running)
        return own | {name: monitor.state_dict() for name, monitor in summed_monitors(several).items()}

    def _load_state(self, checkpoint: Checkpoint) -> None:
        self.model.load_state_dict(checkpoint.weights)
        state = checkpoint.state
        self.progress = Progress(**state["progress"])
        self.best.load_state_dict(state["best"])
        self.history.load_state_dict(state["history"])
        if not self.processes.is_first:
            self.progress.n_samples = 0
        self.monitors = {}
        for name, values in state["monitors"].items():
            # A sum that goes on is held by the first process alone; the others start at nothing.
            if self.processes.is_first or not name.startswith(self.progress.phase):
                self.monitors[name] = EpochMonitor()
                self.monitors[name].load_state_dict(values)
        if self.learner is not None and state["optimizer"] is not None:
            self.learner.optimizer.load_state_dict(state["optimizer"])
        self.load_family_state(state["family"])

    def _restore_or_start(self) -> None:
        self._check_same_everywhere()
        goes_on = self.resume != "refuse"
        checkpoint = self.processes.from_first(self.folder.load_checkpoint) if goes_on else None
        if checkpoint is None:
            if self.processes.is_first:
                self.folder.clear()
            self.record.begin(self.parameters, self.history, 0)
            return
        changes = check_resumable(checkpoint.parameters, self.parameters, force=self.resume == "force")
        history = checkpoint.parameters.get("history", [])
        self._load_state(checkpoint)
        if self.progress.phase == "finished":
            reason = self.stopping_reason()
            if reason is not None:
                self.parameters = checkpoint.parameters
                self.record.goes_on()
                return
            self._enter("training")
            self.progress.stopping_reason = None
        if self.processes.is_first:
            self.folder.summary.unlink(missing_ok=True)
        entry = {"resumed_at_step": self.progress.step, "epoch": self.progress.epoch, "changes": changes}
        self.parameters["history"] = [*history, entry]
        self.record.begin(self.parameters, self.history, self.progress.epoch)
        self.record.goes_on()

    def _check_same_everywhere(self) -> None:
        """Refuse processes that see other data, or were started with other settings."""
        settings = {
            name: self.parameters.get(name) for name in ("family", "model", "initialization", "trainer", "sampler")
        }
        text = json.dumps(strict_json(settings), sort_keys=True)
        self.processes.check_same("data", self.dataset.fingerprint[:12])
        self.processes.check_same("settings", hashlib.sha256(text.encode()).hexdigest()[:12])

    # ------------------------------------------------------------------ the end

    def _finish(self) -> dict[str, Any]:
        self.save_checkpoint()
        self._load_best_weights()
        with self._timed("report"):
            self.model.eval()
            report = self.final_report()
        return self._write_summary(self.progress.stopping_reason or "max_epochs", report)

    def _end_interrupted(self, reason: str) -> dict[str, Any]:
        self.save_checkpoint()
        return self._write_summary(reason, {})

    def _load_best_weights(self) -> None:
        if self.best.best_epoch is not None:
            weights, _ = self.processes.from_first(self.folder.load_model)
            self.model.load_state_dict(weights)

    def _write_summary(self, reason: str, report: dict[str, Any]) -> dict[str, Any]:
        seconds = {name: value for name, value in self.progress.seconds.items() if not name.endswith("_of_epoch")}
        summary = {
            "family": self.parameters.get("family"),
            "stopping_reason": reason,
            "epochs": self.progress.epoch,
            "steps": self.progress.step,
            "best_epoch": self.best.best_epoch,
            "monitored": self.monitored_name(),
            "best_value": self.best.best_value,
            "loss": self.loss_name,
            "n_skipped_batches": self.progress.n_skipped,
            "split": self.dataset.split,
            "seconds": seconds,
            **self._costs(),
            "model": "best",
            **report,
        }
        self.record.end(summary, None if self.figures is None else functools.partial(self.figures, self))
        return summary

    def _costs(self) -> dict[str, Any]:
        rates = self.history.column("training_samples_per_second")
        return {
            "processes": self.processes.world_size,
            "training_samples_per_second": float(np.median(rates)) if len(rates) else None,
            **peak_memory(self.device),
        }

    # ------------------------------------------------------------------ small helpers

    def _timed(self, phase: str) -> Stopwatch:
        return Stopwatch(self.progress.seconds, phase)

    def _check_share(self) -> None:
        own, given = (self.processes.rank, self.processes.world_size), (self.dataset.rank, self.dataset.world_size)
        if own != given:
            raise ConfigurationError(
                "dataset.rank, dataset.world_size", given, f"{own}: this process among those that train together"
            )

    def _on_device(self, model: torch.nn.Module) -> torch.nn.Module:
        if not callable(getattr(model, "compute_loss", None)) and type(self).run_one_batch is Trainer.run_one_batch:
            raise ConfigurationError("model", type(model).__name__, "a module with compute_loss(outputs, batch)")
        model = model.to(self.device)
        if getattr(self.config, "compile", False):
            model.compile()
        return model

    def _collect_parameters(self, given: dict[str, Any]) -> dict[str, Any]:
        settings = getattr(self.model, "config", None)
        return {
            "family": self.family_name,
            "model": config_to_dictionary(settings) if dataclasses.is_dataclass(settings) else None,
            "environment": describe_environment(),
            "trainer": config_to_dictionary(self.config),
            "sampler": config_to_dictionary(self.batch_sampler.config),
            "loader": config_to_dictionary(self.batch_loader.config),
            "dataset": self.dataset.describe(),
            **given,
        }
