"""LSTMs in mixed precision on processors with and without a kernel for them."""

import subprocess
import sys
import types
import warnings

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from dynml.errors import DataWarning
from dynml.ops import mixed_precision as module
from dynml.ops.mixed_precision import has_lstm_kernel, mixed_precision, runnable_lstms

pytestmark = pytest.mark.processor
LOWER = [torch.bfloat16, torch.float16]


@pytest.fixture
def without_kernel(monkeypatch):
    monkeypatch.setattr(module, "has_lstm_kernel", lambda dtype: False)


def problem(kind="LSTM", **options):
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(5, 7, batch_first=True, **options)
    inputs = torch.randn(3, 6, 5, requires_grad=True)
    return layer, inputs


def passed(layer, inputs):
    """Outputs and all gradients, in float32."""
    outputs = layer(inputs)[0].float()
    return [outputs, *torch.autograd.grad(outputs.square().sum(), [inputs, *layer.parameters()])]


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 3}])
@pytest.mark.parametrize("dtype", LOWER)
def test_lstms_of_a_block_run_forward_and_backward_on_any_processor(dtype, options):
    layer, inputs = problem(**options)
    exact = passed(layer, inputs)
    with mixed_precision(torch.device("cpu"), dtype):
        found = passed(layer, inputs)
        with torch.no_grad():
            inferred = layer(inputs)[0]
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    torch.testing.assert_close(inferred.float(), exact[0].detach(), atol=0.02, rtol=0)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, atol=0.03 * float(other.detach().abs().max()), rtol=0)


def test_gated_units_run_as_well():
    layer, inputs = problem("GRU")
    exact = passed(layer, inputs)
    with mixed_precision(torch.device("cpu")):
        found = passed(layer, inputs)
    torch.testing.assert_close(found[0], exact[0], atol=0.02, rtol=0)


@pytest.mark.parametrize("packed", [False, True])
def test_without_a_kernel_they_are_those_of_float32(without_kernel, packed):
    layer, inputs = problem(bidirectional=True)

    def given(inputs):
        lengths = torch.tensor([6, 3, 2])
        return pack_padded_sequence(inputs, lengths, batch_first=True) if packed else inputs

    exact = layer(given(inputs))[0]
    with torch.autocast("cpu"), runnable_lstms():
        rounded = inputs.bfloat16()
        found, of_rounded = layer(given(inputs))[0], layer(given(rounded))[0]
    expected = layer(given(rounded.float()))[0]
    for one, other in ((found, exact), (of_rounded, expected)):
        assert torch.equal(one.data, other.data)


def test_other_layers_stay_in_lower_precision(without_kernel):
    with mixed_precision(torch.device("cpu")):
        assert torch.nn.Linear(3, 2)(torch.ones(4, 3)).dtype == torch.bfloat16


def test_outside_of_mixed_precision_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(module, "has_lstm_kernel", lambda dtype: pytest.fail("tried"))
    layer, inputs = problem()
    with runnable_lstms():
        assert layer(inputs)[0].dtype == torch.float32


def test_it_is_tried_and_told_once_without_touching_random_numbers(monkeypatch):
    def refuse(self, inputs):
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(torch.nn.LSTM, "forward", refuse)
    has_lstm_kernel.cache_clear()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert not any(has_lstm_kernel(torch.bfloat16) for _ in range(3))
    has_lstm_kernel.cache_clear()
    assert [(one.category, "LSTMs in bfloat16" in str(one.message)) for one in told] == [(DataWarning, True)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_without_compilation_does_not_load_the_compiler():
    modules = "dynml.models.hmm.trainer", "dynml.models.dynemo.trainer", "dynml.models.sequence.decoding.trainer"
    slow = "{'torch._dynamo', 'scipy.optimize', 'scipy.linalg'}"
    code = f"import sys, {', '.join(modules)}; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_on_a_gpu_cudnn_is_left_for_gradients_of_a_layer_that_is_not_in_training(device, training, gradients):
    weights = types.SimpleNamespace(device=torch.device(device))
    layer = types.SimpleNamespace(training=training, parameters=lambda: iter([weights]))
    usual = torch.backends.cudnn.enabled
    with torch.set_grad_enabled(gradients), runnable_lstms(layer):
        assert torch.backends.cudnn.enabled == (usual and not (device == "cuda" and gradients and not training))
    assert torch.backends.cudnn.enabled == usual
