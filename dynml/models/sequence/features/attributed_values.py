"""What of a model's output is attributed to its input: one number f(x) a window.

    decoding        the logit of the trial's class (of the predicted one, where the model does not know the class),
                    against the mean of the logits of all classes: what is added to all of them decides nothing
    csm             minus the loss of the prediction of the window's last sample from those before it
    sequence_bert   minus the loss of the prediction of its middle sample from those on both sides
    network_bert    minus the loss of the prediction of networks that are hidden over the window, drawn by window
    autoencoder     minus the loss of the reconstruction of the window from its code

In all but decoding the targets stay as they are while the input changes, so that f(x) - f(0) is by how much the
loss falls when the input is shown.

Shapes: B windows, T samples, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import NO_CLASS
from dynml.models.sequence.objectives.autoencoder import Autoencoder
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.objectives.tasks import Task, elementwise_loss, masked_networks_task, reconstruction_task
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows

Value = Callable[[Tensor], Tensor]
"""Signals (B, T, C) to one number per window, (B,)."""


@dataclass(frozen=True)
class Attributed:
    """What is attributed of a batch of windows."""

    value: Value
    group_B: NDArray[np.int64]
    """Group that each window counts in; -1: none, since nothing of it is predicted."""

    anchor_B: NDArray[np.int64]
    """Sample that times are counted from."""


def attributed_of(model: SequenceModel | Decoding, windows: Windows, known_B: NDArray[np.int64]) -> Attributed:
    """What is attributed of a batch; see the top of the file.

    Parameters
    ----------
    model : SequenceModel or Decoding
    windows : Windows
    known_B : (B,) int64
        Position of each window's class among those of a decoder; -1: take the predicted one.
    """
    if isinstance(model, Decoding):
        return _decision(model, windows, known_B)
    lengths_B = windows.lengths_B
    zeros_B = torch.zeros_like(lengths_B)
    if isinstance(model, Csm):
        anchor_B, task = lengths_B - 1, _one_hidden(windows, lengths_B - 1, causal=True)
    elif isinstance(model, SequenceBert):
        middle_B = _middle(windows)
        anchor_B, task = middle_B, _one_hidden(windows, middle_B, causal=False)
    elif isinstance(model, Autoencoder):
        anchor_B, task = zeros_B, reconstruction_task(windows)
    else:
        anchor_B, task = zeros_B, masked_networks_task(windows, model.config.masking_rate)
    something_B = (task.visible & windows.known_BT[:, :, None]).flatten(1).any(dim=1)
    group_B = torch.where(something_B, 0, -1)
    return Attributed(_gain(model, task), group_B.cpu().numpy(), anchor_B.cpu().numpy())


def _decision(model: Decoding, windows: Windows, known_B: NDArray[np.int64]) -> Attributed:
    with torch.no_grad():
        predicted_B = model(windows).argmax(dim=1).cpu().numpy()
    class_B = np.where(known_B == NO_CLASS, predicted_B, known_B)
    index_B1 = torch.from_numpy(class_B).to(windows.device)[:, None]

    def value(signals_BTC: Tensor) -> Tensor:
        logits_BK: Tensor = model(dataclasses.replace(windows, signals_BTC=signals_BTC)).float()
        return logits_BK.gather(1, index_B1)[:, 0] - logits_BK.mean(dim=1)

    return Attributed(value, class_B, np.zeros(len(class_B), dtype=np.int64))


def _one_hidden(windows: Windows, hidden_B: Tensor, *, causal: bool) -> Task:
    """Hide one sample of each window; causal models see those before it alone."""
    positions_T = torch.arange(windows.mask_BT.shape[1], device=windows.device)
    hidden_BT = positions_T == hidden_B[:, None]
    visible_BT = windows.known_BT & (positions_T < hidden_B[:, None] if causal else ~hidden_BT)
    return Task(windows, visible_BT[:, :, None], (hidden_BT & windows.known_BT)[:, :, None], causal=causal)


def _middle(windows: Windows) -> Tensor:
    """Middle sample of each window, or the one nearest to it that is not masked, (B,) int64."""
    positions_T = torch.arange(windows.mask_BT.shape[1], device=windows.device)
    distances_BT = (positions_T - windows.lengths_B[:, None] // 2).abs()
    return torch.where(windows.known_BT, distances_BT, len(positions_T)).argmin(dim=1)


def _gain(model: Any, task: Task) -> Value:
    """Minus the mean loss of each window's scored numbers, its targets fixed."""
    target_BTC = task.windows.conditioned(model.n_conditioning).signals_BTC
    scored_BTC = task.scored.expand_as(target_BTC)
    n_scored_B = scored_BTC.sum(dim=(1, 2)).clamp(min=1)

    def value(rows_BTR: Tensor) -> Tensor:
        windows = dataclasses.replace(task.windows, signals_BTC=rows_BTR).conditioned(model.n_conditioning)
        given = dataclasses.replace(task, windows=windows)
        predicted_BTC = model.nonlinear_prediction(given)[0]
        if model.linear is not None:
            # `predict` keeps no gradient, for none is needed in training.
            linear_BTC = model.predicted_linearly(model.linear._predicted, given)
            predicted_BTC = model.through_gates(linear_BTC, predicted_BTC)
        costs_BTC = elementwise_loss(predicted_BTC.float(), target_BTC, model.config)
        return -torch.where(scored_BTC, costs_BTC, 0.0).sum(dim=(1, 2)) / n_scored_B

    return value


def words_of(model: SequenceModel | Decoding) -> tuple[str, str]:
    """Unit and meaning of f."""
    if isinstance(model, Decoding):
        return "logit", "logit of the class against the mean of all classes"
    what = {
        "Csm": "the window's last sample, predicted from those before it",
        "SequenceBert": "the window's middle sample, predicted from those on both sides",
        "Autoencoder": "the window, reconstructed from its code",
    }.get(type(model).__name__, "hidden networks, predicted from the others")
    return f"{model.config.loss.upper()} loss", f"fall of the loss of {what}"
