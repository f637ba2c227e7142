"""CBraMod: tokens are patches of one second of one channel of EEG, which look across channels and across patches.

With the patches x_cn (C channels, N patches, P = 200 samples of EEG in 100 uV at 200 Hz) of a trial side by side:

    g    = three times: convolution along the patch, GroupNorm (5 groups of 25 maps) over all patches, GELU
           kernels 49 (stride 25), 3 and 3; the 25 maps of 8 numbers of each patch, one after the other, are d = 200
    e_cn = g_cn + W |rfft(x_cn)| / P + b
    h_cn = e_cn + (depthwise convolution of e over channels (19) and patches (7), zeros beyond the borders)

and every layer, of the halves u and v of each token after a LayerNorm,

    h'   = h + [attention of u across the channels of a patch, attention of v across the patches of a channel]
    h''  = h' + FeedForward(LayerNorm(h'))

Each attention has half of the heads. No LayerNorm ends it. Two channels count as neighbours in the convolution where
they are neighbours in the order of channels. Patches without an observed sample are the patch that stood for hidden
ones in pre-training.

Reference: Wang et al. 2025, "CBraMod: a criss-cross brain foundation model for EEG decoding", ICLR.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.models.sequence.backbones.published.backbone import PublishedBackbone, mean_of_known
from dynml.models.sequence.backbones.published.config import CBraModConfig
from dynml.models.sequence.backbones.transformer import FeedForward, SelfAttention

N_MAPS, N_GROUPS = 25, 5
FIRST_KERNEL, FIRST_PADDING, KERNEL = 49, 24, 3
POSITION_KERNEL = (19, 7)
"""Channels and patches."""


class CBraMod(PublishedBackbone):
    """Encoder of CBraMod; see the top of the file.

    Parameters
    ----------
    config : CBraModConfig
    n_channels : int
        C, any number.
    """

    def __init__(self, config: CBraModConfig, n_channels: int) -> None:
        super().__init__(config, n_channels)
        self.n_features = n_channels * config.embedding_dim
        self.embedder = PatchEmbedder(config)
        self.encoder = nn.ModuleList(CrissCrossLayer(config) for _ in range(config.n_layers))

    def features(self, signals_BTC: Tensor, known_BT: Tensor, pooling: str = "mean") -> Tensor:
        """Mean over patches of each channel's tokens, (B, C d)."""
        length = self.config.patch_length
        n_samples = self.config.samples_read(signals_BTC.shape[1])
        n_missing = max(0, n_samples - signals_BTC.shape[1])
        signals_BTC = nn.functional.pad(signals_BTC[:, :n_samples], (0, 0, 0, n_missing))
        known_BT = nn.functional.pad(known_BT[:, :n_samples], (0, n_missing))
        patches_BCNP = signals_BTC.transpose(1, 2).unflatten(2, (-1, length))
        known_BN = known_BT.unflatten(1, (-1, length)).any(dim=2)
        return mean_of_known(self.tokens(patches_BCNP, known_BN), known_BN[:, None]).flatten(1)

    def tokens(self, patches_BCNP: Tensor, known_BN: Tensor) -> Tensor:
        """Tokens of patches, (B, C, N, d).

        Parameters
        ----------
        patches_BCNP : Tensor
            In 100 uV at 200 Hz.
        known_BN : Tensor, bool
            Patches that have an observed sample.
        """
        return self.encoded(self.embedder(patches_BCNP, known_BN))


class PatchEmbedder(nn.Module):
    """Patches to tokens with their places; see the top of the file."""

    def __init__(self, config: CBraModConfig) -> None:
        super().__init__()
        width, length = config.embedding_dim, config.patch_length
        self.convolutions = nn.Sequential(
            *_convolution(1, FIRST_KERNEL, FIRST_PADDING, stride=N_MAPS),
            *_convolution(N_MAPS, KERNEL, KERNEL // 2),
            *_convolution(N_MAPS, KERNEL, KERNEL // 2),
        )
        self.spectrum = nn.Linear(length // 2 + 1, width)
        self.dropout = nn.Dropout(config.dropout)
        self.places = nn.Conv2d(
            width, width, POSITION_KERNEL, padding=(POSITION_KERNEL[0] // 2, POSITION_KERNEL[1] // 2), groups=width
        )
        self.hidden_patch_P = nn.Parameter(torch.zeros(length))

    def forward(self, patches_BCNP: Tensor, known_BN: Tensor) -> Tensor:
        """(B, C, N, P) to (B, C, N, d)."""
        patches = torch.where(known_BN[:, None, :, None], patches_BCNP, self.hidden_patch_P)
        grid = patches.shape[1:3]
        maps = self.convolutions(patches.flatten(1, 2)[:, None])  # (B, maps, C N, 8)
        tokens = maps.transpose(1, 2).flatten(2).unflatten(1, grid)
        # The transform knows no half precision.
        amplitudes = torch.fft.rfft(patches.float(), norm="forward").abs()
        tokens = tokens + self.dropout(self.spectrum(amplitudes))
        embedded: Tensor = tokens + self.places(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return embedded


class CrissCrossLayer(nn.Module):
    """Attention across channels and across patches, and a feed-forward layer; see the top of the file."""

    def __init__(self, config: CBraModConfig) -> None:
        super().__init__()
        width, n_heads = config.embedding_dim, config.n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.across_channels = SelfAttention(width // 2, n_heads // 2, config.dropout)
        self.across_patches = SelfAttention(width // 2, n_heads // 2, config.dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, config.n_hidden, "gelu")
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_BCNd: Tensor) -> Tensor:
        """The next tokens, (B, C, N, d)."""
        n_trials = hidden_BCNd.shape[0]
        for_channels, for_patches = self.attention_norm(hidden_BCNd).chunk(2, dim=3)
        taken = self.across_channels(for_channels.transpose(1, 2).flatten(0, 1), None, False)
        of_channels = taken.unflatten(0, (n_trials, -1)).transpose(1, 2)
        taken = self.across_patches(for_patches.flatten(0, 1), None, False)
        of_patches = taken.unflatten(0, (n_trials, -1))
        hidden = hidden_BCNd + self.dropout(torch.cat([of_channels, of_patches], dim=3))
        tokens: Tensor = hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        return tokens


def _convolution(n_inputs: int, kernel: int, padding: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """A convolution along patches that lie side by side, GroupNorm over all of them, and GELU."""
    convolution = nn.Conv2d(n_inputs, N_MAPS, (1, kernel), stride=(1, stride), padding=(0, padding))
    return convolution, nn.GroupNorm(N_GROUPS, N_MAPS), nn.GELU()
