"""Whether a model gains more from time in the recordings than in data that are stationary by construction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dynml.analysis.checks.occupancy import are_subjects
from dynml.analysis.checks.stretches import SubjectStretches
from dynml.analysis.checks.surrogates import fitted_var, phase_randomized, with_matching_ends
from dynml.analysis.checks.verdicts import Verdict, not_made, p_of_draws

KINDS = {"phases": "phase-randomized data", "var": "a stationary autoregression (VAR) of each subject"}
LEVEL = 0.01
"""Probability, by Student's distribution, that a further surrogate gains as much as the recordings."""


def trimmed(subjects: Sequence[SubjectStretches]) -> list[SubjectStretches]:
    """Subjects whose stretches end as they begin, as far as few samples allow."""
    return [one.of([with_matching_ends(own) for own in one.stretches]) for one in subjects]


def surrogate(kind: str, subjects: Sequence[SubjectStretches], seed: int, number: int) -> list[SubjectStretches]:
    """Make one surrogate of all subjects: a pure function of (kind, seed, number).

    Parameters
    ----------
    kind : {"phases", "var"}
    subjects : sequence of SubjectStretches
        With matching ends.
    seed, number : int
    """
    position = list(KINDS).index(kind)
    generator = np.random.default_rng(np.random.SeedSequence((seed, position, number)))
    if kind == "phases":
        return [one.of([phase_randomized(own, generator) for own in one.stretches]) for one in subjects]
    made = []
    for one in subjects:
        process = fitted_var(one.stretches)
        made.append(one.of([process.draw(len(own), generator) for own in one.stretches]))
    return made


def surrogate_verdict(kind: str, gain: float, gains: Sequence[float], components: str) -> Verdict:
    """Set the gain over a mixture of as many Gaussians against that of surrogates.

    Parameters
    ----------
    kind : {"phases", "var"}
    gain : float
        Of the model refitted to the recordings, nats per sample.
    gains : sequence of float
        Of the model refitted to each surrogate.
    components : {"states", "modes"}
    """
    if len(gains) < 2:
        return not_made(f"surrogates_{kind}", "At least two surrogates are needed to estimate their variability.")
    mean, p = float(np.mean(gains)), p_of_draws(gain, list(gains))
    further = p_of_a_further(gain, gains)
    exceeds = gain > max(gains) and further <= LEVEL
    meaning = (
        f"the {components} follow something that linear, stationary, Gaussian data do not have."
        if exceeds
        else f"data without {components} give as much."
    )
    sentence = (
        f"Over a mixture without time the model gains {gain:.3g} nats per sample of the recordings; of {KINDS[kind]} "
        f"{mean:.3g} on average and {max(gains):.3g} at most (n = {len(gains)}, p = {p:.2f}): {meaning}"
    )
    return Verdict(name=f"surrogates_{kind}", value=gain, reference=mean, sentence=sentence, holds=exceeds)


def p_of_a_further(gain: float, gains: Sequence[float]) -> float:
    """Probability that one more draw of a normal distribution, known by the others (two or more), comes to as much.

    A few surrogates allow no small p by counting, but their spread says how far above them the recordings lie.
    """
    from scipy.stats import t

    spread = float(np.std(gains, ddof=1))
    smallest = 1e-3 * max(abs(gain), float(np.max(np.abs(gains))), 1e-9)
    scale = max(spread, smallest) * math.sqrt(1 + 1 / len(gains))
    return float(t.sf((gain - float(np.mean(gains))) / scale, len(gains) - 1))


def _shared(verdicts: Mapping[str, Verdict]) -> str:
    verdict = verdicts.get("occupancy_by_subject")
    if verdict is None or verdict.holds is None:
        return "; whether subjects share them is unknown"
    return ", and subjects share what it finds"


def overall_verdict(verdicts: Mapping[str, Verdict], components: str) -> Verdict:
    """Put together what occupancies and surrogates say: dynamics, subjects, or neither."""
    known = [verdicts[f"surrogates_{kind}"] for kind in KINDS if f"surrogates_{kind}" in verdicts]
    tested = [one for one in known if one.holds is not None]
    of_subjects = are_subjects(dict(verdicts))
    passed = sum(bool(one.holds) for one in tested)
    if of_subjects:
        meaning = f"No: the {components} distinguish subjects. Align the subjects, or use fewer {components}."
    elif not tested:
        meaning = "Unknown: there are not enough surrogates."
    elif passed == len(tested):
        meaning = f"Yes, by these checks: the model gains more than on stationary data{_shared(verdicts)}."
    else:
        meaning = f"No evidence: the model gains as much on stationary data without {components}."
    return Verdict(
        name="dynamics",
        value=float(passed) if tested else None,
        reference=float(len(tested)) if tested else None,
        sentence=f"Is it dynamics? {meaning}",
        holds=False if of_subjects else None if not tested else passed == len(tested),
    )
