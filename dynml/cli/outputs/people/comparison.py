"""What dynml_compare_groups.py writes: a table, pictures and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dynml.analysis.groups.comparison import ComparisonSettings, TermResult, terms_to_test
from dynml.analysis.groups.findings import LEVEL, findings_of_comparison, significant
from dynml.analysis.groups.question import Asked, Question
from dynml.analysis.tidy import KIND, Column, write_tidy
from dynml.files import write_json

TABLE = "comparison.tsv"
MOST_DRAWN = 40


def write_comparison(
    out: Path, asked: Asked, question: Question, settings: ComparisonSettings, results: Sequence[TermResult]
) -> list[str]:
    """Write all files and give the findings."""
    findings = findings_of_comparison(question, terms_to_test(question.design, settings), results)
    keys = list(dict.fromkeys(key for measure in question.measures for key, _ in measure.of))
    about = {"formula": asked.formula, "difference": question.difference, "seed": settings.seed}
    write_tidy(out / TABLE, _columns(keys), _rows(question, results, keys), **about)
    pictures = [name for result in results for name in _draw(out, question, result, len(results))]
    write_json(
        out / "summary.json",
        {
            KIND: "comparison",
            "table": str(asked.table),
            "participants": str(asked.participants),
            "formula": asked.formula,
            "design_columns": question.design.columns,
            "difference": question.difference,
            "sessions": asked.sessions,
            "within": asked.within,
            "whole": asked.whole,
            "n_rows": len(question.people),
            "n_measures": len(question.measures),
            "n_permutations": settings.n_permutations,
            "seed": settings.seed,
            "rows": question.people,
            "terms": {
                result.term: {
                    "columns": result.columns,
                    "method": result.method,
                    "n_arrangements": result.n_arrangements,
                    "all_arrangements": result.is_complete,
                    "significant": [question.measures[number].name for number in significant(result)],
                }
                for result in results
            },
            "pictures": pictures,
            "findings": findings,
        },
    )
    return findings


def _columns(keys: Sequence[str]) -> list[Column]:
    return [
        Column("term", "Term of the formula; Intercept: the mean"),
        Column("measure", "Measure with all that it is of"),
        Column("quantity", "Column of the table of results"),
        *(Column(key, "What the measure is of, as in the table of results; n/a where nothing is said") for key in keys),
        Column("n", "Rows that have a value"),
        Column("coefficient", "Of the term's column, in units of the measure; n/a of several columns"),
        Column("low", "Lower end of the coefficient's interval of 95 % by t"),
        Column("high", "Upper end"),
        Column("test", "t, or F where the term has several columns"),
        Column("statistic", "Value of t or F"),
        Column("degrees_of_freedom", "Rows less columns of the design"),
        Column("p", "p-value by permutation or sign flips, of this measure alone"),
        Column("p_corrected", "The same, corrected over all measures by the maximum of |t| or F"),
        Column(
            "effect_kind", "d: in standard deviations of the residuals; r: partial correlation; eta2: partial share"
        ),
        Column("effect", "Size of the effect"),
        Column("effect_low", "Lower end of its interval of 95 %"),
        Column("effect_high", "Upper end"),
    ]


def _rows(question: Question, results: Sequence[TermResult], keys: Sequence[str]) -> Iterator[list[Any]]:
    for result in results:
        for measure, one in zip(question.measures, result.tested):
            of, fit = dict(measure.of), one.fit
            yield [
                *(result.term, measure.name, measure.quantity),
                *(of.get(key) for key in keys),
                one.n,
                None if fit is None else float(fit.coefficient[0]),
                *one.interval,
                "t" if one.n_tested == 1 else "F",
                None if fit is None else float(fit.statistic[0]),
                None if fit is None else fit.degrees_of_freedom,
                *(one.p, one.p_corrected),
                *(one.effect.kind, one.effect.size, one.effect.low, one.effect.high),
            ]


def _draw(out: Path, question: Question, result: TermResult, n_terms: int) -> list[dict[str, str]]:
    from dynml.plotting.findings.effects import plot_effects
    from dynml.plotting.style import save_figure

    by_p = sorted(range(len(result.tested)), key=lambda number: result.tested[number].p)
    chosen = sorted(by_p[:MOST_DRAWN])
    more = f", the {MOST_DRAWN} smallest p of {len(by_p)}" if len(by_p) > MOST_DRAWN else ""
    shown = [result.tested[number] for number in chosen]
    what = question.difference or "Mean" if result.term == "Intercept" else result.term
    figure = plot_effects(
        [question.measures[number].name for number in chosen],
        [one.effect.size for one in shown],
        [(one.effect.low, one.effect.high) for one in shown],
        [one.p_corrected <= LEVEL for one in shown],
        kind=shown[0].effect.kind,
        title=f"{what} ({len(question.people)} rows{more})",
    )
    position = list(question.design.terms).index(result.term)
    stem = "comparison" if n_terms == 1 else f"comparison_{position}"
    found = len(significant(result))
    alt = f"Effects of {what} on {len(chosen)} measures with intervals of 95 %; {found} measures differ, corrected"
    return [
        {
            "path": save_figure(figure, out / f"{stem}.{ending}").name,
            "kind": "comparison",
            "term": result.term,
            "alt": alt,
        }
        for ending in ("png", "svg")
    ]
