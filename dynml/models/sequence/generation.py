"""Free runs of a causal model during training: from validation windows on, with predictions fed back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.scoring import MODEL, predictors_of, scores_of_subset
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.training.processes import Processes

LOSS = "generation_loss"


@dataclass
class FreeRuns:
    """Mean errors over all horizons, of the model and, found once, of its baselines.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    window_length : int
    processes : Processes
    """

    dataset: MultiSubjectDataset
    window_length: int
    processes: Processes
    _of_baselines: dict[str, float] = field(default_factory=dict)

    def errors(self, model: SequenceModel, baselines: Mapping[str, Baseline]) -> dict[str, float]:
        """Rows for the log: `generation_loss`, and `generation_loss_of_<baseline>`; {} where no window is long enough.

        Parameters
        ----------
        model : SequenceModel
            In evaluation mode.
        baselines : mapping
        """
        predictors = predictors_of(model, {} if self._of_baselines else baselines)
        subset = "validation" if self.dataset.validation_set.n_subjects else "training"
        scores = scores_of_subset(model, predictors, self.dataset, subset, self.window_length, self.processes)
        means = {name: float(np.mean(one.by_horizon)) for name, one in scores.items() if one.by_horizon is not None}
        own = means.pop(MODEL, None)
        self._of_baselines |= {f"{LOSS}_of_{name}": value for name, value in means.items()}
        return {} if own is None else {LOSS: own, **self._of_baselines}
