"""Compiled models and mixed precision: the same files, nearly or exactly the same numbers."""

import functools

import pytest
import torch
from safetensors.torch import load_file
from small_model import OneStepAhead


def test_a_compiled_model_has_the_numbers_and_the_names_of_a_plain_one(make_trainer, monkeypatch):
    calls = []

    def eager(graph, inputs):
        calls.append(graph)
        return graph.forward

    # A backend that needs no compiler; dynamo has traced the model all the same.
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(torch.nn.Module.compile, backend=eager))
    trainers = [make_trainer(name, compile=name == "compiled", max_epochs=2) for name in ("plain", "compiled")]
    for trainer in trainers:
        trainer.train_and_validate()
    assert calls
    plain, compiled = (load_file(trainer.folder.best_model / "model.safetensors") for trainer in trainers)
    assert list(plain) == ["linear.bias", "linear.weight"]
    torch.testing.assert_close(compiled, plain, rtol=1e-6, atol=1e-7)
    again = make_trainer("compiled", max_epochs=3, resume="auto")
    assert again.train_and_validate()["epochs"] == 3


class Watching(OneStepAhead):
    """Remembers in which type it was computed."""

    def forward(self, signals):
        outputs = super().forward(signals)
        self.computed_in = outputs.dtype
        return outputs


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_mixed_precision_computes_in_bf16_and_keeps_weights_in_float32(make_trainer, precision, dtype):
    trainer = make_trainer(model=Watching(4), precision=precision, max_epochs=2)
    summary = trainer.train_and_validate()
    assert trainer.model.computed_in == dtype
    assert {tensor.dtype for tensor in trainer.weights().values()} == {torch.float32}
    assert summary["best_value"] is not None
    with trainer.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


class Recurrent(OneStepAhead):
    """Reads the past by a plain LSTM of torch."""

    def __init__(self, n_channels):
        super().__init__(n_channels)
        self.lstm = torch.nn.LSTM(n_channels, n_channels, batch_first=True)

    def forward(self, signals):
        return super().forward(self.lstm(signals)[0])


@pytest.mark.processor
@pytest.mark.parametrize("compiled", [False, True])
def test_an_lstm_of_a_users_own_trains_in_mixed_precision_on_any_processor(make_trainer, monkeypatch, compiled):
    eager = functools.partialmethod(torch.nn.Module.compile, backend=lambda graph, inputs: graph.forward)
    monkeypatch.setattr(torch.nn.Module, "compile", eager)
    runs = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(2)
        options = {"precision": precision, "compile": compiled, "max_epochs": 3}
        runs[precision] = make_trainer(precision, model=Recurrent(4), **options).train_and_validate()["best_value"]
    assert runs["bf16"] == pytest.approx(runs["float32"], rel=0.05)
