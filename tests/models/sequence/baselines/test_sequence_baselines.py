"""Baselines against explicit regressions, loops over samples, and processes whose parameters are known."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from baseline_oracles import (
    AHEAD,
    CODE,
    CUTS,
    GAP,
    N_CHANNELS,
    N_LAGS,
    SIZES,
    WINDOW,
    autoregression,
    both_sides_by_loop,
    explicit_ridge,
    forecast_by_loop,
    mean_and_scale,
    network_problem,
    pieces_of,
    random_task,
    scoring_everything,
    stationary_process,
    windows_at,
    windows_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from dynml import MultiSubjectDataset
from dynml.models.sequence.baselines.both_sides import most_hidden
from dynml.models.sequence.baselines.fitted import fit_baselines
from dynml.models.sequence.baselines.named import BASELINE_NAMES, applicable, make_baseline
from dynml.models.sequence.baselines.passes import drawn_windows
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.linear_prediction import PENALTIES
from dynml.training.processes import Processes


@pytest.fixture(scope="module")
def segments():
    """Good stretches of four subjects, as float64 arrays by subject."""
    arrays = autoregression((150, 120, 80, 130))
    return [[array[a:b].astype(np.float64) for a, b in cuts] for array, cuts in zip(arrays, CUTS)]


# ---------------------------------------------------------------------------------------------------- one channel


def test_zero_predicts_zero():
    task = random_task(0)
    predicted = make_baseline("zero", N_CHANNELS).predict(task)
    assert predicted.shape == task.windows.shape
    assert not predicted.any()


@pytest.mark.parametrize("by", ["samples", "numbers"])
@pytest.mark.parametrize("with_parts", [False, True])
def test_predictions_of_single_channels_are_those_of_a_loop_over_samples(fitted, by, with_parts):
    n_compared = 0
    mean, powers = fitted["ar1"].mean_C.numpy(), fitted["ar1"].coefficients_C.numpy()
    for seed in range(5):
        task = random_task(seed, by=by, with_parts=with_parts)
        found = {name: fitted[name].predict(task).numpy() for name in ("persistence", "ar1", "interpolation")}
        for b, t, c, before, after in pieces_of(task):
            at, last = before[-1] if before else (t, 0.0)
            ahead, following = after[0] if after else (t, 0.0)
            between = np.interp(t, [at, ahead], [last, following]) if before and after else last + following
            expected = {
                "persistence": last,
                "ar1": mean[c] + (powers[c] ** (t - at) * (last - mean[c]) if before else 0.0),
                "interpolation": between,
            }
            for name, value in expected.items():
                assert found[name][b, t, c] == pytest.approx(value, abs=2e-4), (name, b, t, c)
            n_compared += 1
    assert n_compared > 400


def test_ar1_is_least_squares_within_segments(fitted, segments):
    mean, _ = mean_and_scale(segments)
    pairs = windows_at([[one - mean for one in of] for of in segments], 2).reshape(-1, 2, N_CHANNELS)
    expected = (pairs[:, 0] * pairs[:, 1]).sum(0) / np.square(pairs[:, 0]).sum(0)
    np.testing.assert_allclose(fitted["ar1"].coefficients_C, expected, atol=1e-6)
    np.testing.assert_allclose(fitted["ar1"].mean_C, mean, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------- ridge_var


def test_ridge_var_is_a_regression_for_every_number_of_lags(fitted, segments):
    ridge = fitted["ridge_var"]
    for n in range(1, N_LAGS + 1):
        penalty = float(ridge.penalties[n - 1])
        assert penalty in PENALTIES
        # All are fitted to samples that have all lags before them.
        rows = [N_LAGS - lag for lag in range(1, n + 1)]
        expected = explicit_ridge(segments, N_LAGS + 1, rows, N_LAGS, penalty)
        found = ridge.coefficients_NCC[n * (n - 1) // 2 :][:n].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_parts", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.6])
def test_forecasts_are_those_of_a_loop_over_samples(fitted, rate, with_parts):
    ridge = fitted["ridge_var"]
    for seed in range(5):
        task = random_task(seed, rate=rate, with_parts=with_parts, n_times=15)
        expected = forecast_by_loop(task, ridge.mean_C.numpy(), ridge.coefficients_NCC.double().numpy(), N_LAGS)
        mask = task.windows.mask_BT.numpy()
        np.testing.assert_allclose(ridge.predict(task).numpy()[mask], expected[mask], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["ridge_var", "ridge_both_sides"])
def test_what_is_scored_does_not_change_a_prediction(fitted, name):
    task = random_task(3, n_times=20, n_windows=6)
    whole = fitted[name].predict(task)
    scored = torch.from_numpy(np.random.default_rng(0).random((6, 20, 1)) < 0.2) & task.scored
    some = fitted[name].predict(dataclasses.replace(task, scored=scored))
    chosen = scored.expand_as(whole)
    torch.testing.assert_close(some[chosen], whole[chosen])


@pytest.fixture(scope="module")
def process():
    return stationary_process()


@pytest.fixture(scope="module")
def fitted_to_process(process):
    dataset = MultiSubjectDataset.from_arrays(process[3][:3])
    return fit_baselines(applicable("sequence_bert"), dataset, Processes(), **SIZES, seed=0)


def errors(baseline, task):
    predicted = baseline.predict(task)
    return float((predicted - task.windows.signals_BTC)[task.scored.expand_as(predicted)].square().mean())


def test_ridge_var_leaves_the_innovations_of_a_process_that_is_one(process, fitted_to_process):
    _, innovation, covariance, arrays = process
    windows = windows_of(arrays[3].reshape(60, 50, 4))
    scored = windows.mask_BT[:, :, None].clone()
    scored[:, 0] = False
    task = Task(windows, windows.mask_BT[:, :, None], scored, causal=True)
    found = {name: errors(fitted_to_process[name], task) for name in applicable("csm")}
    assert found["ridge_var"] == pytest.approx(np.trace(innovation) / 4, rel=0.03)
    assert found["zero"] == pytest.approx(np.trace(covariance) / 4, rel=0.15)
    assert found["ridge_var"] < 0.9 * min(found["persistence"], found["ar1"], found["zero"])


def test_a_windows_first_sample_is_predicted_by_the_mean_and_its_second_by_one_lag(fitted):
    windows = windows_of(np.random.default_rng(0).normal(size=(2, 6, 3)))
    ridge = fitted["ridge_var"]
    predicted = ridge.predict(scoring_everything(windows, torch.ones(1, 1, 1, dtype=torch.bool), causal=True))
    torch.testing.assert_close(predicted[:, 0], ridge.mean_C.expand(2, 3))
    expected = ridge.mean_C + (windows.signals_BTC[:, 0] - ridge.mean_C) @ ridge.coefficients_NCC[0]
    torch.testing.assert_close(predicted[:, 1], expected)


# ---------------------------------------------------------------------------------------------------- both sides


def test_ridge_both_sides_is_a_regression_for_every_gap_and_every_side(fitted, segments):
    ridge, window_length = fitted["ridge_both_sides"], max(GAP + 2, 2 * N_LAGS + 1)
    assert int(ridge.longest_gap) == GAP == 8
    assert ridge.n_sides == N_LAGS
    index = 0
    for n_hidden in range(1, GAP + 1):
        for distance in range(1, n_hidden + 1):
            expected = explicit_ridge(
                segments, window_length, [0, n_hidden + 1], distance, float(ridge.penalties[N_LAGS])
            )
            np.testing.assert_allclose(ridge.gaps_N2CC[index].numpy(), expected, rtol=1e-4, atol=1e-5)
            index += 1
    for n in (2, 3):
        rows = [n - 1, n - 2, n - 3][:n] + [n + 1, n + 2, n + 3][:n]
        expected = explicit_ridge(segments, window_length, rows, n, float(ridge.penalties[N_LAGS + n - 1]))
        found = ridge.sides_NCC[{2: slice(0, 4), 3: slice(4, 10)}[n]]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=2e-5)
    backward = explicit_ridge(segments, window_length, [1, 2], 0, float(ridge.penalties[2 * N_LAGS + 1]))
    np.testing.assert_allclose(ridge.backward_NCC[1:3].numpy(), backward, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_parts", [False, True])
def test_predictions_from_both_sides_are_those_of_a_loop_over_samples(fitted, with_parts):
    ridge, kinds = fitted["ridge_both_sides"], set()
    for seed, rate in itertools.product(range(4), (0.1, 0.4, 0.9)):
        task = random_task(seed, rate=rate, with_parts=with_parts, n_times=30, n_windows=5)
        expected, found_kinds = both_sides_by_loop(task, ridge)
        mask = task.windows.mask_BT.numpy()
        np.testing.assert_allclose(ridge.predict(task).numpy()[mask], expected[mask], rtol=1e-4, atol=2e-3)
        kinds |= found_kinds
    assert kinds == {"nothing", "forward", "backward", "gap", "sides of 1", "sides of 2", "sides of 3"}


@pytest.mark.parametrize(("k", "distance"), [(1, 1), (1, 2), (3, 1), (2, 3), (4, 5)])
def test_both_sides_reach_the_conditional_gaussian_of_a_known_process(process, fitted_to_process, k, distance):
    matrix, _, covariance, arrays = process
    power = np.linalg.matrix_power

    def lagged(later, earlier):
        lag = later - earlier
        return power(matrix, lag) @ covariance if lag >= 0 else covariance @ power(matrix, -lag).T

    times = (0, k + distance)
    across = np.hstack([lagged(k, s) for s in times])
    inside = np.block([[lagged(s, u) for u in times] for s in times])
    weights = np.linalg.solve(inside, across.T)
    windows = windows_of(arrays[3][: 3000 // 12 * 12].reshape(-1, 12, 4)[:, : k + distance + 1])
    visible = torch.zeros(1, k + distance + 1, 1, dtype=torch.bool)
    visible[:, [0, -1]] = True
    scored = torch.zeros_like(visible)
    scored[:, k] = True
    task = Task(windows, visible.expand(len(windows.keys_B), -1, -1), scored)
    ends = windows.signals_BTC[:, [0, -1]].flatten(1).double().numpy()
    found = fitted_to_process["ridge_both_sides"].predict(task)[:, k].numpy()
    error = np.square(found - ends @ weights).mean()
    assert error < 0.01 * np.square(ends @ weights).mean()
    # What is left is the conditional variance, and no other baseline does better.
    left = np.trace(covariance - across @ weights) / 4
    scores = {name: errors(one, task) for name, one in fitted_to_process.items()}
    assert scores["ridge_both_sides"] == pytest.approx(left, rel=0.2)
    assert min(scores, key=scores.get) == "ridge_both_sides"


def test_tables_of_gaps_stay_small_with_many_channels():
    assert [most_hidden(n) for n in (1, 64, 256, 512, 1024)] == [8, 8, 8, 7, 3]
    for n_channels in (512, 1024):
        n_gaps = most_hidden(n_channels) * (most_hidden(n_channels) + 1) // 2
        assert n_gaps * 2 * n_channels**2 * 4 <= 2**26


# ---------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("bytes_at_a_time", [2**28, 1])
def test_hidden_networks_are_predicted_by_the_conditional_gaussian_of_each_pattern(monkeypatch, bytes_at_a_time):
    monkeypatch.setattr("dynml.models.sequence.baselines.networks._BYTES_AT_A_TIME", bytes_at_a_time)
    arrays = network_problem()
    dataset = MultiSubjectDataset.from_arrays(arrays)
    ridge = fit_baselines(["ridge_from_other_networks"], dataset, Processes(), **SIZES, seed=0)
    ridge = ridge["ridge_from_other_networks"]
    assert float(ridge.penalty) in PENALTIES
    rows = np.concatenate(arrays).astype(np.float64)
    mean, scale = rows.mean(0), rows.std(0)
    covariance = np.cov(((rows - mean) / scale).T, bias=True) + float(ridge.penalty) * np.eye(10)
    for seed, rate in itertools.product(range(3), (0.1, 0.5, 0.95)):
        task = random_task(seed, by="networks", n_channels=10, rate=rate, n_windows=7)
        found = ridge.predict(task)
        hidden = ~task.visible.any(1).numpy()
        for b, t in np.argwhere(task.windows.mask_BT.numpy()):
            h, v = np.flatnonzero(hidden[b]), np.flatnonzero(~hidden[b])
            deviations = (task.windows.signals_BTC[b, t].double().numpy() - mean) / scale
            conditional = covariance[np.ix_(h, v)] @ np.linalg.solve(covariance[np.ix_(v, v)], deviations[v])
            np.testing.assert_allclose(found[b, t].numpy()[h], mean[h] + scale[h] * conditional, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_penalty_of_networks_is_the_one_with_which_the_halves_predict_each_other_best(seed):
    first, second, _ = network_problem(seed)
    arrays = [first[:12], second]
    dataset = MultiSubjectDataset.from_arrays(arrays)
    ridge = fit_baselines(["ridge_from_other_networks"], dataset, Processes(), **SIZES, seed=0)
    rows = np.concatenate(arrays).astype(np.float64)
    rows = (rows - rows.mean(0)) / rows.std(0)

    def held_out_error(share):
        error = 0.0
        for fitted, judge in ((rows[:12], rows[12:]), (rows[12:], rows[:12])):
            for group in range(8):
                hidden = np.arange(group, 10, 8)
                seen = np.setdiff1d(np.arange(10), hidden)
                model = Ridge(alpha=share * len(rows), fit_intercept=False).fit(fitted[:, seen], fitted[:, hidden])
                predicted = model.predict(judge[:, seen]).reshape(len(judge), -1)
                error += np.square(judge[:, hidden] - predicted).sum()
        return error

    assert float(ridge["ridge_from_other_networks"].penalty) == min(PENALTIES, key=held_out_error)


# ---------------------------------------------------------------------------------------------------- pca


@pytest.mark.parametrize("window_length", [4, 40])
def test_pca_is_the_projection_of_numpys_svd(window_length):
    """40: more numbers than windows, some of which are padded."""
    arrays = autoregression((60, 45, 30, 50))
    dataset = MultiSubjectDataset.from_arrays(arrays)
    sizes = {"n_lags": 1, "window_length": window_length, "code_size": CODE}
    pca = fit_baselines(["pca"], dataset, Processes(), **sizes, seed=0)["pca"]
    long = [array for array in arrays if len(array) >= window_length]
    rows = windows_at([[array.astype(np.float64)] for array in long], window_length)
    short = [array for array in arrays if len(array) < window_length]
    padded = [np.concatenate([one, np.full((window_length - len(one), 3), np.nan)]).ravel() for one in short]
    rows = np.concatenate([rows, *(one[None] for one in padded)])
    mean = np.nanmean(rows, axis=0)
    deviations = np.nan_to_num(rows - mean)
    directions = np.linalg.svd(deviations, full_matrices=False)[2][:CODE]
    expected = mean + deviations @ directions.T @ directions
    signals = np.nan_to_num(rows).reshape(len(rows), window_length, 3)
    windows = windows_of(signals, (~np.isnan(rows.reshape(signals.shape)[:, :, 0])).sum(1))
    task = scoring_everything(windows, torch.ones(1, 1, 1, dtype=torch.bool))
    found = pca.predict(task).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-3)
    # Of windows that are shorter than those it was fitted to, nothing but the padding is missing.
    few = dataclasses.replace(windows, signals_BTC=windows.signals_BTC[:, :3], mask_BT=windows.mask_BT[:, :3])
    padded = windows_of(windows.signals_BTC, [3] * len(rows))
    short, long = (pca.predict(scoring_everything(one, torch.ones(1, 1, 1, dtype=torch.bool))) for one in (few, padded))
    torch.testing.assert_close(short, long[:, :3], rtol=1e-4, atol=1e-3)


def test_pca_of_as_many_directions_as_there_are_is_the_identity_and_more_do_no_harm():
    arrays = autoregression((40, 30))
    dataset = MultiSubjectDataset.from_arrays(arrays)
    sizes = {"n_lags": 1, "window_length": 4, "code_size": 20}
    pca = fit_baselines(["pca"], dataset, Processes(), **sizes, seed=0)["pca"]
    assert not pca.directions_DTC[12:].any()
    task = random_task(0, by="nothing", n_times=4)
    predicted = torch.where(task.scored, pca.predict(task), 0.0)
    torch.testing.assert_close(predicted, task.windows.signals_BTC, rtol=1e-4, atol=1e-4)


def test_windows_of_pca_are_drawn_by_the_seed_from_everywhere(dataset, monkeypatch):
    drawn = [drawn_windows(dataset.training_set, WINDOW, 50, seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({tuple(one) for one in drawn[0]}) == 50
    every = drawn_windows(dataset.training_set, WINDOW, 10**6, 0)
    allowed = {
        (subject, t, min(t + WINDOW, stop))
        for subject, cuts in enumerate(CUTS)
        for start, stop in cuts
        for t in range(start, max(start, stop - WINDOW) + 1)
    }
    assert {tuple(one) for one in every.tolist()} == allowed
    assert len(every) == len(allowed)
    counts = np.bincount([row[0] for seed in range(40) for row in drawn_rows(dataset, seed)], minlength=4)
    shares = np.bincount([row[0] for row in allowed]) / len(allowed)
    np.testing.assert_allclose(counts / counts.sum(), shares, atol=0.03)


def drawn_rows(dataset, seed):
    return drawn_windows(dataset.training_set, WINDOW, 50, seed).tolist()


# ---------------------------------------------------------------------------------------------------- properties


def same_where_scored(baseline, task, other):
    chosen = task.scored.expand(task.windows.shape)
    return torch.equal(baseline.predict(task)[chosen], baseline.predict(other)[chosen])


@pytest.mark.parametrize("name", BASELINE_NAMES)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["samples", "numbers", "networks"]), st.sampled_from([0.1, 0.5, 0.9]))
def test_what_is_not_visible_has_no_influence(fitted, name, seed, by, rate):
    task = random_task(seed, by=by, rate=rate)
    noise = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=task.windows.shape).astype(np.float32))
    signals = torch.where(task.visible, task.windows.signals_BTC, 100 * noise)
    assert same_where_scored(
        fitted[name], task, dataclasses.replace(task, windows=dataclasses.replace(task.windows, signals_BTC=signals))
    )


@pytest.mark.parametrize("name", applicable("csm"))
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_causal_baselines_do_not_look_ahead(fitted, name, rate):
    task = dataclasses.replace(random_task(5, rate=rate, n_windows=6), causal=True)
    before = fitted[name].predict(task)
    for t in range(WINDOW):
        signals, visible = task.windows.signals_BTC.clone(), task.visible.expand(6, WINDOW, 1).clone()
        signals[:, t:] += 1000.0
        visible[:, t:] &= torch.rand(6, WINDOW - t, 1, generator=torch.Generator().manual_seed(t)) < 0.5
        changed = Task(dataclasses.replace(task.windows, signals_BTC=signals), visible, task.scored, causal=True)
        after = fitted[name].predict(changed)
        mask = task.windows.mask_BT[:, : t + 1]
        assert torch.equal(after[:, : t + 1][mask], before[:, : t + 1][mask])


def test_the_past_has_influence_and_so_have_both_sides(fitted):
    """Else the tests of what has none would say nothing."""
    windows = windows_of(np.random.default_rng(0).normal(size=(1, WINDOW, 3)))
    visible = torch.ones(1, WINDOW, 1, dtype=torch.bool)
    visible[:, 6] = False
    for name, moved, expected in (("ridge_var", 5, True), ("ridge_var", 7, False), ("ridge_both_sides", 9, True)):
        signals = windows.signals_BTC.clone()
        signals[:, moved] += 1.0
        first, second = (
            fitted[name].predict(Task(dataclasses.replace(windows, signals_BTC=one), visible, ~visible))[:, 6]
            for one in (windows.signals_BTC, signals)
        )
        assert torch.equal(first, second) != expected


@pytest.mark.parametrize("name", AHEAD[:2])
def test_baselines_that_look_ahead_refuse_causal_tasks(fitted, name):
    with pytest.raises(AssertionError):
        fitted[name].predict(dataclasses.replace(random_task(0), causal=True))


@pytest.mark.parametrize("name", BASELINE_NAMES)
def test_a_state_loads_into_a_new_baseline_which_has_nothing_to_learn(fitted, name):
    fresh = make_baseline(name, N_CHANNELS, **SIZES)
    fresh.load_state_dict(fitted[name].state_dict())
    assert fresh.name == name
    assert not list(fresh.parameters())
    task = random_task(7, by="networks" if name == "ridge_from_other_networks" else "samples")
    assert torch.equal(fresh.predict(task), fitted[name].predict(task))


@pytest.mark.parametrize("name", BASELINE_NAMES)
def test_predictions_are_float32_under_autocast_as_well(fitted, name):
    task = random_task(7)
    with torch.autocast("cpu", torch.bfloat16):
        found = fitted[name].predict(task)
    assert found.dtype == torch.float32
    assert found.shape == task.windows.shape
    assert torch.isfinite(found).all()
    assert torch.equal(found, fitted[name].predict(task))


def test_every_family_has_its_baselines():
    assert applicable("csm") == BASELINE_NAMES[:4]
    assert applicable("sequence_bert") == BASELINE_NAMES[:6]
    assert applicable("network_bert") == ("zero", "ridge_from_other_networks")
    assert applicable("autoencoder") == ("zero", "pca")
