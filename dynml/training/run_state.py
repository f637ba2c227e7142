"""What a run is made of and where it stands: what the trainer, its checkpoints, its summary and its checks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from dynml.batches.batch import Batch
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.spans import Span
from dynml.training.checkpoints.earlier_content import Resume
from dynml.training.checkpoints.experiment_folder import ExperimentFolder
from dynml.training.checkpoints.run_record import RunRecord
from dynml.training.config import RunConfig, TrainerConfig
from dynml.training.gradients.deferred_check import DeferredCheck
from dynml.training.gradients.learning import GradientLearner
from dynml.training.gradients.weight_averaging import WeightAverage
from dynml.training.monitors import BestMonitor, EpochMonitor, History
from dynml.training.processes import Processes
from dynml.training.progress import Progress
from dynml.training.progress_bar import ProgressBars


class RunState:
    """The parts of a run, and what a family says of it.

    A family overrides the methods here as it does those of `Trainer`.
    """

    config_class: ClassVar[type[RunConfig]] = TrainerConfig
    model_class: ClassVar[type[torch.nn.Module]] = torch.nn.Module
    loss_name: str = "loss"
    family_name: ClassVar[str | None] = None
    """Name in the registry, for models that are built without a script."""

    model: torch.nn.Module
    config: Any
    """`TrainerConfig`, or the family's."""
    parameters: dict[str, Any]
    """Content of parameters.json."""
    resume: Resume
    device: torch.device
    processes: Processes
    dataset: MultiSubjectDataset
    batch_sampler: Any
    """`BatchSampler`."""
    folder: ExperimentFolder
    record: RunRecord
    learner: GradientLearner | None
    """None for families that do not learn by gradients."""
    average: WeightAverage | None
    deferred_check: DeferredCheck | None
    progress: Progress
    bars: ProgressBars = ProgressBars(TrainerConfig(), 0, shown=False)
    """What shows how far the run is; hidden until it begins."""
    best: BestMonitor
    history: History
    monitors: dict[str, EpochMonitor]
    """Running means of the epoch, by metric."""

    def initialize(self) -> None:
        """Prepare the model before the first epoch; each long step of it ends with `initialization_step_done`."""

    def n_initialization_steps(self) -> int | None:
        """Most steps that `initialize` takes, for its bar; None where it cannot be said."""
        return None

    def start_of_epoch(self) -> None:
        """Set the learning rate (gradient families)."""
        if self.learner is not None:
            self.learner.start_of_epoch(self.progress)

    def end_of_training_epoch(self) -> None:
        """Do what follows the last training batch of an epoch."""

    def constant_epochs(self) -> int:
        """Count the epochs before the learning rate begins to fall."""
        return 0

    def monitored_name(self) -> str:
        """Name of the value that chooses the best model and that patience looks at."""
        return "validation_loss" if self.dataset.validation_set.n_subjects else "training_loss"

    def monitored_value(self, row: dict[str, float]) -> float:
        """Value that chooses the best model, out of the metrics of an epoch; lower is better."""
        return row[self.monitored_name()]

    def is_best(self, row: dict[str, float]) -> bool:
        """Whether the epoch that ends, with these metrics, is the best so far; remember it if so."""
        return self.best.update(self.monitored_value(row), self.progress.epoch + 1)

    def kept_in_words(self) -> str | None:
        """Say what is kept where no value of an epoch has chosen it; None where the best epoch is."""
        return None

    def stopping_reason(self) -> str | None:
        """Why the run is over after this epoch, or None."""
        if self.config.patience is not None and self.best.n_epochs_without_improvement >= self.config.patience:
            return "patience"
        return self.limit_reached()

    def limit_reached(self) -> str | None:
        """Which of the limits of epochs and steps the run has reached, or None."""
        if self.config.max_epochs is not None and self.progress.epoch >= self.config.max_epochs:
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

    def spans_at_fault(self, batch: Batch) -> Sequence[Span]:
        """Spans to be named when the loss of a batch is not finite."""
        return batch.spans

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights of the model as they are saved."""
        return self.model.state_dict()

    def n_samples_of_all(self) -> int:
        """Training samples of the epoch so far, of all processes."""
        return int(self.processes.sum(torch.tensor(self.progress.n_samples)))
