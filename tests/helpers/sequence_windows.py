"""Windows for tests of sequence models: padded, of several lengths, of three subjects and two data sets."""

from __future__ import annotations

import torch

from dynml.models.sequence.windows import Windows

LENGTHS = (20, 13, 4, 7, 20, 16)
SUBJECTS = torch.tensor([0, 0, 1, 1, 2, 3])
DATASETS = torch.tensor([0, 0, 0, 0, 1, 0])
SETTLED = {"time_precision": 0.25, "max_seconds": 50.0}
SMALL = {"embedding_dim": 32, "n_layers": 2, "n_heads": 2, **SETTLED}


def windows(n_channels: int = 6, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> Windows:
    """Random signals at 2 Hz, zero in padding."""
    generator = torch.Generator().manual_seed(seed)
    n_times = max(lengths)
    mask_BT = torch.arange(n_times) < torch.tensor(lengths)[:, None]
    signals_BTC = torch.randn(len(lengths), n_times, n_channels, generator=generator) * mask_BT[:, :, None]
    seconds_BT = (0.5 * torch.arange(n_times, dtype=torch.float64)).expand(len(lengths), n_times)
    return Windows(signals_BTC, mask_BT, seconds_BT, 7919 * torch.arange(len(lengths)) + seed)
