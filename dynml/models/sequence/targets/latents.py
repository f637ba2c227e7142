"""Latent prediction: of hidden tokens, what a teacher that sees all of them makes of them.

    teacher <- teacher + (1 - decay_t) (model - teacher)     after each step t, decay_t = min(decay, t / (9 + t))
    z_n = LayerNorm(teacher's state of token n)               no gradient, nothing hidden from the teacher
    loss: error of predictor(model's state of token n) against z_n, where token n is hidden

The teacher is an average of embedder, embedding of time and transformer. Nothing keeps its states from becoming alike
for all tokens, which is easy to predict and says nothing (collapse): their variance is watched.

References: Grill et al. 2020 (averaged teacher; NeurIPS 33:21271), Baevski et al. 2022 ("data2vec", ICML 162:1298).

Shapes: B windows, N tokens, d embedding dimension.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dynml.models.sequence.backbones.embedding import initialize_weights
from dynml.models.sequence.objectives.tasks import Task
from dynml.models.sequence.targets.further_target import (
    FurtherPrediction,
    FurtherTarget,
    nearer_of,
    nearest_shown,
    taken,
)
from dynml.models.sequence.windows import in_patches

PARTS = ("embedder", "time_embedding", "transformer")


class LatentTarget(FurtherTarget):
    """States of a teacher.

    Parameters
    ----------
    config : SequenceBertConfig
    model : TransformerModel
        Whose parts are averaged.
    """

    name, moves = "latents", True
    usual_Nd: Tensor
    n_updates: Tensor

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__()
        self.weight, self.decay = config.latent_weight, config.teacher_decay
        width, self.length = config.embedding_dim, config.patch_length
        self.predictor = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        initialize_weights(self.predictor)
        self.teacher = nn.ModuleDict({name: copy.deepcopy(getattr(model, name)) for name in PARTS})
        self.teacher.requires_grad_(False)
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("usual_Nd", torch.zeros(config.n_positions, width), persistent=False)

    def train(self, mode: bool = True) -> LatentTarget:
        """Train the predictor; the teacher has no dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, model: Any, task: Task, states_BNd: Tensor) -> FurtherPrediction:
        """Predict the teacher's states of hidden tokens."""
        with torch.no_grad():
            states = model.states_of(task.windows.signals_BTC, task.windows, self.teacher)
            target = nn.functional.layer_norm(states.float(), states.shape[-1:])
        scored_BN = in_patches(task.scored[:, :, 0], self.length).any(dim=2)
        return FurtherPrediction(self.predictor(states_BNd), target, scored_BN[:, :, None])

    @torch.no_grad()
    def end_of_step(self, model: Any, made: Tensor | bool) -> None:
        """Move the teacher towards the model; by nothing if the step was not made."""
        self.n_updates += made
        n_updates = self.n_updates.double()
        share = (1 - (n_updates / (9 + n_updates)).clamp(max=self.decay)) * made
        own: list[Tensor] = [parameter for name in PARTS for parameter in getattr(model, name).parameters()]
        averages: list[Tensor] = list(self.teacher.parameters())
        differences = torch._foreach_sub(own, averages)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(averages, differences)

    def baselines(self, task: Task, prediction: FurtherPrediction) -> dict[str, Tensor]:
        """The teacher's mean state of each position, and its state of the nearest shown token.

        The latter has an advantage: the teacher has seen what is hidden.
        """
        known_BN = in_patches(task.visible[:, :, 0], self.length).any(dim=2)
        nearest_BN = nearer_of(*nearest_shown(known_BN))
        usual = self.usual_Nd[: nearest_BN.shape[1]]
        return {"usual_latent": usual, "nearest_latent": taken(prediction.target, nearest_BN)}
