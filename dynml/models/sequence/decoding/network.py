"""A network of a decoder: a backbone that makes one vector of a trial, and a head that makes logits from it.

Shapes: B trials, K classes, F features.
"""

from __future__ import annotations

from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from dynml.models.sequence.decoding.backbones import CLASS_TOKEN, depth_of, make_backbone, n_features_of, n_hidden_of
from dynml.models.sequence.decoding.config import LINEAR, DecodingConfig
from dynml.models.sequence.windows import Windows

ATTENTION: Final = "attention"
LEAST_SCORE = -1e9
"""Of samples that are not known: finite, for there may be no other."""


class Network(nn.Module):
    """What learns by gradients.

    Parameters
    ----------
    config : DecodingConfig
        Settled.
    n_channels : int
    start_K : Tensor
        Logits of every trial before anything is learnt.
    """

    backbone: Any

    def __init__(self, config: DecodingConfig, n_channels: int, start_K: Tensor) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config, n_channels)
        n_features = n_hidden = n_features_of(self.backbone)
        self.query_d: nn.Parameter | None = None
        if config.pooling == ATTENTION:
            self.query_d = nn.Parameter(torch.zeros(n_features))
        self.hidden: nn.Module = nn.Identity()
        if config.backbone != LINEAR and config.fine_tuning != "linear_probe":
            n_hidden = n_hidden_of(self.backbone)
            self.hidden = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh())
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(n_hidden, config.n_classes)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(start_K)
        self._fix_parameters(config.fine_tuning == "full")

    def hold_backbone(self, holds: bool) -> None:
        """Fix a backbone that is trained in full for a while, so that the head alone learns; or no longer."""
        self._fix_parameters(self.config.fine_tuning == "full" and not holds)

    def added(self, windows: Windows) -> Tensor:
        """Logits of trials, (B, K)."""
        logits: Tensor = self.head(self.dropout(self.hidden(self.pooled(windows))))
        return logits

    def pooled(self, windows: Windows) -> Tensor:
        """What the backbone makes of trials, (B, F)."""
        if self.config.backbone == LINEAR:
            return self.backbone.pooled(windows)
        if self.query_d is None:
            return self.backbone.pooled(windows, self.config.pooling or "mean")
        states_BTd, known_BT = self.backbone.states(windows), windows.known_BT
        weights_BT = (states_BTd @ self.query_d).masked_fill(~known_BT, LEAST_SCORE).softmax(dim=1)
        return torch.einsum("bt,btd->bd", weights_BT * known_BT, states_BTd)

    def train(self, mode: bool = True) -> Self:
        """Enter training or evaluation; a fixed backbone has no dropout in either."""
        super().train(mode)
        if self.config.fine_tuning != "full":
            self.backbone.eval()
            if not self.config.embedder_from_pretrained:
                self.backbone.embedder.train(mode)
        return self

    def trained_parameters(self) -> list[tuple[int, nn.Parameter]]:
        """Parameters that learn, with the layers between each and the head: 0 for the head itself."""
        found = [(0, parameter) for parameter in (*self.hidden.parameters(), *self.head.parameters())]
        found += [] if self.query_d is None else [(0, self.query_d)]
        n_layers = 0 if self.config.backbone == LINEAR else self.backbone.config.n_layers
        for name, parameter in self.backbone.named_parameters():
            if parameter.requires_grad:
                found.append((depth_of(name, n_layers), parameter))
        return found

    def _fix_parameters(self, learns_in_full: bool) -> None:
        # The class token is fixed in families that never read it.
        self.backbone.requires_grad_(learns_in_full)
        if learns_in_full:
            return
        if not self.config.embedder_from_pretrained:
            self.backbone.embedder.requires_grad_(True)
        if self.config.fine_tuning != "linear_probe" and CLASS_TOKEN in self.backbone._parameters:
            getattr(self.backbone, CLASS_TOKEN).requires_grad_(True)
