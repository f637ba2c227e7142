"""Names of the weights that learning-from-brains published, and what they are called here.

The names in such a file are those of its modules, and of GPT-2 and BERT in the transformers library within them. What
differs here: maps of GPT-2 are stored (in, out); query, key and value of BERT are three maps; embeddings of words,
masks and numbers of positions are stored, but never used; and the label of the next-sequence task is 1 where the parts
do NOT follow each other, so its head gets the other sign.

Every number of a file is taken over, or of a kind that is known to be of no use here: a name that is not known, one
that is missing, or a shape that does not fit is an error.

Shapes: C channels, d embedding dimension.

Reference: Thomas, Re and Poldrack 2022, "Self-supervised learning of brain dynamics from broad neuroimaging data",
NeurIPS 35.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynml.errors import CheckpointError, ConfigurationError, shortened
from dynml.models.sequence.config import UNITS_PER_HEAD

_MODULES_PER_LAYER = 4
_UNUSED = re.compile(
    r"decoder\.transformer\.(wte\.weight|h\.\d+\.attn\.(bias|masked_bias)"
    r"|embeddings\.(position_ids|token_type_ids|word_embeddings\.weight))"
)
"""Never used by the published models: buffers, and embeddings of words, which they have none of."""
_LEFT_OUT = {
    "csm": re.compile(r"decoder\.pooler_layer\..+"),
    "autoencoder": re.compile(r"decoder\.encoder\.pooler_layer\..+"),
}
"""Used by the published models, but not by those here."""

Weights = dict[str, Tensor]


def renamed_weights(
    published: Mapping[str, Tensor],
    family: str,
    *,
    n_heads: int | None,
    time_precision: float,
    activation: str,
    where: str,
) -> tuple[Weights, dict[str, Any], int, tuple[str, ...]]:
    """Give published weights the names that they have here, and find the settings of their model.

    Returns
    -------
    weights : dict of str to Tensor
    settings : dict
        Of the family's config.
    n_channels : int
    left_out : tuple of str
        Names of weights that the model here has no place for.

    Raises
    ------
    CheckpointError
        Names what is missing, or not known.
    ConfigurationError
        For heads that do not divide the embedding.
    """
    names = _Names(published, family, where)
    n_channels, embedding_dim = names.linear_sizes("embedder.embed_model.model.")
    settings = _shared_settings(names, embedding_dim, time_precision) | {"activation": activation}
    if family == "autoencoder":
        weights = _autoencoder(names, settings)
    else:
        settings |= {"n_heads": _heads(n_heads, embedding_dim), "norm": "pre" if family == "csm" else "post"}
        settings |= {"objective": "single_mask"} if family == "csm" else {"next_sequence": True}
        weights = _gpt2(names, settings) if family == "csm" else _bert(names, settings)
        weights |= _tokens(names, family)
    weights |= _shared(names, n_channels, embedding_dim)
    names.check_all_taken()
    return weights, settings, n_channels, tuple(names.left_out)


class _Names:
    """Published tensors by name, each to be taken once."""

    def __init__(self, published: Mapping[str, Tensor], family: str, where: str) -> None:
        self._where, self._family = where, family
        left_out = _LEFT_OUT.get(family)
        self.left_out = [name for name in published if left_out and left_out.fullmatch(name)]
        ignored = {name for name in published if _UNUSED.fullmatch(name)} | set(self.left_out)
        self._left = {name: tensor for name, tensor in published.items() if name not in ignored}
        self._missing: list[str] = []

    def take(self, name: str) -> Tensor:
        """Give a tensor; one that is missing is named at the end."""
        if name in self._left:
            return self._left.pop(name)
        self._missing.append(name)
        return torch.empty(0)

    def linear(self, here: str, there: str, *, transposed: bool = False) -> Weights:
        """Weight and bias of a map (or of a LayerNorm)."""
        weight, bias = self.take(f"{there}.weight"), self.take(f"{there}.bias")
        return {f"{here}.weight": weight.T if transposed and weight.ndim == 2 else weight, f"{here}.bias": bias}

    def numbers(self, pattern: str) -> list[int]:
        """Numbers that stand in names, at the position of the group of a pattern."""
        found = (re.match(pattern, name) for name in self._left)
        return sorted({int(match[1]) for match in found if match})

    def layers(self, pattern: str) -> range:
        """Numbers from 0 to the last that stands in a name."""
        return range(max(self.numbers(pattern), default=-1) + 1)

    def linear_sizes(self, prefix: str) -> tuple[int, int]:
        """Inputs of the first map under a prefix, and outputs of the last."""
        maps = [self._left[f"{prefix}{number}.weight"] for number in self.matrices(prefix)]
        if not maps:
            raise CheckpointError(f"{self._where} lacks {prefix}0.weight: it holds no weights of {self._family}.")
        return int(maps[0].shape[1]), int(maps[-1].shape[0])

    def matrices(self, prefix: str) -> list[int]:
        """Numbers of the maps under a prefix."""
        numbers = self.numbers(re.escape(prefix) + r"(\d+)\.weight$")
        return [number for number in numbers if self._left[f"{prefix}{number}.weight"].ndim == 2]

    def size(self, name: str, axis: int = 0) -> int:
        """Length of an axis of a tensor that must be there, without taking it."""
        if name not in self._left or self._left[name].ndim <= axis:
            raise CheckpointError(f"{self._where} lacks {name}, which weights of {self._family} have.")
        return int(self._left[name].shape[axis])

    def check_all_taken(self) -> None:
        """Refuse names that are missing, or that nothing here is known for."""
        if self._missing:
            raise CheckpointError(
                f"{self._where} lacks {shortened(self._missing, 4)}, which weights of {self._family} have."
            )
        if self._left:
            raise CheckpointError(
                f"{self._where} holds {shortened(list(self._left), 4)}, which weights of {self._family} do not have."
            )


def _shared_settings(names: _Names, embedding_dim: int, time_precision: float) -> dict[str, Any]:
    # The last row of the published embedding of time is that of special tokens, as it is here.
    n_rows = names.size("embedder.wt_re.weight") - 1
    return {
        "embedding_dim": embedding_dim,
        "time_precision": time_precision,
        "max_seconds": float(f"{n_rows * time_precision:.12g}"),
        "n_embedder_layers": len(names.matrices("embedder.embed_model.model.")),
        "n_unembedder_layers": max(1, len(names.matrices("unembedder.model."))),
        "loss": "l1",
        "linear_path": False,
    }


def _shared(names: _Names, n_channels: int, embedding_dim: int) -> Weights:
    """Embedder, embedding of time and un-embedder."""
    weights = {"time_embedding.rows.weight": names.take("embedder.wt_re.weight")}
    weights |= _layers(names, "embedder.layers", "embedder.embed_model.model", ends_in_norm=True)
    if n_channels == embedding_dim and not names.numbers(r"unembedder\.model\.(\d+)\."):
        # The published models then compare the backbone's output with the signals as it is.
        here = "unembedder.layers.0"
        return weights | {f"{here}.weight": torch.eye(n_channels), f"{here}.bias": torch.zeros(n_channels)}
    return weights | _layers(names, "unembedder.layers", "unembedder.model", ends_in_norm=False)


def _layers(names: _Names, here: str, there: str, *, ends_in_norm: bool) -> Weights:
    """Maps, each with a LayerNorm after it, activation and dropout; the last one perhaps by itself."""
    n_maps = max(1, len(names.matrices(f"{there}.")))
    numbers = [_MODULES_PER_LAYER * layer + part for layer in range(n_maps) for part in (0, 1)]
    weights: Weights = {}
    for number in numbers if ends_in_norm else numbers[:-1]:
        weights |= names.linear(f"{here}.{number}", f"{there}.{number}")
    return weights


def _tokens(names: _Names, family: str) -> Weights:
    """Special tokens in the space of the inputs."""
    mask = "mask_token_T" if family == "network_bert" else "mask_token_C"
    tokens = {mask: names.take("embedder.msk_embed"), "class_token_C": names.take("embedder.cls_embed")}
    if family != "csm":
        tokens["separator_token_C"] = names.take("embedder.sep_embed")
    return {name: token.flatten() for name, token in tokens.items()}


def _gpt2(names: _Names, settings: dict[str, Any]) -> Weights:
    there = "decoder.transformer"
    numbers = names.layers(re.escape(there) + r"\.h\.(\d+)\.")
    settings |= {"n_positions": names.size(f"{there}.wpe.weight"), "n_layers": max(1, len(numbers))}
    settings["feed_forward_factor"] = _factor(names.size(f"{there}.h.0.mlp.c_fc.weight", 1), settings)
    weights = {"transformer.positions.weight": names.take(f"{there}.wpe.weight")}
    weights |= names.linear("transformer.final_norm", f"{there}.ln_f")
    for number in numbers:
        own, block = f"transformer.blocks.{number}", f"{there}.h.{number}"
        weights |= names.linear(f"{own}.attention_norm", f"{block}.ln_1")
        weights |= names.linear(f"{own}.attention.queries_keys_values", f"{block}.attn.c_attn", transposed=True)
        weights |= names.linear(f"{own}.attention.output", f"{block}.attn.c_proj", transposed=True)
        weights |= names.linear(f"{own}.feed_forward_norm", f"{block}.ln_2")
        weights |= names.linear(f"{own}.feed_forward.expand", f"{block}.mlp.c_fc", transposed=True)
        weights |= names.linear(f"{own}.feed_forward.contract", f"{block}.mlp.c_proj", transposed=True)
    return weights


def _bert(names: _Names, settings: dict[str, Any]) -> Weights:
    there = "decoder.transformer"
    numbers = names.layers(re.escape(there) + r"\.encoder\.layer\.(\d+)\.")
    positions = f"{there}.embeddings.position_embeddings.weight"
    settings |= {"n_positions": names.size(positions), "n_layers": max(1, len(numbers))}
    settings["feed_forward_factor"] = _factor(
        names.size(f"{there}.encoder.layer.0.intermediate.dense.weight"), settings
    )
    weights = {
        "transformer.positions.weight": names.take(positions),
        "transformer.token_types.weight": names.take(f"{there}.embeddings.token_type_embeddings.weight"),
    }
    weights |= names.linear("transformer.embedding_norm", f"{there}.embeddings.LayerNorm")
    for number in numbers:
        own, block = f"transformer.blocks.{number}", f"{there}.encoder.layer.{number}"
        for kind in ("weight", "bias"):
            parts = [names.take(f"{block}.attention.self.{name}.{kind}") for name in ("query", "key", "value")]
            weights[f"{own}.attention.queries_keys_values.{kind}"] = torch.cat(parts)
        weights |= names.linear(f"{own}.attention.output", f"{block}.attention.output.dense")
        weights |= names.linear(f"{own}.attention_norm", f"{block}.attention.output.LayerNorm")
        weights |= names.linear(f"{own}.feed_forward.expand", f"{block}.intermediate.dense")
        weights |= names.linear(f"{own}.feed_forward.contract", f"{block}.output.dense")
        weights |= names.linear(f"{own}.feed_forward_norm", f"{block}.output.LayerNorm")
    weights |= names.linear("pooler.linear", "decoder.pooler_layer.0")
    head = names.linear("next_sequence_head", "decoder.is_next_head.0")
    return weights | {name: -tensor for name, tensor in head.items()}


def _autoencoder(names: _Names, settings: dict[str, Any]) -> Weights:
    weights: Weights = {}
    for part in ("encoder", "decoder"):
        there = f"decoder.{part}"
        numbers = names.layers(re.escape(there) + r"\.lstms\.(\d+)\.")
        settings["n_layers"] = max(settings.get("n_layers", 1), len(numbers))
        for number in numbers:
            for direction in ("", "_reverse") if part == "encoder" else ("",):
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    name = f"lstms.{number}.{kind}_l0{direction}"
                    weights[f"{part}.{name}"] = names.take(f"{there}.{name}")
        for number in numbers[:-1]:
            weights |= names.linear(f"{part}.between.{number}.0", f"{there}.layer_norms.{number}.0")
    return weights | names.linear("decoder.output.1", "decoder.decoder.linear_output_layer.1")


def _heads(n_heads: int | None, embedding_dim: int) -> int:
    if n_heads is None and embedding_dim % UNITS_PER_HEAD:
        accepted = f"given, since the embedding of {embedding_dim} numbers is not a multiple of {UNITS_PER_HEAD}"
        raise ConfigurationError("n_heads", None, accepted)
    n_heads = n_heads or embedding_dim // UNITS_PER_HEAD
    if embedding_dim % n_heads:
        raise ConfigurationError("n_heads", n_heads, f"a divisor of the embedding's {embedding_dim} numbers")
    return n_heads


def _factor(n_hidden: int, settings: dict[str, Any]) -> int:
    return max(1, n_hidden // int(settings["embedding_dim"]))
