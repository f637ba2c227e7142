"""Special tokens among a window's samples: where they stand, and how to get the samples' states back.

Without pairs:  x_1 .. x_n CLS
With pairs:     a_1 .. a_m SEP b_1 .. b_k SEP CLS

The class token comes last, so that a causal backbone has seen everything when it reaches it, and it is read where it
was put: its position follows from the window's length, not from the padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.models.sequence.windows import Windows

N_TOKENS, N_TOKENS_OF_PAIR = 1, 3


@dataclass(frozen=True)
class TokenLayout:
    """Positions of samples in the extended sequence of S = T + 1 or T + 3."""

    sample_BS: Tensor
    """Which sample stands at each position, int64; anything where a token or padding does."""

    is_separator_BS: Tensor
    is_class_BS: Tensor
    mask_BS: Tensor
    """Positions that hold a sample or a token."""

    observed_BS: Tensor | None
    """Positions that hold a token or a sample that was observed; None where no sample is masked."""

    token_types_BS: Tensor | None
    position_BT: Tensor
    """Position of each sample, int64."""

    class_position_B: Tensor

    @classmethod
    def of(cls, windows: Windows) -> TokenLayout:
        """Lay out windows, in one piece or in two."""
        lengths_B1 = windows.lengths_B[:, None]
        n_times = windows.mask_BT.shape[1]
        samples_T = torch.arange(n_times, device=windows.device)
        types_BT = windows.token_types_BT
        if types_BT is None:
            positions_S = torch.arange(n_times + N_TOKENS, device=windows.device)
            is_class_BS = positions_S == lengths_B1
            sample_BS = positions_S.clamp(max=n_times - 1).expand(is_class_BS.shape)
            return cls(
                sample_BS=sample_BS,
                is_separator_BS=torch.zeros_like(is_class_BS),
                is_class_BS=is_class_BS,
                mask_BS=positions_S <= lengths_B1,
                observed_BS=_observed(windows, sample_BS, positions_S < lengths_B1, is_class_BS),
                token_types_BS=None,
                position_BT=samples_T.expand(windows.mask_BT.shape),
                class_position_B=windows.lengths_B,
            )
        positions_S = torch.arange(n_times + N_TOKENS_OF_PAIR, device=windows.device)
        first_B1 = (types_BT == 0).sum(dim=1, keepdim=True)
        is_second_BS = (positions_S > first_B1) & (positions_S <= lengths_B1 + 1)
        sample_BS = (positions_S - is_second_BS.long()).clamp(max=n_times - 1)
        is_separator_BS = (positions_S == first_B1) | (positions_S == lengths_B1 + 1)
        is_class_BS = positions_S == lengths_B1 + 2
        is_token_BS = is_separator_BS | is_class_BS
        return cls(
            sample_BS=sample_BS,
            is_separator_BS=is_separator_BS,
            is_class_BS=is_class_BS,
            mask_BS=positions_S <= lengths_B1 + 2,
            observed_BS=_observed(windows, sample_BS, (positions_S <= lengths_B1) & ~is_token_BS, is_token_BS),
            token_types_BS=is_second_BS.long(),
            position_BT=samples_T + types_BT,
            class_position_B=windows.lengths_B + 2,
        )

    def laid_out(self, samples_BTd: Tensor, separator_d: Tensor, class_d: Tensor) -> Tensor:
        """Put embedded samples and tokens in their places, (B, S, d); 0 in padding."""
        index_BSd = self.sample_BS[:, :, None].expand(-1, -1, samples_BTd.shape[2])
        extended = samples_BTd.gather(1, index_BSd) * self.mask_BS[:, :, None]
        extended = torch.where(self.is_separator_BS[:, :, None], separator_d.to(extended.dtype), extended)
        return torch.where(self.is_class_BS[:, :, None], class_d.to(extended.dtype), extended)

    def samples_of(self, states_BSd: Tensor) -> Tensor:
        """States of the samples, (B, T, d)."""
        return states_BSd.gather(1, self.position_BT[:, :, None].expand(-1, -1, states_BSd.shape[2]))

    def class_of(self, states_BSd: Tensor) -> Tensor:
        """States of the class token, (B, d)."""
        return states_BSd.gather(1, self.class_position_B[:, None, None].expand(-1, 1, states_BSd.shape[2]))[:, 0]


def _observed(windows: Windows, sample_BS: Tensor, is_sample_BS: Tensor, is_token_BS: Tensor) -> Tensor | None:
    if windows.observed_BT is None:
        return None
    return is_token_BS | (is_sample_BS & windows.observed_BT.gather(1, sample_BS))
