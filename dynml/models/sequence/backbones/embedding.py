"""From channels to the width of a backbone and back, and the embedding of seconds.

Shapes: B windows, T samples, C channels, d embedding dimension.

Reference: Thomas, Ré and Poldrack 2022, "Self-supervised learning of brain dynamics from broad neuroimaging data",
NeurIPS 35, section 3 (linear embedding of networks, embedding of the time since a window's start).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.channel_vectors import Channels, FromChannels, ToChannels

INITIAL_STANDARD_DEVIATION = 0.02
"""Of all weights of matrices and embeddings (Radford et al. 2019; Devlin et al. 2019)."""


class _ChannelMaps(nn.Module):
    """Linear maps of which one has the channels on one of its sides.

    Parameters
    ----------
    n_channels : int
        Channels C of the signals.
    embedding_dim : int
        Width d of every layer.
    n_layers : int
        Linear maps in all; each but the last is followed by LayerNorm, GELU and dropout.
    dropout : float
        Share of units that are left out in training.
    channels : NamedChannels or PositionedChannels, optional
        Where the weights of the map from or to channels are looked up; then n_channels counts columns of its table.
    """

    def __init__(
        self,
        n_channels: int,
        embedding_dim: int,
        n_layers: int = 1,
        dropout: float = 0.1,
        channels: Channels | None = None,
    ) -> None:
        super().__init__()
        assert n_layers >= 1
        self.layers = nn.Sequential(*self._layers(n_channels, embedding_dim, n_layers, dropout, channels))
        initialize_weights(self)

    @staticmethod
    def _layers(
        n_channels: int, embedding_dim: int, n_layers: int, dropout: float, channels: Channels | None
    ) -> list[nn.Module]:
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """What the maps make of inputs (..., C or d)."""
        outputs: Tensor = self.layers(inputs)
        return outputs


class Embedder(_ChannelMaps):
    """Channels to embeddings (..., d): Dropout(LayerNorm(W x + b)), after hidden layers where there are several."""

    @staticmethod
    def _layers(
        n_channels: int, embedding_dim: int, n_layers: int, dropout: float, channels: Channels | None
    ) -> list[nn.Module]:
        widths = n_channels, embedding_dim
        layers: list[nn.Module] = [nn.Linear(*widths) if channels is None else FromChannels(channels, *widths)]
        if n_layers > 1:
            layers += [nn.LayerNorm(embedding_dim), nn.GELU(), nn.Dropout(dropout)]
            layers += _hidden_layers([embedding_dim] * (n_layers - 1), dropout)
            layers += [nn.Linear(embedding_dim, embedding_dim)]
        return [*layers, nn.LayerNorm(embedding_dim), nn.Dropout(dropout)]


class Unembedder(_ChannelMaps):
    """Hidden states (..., d) to channels, by one linear map or by hidden layers and one linear map."""

    @staticmethod
    def _layers(
        n_channels: int, embedding_dim: int, n_layers: int, dropout: float, channels: Channels | None
    ) -> list[nn.Module]:
        widths = embedding_dim, n_channels
        layers = _hidden_layers([embedding_dim] * n_layers, dropout)
        return [*layers, nn.Linear(*widths) if channels is None else ToChannels(channels, *widths)]


class TimeEmbedding(nn.Module):
    """A learnt vector for every step of time since a window's start, so that recordings of different rates mix.

    Parameters
    ----------
    time_precision : float
        Seconds between two rows.
    n_rows : int
        Rows for times 0, p, 2p, ..; one more row stands for special tokens, which have no time.
    embedding_dim : int
        Width d of a row.
    """

    def __init__(self, time_precision: float, n_rows: int, embedding_dim: int) -> None:
        super().__init__()
        assert time_precision > 0
        assert n_rows >= 1
        self.time_precision, self.n_rows = time_precision, n_rows
        self.rows = nn.Embedding(n_rows + 1, embedding_dim)
        initialize_weights(self)

    @property
    def largest_seconds(self) -> float:
        """The time of the last row."""
        return (self.n_rows - 1) * self.time_precision

    def check(self, seconds: float) -> None:
        """Refuse a time of a real sample that has no row.

        `forward` cannot say it without waiting for the device: there a time after the last row takes the last row,
        as is right for padding alone.

        Parameters
        ----------
        seconds : float
            The largest time of a real sample.

        Raises
        ------
        ConfigurationError
            Names the largest time with a row.
        """
        if round(seconds / self.time_precision) >= self.n_rows:
            covered = float(f"{self.n_rows * self.time_precision:g}")
            accepted = (
                f"above {seconds:g}, the time of a window's last sample (the last of {self.n_rows} rows, one every "
                f"{self.time_precision:g} s, is at {self.largest_seconds:g} s)"
            )
            raise ConfigurationError("model.max_seconds", covered, accepted)

    def forward(self, seconds_BT: Tensor) -> Tensor:
        """Rows of times.

        Parameters
        ----------
        seconds_BT : Tensor, (B, T), float64
            Seconds since the window's first sample; below 0: a special token.

        Returns
        -------
        Tensor, (B, T, d)

        Notes
        -----
        The row is round(seconds / precision) in float64, so that 1 / precision need not be a whole number; of two rows
        that are equally near it is the even one.
        """
        seconds = seconds_BT.double()
        index = torch.round(seconds / self.time_precision).clamp(0, self.n_rows - 1).long()
        embeddings: Tensor = self.rows(torch.where(seconds < 0, self.n_rows, index))
        return embeddings


def initialize_weights(module: nn.Module, standard_deviation: float = INITIAL_STANDARD_DEVIATION) -> None:
    """Draw the weights of linear maps and embeddings inside a module from N(0, standard_deviation^2); biases are 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=standard_deviation)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)


def _hidden_layers(widths: list[int], dropout: float) -> list[nn.Module]:
    """Linear, LayerNorm, GELU and dropout between each two neighbours of `widths`."""
    layers: list[nn.Module] = []
    for n_inputs, n_outputs in pairwise(widths):
        layers += [nn.Linear(n_inputs, n_outputs), nn.LayerNorm(n_outputs), nn.GELU(), nn.Dropout(dropout)]
    return layers
