"""Responses to events against epochs cut by hand, enumerated flips, rolled series and nilearn's own model."""

import itertools

import numpy as np
import pytest
from scipy import stats

from dynml.analysis.responses.epochs import Window, cut_epochs
from dynml.analysis.responses.group import findings, group_responses
from dynml.analysis.responses.haemodynamic import HaemodynamicModel
from dynml.analysis.responses.locking import ShiftedRuns, exchanged_labels_p, is_periodic
from dynml.analysis.responses.means import TrialSums
from dynml.analysis.responses.participants import ResponseSettings, participant_responses
from dynml.analysis.responses.regressors import response_regressor
from dynml.analysis.responses.series import Onsets, SubjectSeries, valid_rows
from dynml.analysis.responses.sign_flips import sign_flip_p
from dynml.errors import ConfigurationError
from dynml.recording import Events


def series_of(
    values, onsets, condition=None, *, rate=1.0, segments=None, observed=None, runs=None, duration=0, name="a"
):
    values = np.asarray(values, dtype=np.float32)
    n_rows = len(values)
    valid, masked = valid_rows(np.array([[0, n_rows]] if segments is None else segments), n_rows, observed)
    n = len(onsets)
    return SubjectSeries(
        subject=name,
        participant=name,
        values=values,
        valid=valid,
        masked=masked,
        runs=np.array([[0, n_rows]] if runs is None else runs),
        run_names=tuple(f"run_{number}" for number in range(1 if runs is None else len(runs))),
        onsets=Onsets(
            row=np.asarray(onsets, dtype=np.float64),
            duration=np.full(n, duration),
            condition=np.zeros(n, dtype=np.int64) if condition is None else np.asarray(condition),
        ),
        sampling_frequency=rate,
    )


def chain(n_rows, n_states, generator, stay=0.9):
    states = np.zeros(n_rows, dtype=int)
    draws, jumps = generator.random(n_rows), generator.integers(0, n_states, n_rows)
    for row in range(1, n_rows):
        states[row] = states[row - 1] if draws[row] < stay else jumps[row]
    return np.eye(n_states, dtype=np.float32)[states]


def test_epochs_that_just_fit_are_kept_and_others_are_cut_or_left_out():
    values = np.arange(20.0)[:, None] + np.array([0.0, 100.0])
    # T = 20, window of 3 before and 4 after: onsets 3 and 16 just fit, 2 and 17 are cut, 0 is observed by 4 of 7.
    epochs = cut_epochs(series_of(values, [0, 2, 3, 16, 17, 19]), Window(-3, 4, 1.0))
    assert epochs.number.tolist() == [0, 1, 2, 3, 4, 5]
    assert epochs.n_cut == 4
    np.testing.assert_array_equal(epochs.values[2, :, 0], np.arange(0, 7))
    np.testing.assert_array_equal(epochs.values[3, :, 1], np.arange(113, 120))
    np.testing.assert_array_equal(epochs.values[1, :, 0], [np.nan, 0, 1, 2, 3, 4, 5])
    later = cut_epochs(series_of(values, [0, 2, 3, 16, 17, 19]), Window(0, 8, 1.0))
    assert later.n_left_out == 2  # 17 has 3 of 8 samples, 19 has 1
    assert later.counts()["epochs"] == 4


def test_gaps_masks_and_borders_of_runs_are_no_data():
    observed = np.ones(30, dtype=bool)
    observed[24] = False
    values = np.arange(30.0)[:, None]
    one = series_of(
        values, [8, 11, 22], segments=[[0, 5], [7, 15], [15, 30]], observed=observed, runs=[[0, 15], [15, 30]]
    )
    epochs = cut_epochs(one, Window(-4, 5, 1.0))
    np.testing.assert_array_equal(epochs.values[0, :, 0], [4, np.nan, np.nan, 7, 8, 9, 10, 11, 12])
    np.testing.assert_array_equal(epochs.values[1, :, 0], [7, 8, 9, 10, 11, 12, 13, 14, np.nan])
    np.testing.assert_array_equal(epochs.values[2, :, 0], [18, 19, 20, 21, 22, 23, np.nan, 25, 26])
    assert (epochs.n_cut, epochs.n_masked, epochs.n_left_out) == (2, 1, 0)
    assert epochs.run.tolist() == [0, 0, 1]


def test_a_baseline_is_subtracted_and_needs_a_sample():
    values = np.arange(20.0)[:, None] ** 2
    epochs = cut_epochs(series_of(values, [1, 10]), Window(-2, 6, 1.0), Window(-2, -1, 1.0))
    assert epochs.n_without_baseline == 1
    np.testing.assert_allclose(epochs.values[0, :, 0], np.arange(8, 16) ** 2 - 64)


@pytest.mark.parametrize(("start", "stop", "rate"), [(0.5, 0.5, 100), (1, 0, 100), (0, 0.004, 100), (0, np.inf, 100)])
def test_windows_without_a_sample_are_refused(start, stop, rate):
    with pytest.raises(ConfigurationError, match="--window"):
        Window.of_seconds(start, stop, rate)


def test_a_baseline_outside_the_window_is_refused():
    with pytest.raises(ConfigurationError, match="--baseline"):
        Window.of_seconds(-0.5, 1, 100).positions_of(Window.of_seconds(-1, 0, 100))


def test_onsets_keep_their_fractions_and_leave_out_what_has_no_label():
    events = Events(
        onset=np.array([3, 8, 12]),
        duration=np.zeros(3, dtype=np.int64),
        labels={"what": np.array([1, -1, 0])},
        names={"what": ("a", "b")},
        exact_onset=np.array([3.4, 8.0, 11.6]),
    )
    onsets = Onsets.of(events, "what", ("b", "a"))
    assert onsets.row.tolist() == [3.4, 11.6]
    assert onsets.condition.tolist() == [0, 1]
    assert onsets.n_unlabelled == 1


def test_means_over_trials_are_those_of_all_subjects_of_a_participant():
    generator = np.random.default_rng(0)
    parts = [series_of(generator.normal(size=(60, 2)), [10, 20, 30], [0, 1, 0]) for _ in range(2)]
    sums, window = TrialSums(2, 5, 2), Window(-2, 3, 1.0)
    for one in parts:
        sums.add(cut_epochs(one, window))
    by_hand = np.stack([one.values[onset - 2 : onset + 3] for one in parts for onset in (10, 30)])
    np.testing.assert_allclose(sums.mean[0], by_hand.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(sums.standard_error[0], by_hand.std(axis=0, ddof=1) / 2, atol=1e-6)
    assert sums.count.tolist() == [[4] * 5, [2] * 5]


def test_all_sign_flips_of_few_participants_are_gone_through():
    effects = np.random.default_rng(3).normal(0.4, 1.0, size=(8, 12))
    p, n_flips = sign_flip_p(effects)
    flips = np.array(list(itertools.product([1, -1], repeat=8)))
    statistics = np.abs(np.stack([stats.ttest_1samp(effects * flip[:, None], 0).statistic for flip in flips]))
    expected = (statistics.max(axis=1)[:, None] >= statistics[0] * (1 - 1e-9)).mean(axis=0)
    np.testing.assert_allclose(p, expected, atol=1e-12)
    assert n_flips == 255
    assert p.min() >= 2 / 256


def test_sign_flips_leave_out_who_has_nothing_and_states_that_never_change():
    effects = np.random.default_rng(4).normal(2.0, 0.5, size=(9, 3))
    effects[2, 0] = np.nan
    effects[:, 1] = 0.0
    effects[1:, 2] = np.nan
    p, _ = sign_flip_p(effects)
    assert p[0] == 2 / 512 * 2  # the sign of one participant changes nothing
    assert np.isnan(p[1:]).all()


def test_a_rise_of_a_tenth_for_200_ms_is_found_where_it_is():
    generator = np.random.default_rng(1)
    effects = generator.normal(0.0, 0.05, size=(20, 200, 4))
    effects[:, 80:100, 2] += 0.1
    p = sign_flip_p(effects.reshape(20, -1), n_flips=1000)[0].reshape(200, 4)
    found = np.flatnonzero(p[:, 2] <= 0.05)
    assert abs(found.min() - 80) <= 1
    assert abs(found.max() - 99) <= 1
    assert (p[:, [0, 1, 3]] > 0.05).all()


def test_shifted_means_are_those_of_rolled_rows():
    generator = np.random.default_rng(2)
    observed = np.ones(50, dtype=bool)
    observed[[4, 31]] = False
    signals, runs = generator.normal(size=(50, 3)), [[0, 25], [25, 50]]
    one = series_of(signals, [6, 15, 38], segments=[[0, 22], [25, 50]], observed=observed, runs=runs)
    window, baseline = Window(-3, 4, 1.0), Window(-3, -1, 1.0)
    epochs = cut_epochs(one, window)
    shifted = ShiftedRuns([one], [epochs], window, baseline).means(0, [np.array([0, 5, 23 + 2]), np.array([0, 9, 3])])
    for number, lags in enumerate([(0, 0), (5, 9), (23 + 2, 3)]):
        values = one.values.copy()
        for (start, stop), lag in zip(one.runs, lags):
            rows = start + np.flatnonzero(one.valid[start:stop])
            turned = values[rows] if lag < len(rows) else values[rows][::-1]  # backward in time
            values[rows] = np.roll(turned, lag % len(rows), axis=0)
        own = series_of(values, [6, 15, 38], segments=[[0, 22], [25, 50]], observed=observed, runs=one.runs)
        mean = np.nanmean(cut_epochs(own, window).values, axis=0)
        np.testing.assert_allclose(shifted[number], mean - mean[:2].mean(axis=0), atol=1e-6)


def test_p_of_unrelated_events_is_uniform_and_locked_states_are_found():
    window, p_of_null, n_found = Window(0, 8, 1.0), [], 0
    for number in range(120):
        generator = np.random.default_rng(number)
        values = chain(300, 3, generator)
        onsets = np.sort(generator.choice(290, 15, replace=False))
        null = series_of(values, onsets)
        own = ShiftedRuns([null], [cut_epochs(null, window)], window)
        p_of_null.append(own.p(0, n_shifts=99, seed=number).p.min())
        if number < 20:
            for onset in onsets:
                values[onset + 2 : onset + 6] = [0, 1, 0]
            locked = series_of(values, onsets)
            p = ShiftedRuns([locked], [cut_epochs(locked, window)], window).p(0, n_shifts=99, seed=number).p
            n_found += (p[2:6, 1] <= 0.05).all()
    assert stats.kstest(p_of_null, "uniform").pvalue > 0.01
    assert n_found >= 19


def test_equal_distances_are_noticed_also_as_a_pattern():
    assert is_periodic(np.arange(5) * 12.0)
    assert is_periodic(np.arange(6) * 14.5 + 3)
    assert is_periodic(np.concatenate([[start, start + 5] for start in range(0, 120, 20)]).astype(float))
    generator = np.random.default_rng(0)
    assert not is_periodic(np.cumsum(generator.integers(8, 20, 30)).astype(float))
    assert not is_periodic(np.array([4.0, 20.0, 90.0]))
    # The many trials of a run of MEG, which event by event would take an hour.
    assert not is_periodic(np.cumsum(generator.integers(200, 400, 800)).astype(float))
    assert is_periodic(np.arange(800) * 250.0 + generator.uniform(-0.4, 0.4, 800))


def test_labels_are_exchanged_within_runs_where_events_come_at_equal_distances():
    generator = np.random.default_rng(5)
    onsets = np.arange(5, 235, 10)
    condition = np.arange(len(onsets)) % 2
    values = chain(240, 3, generator, stay=0.5)
    for onset in onsets[condition == 0]:
        values[onset : onset + 4] = [0, 0, 1]
    settings = ResponseSettings(conditions=("a", "b"), window=Window(0, 5, 1.0), n_surrogates=199)
    found = participant_responses([series_of(values, onsets, condition)], settings)
    assert "exchanged" in found.locking[0].method
    assert found.locking[0].p[2] == 1 / 200
    assert found.locking[0].time[2] < 4
    settings = ResponseSettings(conditions=("a",), window=Window(0, 5, 1.0), n_surrogates=199)
    alone = participant_responses([series_of(values, onsets[::2])], settings)
    assert not alone.locking
    words = findings(group_responses([alone], settings), [alone], settings)
    assert any("equal distances" in sentence for sentence in words)


def test_exchanged_labels_need_two_conditions_in_a_run():
    signals, runs = np.random.default_rng(0).normal(size=(60, 2)), [[0, 30], [30, 60]]
    one = series_of(signals, [5, 15, 35, 45], [0, 0, 1, 1], runs=runs)
    assert exchanged_labels_p([cut_epochs(one, Window(0, 3, 1.0))], 0, n_exchanges=99, seed=0) is None


@pytest.fixture(scope="module")
def slow_locked():
    """120 rows of 2 s in each of two runs; state 1 follows condition 0 by a haemodynamic response."""
    from nilearn.glm.first_level import compute_regressor

    generator = np.random.default_rng(7)
    onsets = np.sort(np.concatenate([start + generator.choice(np.arange(2, 110, 6), 9, False) for start in (0, 120)]))
    condition = generator.integers(0, 2, len(onsets))
    values = generator.normal(0, 0.05, size=(240, 3)).cumsum(axis=0) * 0.3 + generator.normal(0, 0.05, size=(240, 3))
    for start in (0, 120):
        own = onsets[(condition == 0) & (onsets >= start) & (onsets < start + 120)] - start
        blocks = np.stack([own * 2.0, np.full(len(own), 4.0), np.ones(len(own))])
        regressor, _ = compute_regressor(blocks, "glover", np.arange(120) * 2.0)
        values[start : start + 120, 1] += 0.5 * regressor[:, 0]
    return series_of(values, onsets, condition, rate=0.5, runs=[[0, 120], [120, 240]], duration=2)


def test_the_haemodynamic_model_finds_the_effect_and_no_other(slow_locked):
    tests = HaemodynamicModel([slow_locked], ("a", "b")).tests(n_shifts=99, seed=0)
    effects, locking = tests[0]
    assert effects.effect[1] == pytest.approx(0.5, abs=3 * effects.standard_error[1])
    assert locking.p[1] <= 0.02
    assert locking.p[0] > 0.05
    assert tests[1][1].p.min() > 0.05


@pytest.mark.parametrize(("rate", "n_rows"), [(0.5, 200), (1 / 0.72, 300), (2.0, 300), (8.0, 400)])
@pytest.mark.parametrize("response", ["glover", "spm"])
def test_regressors_are_those_of_nilearn(rate, n_rows, response):
    from nilearn.glm.first_level import compute_regressor

    generator = np.random.default_rng(0)
    onsets = np.sort(generator.uniform(0, n_rows / rate - 0.1, 12))
    onsets[3:6] = np.round(onsets[3:6] * rate) / rate  # on samples
    onsets[0], onsets[7] = 0.0, onsets[6]
    durations = np.where(np.arange(12) % 3 == 0, 0.0, generator.uniform(0, 9, 12))
    expected, _ = compute_regressor((onsets, durations, np.ones(12)), response, np.arange(n_rows) / rate)
    found = response_regressor(onsets, durations, n_rows, rate, response)
    np.testing.assert_allclose(found, expected[:, 0], rtol=0, atol=1e-12)


def test_shifts_that_are_fitted_a_few_at_a_time_give_the_same(slow_locked, monkeypatch):
    together = HaemodynamicModel([slow_locked], ("a", "b")).tests(n_shifts=20, seed=0)
    monkeypatch.setattr("dynml.analysis.responses.haemodynamic.BYTES_AT_ONCE", 20_000)  # seven shifts of 2,880 bytes
    apart = HaemodynamicModel([slow_locked], ("a", "b")).tests(n_shifts=20, seed=0)
    for condition, (_, locking) in together.items():
        np.testing.assert_array_equal(apart[condition][1].p, locking.p)


def test_censored_rows_are_left_out_of_the_model(slow_locked):
    from dataclasses import replace

    values, valid = slow_locked.values.copy(), slow_locked.valid.copy()
    values[[30, 31, 160]] = 1000.0
    valid[[30, 31, 160]] = False
    censored = HaemodynamicModel([replace(slow_locked, values=values, valid=valid)], ("a", "b")).effects()
    whole = HaemodynamicModel([slow_locked], ("a", "b")).effects()
    np.testing.assert_allclose(censored[0].effect, whole[0].effect, atol=0.05)


def test_labels_that_fill_a_run_are_compared_with_rest():
    generator = np.random.default_rng(8)
    onsets = np.cumsum([0, *generator.integers(6, 12, 15)])
    onsets = onsets[onsets < 110]
    condition = np.arange(len(onsets)) % 2
    values = generator.normal(0, 0.1, size=(120, 2))
    one = series_of(values, onsets, condition, rate=0.5)
    object.__setattr__(one.onsets, "duration", np.diff(np.append(onsets, 120)))
    assert set(HaemodynamicModel([one], ("face", "rest")).effects()) == {0}
    assert set(HaemodynamicModel([one], ("face", "house")).effects()) == {0, 1}
    # Rest that this run does not have is not what it is compared with.
    with_rest_elsewhere = HaemodynamicModel([one], ("face", "house", "rest")).effects()
    for condition, found in HaemodynamicModel([one], ("face", "house")).effects().items():
        np.testing.assert_allclose(with_rest_elsewhere[condition].effect, found.effect)


def test_the_group_compares_with_each_participants_own_mean():
    participants, settings = [], ResponseSettings(conditions=("a",), window=Window(0, 6, 1.0), n_surrogates=99)
    for number in range(10):
        generator = np.random.default_rng(number)
        values, onsets = chain(300, 3, generator, stay=0.7), np.sort(generator.choice(290, 20, replace=False))
        for onset in onsets:
            values[onset + 1 : onset + 4] = [1, 0, 0]
        participants.append(participant_responses([series_of(values, onsets, name=f"s{number}")], settings))
    group = group_responses(participants, settings)
    assert (group.p[0, 1:4, 0] <= 0.05).all()
    assert group.n_trials[0].tolist() == [200] * 6 or group.n_trials[0].min() >= 190
    stacked = np.stack([one.mean for one in participants])
    np.testing.assert_allclose(group.mean, stacked.mean(axis=0))
    np.testing.assert_allclose(group.standard_error, stacked.std(axis=0, ddof=1) / np.sqrt(10))
    words = findings(group, participants, settings)
    assert "state 1" in words[0] or "states 1" in words[0]
    assert "10 of 10 participants" in words[1]
    few = group_responses(participants[:3], settings)
    assert any("no p-value" in sentence for sentence in findings(few, participants[:3], settings))


def test_effects_of_several_participants_are_tested_by_flips(slow_locked):
    from dataclasses import replace

    settings = ResponseSettings(conditions=("a", "b"), window=Window(0, 6, 0.5), haemodynamic="glover", n_surrogates=19)
    participants = []
    for number in range(7):
        noise = np.random.default_rng(number).normal(0, 0.1, size=slow_locked.values.shape)
        own = replace(slow_locked, subject=f"s{number}", participant=f"s{number}", values=slow_locked.values + noise)
        participants.append(participant_responses([own], settings))
    group = group_responses(participants, settings)
    assert group.effects[0, 1] == pytest.approx(0.5, abs=0.15)
    assert group.p_of_effects[0, 1] == 2 / 128
    assert participants[0].locking[0].p_of_times is None


def test_the_sentence_names_where_the_response_is_farthest_from_all_samples():
    settings = ResponseSettings(conditions=("a",), window=Window(0, 6, 1.0), n_surrogates=99)
    participants = []
    for number in range(8):
        generator = np.random.default_rng(number)
        values, onsets = chain(400, 3, generator, stay=0.7), np.sort(generator.choice(np.arange(0, 390, 12), 20, False))
        for count, onset in enumerate(onsets):
            values[onset : onset + 5] = [1, 0, 0]
            values[onset + 5] = [1, 0, 0] if count % 3 else [0, 1, 0]
        participants.append(participant_responses([series_of(values, onsets, name=f"s{number}")], settings))
    usual = np.mean([one.reference[0] for one in participants])
    said = findings(group_responses(participants, settings), participants, settings)[0]
    assert f"state 1 is at 1 at 0 s, against {usual:.3g} over all samples" in said


def test_states_that_never_change_are_said_to_be_locked_to_nothing():
    one = series_of(np.tile([1.0, 0.0], (120, 1)), [10, 31, 47, 75, 93], rate=0.5, duration=3)
    settings = ResponseSettings(conditions=("a",), window=Window(0, 6, 0.5), haemodynamic="glover", n_surrogates=99)
    participants = [participant_responses([one], settings)]
    said = findings(group_responses(participants, settings), participants, settings)
    assert said == ["a: no state varies, so that none can be locked to it."]
