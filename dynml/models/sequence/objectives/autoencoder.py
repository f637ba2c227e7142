"""Recurrent autoencoder: a window becomes one code, and the code a window again.

    z = encoder(embed(x_1) + time(s_1), ..)       bidirectional LSTMs, over real samples only; z in R^d
    x^_t = unembed(decoder(z; what came before t))

What comes before t are the decoder's own outputs, or in teacher forcing the true samples up to t - 1: never x_t itself.
After Thomas, Re & Poldrack (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.models.sequence.backbones.recurrent import RecurrentDecoder, RecurrentEncoder
from dynml.models.sequence.config import AutoencoderConfig
from dynml.models.sequence.objectives.tasks import Task, reconstruction_task
from dynml.models.sequence.sequence_model import Nonlinear, Pooling, SequenceModel
from dynml.models.sequence.windows import Windows


class Autoencoder(SequenceModel):
    """Recurrent autoencoder.

    Parameters
    ----------
    config : AutoencoderConfig
    n_channels : int
    """

    family_name = "autoencoder"
    takes_montages = True

    def __init__(self, config: AutoencoderConfig, n_channels: int) -> None:
        super().__init__(config, n_channels)
        self.encoder = RecurrentEncoder(config.embedding_dim, config.n_layers, config.dropout)
        self.decoder = RecurrentDecoder(config.embedding_dim, config.n_layers, config.dropout)

    @property
    def backbone(self) -> nn.Module:
        """What makes the code of embedded samples."""
        return self.encoder

    def task_of(self, windows: Windows, subject_B: Tensor, dataset_B: Tensor) -> Task:
        """Reconstruct every sample."""
        return reconstruction_task(windows).of_present_channels()

    def code(self, windows: Windows) -> Tensor:
        """Codes of windows, (B, embedding_dim)."""
        return self.encoder(self._embedded(windows), windows.lengths_to_pack_by)

    def nonlinear_prediction(self, task: Task) -> Nonlinear:
        """Reconstruct windows from their codes."""
        windows = task.windows
        embedded_BTd = self._embedded(windows)
        code_Bd = self.encoder(embedded_BTd, windows.lengths_to_pack_by)
        previous_BTd = None
        # The generator on the host is seeded for each batch, so the coin needs no word from the device.
        if self.training and float(torch.rand(())) < self.config.teacher_forcing_ratio:
            previous_BTd = nn.functional.pad(embedded_BTd[:, :-1], (0, 0, 1, 0))
        return Nonlinear(self.unembedder(self.decoder(code_Bd, windows.shape[1], previous_BTd)))

    def states(self, windows: Windows) -> Tensor:
        """States of the decoder at every sample, (B, T, d)."""
        return self.decoder(self.code(windows), windows.shape[1], None)

    def pooled(self, windows: Windows, pooling: Pooling = "class_token") -> Tensor:
        """Codes of windows, (B, d), whatever the pooling."""
        return self.code(windows)

    def _embedded(self, windows: Windows) -> Tensor:
        return self.embedded(windows.weighted(windows.signals_BTC), windows)
