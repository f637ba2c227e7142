"""Agreement of runs and ranking of settings, against brute force and scipy's own intervals."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from dynml.analysis.selection import agreement_of_runs, average_runs, match_runs, similarity
from dynml.analysis.selection.ranking import Candidate, rank
from dynml.analysis.selection.verdict import verdict
from dynml.cli.commands.selection.grid import settings_of_grid
from dynml.errors import ConfigurationError, DataError

GROUPS = ("dataset", "model", "initialization", "trainer")


def lasting_states(seed, n_states=3, lengths=(4000, 3000)):
    """One-hot time courses of states that last ten samples on average, one array per subject."""
    generator = np.random.default_rng(seed)
    paths = [np.repeat(generator.integers(0, n_states, n), generator.geometric(0.1, n))[:n] for n in lengths]
    return [np.eye(n_states)[path] for path in paths]


def soft(series, seed, noise=0.3):
    generator = np.random.default_rng(seed)
    values = [one + noise * generator.random(one.shape) for one in series]
    return [one / one.sum(axis=1, keepdims=True) for one in values]


def test_similarity_is_the_largest_over_all_orders():
    first, second = soft(lasting_states(0), 1), soft(lasting_states(0), 2)
    second = [one[:, [2, 0, 1]] for one in second]
    together = np.concatenate(first), np.concatenate(second)
    by_order = {
        order: np.minimum(together[0], together[1][:, order]).sum(axis=1).mean() for order in permutations(range(3))
    }
    found, order = similarity(first, second)
    assert tuple(order) == max(by_order, key=by_order.get) == (1, 2, 0)
    assert found == pytest.approx(max(by_order.values()), abs=1e-5)
    assert similarity(first, [one[:, ::-1] for one in first])[0] == pytest.approx(1, abs=1e-5)


def test_a_run_is_not_more_than_like_itself():
    same = [np.full((1000, 3), 0.33334, dtype="f4")]
    assert similarity(same, same)[0] == 1.0


def test_unrelated_runs_agree_no_more_than_shifted_ones_and_related_ones_do():
    related = agreement_of_runs([(lasting_states(0), soft(lasting_states(0), 1))])
    unrelated = agreement_of_runs([(lasting_states(seed), lasting_states(seed + 50)) for seed in range(4)])
    assert related.is_above_chance
    assert related.similarity > 0.7
    assert abs(unrelated.similarity - unrelated.shifted) < 0.05
    assert unrelated.similarity > 1 / 3, "matching alone makes runs alike"


def test_the_central_run_is_most_like_the_others_and_the_best_has_the_lowest_objective():
    truth = lasting_states(3)
    runs = [soft(truth, 1), [one[:, [1, 2, 0]] for one in soft(truth, 2, noise=0.1)], lasting_states(9)]
    found = match_runs(runs, [2.0, 1.5, float("nan")])
    assert (found.central, found.best) in ((0, 1), (1, 1))
    aligned = [[one[:, order] for one in run] for run, order in zip(runs, found.orders)]
    assert np.minimum(aligned[0][0], aligned[1][0]).sum(axis=1).mean() > 0.8
    assert found.similarity_RR[0, 1] > found.similarity_RR[0, 2]
    with pytest.raises(DataError, match="at least two"):
        match_runs(runs[:1])


def test_the_average_of_permuted_runs_is_the_run_with_rows_that_sum_to_one():
    truth = lasting_states(4)
    averaged = average_runs([soft(truth, 1), [one[:, [2, 1, 0]] for one in soft(truth, 2)]])
    assert [one.shape for one in averaged] == [one.shape for one in truth]
    assert np.allclose(np.concatenate(averaged).sum(axis=1), 1)
    found, order = similarity(truth, averaged)
    assert found > 0.6
    assert np.mean(np.concatenate(averaged)[:, order].argmax(1) == np.concatenate(truth).argmax(1)) == 1


def candidate(n_states, scores, gaussian):
    names = [f"p{number}" for number in range(len(scores))]
    baselines = {"gaussian": dict(zip(names, gaussian))}
    settings = {"model.n_states": n_states}
    return Candidate(
        settings=settings, scores=dict(zip(names, scores)), baselines=baselines, n_parameters=10 * n_states
    )


def test_the_smallest_model_within_the_interval_of_the_paired_difference_is_chosen():
    generator = np.random.default_rng(0)
    people = generator.normal(20, 5, 10)
    scores = {2: people + 0.5, 3: people + generator.normal(0, 0.01, 10), 4: people - 0.001, 5: people + 0.4}
    ranking = rank([candidate(n, values, people + 1) for n, values in scores.items()])
    assert ranking.best_ranked.candidate.settings["model.n_states"] in (3, 4)
    assert ranking.chosen.candidate.settings["model.n_states"] == 3
    best = ranking.best_ranked.candidate.settings["model.n_states"]
    two = next(one for one in ranking.ranked if one.candidate.settings["model.n_states"] == 2)
    interval = ttest_1samp(scores[2] - scores[best], 0).confidence_interval(0.95)
    assert (two.difference.low, two.difference.high) == pytest.approx(tuple(interval))
    said = verdict(ranking, None, None, unit="participant", tried={"model.n_states": [2, 3, 4, 5]})
    assert said.states is True


def test_a_model_that_is_no_better_than_one_gaussian_has_no_states():
    generator = np.random.default_rng(1)
    people = generator.normal(20, 5, 10)
    ranking = rank([candidate(n, people + generator.normal(0.001 * n, 0.01, 10), people) for n in (2, 3)])
    said = verdict(ranking, None, None, unit="participant", tried={"model.n_states": [2, 3]})
    assert said.states is False
    assert said.sentences[0].startswith("No states")


def test_a_grid_is_every_combination():
    found = settings_of_grid(["model.n_states=2:6:2", "--trainer.learning_rate=0.1,[1,2]"], GROUPS)
    assert [tuple(one.values()) for one in found] == [
        (n, rate) for n in ("2", "4", "6") for rate in ("0.1", "[1,2]")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "at least one"),
        (["model.n_states"], "KEY=VALUES"),
        (["n_states=2:3"], "GROUP.NAME"),
        (["modle.n_states=2:3"], "did you mean 'model'"),
        (["model.n_states=5:2"], "goes up"),
        (["model.n_states=0.1:2"], "whole numbers"),
        (["model.n_states=2,2"], "each of them once"),
        (["model.n_states=2", "model.n_states=3"], "which has two"),
        (["trainer.seed=1,2"], "--seeds"),
        (["dataset.n_components=5,10"], "cannot be compared"),
    ],
)
def test_faults_of_a_grid_are_named(entries, message):
    with pytest.raises(ConfigurationError, match=message):
        settings_of_grid(entries, GROUPS)


def ranking_beside(**gains):
    """Three states that gain 1 nat over one Gaussian; baselines that they gain as given over, in ten people."""
    generator = np.random.default_rng(2)
    people = generator.normal(20, 5, 10)
    beside = {"gaussian": 1.0, "gaussian_mixture": 0.5, **gains}
    names = [f"p{number}" for number in range(10)]
    baselines = {name: dict(zip(names, people + gain + generator.normal(0, 0.05, 10))) for name, gain in beside.items()}
    own = Candidate(
        settings={"model.n_states": 3}, scores=dict(zip(names, people)), baselines=baselines, n_parameters=30
    )
    return rank([own])


@pytest.mark.parametrize(
    ("gains", "states", "words"),
    [
        ({"stationary_var": 0.9, "phase_randomized": 0.9}, True, "which have no states"),
        ({"stationary_var": 0.0, "phase_randomized": 0.9}, False, "stationary autoregression (VAR)"),
        ({"stationary_var": 0.9, "phase_randomized": -0.2}, False, "random phases"),
        ({"stationary_var": 0.9, "phase_randomized": 0.9, "gaussian_mixture": 0.0}, None, "nothing is shown"),
        ({"stationary_var": 0.9, "stationary_var_over_mixture": -0.1}, None, "a mixture and autocorrelation explain"),
        ({"stationary_var": 0.9, "stationary_var_over_mixture": 0.3}, True, "which have no states"),
        ({}, True, "were not tried"),
    ],
)
def test_states_must_gain_more_than_of_data_that_have_none(gains, states, words):
    said = verdict(ranking_beside(**gains), None, None, unit="participant", tried={"model.n_states": [3]})
    assert said.states is states
    assert words in said.sentences[0]
    assert said.sentences[0].startswith("No states") == (states is False)
    assert not any("other settings are worse" in sentence for sentence in said.sentences)  # there are none
