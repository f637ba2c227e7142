"""What a comparison has found, in sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dynml.analysis.groups.comparison import FLIPS, TermResult, Tested
from dynml.analysis.groups.measures import Measure
from dynml.analysis.groups.question import Question
from dynml.analysis.groups.words import counted, listed_names

LEVEL = 0.05
EFFECTS = {"d": "d", "r": "partial r", "eta2": "partial eta squared"}


def findings_of_comparison(question: Question, asked: Sequence[str], results: Sequence[TermResult]) -> list[str]:
    """Say what differs, what was left out, and what limits the tests."""
    return [
        *(_of_term(result, question.measures) for result in results),
        *_of_untested(asked, results),
        *question.findings,
        *_of_missing(results[0].tested, question.measures, len(question.people)),
        *_of_few_arrangements(results),
        *_of_several_terms(results),
        *_of_repeated_rows(question),
    ]


def significant(result: TermResult) -> list[int]:
    """Measures with a corrected p up to 0.05, the smallest first."""
    found = [number for number, one in enumerate(result.tested) if one.p_corrected <= LEVEL]
    return sorted(found, key=lambda number: (result.tested[number].p_corrected, result.tested[number].p))


def said_of(one: Tested) -> str:
    """`d = 0.62 [0.11, 1.10], p = 0.012`."""
    size = one.effect
    return f"{EFFECTS[size.kind]} = {size.size:.2f} [{size.low:.2f}, {size.high:.2f}], p = {one.p_corrected:.3g}"


def _of_term(result: TermResult, measures: Sequence[Measure]) -> str:
    what = "the mean" if result.method == FLIPS else result.term
    usable = [one for one in result.tested if math.isfinite(one.p_corrected)]
    ways = f"{'all ' if result.is_complete else ''}{counted(result.n_arrangements, result.method[:-1])}"
    how = f"{ways}, corrected over {counted(len(usable), 'measure')}"
    if not usable:
        return f"{what}: no measure could be tested."
    found = significant(result)
    if not found:
        smallest = min(one.p_corrected for one in usable)
        weak = "This is not evidence that there is no difference."
        return f"{what}: no measure differs (smallest p = {smallest:.3g}; {how}). {weak}"
    shown = "; ".join(f"{measures[number].name}: {said_of(result.tested[number])}" for number in found[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{what}: {len(found)} of {counted(len(usable), 'measure')} differ: {shown}{more} ({how})."


def _of_untested(asked: Sequence[str], results: Sequence[TermResult]) -> Iterator[str]:
    tested = {result.term for result in results}
    without = [term for term in asked if term not in tested]
    if without:
        yield f"Not tested, since no exchange within or of blocks changes it: {listed_names(without)}."


def _of_missing(tested: Sequence[Tested], measures: Sequence[Measure], n_rows: int) -> Iterator[str]:
    lacking = [(measure.name, one.n) for measure, one in zip(measures, tested) if one.n < n_rows]
    if lacking:
        shown = listed_names([f"{name} (n = {n})" for name, n in lacking])
        yield (
            f"Some of {n_rows} rows have no value of {counted(len(lacking), 'measure')}, such as the lifetime of a "
            f"state that a participant never visits; they were left out there: {shown}."
        )
    without = [measure.name for measure, one in zip(measures, tested) if one.fit is None]
    if without:
        missing = f"could not be tested, because values are missing: {listed_names(without)}."
        yield f"{counted(len(without), 'measure')} {missing}"


def _of_few_arrangements(results: Sequence[TermResult]) -> Iterator[str]:
    for result in results:
        smallest = 1 / (1 + result.n_arrangements)
        if smallest > LEVEL:
            yield (
                f"{result.term}: there are {result.n_arrangements + 1} arrangements in all, so that no p can be below "
                f"{smallest:.3g}."
            )


def _of_several_terms(results: Sequence[TermResult]) -> Iterator[str]:
    if len(results) > 1:
        yield f"{len(results)} terms were tested, each on its own; p is not corrected over terms."


def _of_repeated_rows(question: Question) -> Iterator[str]:
    if len(set(question.people)) < len(question.people):
        yield (
            "Participants have several rows: p-values heed that, but intervals take rows as independent, so go by the "
            "p-values."
        )
