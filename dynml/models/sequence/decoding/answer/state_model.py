"""A pre-trained model that tells the states of a trial (an HMM, DyNeMo), with its weights, within the linear answer.

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from dynml.configuration import config_from
from dynml.dataset.embedding import Embedding
from dynml.models.registry import get_family, load
from dynml.preparation.fitted.pca import COMPONENTS, VARIANCES


class StateModel(nn.Module):
    """State probabilities of trials by a model that stays as it is.

    A trial is read by itself, as by all other features: what was measured before and after it has no part in them.

    Parameters
    ----------
    described : dict
        family, settings (of its model) and n_channels; embedding: what trials go through first, as
        `Embedding.describe` gives it, or None.

    Attributes
    ----------
    n_states : int
        K.
    """

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__()
        family = get_family(described["family"])
        assert family.states_of_stretch is not None
        self._states_of_stretch = load(family.states_of_stretch)
        config = config_from(family.config_classes()["model"], described["settings"], "model")
        # Weights come later; what learns beside it starts as it does without.
        with torch.random.fork_rng(devices=[]):
            self.model: nn.Module = load(family.model)(config, described["n_channels"])
        self.model.requires_grad_(False)
        self.eval()
        self._embedding = described.get("embedding")
        if self._embedding is not None and self._embedding["n_components"] is not None:
            n_inputs = self._embedding["n_embeddings"] * len(self._embedding["channel_names"])
            n_components = self._embedding["n_components"]
            self.register_buffer(COMPONENTS, torch.zeros(n_inputs, n_components, dtype=torch.float64))
            self.register_buffer(VARIANCES, torch.ones(n_components, dtype=torch.float64))
        one = torch.zeros(1, described["n_channels"], dtype=torch.float64)
        self.n_states: int = self._states_of_stretch(self.model, one).shape[1]

    @torch.no_grad()
    def forward(self, signals_TC: Tensor, known_T: Tensor) -> Tensor:
        """Probabilities of states given a trial, (T, K) float64, on the host; NaN at ends that an embedding takes."""
        rows = torch.where(known_T[:, None], signals_TC.detach(), torch.nan)
        states_TK = torch.full((len(rows), self.n_states), torch.nan, dtype=torch.float64)
        margin = 0
        if self._embedding is not None:
            saved = {name: buffer.cpu() for name, buffer in self.named_buffers(recurse=False)}
            embedding = Embedding.from_saved(self._embedding, saved)
            rows, margin = embedding.apply(rows.float()), embedding.margin
        if len(rows):
            states_TK[margin : margin + len(rows)] = self._states_of_stretch(self.model, rows).double().cpu()
        return states_TK

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation."""
        return super().train(False)
