"""Spectra of hidden patches as a target: what oscillates in a patch, whatever its phases.

    s_fc = 1/2 log(|sum_t x_tc exp(-2 pi i f t / P)|^2 / (P v_c) + 0.001),   f = 0 .. P / 2

of the P samples of a patch; v_c is the channel's variance in the training subset, so that s is in nepers (8.7 dB) above
white noise of that variance. A prediction is that of a ridge regression on the spectra of the nearest shown patches
plus the head's, which starts at 0.

Shapes: B windows, N patches of P samples, C channels, F = P // 2 + 1 frequencies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dynml.models.sequence.objectives.tasks import Task
from dynml.models.sequence.targets.further_target import (
    FurtherPrediction,
    FurtherTarget,
    nearer_of,
    nearest_shown,
    shown_tokens,
    taken,
)
from dynml.models.sequence.windows import in_patches

FLOOR = 1e-3
"""Added to the relative power, without which one ordinate near 0 would outweigh all others."""
RIDGE = 1e-2
"""Penalty, relative to the mean variance of the regressors."""
MOST_NUMBERS, FEWEST_WINDOWS = 10_000_000, 16
"""Of the training subset, that the baselines are fitted to."""


class SpectralTarget(FurtherTarget):
    """Log amplitude spectra of patches.

    Parameters
    ----------
    config : SpectralConfig
    n_channels : int
        C, of those that are predicted.
    causal : bool
        Whether only patches before the predicted one are shown.
    """

    name = "spectra"
    scale_C: Tensor
    usual_FC: Tensor
    coefficients_CGF: Tensor
    intercept_FC: Tensor

    def __init__(self, config: Any, n_channels: int, *, causal: bool) -> None:
        super().__init__()
        self.weight, self.causal, self.length = config.spectral_weight, causal, config.patch_length
        self._by_medians = config.loss != "l2"
        n_frequencies = config.patch_length // 2 + 1
        self.head = nn.Linear(config.embedding_dim, n_frequencies * n_channels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        n_regressors = n_frequencies * (1 if causal else 2)
        self.register_buffer("scale_C", torch.ones(n_channels))
        self.register_buffer("usual_FC", torch.zeros(n_frequencies, n_channels))
        self.register_buffer("coefficients_CGF", torch.zeros(n_channels, n_regressors, n_frequencies))
        self.register_buffer("intercept_FC", torch.zeros(n_frequencies, n_channels))

    def log_amplitudes(self, signals_BTC: Tensor) -> Tensor:
        """Spectra of the patches of windows, (B, N, F, C) nepers."""
        patches_BNPC = in_patches(signals_BTC.float() / self.scale_C, self.length)
        power = torch.view_as_real(torch.fft.rfft(patches_BNPC, dim=2)).square().sum(dim=-1) / self.length
        return 0.5 * torch.log(power + FLOOR)

    def forward(self, model: Any, task: Task, states_BNd: Tensor) -> FurtherPrediction:
        """Predict the spectra of patches that are scored whole."""
        # Autocast would round the regression, at which training is to begin.
        with torch.no_grad(), torch.autocast(states_BNd.device.type, enabled=False):
            target = self.log_amplitudes(task.windows.signals_BTC)
            ridge = self._ridge(task, target)
        further = self.head(states_BNd).unflatten(-1, self.usual_FC.shape)
        scored_BN = in_patches(task.scored[:, :, 0], self.length).all(dim=2)
        return FurtherPrediction(ridge + further, target, scored_BN[:, :, None, None])

    def baselines(self, task: Task, prediction: FurtherPrediction) -> dict[str, Tensor]:
        """The usual spectrum of each channel, that of the nearest shown patch, and the ridge regression."""
        target = prediction.target
        return {
            "usual_spectrum": self.usual_FC,
            "nearest_spectrum": self.usual_FC + self._nearest(task, target),
            "ridge_spectra": self._ridge(task, target),
        }

    @torch.no_grad()
    def fit(self, passes: Any, window_length: int) -> None:
        """Find the usual spectra, and those of a patch by its neighbours'."""
        # Channels that condition a model stand behind those that it predicts.
        n_channels = len(self.scale_C)
        self.scale_C.copy_(passes.mean_and_scale[1][:n_channels])
        n_windows = max(FEWEST_WINDOWS, MOST_NUMBERS // (window_length * n_channels))
        windows = passes.drawn_windows(window_length, n_windows)[:, :, :n_channels]
        # The last patch of a window may be short; one with masked samples or padding is NaN throughout.
        spectra = self.log_amplitudes(windows[:, : window_length // self.length * self.length])
        whole_BN = spectra.isfinite().all(dim=(2, 3))
        if not whole_BN.any():
            return
        self.usual_FC.copy_(self._centre(spectra[whole_BN]))
        known = torch.where(whole_BN[:, :, None, None], spectra - self.usual_FC, 0.0).double()
        before, after = self._neighbours(known)
        used_BN = whole_BN & nn.functional.pad(whole_BN[:, :-1], (1, 0))
        if not self.causal:
            used_BN &= nn.functional.pad(whole_BN[:, 1:], (0, 1))
        if not used_BN.any():
            return
        regressors = before if self.causal else torch.cat([before, after], dim=2)
        given_nGC, told_nFC = regressors[used_BN], known[used_BN]
        products = torch.einsum("ngc,nhc->cgh", given_nGC, given_nGC)
        penalty = RIDGE * products.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
        identity = torch.eye(products.shape[1], dtype=products.dtype, device=products.device)
        right = torch.einsum("ngc,nfc->cgf", given_nGC, told_nFC)
        coefficients = torch.linalg.solve(products + penalty[:, None, None] * identity, right)
        self.coefficients_CGF.copy_(coefficients)
        self.intercept_FC.copy_(self._centre(told_nFC - torch.einsum("ngc,cgf->nfc", given_nGC, coefficients)))

    def _centre(self, values_nFC: Tensor) -> Tensor:
        """The constant of the lowest loss: medians for losses that grow linearly."""
        return values_nFC.median(dim=0).values if self._by_medians else values_nFC.mean(dim=0)

    @staticmethod
    def _neighbours(spectra: Tensor) -> tuple[Tensor, Tensor]:
        """What stands before and after each patch, 0 at the borders."""
        return (
            nn.functional.pad(spectra[:, :-1], (0, 0, 0, 0, 1, 0)),
            nn.functional.pad(spectra[:, 1:], (0, 0, 0, 0, 0, 1)),
        )

    def _ridge(self, task: Task, spectra: Tensor) -> Tensor:
        before_BN, after_BN = nearest_shown(shown_tokens(task, self.length))
        centred = spectra - self.usual_FC
        regressors = taken(centred, before_BN)
        if not self.causal:
            regressors = torch.cat([regressors, taken(centred, after_BN)], dim=2)
        told = torch.einsum("bngc,cgf->bnfc", regressors, self.coefficients_CGF)
        return self.usual_FC + self.intercept_FC + told

    def _nearest(self, task: Task, spectra: Tensor) -> Tensor:
        """Deviation of the nearest shown patch's spectrum from the usual one; 0 where none is shown."""
        before_BN, after_BN = nearest_shown(shown_tokens(task, self.length))
        nearest_BN = before_BN if self.causal else nearer_of(before_BN, after_BN)
        return taken(spectra - self.usual_FC, nearest_BN)
