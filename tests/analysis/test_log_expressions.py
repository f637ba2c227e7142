"""Sums and differences of logs."""

import numpy as np
import pytest

from dynml.analysis.log_expressions import check_logs_are_known, parse_log_expression
from dynml.errors import ConfigurationError

LOGS = {"a": np.array([1.0, 2.0, np.nan, 4.0]), "b": np.array([10.0, 20.0, 30.0]), "c": np.array([0.5, 0.25, 0.125])}


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        ("a", [1, 2, np.nan, 4], "a"),
        ("diff(b,a)", [9, 18, np.nan], "b − a"),
        (" diff( b , c ) ", [9.5, 19.75, 29.875], "b − c"),
        ("sum(a,b,c)", [11.5, 22.25, np.nan], "a + b + c"),
        ("diff(a,sum(b,c))", [-9.5, -18.25, np.nan], "a − (b + c)"),
        ("diff(diff(b,c),c)", [9, 19.5, 29.75], "(b − c) − c"),
    ],
)
def test_expressions_are_computed_epoch_by_epoch_as_far_as_all_logs_go(text, values, words):
    expression = parse_log_expression(text, "--logs")
    np.testing.assert_array_equal(expression.values(LOGS), values)
    assert expression.in_words == words
    again = parse_log_expression(expression.text, "--logs")
    assert again == expression


def test_infinite_values_cancel_to_no_value():
    infinite = {"a": np.array([np.inf, 1.0]), "b": np.array([np.inf, np.inf])}
    np.testing.assert_array_equal(parse_log_expression("diff(a,b)", "").values(infinite), [np.nan, -np.inf])


def test_an_expression_knows_its_logs_and_which_are_missing():
    expression = parse_log_expression("sum(diff(a,b),a,d)", "--logs")
    assert expression.log_names == ["a", "b", "d"]
    assert expression.missing_in(LOGS) == ["d"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("diff(a)", "exactly two logs"),
        ("diff(a,b,c)", "exactly two logs"),
        ("diff()", "exactly two logs"),
        ("sum(a)", "at least two logs"),
        ("dif(a,b)", "did you mean 'diff'"),
        ("mean(a,b)", "a log, diff(a,b) or sum(a,b,...)"),
        ("diff(a,b", "a log, diff(a,b) or sum(a,b,...)"),
        ("diff(a)(b)", "a log, diff(a,b) or sum(a,b,...)"),
        ("diff(a,)", "diff(a,b) of exactly two logs"),
        ("", "a log, diff(a,b) or sum(a,b,...)"),
    ],
)
def test_mistakes_are_told(text, words):
    with pytest.raises(ConfigurationError) as caught:
        parse_log_expression(text, "--graph")
    assert words in str(caught.value)
    assert str(caught.value).startswith("--graph is ")


def test_unknown_logs_are_told_with_all_that_there_are_and_the_nearest():
    check_logs_are_known([parse_log_expression("diff(loss,rate)", "--logs")], ["loss", "rate"], "--logs")
    with pytest.raises(ConfigurationError) as caught:
        check_logs_are_known([parse_log_expression("diff(loss,rtae)", "--logs")], ["loss", "rate"], "--logs")
    assert str(caught.value) == "--logs is 'rtae', but must be one of loss, rate (did you mean 'rate'?)."
