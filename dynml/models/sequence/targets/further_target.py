"""What all further targets share: a prediction for each token, what it is compared with, and baselines of it.

Shapes: B windows, N tokens of P samples, C channels, d embedding dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dynml.models.sequence.objectives.tasks import Task, elementwise_loss
from dynml.models.sequence.windows import in_patches


@dataclass(frozen=True)
class FurtherPrediction:
    """What is said of tokens, and what is true."""

    predicted: Tensor
    """(B, N, ..)."""

    target: Tensor
    """(B, N, ..), no gradient."""

    scored: Tensor
    """bool, broadcastable to (B, N, ..)."""

    def mean_loss(self, config: Any) -> Tensor:
        """Mean cost of the scored numbers; 0 where nothing is scored."""
        weights = self.scored.expand_as(self.target)
        costs = torch.where(weights, elementwise_loss(self.predicted.float(), self.target, config), 0.0)
        return costs.sum() / weights.sum().clamp(min=1)


class FurtherTarget(nn.Module):
    """A head that predicts further numbers of hidden tokens from the states of the transformer."""

    name: ClassVar[str]
    moves: ClassVar[bool] = False
    """Whether what is to be predicted changes from step to step, so that losses of epochs do not compare."""

    weight: float
    """Of its loss beside that of the signals."""

    def forward(self, model: Any, task: Task, states_BNd: Tensor) -> FurtherPrediction:
        """Predict each token by the state that lies where the token does."""
        raise NotImplementedError

    def fit(self, passes: Any, window_length: int) -> None:
        """Set what follows from the training subset; the default has nothing of that kind."""

    def end_of_step(self, model: Any, made: Tensor | bool) -> None:
        """Follow a step of the optimizer."""

    def baselines(self, task: Task, prediction: FurtherPrediction) -> dict[str, Tensor]:
        """What simple predictions say of the same tokens, by name, each broadcastable to the target."""
        raise NotImplementedError


def shown_tokens(task: Task, length: int) -> Tensor:
    """Tokens that are shown whole, (B, N) bool; where all channels are shown or hidden together."""
    return in_patches(task.visible[:, :, 0], length).all(dim=2)


def nearest_shown(shown_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Number of the last shown token before each one, and of the first after it, two (B, N); -1 where there is none."""
    n_tokens = shown_BN.shape[1]
    numbers_N = torch.arange(n_tokens, device=shown_BN.device)
    before_BN = torch.where(shown_BN, numbers_N, -1).cummax(dim=1).values
    after_BN = torch.where(shown_BN, numbers_N, n_tokens).flip(1).cummin(dim=1).values.flip(1)
    before_BN = nn.functional.pad(before_BN[:, :-1], (1, 0), value=-1)
    after_BN = nn.functional.pad(after_BN[:, 1:], (0, 1), value=n_tokens)
    return before_BN, torch.where(after_BN < n_tokens, after_BN, -1)


def nearer_of(before_BN: Tensor, after_BN: Tensor) -> Tensor:
    """The nearer one of two tokens that `nearest_shown` has found, the earlier one where they are equally near."""
    numbers_N = torch.arange(before_BN.shape[1], device=before_BN.device)
    is_after_BN = (after_BN >= 0) & ((before_BN < 0) | (after_BN - numbers_N < numbers_N - before_BN))
    return torch.where(is_after_BN, after_BN, before_BN)


def taken(values: Tensor, index_BN: Tensor) -> Tensor:
    """Values (B, N, ..) of the tokens of these numbers; 0 where the number is -1."""
    rows_B1 = torch.arange(len(values), device=values.device)[:, None]
    is_there = (index_BN >= 0).view(*index_BN.shape, *[1] * (values.dim() - 2))
    return torch.where(is_there, values[rows_B1, index_BN.clamp(min=0)], 0.0)
