"""The compiled LSTM against torch's in float64, to float32 rounding."""

import numpy as np
import pytest
import torch
from numba import njit
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dynml.models.dynemo import recurrent_networks
from dynml.models.dynemo.recurrent_networks import RecurrentStack
from dynml.ops.lanes.tiles import LANES
from dynml.ops.lanes.vectors import load, store
from dynml.ops.lstm.activations import hyperbolic_tangent, sigmoid
from dynml.ops.lstm.kernel import SLICE
from dynml.ops.lstm.layer import LstmWeights, lstm_layer

pytestmark = pytest.mark.processor

# windows, samples, inputs, units, both directions
SIZES = [
    (1, 1, 1, 1, False),
    (1, 1, 3, 5, True),
    (3, 30, 80, 40, True),
    (2 * SLICE, 50, 20, 64, True),
    (2 * SLICE + 3, 23, 6, 2 * LANES + 1, True),
    (9, 9, 6 * LANES + 3, 7 * LANES, False),
    (10 * SLICE + 1, 3, 2, 4, False),
]
ROUNDING = 4e-6  # of the largest number, after some hundred float32 sums


def reference_layer(n_inputs, n_units, bidirectional, seed=0):
    """Torch's layer in float64, weights beyond their initial values, second bias zero; and ours with the same."""
    torch.manual_seed(seed)
    layer = torch.nn.LSTM(n_inputs, n_units, batch_first=True, bidirectional=bidirectional)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.mul_(0.0 if name.startswith("bias_hh") else 2.0)
    suffixes = ("", "_reverse") if bidirectional else ("",)
    names = [f"{name}_l0{suffix}" for suffix in suffixes for name in ("weight_ih", "weight_hh", "bias_ih")]
    ours = [getattr(layer, name).detach().clone().requires_grad_() for name in names]
    layer = layer.double()
    return layer, [getattr(layer, name) for name in names], ours


def directions_of(weights):
    return [LstmWeights(*weights[first : first + 3]) for first in range(0, len(weights), 3)]


def by_torch(layer, inputs, lengths):
    if lengths is None:
        return layer(inputs)[0]
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=inputs.shape[1])[0]


def problem(n_windows, n_samples, n_inputs, n_units, bidirectional, ragged=False):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(n_windows, n_samples, n_inputs, generator=generator, requires_grad=True)
    upstream = torch.randn(n_windows, n_samples, n_units * (2 if bidirectional else 1), generator=generator)
    lengths = torch.randint(1, n_samples + 1, (n_windows,), generator=generator) if ragged else None
    return inputs, upstream, lengths


def passed(inputs, weights, upstream, lengths=None):
    """Outputs and all gradients."""
    outputs = lstm_layer(inputs, directions_of(weights), lengths)
    return [outputs.detach(), *torch.autograd.grad(outputs, [inputs, *weights], upstream)]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_outputs_and_gradients_are_those_of_torch(size, ragged):
    inputs, upstream, lengths = problem(*size, ragged=ragged)
    layer, theirs, ours = reference_layer(*size[2:])
    exact = inputs.detach().double().requires_grad_()
    reference = by_torch(layer, exact, lengths)
    expected = [reference, *torch.autograd.grad(reference, [exact, *theirs], upstream.double())]
    for found, value in zip(passed(inputs, ours, upstream, lengths), expected, strict=True):
        assert found.shape == value.shape
        largest = float(value.detach().abs().max())
        torch.testing.assert_close(found.double(), value.detach(), atol=ROUNDING * largest, rtol=0)


def test_errors_are_no_larger_than_those_of_torch_in_float32():
    size = (16, 200, 20, 64, True)
    inputs, _, _ = problem(*size)
    layer, _, ours = reference_layer(*size[2:])
    with torch.no_grad():
        exact, found = layer(inputs.double())[0], lstm_layer(inputs, directions_of(ours))
        rounded = layer.float()(inputs)[0]
    assert float((found - exact).abs().max()) < 1e-6
    assert float((found - exact).square().mean()) < 1.5 * float((rounded - exact).square().mean())


@pytest.mark.parametrize("ragged", [False, True])
def test_numbers_do_not_depend_on_threads(ragged):
    size = (4 * SLICE + 1, 12, 5, 9, True)
    inputs, upstream, lengths = problem(*size, ragged=ragged)
    _, _, weights = reference_layer(*size[2:])
    before, results = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            results.append(passed(inputs, weights, upstream, lengths))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_a_window_has_the_same_numbers_in_whatever_batch():
    size = (2 * SLICE + 3, 12, 5, 9, True)
    inputs, upstream, lengths = problem(*size, ragged=True)
    _, _, weights = reference_layer(*size[2:])
    outputs, by_inputs, *_ = passed(inputs, weights, upstream, lengths)
    for window in (0, 3, SLICE, 2 * SLICE + 2):
        alone = slice(window, window + 1)
        given = inputs[alone].detach().requires_grad_()
        output, by_input, *_ = passed(given, weights, upstream[alone], lengths[alone])
        assert torch.equal(output, outputs[alone])
        assert torch.equal(by_input, by_inputs[alone])


def test_padding_is_not_read_and_gives_zeros():
    size = (SLICE + 3, 11, 4, 6, True)
    inputs, upstream, lengths = problem(*size, ragged=True)
    _, _, weights = reference_layer(*size[2:])
    padding = (torch.arange(11) >= lengths[:, None])[:, :, None]
    spoilt = inputs.detach().masked_fill(padding, torch.nan).requires_grad_()
    clean = passed(inputs, weights, upstream, lengths)
    found = passed(spoilt, weights, upstream.masked_fill(padding, torch.nan), lengths)
    assert all(torch.equal(one, two) for one, two in zip(found, clean, strict=True))
    assert not (clean[0] * padding).any()
    assert not (clean[1] * padding).any()


def test_without_gradients_the_outputs_are_the_same():
    inputs, _, lengths = problem(SLICE + 1, 17, 3, 20, True, ragged=True)
    _, _, weights = reference_layer(3, 20, True)
    outputs = lstm_layer(inputs, directions_of(weights), lengths)
    with torch.no_grad():
        assert torch.equal(lstm_layer(inputs, directions_of(weights), lengths), outputs)
    assert outputs.requires_grad


def test_gradients_may_be_asked_for_again_or_in_part():
    inputs, upstream, _ = problem(SLICE + 1, 17, 3, 20, True)
    _, _, weights = reference_layer(3, 20, True)
    _, by_inputs, *by_weights = passed(inputs, weights, upstream)
    outputs = lstm_layer(inputs, directions_of(weights))
    for _ in range(2):
        again = torch.autograd.grad(outputs, weights, upstream, retain_graph=True)
        assert all(torch.equal(one, two) for one, two in zip(again, by_weights, strict=True))
    frozen = lstm_layer(inputs, directions_of([weight.detach() for weight in weights]))
    assert torch.equal(torch.autograd.grad(frozen, inputs, upstream)[0], by_inputs)
    fixed = lstm_layer(inputs.detach(), directions_of(weights))
    again = torch.autograd.grad(fixed, weights, upstream)
    assert all(torch.equal(one, two) for one, two in zip(again, by_weights, strict=True))


def test_inputs_and_upstream_need_not_be_contiguous():
    inputs, upstream, _ = problem(5, 8, 4, 3, True)
    _, _, weights = reference_layer(4, 3, True)
    turned = inputs.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    expected = passed(inputs, weights, upstream)
    found = passed(turned, weights, upstream.mT.contiguous().mT)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_second_derivatives_and_other_types_are_refused():
    inputs, _, _ = problem(2, 3, 4, 3, False)
    _, _, weights = reference_layer(4, 3, False)
    squares = lstm_layer(inputs, directions_of(weights)).square().sum()
    (slope,) = torch.autograd.grad(squares, inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
    with pytest.raises(AssertionError, match="float64"):
        lstm_layer(inputs.double(), directions_of(weights))


@njit
def of_lanes(values, sigmoids, tangents):
    for index in range(len(values) // LANES):
        store(sigmoids, index, sigmoid(load(values, index)))
        store(tangents, index, hyperbolic_tangent(load(values, index)))


def test_sigmoid_and_tanh_are_right_to_the_last_digits():
    small = np.logspace(-30, 2.5, 4 * 1024 - 8, dtype=np.float32)
    special = np.array([0.0, np.inf, -np.inf, np.nan, 86.9, -86.9, 1e30, -1e30], np.float32)
    values = np.concatenate([small, -small, np.linspace(-20, 20, 4096, dtype=np.float32), special, special])
    found = np.empty_like(values), np.empty_like(values)
    of_lanes(values, *found)
    exact = values.astype(np.float64)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-np.maximum(exact, -87))), np.tanh(exact)
    for one, value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(one), np.isnan(exact))
        np.testing.assert_allclose(one, value, rtol=3 * 2.0**-23, atol=0)


# ---------------------------------------------------------------------- where it is used


@pytest.fixture
def calls(monkeypatch):
    """What shape of inputs the compiled layer was given."""
    shapes = []

    def counted(inputs, *arguments):
        shapes.append(tuple(inputs.shape))
        return lstm_layer(inputs, *arguments)

    monkeypatch.setattr(recurrent_networks, "lstm_layer", counted)
    return shapes


def stack_of(kind="lstm", n_layers=2):
    torch.manual_seed(4)
    options = {"normalization": "layer", "activation": None, "dropout": 0.0, "bidirectional": True}
    return RecurrentStack(kind, 3, 7, n_layers, **options)


@pytest.mark.parametrize("ragged", [False, True])
def test_a_stack_of_layers_gives_what_torch_gives(calls, ragged):
    stack = stack_of()
    inputs, upstream, lengths = problem(5, 9, 3, 7, True, ragged=ragged)
    inside = torch.ones(5, 9, 1) if lengths is None else (torch.arange(9) < lengths[:, None])[:, :, None].float()
    upstream = upstream * inside
    outputs = stack(inputs, lengths)
    gradients = torch.autograd.grad(outputs, [inputs, *stack.parameters()], upstream)
    assert calls == [(5, 9, 3), (5, 9, 14)]
    stack, exact = stack.double(), inputs.detach().double().requires_grad_()
    reference = stack(exact, lengths)
    expected = torch.autograd.grad(reference, [exact, *stack.parameters()], upstream.double())
    assert len(calls) == 2
    torch.testing.assert_close(outputs.double(), reference, atol=1e-5, rtol=0)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5 * float(other.abs().max()), rtol=0)


def test_other_networks_and_types_go_by_torch(calls):
    inputs, _, _ = problem(2, 4, 3, 7, True)
    stack_of("gru")(inputs)
    stack_of().double()(inputs.double())
    with torch.autocast("cpu"):
        stack_of()(inputs)
    assert calls == []
