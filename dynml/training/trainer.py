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

import contextlib
import copy
import dataclasses
import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from dynml.batches.batch import Batch
from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.configuration import check_choice, check_instance, config_from, config_to_dictionary
from dynml.errors import CheckpointError, ConfigurationError, DataWarning, NonFiniteLossError
from dynml.files import read_json
from dynml.ops.mixed_precision import mixed_precision
from dynml.training.batch_result import BatchResult
from dynml.training.checkpoints.earlier_content import Resume, goes_on
from dynml.training.checkpoints.experiment_folder import Checkpoint, ExperimentFolder
from dynml.training.checkpoints.run_record import Figures, RunRecord
from dynml.training.checkpoints.run_summary import costs_of_epoch, summary_of
from dynml.training.checkpoints.saved_state import restore_or_start, state_of
from dynml.training.config import RunConfig, TrainerConfig
from dynml.training.environment import describe_environment, resolve_device
from dynml.training.gradients.deferred_check import DeferredCheck, RunningStatistics
from dynml.training.gradients.finite_losses import is_usable, look_at_losses, refuse_gradient
from dynml.training.gradients.learning import GradientLearner, Step
from dynml.training.gradients.weight_averaging import WeightAverage
from dynml.training.interruption import Interruption
from dynml.training.loggers.run_loggers import RunLogger
from dynml.training.monitors import BestMonitor, EpochMonitor, History, summed_monitors
from dynml.training.processes import Processes, join_processes
from dynml.training.profiling import Profiler
from dynml.training.progress import Progress, RunEnded, Stopwatch, batch_seed
from dynml.training.progress_bar import ProgressBars
from dynml.training.run_state import RunState


class Trainer(RunState):
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
    resume : {"refuse", "auto", "force", "anew"}
        What to do with an experiment that is there: refuse; go on if it was started with the same settings; go on
        whatever its settings were; move it aside and begin. A model without a usable checkpoint is never overwritten:
        all but "anew" refuse.
    loggers : sequence of RunLogger
        Where the run is reported to, beside its own folder. None of their faults stops or changes it.
    figures : callable, optional
        Takes the trainer and gives figures by name, for loggers that show them.
    processes : Processes, optional
        Those that train together; default: the ones that torchrun started, or this one alone.

    Raises
    ------
    CheckpointError
        When the experiment exists (and `resume` is "refuse"), or holds a model that no run can go on with.
    ResumeRefusedError
        When the run to go on with has other settings; every difference is named.
    ConfigurationError
        When the dataset was not opened as this process's share.
    """

    config_class: ClassVar[type[RunConfig]] = TrainerConfig
    model_class: ClassVar[type[torch.nn.Module]] = torch.nn.Module

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
        resume: Resume = "refuse",
        loggers: Sequence[RunLogger] = (),
        figures: Figures | None = None,
        processes: Processes | None = None,
        **settings: Any,
    ) -> None:
        self._check_parts(model, batch_sampler, batch_loader, config, loggers)
        check_choice("resume", resume, ("refuse", "auto", "force", "anew"))
        base = config_to_dictionary(config) if config is not None else {}
        self.config: Any = config_from(type(config) if config else self.config_class, base | settings, "trainer")
        self.processes = processes or join_processes(self.config.device)
        self.folder = ExperimentFolder(experiments_path, experiment_name, may_make_root=True)
        self.record = RunRecord(self.folder, self.processes, loggers, self.config.saving_share)
        self.figures = figures
        self.device = resolve_device(self.config.device)
        self.model = self._on_device(model)
        self.batch_sampler, self.batch_loader = batch_sampler, batch_loader
        self.dataset = batch_loader.dataset
        if self.dataset.embedding is not None:
            self.folder.input_transform = self.dataset.embedding.tensors()
        self._check_share()
        self._check_masks()
        self.parameters = self._collect_parameters(parameters or {})
        self.interruption = Interruption()
        self.resume = resume
        self._has_begun = False
        self._summary: dict[str, Any] | None = None
        self._prepare_learning()
        if self.config.deterministic:
            torch.use_deterministic_algorithms(True)
        self.processes.from_first(lambda: goes_on(self.folder, resume))

    def _prepare_learning(self) -> None:
        """Everything that training changes beside the model's weights, as it is before the first step."""
        self.learner = GradientLearner.for_model(self.model, self.config, self.processes)
        self.average = WeightAverage.for_model(self.model, self.config)
        learns_by_itself = type(self).back_propagation is not Trainer.back_propagation
        self.deferred_check = None
        if self.learner is not None:
            self.deferred_check = DeferredCheck.for_run(
                self.config, self.device, self.processes, learns_by_itself=learns_by_itself
            )
        self._running_statistics = RunningStatistics(self.model)
        self.progress = Progress()
        self.best = BestMonitor(self.config.patience_delta)
        self.history = History()
        self.monitors = {}
        self._best_weights: dict[str, torch.Tensor] | None = None
        self._profiler = Profiler(self.folder.logs, on=self.config.profile and self.processes.is_first)

    # ------------------------------------------------------------------ the run, from above

    def train_and_validate(self) -> dict[str, Any]:
        """Run until there is a reason to stop, and return what summary.json holds.

        Called again, a finished run gives its summary again, and one that was interrupted goes on from its checkpoint.

        Raises
        ------
        CheckpointError
            When the folder holds another experiment by now, or lost the checkpoint to go on from.
        NonFiniteLossError
            When a loss is not finite and `non_finite` is "stop".
        """
        if self._summary is not None and self.stopping_reason() is not None:
            return self._again(self._summary)
        if self._has_begun:
            self._prepare_to_go_on()
        maximum = self.config.max_time
        self.interruption = Interruption(None if maximum is None else 60 * maximum)
        with self.record.locked(), self.interruption.listening():
            restore_or_start(self)
            self._has_begun, self.resume = True, "force" if self.resume == "force" else "auto"
            if self.progress.phase == "finished" and self.processes.from_first(self.folder.summary.exists):
                self._load_best_weights()
                self.record.nothing_to_report()
                self._summary = self.processes.from_first(lambda: read_json(self.folder.summary))
                return copy.deepcopy(self._summary)
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

    def _again(self, summary: dict[str, Any]) -> dict[str, Any]:
        if not self.processes.from_first(self.folder.summary.exists):
            warnings.warn(
                f"{self.folder.summary} is gone; the summary of the finished run comes from memory.",
                DataWarning,
                stacklevel=3,
            )
        return copy.deepcopy(summary)

    def _prepare_to_go_on(self) -> None:
        """Let go of what a call that ended early left in memory: the last checkpoint counts."""
        if not self.processes.from_first(lambda: goes_on(self.folder, self.resume)):
            raise CheckpointError(
                f"{self.folder.path} has no checkpoint that this run could go on from; build model and trainer anew."
            )
        self._prepare_learning()

    def _run_phases(self, bars: ProgressBars) -> None:
        if self.progress.phase == "initialization":
            with self._timed("initialization"):
                self.initialize()
            if self.average is not None:
                self.average.begin()
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
            for batch in () if self._all_steps_are_done() else self._batches("training", bars):
                self._learn_from(batch)
                self.progress.step += 1
                self.progress.n_samples += batch.n_samples
                self._profiler.step()
                if self._after_batch():
                    break
            look_at_losses(self)
            self._share_monitors()
            self._refuse_epoch_without_batches()
            self.end_of_training_epoch()
        self._enter("validation")
        # A best model is never on disk without a checkpoint that it belongs to.
        self._save_or_end(is_due=not self.record.has_saved)

    def validate_one_epoch(self, bars: ProgressBars) -> None:
        """Go through all validation batches, always the same ones, without learning."""
        if not self.dataset.validation_set.n_subjects:
            return
        with self._timed("validation"), torch.no_grad(), self.averaged_weights():
            self.model.eval()
            for batch in self._batches("validation", bars):
                if batch.spans:
                    self._monitor("validation", self.run_one_batch(batch))
                self._after_batch()
            self._share_monitors("validation_")

    # ------------------------------------------------------------------ what families override, beside RunState

    def initialize(self) -> None:
        """Prepare the model before the first epoch; long work goes through `initialization_step`."""

    def start_of_epoch(self) -> None:
        """Set the learning rate (gradient families)."""
        if self.learner is not None:
            self.learner.start_of_epoch(self.progress.epoch, self.progress.schedule_length, self.constant_epochs())

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """Compute the loss of one batch, in training and in validation."""
        model: Any = self.model
        with self.autocast():
            outputs = model(batch.signals)
        loss, n = model.compute_loss(outputs, batch)
        return BatchResult(loss, n if isinstance(n, torch.Tensor) else float(n))

    def back_propagation(self, result: BatchResult) -> None:
        """Learn from one batch: backward, clip, step, and clear the gradients."""
        if self.learner is None:
            return
        self._step_done(self.learner.learn(result, self.progress.position, self._n_batches_to_learn_from()))

    def end_of_training_epoch(self) -> None:
        """Do what follows the last training batch of an epoch."""

    def monitored_value(self, row: dict[str, float]) -> float:
        """Value that chooses the best model, out of the metrics of an epoch; lower is better."""
        return row[self.monitored_name()]

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

    def _learn_from(self, batch: Batch) -> None:
        if self.learner is not None:
            self.learner.start_of_step(self.progress, self.constant_epochs())
        self._running_statistics.remember()
        result = self._training_result(batch)
        if self.deferred_check is not None:
            result.usable = self.deferred_check.usable(result.loss, result.n)
            self._monitor("training", result)
            self.back_propagation(result)
            self._running_statistics.keep_if(result.usable)
            if self.deferred_check.is_due:
                look_at_losses(self)
            return
        n_skipped, usable = self.progress.n_skipped, False
        try:
            usable = self._is_usable(result, batch)
        finally:
            self._running_statistics.keep_if(usable)
        if usable:
            self._monitor("training", result)
            self.back_propagation(result)
        elif self.learner is not None:
            is_faulty = self.progress.n_skipped > n_skipped
            n_batches = self._n_batches_to_learn_from()
            self._step_done(self.learner.leave_out(self.progress.position, n_batches, faulty=is_faulty))

    def _n_batches_to_learn_from(self) -> int:
        """Batches of this epoch, as far as max_steps lets it go: there its last accumulated group ends."""
        n_batches = self.batch_sampler.n_batches(self.progress.epoch)
        if self.config.max_steps is None:
            return n_batches
        n_left = max(self.config.max_steps - self.progress.step, 1)
        return min(n_batches, self.progress.position + n_left)

    def _step_done(self, step: Step | None) -> None:
        """Follow an accumulated group: average the weights, log the norm of the gradient, see whether it was finite."""
        if step is None:
            return
        if self.deferred_check is not None:
            self.deferred_check.add(step)
        elif not step.made:
            refuse_gradient(self, step)
            return
        if self.average is not None:
            self.average.update(step.made)
        usable = step.made if isinstance(step.made, torch.Tensor) else None
        self.monitors.setdefault("gradient_norm", EpochMonitor()).add(step.norm, 1.0, usable)

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
        return self.progress.phase == "training" and self._all_steps_are_done()

    def _all_steps_are_done(self) -> bool:
        return self.config.max_steps is not None and self.progress.step >= self.config.max_steps

    def _save_or_end(self, is_due: bool | None = None) -> None:
        """Save if it is due (default: if it is cheap); end if the run is interrupted. All processes do the same."""
        is_due = self.record.saving_is_cheap if is_due is None else is_due
        wants_to_save = is_due and self.processes.is_first
        saves, code = self.processes.largest([int(wants_to_save), self.interruption.code])
        if saves or code:
            look_at_losses(self)
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
        return is_usable(self, result, batch)

    def _refuse_epoch_without_batches(self) -> None:
        if "training_loss" not in self.monitors or not self.monitors["training_loss"].weight:
            raise NonFiniteLossError(f"All batches of epoch {self.progress.epoch + 1} had a loss that is not finite.")

    def _monitor(self, context: str, result: BatchResult) -> None:
        if not isinstance(result.n, torch.Tensor) and not result.n:
            return
        for name, value in {"loss": result.loss, **result.metrics}.items():
            self.monitors.setdefault(f"{context}_{name}", EpochMonitor()).add(value, result.n, result.usable)

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
        row |= costs_of_epoch(self)
        if self.best.update(self.monitored_value(row), self.progress.epoch + 1):
            with self.averaged_weights():
                self._best_weights = {name: tensor.detach().cpu().clone() for name, tensor in self.weights().items()}
        row["best_value"] = float("nan") if self.best.best_value is None else self.best.best_value
        self.history.append(row)
        self.record.epoch_done(self.progress.epoch + 1, row)
        self.monitors, self.progress.n_samples = {}, 0
        self.progress.epoch += 1
        self._enter("training")

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Automatic mixed precision in a block, if `precision` is bf16."""
        is_mixed = getattr(self.config, "precision", "float32") == "bf16"
        return mixed_precision(self.device) if is_mixed else contextlib.nullcontext()

    def averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        """Let the model have the averaged weights in a block, if they are averaged."""
        return contextlib.nullcontext() if self.average is None else self.average.in_model()

    def _training_weights(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.out_of_model()

    def save_checkpoint(self) -> None:
        """Commit best model, checkpoint and logs; all processes call it, since sums of all of them are saved."""
        information = {"epoch": self.progress.epoch, "step": self.progress.step, "phase": self.progress.phase}
        with self._timed("saving"), self._training_weights():
            checkpoint = Checkpoint(self.weights(), state_of(self), self.parameters)
            self.record.save(checkpoint, self._best_weights, self.best, self.history, information)
        self._best_weights = None

    # ------------------------------------------------------------------ the end

    def _finish(self) -> dict[str, Any]:
        self.save_checkpoint()
        self._load_best_weights()
        with self._timed("report"):
            self.model.eval()
            report = self.final_report()
        self._summary = self._write_summary(self.progress.stopping_reason or "max_epochs", report)
        return copy.deepcopy(self._summary)

    def _end_interrupted(self, reason: str) -> dict[str, Any]:
        self.save_checkpoint()
        return self._write_summary(reason, {})

    def _load_best_weights(self) -> None:
        if self.best.best_epoch is not None:
            weights, _ = self.processes.from_first(self.folder.load_model)
            self.model.load_state_dict(weights)

    def _write_summary(self, reason: str, report: dict[str, Any]) -> dict[str, Any]:
        summary = summary_of(self, reason, report)
        self.record.end(summary, None if self.figures is None else functools.partial(self.figures, self))
        return summary

    # ------------------------------------------------------------------ small helpers

    def _timed(self, phase: str) -> Stopwatch:
        return Stopwatch(self.progress.seconds, phase)

    def _check_parts(self, model: Any, sampler: Any, loader: Any, config: Any, loggers: Any) -> None:
        """Refuse parts of the wrong type, or in the wrong order, and parts that do not belong together."""
        kind = self.model_class
        check_instance("model", model, kind, f"a {kind.__name__}, as {type(self).__name__} trains it")
        check_instance("batch_sampler", sampler, BatchSampler, "a BatchSampler, which stands before the BatchLoader")
        check_instance("batch_loader", loader, BatchLoader, "a BatchLoader, which stands after the BatchSampler")
        if config is not None:
            check_instance("config", config, RunConfig, f"a {self.config_class.__name__}")
        if isinstance(loggers, str):
            raise ConfigurationError("loggers", loggers, "a list of loggers")
        if sampler.dataset is not loader.dataset and sampler.dataset.fingerprint != loader.dataset.fingerprint:
            raise ConfigurationError(
                "batch_loader", "made with another dataset than batch_sampler", "made with the same one"
            )
        n_channels, of_data = getattr(model, "n_channels", None), loader.dataset.n_channels
        if isinstance(n_channels, int) and n_channels != of_data:
            raise ConfigurationError("model.n_channels", n_channels, f"the data's ({of_data})")

    def _check_masks(self) -> None:
        """Refuse masked samples where a model of a user's own does not say that it knows them."""
        subsets = self.dataset.training_set, self.dataset.validation_set
        n_masked = sum(subset.n_masked for subset in subsets)
        is_own = type(self).run_one_batch is Trainer.run_one_batch
        if n_masked and is_own and not getattr(self.model, "knows_masked_samples", False):
            raise ConfigurationError(
                "model",
                type(self.model).__name__,
                f"one that knows masked samples, since {n_masked} samples of the data are masked (rows of NaN): leave "
                "those out by batch.observed and set knows_masked_samples = True in its class, or open the data with "
                '"missing": "segment"',
            )

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
        settings, kind = getattr(self.model, "config", None), type(self.model)
        parameters = {
            "family": self.family_name or getattr(self.model, "family_name", None),
            "model": config_to_dictionary(settings) if dataclasses.is_dataclass(settings) else None,
            "environment": describe_environment(),
            "trainer": config_to_dictionary(self.config),
            "sampler": config_to_dictionary(self.batch_sampler.config),
            "loader": config_to_dictionary(self.batch_loader.config),
            "dataset": self.dataset.describe(),
            **given,
        }
        if parameters["family"] is None:
            parameters["model_class"] = f"{kind.__module__}:{kind.__qualname__}"
        return parameters
