"""Recurrent networks with the initial values that DyNeMo's published settings were tuned with.

Glorot-uniform input weights and orthogonal recurrent ones, forget bias 1, one bias for each gate of an LSTM, layer
normalization with epsilon 1e-3: the defaults of Keras, where torch has others.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dynml.ops.lstm.heads import normalized_linear
from dynml.ops.lstm.layer import LstmWeights, lstm_layer
from dynml.ops.mixed_precision import runnable_lstms

NORMALIZATION_EPSILON = 1e-3
ACTIVATIONS = {"relu": torch.nn.ReLU, "elu": torch.nn.ELU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}


class RecurrentStack(torch.nn.Module):
    """Dropout, then layers of: recurrent network, normalization, activation, dropout.

    Parameters
    ----------
    kind : {"lstm", "gru"}
    n_inputs, n_units, n_layers : int
    normalization : {"layer", "batch"} or None
    activation : str or None
    dropout : float
    bidirectional : bool
        The outputs of both directions are joined: 2 n_units.
    """

    def __init__(
        self,
        kind: str,
        n_inputs: int,
        n_units: int,
        n_layers: int,
        *,
        normalization: str | None,
        activation: str | None,
        dropout: float,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        self.n_outputs = n_units * (2 if bidirectional else 1)
        self.dropout = torch.nn.Dropout(dropout)
        sizes = [n_inputs] + [self.n_outputs] * (n_layers - 1)
        self.recurrent = torch.nn.ModuleList(recurrent_layer(kind, size, n_units, bidirectional) for size in sizes)
        self.normalization = torch.nn.ModuleList(_normalization(normalization, self.n_outputs) for _ in sizes)
        self.activation = torch.nn.Identity() if activation is None else ACTIVATIONS[activation]()

    def forward(self, inputs_BTC: Tensor, lengths: Tensor | None = None, *, normalizes_last: bool = True) -> Tensor:
        """Outputs (B, T, n_outputs).

        Parameters
        ----------
        inputs_BTC : Tensor, (B, T, n_inputs)
        lengths : Tensor, (B,), optional
            Samples of each window, where some are shorter than T; what follows is not read. An accelerator is waited
            for if they are on it.
        normalizes_last : bool
            False: the outputs are those of the last recurrent network, and what follows it is left to the caller.
        """
        lengths = None if lengths is None else lengths.cpu()
        hidden = self.dropout(inputs_BTC)
        for number, (recurrent, normalization) in enumerate(zip(self.recurrent, self.normalization), start=1):
            hidden = _run(recurrent, hidden, lengths)
            if number == len(self.recurrent) and not normalizes_last:
                return hidden
            padded = isinstance(normalization, BatchNormalization) and lengths is not None
            hidden = normalization(hidden, lengths) if padded else normalization(hidden)
            hidden = self.dropout(self.activation(hidden))
        return hidden


class GaussianHead(torch.nn.Module):
    """Mean and standard deviation of a diagonal Gaussian from hidden units."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.mean, self.scale = (glorot_linear(n_inputs, n_outputs) for _ in range(2))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors (..., n_outputs)."""
        return self.mean(hidden), standard_deviation(self.scale(hidden))


def gaussian_of(
    stack: RecurrentStack, head: GaussianHead, inputs: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`head(stack(inputs, lengths))`, with the last normalization and the head in one pass where that is possible."""
    normalization = stack.normalization[-1]
    is_direct = isinstance(stack.activation, torch.nn.Identity) and stack.dropout.p == 0
    if not (isinstance(normalization, torch.nn.LayerNorm) and is_direct and _is_plain(inputs, head.mean.weight)):
        mean, scale = head(stack(inputs, lengths))
        return mean, scale
    hidden = stack(inputs, lengths, normalizes_last=False)
    weights = torch.cat([head.mean.weight, head.scale.weight])
    bias = torch.addmv(torch.cat([head.mean.bias, head.scale.bias]), weights, normalization.bias)
    outputs = normalized_linear(hidden, weights * normalization.weight, bias, normalization.eps)
    mean, scale = (part.contiguous() for part in outputs.chunk(2, dim=-1))
    return mean, standard_deviation(scale)


def standard_deviation(numbers: Tensor) -> Tensor:
    """Positive values of unconstrained ones."""
    return torch.nn.functional.softplus(numbers) + 1e-6


class BatchNormalization(torch.nn.Module):
    """Batch normalization of units over all samples of all windows, without padding."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.units = torch.nn.BatchNorm1d(n_units, eps=NORMALIZATION_EPSILON, momentum=0.01)

    def forward(self, hidden_BTH: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalized units, (B, T, H); padding stays as it is."""
        if lengths is not None:
            samples, ends = (of.to(hidden_BTH.device) for of in (torch.arange(hidden_BTH.shape[1]), lengths))
            inside = samples < ends[:, None]
            return hidden_BTH.masked_scatter(inside[:, :, None], self.units(hidden_BTH[inside]))
        normalized: Tensor = self.units(hidden_BTH.reshape(-1, hidden_BTH.shape[-1]))
        return normalized.view(hidden_BTH.shape)


def recurrent_layer(kind: str, n_inputs: int, n_units: int, bidirectional: bool) -> torch.nn.RNNBase:
    """One layer with Keras' initial values; of an LSTM's two biases the second is a constant zero."""
    make: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind]
    layer: torch.nn.RNNBase = make(n_inputs, n_units, batch_first=True, bidirectional=bidirectional)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.startswith("weight_ih"):
                _glorot(weight)
            elif name.startswith("weight_hh"):
                torch.nn.init.orthogonal_(weight)
            else:
                weight.zero_()
                if kind == "lstm" and name.startswith("bias_ih"):
                    weight[n_units : 2 * n_units] = 1.0
    if kind == "lstm":
        for name in [name for name, _ in layer.named_parameters() if name.startswith("bias_hh")]:
            zeros = getattr(layer, name).detach()
            delattr(layer, name)
            layer.register_buffer(name, zeros, persistent=False)
        layer._flat_weights = [getattr(layer, name) for name in layer._flat_weights_names]
    return layer


def glorot_linear(n_inputs: int, n_outputs: int) -> torch.nn.Linear:
    """Linear layer with Glorot-uniform weights and zero bias."""
    layer = torch.nn.Linear(n_inputs, n_outputs)
    with torch.no_grad():
        _glorot(layer.weight)
        layer.bias.zero_()
    return layer


def _glorot(weight: Tensor) -> None:
    """Draw from U(-a, a) with a^2 = 6 / (inputs + outputs); all gates of a layer count as outputs."""
    bound = math.sqrt(6 / (weight.shape[0] + weight.shape[1]))
    weight.uniform_(-bound, bound)


def _normalization(kind: str | None, n_units: int) -> torch.nn.Module:
    if kind is None:
        return torch.nn.Identity()
    if kind == "batch":
        return BatchNormalization(n_units)
    return torch.nn.LayerNorm(n_units, eps=NORMALIZATION_EPSILON)


def _run(layer: torch.nn.Module, inputs: Tensor, lengths: Tensor | None) -> Tensor:
    if isinstance(layer, torch.nn.LSTM) and _is_plain(inputs, next(layer.parameters())):
        return lstm_layer(inputs, _weights_of(layer), lengths)
    with runnable_lstms(layer):
        if lengths is None:
            outputs: Tensor = layer(inputs)[0]
            return outputs
        # Sorted here, on the host: torch would ask an accelerator for the order.
        order = lengths.argsort(descending=True)
        sort, unsort = (places.to(inputs.device, non_blocking=True) for places in (order, order.argsort()))
        packed = pack_padded_sequence(inputs.index_select(0, sort), lengths[order], batch_first=True)
        outputs, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=inputs.shape[1])
        return outputs.index_select(0, unsort)


def _is_plain(inputs: Tensor, weight: Tensor) -> bool:
    """Whether compiled loops serve: float32 on a CPU."""
    kinds = {(tensor.device.type, tensor.dtype) for tensor in (inputs, weight)}
    return kinds == {("cpu", torch.float32)} and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())


def _weights_of(layer: torch.nn.LSTM) -> list[LstmWeights]:
    """Weights of each direction of a `recurrent_layer`, whose second bias is zero."""
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    return [LstmWeights(*(getattr(layer, name + suffix) for name in names)) for suffix in suffixes]
