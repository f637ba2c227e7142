"""Pairs of sequences for the next-sequence task, which asks whether the second part follows on the first.

A window of n samples is divided into a first part, a gap of g samples that are left out, and a second part. In half of
the pairs the second part is exchanged for that of another window of the batch, of the same subject where there is one,
else of the same data set: telling data sets apart would be no task (Devlin et al. 2019, section 3.1, has the idea).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.models.sequence.windows import Windows
from dynml.ops.keyed_noise import derived_keys, keyed_integers, keyed_uniform

_GAP, _COIN, _PARTNER = 111, 112, 113
SHORTEST_WITH_GAP = 4


def paired_windows(
    windows: Windows, subject_B: Tensor, dataset_B: Tensor, max_gap: int, min_gap: int = 1
) -> tuple[Windows, Tensor]:
    """Divide windows into two parts and exchange some second parts.

    Parameters
    ----------
    windows : Windows
    subject_B, dataset_B : Tensor, (B,), int64
        Whose each window is.
    max_gap, min_gap : int
        Gaps are drawn evenly from `min_gap` to `max_gap` samples; windows too short for theirs have none.

    Returns
    -------
    windows : Windows
        First and second part one after the other, seconds counted anew in the second, `token_types_BT` 0 and 1.
    follows_B : Tensor, bool
        Whether the second part is the window's own.
    """
    n_windows, n_times, _ = windows.shape
    rows_B = torch.arange(n_windows, device=windows.device)
    lengths_B, first_B, second_start_B = _divided(windows, max_gap, min_gap)
    partner_B, has_partner_B = _partners(windows.keys_B, subject_B, dataset_B)
    coin_B = keyed_uniform(derived_keys(windows.keys_B, _COIN), torch.zeros_like(windows.keys_B)) < 0.5
    follows_B = coin_B | ~has_partner_B
    donor_B = torch.where(follows_B, rows_B, partner_B)
    second_B = (lengths_B - second_start_B)[donor_B].minimum(n_times - first_B)

    positions_T = torch.arange(n_times, device=windows.device)
    is_first_BT = positions_T < first_B[:, None]
    row_BT = torch.where(is_first_BT, rows_B[:, None], donor_B[:, None])
    in_second_BT = (positions_T - first_B[:, None]).clamp(min=0)
    column_BT = torch.where(is_first_BT, positions_T, in_second_BT + second_start_B[donor_B][:, None])
    column_BT = column_BT.clamp(max=n_times - 1)
    mask_BT = positions_T < (first_B + second_B)[:, None]
    signals_BTC = torch.where(mask_BT[:, :, None], windows.signals_BTC[row_BT, column_BT], 0.0)
    own_start_BT = torch.where(is_first_BT, 0, second_start_B[donor_B][:, None])
    seconds_BT = windows.seconds_BT[row_BT, column_BT] - windows.seconds_BT[row_BT, own_start_BT]
    observed_BT = None if windows.observed_BT is None else mask_BT & windows.observed_BT[row_BT, column_BT]
    types_BT = (~is_first_BT).long()
    pairs = Windows(signals_BTC, mask_BT, seconds_BT, windows.keys_B, types_BT, observed_BT=observed_BT)
    return pairs, follows_B


def has_both_parts(windows: Windows) -> Tensor | None:
    """Whether something was observed of both parts of each pair, (B,) bool; None where no sample is masked."""
    if windows.observed_BT is None:
        return None
    assert windows.token_types_BT is not None
    is_second_BT = windows.token_types_BT == 1
    return (windows.observed_BT & ~is_second_BT).any(dim=1) & (windows.observed_BT & is_second_BT).any(dim=1)


def _divided(windows: Windows, max_gap: int, min_gap: int) -> tuple[Tensor, Tensor, Tensor]:
    """Length of each window, of its first part, and where its second part starts."""
    lengths_B = windows.lengths_B
    gaps_B = torch.zeros_like(lengths_B)
    if max_gap:
        bounds_B = torch.full_like(lengths_B, max_gap - min_gap + 1)
        gaps_B = keyed_integers(derived_keys(windows.keys_B, _GAP), torch.zeros_like(lengths_B), bounds_B) + min_gap
        gaps_B = torch.where(gaps_B > lengths_B - SHORTEST_WITH_GAP, 0, gaps_B)
    first_B = (lengths_B - gaps_B) // 2
    return lengths_B, first_B, first_B + gaps_B


def _partners(keys_B: Tensor, subject_B: Tensor, dataset_B: Tensor) -> tuple[Tensor, Tensor]:
    """Another window for each, and whether there is one: of the same subject if possible, else of the same data set."""
    n_windows = len(keys_B)
    noise_BB = keyed_uniform(derived_keys(keys_B, _PARTNER)[:, None], torch.arange(n_windows, device=keys_B.device))
    same_dataset_BB = dataset_B[:, None] == dataset_B
    preference_BB = noise_BB + (subject_B[:, None] == subject_B).float()
    preference_BB = torch.where(same_dataset_BB, preference_BB, -1.0).fill_diagonal_(-1.0)
    best_B, partner_B = preference_BB.max(dim=1)
    return partner_B, best_B >= 0
