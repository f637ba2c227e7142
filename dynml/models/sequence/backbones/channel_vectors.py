"""Vectors of channels: what of a model belongs to its channels is looked up by their names, or made of their positions.

    token_t = M / C sum_j x_tj w_j + b,  over the C channels that are there, M the usual number of channels

name: w_j is a column of a table. position: w_j = Theta phi(position of j), with random Fourier features phi, so that
channels that lie near each other have similar vectors, and channels that were never seen have some, too.

Shapes: C channels, R columns of a table (channels by name, features by position), F features.

Reference: Rahimi and Recht 2007, "Random features for large-scale kernel machines", NIPS 20 (features whose products
are a Gaussian kernel of the distance).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

N_FEATURES = 128
WIDTHS = (15.0, 30.0, 60.0)
"""Standard deviations (mm) of the Gaussian kernels that the features make together: parcels, sensors, lobes."""


class NamedChannels(nn.Module):
    """Columns of tables by the names of channels.

    Parameters
    ----------
    known : sequence of str
        Name of each column.
    """

    index_C: Tensor

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__()
        self.known = list(known)
        self.n_columns, self.scale = len(self.known), 1.0
        self.take(self.known)

    def take(self, names: Sequence[str]) -> None:
        """Stand for the channels of these names from now on; those that are not known count for nothing."""
        numbers = {name: number for number, name in enumerate(self.known)}
        indices = [numbers.get(name, -1) for name in names]
        device = self.index_C.device if hasattr(self, "index_C") else None
        self.register_buffer("index_C", torch.tensor(indices, device=device), persistent=False)
        n_known = sum(index >= 0 for index in indices)
        self.scale, self._are_all = self.n_columns / max(n_known, 1), list(names) == self.known
        self._all_known = n_known == len(indices)

    def of(self, table: Tensor) -> Tensor:
        """What a table (.., R) holds of the channels, (.., C); 0 of those that are not known."""
        if self._are_all:
            return table
        if self._all_known:
            return table.index_select(-1, self.index_C)
        return torch.where(self.index_C >= 0, table.index_select(-1, self.index_C.clamp(min=0)), 0.0)


class PositionedChannels(nn.Module):
    """Columns of tables are features of positions; what they hold of a channel is made of its features.

    Parameters
    ----------
    n_usual : int
        M, channels that the model was first trained with.
    positions : sequence of (x, y, z)
        mm; () where unknown.
    """

    frequencies_F3: Tensor
    phases_F: Tensor
    positions_C3: Tensor

    def __init__(self, n_usual: int, positions: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.n_usual, self.n_columns, self.scale = n_usual, N_FEATURES, 1.0
        generator = torch.Generator().manual_seed(0)
        widths_F = torch.tensor(WIDTHS).repeat(N_FEATURES // len(WIDTHS) + 1)[:N_FEATURES]
        directions_F3 = torch.randn(N_FEATURES, 3, generator=generator)
        # They travel with the weights, which mean nothing to other features.
        self.register_buffer("frequencies_F3", directions_F3 / widths_F[:, None])
        self.register_buffer("phases_F", 2 * math.pi * torch.rand(N_FEATURES, generator=generator))
        self.take(positions)

    def take(self, positions: Sequence[Sequence[float]]) -> None:
        """Stand for the channels at these positions from now on; those without a position count for nothing."""
        unknown = [math.nan] * 3
        positions_C3 = torch.tensor([list(position) or unknown for position in positions], dtype=torch.float32)
        self.register_buffer("positions_C3", positions_C3.to(self.phases_F.device), persistent=False)
        self.scale = self.n_usual / max(int(positions_C3.isfinite().all(dim=1).sum()), 1)

    def of(self, table: Tensor) -> Tensor:
        """What a table (.., R) comes to for the channels, (.., C)."""
        # Summed by hand: autocast would round the angles of a matrix product.
        angles_CF = (self.positions_C3[:, None] * self.frequencies_F3).sum(dim=-1) + self.phases_F
        features_CF = (math.sqrt(2 / N_FEATURES) * torch.cos(angles_CF)).nan_to_num(0.0)
        return table @ features_CF.T.to(table.dtype)


Channels = NamedChannels | PositionedChannels


def of_channels(channels: Channels, table: Tensor, n_samples: int = 1) -> Tensor:
    """What a table holds of the channels that are there: (.., P C) of (.., P R), for each of P samples of a token."""
    if n_samples == 1:
        return channels.of(table)
    return channels.of(table.unflatten(-1, (n_samples, channels.n_columns))).flatten(-2)


class FromChannels(nn.Linear):
    """A linear map of the P samples of the channels that are there; its weight is a table (d, P R).

    Parameters
    ----------
    channels : NamedChannels or PositionedChannels
        The model's, whose buffers are none of this layer.
    n_columns : int
        P R.
    n_outputs : int
    """

    def __init__(self, channels: Channels, n_columns: int, n_outputs: int) -> None:
        super().__init__(n_columns, n_outputs)
        # As a plain attribute: a module's part would be saved with each layer.
        self.__dict__["channels"], self.n_samples = channels, n_columns // channels.n_columns

    def forward(self, inputs_BTC: Tensor) -> Tensor:
        """(.., P C) to (.., d)."""
        channels: Channels = self.__dict__["channels"]
        weight = of_channels(channels, self.weight, self.n_samples)
        if channels.scale != 1:
            weight = weight * channels.scale
        return nn.functional.linear(inputs_BTC, weight, self.bias)


class ToChannels(nn.Linear):
    """A linear map to the P samples of the channels that are there; weight and bias are tables of P R rows.

    Parameters
    ----------
    channels, n_columns
        See `FromChannels`.
    n_inputs : int
    """

    def __init__(self, channels: Channels, n_inputs: int, n_columns: int) -> None:
        super().__init__(n_inputs, n_columns)
        self.__dict__["channels"], self.n_samples = channels, n_columns // channels.n_columns

    def forward(self, hidden_BTd: Tensor) -> Tensor:
        """(.., d) to (.., P C)."""
        channels: Channels = self.__dict__["channels"]
        weight = of_channels(channels, self.weight.T, self.n_samples).T
        return nn.functional.linear(hidden_BTd, weight, of_channels(channels, self.bias, self.n_samples))
