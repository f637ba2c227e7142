"""Parts of a sequence model that stay as another model has them: the embedder, the un-embedder, or both."""

from __future__ import annotations

from typing import Any

from torch import nn

_PARTS = {
    "freeze_embedder": ("embedder", "time_embedding", "mask_token_C", "separator_token_C", "class_token_C"),
    "freeze_unembedder": ("unembedder",),
}


def freeze(model: nn.Module, config: Any) -> None:
    """Take the gradients of the parts that a `SequenceTrainerConfig` freezes; no optimizer made later sees them."""
    for setting in _PARTS:
        for parameter in _parameters(model, setting) if getattr(config, setting) else ():
            parameter.requires_grad_(False)


def findings_of_frozen(model: nn.Module, config: Any, pretrained: str | None) -> list[str]:
    """Say that parts were frozen at random numbers, where the run began from no other model."""
    if pretrained is not None:
        return []
    return [
        f"{sum(parameter.numel() for parameter in _parameters(model, setting))} numbers of the "
        f"{setting.removeprefix('freeze_')} are random and never learnt: trainer.{setting} is true, but the run did "
        "not start from another model (--pretrained)."
        for setting in _PARTS
        if getattr(config, setting)
    ]


def _parameters(model: nn.Module, setting: str) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if name.partition(".")[0] in _PARTS[setting]]
