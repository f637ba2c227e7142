"""Whether occupancies go with what should not matter: covariates of participants, and the mean over channels.

Shapes: N participants, T samples, K states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.checks.motion import MOTION, covariate_of_motion, number_of
from dynml.analysis.checks.stretches import SubjectStretches
from dynml.analysis.checks.verdicts import Verdict, not_made
from dynml.analysis.groups.numbers import DECIMAL_COMMA
from dynml.training.data.subject_differences import SITES

Array = NDArray[np.float64]
LEVEL, FEWEST, N_PERMUTATIONS = 0.05, 5, 999
LARGE = 0.3
"""Correlation of a state's probability with the global signal that is worth a warning, however certain."""


def covariate_verdicts(
    occupancies_NK: Array, covariates: Mapping[str, Sequence[str]], kind: str, seed: int
) -> list[Verdict]:
    """Correlate occupancies with every numeric covariate over participants, sites excepted.

    Parameters
    ----------
    occupancies_NK : array, (N, K)
        Share of each participant's time; NaN where there is none.
    covariates : mapping of name to N texts
        "n/a" or empty where missing.
    kind : {"states", "modes"}
    seed : int
        Of the permutations.
    """
    with_commas = [name for name, values in covariates.items() if any(map(DECIMAL_COMMA.fullmatch, values))]
    numbers = {
        name: np.array([number_of(value) for value in values])
        for name, values in covariates.items()
        if name not in with_commas
    }
    known = [name for name, values in numbers.items() if np.isfinite(values).any() and name.lower() not in SITES]
    motion = covariate_of_motion(known)
    titles = {name: "motion" if name == motion else f"covariate_{name}" for name in known}
    found = [_of_covariate(name, titles[name], numbers[name], occupancies_NK, kind, seed) for name in known]
    found += [
        not_made(f"covariate_{name}", f"The covariate {name} has numbers with a decimal comma, which are read as text.")
        for name in with_commas
    ]
    if motion is None:
        why = (
            f"The store has no covariate of motion with numbers (such as {MOTION[0]}), and its preparation has "
            f"measured none: whether the {kind} are related to it cannot be tested; give one in the table of "
            f"participants."
        )
        found.append(not_made("motion", why))
    return found


def _of_covariate(name: str, title: str, values: Array, occupancies: Array, kind: str, seed: int) -> Verdict:
    known = np.isfinite(values) & np.isfinite(occupancies).all(axis=1)
    x, y = values[known], occupancies[known]
    if len(x) < FEWEST:
        return not_made(title, f"Only {len(x)} participants have a value of {name}; {FEWEST} are needed.")
    y = y[:, y.std(axis=0) > 0]
    if not x.std() > 0 or not y.shape[1]:
        return not_made(title, f"The covariate {name} or the occupancies are the same in all participants.")
    generator = np.random.default_rng(seed)
    correlations = np.abs(_spearman(x, y))
    largest = float(correlations.max())
    draws = [float(np.abs(_spearman(generator.permutation(x), y)).max()) for _ in range(N_PERMUTATIONS)]
    p = (1 + sum(draw >= largest - 1e-12 for draw in draws)) / (1 + len(draws))
    goes_with = p <= LEVEL
    sentence = (
        f"The largest rank correlation of {name} with the occupancy of one of the {kind} over {len(x)} participants is "
        f"{largest:.2f} (p = {p:.3f} over all {kind}): "
        + (f"the {kind} are related to {name}." if goes_with else f"no evidence that the {kind} are related to {name}.")
    )
    return Verdict(
        name=title,
        value=largest,
        reference=float(np.quantile(draws, 1 - LEVEL)),
        sentence=sentence,
        holds=not goes_with,
    )


def _spearman(x: Array, y_NK: Array) -> Array:
    from scipy.stats import rankdata

    ranks, others = rankdata(x), rankdata(y_NK, axis=0)
    ranks, others = ranks - ranks.mean(), others - others.mean(axis=0)
    scale = np.sqrt((ranks**2).sum() * (others**2).sum(axis=0))
    return np.asarray(ranks @ others / np.where(scale > 0, scale, np.inf))


def global_signal_verdict(
    subjects: Sequence[SubjectStretches], alphas: Sequence[Array], kind: str, *, has_channels: bool
) -> Verdict:
    """Correlate each state with the size of the mean over channels, within subjects.

    Parameters
    ----------
    subjects : sequence of SubjectStretches
    alphas : sequence of arrays (T, K)
        Of the same samples.
    kind : {"states", "modes"}
    has_channels : bool
        False: the model sees components, whose mean is no global signal.
    """
    if not has_channels:
        why = "The model sees components of an embedding or a PCA, whose mean is not the global signal."
        return not_made("global_signal", why)
    found = []
    for one, alpha in zip(subjects, alphas, strict=True):
        size = np.abs(np.concatenate(one.stretches).mean(axis=1))
        known = np.isfinite(alpha).all(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            centred, states = size[known] - size[known].mean(), alpha[known] - alpha[known].mean(axis=0)
            found.append(centred @ states / np.sqrt((centred**2).sum() * (states**2).sum(axis=0)))
    known_subjects = np.array(found)
    counted = np.isfinite(known_subjects).sum(axis=0)
    means = np.nansum(known_subjects, axis=0) / np.maximum(counted, 1)
    largest = float(np.abs(means).max())
    goes_with = largest >= LARGE
    sentence = (
        f"The probability of a state correlates with the size of the mean over channels by {largest:.2f} at most (mean "
        f"over subjects): "
        + (
            f"the {kind} follow the global signal, which motion and breathing also affect."
            if goes_with
            else f"the {kind} hardly depend on the global signal."
        )
    )
    return Verdict(name="global_signal", value=largest, reference=LARGE, sentence=sentence, holds=not goes_with)
