"""Each term of a design tested on all measures at once.

Shapes: R rows, M measures, A arrangements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.design import INTERCEPT, Design
from dynml.analysis.groups.effects import Effect, effect_of
from dynml.analysis.groups.exchangeability import Exchangeability, Integers, among
from dynml.analysis.groups.freedman_lane import Doubles, Fit, LinearModel, p_value, scaled
from dynml.errors import DataError

MEASURES_AT_ONCE = 512
FLIPS, PERMUTATIONS = "sign flips", "permutations"


@dataclass(frozen=True)
class Tested:
    """One measure under one term."""

    n: int
    """Rows that have a value."""
    n_tested: int
    fit: Fit | None
    """Of this measure alone; None where it could not be tested."""
    effect: Effect
    p: float
    p_corrected: float
    interval: tuple[float, float]
    """Of the coefficient, 95 %."""


@dataclass(frozen=True)
class TermResult:
    """One term, on all measures."""

    term: str
    columns: list[str]
    method: str
    """permutations or sign flips."""
    n_arrangements: int
    is_complete: bool
    """All arrangements that there are were gone through."""
    tested: list[Tested]


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """How terms are tested."""

    n_permutations: int = 5000
    seed: int = 0
    terms: tuple[str, ...] = ()
    """Terms to test; () for all but the intercept, and for the intercept alone where there is no other."""
    is_difference: bool = False
    """Measures are differences within participants: the intercept is tested, too."""


@dataclass(frozen=True)
class _Pattern:
    """Measures that lack the same rows."""

    measures: Integers
    left: NDArray[np.bool_]
    """(R,) positions, in the order of the exchangeability."""


@dataclass
class _Gathered:
    fits: dict[int, Fit] = field(default_factory=dict)
    n: dict[int, int] = field(default_factory=dict)
    p: dict[int, float] = field(default_factory=dict)
    tested: dict[int, Doubles] = field(default_factory=dict)


def terms_to_test(design: Design, settings: ComparisonSettings) -> list[str]:
    """Terms that are tested, each as a question of its own.

    Raises
    ------
    DataError
        When a term that was asked for is not in the design.
    """
    for term in settings.terms:
        if term not in design.terms:
            raise DataError(f"--test names {term!r}, but the design {design.formula!r} has {', '.join(design.terms)}.")
    others = [term for term in design.terms if term != INTERCEPT]
    if settings.terms:
        return list(settings.terms)
    return [*([INTERCEPT] if INTERCEPT in design.terms and (settings.is_difference or not others) else []), *others]


def compare(
    values: Doubles, design: Design, exchangeability: Exchangeability, settings: ComparisonSettings
) -> list[TermResult]:
    """Test the terms; of those that nobody named, the ones that no exchange changes are left out, if others are left.

    Parameters
    ----------
    values : array, (R, M)
        NaN where a row has no value; such a row is left out for that measure alone.
    design : Design
        Of the R rows.
    exchangeability : Exchangeability
    settings : ComparisonSettings

    Raises
    ------
    DataError
        When nothing can be exchanged, or no exchange changes a term: with another covariate that it does change, p
        would tell of that one, however large the effect of the term.
    """
    names = terms_to_test(design, settings)
    found = [_tested_term(values, design, exchangeability, settings, name) for name in names]
    results = [result for result in found if result is not None]
    if len(results) == len(names) or (results and not settings.terms):
        return results
    term = names[found.index(None)]
    raise DataError(
        f"{term} cannot be tested, since no exchange that is allowed changes it, so that p would be 1 whatever the "
        "data: --within blocks must hold rows that differ in it, --whole blocks must differ in it; --test names "
        "the terms to test."
    )


def _tested_term(
    values: Doubles, design: Design, exchangeability: Exchangeability, settings: ComparisonSettings, term: str
) -> TermResult | None:
    """None where no exchange changes the term."""
    own = design.terms[term]
    others = [column for column in range(design.matrix.shape[1]) if column not in own]
    flips = term == INTERCEPT
    n_ways = exchangeability.n_flips() if flips else exchangeability.n_permutations()
    if n_ways < 2:
        raise DataError(f"Nothing can be exchanged to test {term}: every block has one unit, or units of its own size.")
    matrix = design.matrix[exchangeability.order]
    if not flips and not exchangeability.changes(matrix[:, own]):
        return None
    signs = exchangeability.flips(settings.n_permutations, settings.seed) if flips else None
    arrangements = None if flips else exchangeability.permutations(settings.n_permutations, settings.seed)
    n = len(signs) if signs is not None else len(arrangements) if arrangements is not None else 0
    gathered, maxima = _Gathered(), np.zeros(n)
    ordered, scales = scaled(values[exchangeability.order])
    if not _tells(_model(matrix, own, others, centred=flips), arrangements, signs):
        return None
    for pattern in _patterns(ordered, exchangeability):
        model = _model(matrix[pattern.left], own, others, centred=flips)
        _note(gathered, pattern, matrix[:, own])
        if model is None:
            continue
        own_arrangements = None if arrangements is None else among(arrangements, pattern.left)
        own_signs = None if signs is None else signs[:, pattern.left]
        for first in range(0, len(pattern.measures), MEASURES_AT_ONCE):
            measures = pattern.measures[first : first + MEASURES_AT_ONCE]
            kept = ordered[pattern.left][:, measures]
            sizes = model.sizes(model.residuals(kept), own_arrangements, own_signs)
            maxima = np.maximum(maxima, sizes.max(axis=1))
            _add(gathered, measures, model.fit(kept).times(scales[measures]), sizes)
    return TermResult(
        term,
        [design.columns[column] for column in own],
        FLIPS if flips else PERMUTATIONS,
        n,
        n == n_ways - 1,
        [_of_measure(gathered, number, maxima, is_mean=flips) for number in range(values.shape[1])],
    )


def _tells(model: LinearModel | None, arrangements: Integers | None, signs: Doubles | None) -> bool:
    """Whether any arrangement changes a statistic: if none does, p is 1 whatever the data."""
    if model is None:
        return True
    noise = np.random.default_rng(0).normal(size=(len(model.basis), 1))
    observed = np.abs(model.fit(noise).statistic)
    sizes = model.sizes(model.residuals(noise), arrangements, signs)
    return not np.allclose(sizes, observed, rtol=1e-6, atol=0)


def _patterns(ordered: Doubles, exchangeability: Exchangeability) -> Iterator[_Pattern]:
    """Measures by what they lack; one that does not vary is in no pattern."""
    seen = np.isfinite(ordered)
    left_of = {column: exchangeability.whole_units(seen[:, column]) for column in range(ordered.shape[1])}
    by_pattern: dict[bytes, list[int]] = {}
    for column, left in left_of.items():
        by_pattern.setdefault(left.tobytes(), []).append(column)
    for columns in by_pattern.values():
        yield _Pattern(np.array(columns), left_of[columns[0]])


def _model(matrix: Doubles, own: Sequence[int], others: Sequence[int], *, centred: bool) -> LinearModel | None:
    """None where the rows that are left cannot tell the columns apart."""
    chosen = matrix[:, [*own, *others]]
    if len(matrix) <= chosen.shape[1] or np.linalg.matrix_rank(chosen) < chosen.shape[1]:
        return None
    beside = matrix[:, list(others)]
    # Centred, the intercept is the mean of the whole sample, not that of somebody of age 0.
    return LinearModel(matrix[:, list(own)], beside - beside.mean(axis=0) if centred else beside)


def _note(gathered: _Gathered, pattern: _Pattern, tested: Doubles) -> None:
    for measure in pattern.measures.tolist():
        gathered.n[measure] = int(pattern.left.sum())
        gathered.tested[measure] = tested[pattern.left]


def _add(gathered: _Gathered, measures: Integers, fit: Fit, sizes: Doubles) -> None:
    p = p_value(np.abs(fit.statistic), sizes)
    for position, measure in enumerate(measures.tolist()):
        one = slice(position, position + 1)
        gathered.fits[measure] = Fit(
            fit.statistic[one], fit.coefficient[one], fit.standard_error[one], fit.degrees_of_freedom, fit.n_tested
        )
        gathered.p[measure] = float(p[position])


def _of_measure(gathered: _Gathered, measure: int, maxima: Doubles, *, is_mean: bool) -> Tested:
    from scipy.stats import t as students_t

    tested, fit = gathered.tested[measure], gathered.fits.get(measure)
    if fit is None:
        nothing = effect_of(math.nan, tested, 1, is_mean=is_mean)
        return Tested(gathered.n[measure], tested.shape[1], None, nothing, math.nan, math.nan, (math.nan, math.nan))
    corrected = p_value(np.abs(fit.statistic), maxima[:, None])
    margin = float(students_t.ppf(0.975, fit.degrees_of_freedom)) * float(fit.standard_error[0])
    centre = float(fit.coefficient[0])
    effect = effect_of(float(fit.statistic[0]), tested, fit.degrees_of_freedom, is_mean=is_mean)
    return Tested(
        gathered.n[measure],
        fit.n_tested,
        fit,
        effect,
        gathered.p[measure],
        float(corrected[0]),
        (centre - margin, centre + margin),
    )
