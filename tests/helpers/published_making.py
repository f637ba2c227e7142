"""State dicts as learning-from-brains saves them, and its forward passes in plain torch, written from the papers."""

import torch
from torch.nn import functional


def published_shapes(family, *, n_networks, width, n_layers, n_positions, n_rows, factor=4, pooler=None):
    """Names and shapes of the parameters of a published file."""
    shapes = {
        "embedder.embed_model.model.0.weight": (width, n_networks),
        "embedder.embed_model.model.0.bias": (width,),
        "embedder.embed_model.model.1.weight": (width,),
        "embedder.embed_model.model.1.bias": (width,),
        "embedder.wt_re.weight": (n_rows, width),
        "unembedder.model.0.weight": (n_networks, width),
        "unembedder.model.0.bias": (n_networks,),
    }
    tokens = {"csm": ("msk", "cls"), "autoencoder": ()}.get(family, ("msk", "cls", "sep"))
    for token in tokens:
        by_time = family == "network_bert" and token == "msk"
        shapes[f"embedder.{token}_embed"] = (1, n_positions, 1) if by_time else (1, 1, n_networks)
    there = "decoder.transformer"
    hidden = factor * width
    if family == "csm":
        shapes |= {f"{there}.wte.weight": (1, width), f"{there}.wpe.weight": (n_positions, width)}
        for layer in range(n_layers):
            block = f"{there}.h.{layer}"
            shapes |= pair(f"{block}.ln_1", (width,)) | pair(f"{block}.ln_2", (width,))
            shapes |= conv1d(f"{block}.attn.c_attn", width, 3 * width) | conv1d(f"{block}.attn.c_proj", width, width)
            shapes |= conv1d(f"{block}.mlp.c_fc", width, hidden) | conv1d(f"{block}.mlp.c_proj", hidden, width)
        shapes |= pair(f"{there}.ln_f", (width,))
        if pooler:
            shapes |= pair("decoder.pooler_layer.0", (width, width))
    elif family == "autoencoder":
        for part, directions in (("encoder", ("", "_reverse")), ("decoder", ("",))):
            for layer in range(n_layers):
                for end in directions:
                    lstm = f"decoder.{part}.lstms.{layer}"
                    shapes |= {f"{lstm}.weight_{gate}_l0{end}": (4 * width, width) for gate in ("ih", "hh")}
                    shapes |= {f"{lstm}.bias_{gate}_l0{end}": (4 * width,) for gate in ("ih", "hh")}
            for layer in range(n_layers - 1):
                shapes |= pair(f"decoder.{part}.layer_norms.{layer}.0", (width,))
        shapes |= pair("decoder.encoder.pooler_layer.1", (width, width))
        shapes |= pair("decoder.decoder.linear_output_layer.1", (width, width))
    else:
        names = {"word_embeddings": 1, "position_embeddings": n_positions, "token_type_embeddings": 2}
        shapes |= {f"{there}.embeddings.{name}.weight": (n_rows, width) for name, n_rows in names.items()}
        shapes |= pair(f"{there}.embeddings.LayerNorm", (width,))
        for layer in range(n_layers):
            block = f"{there}.encoder.layer.{layer}"
            for name in (
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
            ):
                shapes |= pair(f"{block}.{name}", (width, width))
            shapes |= pair(f"{block}.attention.output.LayerNorm", (width,)) | pair(
                f"{block}.output.LayerNorm", (width,)
            )
            shapes |= pair(f"{block}.intermediate.dense", (hidden, width))
            shapes |= pair(f"{block}.output.dense", (width, hidden))
        shapes |= pair("decoder.pooler_layer.0", (width, width)) | pair("decoder.is_next_head.0", (1, width))
    return shapes


def pair(name, shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def conv1d(name, n_inputs, n_outputs):
    """GPT-2 keeps its maps (in, out)."""
    return {f"{name}.weight": (n_inputs, n_outputs), f"{name}.bias": (n_outputs,)}


def published(family, *, seed=0, **sizes):
    """Random weights under the published names, with the buffers that such files hold."""
    generator = torch.Generator().manual_seed(seed)
    shapes = published_shapes(family, **sizes)
    weights = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    n_positions = sizes["n_positions"]
    if family == "csm":
        for layer in range(sizes["n_layers"]):
            triangle = torch.ones(n_positions, n_positions, dtype=torch.uint8).tril()[None, None]
            weights[f"decoder.transformer.h.{layer}.attn.bias"] = triangle
            weights[f"decoder.transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    elif family != "autoencoder":
        weights["decoder.transformer.embeddings.position_ids"] = torch.arange(n_positions)[None]
    return weights


def norm(weights, name, x, eps):
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def linear(weights, name, x):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def attend(queries, keys, values, n_heads, causal):
    """Attention of one sequence (T, d), head by head."""
    width = queries.shape[-1] // n_heads
    outputs = []
    for head in range(n_heads):
        own = slice(head * width, (head + 1) * width)
        scores = queries[:, own] @ keys[:, own].T / width**0.5
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
        outputs.append(scores.softmax(-1) @ values[:, own])
    return torch.cat(outputs, dim=-1)


def embed(weights, inputs_TC, seconds_T, precision):
    """Embedded samples with their times; a time below 0 is the last row."""
    embedded = norm(
        weights, "embedder.embed_model.model.1", linear(weights, "embedder.embed_model.model.0", inputs_TC), 1e-5
    )
    rows = torch.where(seconds_T < 0, len(weights["embedder.wt_re.weight"]) - 1, (seconds_T / precision).round()).long()
    return embedded + weights["embedder.wt_re.weight"][rows]


def gpt2(weights, x, n_heads, n_layers):
    """GPT-2 over one embedded sequence (T, d)."""
    conv = lambda name, x: x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]  # noqa: E731
    there = "decoder.transformer"
    x = x + weights[f"{there}.wpe.weight"][: len(x)]
    for layer in range(n_layers):
        block = f"{there}.h.{layer}"
        parts = conv(f"{block}.attn.c_attn", norm(weights, f"{block}.ln_1", x, 1e-5)).chunk(3, dim=-1)
        x = x + conv(f"{block}.attn.c_proj", attend(*parts, n_heads, causal=True))
        inner = conv(f"{block}.mlp.c_fc", norm(weights, f"{block}.ln_2", x, 1e-5))
        x = x + conv(f"{block}.mlp.c_proj", functional.gelu(inner, approximate="tanh"))
    return norm(weights, f"{there}.ln_f", x, 1e-5)


def bert(weights, x, types_T, n_heads, n_layers):
    """BERT over one embedded sequence (T, d)."""
    there = "decoder.transformer"
    x = x + weights[f"{there}.embeddings.position_embeddings.weight"][: len(x)]
    x = x + weights[f"{there}.embeddings.token_type_embeddings.weight"][types_T]
    x = norm(weights, f"{there}.embeddings.LayerNorm", x, 1e-12)
    for layer in range(n_layers):
        block = f"{there}.encoder.layer.{layer}"
        parts = [linear(weights, f"{block}.attention.self.{name}", x) for name in ("query", "key", "value")]
        taken = linear(weights, f"{block}.attention.output.dense", attend(*parts, n_heads, causal=False))
        x = norm(weights, f"{block}.attention.output.LayerNorm", x + taken, 1e-12)
        inner = functional.gelu(linear(weights, f"{block}.intermediate.dense", x), approximate="tanh")
        x = norm(weights, f"{block}.output.LayerNorm", x + linear(weights, f"{block}.output.dense", inner), 1e-12)
    return x
