"""Names and shapes of the weights of CBraMod and CortexMAE as they were published, and what they are called here.

Each published tensor of the encoder has one place here, or goes into one with others; what only pre-training needs (the
way back to the signals) is left out, and named.

Shapes: d numbers of a token, h width of a feed-forward part, C parcels, N patches of a clip, P samples of a patch.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynml.errors import CheckpointError, ConfigurationError, shortened
from dynml.exchange.published_names import Weights
from dynml.models.sequence.backbones.published.config import CBraModConfig, CortexMaeConfig
from dynml.models.sequence.config import UNITS_PER_HEAD

Shapes = dict[str, tuple[int, ...]]

CBRAMOD_CHANNELS = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
    *("F7", "F8", "T3", "T4", "T5", "T6", "Fz", "Cz", "Pz"),
)
"""Electrodes of the pre-training, in their order (the Temple University EEG corpus, referenced to the ears)."""

_N_MAPS, _D_CBRAMOD, _N_FREQUENCIES = 25, 200, 101
_CBRAMOD_HEAD = {"proj_out.0.weight": (_D_CBRAMOD, _D_CBRAMOD), "proj_out.0.bias": (_D_CBRAMOD,)}
_CLASS_PLACE = "encoder.cls_token_pos"


def cbramod_config(published: Mapping[str, Tensor], n_heads: int | None, where: str) -> CBraModConfig:
    """Sizes of a CBraMod, from its weights; raises CheckpointError for weights that are none."""
    n_hidden = _size(published, "encoder.layers.0.linear1.weight", 0, "cbramod", where)
    config = CBraModConfig(
        n_layers=_n_layers(published, r"encoder\.layers\.(\d+)\."),
        n_hidden=n_hidden,
        channel_names=list(CBRAMOD_CHANNELS),
    )
    return config if n_heads is None else dataclasses.replace(config, n_heads=n_heads)


def cbramod_weights(published: Mapping[str, Tensor], config: CBraModConfig, where: str) -> tuple[Weights, list[str]]:
    """Give the weights of CBraMod their names here.

    Returns
    -------
    weights : dict of str to Tensor
    left_out : list of str
        Names of those that have no place.

    Raises
    ------
    CheckpointError
        Names what is missing, not known, or of another shape.
    """
    _check(published, _cbramod_shapes(config), "cbramod", where)
    there = "patch_embedding"
    weights = {
        "embedder.hidden_patch_P": published[f"{there}.mask_encoding"],
        **_pair(published, f"{there}.spectral_proj.0", "embedder.spectrum"),
        **_pair(published, f"{there}.positional_encoding.0", "embedder.places"),
    }
    for number in (0, 1, 3, 4, 6, 7):
        weights |= _pair(published, f"{there}.proj_in.{number}", f"embedder.convolutions.{number}")
    for layer in range(config.n_layers):
        there, here = f"encoder.layers.{layer}", f"encoder.{layer}"
        for ours, theirs in (("across_channels", "self_attn_s"), ("across_patches", "self_attn_t")):
            for kind in ("weight", "bias"):
                joined = published[f"{there}.{theirs}.in_proj_{kind}"]
                weights[f"{here}.{ours}.queries_keys_values.{kind}"] = joined
            weights |= _pair(published, f"{there}.{theirs}.out_proj", f"{here}.{ours}.output")
        weights |= _pair(published, f"{there}.norm1", f"{here}.attention_norm")
        weights |= _pair(published, f"{there}.norm2", f"{here}.feed_forward_norm")
        weights |= _pair(published, f"{there}.linear1", f"{here}.feed_forward.expand")
        weights |= _pair(published, f"{there}.linear2", f"{here}.feed_forward.contract")
    return weights, [name for name in _CBRAMOD_HEAD if name in published]


def cortex_mae_config(
    published: Mapping[str, Tensor], settings: Mapping[str, Any], n_heads: int | None, where: str
) -> CortexMaeConfig:
    """Sizes of a CortexMAE of parcels from its weights, and how its frames were normalized from its settings.

    Raises
    ------
    CheckpointError
        For weights that are none, or of a model of flat maps or volumes, or frames that were normalized otherwise.
    ConfigurationError
        For heads that do not divide a token.
    """
    family = "cortex_mae"
    width = _size(published, "encoder.patch_embed.weight", 0, family, where)
    if n_heads is None and width % UNITS_PER_HEAD:
        accepted = f"given, since a token of {width} numbers is no multiple of {UNITS_PER_HEAD}"
        raise ConfigurationError("n_heads", None, accepted)
    _check_settings(settings, where)
    return CortexMaeConfig(
        embedding_dim=width,
        n_layers=_n_layers(published, r"encoder\.blocks\.(\d+)\."),
        n_heads=n_heads or width // UNITS_PER_HEAD,
        n_hidden=_size(published, "encoder.blocks.0.mlp.fc1.weight", 0, family, where),
        n_parcels=_size(published, "encoder.pos_embed.weight_spatial", 1, family, where, n_axes=3),
        n_times=_size(published, "encoder.pos_embed.weight_temporal", 0, family, where, n_axes=3),
        clip=float(settings.get("clip_vmax", CortexMaeConfig.clip)),
    )


def cortex_mae_weights(
    published: Mapping[str, Tensor], config: CortexMaeConfig, where: str
) -> tuple[Weights, list[str]]:
    """Give the encoder's weights of CortexMAE their names here; see `cbramod_weights`."""
    left_out = [name for name in published if name.startswith("decoder.")]
    encoder = {name: tensor for name, tensor in published.items() if name not in left_out}
    shapes = _cortex_mae_shapes(config)
    if _CLASS_PLACE in encoder:
        shapes[_CLASS_PLACE] = shapes["encoder.cls_token"]
    _check(encoder, shapes, "cortex_mae", where)
    class_d = encoder["encoder.cls_token"].flatten()
    weights = {
        "embedder.class_d": class_d + encoder[_CLASS_PLACE].flatten() if _CLASS_PLACE in encoder else class_d,
        "embedder.parcels_Cd": encoder["encoder.pos_embed.weight_spatial"][0],
        "embedder.times_Nd": encoder["encoder.pos_embed.weight_temporal"][:, 0],
        **_pair(encoder, "encoder.patch_embed", "embedder.patches"),
        **_pair(encoder, "encoder.norm", "final_norm"),
    }
    for layer in range(config.n_layers):
        there, here = f"encoder.blocks.{layer}", f"encoder.{layer}"
        for kind in ("weight", "bias"):
            parts = [encoder[f"{there}.attn.{name}.{kind}"] for name in ("q", "k", "v")]
            weights[f"{here}.attention.queries_keys_values.{kind}"] = torch.cat(parts)
        weights |= _pair(encoder, f"{there}.attn.proj", f"{here}.attention.output")
        weights |= _pair(encoder, f"{there}.norm1", f"{here}.attention_norm")
        weights |= _pair(encoder, f"{there}.norm2", f"{here}.feed_forward_norm")
        weights |= _pair(encoder, f"{there}.mlp.fc1", f"{here}.feed_forward.expand")
        weights |= _pair(encoder, f"{there}.mlp.fc2", f"{here}.feed_forward.contract")
    return weights, left_out


def _cbramod_shapes(config: CBraModConfig) -> Shapes:
    width, hidden, there = config.embedding_dim, config.n_hidden, "patch_embedding"
    half = width // 2
    shapes: Shapes = {f"{there}.mask_encoding": (config.patch_length,), **_CBRAMOD_HEAD}
    for number, (n_inputs, kernel) in zip((0, 3, 6), ((1, 49), (_N_MAPS, 3), (_N_MAPS, 3))):
        shapes |= _shapes_of(f"{there}.proj_in.{number}", _N_MAPS, n_inputs, 1, kernel)
        shapes |= _shapes_of(f"{there}.proj_in.{number + 1}", _N_MAPS)
    shapes |= _shapes_of(f"{there}.spectral_proj.0", width, _N_FREQUENCIES)
    shapes |= _shapes_of(f"{there}.positional_encoding.0", width, 1, 19, 7)
    for layer in range(config.n_layers):
        there = f"encoder.layers.{layer}"
        for attention in (f"{there}.self_attn_s", f"{there}.self_attn_t"):
            shapes |= {f"{attention}.in_proj_weight": (3 * half, half), f"{attention}.in_proj_bias": (3 * half,)}
            shapes |= _shapes_of(f"{attention}.out_proj", half, half)
        shapes |= _shapes_of(f"{there}.linear1", hidden, width) | _shapes_of(f"{there}.linear2", width, hidden)
        shapes |= _shapes_of(f"{there}.norm1", width) | _shapes_of(f"{there}.norm2", width)
    return shapes


def _cortex_mae_shapes(config: CortexMaeConfig) -> Shapes:
    width, hidden = config.embedding_dim, config.n_hidden
    shapes: Shapes = {
        "encoder.cls_token": (1, 1, width),
        "encoder.pos_embed.weight_spatial": (1, config.n_parcels, width),
        "encoder.pos_embed.weight_temporal": (config.n_times, 1, width),
        **_shapes_of("encoder.patch_embed", width, config.patch_length),
        **_shapes_of("encoder.norm", width),
    }
    for layer in range(config.n_layers):
        there = f"encoder.blocks.{layer}"
        for name in ("q", "k", "v", "proj"):
            shapes |= _shapes_of(f"{there}.attn.{name}", width, width)
        shapes |= _shapes_of(f"{there}.norm1", width) | _shapes_of(f"{there}.norm2", width)
        shapes |= _shapes_of(f"{there}.mlp.fc1", hidden, width) | _shapes_of(f"{there}.mlp.fc2", width, hidden)
    return shapes


def _check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuse frames that were normalized in a way that the model here has not."""
    for name, accepted in (("normalize", "frame"), ("no_coord_normalize", False), ("t_patch_size", 4)):
        if settings.get(name, accepted) != accepted:
            raise CheckpointError(f"{where}: its setting {name} is {settings[name]!r}, but must be {accepted!r}.")
    clip = settings.get("clip_vmax", CortexMaeConfig.clip)
    if isinstance(clip, bool) or not isinstance(clip, (int, float)) or not clip > 0:
        raise CheckpointError(f"{where}: its setting clip_vmax is {clip!r}, but must be a number above 0.")


def _check(published: Mapping[str, Tensor], shapes: Shapes, family: str, where: str) -> None:
    """Refuse names that are missing or unknown, and tensors of another shape."""
    # A file whose way back to the signals was taken off has both of its tensors no more.
    optional = set() if set(_CBRAMOD_HEAD) & set(published) else set(_CBRAMOD_HEAD)
    missing = [name for name in shapes if name not in published and name not in optional]
    unknown = [name for name in published if name not in shapes]
    if missing:
        instead = f", and holds {shortened(unknown, 4)} instead" if unknown else ""
        raise CheckpointError(f"{where} lacks {shortened(missing, 4)}, which weights of {family} have{instead}.")
    if unknown:
        raise CheckpointError(f"{where} holds {shortened(unknown, 4)}, which weights of {family} do not have.")
    for name, tensor in published.items():
        if tuple(tensor.shape) != shapes[name]:
            raise CheckpointError(
                f"{where}: {name} has the shape {tuple(tensor.shape)}, but must have {shapes[name]} in weights of "
                f"{family}."
            )


def _size(published: Mapping[str, Tensor], name: str, axis: int, family: str, where: str, *, n_axes: int = 2) -> int:
    if name not in published:
        holds = shortened(list(published), 4)
        raise CheckpointError(f"{where} lacks {name}, which weights of {family} have; it holds {holds}.")
    shape = published[name].shape
    if len(shape) != n_axes or shape[axis] < 1:
        raise CheckpointError(
            f"{where}: {name} has the shape {tuple(shape)}, but must have {n_axes} axes in weights of {family}."
        )
    return int(shape[axis])


def _n_layers(published: Mapping[str, Tensor], pattern: str) -> int:
    """Layers from 0 to the last that stands in a name."""
    return 1 + max((int(match[1]) for name in published if (match := re.match(pattern, name))), default=0)


def _pair(published: Mapping[str, Tensor], there: str, here: str) -> Weights:
    return {f"{here}.{kind}": published[f"{there}.{kind}"] for kind in ("weight", "bias")}


def _shapes_of(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
