"""An LSTM encoder that sums up a window in one vector, and an LSTM decoder that unfolds it again.

    encoder:  y_l = (forward + backward LSTM)(x_l) / 2      x_l+1 = Dropout(LayerNorm(y_l + x_l))
              code = mean of both directions' last hidden states in the last layer
    decoder:  the same without the backward direction; each layer starts from h = code, c = 0, and keeps its own state

The decoder's first input is the code; later ones are the sample before, embedded (teacher forcing), or the decoder's
own last output. It never sees the sample that it is to predict.

Shapes: B windows, T samples, d embedding dimension.

References: Srivastava, Mansimov and Salakhutdinov 2015, "Unsupervised learning of video representations using LSTMs",
ICML, section 2.2; Thomas, Ré and Poldrack 2022, NeurIPS 35 (residual connections and normalization between layers).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from dynml.models.sequence.backbones.embedding import initialize_weights
from dynml.ops.mixed_precision import runnable_lstms

State = tuple[Tensor, Tensor]
"""Hidden and cell state of a layer, (1, B, d) each."""


class RecurrentEncoder(nn.Module):
    """Bidirectional LSTM layers over windows of any length; padding is never read.

    Parameters
    ----------
    embedding_dim : int
        Width d of inputs, states and code.
    n_layers : int
    dropout : float
        Share of units left out in training between layers.
    """

    def __init__(self, embedding_dim: int, n_layers: int, dropout: float = 0.1) -> None:
        super().__init__()
        assert n_layers >= 1
        self.embedding_dim = embedding_dim
        self.lstms = nn.ModuleList(_lstm(embedding_dim, bidirectional=True) for _ in range(n_layers))
        self.between = nn.ModuleList(_between(embedding_dim, dropout) for _ in range(n_layers - 1))

    def forward(self, inputs_BTd: Tensor, lengths_B: Tensor) -> Tensor:
        """Codes of windows.

        Parameters
        ----------
        inputs_BTd : Tensor, (B, T, d)
        lengths_B : Tensor, (B,) int64
            Samples of each window, at least 1; copied to the CPU, which torch needs for packing.

        Returns
        -------
        Tensor, (B, d), with entries between -1 and 1.
        """
        packed = pack_padded_sequence(inputs_BTd, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        for lstm, between in zip(self.lstms, self.between):
            outputs = _passed(lstm, packed)[0].data.unflatten(-1, (2, self.embedding_dim)).mean(dim=-2)
            packed = _with_data(packed, between(outputs + packed.data))
        hidden_2Bd: Tensor = _passed(self.lstms[-1], packed)[1][0]
        return hidden_2Bd.mean(dim=0)


class RecurrentDecoder(nn.Module):
    """LSTM layers that unfold a code into hidden states of samples, one after the other.

    Parameters
    ----------
    embedding_dim : int
        Width d of code, inputs, states and outputs.
    n_layers : int
    dropout : float
        Share of units left out in training, between layers and before the last linear map.
    """

    def __init__(self, embedding_dim: int, n_layers: int, dropout: float = 0.1) -> None:
        super().__init__()
        assert n_layers >= 1
        self.lstms = nn.ModuleList(_lstm(embedding_dim, bidirectional=False) for _ in range(n_layers))
        self.between = nn.ModuleList(_between(embedding_dim, dropout) for _ in range(n_layers - 1))
        self.output = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding_dim, embedding_dim))
        initialize_weights(self.output)

    def forward(self, code_Bd: Tensor, n_times: int, previous_BTd: Tensor | None = None) -> Tensor:
        """Hidden states of `n_times` samples.

        Parameters
        ----------
        code_Bd : Tensor, (B, d)
        n_times : int
        previous_BTd : Tensor, (B, n_times, d), optional
            Row t is the embedded sample t - 1 (teacher forcing). Row 0 is not read: the code stands there. None: each
            output is the next input.

        Returns
        -------
        Tensor, (B, n_times, d); row t follows from the code and rows up to t of `previous_BTd`.
        """
        states = [(code_Bd[None].contiguous(), torch.zeros_like(code_Bd[None]))] * len(self.lstms)
        inputs_BTd = code_Bd[:, None]
        if previous_BTd is not None:
            assert previous_BTd.shape[1] == n_times
            return self._run(torch.cat([inputs_BTd, previous_BTd[:, 1:].to(code_Bd.dtype)], dim=1), states)[0]
        outputs = []
        for _ in range(n_times):
            inputs_BTd, states = self._run(inputs_BTd, states)
            outputs.append(inputs_BTd)
        return torch.cat(outputs, dim=1)

    def _run(self, inputs_BTd: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Outputs for all inputs, and the state of each layer after the last one."""
        hidden, new_states = inputs_BTd, []
        for number, (lstm, state) in enumerate(zip(self.lstms, states)):
            outputs, new_state = _passed(lstm, hidden, state)
            new_states.append(new_state)
            hidden = self.between[number](outputs + hidden) if number < len(self.between) else outputs
        return self.output(hidden), new_states


def _between(embedding_dim: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(embedding_dim), nn.Dropout(dropout))


def _lstm(embedding_dim: int, *, bidirectional: bool) -> nn.LSTM:
    """One layer with Glorot-uniform input weights, orthogonal recurrent ones, and a forget gate that starts open.

    A forget bias of 1 lets gradients reach far back from the start (Jozefowicz et al. 2015, ICML).
    """
    lstm = nn.LSTM(embedding_dim, embedding_dim, batch_first=True, bidirectional=bidirectional)
    for name, weights in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weights)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(weights)
        else:
            nn.init.zeros_(weights)
            if name.startswith("bias_ih"):
                nn.init.ones_(weights.data[embedding_dim : 2 * embedding_dim])
    return lstm


def _passed(lstm: nn.Module, inputs: Tensor | PackedSequence, state: State | None = None) -> Any:
    with runnable_lstms(lstm):
        return lstm(inputs, state)


def _with_data(packed: PackedSequence, data: Tensor) -> PackedSequence:
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
