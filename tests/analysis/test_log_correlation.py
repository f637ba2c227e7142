"""Correlations of logs against scipy and numpy, and the cases in which there is none."""

import csv

import numpy as np
import pytest
from scipy import stats

from dynml.analysis.log_correlation import correlate, pair_logs, polynomial_fit, pool
from dynml.analysis.log_expressions import parse_log_expression
from dynml.analysis.log_reading import ExperimentLogs
from dynml.analysis.log_tables import CORRELATION_COLUMNS, LOG_COLUMNS, write_correlations, write_logs


def two_logs(seed, n=30, level=0.0):
    rng = np.random.default_rng(seed)
    x = np.exp(-np.arange(n) / 10) + 0.1 * rng.normal(size=n) + level
    return x, -2 * level + 0.5 * x + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("n", [3, 4, 30, 500])
def test_r_p_and_fit_are_those_of_scipy(n):
    x, y = two_logs(n, n)
    found = correlate(pair_logs(x, y), "run")
    line = stats.linregress(x, y)
    np.testing.assert_allclose((found.r, found.p), stats.pearsonr(x, y), rtol=1e-9)
    np.testing.assert_allclose(found.fit.polynomial.convert().coef, [line.intercept, line.slope], rtol=1e-9)
    error = np.mean((y - line.intercept - line.slope * x) ** 2)
    np.testing.assert_allclose(found.fit.mean_squared_error, error, rtol=1e-7)
    assert (found.n, found.n_differences) == (n, n - 1)
    if n > 3:
        steps = stats.pearsonr(np.diff(x), np.diff(y))
        np.testing.assert_allclose((found.r_of_differences, found.p_of_differences), steps, rtol=1e-9)


def test_first_epochs_gaps_and_surplus_epochs_are_left_out():
    x, y = two_logs(1)
    x[[8, 20]], y[9] = np.nan, np.inf
    longer = np.r_[y, 7.0, 8.0]
    pairs = pair_logs(x, longer, ignore_first_epochs=5)
    kept = np.array([epoch for epoch in range(5, 30) if epoch not in (8, 9, 20)])
    np.testing.assert_array_equal(pairs.epochs, kept + 1)
    np.testing.assert_array_equal(pairs.x, x[kept])
    np.testing.assert_array_equal(pairs.y, y[kept])
    together = np.array([epoch for epoch in kept if epoch + 1 in kept])
    np.testing.assert_array_equal(pairs.x_steps, x[together + 1] - x[together])
    np.testing.assert_array_equal(pairs.y_steps, y[together + 1] - y[together])


def test_pooling_mixes_levels_and_within_experiments_does_not():
    runs = [two_logs(seed, n, level) for seed, n, level in ((1, 20, 0.0), (2, 30, 1.0), (3, 40, 3.0))]
    own = [correlate(pair_logs(x, y), str(number)) for number, (x, y) in enumerate(runs)]
    pooled, within = pool(own)
    x, y = (np.concatenate([run[axis] for run in runs]) for axis in (0, 1))
    np.testing.assert_allclose((pooled.r, pooled.p), stats.pearsonr(x, y), rtol=1e-9)
    x, y = (np.concatenate([run[axis] - run[axis].mean() for run in runs]) for axis in (0, 1))
    r = np.corrcoef(x, y)[0, 1]
    freedom = 90 - 2 - 2
    p = 2 * stats.t.sf(abs(r) * np.sqrt(freedom / (1 - r**2)), freedom)
    np.testing.assert_allclose((within.r, within.p), (r, p), rtol=1e-9)
    assert pooled.r < -0.9
    assert within.r > 0.5
    steps = [np.concatenate([np.diff(run[axis]) for run in runs]) for axis in (0, 1)]
    np.testing.assert_allclose(pooled.r_of_differences, np.corrcoef(*steps)[0, 1], rtol=1e-9)
    assert (pooled.n, pooled.n_differences, within.level) == (90, 87, "within")
    assert pool(own[:1]) == []


def test_a_common_trend_correlates_independent_noise_but_not_its_steps():
    rng = np.random.default_rng(0)
    trend = np.linspace(3, 0, 300)
    found = correlate(pair_logs(trend + 0.2 * rng.normal(size=300), trend + 0.2 * rng.normal(size=300)), "run")
    assert found.r > 0.9
    assert abs(found.r_of_differences) < 0.15


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        ([], [], "0 points, but at least 3 are needed"),
        ([1, np.nan, 2, 3], [np.nan, 1, 2, np.nan], "1 point, but at least 3 are needed"),
        ([1, 2], [3, 5], "2 points, but at least 3 are needed"),
        ([7.3, 7.3, 7.3, 7.3], [1, 2, 3, 5], "rate is constant"),
        ([1, 2, 3, 5], [0.1 + 0.2, 0.3, 0.3, 0.3], "loss is constant"),
    ],
)
def test_too_few_points_and_constant_logs_have_no_r_and_say_why(x, y, sentence):
    found = correlate(pair_logs(np.array(x, dtype=float), np.array(y, dtype=float)), "run", logs=("rate", "loss"))
    assert np.isnan([found.r, found.p]).all()
    assert (found.sentence, found.fit) == (sentence, None)


def test_steps_that_are_constant_but_for_rounding_have_no_r():
    found = correlate(pair_logs(np.linspace(8.0, 8.9, 10), np.arange(10.0) ** 2), "run")
    assert found.r > 0.9
    assert np.isnan(found.r_of_differences)


def test_a_parabola_is_found_and_needs_three_different_points():
    x = 7.9 + np.linspace(0, 1e-3, 12)
    fit = polynomial_fit(x, 3 * (x - 7.9) ** 2 - (x - 7.9), 2)
    middle = 7.9 + 5.1e-4
    np.testing.assert_allclose(fit.polynomial(middle), 3 * 5.1e-4**2 - 5.1e-4, rtol=1e-9)
    assert fit.mean_squared_error < 1e-25
    assert polynomial_fit(np.array([1.0, 1.0, 2.0]), np.zeros(3), 2) is None


def test_the_tables_read_back_exactly(tmp_path):
    first = ExperimentLogs(name="a/first", logs={"loss": np.array([0.1, np.nan, 1 / 3]), "rate": np.array([np.inf])})
    second = ExperimentLogs(name="second", logs={"loss": np.array([-7.1e-300])})
    difference = parse_log_expression("diff(loss,rate)", "--logs")
    write_logs(tmp_path / "new" / "logs.csv", [first, second], [difference])
    header, *rows = csv.reader((tmp_path / "new" / "logs.csv").read_text().splitlines())
    assert tuple(header) == LOG_COLUMNS
    assert [row[:3] for row in rows] == [
        ["a/first", "loss", "1"],
        ["a/first", "loss", "2"],
        ["a/first", "loss", "3"],
        ["a/first", "rate", "1"],
        ["a/first", "diff(loss,rate)", "1"],
        ["second", "loss", "1"],
    ]
    values = [float(row[3]) if row[3] else np.nan for row in rows]
    np.testing.assert_array_equal(values, [0.1, np.nan, 1 / 3, np.inf, -np.inf, -7.1e-300])


def test_the_table_of_correlations_holds_the_numbers_and_the_sentences(tmp_path):
    x, y = two_logs(5)
    own = [correlate(pair_logs(x, y), "run"), correlate(pair_logs(x[:2], y[:2]), "short")]
    write_correlations(tmp_path / "r.csv", own, ("loss", "rate"))
    good, short = csv.DictReader((tmp_path / "r.csv").read_text().splitlines())
    assert tuple(good) == CORRELATION_COLUMNS
    line = stats.linregress(x, y)
    numbers = [float(good[column]) for column in ("r", "p", "slope", "intercept")]
    np.testing.assert_allclose(numbers, [line.rvalue, line.pvalue, line.slope, line.intercept], rtol=1e-9)
    assert [good[name] for name in ("level", "experiment", "x", "y", "n")] == [
        "experiment",
        "run",
        "loss",
        "rate",
        "30",
    ]
    assert (short["r"], short["slope"], short["n"]) == ("", "", "2")
    assert short["sentence"] == "2 points, but at least 3 are needed"
