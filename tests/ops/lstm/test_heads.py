"""Normalization and linear map in one compiled pass: torch's numbers in float64, for any rows and any threads."""

import pytest
import torch

from dynml.models.dynemo.recurrent_networks import GaussianHead, RecurrentStack, gaussian_of
from dynml.ops.lstm.heads import normalized_linear

EPSILON = 1e-3


def tensors_of(n_rows, n_units, n_outputs):
    generator = torch.Generator().manual_seed(n_rows)
    shapes = (n_rows, n_units), (n_outputs, n_units), (n_outputs,)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def torch_form(hidden, weights, bias):
    normalized = torch.nn.functional.layer_norm(hidden, hidden.shape[-1:], eps=EPSILON)
    return torch.nn.functional.linear(normalized, weights, bias)


@pytest.mark.parametrize("sizes", [(1, 3, 1), (5, 64, 12), (1603, 128, 12)])
def test_outputs_and_gradients_are_those_of_torch_in_float64(sizes):
    given = [tensor.requires_grad_() for tensor in tensors_of(*sizes)]
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    outputs, expected = normalized_linear(*given, EPSILON), torch_form(*exact)
    torch.testing.assert_close(outputs.double(), expected, rtol=1e-4, atol=1e-5)
    upstream = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(outputs, given, upstream)
    wanted = torch.autograd.grad(expected, exact, upstream.double())
    for slope, true in zip(found, wanted, strict=True):
        scale = float(true.abs().max())
        torch.testing.assert_close(slope.double(), true, rtol=1e-4, atol=1e-5 * scale)


def test_numbers_do_not_depend_on_the_number_of_threads():
    given = [tensor.requires_grad_() for tensor in tensors_of(2405, 64, 12)]
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            outputs = normalized_linear(*given, EPSILON)
            found.append([outputs.detach(), *torch.autograd.grad(outputs.square().sum(), given)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(here, there) for here, there in zip(found[0], other, strict=True))


def test_units_that_are_not_finite_stay_so():
    hidden, weights, bias = tensors_of(3, 16, 2)
    hidden[1, 4] = float("nan")
    outputs = normalized_linear(hidden, weights, bias, EPSILON)
    assert outputs.isnan().any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("lengths", [None, torch.tensor([30, 12, 25])])
def test_a_network_and_its_head_are_the_same_in_one_pass_and_apart(lengths):
    torch.manual_seed(0)
    stack = RecurrentStack("lstm", 4, 16, 2, normalization="layer", activation=None, dropout=0.0, bidirectional=True)
    head = GaussianHead(stack.n_outputs, 3)
    with torch.no_grad():
        for parameter in (*stack.normalization[-1].parameters(), *head.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape))
    signals, parameters = torch.randn(3, 30, 4), [*stack.parameters(), *head.parameters()]
    found, expected = gaussian_of(stack, head, signals, lengths), head(stack(signals, lengths))
    for here, there in zip(found, expected, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)
    slopes, wanted = (
        torch.autograd.grad((mean.sin() + scale.cos()).sum(), parameters) for mean, scale in (found, expected)
    )
    for slope, true in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(slope, true, rtol=1e-3, atol=1e-4)
