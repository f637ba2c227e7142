"""State dicts as CBraMod and CortexMAE save them, and their encoders by explicit formulas in float64."""

import math

import torch
from torch.nn import functional

CBRAMOD_NAMES = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T3", "T4", "T5", "T6"]
CBRAMOD_NAMES += ["Fz", "Cz", "Pz"]


def drawn(shapes, seed=0):
    """Weights of some shapes at random; norms near 1, so that all parts of the result count."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        fan_in = max(1, math.prod(shape[1:]))
        weights[name] = torch.randn(shape, generator=generator) / math.sqrt(fan_in)
        if len(shape) == 1:
            weights[name] = 0.3 * weights[name] + (1.0 if name.endswith("weight") else 0.0)
    return weights


def pair(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def cbramod_shapes(n_layers=12, n_hidden=800):
    shapes = {"patch_embedding.mask_encoding": (200,)}
    shapes |= pair("patch_embedding.positional_encoding.0", 200, 1, 19, 7)
    for number, (n_inputs, kernel) in {0: (1, 49), 3: (25, 3), 6: (25, 3)}.items():
        shapes |= pair(f"patch_embedding.proj_in.{number}", 25, n_inputs, 1, kernel)
        shapes |= pair(f"patch_embedding.proj_in.{number + 1}", 25)
    shapes |= pair("patch_embedding.spectral_proj.0", 200, 101)
    for layer in range(n_layers):
        there = f"encoder.layers.{layer}"
        for part in ("self_attn_s", "self_attn_t"):
            shapes |= {f"{there}.{part}.in_proj_weight": (300, 100), f"{there}.{part}.in_proj_bias": (300,)}
            shapes |= pair(f"{there}.{part}.out_proj", 100, 100)
        shapes |= pair(f"{there}.linear1", n_hidden, 200) | pair(f"{there}.linear2", 200, n_hidden)
        shapes |= pair(f"{there}.norm1", 200) | pair(f"{there}.norm2", 200)
    return shapes | pair("proj_out.0", 200, 200)


def cbramod_weights(n_layers=2, n_hidden=32, seed=0):
    return drawn(cbramod_shapes(n_layers, n_hidden), seed)


def cortex_mae_shapes(n_layers=12, width=768, n_parcels=400, n_times=4, decoder=True):
    shapes = {
        "encoder.cls_token": (1, 1, width),
        "encoder.pos_embed.weight_spatial": (1, n_parcels, width),
        "encoder.pos_embed.weight_temporal": (n_times, 1, width),
    }
    shapes |= pair("encoder.patch_embed", width, 4) | pair("encoder.norm", width)
    for layer in range(n_layers):
        there = f"encoder.blocks.{layer}"
        for part in ("q", "k", "v", "proj"):
            shapes |= pair(f"{there}.attn.{part}", width, width)
        shapes |= pair(f"{there}.norm1", width) | pair(f"{there}.norm2", width)
        shapes |= pair(f"{there}.mlp.fc1", 4 * width, width) | pair(f"{there}.mlp.fc2", width, 4 * width)
    if decoder:
        shapes |= {"decoder.mask_token": (1, 1, 8)} | pair("decoder.head", 2, 8)
    return shapes


def cortex_mae_checkpoint(seed=0, settings=None, **sizes):
    sizes = {"n_layers": 2, "width": 128, "n_parcels": 12} | sizes
    arguments = {"normalize": "frame", "clip_vmax": 3.0, "num_frames": 16, "t_patch_size": 4}
    return {"args": arguments | (settings or {}), "model": drawn(cortex_mae_shapes(**sizes), seed)}


def cbramod_encoded(published, patches, n_layers, n_heads=8):
    """Tokens (C, N, 200) of one trial's patches (C, N, 200), token by token."""
    weights = {name: tensor.double() for name, tensor in published.items()}
    patches = patches.double()
    n_channels, n_patches, _ = patches.shape
    maps = patches.reshape(1, n_channels * n_patches, 200)
    for number, stride, padding in ((0, 25, 24), (3, 1, 1), (6, 1, 1)):
        kernel = weights[f"patch_embedding.proj_in.{number}.weight"][:, :, 0]
        bias = weights[f"patch_embedding.proj_in.{number}.bias"]
        # Each patch by itself: what lies beyond its ends is zero.
        rows = [functional.conv1d(maps[None, :, row], kernel, bias, stride, padding)[0] for row in range(maps.shape[1])]
        maps = torch.stack(rows, dim=1)
        there = f"patch_embedding.proj_in.{number + 1}"
        maps = gelu(group_normalized(maps, weights[f"{there}.weight"], weights[f"{there}.bias"]))
    tokens = torch.stack(
        [torch.cat([maps[m, row] for m in range(25)]) for row in range(n_channels * n_patches)]
    ).reshape(n_channels, n_patches, 200)
    turns = torch.outer(torch.arange(101.0).double(), torch.arange(200.0).double()) * (2 * math.pi / 200)
    cosines, sines = patches @ turns.cos().T / 200, patches @ turns.sin().T / 200
    tokens = tokens + linear(weights, "patch_embedding.spectral_proj.0", (cosines**2 + sines**2).sqrt())
    hidden = tokens + places(weights, tokens)
    for layer in range(n_layers):
        there = f"encoder.layers.{layer}"
        normed = normalized(weights, f"{there}.norm1", hidden, 1e-5)
        taken = torch.zeros_like(hidden)
        for patch in range(n_patches):
            taken[:, patch, :100] = attended(weights, f"{there}.self_attn_s", normed[:, patch, :100], n_heads // 2)
        for channel in range(n_channels):
            taken[channel, :, 100:] = attended(weights, f"{there}.self_attn_t", normed[channel, :, 100:], n_heads // 2)
        hidden = hidden + taken
        widened = gelu(linear(weights, f"{there}.linear1", normalized(weights, f"{there}.norm2", hidden, 1e-5)))
        hidden = hidden + linear(weights, f"{there}.linear2", widened)
    return hidden


def cortex_mae_encoded(published, frames, n_layers, n_heads):
    """Class token (d,) and tokens (N, C, d) of one clip's frames (F, C), F a multiple of 4."""
    weights = {name: tensor.double() for name, tensor in published.items()}
    frames = frames.double()
    centred = frames - frames.mean(dim=1, keepdim=True)
    deviation = ((centred**2).sum(dim=1, keepdim=True) / (frames.shape[1] - 1)).sqrt()
    frames = (centred / (deviation + 1e-6)).clamp(-3, 3)
    n_patches, n_parcels = len(frames) // 4, frames.shape[1]
    rows = [weights["encoder.cls_token"].flatten()]
    for patch in range(n_patches):
        for parcel in range(n_parcels):
            token = linear(weights, "encoder.patch_embed", frames[4 * patch : 4 * patch + 4, parcel])
            rows.append(
                token
                + weights["encoder.pos_embed.weight_temporal"][patch, 0]
                + weights["encoder.pos_embed.weight_spatial"][0, parcel]
            )
    hidden = torch.stack(rows)
    for layer in range(n_layers):
        there = f"encoder.blocks.{layer}"
        normed = normalized(weights, f"{there}.norm1", hidden, 1e-6)
        queries, keys, values = (linear(weights, f"{there}.attn.{name}", normed) for name in ("q", "k", "v"))
        hidden = hidden + linear(weights, f"{there}.attn.proj", mixed(queries, keys, values, n_heads))
        widened = gelu(linear(weights, f"{there}.mlp.fc1", normalized(weights, f"{there}.norm2", hidden, 1e-6)))
        hidden = hidden + linear(weights, f"{there}.mlp.fc2", widened)
    hidden = normalized(weights, "encoder.norm", hidden, 1e-6)
    return hidden[0], hidden[1:].reshape(n_patches, n_parcels, -1)


def linear(weights, name, inputs):
    return inputs @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def normalized(weights, name, x, epsilon):
    centred = x - x.mean(dim=-1, keepdim=True)
    scale = ((centred**2).mean(dim=-1, keepdim=True) + epsilon).sqrt()
    return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def group_normalized(maps, weight, bias):
    """Maps (25, patches, 8), five groups of five, over all patches."""
    groups = []
    for first in range(0, 25, 5):
        group = maps[first : first + 5]
        group = (group - group.mean()) / (group.var(unbiased=False) + 1e-5).sqrt()
        groups.append(group * weight[first : first + 5, None, None] + bias[first : first + 5, None, None])
    return torch.cat(groups)


def places(weights, tokens):
    """Sums over neighbours in the order of channels (19) and in time (7), each number of a token by itself."""
    kernel = weights["patch_embedding.positional_encoding.0.weight"][:, 0]
    n_channels, n_patches, _ = tokens.shape
    found = weights["patch_embedding.positional_encoding.0.bias"].expand(tokens.shape).clone()
    for channel in range(n_channels):
        for patch in range(n_patches):
            for other in range(max(0, channel - 9), min(n_channels, channel + 10)):
                for time in range(max(0, patch - 3), min(n_patches, patch + 4)):
                    found[channel, patch] += kernel[:, other - channel + 9, time - patch + 3] * tokens[other, time]
    return found


def attended(weights, name, inputs, n_heads):
    joined = inputs @ weights[f"{name}.in_proj_weight"].T + weights[f"{name}.in_proj_bias"]
    return linear(weights, f"{name}.out_proj", mixed(*joined.chunk(3, dim=-1), n_heads))


def mixed(queries, keys, values, n_heads):
    """Attention of tokens (S, d), head by head."""
    width = queries.shape[1] // n_heads
    heads = []
    for head in range(n_heads):
        own = slice(head * width, (head + 1) * width)
        scores = queries[:, own] @ keys[:, own].T / math.sqrt(width)
        heads.append(scores.softmax(dim=-1) @ values[:, own])
    return torch.cat(heads, dim=1)
