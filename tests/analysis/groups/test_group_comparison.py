"""Group statistics against nilearn, textbook formulas, enumeration and simulations without any effect."""

import math
from pathlib import Path

import numpy as np
import pytest
from nilearn.mass_univariate import permuted_ols
from scipy import stats

from dynml.analysis.groups.comparison import ComparisonSettings, compare
from dynml.analysis.groups.design import Design, design_of
from dynml.analysis.groups.effects import effect_of
from dynml.analysis.groups.exchangeability import Exchangeability, among
from dynml.analysis.groups.freedman_lane import p_value
from dynml.analysis.groups.question import Asked, read_question
from dynml.errors import ConfigurationError, DataError
from dynml.tables import Table


def design(**columns):
    """Design matrix of columns, each a term."""
    names = list(columns)
    return Design("test", np.column_stack(list(columns.values())), names, {name: [n] for n, name in enumerate(names)})


def table_of(**columns):
    return Table(Path("participants.tsv"), {name: list(map(str, values)) for name, values in columns.items()})


def test_t_and_p_agree_with_nilearn():
    generator = np.random.default_rng(0)
    z = generator.normal(size=30)
    x = 0.5 * z + generator.normal(size=30)
    values = generator.normal(size=(30, 6)) + z[:, None]
    values[:, 2] += 0.6 * x
    settings = ComparisonSettings(n_permutations=2000, terms=("x",))
    found = compare(values, design(Intercept=np.ones(30), x=x, z=z), Exchangeability.of(30), settings)[0].tested
    reference = permuted_ols(x[:, None], values, z[:, None], n_perm=2000, random_state=1, output_type="dict")
    np.testing.assert_allclose([one.fit.statistic[0] for one in found], reference["t"][0], rtol=1e-6)
    p, expected = np.array([one.p_corrected for one in found]), 10 ** -reference["logp_max_t"][0]
    assert (np.abs(p - expected) <= 4 * np.sqrt(2 * expected * (1 - expected) / 2000) + 1e-3).all()


def test_without_an_effect_one_in_twenty_is_found_though_a_confound_is_correlated():
    generator, n_sets, found = np.random.default_rng(1), 500, 0
    for number in range(n_sets):
        z = generator.normal(size=40)
        x = 0.8 * z + 0.6 * generator.normal(size=40)
        values = (z + generator.normal(size=40))[:, None]
        settings = ComparisonSettings(n_permutations=99, seed=number, terms=("x",))
        result = compare(values, design(Intercept=np.ones(40), x=x, z=z), Exchangeability.of(40), settings)
        found += result[0].tested[0].p_corrected <= 0.05
    assert 0.031 <= found / n_sets <= 0.069


def test_all_sign_flips_of_eight_people_are_gone_through():
    values = np.random.default_rng(2).normal(0.8, 1, size=(8, 3))
    result = compare(values, design(Intercept=np.ones(8)), Exchangeability.of(8), ComparisonSettings())[0]
    assert (result.n_arrangements, result.is_complete, result.method) == (255, True, "sign flips")
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    t = [np.abs(stats.ttest_1samp(sign[:, None] * values, 0).statistic).max() for sign in signs]
    for number, one in enumerate(result.tested):
        own = abs(stats.ttest_1samp(values[:, number], 0).statistic)
        assert one.p_corrected == pytest.approx(np.mean(np.array(t) >= own * (1 - 1e-9)))
        assert one.p_corrected * 256 == pytest.approx(round(one.p_corrected * 256))


def test_blocks_are_not_crossed_and_all_ways_are_counted():
    within = Exchangeability.of(6, within=["a", "b", "a", "b", "a", "b"])
    assert within.n_permutations() == 36
    permuted = within.order[within.permutations(100, 0)]
    assert len({tuple(one) for one in permuted}) == 35
    assert (permuted % 2 == within.order % 2).all()
    whole = Exchangeability.of(7, whole=["f", "g", "f", "g", "h", "h", "single"])
    assert (whole.n_permutations(), whole.n_flips()) == (6, 16)
    for one in whole.order[whole.permutations(100, 0)]:
        moved = dict(zip(whole.order.tolist(), one.tolist()))
        assert moved[6] == 6
        assert {frozenset((moved[a], moved[b])) for a, b in ((0, 2), (1, 3), (4, 5))} == {
            frozenset(pair) for pair in ((0, 2), (1, 3), (4, 5))
        }
    with pytest.raises(DataError, match="must lie in one"):
        Exchangeability.of(2, within=["a", "b"], whole=["f", "f"])


def test_rows_without_a_value_leave_arrangements_within_their_blocks():
    blocks = Exchangeability.of(7, within=list("ABABABA"))
    left = np.array([1, 0, 1, 1, 1, 0, 1], dtype=bool)
    labels = np.array(list("ABABABA"))[blocks.order][left]
    for one in among(blocks.permutations(50, 0), left):
        assert sorted(one) == list(range(5))
        assert (labels[one] == labels).all()


def test_a_missing_value_leaves_its_person_out_of_that_measure_only():
    generator = np.random.default_rng(3)
    group, values = np.repeat([0.0, 1.0], 10), generator.normal(size=(20, 3))
    values[4, 1] = np.nan
    values[:10, 2] = np.nan
    full = design(Intercept=np.ones(20), group=group)
    found = compare(values, full, Exchangeability.of(20), ComparisonSettings(n_permutations=199))[0].tested
    assert [one.n for one in found] == [20, 19, 10]
    expected = stats.ttest_ind(values[10:, 1], np.delete(values[:10, 1], 4)).statistic
    assert found[1].fit.statistic[0] == pytest.approx(expected)
    assert found[2].fit is None
    assert math.isnan(found[2].p_corrected)


def test_effects_are_those_of_the_textbook():
    generator = np.random.default_rng(4)
    one, other = generator.normal(0, 2, 12), generator.normal(1.5, 2, 9)
    age = generator.normal(size=21)
    values, group = np.concatenate([one, other])[:, None], np.repeat([0.0, 1.0], [12, 9])
    settings = ComparisonSettings(n_permutations=99)
    found = compare(values, design(Intercept=np.ones(21), group=group), Exchangeability.of(21), settings)[0].tested[0]
    pooled = math.sqrt((11 * one.var(ddof=1) + 8 * other.var(ddof=1)) / 19)
    assert found.effect.kind == "d"
    assert found.effect.size == pytest.approx((other.mean() - one.mean()) / pooled)
    test = stats.ttest_ind(other, one)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    reversed_effect = (
        compare(-values, design(Intercept=np.ones(21), group=group), Exchangeability.of(21), settings)[0]
        .tested[0]
        .effect
    )
    assert (-reversed_effect.high, -reversed_effect.low) == pytest.approx((found.effect.low, found.effect.high))
    both = design(Intercept=np.ones(21), age=age)
    partial = compare(values, both, Exchangeability.of(21), settings)[0].tested[0].effect
    reference = stats.pearsonr(age, values[:, 0])
    assert (partial.kind, partial.size) == ("r", pytest.approx(reference.statistic))
    assert (partial.low, partial.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_intervals_are_those_of_the_noncentral_t_where_its_ends_are_not_numbers():
    for t, degrees_of_freedom in ((8.588963, 18), (60.0, 1), (-40.0, 8)):
        effect = effect_of(t, np.ones((20, 1)), degrees_of_freedom, is_mean=True)
        ends = np.array([effect.low, effect.high]) * np.sqrt(20)
        np.testing.assert_allclose(stats.nct.sf(t, degrees_of_freedom, ends), [0.025, 0.975], atol=1e-6)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_units_of_measures_do_not_matter(scale):
    generator = np.random.default_rng(4)
    values, x = generator.normal(size=(20, 3)), generator.normal(size=20)
    values[3, 1] = np.nan
    model, settings = design(Intercept=np.ones(20), x=x), ComparisonSettings(n_permutations=199)
    one, other = (compare(own, model, Exchangeability.of(20), settings)[0].tested for own in (values, values * scale))
    assert [own.p_corrected for own in one] == [own.p_corrected for own in other]
    for mine, large in zip(one, other):
        np.testing.assert_allclose(large.fit.coefficient, mine.fit.coefficient * scale, rtol=1e-12)
        np.testing.assert_allclose(large.interval, np.array(mine.interval) * scale, rtol=1e-12)
    assert np.isnan(p_value(np.array([np.nan]), np.zeros((9, 1))))


def test_a_term_that_no_exchange_changes_is_refused():
    people, group = np.repeat(np.arange(10), 2).astype(str), np.repeat([0.0, 1.0], 10)
    values = np.random.default_rng(5).normal(size=(20, 2)) + 5 * group[:, None]
    model, settings = design(Intercept=np.ones(20), group=group), ComparisonSettings(n_permutations=99)
    for blocks in (Exchangeability.of(20, within=people), Exchangeability.of(20, whole=group.astype(str))):
        with pytest.raises(DataError, match="group cannot be tested, since no exchange that is allowed changes it"):
            compare(values, model, blocks, settings)
    assert compare(values, model, Exchangeability.of(20, whole=people), settings)[0].tested[0].p == 0.01
    session = design(Intercept=np.ones(20), session=np.tile([0.0, 1.0], 10))
    with pytest.raises(DataError, match="session cannot be tested"):
        compare(values, session, Exchangeability.of(20, whole=people), settings)


def test_a_term_that_no_exchange_changes_is_not_tested_beside_a_covariate_that_they_do_change():
    generator = np.random.default_rng(6)
    people, session, motion = (
        np.repeat(np.arange(12), 2).astype(str),
        np.tile([0.0, 1.0], 12),
        generator.normal(size=24),
    )
    values = generator.normal(size=(24, 1)) + 5 * session[:, None]
    model, whole = design(Intercept=np.ones(24), session=session, motion=motion), Exchangeability.of(24, whole=people)
    found = compare(values, model, whole, ComparisonSettings(n_permutations=99))
    assert [result.term for result in found] == ["motion"]
    with pytest.raises(DataError, match="session cannot be tested"):
        compare(values, model, whole, ComparisonSettings(n_permutations=99, terms=("motion", "session")))
    within = compare(values, model, Exchangeability.of(24, within=people), ComparisonSettings(n_permutations=99))
    assert within[0].term == "session"
    assert within[0].tested[0].p == 0.01


def test_a_covariate_that_changes_between_the_two_of_a_pair_is_told(tmp_path):
    results, people = tmp_path / "results.tsv", tmp_path / "participants.tsv"
    motion = {"a": [1, 2, 3, 4], "b": [2, 4, 3, 7]}
    rows = [(f"p{n}", session, motion[session][n], 60 + n * n) for n in range(4) for session in "ab"]
    results.write_text("subject\tsession\tpower\n" + "".join(f"{who}\t{ses}\t{2 * m}\n" for who, ses, m, _ in rows))
    people.write_text(
        "participant_id\tsession\tmotion\tage\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    )
    found = read_question(Asked(table=results, participants=people, formula="1 + motion + age", paired="session"))
    np.testing.assert_array_equal(found.values[:, 0], [2, 4, 0, 6])
    np.testing.assert_array_equal(found.design.matrix[:, 1], motion["a"])
    told = [one for one in found.findings if "changes between session a and session b" in one]
    assert len(told) == 1
    assert told[0].startswith("motion changes")
    unchanged = read_question(Asked(table=results, participants=people, formula="1 + age", paired="session"))
    assert not any("changes between" in one for one in unchanged.findings)


def test_several_columns_are_tested_by_f():
    generator = np.random.default_rng(5)
    sites = np.repeat(["a", "b", "c"], 8)
    values = generator.normal(size=(24, 1)) + (sites == "b")[:, None]
    made = design_of("site", table_of(site=sites))
    found = compare(values, made, Exchangeability.of(24), ComparisonSettings(n_permutations=999))[0].tested[0]
    expected = stats.f_oneway(*(values[sites == name, 0] for name in "abc"))
    assert found.fit.statistic[0] == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)


@pytest.mark.parametrize(
    ("formula", "error", "words"),
    [
        ("grup + age", ConfigurationError, "did you mean 'group'"),
        ("group + age + months", DataError, "months is a combination of"),
        ("group + one", DataError, "'x' for all 6 rows"),
        ("group * age * C(number)", DataError, "columns for 6 rows"),
        ("(1 | group)", ConfigurationError, "--sessions"),
        ("y ~ group", ConfigurationError, "right-hand side"),
        ("group +", ConfigurationError, "such as 'group \\+ age'"),
        (" ", ConfigurationError, "at least one term"),
    ],
)
def test_designs_that_cannot_be_used_are_named(formula, error, words):
    age = [20, 30, 25, 41, 52, 33]
    months = [12 * one for one in age]
    table = table_of(group=list("aabbab"), age=age, months=months, one=["x"] * 6, number=[1, 2, 3, 1, 2, 3])
    with pytest.raises(error, match=words):
        design_of(formula, table)
