"""The one trainer: epochs over batches, best model, resumable checkpoints, logs, and the reasons to stop.

    train_and_validate()
        initialize                  step by step where the family has starts; each finished step can be resumed from
        for each epoch
            train_one_epoch         for batch: run_one_batch -> loss, n, metrics; back_propagation; save or end?
            validate_one_epoch
            best model, checkpoint, logs
            stop?                   max_epochs, max_steps, patience, max_time, signal, non-finite loss

A family overrides `run_one_batch` and, where it does not learn by gradients, `back_propagation` and the hooks.
Randomness has no memory: torch's generator is seeded anew for every batch from (seed, epoch, batch), so a run that
goes on from any step computes the same numbers as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from dynml.batches.batch import Batch
from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.configuration import check_choice, config_from, config_to_dictionary
from dynml.errors import NonFiniteLossError
from dynml.training.batch_result import BatchResult
from dynml.training.checkpoints.earlier_content import Resume, goes_on
from dynml.training.checkpoints.experiment_folder import ExperimentFolder
from dynml.training.checkpoints.run_record import Figures, RunRecord
from dynml.training.checkpoints.saved_state import check_has_checkpoint, restore_or_start
from dynml.training.config import RunConfig
from dynml.training.environment import resolve_device
from dynml.training.gradients.deferred_check import DeferredCheck, RunningStatistics
from dynml.training.gradients.finite_losses import (
    look_at_losses,
    refuse_epoch_without_losses,
    refuse_gradient,
    refuse_loss,
)
from dynml.training.gradients.learning import GradientLearner, Step
from dynml.training.gradients.weight_averaging import WeightAverage
from dynml.training.loggers.run_loggers import RunLogger
from dynml.training.monitors import BestMonitor, EpochMonitor, History
from dynml.training.parts import check_own_model, check_parts, check_share, parameters_of
from dynml.training.processes import Processes, join_processes
from dynml.training.profiling import Profiler
from dynml.training.progress import Interruption, Progress, RunEnded, batch_seed, seed_generators
from dynml.training.progress_bar import ProgressBars
from dynml.training.recorded_run import RecordedRun


class Trainer(RecordedRun):
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
        Or its settings by name, as keywords.
    parameters : dict, optional
        Further sections for parameters.json (family, model).
    resume : {"refuse", "auto", "force", "anew"}
        An experiment that is there: refuse it; go on if it has the same settings; go on whatever they were; move it
        aside and begin. A model without a usable checkpoint is never overwritten: all but "anew" refuse.
    loggers : sequence of RunLogger
        Where the run is reported to as well. None of their faults stops or changes it.
    figures : callable, optional
        Takes the trainer and gives figures by name, for loggers.
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
        check_parts(type(self), model, batch_sampler, batch_loader, config, loggers)
        check_choice("resume", resume, ("refuse", "auto", "force", "anew"))
        base = config_to_dictionary(config) if config is not None else {}
        self.config: Any = config_from(type(config) if config else self.config_class, base | settings, "trainer")
        self.processes = processes or join_processes(self.config.device)
        self.folder = ExperimentFolder(experiments_path, experiment_name, may_make_root=True)
        self.record = RunRecord(self.folder, self.processes, loggers, self.config.saving_share)
        self.figures = figures
        self.device = resolve_device(self.config.device)
        own_step = type(self).run_one_batch is not Trainer.run_one_batch
        check_own_model(model, batch_loader.dataset, own_step=own_step)
        self.model = model.to(self.device)
        if getattr(self.config, "compile", False):
            self.model.compile()
        self.batch_sampler, self.batch_loader = batch_sampler, batch_loader
        self.dataset = batch_loader.dataset
        if self.dataset.embedding is not None:
            self.folder.input_transform = self.dataset.embedding.tensors()
        check_share(self.processes, self.dataset)
        self.parameters = parameters_of(self, batch_sampler, batch_loader, parameters or {})
        self.interruption = Interruption()
        self.resume, self._has_begun = resume, False
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
            parts = self.config, self.device, self.processes
            self.deferred_check = DeferredCheck.for_run(*parts, learns_by_itself=learns_by_itself)
        self._running_statistics = RunningStatistics.of(self.model)
        self.progress = Progress()
        self.best = BestMonitor(self.config.patience_delta)
        self.history = History()
        self.monitors, self._best_weights = {}, None
        self._profiler = Profiler(self.folder.logs) if self.config.profile and self.processes.is_first else None

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
            # What a call that ended early left in memory counts for nothing: the last checkpoint does.
            check_has_checkpoint(self)
            self._prepare_learning()
        self.interruption = Interruption(self.config.max_time)
        with self.record.locked(), self.interruption.listening():
            self.batch_sampler.set_context("training")
            restore_or_start(self, steps_per_epoch=lambda: self.batch_sampler.n_batches(0))
            if self.learner is not None:
                self.learner.constant_epochs = self.constant_epochs()
            self._has_begun, self.resume = True, "force" if self.resume == "force" else "auto"
            if self.progress.phase == "finished" and self.processes.from_first(self.folder.summary.exists):
                return self._finished_before()
            self.bars = ProgressBars(self.config, self.progress.epoch, shown=self.processes.is_first)
            try:
                self._run_epochs(self.bars)
            except RunEnded as ended:
                return self._end_interrupted(str(ended))
            except NonFiniteLossError:
                self._write_summary("non_finite_loss", {})
                raise
            finally:
                self.bars.close()
                if self._profiler is not None:
                    self._profiler.close()
            return self._finish()

    def _run_epochs(self, bars: ProgressBars) -> None:
        if self.progress.phase == "initialization":
            bars.begin_steps("Preparing", self.n_initialization_steps(), self.progress.position)
            with self.progress.timed("initialization"):
                self.initialize()
            if self.average is not None:
                self.average.begin()
            self.progress.enter("training")
        while self.progress.phase != "finished":
            self.train_one_epoch(bars)
            self.validate_one_epoch(bars)
            self._close_epoch()
            bars.epoch_done(
                self.history.rows[-1].get(self.monitored_name()), self.best.best_value, self.best.best_epoch
            )
            reason = self.stopping_reason()
            if reason is not None:
                self.progress.phase, self.progress.stopping_reason = "finished", reason
            else:
                self._save_or_end()

    def train_one_epoch(self, bars: ProgressBars) -> None:
        """Go through the training batches that this epoch still lacks."""
        if self.progress.phase != "training":
            return
        with self.progress.timed("training"):
            if self.progress.position == 0:
                self.start_of_epoch()
            self.model.train()
            for batch in () if self._all_steps_are_done() else self._batches("training", bars):
                self._learn_from(batch)
                self.progress.step += 1
                self.progress.n_samples += batch.n_samples
                if self._profiler is not None:
                    self._profiler.step()
                if self._after_batch():
                    break
            look_at_losses(self)
            self._share_monitors()
            refuse_epoch_without_losses(self)
            self.end_of_training_epoch()
        self.progress.enter("validation")
        # A best model is never on disk without a checkpoint that it belongs to.
        self._save_or_end(is_due=not self.record.has_saved)

    def validate_one_epoch(self, bars: ProgressBars) -> None:
        """Go through all validation batches, always the same ones, without learning."""
        if not self.dataset.validation_set.n_subjects:
            return
        with self.progress.timed("validation"), torch.no_grad(), self.averaged_weights():
            self.model.eval()
            for batch in self._batches("validation", bars):
                if batch.spans:
                    self._monitor("validation", self.run_one_batch(batch))
                self._after_batch()
            self._share_monitors("validation_")

    # ------------------------------------------------------------------ what families override, beside RunState

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """Compute the loss of one batch, in training and in validation."""
        model: Any = self.model
        with self.autocast():
            outputs = model(batch.signals)
        return BatchResult.of(model.compute_loss(outputs, batch))

    def back_propagation(self, result: BatchResult) -> None:
        """Learn from one batch: backward, clip, step, and clear the gradients."""
        if self.learner is None:
            return
        self._step_done(self.learner.learn(result, self.progress.position, self._n_batches_to_learn_from()))

    # ------------------------------------------------------------------ batches

    def _batches(self, context: Literal["training", "validation"], bars: ProgressBars) -> Iterator[Batch]:
        self.batch_sampler.set_context(context)
        self.batch_loader.set_context(context)
        epoch, start = self.progress.epoch, self.progress.position
        total = self.batch_sampler.n_batches(epoch)
        batches = self._timed_loading(self.batch_loader.iterate(self.batch_sampler, epoch, start))
        for batch in bars.batches(batches, total, start, context.capitalize()):
            where = epoch, self.progress.position, context, self.processes.rank
            seed_generators(batch_seed(self.config.seed, *where), self.device)
            yield batch

    def _timed_loading(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            with self.progress.timed("loading"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _learn_from(self, batch: Batch) -> None:
        if self._running_statistics is not None:
            self._running_statistics.remember()
        if self.learner is None:
            result = self.run_one_batch(batch)
        else:
            self.learner.start_of_step(self.progress)
            result = self.learner.result(batch, self.run_one_batch, self._stand_in)
        if self.deferred_check is None:
            self._learn_if_usable(result, batch)
            return
        result.usable = self.deferred_check.usable(result.loss, result.n)
        self._monitor("training", result)
        self.back_propagation(result)
        self._keep_statistics_if(result.usable)
        if self.deferred_check.is_due:
            look_at_losses(self)

    def _learn_if_usable(self, result: BatchResult, batch: Batch) -> None:
        n_skipped, usable = self.progress.n_skipped, False
        try:
            usable = self._is_usable(result, batch)
        finally:
            self._keep_statistics_if(usable)
        if usable:
            self._monitor("training", result)
            self.back_propagation(result)
        elif self.learner is not None:
            is_faulty = self.progress.n_skipped > n_skipped
            n_batches = self._n_batches_to_learn_from()
            self._step_done(self.learner.leave_out(self.progress.position, n_batches, faulty=is_faulty))

    def _is_usable(self, result: BatchResult, batch: Batch) -> bool:
        """Whether to learn from a batch: some process has samples of it, and no loss is NaN or infinite."""
        is_faulty = bool(result.n) and not bool(torch.isfinite(result.loss))
        has_samples, faulty = self.processes.largest([int(bool(result.n)), int(is_faulty)])
        if faulty:
            refuse_loss(self, result, batch, is_faulty=is_faulty)
        return bool(has_samples) and not faulty

    def _keep_statistics_if(self, usable: torch.Tensor | bool) -> None:
        if self._running_statistics is not None:
            self._running_statistics.keep_if(usable)

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
        batch = self.batch_loader.load_batch([self.batch_sampler.first_own_span(epoch)], epoch)
        return self.batch_loader.on_device(batch)

    def _after_batch(self) -> bool:
        """Count the batch, save or end if it is time; True when no further step is allowed in this phase."""
        self.progress.position += 1
        every = getattr(self.config, "accumulate_gradients", 1)
        if self.progress.phase == "validation" or self.progress.position % every == 0:
            self._save_or_end(is_due=time.monotonic() - self.record.last_saved > 60 * self.config.save_every)
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
        if (reason := self.interruption.adopt(code)) is not None:
            raise RunEnded(reason)

    def initialization_step_done(self) -> None:
        """Commit one finished step of the initialization, and end there if the run is interrupted."""
        self.progress.position += 1
        self.bars.step_done()
        self._save_or_end()

    def _monitor(self, context: str, result: BatchResult) -> None:
        values = {"loss": result.loss, **result.metrics} if isinstance(result.n, torch.Tensor) or result.n else {}
        for name, value in values.items():
            self.monitors.setdefault(f"{context}_{name}", EpochMonitor()).add(value, result.n, result.usable)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Automatic mixed precision in a block, if `precision` is bf16."""
        if getattr(self.config, "precision", "float32") != "bf16":
            return contextlib.nullcontext()
        from dynml.ops.mixed_precision import mixed_precision  # imports torch's compiler, which takes seconds

        return mixed_precision(self.device)
