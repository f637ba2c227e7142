"""What reads a trial: a weighted mean over time, or one of the sequence models without its way back to the signals.

Shapes: B trials, T samples, C channels, R weightings.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from dynml.models.sequence.decoding.config import LINEAR, DecodingConfig
from dynml.models.sequence.windows import Windows

MODELS = {
    "csm": "dynml.models.sequence.objectives.csm:Csm",
    "sequence_bert": "dynml.models.sequence.objectives.sequence_bert:SequenceBert",
    "network_bert": "dynml.models.sequence.objectives.network_bert:NetworkBert",
    "autoencoder": "dynml.models.sequence.objectives.autoencoder:Autoencoder",
}

PUBLISHED_MODELS = {
    "cbramod": "dynml.models.sequence.backbones.published.cbramod:CBraMod",
    "cortex_mae": "dynml.models.sequence.backbones.published.cortex_mae:CortexMae",
}

PARTS_WITHOUT_USE = (
    "unembedder",
    "linear",
    "gate_C",
    "decoder",
    "mask_token_C",
    "mask_token_T",
    "separator_token_C",
    "pooler",
    "next_sequence_head",
    "spectra",
    "latents",
)
"""Parts of the sequence models that a pooled state does not go through."""

CLASS_TOKEN = "class_token_C"

MOST_WEIGHTINGS = 8
"""Of the linear backbone, where their number is that of the course's parts."""


class LinearBackbone(nn.Module):
    """Means over time with learnt weights that all channels share: f_rc = sum_t a_rt x_tc over known samples.

    After the linear baseline of learning-from-brains (Thomas, Re & Poldrack 2022), which has one weighting of a fixed
    length. The weights start as the first R cosines, the first of which is the plain mean times sqrt(T).

    Parameters
    ----------
    n_channels : int
    trial_length : int
        T, samples of the longest trial.
    rank : int
        R.
    is_open : bool
        Whether fewer weightings than R may be used, as `use` says; the others then add nothing.
    """

    n_used: Tensor | None

    def __init__(self, n_channels: int, trial_length: int, rank: int = 1, *, is_open: bool = False) -> None:
        super().__init__()
        self.register_buffer("n_used", torch.tensor(rank) if is_open else None)
        self.n_features = rank * n_channels
        times_T = (torch.arange(trial_length) + 0.5) / trial_length
        cosines_RT = torch.cos(math.pi * torch.arange(rank)[:, None] * times_T)
        self.weights_RT = nn.Parameter(cosines_RT / cosines_RT.norm(dim=1, keepdim=True).clamp(min=1e-6))

    def pooled(self, windows: Windows) -> Tensor:
        """Features of trials, (B, R C)."""
        n_times = windows.shape[1]
        known_BTC = torch.where(windows.known_BT[:, :, None], windows.signals_BTC, 0.0)
        weights_RT: Tensor = self.weights_RT
        if self.n_used is not None:
            is_used_R = torch.arange(len(weights_RT), device=weights_RT.device) < self.n_used
            weights_RT = weights_RT * is_used_R[:, None]
        return torch.einsum("rt,btc->brc", weights_RT[:, :n_times], known_BTC).flatten(1)

    @property
    def n_weightings(self) -> int:
        """Weightings in use."""
        return len(self.weights_RT) if self.n_used is None else int(self.n_used)

    def use(self, n_weightings: int) -> None:
        """Use so many of the weightings, where their number is open, and all if there are fewer."""
        if self.n_used is not None:
            self.n_used.fill_(min(n_weightings, len(self.weights_RT)))


def make_backbone(config: DecodingConfig, n_channels: int) -> nn.Module:
    """Build the backbone of a settled config; parts that decoding has no use for are not there."""
    if config.backbone == LINEAR:
        assert config.trial_length is not None
        if config.linear_rank is not None or config.answer_bands is None:
            return LinearBackbone(n_channels, config.trial_length, config.linear_rank or 1)
        return LinearBackbone(n_channels, config.trial_length, min(MOST_WEIGHTINGS, config.trial_length), is_open=True)
    assert config.backbone is not None
    module, _, name = (MODELS | PUBLISHED_MODELS)[config.backbone].partition(":")
    backbone: nn.Module = getattr(importlib.import_module(module), name)(config.backbone_config(), n_channels)
    without_use = PARTS_WITHOUT_USE if config.pooling == "class_token" else (*PARTS_WITHOUT_USE, CLASS_TOKEN)
    for part in without_use:
        if part in backbone._modules or part in backbone._parameters:
            delattr(backbone, part)
    return backbone


def n_features_of(backbone: Any) -> int:
    """Numbers of one trial's pooled state."""
    return int(getattr(backbone, "n_features", None) or backbone.embedding_dim)


def n_hidden_of(backbone: Any) -> int:
    """Width of the hidden layer behind a backbone."""
    return int(backbone.embedding_dim)


def depth_of(name: str, n_layers: int) -> int:
    """Layers between the head and a parameter of a backbone: 1 for its last layer, more below, most for the embedder.

    Parameters
    ----------
    name : str
        Within the backbone: `transformer.blocks.2.attention.output.weight`.
    n_layers : int
    """
    parts = name.split(".")
    if parts[0] not in ("transformer", "encoder"):
        return n_layers + 1
    if parts[1] == "final_norm":
        return 1
    number = next((int(part) for part in parts if part.isdigit()), None)
    return n_layers + 1 if number is None else n_layers - number
