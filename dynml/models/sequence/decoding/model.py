"""The decoder: a linear answer, and a network whose share of the logits is added to it.

The network is a backbone that makes one vector of a trial, and a head that makes logits of the classes from it.

Shapes: B trials, K classes, F features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dynml.errors import ConfigurationError
from dynml.models.sequence.decoding.answer.features import FeatureLayout
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer
from dynml.models.sequence.decoding.backbones import CLASS_TOKEN, depth_of, make_backbone, n_features_of, n_hidden_of
from dynml.models.sequence.decoding.config import LINEAR, DecodingConfig
from dynml.models.sequence.windows import Windows
from dynml.training.model_summary import Summarized


def layout_of(config: DecodingConfig, n_channels: int) -> FeatureLayout:
    """What the linear answer of a settled config reads."""
    assert config.trial_length is not None
    assert config.answer_bands is not None
    return FeatureLayout(n_channels, config.trial_length, tuple((low, high) for low, high in config.answer_bands))


class Decoding(Summarized, nn.Module):
    """Classes of trials; or one number of each, in standard deviations of the training trials from their mean.

    Parameters
    ----------
    config : DecodingConfig
        With `class_names`, `class_counts` and `trial_length` settled (see `settling.settle_with_data`).
    n_channels : int

    Raises
    ------
    ConfigurationError
        When the classes are open.
    """

    network_share: Tensor
    """How much of the network is added to the linear answer, from 0 to 1; in training all of it is."""

    def __init__(self, config: DecodingConfig, n_channels: int) -> None:
        super().__init__()
        if None in (config.backbone, config.class_names, config.class_counts, config.trial_length):
            accepted = "settled from the data: dynml.models.sequence.decoding.settling.settle_with_data"
            raise ConfigurationError("model.class_names", config.class_names, accepted)
        self.config, self.n_channels = config, n_channels
        self.backbone: Any = make_backbone(config, n_channels)
        n_features = n_hidden = n_features_of(self.backbone)
        self.hidden: nn.Module = nn.Identity()
        if config.backbone != LINEAR and config.fine_tuning != "linear_probe":
            n_hidden = n_hidden_of(self.backbone)
            self.hidden = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh())
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(n_hidden, config.n_classes)
        # Before anything is learnt the network adds nothing to the linear answer; where there is none, all classes are
        # as likely as their trials are frequent.
        nn.init.zeros_(self.head.weight)
        self.answer: LinearAnswer | None = None
        with torch.no_grad():
            if config.answer_bands is None:
                self.head.bias.copy_(self._log_priors())
            else:
                nn.init.zeros_(self.head.bias)
                self.answer = LinearAnswer(layout_of(config, n_channels), self._log_priors())
                self.register_buffer("network_share", torch.ones(()))
        self._fix_parameters()

    def forward(self, windows: Windows, answered_BK: Tensor | None = None) -> Tensor:
        """Logits of trials, (B, K).

        Parameters
        ----------
        windows : Windows
        answered_BK : Tensor, optional
            What the linear answer is taken to be: in training that of models which have not seen these trials.
        """
        if self.answer is None:
            return self.network(windows)
        answered_BK = self.answer(windows) if answered_BK is None else answered_BK
        if self.training:
            return answered_BK + self.network(windows)
        if not self.has_network:
            return answered_BK
        return answered_BK + self.network_share * self.network(windows)

    @property
    def has_network(self) -> bool:
        """Whether the network has a share in the logits."""
        return self.answer is None or bool(self.network_share > 0)

    def network(self, windows: Windows) -> Tensor:
        """What the network adds to the logits, (B, K), all of it."""
        logits: Tensor = self.head(self.dropout(self.hidden(self.features(windows))))
        return logits

    def features(self, windows: Windows) -> Tensor:
        """What the backbone makes of trials, (B, F)."""
        if self.config.backbone == LINEAR:
            return self.backbone.pooled(windows)
        return self.backbone.pooled(windows, self.config.pooling or "mean")

    def train(self, mode: bool = True) -> Decoding:
        """Enter training or evaluation; a fixed backbone has no dropout in either."""
        super().train(mode)
        if self.config.fine_tuning != "full":
            self.backbone.eval()
            if not self.config.embedder_from_pretrained:
                self.backbone.embedder.train(mode)
        return self

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Trained parameters with the factor of their learning rate: 1 for the head, less with every layer below."""
        groups: dict[int, list[nn.Parameter]] = {0: [*self.hidden.parameters(), *self.head.parameters()]}
        n_layers = 0 if self.config.backbone == LINEAR else self.backbone.config.n_layers
        for name, parameter in self.backbone.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(depth_of(name, n_layers), []).append(parameter)
        decay = self.config.layer_learning_rate_decay
        return [(decay**depth, parameters) for depth, parameters in sorted(groups.items())]

    def _log_priors(self) -> Tensor:
        if self.config.tells_numbers:
            return torch.zeros(1)
        counts = torch.tensor(self.config.class_counts, dtype=torch.float64)
        if self.config.class_weights == "balanced":
            counts = torch.ones_like(counts)
        return (counts / counts.sum()).log().float()

    def _fix_parameters(self) -> None:
        # The class token is fixed in families that never read it.
        self.backbone.requires_grad_(self.config.fine_tuning == "full")
        if self.config.fine_tuning == "full":
            return
        if not self.config.embedder_from_pretrained:
            self.backbone.embedder.requires_grad_(True)
        if self.config.fine_tuning == "frozen" and CLASS_TOKEN in self.backbone._parameters:
            getattr(self.backbone, CLASS_TOKEN).requires_grad_(True)
