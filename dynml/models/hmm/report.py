"""What is said of a trained HMM beside its free energies: findings in plain words."""

from __future__ import annotations

from typing import Any

from dynml.ops.gaussian_hmm import Statistics
from dynml.training.baselines import names_of_better

SELDOM = 0.01
"""A state with less than this share of the samples is named among the findings."""

ADVICE = "Consider fewer states, a stronger covariance prior, or more data."


def findings(statistics: Statistics, report: dict[str, Any], rank: int) -> list[str]:
    """Say what a statistician would point out: states that hardly occur, baselines that win, missing dimensions."""
    shares = statistics.occupancies_K / statistics.occupancies_K.sum()
    seldom = [f"{state} ({share:.2%})" for state, share in enumerate(shares.tolist(), start=1) if share < SELDOM]
    said = [f"These states hardly occur: {', '.join(seldom)}. Consider fewer states."] if seldom else []
    n_channels = statistics.first_moments_KC.shape[1]
    if rank < n_channels:
        said.append(
            f"The data have rank {rank} of {n_channels}: missing dimensions were given a small variance, so compare "
            "free energies with runs on the same data only."
        )
    for subset in ("training", "validation"):
        better = names_of_better(report["free_energy"], report["baselines"], subset)
        if better:
            names = " and ".join(name.replace("_", " ") for name in better)
            said.append(f"On {subset} data the HMM is no better than one of its baselines ({names}). {ADVICE}")
    return said
