"""Directions that single subjects do not fill, in which all states of a model share the covariance of all data.

Shapes: C channels, K states, L directions that a subject lacks, D directions shared.

Signals of an average reference, of interpolated or of orthogonalised channels have a rank below their number of
channels, and after standardization each subject lacks another direction: together they seem to fill all of them. A
state that lives in one subject could make its covariance as small there as it likes, and everybody else's samples
would then lie outside of it. So no state may tell subjects apart by what they lack.

All is done in the space where the covariance of all data is the identity. With an orthonormal basis V of what is
shared and Q = I - V V', a state's covariance S becomes Q S Q + V V'. That is the maximum of the likelihood, and of the
posterior under a prior of the pooled covariance, among covariances of this form; for one state with the covariance
of all data nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.ops.workers import one_thread

LACKING = 0.5
"""A subject lacks a direction in which it has less than this share of the variance of all data."""

NULL_SHARE = 1e-9
"""Directions with less than this share of the largest variance are absent: float32 rounding leaves some 1e-14."""


@dataclass(frozen=True)
class SharedDirections:
    """Maps covariances, and signals, to those in which some directions are all data's; float64, CPU."""

    kept_CC: Tensor
    """A: takes the shared directions out of a sample (from its left)."""
    common_CC: Tensor
    """Covariance of all data in the shared directions."""
    n_directions: int
    """D."""

    def covariances(self, covariances_KCC: Tensor) -> Tensor:
        """Covariances (K, C, C) with what is shared in the place of their own."""
        shared = self.kept_CC @ covariances_KCC @ self.kept_CC.T + self.common_CC
        return 0.5 * (shared + shared.transpose(-1, -2))

    def signals(self, signals_TC: Tensor, mean_C: Tensor, noise_TC: Tensor) -> Tensor:
        """Signals whose shared directions hold noise with the covariance of all data, and nothing of their own.

        Parameters
        ----------
        signals_TC : Tensor, (T, C)
        mean_C : Tensor, (C,)
            Mean of all data.
        noise_TC : Tensor, (T, C)
            White, of variance 1.
        """
        mean = mean_C.to(signals_TC)
        values, vectors = torch.linalg.eigh(self.common_CC)
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return (signals_TC - mean) @ self.kept_CC.T.to(signals_TC) + mean + noise_TC @ root.to(noise_TC)


@one_thread()
def null_directions(covariance_CC: Tensor) -> Tensor:
    """Combinations of channels that do not vary: an orthonormal basis, (C, L) float64, of channels of variance 1.

    Parameters
    ----------
    covariance_CC : Tensor, (C, C), float64
        Of one subject, or of one run. Channels of no variance are null directions themselves.
    """
    deviations = covariance_CC.diagonal().clamp(min=0).sqrt()
    scales = torch.where(deviations > 0, deviations.reciprocal(), 1.0)
    values, vectors = torch.linalg.eigh(covariance_CC * scales[:, None] * scales)
    return torch.linalg.qr(scales[:, None] * vectors[:, values <= NULL_SHARE * values[-1]]).Q


@one_thread()
def shared_directions(nulls: Sequence[Tensor], pooled_CC: Tensor, ridge: float) -> SharedDirections | None:
    """The fewest directions that leave no subject without variance in the others; None if there is nothing to share.

    Parameters
    ----------
    nulls : sequence of Tensor, (C, L)
        Of every subject or run, by `null_directions`.
    pooled_CC : Tensor, (C, C), float64
        Covariance of all data.
    ridge : float
        Variance that every covariance is given in all directions: what varies less in all data needs no sharing.

    Notes
    -----
    Directions are taken one by one, each the one that most of the subjects lack, until every subject has at least
    `LACKING` of the variance in all that is left.
    """
    n_channels = len(pooled_CC)
    factor = torch.linalg.cholesky(pooled_CC + ridge * torch.eye(n_channels, dtype=torch.float64))
    rest = [_lacking(null.double(), pooled_CC, factor) for null in nulls]
    taken = torch.zeros(n_channels, 0, dtype=torch.float64)
    while taken.shape[1] < n_channels:
        rest = [basis for basis in rest if float(torch.linalg.matrix_norm(basis, 2)) ** 2 > 1 - LACKING]
        if not rest:
            break
        together = torch.zeros(n_channels, n_channels, dtype=torch.float64)
        for basis in rest:
            together += basis @ basis.T
        most = torch.linalg.eigh(together).eigenvectors[:, -1:]
        taken = torch.linalg.qr(torch.cat([taken, most], 1)).Q
        rest = [basis - most @ (most.T @ basis) for basis in rest]
    if not taken.shape[1]:
        return None
    inside = factor @ taken
    whitener = torch.linalg.solve_triangular(factor, torch.eye(n_channels, dtype=torch.float64), upper=False)
    kept = torch.eye(n_channels, dtype=torch.float64) - inside @ (taken.T @ whitener)
    return SharedDirections(kept, inside @ inside.T, taken.shape[1])


def _lacking(null_CL: Tensor, pooled_CC: Tensor, factor_CC: Tensor) -> Tensor:
    """What one subject lacks and all data have, as an orthonormal basis (C, L) of the whitened channels."""
    if not null_CL.shape[1]:
        return null_CL
    basis = torch.linalg.qr(factor_CC.T @ null_CL).Q
    weights = torch.linalg.solve_triangular(factor_CC.T, basis, upper=True)
    values, vectors = torch.linalg.eigh(weights.T @ pooled_CC @ weights)
    return basis @ vectors[:, values > LACKING]
