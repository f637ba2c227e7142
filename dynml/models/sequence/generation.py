"""Free runs of a causal model during training: from validation windows on, with predictions fed back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.sequence.objectives.forecasting import Predictor
from dynml.models.sequence.scoring import scores_of_subset
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

    def errors(self, model: SequenceModel, own: str, predictors: Mapping[str, Predictor]) -> dict[str, float]:
        """Rows for the log: `generation_loss`, and `generation_loss_of_<baseline>`; {} where no window is long enough.

        Parameters
        ----------
        model : SequenceModel
            In evaluation mode.
        own : str
            Its name among the predictors.
        predictors : mapping
            The model and its baselines.
        """
        asked = {own: predictors[own]} if self._of_baselines else predictors
        subset = "validation" if self.dataset.validation_set.n_subjects else "training"
        scores = scores_of_subset(model, asked, self.dataset, subset, self.window_length, self.processes)
        means = {name: float(np.mean(one.by_horizon)) for name, one in scores.items() if one.by_horizon is not None}
        error = means.pop(own, None)
        self._of_baselines |= {f"{LOSS}_of_{name}": value for name, value in means.items()}
        return {} if error is None else {LOSS: error, **self._of_baselines}
