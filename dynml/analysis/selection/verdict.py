"""What a ranking says, in plain sentences: whether there are states at all, how many, and whether they come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynml.analysis.selection.agreement import Agreement
from dynml.analysis.selection.ranking import GAUSSIAN, MIXTURE, OVER_MIXTURE, STATIONARY, Estimate, Ranked, Ranking

WORDS = {
    "stationary_var": "draws from a stationary autoregression (VAR) of each",
    "phase_randomized": "the same recordings with random phases",
}
LEAST_UNITS = 5
"""With fewer people the intervals say little."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the data have states that new people share, and the sentences that say so."""

    states: bool | None
    """False: the best-ranked model is not better than one Gaussian (or its first baseline), or gains as much of
    stationary data; None: not known, or not better than a mixture without order in time."""

    sentences: list[str]


def verdict(
    ranking: Ranking,
    seeds: Agreement | None,
    halves: Agreement | None,
    *,
    unit: str,
    tried: Mapping[str, Sequence[Any]],
) -> Verdict:
    """Say what a ranking shows.

    Parameters
    ----------
    ranking : Ranking
    seeds, halves : Agreement or None
        Of the chosen setting.
    unit : str
        participant, or run.
    tried : mapping
        Key to the values that were tried.
    """
    chosen, best = ranking.chosen, ranking.best_ranked
    states, first = _are_there_states(best, unit)
    sentences = [first, *_which(ranking, unit)]
    if states is not False:
        sentences += _at_the_border(chosen, tried) + _come_back(seeds, halves, unit)
    n_units = len(best.candidate.scores)
    if n_units < LEAST_UNITS:
        sentences.append(f"The intervals are over {n_units} {unit}s only, too few to distinguish settings.")
    return Verdict(states=states, sentences=sentences)


def _are_there_states(best: Ranked, unit: str) -> tuple[bool | None, str]:
    n_units = len(best.candidate.scores)
    if not best.gain:
        return None, f"There is no baseline to compare with on the {n_units} held-out {unit}s."
    name = GAUSSIAN if GAUSSIAN in best.gain else max(best.gain, key=lambda one: -best.gain[one].mean)
    gain, baseline = best.gain[name], name.replace("_", " ")
    if not gain.low > 0:
        nothing = "No states" if name == GAUSSIAN else "Nothing generalizes to new people"
        return False, (
            f"{nothing}: on the {n_units} held-out {unit}s the best-ranked model ({_words(best)}) is not better than "
            f"its baseline, {baseline} (gain {gain.mean:.4g}, 95 % interval {gain.low:.4g} to {gain.high:.4g})."
        )
    if name != GAUSSIAN:
        return True, f"{_better_by(best, name, unit)}."
    explained = _explained_by_stationary_data(best, "")
    if explained:
        return False, _as_stationary(best, explained, unit)
    mixture = best.gain.get(MIXTURE)
    if mixture is not None and not mixture.low > 0:
        return None, (
            f"{_better_by(best, name, unit)}, but not better than a mixture of as many Gaussians without any order in "
            f"time (gain {mixture.mean:.4g}, {mixture.low:.4g} to {mixture.high:.4g}): nothing is shown about dynamics."
        )
    as_ordered = _explained_by_stationary_data(best, OVER_MIXTURE)
    if mixture is not None and as_ordered:
        return None, f"{_better_by(best, name, unit)}{_as_ordered(mixture, as_ordered)}"
    return True, f"{_better_by(best, name, unit)}{_beyond_stationary_data(best)}"


def _better_by(best: Ranked, name: str, unit: str) -> str:
    gain = best.gain[name]
    return (
        f"On the {len(best.candidate.scores)} held-out {unit}s the best-ranked model ({_words(best)}) is better than "
        f"its baseline, {name.replace('_', ' ')}, by {gain.mean:.4g} (95 % interval {gain.low:.4g} to {gain.high:.4g})"
    )


def _explained_by_stationary_data(best: Ranked, ending: str) -> dict[str, Estimate]:
    """Kinds of data without states that give the model as much, with how much more the recordings give."""
    known = {name: best.gain[name + ending] for name in STATIONARY.values() if name + ending in best.gain}
    return {name: beyond for name, beyond in known.items() if not beyond.low > 0}


def _beyond_stationary_data(best: Ranked) -> str:
    known = [name for name in STATIONARY.values() if name in best.gain]
    if not known:
        return ". Stationary data with the same autocorrelation were not tried; they can give a model the same gain."
    gain = best.gain[GAUSSIAN].mean
    words = " and ".join(f"{gain - best.gain[name].mean:.4g} of {WORDS[name]}" for name in known)
    return f"; it gains {words}, which have no states."


def _as_ordered(mixture: Estimate, explained: Mapping[str, Estimate]) -> str:
    """Say that the order of states in time gives no more than that of stationary data; the rest needs no order."""
    name, beyond = min(explained.items(), key=lambda one: one[1].low)
    return (
        f", but over a mixture of as many Gaussians without any order in time by {mixture.mean:.4g}, and of "
        f"{WORDS[name]} by {mixture.mean - beyond.mean:.4g} (difference {beyond.mean:.4g}, {beyond.low:.4g} to "
        f"{beyond.high:.4g}): a mixture and autocorrelation explain as much, and nothing is shown about dynamics."
    )


def _as_stationary(best: Ranked, explained: Mapping[str, Estimate], unit: str) -> str:
    """Say that data without states give the model as much."""
    gain, (name, beyond) = best.gain[GAUSSIAN], min(explained.items(), key=lambda one: one[1].low)
    return (
        f"No states: on the {len(best.candidate.scores)} held-out {unit}s the best-ranked model ({_words(best)}) is "
        f"better than one Gaussian by {gain.mean:.4g}, but of {WORDS[name]}, which have no states, it gains "
        f"{gain.mean - beyond.mean:.4g} (difference {beyond.mean:.4g}, 95 % interval {beyond.low:.4g} to "
        f"{beyond.high:.4g}): autocorrelation alone explains as much."
    )


def _which(ranking: Ranking, unit: str) -> list[str]:
    chosen, best, others = ranking.chosen, ranking.best_ranked, ranking.not_worse
    if len(ranking.ranked) == 1:
        return [f"One setting was tried, {_words(chosen)}: whether another one is better is unknown."]
    if len(others) == 1:
        return [f"All other settings are worse on held-out {unit}s: {_words(chosen)} is chosen."]
    named = "; ".join(_words(one) for one in others)
    return [
        f"Not worse than the best-ranked model within the interval of the paired difference: {named}. Chosen: the one "
        f"with the fewest parameters, {_words(chosen)}"
        + ("." if chosen is best else f" (difference {chosen.difference.mean:.4g} from {_words(best)}).")
    ]


def _at_the_border(chosen: Ranked, tried: Mapping[str, Sequence[Any]]) -> list[str]:
    found = []
    for key, values in tried.items():
        own = chosen.candidate.settings[key]
        numbers = [one for one in values if isinstance(one, (int, float)) and not isinstance(one, bool)]
        if len(numbers) > 2 and len(numbers) == len(values) and own in (min(numbers), max(numbers)):
            found.append(f"The chosen {key} ({own}) is at the limit of the tried range; try a wider one.")
    return found


def _come_back(seeds: Agreement | None, halves: Agreement | None, unit: str) -> list[str]:
    found = []
    for agreement, what in ((seeds, "other seeds"), (halves, f"the other half of the {unit}s")):
        if agreement is not None:
            low, high = agreement.shifted_interval
            verb = "come back" if agreement.is_above_chance else "do not come back"
            found.append(
                f"The states {verb} with {what}: similarity {agreement.similarity:.2f}, where shifted labels give "
                f"{agreement.shifted:.2f} ({low:.2f} to {high:.2f})."
            )
    return found


def _words(one: Ranked) -> str:
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in one.candidate.settings.items())
