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
