"""Causal sequence model: each sample is predicted from those before it.

    h_1 .. h_T = transformer(embed(x_1) + time(s_1), ..)        a state sees samples 1 .. t
    x^_(t+1)   = linear(x_t, x_(t-1), ..) + gate * (unembed(h_t) - linear(..))

With patches (`patch_length` P), h_n sees patches 1 .. n, and all P samples of patch n + 1 are predicted from it; the
linear path forecasts them from the samples before the patch.

Channels u_t of a second group (`dataset.conditioning_group`) stand beside x_t wherever it is looked at, in the network
and in the linear path: x_(t+1) is predicted from x_1 .. x_t and u_1 .. u_t. They are not predicted.

All positions of a window are targets at once. learning-from-brains (Thomas, Re & Poldrack 2022) hides one sample of
each window instead and predicts that one alone; `objective="single_mask"` does so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.objectives.tasks import Task, next_sample_task, single_position_task
from dynml.models.sequence.sequence_model import Nonlinear, TransformerModel
from dynml.models.sequence.windows import Windows


class Csm(TransformerModel):
    """Causal sequence model, CSM.

    Parameters
    ----------
    config : CsmConfig
    n_channels : int
    """

    family_name = "csm"
    linear_baseline = "ridge_var"
    causal = True
    takes_conditioning = True
    takes_montages = True

    def __init__(self, config: CsmConfig, n_channels: int) -> None:
        super().__init__(config, n_channels)
        if config.objective == "single_mask":
            self.mask_token_C = nn.Parameter(torch.randn(self.n_columns))

    def task_of(self, windows: Windows, subject_B: Tensor, dataset_B: Tensor) -> Task:
        """All samples (or patches) but the first, or one sample of each window."""
        windows = windows.conditioned(self.n_conditioning)
        if self.config.objective == "single_mask":
            return single_position_task(windows).of_present_channels()
        return next_sample_task(windows, self.config.patch_length).of_present_channels()

    def nonlinear_prediction(self, task: Task) -> Nonlinear:
        """What the nonlinear path predicts of each sample (patch) from those before it; 0 for a window's first."""
        rows_BTR = task.windows.rows_BTR
        if self.config.objective == "single_mask":
            mask_token_C = self.of_channels(self.mask_token_C)
            inputs_BTR = torch.where(task.scored, mask_token_C, rows_BTR * task.visible)
            return Nonlinear(self.unembedder(self._states(inputs_BTR, task.windows)))
        states_BNd = self._states(rows_BTR, task.windows)[:, :-1]
        next_BNF = nn.functional.pad(self.unembedder(states_BNd), (0, 0, 1, 0))
        of_next_BNd = nn.functional.pad(states_BNd, (0, 0, 1, 0))
        return Nonlinear(self._samples_of_patches(next_BNF, task.windows), states_BNd=of_next_BNd)
