"""CortexMAE of parcels: tokens are patches of four seconds of one parcel of fMRI.

A frame x_t of C parcels (z-scored over each run before) becomes y_t = clip((x_t - mean(x_t)) / (sd(x_t) + 1e-6)), with
the mean over parcels and the standard deviation of divisor C - 1. A clip is 16 frames at 1 s; the token of the patch n
and the parcel c is

    h_nc = W (y_4n,c .. y_4n+3,c) + b + p_n + q_c

with learnt p and q. A class token without a place stands before them, and layers of self-attention and feed-forward
parts, each of a LayerNorm (epsilon 1e-6) of what comes in and added to it, go over all of them; a LayerNorm ends them.

A longer trial is cut into clips, and what does not fill one is left out; a shorter one has fewer patches, the last of
which is filled up by zeros. Patches without an observed frame are seen by none.

Reference: Lane et al. 2025, "Scaling vision transformers for functional MRI with flat maps", arXiv:2510.13768; He et
al. 2022, "Masked autoencoders are scalable vision learners", CVPR.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.models.sequence.backbones.published.backbone import PublishedBackbone, mean_of_known
from dynml.models.sequence.backbones.published.config import CortexMaeConfig
from dynml.models.sequence.backbones.transformer import FeedForward, SelfAttention

FRAME_EPSILON, NORM_EPSILON = 1e-6, 1e-6


class CortexMae(PublishedBackbone):
    """Encoder of CortexMAE; see the top of the file.

    Parameters
    ----------
    config : CortexMaeConfig
    n_channels : int
        Parcels C, those of the weights.
    """

    def __init__(self, config: CortexMaeConfig, n_channels: int) -> None:
        super().__init__(config, n_channels)
        assert n_channels == config.n_parcels
        self.n_features = config.embedding_dim
        self.embedder = ClipEmbedder(config)
        self.encoder = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.embedding_dim, eps=NORM_EPSILON)

    def features(self, signals_BTC: Tensor, known_BT: Tensor, pooling: str = "mean") -> Tensor:
        """Mean of all tokens of a trial, or of the class tokens of its clips, (B, d)."""
        clips_MFC, known_MN = self.clips(normalized(signals_BTC, self.config.clip), known_BT)
        class_Md, tokens_MNCd = self.tokens(clips_MFC, known_MN)
        n_trials, n_parcels = len(signals_BTC), signals_BTC.shape[2]
        if pooling == "class_token":
            return class_Md.unflatten(0, (n_trials, -1)).mean(dim=1)
        known = known_MN.unflatten(0, (n_trials, -1)).flatten(1).repeat_interleave(n_parcels, dim=1)
        return mean_of_known(tokens_MNCd.unflatten(0, (n_trials, -1)).flatten(1, 3), known)

    def clips(self, frames_BTC: Tensor, known_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Cut trials into M = B n_clips clips of F frames, (M, F, C), and say which of N patches are known, (M, N)."""
        length, n_frames = self.config.patch_length, self.config.samples_read(frames_BTC.shape[1])
        frames = nn.functional.pad(frames_BTC[:, :n_frames], (0, 0, 0, -n_frames % length))
        known = nn.functional.pad(known_BT[:, :n_frames], (0, -n_frames % length))
        of_clip = min(frames.shape[1], self.config.n_times * length)
        clips = frames.unflatten(1, (-1, of_clip)).flatten(0, 1)
        return clips, known.unflatten(1, (-1, of_clip // length, length)).any(dim=3).flatten(0, 1)

    def tokens(self, clips_MFC: Tensor, known_MN: Tensor) -> tuple[Tensor, Tensor]:
        """Class tokens (M, d) and tokens of patches and parcels (M, N, C, d)."""
        embedded = self.embedder(clips_MFC)
        states = self.final_norm(self.encoded(embedded, self._seen(known_MN)))
        return states[:, 0], states[:, 1:].unflatten(1, (-1, self.n_channels))

    def _seen(self, known_MN: Tensor) -> Tensor | None:
        """Keys that may be looked at, (M, 1, 1, 1 + N C); None for all, where that is known without a wait."""
        if known_MN.device.type == "cpu" and bool(known_MN.all()):
            return None
        known = known_MN.repeat_interleave(self.n_channels, dim=1)
        return nn.functional.pad(known, (1, 0), value=True)[:, None, None]


class ClipEmbedder(nn.Module):
    """Clips to tokens with their places, after the class token; see the top of the file."""

    def __init__(self, config: CortexMaeConfig) -> None:
        super().__init__()
        width = config.embedding_dim
        self.patch_length = config.patch_length
        self.patches = nn.Linear(config.patch_length, width)
        self.parcels_Cd = nn.Parameter(torch.zeros(config.n_parcels, width))
        self.times_Nd = nn.Parameter(torch.zeros(config.n_times, width))
        self.class_d = nn.Parameter(torch.zeros(width))

    def forward(self, clips_MFC: Tensor) -> Tensor:
        """(M, F, C) to (M, 1 + N C, d)."""
        patches_MNCP = clips_MFC.unflatten(1, (-1, self.patch_length)).transpose(2, 3)
        times_N1d = self.times_Nd[: patches_MNCP.shape[1], None]
        tokens = (self.patches(patches_MNCP) + (times_N1d + self.parcels_Cd)).flatten(1, 2)
        return torch.cat([self.class_d.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], dim=1)


class Layer(nn.Module):
    """Self-attention and a feed-forward layer; see the top of the file."""

    def __init__(self, config: CortexMaeConfig) -> None:
        super().__init__()
        width = config.embedding_dim
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        # Attention weights of 1,600 tokens are not held in memory, as dropping some of them would need.
        self.attention = SelfAttention(width, config.n_heads, 0.0)
        self.feed_forward_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.feed_forward = FeedForward(width, config.n_hidden, "gelu")
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_MSd: Tensor, seen: Tensor | None) -> Tensor:
        """The next tokens, (M, S, d)."""
        hidden = hidden_MSd + self.dropout(self.attention(self.attention_norm(hidden_MSd), seen, False))
        tokens: Tensor = hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        return tokens


def normalized(frames_BTC: Tensor, clip: float) -> Tensor:
    """Frames of mean 0 and standard deviation 1 over parcels, clipped."""
    mean, deviation = frames_BTC.mean(dim=2, keepdim=True), frames_BTC.std(dim=2, keepdim=True)
    return ((frames_BTC - mean) / (deviation + FRAME_EPSILON)).clamp(-clip, clip)
