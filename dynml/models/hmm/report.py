"""What is said of a trained HMM beside its free energies: findings in plain words."""

from __future__ import annotations

from typing import Any

from dynml.ops.gaussian_hmm import Statistics
from dynml.training.baselines import names_of_better
from dynml.training.run_moments import RanksOfRuns

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


def words_of_shared(ranks: RanksOfRuns, n_directions: int, n_channels: int) -> str:
    """Say what was done about runs that lack dimensions which others fill, and what else could be."""
    share = "direction" if n_directions == 1 else f"{n_directions} directions"
    text = ranks.describe(n_channels)
    return (
        f"{text[0].upper()}{text[1:]}, and lack other directions than one another, as after an average reference or "
        f"interpolation: all states share the covariance of all data in the {share} concerned. To model what the runs "
        f'have in common only, reduce the channels by the step {{"step": "pca", "n_components": {ranks.lowest}}} of '
        "the store's config."
    )
