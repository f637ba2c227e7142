"""The linear predictions that a sequence model must beat, by name.

| name | looks at |
|---|---|
| zero | nothing |
| persistence | the last visible sample |
| ar1 | the same |
| ridge_var | all channels of the last visible samples |
| interpolation | the nearest visible sample on each side |
| ridge_both_sides | all channels of the nearest visible samples on both sides |
| ridge_from_other_networks | visible networks of the same sample |
| pca | the whole window, through a code as large as the autoencoder's |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.baselines.both_sides import RidgeBothSides
from dynml.models.sequence.baselines.by_montage import ByMontage
from dynml.models.sequence.baselines.networks import RidgeFromOtherNetworks
from dynml.models.sequence.baselines.pca import Pca
from dynml.models.sequence.baselines.simple import Ar1, Interpolation, Persistence, Zero
from dynml.models.sequence.baselines.var import RidgeVar

BASELINE_NAMES = (
    "zero",
    "persistence",
    "ar1",
    "ridge_var",
    "interpolation",
    "ridge_both_sides",
    "ridge_from_other_networks",
    "pca",
)
_CAUSAL = BASELINE_NAMES[:4]
_OF_FAMILY = {
    "csm": _CAUSAL,
    "sequence_bert": (*_CAUSAL, "interpolation", "ridge_both_sides"),
    "network_bert": ("zero", "ridge_from_other_networks"),
    "autoencoder": ("zero", "pca"),
}


def applicable(family: str) -> tuple[str, ...]:
    """Names of the baselines that make sense for a family."""
    return _OF_FAMILY[family]


def make_baseline(
    name: str,
    n_channels: int,
    n_lags: int = 1,
    window_length: int | None = None,
    code_size: int | None = None,
    *,
    n_conditioning: int = 0,
    montages: Sequence[Sequence[int]] | None = None,
) -> Baseline:
    """Make a baseline that has not been fitted, or to load the state of a fitted one into.

    Parameters
    ----------
    name : str
        One of `BASELINE_NAMES`.
    n_channels : int
        Those that are predicted.
    n_lags : int
        Samples that ridge_var looks back, and ridge_both_sides looks to either side.
    window_length, code_size : int, optional
        Of pca, which needs both.
    n_conditioning : int
        Channels of a second group, which ridge_var looks at, too.
    montages : sequence of list of int, optional
        Numbers of the channels of each montage, where recordings have different ones: a baseline is made for each.
    """
    if montages is not None:
        beside: dict[str, Any] = {"window_length": window_length, "code_size": code_size}
        return ByMontage([make_baseline(name, len(own), n_lags, **beside) for own in montages], montages)
    match name:
        case "zero":
            return Zero()
        case "persistence":
            return Persistence()
        case "ar1":
            return Ar1(n_channels)
        case "ridge_var":
            return RidgeVar(n_channels, n_lags, n_conditioning)
        case "interpolation":
            return Interpolation()
        case "ridge_both_sides":
            return RidgeBothSides(n_channels, n_lags)
        case "ridge_from_other_networks":
            return RidgeFromOtherNetworks(n_channels)
    assert name == "pca", name
    assert window_length is not None
    assert code_size is not None
    return Pca(n_channels, window_length, code_size)
