"""Network-BERT: some networks are hidden over a whole window, and predicted from the others.

    inputs: x_tc, or m_t where network c is hidden;  h = transformer(embed(inputs) + time)
    x^_tc = linear(..)_c + gate_c * (unembed(h_t) - linear(shown networks at t))_c,  scored where hidden

After Thomas, Re & Poldrack (2022). m_t is one learnt number for each position in the window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.models.sequence.config import NetworkBertConfig
from dynml.models.sequence.objectives.pairs import paired_windows
from dynml.models.sequence.objectives.tasks import Task, masked_networks_task
from dynml.models.sequence.sequence_model import MaskedModel
from dynml.models.sequence.windows import Windows


class NetworkBert(MaskedModel):
    """Network-BERT.

    Parameters
    ----------
    config : NetworkBertConfig
    n_channels : int
    """

    family_name = "network_bert"
    linear_baseline = "ridge_from_other_networks"
    takes_montages = True

    def __init__(self, config: NetworkBertConfig, n_channels: int) -> None:
        super().__init__(config, n_channels)
        self.mask_token_T = nn.Parameter(torch.randn(config.n_positions * config.patch_length))

    def task_of(self, windows: Windows, subject_B: Tensor, dataset_B: Tensor) -> Task:
        """Hide networks of windows, or of pairs."""
        if not self.config.next_sequence:
            return masked_networks_task(windows, self.config.masking_rate)
        gaps = self.config.max_gap, self.config.min_gap
        pairs, follows_B = paired_windows(windows, subject_B, dataset_B, *gaps)
        return masked_networks_task(pairs, self.config.masking_rate, follows_B)

    def _inputs(self, task: Task) -> Tensor:
        n_times = task.windows.shape[1]
        return torch.where(task.scored, self.mask_token_T[:n_times, None], task.windows.signals_BTC)
