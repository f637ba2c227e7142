"""The transformer against attention written out in float64, and what must hold whatever its weights are."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch.nn import functional

from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.transformer import Pooler, Transformer

D, LAYERS, HEADS = 12, 2, 3
LENGTHS = (7, 4, 1)
MODES = [(norm, causal) for norm in ("pre", "post") for causal in (True, False)]


def shaken(module, seed=5):
    """The module in float64 and evaluation mode, with parameters of which none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64) + 0.05)
    return module.eval()


def transformer(norm="pre", **settings):
    return shaken(Transformer(D, LAYERS, HEADS, **({"n_positions": 9, "norm": norm} | settings)))


def windows(lengths=LENGTHS, seed=0):
    """Inputs with wild numbers in the padding, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    inputs = torch.randn(*mask.shape, D, generator=generator, dtype=torch.float64)
    return torch.where(mask[:, :, None], inputs, 50 * inputs), mask


def random_types(mask, seed=1):
    return torch.randint(0, 2, mask.shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------- written out


def affine(weights, name, vector):
    return weights[f"{name}.weight"] @ vector + weights[f"{name}.bias"]


def layer_norm(weights, name, vector, norm):
    centred = vector - vector.mean()
    scaled = centred / math.sqrt((centred**2).mean() + {"pre": 1e-5, "post": 1e-12}[norm])
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


ACTIVATIONS = {
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def attend(weights, name, tokens, causal):
    """What each token takes from the others, and how much from which, head by head and token by token."""
    size = D // HEADS
    joined = [affine(weights, f"{name}.queries_keys_values", token) for token in tokens]
    taken, shares = np.zeros((len(tokens), D)), np.zeros((HEADS, len(tokens), len(tokens)))
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        queries, keys, values = ([row[i * D : (i + 1) * D][part] for row in joined] for i in range(3))
        for t in range(len(tokens)):
            seen = range(t + 1) if causal else range(len(tokens))
            scores = np.array([np.exp(queries[t] @ keys[s] / math.sqrt(size)) for s in seen])
            for s in seen:
                shares[head, t, s] = scores[s] / scores.sum()
                taken[t, part] += shares[head, t, s] * values[s]
    return [affine(weights, f"{name}.output", row) for row in taken], shares


def feed_forward(weights, name, token, activation):
    return affine(weights, f"{name}.contract", ACTIVATIONS[activation](affine(weights, f"{name}.expand", token)))


def written_out(model, inputs_Td, types_T, causal, activation="gelu_tanh"):
    """States and attention of one window without padding, (T, d) and a list of (HEADS, T, T)."""
    weights, norm, maps = {k: v.numpy() for k, v in model.state_dict().items()}, model.norm, []
    tokens = [row + weights["positions.weight"][t] for t, row in enumerate(inputs_Td)]
    if types_T is not None:
        tokens = [token + weights["token_types.weight"][kind] for token, kind in zip(tokens, types_T)]
    if norm == "post":
        tokens = [layer_norm(weights, "embedding_norm", token, norm) for token in tokens]
    for layer in range(LAYERS):
        name = f"blocks.{layer}"
        attention, forward = f"{name}.attention", f"{name}.feed_forward"
        if norm == "pre":
            looked = [layer_norm(weights, f"{attention}_norm", token, norm) for token in tokens]
            taken, shares = attend(weights, attention, looked, causal)
            tokens = [token + row for token, row in zip(tokens, taken)]
            looked = [layer_norm(weights, f"{forward}_norm", token, norm) for token in tokens]
            tokens = [t + feed_forward(weights, forward, row, activation) for t, row in zip(tokens, looked)]
        else:
            taken, shares = attend(weights, attention, tokens, causal)
            tokens = [layer_norm(weights, f"{attention}_norm", t + row, norm) for t, row in zip(tokens, taken)]
            added = [token + feed_forward(weights, forward, token, activation) for token in tokens]
            tokens = [layer_norm(weights, f"{forward}_norm", token, norm) for token in added]
        maps.append(shares)
    if norm == "pre":
        tokens = [layer_norm(weights, "final_norm", token, norm) for token in tokens]
    return np.array(tokens), maps


@pytest.mark.parametrize("n_token_types", [0, 2])
@pytest.mark.parametrize(("norm", "causal"), MODES)
def test_agrees_with_attention_written_out(norm, causal, n_token_types):
    model = transformer(norm, n_token_types=n_token_types)
    inputs, mask = windows()
    types = random_types(mask) if n_token_types else None
    states = model(inputs, mask, causal=causal, token_types_BT=types)
    assert bool(states.isfinite().all())
    for number, length in enumerate(LENGTHS):
        types_T = None if types is None else types[number, :length]
        expected, _ = written_out(model, inputs[number, :length].numpy(), types_T, causal)
        np.testing.assert_allclose(states[number, :length].detach().numpy(), expected, atol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    model = transformer(activation=activation)
    inputs, _ = windows((7,))
    expected, _ = written_out(model, inputs[0].numpy(), None, True, activation)
    np.testing.assert_allclose(model(inputs, None, causal=True)[0].detach().numpy(), expected, atol=1e-11)


@pytest.mark.parametrize(("norm", "causal"), MODES)
def test_attention_maps_are_those_written_out(norm, causal):
    model = transformer(norm)
    inputs, mask = windows()
    maps = model.attention(inputs, mask, causal=causal)
    assert [tuple(shares.shape) for shares in maps] == [(3, HEADS, 7, 7)] * LAYERS
    for shares in maps:
        torch.testing.assert_close(shares.sum(dim=-1), torch.ones_like(shares.sum(dim=-1)))
        assert not shares.permute(0, 3, 1, 2)[~mask].any()
    for number, length in enumerate(LENGTHS):
        _, expected = written_out(model, inputs[number, :length].numpy(), None, causal)
        for shares, truth in zip(maps, expected):
            np.testing.assert_allclose(shares[number, :, :length, :length].detach().numpy(), truth, atol=1e-11)


def test_without_types_all_tokens_are_of_the_first():
    model = transformer("post", n_token_types=2)
    inputs, mask = windows()
    first = torch.zeros(mask.shape, dtype=torch.long)
    torch.testing.assert_close(
        model(inputs, mask, causal=False), model(inputs, mask, causal=False, token_types_BT=first)
    )


# ---------------------------------------------------------------------- whatever the weights


@pytest.mark.parametrize(("norm", "causal"), MODES)
def test_padding_changes_neither_states_nor_gradients_of_real_tokens(norm, causal):
    model = transformer(norm)
    results = []
    for scale in (1.0, -1000.0):
        inputs, mask = windows()
        inputs = torch.where(mask[:, :, None], inputs, scale * inputs).requires_grad_()
        states = model(inputs, mask, causal=causal)
        model.zero_grad()
        states[mask].square().sum().backward()
        results.append([states[mask], inputs.grad[mask], *(p.grad.clone() for p in model.parameters())])
        assert not inputs.grad[~mask].any()
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_causal_tokens_do_not_see_the_future_and_others_do(norm):
    model = transformer(norm)
    inputs, _ = windows((7, 7))
    before = {causal: model(inputs, None, causal=causal) for causal in (True, False)}
    for t in range(1, 7):
        changed = inputs.clone()
        changed[:, t:] += 3.0 * torch.randn(2, 7 - t, D, dtype=torch.float64)
        torch.testing.assert_close(model(changed, None, causal=True)[:, :t], before[True][:, :t], rtol=0, atol=1e-12)
        assert bool((model(changed, None, causal=True)[:, t] - before[True][:, t]).abs().amax(-1).gt(1e-3).all())
        assert bool((model(changed, None, causal=False)[:, 0] - before[False][:, 0]).abs().amax(-1).gt(1e-6).all())


@pytest.mark.parametrize(("norm", "causal"), MODES)
def test_order_of_the_batch_does_not_matter(norm, causal):
    model = transformer(norm, n_token_types=2)
    inputs, mask = windows()
    types, order = random_types(mask), [2, 0, 1]
    states = model(inputs, mask, causal=causal, token_types_BT=types)
    reordered = model(inputs[order], mask[order], causal=causal, token_types_BT=types[order])
    torch.testing.assert_close(reordered, states[order], rtol=0, atol=1e-12)


def test_position_tells_tokens_apart():
    states = transformer()(torch.ones(1, 5, D, dtype=torch.float64), None, causal=False)
    assert float((states.detach()[0, 1:] - states.detach()[0, :1]).abs().amax(-1).min()) > 1e-3


@pytest.mark.parametrize(
    ("causal", "padded", "is_built"), [(True, True, False), (False, False, False), (False, True, True)]
)
def test_a_mask_is_built_only_where_it_is_needed(monkeypatch, causal, padded, is_built):
    built = []
    attend_fast = functional.scaled_dot_product_attention

    def watched(*arguments, **settings):
        built.append((settings["attn_mask"] is not None, settings["is_causal"], settings["dropout_p"]))
        return attend_fast(*arguments, **settings)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    model = transformer(dropout=0.3)
    inputs, mask = windows(LENGTHS if padded else (7, 7))
    model(inputs, mask, causal=causal)
    model.train()(inputs, mask, causal=causal)
    assert built == [(is_built, causal, 0.0)] * LAYERS + [(is_built, causal, 0.3)] * LAYERS


def test_more_tokens_than_positions_are_refused():
    with pytest.raises(ConfigurationError, match=r"^model.n_positions is 9, but must be at least 10, "):
        transformer()(torch.zeros(1, 10, D, dtype=torch.float64), None, causal=True)


# ---------------------------------------------------------------------- counts and initial values


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_of_the_published_sizes():
    with torch.device("meta"):
        causal = Transformer(768, 4, 12, norm="pre")
        bidirectional = Transformer(768, 4, 12, norm="post", n_token_types=2)
        pooler = Pooler(768)
    for model in (causal, bidirectional):
        assert [count(block) for block in model.blocks] == [7_087_872] * 4
        assert count(model.positions) == 393_216
    assert count(causal) == 4 * 7_087_872 + 393_216 + 2 * 768
    assert count(bidirectional) == 4 * 7_087_872 + 393_216 + 2 * 768 + 2 * 768
    assert count(pooler) == 590_592


@pytest.mark.parametrize("factor", [1, 4])
def test_parameter_count_is_the_formula(factor):
    per_block = (4 * D * D + 4 * D) + (2 * factor * D * D + (factor + 1) * D) + 4 * D
    model = Transformer(D, 3, HEADS, feed_forward_factor=factor, n_positions=9, n_token_types=2)
    assert count(model) == 3 * per_block + 9 * D + 2 * D + 2 * D


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_initial_weights(norm):
    torch.manual_seed(0)
    model = Transformer(96, 8, 4, norm=norm, n_positions=200, n_token_types=100)
    residual = 0.02 / math.sqrt(16) if norm == "pre" else 0.02
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif name == "positions.weight":
            continue
        elif "norm" in name:
            assert bool((parameter == 1).all())
        else:
            adds_to_stream = name.endswith(("attention.output.weight", "contract.weight"))
            expected = residual if adds_to_stream else 0.02
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05), name
    norms = [module.eps for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert norms == [{"pre": 1e-5, "post": 1e-12}[norm]] * 17


# ---------------------------------------------------------------------- ways to run


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_activation_checkpointing_changes_memory_alone(dropout):
    inputs, mask = windows()
    results, calls = [], []
    for checkpointing in (False, True):
        model = transformer(dropout=dropout, activation_checkpointing=checkpointing).train()
        n_calls = [0]
        model.blocks[0].feed_forward.expand.register_forward_hook(lambda *_, n=n_calls: n.__setitem__(0, n[0] + 1))
        torch.manual_seed(0)
        states = model(inputs, mask, causal=False)
        states[mask].square().sum().backward()
        results.append([states, *(parameter.grad for parameter in model.parameters())])
        calls.append(n_calls[0])
    assert calls == [1, 2]
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_dropout_leaves_out_the_stated_share_of_the_embeddings_in_training_alone(norm):
    torch.manual_seed(0)
    model = Transformer(40, 0, 4, dropout=0.25, norm=norm)
    model.final_norm = torch.nn.Identity()
    inputs = torch.randn(4, 100, 40)
    assert float((model(inputs, None, causal=True) == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert bool((model.eval()(inputs, None, causal=True) != 0).all())


def test_each_part_of_a_block_drops_its_output():
    model = transformer(dropout=1.0).train()
    inputs, _ = windows()
    torch.testing.assert_close(model.blocks[0](inputs, None, True), inputs)
    post = transformer("post", dropout=1.0).train().blocks[0]
    torch.testing.assert_close(post(inputs, None, True), post.feed_forward_norm(post.attention_norm(inputs)))


@pytest.mark.parametrize(("norm", "causal"), [("pre", True), ("post", False)])
def test_compiles_in_one_graph(norm, causal):
    torch._dynamo.reset()
    model = transformer(norm)
    inputs, mask = windows()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(inputs, mask, causal=causal), model(inputs, mask, causal=causal))


@pytest.mark.parametrize("causal", [True, False])
def test_waits_for_no_device(causal):
    """Numbers on the meta device cannot be looked at: whoever asks for one raises."""
    with torch.device("meta"):
        model = Transformer(D, LAYERS, HEADS, n_token_types=2)
        inputs, mask = torch.zeros(2, 5, D), torch.ones(2, 5, dtype=torch.bool)
        states = model(inputs, mask, causal=causal, token_types_BT=mask.long())
    assert states.shape == (2, 5, D)


def test_half_precision_stays_close():
    model, (inputs, mask) = transformer().float(), windows()
    inputs = torch.where(mask[:, :, None], inputs, 0.0).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model(inputs, mask, causal=False)
    difference = (states.float() - model(inputs, mask, causal=False))[mask]
    assert 0 < float(difference.detach().abs().max()) < 0.1


def test_pooler_is_a_linear_map_and_tanh():
    pooler = shaken(Pooler(D))
    hidden = torch.randn(3, D, dtype=torch.float64)
    weight, bias = pooler.linear.weight.detach().numpy(), pooler.linear.bias.detach().numpy()
    np.testing.assert_allclose(pooler(hidden).detach().numpy(), np.tanh(hidden.numpy() @ weight.T + bias), atol=1e-12)
    pooler = Pooler(200, dropout=0.25)
    torch.nn.init.ones_(pooler.linear.bias)
    assert float((pooler(torch.zeros(50, 200)) == 0).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_positions_start_as_sines_and_cosines():
    rows = Transformer(6, 1, 1, n_positions=40).positions.weight.detach().numpy()
    for position in (0, 1, 39):
        for pair in range(3):
            angle = position / 1000 ** (2 * pair / 6)
            assert rows[position, 2 * pair : 2 * pair + 2] == pytest.approx([np.sin(angle), np.cos(angle)], abs=1e-5)
