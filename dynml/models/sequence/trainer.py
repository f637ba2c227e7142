"""Trains the sequence models on the shared trainer: baselines first, then gradients of the task's loss."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dynml.batches.batch import Batch
from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.frozen import findings_of_frozen, freeze
from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.baselines.fitted import fit_baselines
from dynml.models.sequence.baselines.named import applicable, make_baseline
from dynml.models.sequence.baselines.passes import TrainingPasses
from dynml.models.sequence.channels import has_other_channels
from dynml.models.sequence.generation import LOSS as GENERATION_LOSS
from dynml.models.sequence.generation import FreeRuns
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.pairs import has_both_parts
from dynml.models.sequence.report import report
from dynml.models.sequence.sequence_model import MaskedModel, Outputs, SequenceModel
from dynml.models.sequence.settling import check_windows, sampling_frequencies
from dynml.models.sequence.targets.scores import findings_of_further, metrics_of, scores_of_further
from dynml.models.sequence.trainer_config import SequenceTrainerConfig
from dynml.models.sequence.windows import datasets_of, windows_of
from dynml.training.batch_result import BatchResult
from dynml.training.checkpoints.experiment_folder import pretrained_weights
from dynml.training.config import RunConfig
from dynml.training.data.data_scale import warn_of_scale
from dynml.training.data.pretrained_data import check_data_of_pretrained
from dynml.training.gradients.learning import Step
from dynml.training.monitors import EpochMonitor
from dynml.training.progress_bar import ProgressBars
from dynml.training.trainer import Trainer

PAIRS_NEED = 4


class SequenceTrainer(Trainer):
    """Gradients of a sequence model's task; see `Trainer` for the other parameters.

    Parameters
    ----------
    pretrained : str or Path, optional
        Experiment of the same family and sizes whose best model this run starts from.
    """

    config_class: ClassVar[type[RunConfig]] = SequenceTrainerConfig
    model: SequenceModel

    def __init__(self, *arguments: Any, pretrained: str | None = None, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.loss_name = self.model.config.loss
        self.pretrained = pretrained
        self.baselines: dict[str, Baseline] = {}
        self._check_batches()
        if self.config.generation_every is not None and not isinstance(self.model, Csm):
            raise ConfigurationError("trainer.generation_every", self.config.generation_every, "null: for csm alone")
        if self._has_moving_target and self.config.patience is not None:
            accepted = "null with model.latent_weight, whose target moves: the last epoch is kept"
            raise ConfigurationError("trainer.patience", self.config.patience, accepted)
        self._free_runs = FreeRuns(self.dataset, self.longest_window, self.processes)
        if pretrained is not None:
            known = self.model.takes_other_channels
            check_data_of_pretrained(pretrained, self.dataset, self.config.other_preparation, same_channels=not known)
            self._pretrained_weights(pretrained)

    def _prepare_learning(self) -> None:
        freeze(self.model, self.config)
        super()._prepare_learning()

    # ------------------------------------------------------------------ initialization

    def initialize(self) -> None:
        """Fit the baselines to the training subset; the model starts at the best of them, or at another experiment."""
        if not self.baselines:
            passes = TrainingPasses(self.dataset, self.processes)
            conditioning = self.dataset.conditioning
            n_marks = int(conditioning is not None and bool(conditioning.marks_missing))
            n_montages = len(self.model.config.montages or ())
            for part in [passes.of_montage(number) for number in range(n_montages)] or [passes]:
                mean_C, scale_C = (values[: len(values) - n_marks] for values in part.mean_and_scale)
                warn_of_scale(mean_C, scale_C, "Sequence models")
            self.baselines = fit_baselines(
                applicable(self.family),
                self.dataset,
                self.processes,
                n_lags=self.model.config.linear_path_lags,
                window_length=self.longest_window,
                code_size=self.model.embedding_dim,
                seed=self.config.seed,
            )
            for target in self.model.further_targets:
                target.fit(passes, self.longest_window)
            self.initialization_step_done()
        if self.model.linear is not None:
            fitted = self.baselines[str(self.model.linear_baseline)]
            self.model.linear.load_state_dict(fitted.state_dict())
        if self.pretrained is not None:
            self.model.load_state_dict(self.model.state_dict() | self._pretrained_weights(self.pretrained))

    def _pretrained_weights(self, path: str) -> dict[str, Tensor]:
        # The linear path is one of certain channels: that of others is the one which was just fitted.
        left_out = ("linear",) if has_other_channels(self.model.config, path) else ()
        what = f"a model of family {self.family}"
        return pretrained_weights(path, self.model.state_dict(), what, left_out=left_out)

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.model.family_name

    @property
    def longest_window(self) -> int:
        """Samples of the longest window."""
        bounds = self.batch_sampler.config.window_bounds
        if bounds is not None:
            return bounds[1]
        subsets = [self.dataset.training_set, self.dataset.validation_set]
        return int(max(subset.segments.lengths.max(initial=1) for subset in subsets))

    # ------------------------------------------------------------------ batches

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """Loss of the family's task on a batch of windows."""
        windows = windows_of(batch)
        task = self.model.task_of(windows, batch.subject, datasets_of(batch))
        with self.autocast():
            outputs = self.model(task)
        loss, n = self.model.compute_loss(outputs, batch)
        further = metrics_of(outputs.further, self.model.config) if outputs.further else {}
        return BatchResult(loss, n, self._metrics_of_pairs(outputs) | further)

    def _step_done(self, step: Step | None) -> None:
        super()._step_done(step)
        if step is not None:
            for target in self.model.further_targets:
                target.end_of_step(self.model, step.made)

    def validate_one_epoch(self, bars: ProgressBars) -> None:
        """Validate, and let a causal model run on from validation windows where that is due."""
        super().validate_one_epoch(bars)
        every, epoch = self.config.generation_every, self.progress.epoch + 1
        if every is None or not (epoch % every == 0 or epoch == self.config.max_epochs or self._all_steps_are_done()):
            return
        with self.progress.timed("validation"), self.averaged_weights():
            self.model.eval()
            errors = self._free_runs.errors(self.model, self.baselines_on_device())
            if self.config.generation_chooses and not errors:
                accepted = f"false: no validation window has all of the {self.longest_window} samples"
                raise ConfigurationError("trainer.generation_chooses", True, accepted)
            for name, value in errors.items():
                self.monitors.setdefault(name, EpochMonitor()).add(value, 1.0)

    def monitored_name(self) -> str:
        """Name of the value that chooses the best model."""
        return GENERATION_LOSS if self.config.generation_chooses else super().monitored_name()

    def monitored_value(self, row: dict[str, float]) -> float:
        """Value that chooses the best model; NaN after epochs without free runs, if these choose."""
        return row.get(self.monitored_name(), float("nan"))

    def is_best(self, row: dict[str, float]) -> bool:
        """Whether the epoch that ends is the best; the last one where a target moves, whose losses do not compare."""
        if not self._has_moving_target:
            return super().is_best(row)
        return self.best.take(self.monitored_value(row), self.progress.epoch + 1)

    @property
    def _has_moving_target(self) -> bool:
        return any(target.moves for target in self.model.further_targets)

    def _metrics_of_pairs(self, outputs: Outputs) -> dict[str, Tensor | float]:
        if not isinstance(self.model, MaskedModel) or outputs.follows_logit_B is None:
            return {}
        entropy = self.model.next_sequence_loss(outputs)
        assert entropy is not None
        assert outputs.task.follows_B is not None
        right_B, valid_B = (outputs.follows_logit_B > 0) == outputs.task.follows_B, has_both_parts(outputs.task.windows)
        accuracy = right_B.float().mean()
        if valid_B is not None:
            accuracy = (right_B & valid_B).sum() / valid_B.sum().clamp(min=1)
        return {"next_sequence_loss": entropy.detach(), "next_sequence_accuracy": accuracy.detach()}

    # ------------------------------------------------------------------ state and report

    def family_state(self) -> dict[str, Any]:
        """Fitted baselines, and the model that the run began from."""
        baselines = {name: baseline.state_dict() for name, baseline in self.baselines.items()}
        return {"baselines": baselines, "pretrained": None if self.pretrained is None else str(self.pretrained)}

    def load_family_state(self, state: dict[str, Any]) -> None:
        """Go on from `family_state`."""
        sizes = (self.model.n_predicted, self.model.config.linear_path_lags)
        for name, tensors in state["baselines"].items():
            baseline = make_baseline(
                name,
                *sizes,
                window_length=self.longest_window,
                code_size=self.model.embedding_dim,
                n_conditioning=self.model.n_conditioning,
                montages=self.model.config.montages,
            )
            baseline.load_state_dict(tensors)
            self.baselines[name] = baseline.to(self.device)
        self.pretrained = state.get("pretrained", self.pretrained)

    def final_report(self) -> dict[str, Any]:
        """Scores of the best model beside its baselines, by network and by horizon, and findings."""
        baselines = self.baselines_on_device()
        data = self.dataset, self.longest_window, self.processes
        content = report(self.model, baselines, *data)
        findings = content["findings"] + findings_of_frozen(self.model, self.config, self.pretrained)
        further = scores_of_further(self.model, *data)
        if not further:
            return content | {"findings": findings}
        return content | {"further_targets": further, "findings": findings + findings_of_further(further)}

    def baselines_on_device(self) -> dict[str, Baseline]:
        """Fitted baselines where the model computes."""
        return {name: baseline.to(self.device) for name, baseline in self.baselines.items()}

    # ------------------------------------------------------------------ small helpers

    def _check_batches(self) -> None:
        collate = self.batch_loader.config.collate
        if collate != "padded":
            raise ConfigurationError("loader.collate", collate, "padded for sequence models")
        check_windows(self.model.config, self.longest_window, min(sampling_frequencies(self.dataset)))
        if getattr(self.model.config, "next_sequence", False):
            self._check_pairs()

    def _check_pairs(self) -> None:
        bounds, config = self.batch_sampler.config.window_bounds, self.model.config
        shortest = self.longest_window if bounds is None else bounds[0]
        needed, why = PAIRS_NEED, "for next_sequence"
        if config.min_gap > 1:
            needed, why = PAIRS_NEED + config.max_gap, f"for next_sequence with gaps of up to {config.max_gap} samples"
        if shortest < needed:
            raise ConfigurationError("sampler.window_length", shortest, f"at least {needed} {why}")
