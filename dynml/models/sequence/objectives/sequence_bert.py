"""Sequence-BERT: whole samples of a window are hidden, and predicted from those on both sides.

    inputs: x_t, or the mask token where x_t is hidden;  h = transformer(embed(inputs) + time)
    x^_t = linear(..) + gate * (unembed(h_t) - linear(nearest shown samples on both sides)),  scored where hidden

After Devlin et al. (2019) and Thomas, Re & Poldrack (2022). Target, mask, token types and the position of the class
token are one and the same layout (`tokens.TokenLayout`), so none can be shifted against another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.models.sequence.config import SequenceBertConfig
from dynml.models.sequence.objectives.pairs import paired_windows
from dynml.models.sequence.objectives.tasks import Task, masked_samples_task
from dynml.models.sequence.sequence_model import MaskedModel
from dynml.models.sequence.targets.latents import LatentTarget
from dynml.models.sequence.windows import Windows


class SequenceBert(MaskedModel):
    """Sequence-BERT.

    Parameters
    ----------
    config : SequenceBertConfig
    n_channels : int
    """

    family_name = "sequence_bert"
    linear_baseline = "ridge_both_sides"
    takes_montages = True

    def __init__(self, config: SequenceBertConfig, n_channels: int) -> None:
        super().__init__(config, n_channels)
        self.mask_token_C = nn.Parameter(torch.randn(self.n_columns))
        if config.latent_weight is not None:
            self.latents = LatentTarget(config, self)

    def task_of(self, windows: Windows, subject_B: Tensor, dataset_B: Tensor) -> Task:
        """Hide samples of windows, or of pairs."""
        if not self.config.next_sequence:
            task = masked_samples_task(windows, self.config.masking_rate, patch_length=self.config.patch_length)
            return task.of_present_channels()
        gaps = self.config.max_gap, self.config.min_gap
        pairs, follows_B = paired_windows(windows, subject_B, dataset_B, *gaps)
        return masked_samples_task(pairs, self.config.masking_rate, follows_B)

    def _inputs(self, task: Task) -> Tensor:
        return torch.where(task.scored, self.of_channels(self.mask_token_C), task.windows.signals_BTC)
