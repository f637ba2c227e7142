"""How far the predictions of a sequence model are off at each sample.

Shapes: T stored rows of a subject, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import CheckpointError
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.features.extraction import model_with_embeddings, put_rows, windows_of_subject
from dynml.models.sequence.objectives.tasks import Task, elementwise_loss
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows

if TYPE_CHECKING:
    from dynml.models.experiment import Experiment

N_TRIED = 8
"""Samples of the window that says what a model's task leaves out."""


def model_of_predictions(experiment: Experiment) -> SequenceModel:
    """The model of an experiment, if it predicts every sample of its windows but the first.

    Raises
    ------
    CheckpointError
        For decoders, which have one prediction per trial, and for models that predict what is hidden from them only.
    """
    model = model_with_embeddings(experiment)
    if isinstance(model, Decoding):
        raise CheckpointError(
            "A decoder has one prediction per trial or window, not one per sample, so that there is nothing around its "
            "events: predictions.tsv of dynml_infer_from_model.py has those of all trials, and --of features takes the "
            "hidden states of its samples."
        )
    shape = 1, N_TRIED, model.n_channels
    is_known_BT = torch.ones(shape[:2], dtype=torch.bool)
    tried = Windows(torch.zeros(shape), is_known_BT, torch.zeros(shape[:2]), torch.ones(1, dtype=torch.int64))
    task = _task_of(model, tried)
    if task.follows_B is not None or not bool(task.scored.expand(shape)[:, 1:].all()):
        raise CheckpointError(
            f"This model of the family {experiment.family.name} predicts only what is hidden from it, a part of each "
            "window, so that it has no prediction of every sample; --of features takes its hidden states."
        )
    return model


@torch.no_grad()
def errors_of_subject(model: SequenceModel, subset: MultiSubjectSubset, index: int, length: int) -> NDArray[np.float32]:
    """Cost of the error at every stored sample and channel of a subject, by the loss of the model.

    Parameters
    ----------
    model : SequenceModel
        In evaluation mode; see `model_of_predictions`.
    subset : MultiSubjectSubset
    index : int
        Of the subject.
    length : int
        Samples of a window.

    Returns
    -------
    (T, C) float32
        Rows align with the stored samples; NaN outside segments, where samples are masked, and where nothing was there
        to predict from.
    """
    errors = np.full((int(subset.n_rows_of[index]), model.n_predicted), np.nan, dtype=np.float32)
    for windows, cuts, start in windows_of_subject(model, subset, index, length):
        task = _task_of(model, windows)
        costs_BTC = elementwise_loss(model(task).predicted_BTC.float(), task.windows.signals_BTC, model.config)
        put_rows(errors, torch.where(task.scored, costs_BTC, torch.nan), cuts, start)
    return errors


def _task_of(model: SequenceModel, windows: Windows) -> Task:
    """Task of windows that make no pairs."""
    number_B = torch.zeros_like(windows.keys_B)
    return model.task_of(windows, number_B, number_B)
