"""How baselines see the training subset: halves, chunks, processes, and segments that are too short."""

import threading

import numpy as np
import pytest
import torch
from baseline_oracles import SIZES, autoregression, mean_and_scale, random_task, windows_at, windows_of
from segments_making import recording_of
from sklearn.linear_model import Ridge

from dynml import MultiSubjectDataset
from dynml.errors import DataError
from dynml.models.sequence.baselines import passes as baseline_passes
from dynml.models.sequence.baselines.fitted import fit_baselines
from dynml.models.sequence.baselines.named import BASELINE_NAMES, applicable
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.linear_prediction import PENALTIES
from dynml.training.processes import Processes


def errors(baseline, task):
    predicted = baseline.predict(task)
    return float((predicted - task.windows.signals_BTC)[task.scored.expand_as(predicted)].square().mean())


# ---------------------------------------------------------------------------------------------------- passes


def assert_same_states(first, second, rtol=1e-5):
    assert first.keys() == second.keys()
    for name in first:
        for key, value in first[name].state_dict().items():
            torch.testing.assert_close(value, second[name].state_dict()[key], rtol=rtol, atol=1e-6, msg=f"{name} {key}")


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_it_makes_no_difference_how_rows_are_chunked_or_where_they_lie(recordings, fitted, monkeypatch, chunk):
    monkeypatch.setattr(baseline_passes, "CHUNK_ROWS", chunk)
    monkeypatch.setattr("dynml.batches.whole_segments.SAMPLES_PER_BATCH", 30)
    dataset = MultiSubjectDataset.from_arrays(recordings, residency="lazy" if chunk == 7 else "memory")
    assert_same_states(fit_baselines(BASELINE_NAMES, dataset, Processes(), **SIZES, seed=1), fitted)


class ThreadsAsProcesses(Processes):
    """Sums over threads that wait for each other."""

    def __init__(self, rank, world_size, board, barrier):
        super().__init__(rank, world_size)
        self.board, self.barrier = board, barrier

    def sum(self, values):
        self.board[self.rank] = values
        self.barrier.wait(timeout=600)
        total = sum(self.board[rank] for rank in range(self.world_size))
        self.barrier.wait(timeout=600)
        return total


def test_several_processes_hold_what_one_does(recordings, fitted):
    found, board, barrier = {}, {}, threading.Barrier(3)

    def fit(rank):
        dataset = MultiSubjectDataset.from_arrays(recordings, rank=rank, world_size=3)
        processes = ThreadsAsProcesses(rank, 3, board, barrier)
        found[rank] = fit_baselines(BASELINE_NAMES, dataset, processes, **SIZES, seed=1)

    threads = [threading.Thread(target=fit, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank in range(3):
        assert_same_states(found[rank], fitted)
        assert_same_states(found[rank], found[0], rtol=0)


def chosen_by_hand(arrays, halves):
    """Penalty of one lag with which two lists of arrays predict each other best."""
    mean, scale = mean_and_scale([arrays])
    pairs = [windows_at([[(arrays[i] - mean) / scale for i in half]], 2) for half in halves]
    n, n_channels = sum(map(len, pairs)), arrays[0].shape[1]

    def held_out_error(share):
        error = 0.0
        for fitted, judge in (pairs, pairs[::-1]):
            ridge = Ridge(alpha=share * n, fit_intercept=False).fit(fitted[:, :n_channels], fitted[:, n_channels:])
            error += np.square(judge[:, n_channels:] - ridge.predict(judge[:, :n_channels])).sum()
        return error

    return min(PENALTIES, key=held_out_error)


def test_penalties_are_judged_on_other_participants_or_runs_if_there_is_one_participant():
    """Runs of a participant agree and participants do not."""
    arrays = [*autoregression((90, 80), seed=1), *(-one[::-1, ::-1] for one in autoregression((85, 95), seed=2))]
    arrays = [np.ascontiguousarray(one - one.mean(0)) / one.std(0) for one in arrays]
    found = []
    for people in ("aabb", "aaaa"):
        participants = {f"training-{number}": person for number, person in enumerate(people)}
        dataset = MultiSubjectDataset.from_arrays(arrays, participants=participants)
        ridge = fit_baselines(["ridge_var"], dataset, Processes(), **SIZES | {"n_lags": 1}, seed=0)["ridge_var"]
        found.append(float(ridge.penalties[0]))
    assert found == [chosen_by_hand(arrays, halves) for halves in (((0, 1), (2, 3)), ((0, 2), (1, 3)))]
    assert found[0] > found[1]


def test_two_runs_of_one_participant_are_two_halves():
    arrays = autoregression((200, 150))
    people = {"training-0": "anna", "training-1": "anna"}
    one = MultiSubjectDataset.from_arrays(arrays, participants=people)
    two = MultiSubjectDataset.from_arrays(arrays)
    assert_same_states(*(fit_baselines(BASELINE_NAMES, each, Processes(), **SIZES, seed=0) for each in (one, two)))


def test_one_segment_is_divided_in_time():
    (array,) = autoregression((400,))
    dataset = MultiSubjectDataset.from_arrays([array])
    ridge = fit_baselines(["ridge_var"], dataset, Processes(), **SIZES, seed=0)["ridge_var"]
    mean, scale = array.astype(np.float64).mean(0), array.astype(np.float64).std(0)
    rows = (array - mean) / scale
    windows = windows_at([[rows[:200], rows[200:]]], 4).reshape(-1, 4, 3)
    model = Ridge(alpha=float(ridge.penalties[2]) * len(windows), fit_intercept=False)
    model.fit(windows[:, [2, 1, 0]].reshape(len(windows), -1), windows[:, 3])
    expected = model.coef_.T.reshape(3, 3, 3) / scale[:, None] * scale
    np.testing.assert_allclose(ridge.coefficients_NCC[3:].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_segments_that_are_too_short_for_all_lags_and_gaps_give_what_they_can():
    arrays = autoregression((5,) * 40)
    dataset = MultiSubjectDataset.from_arrays(arrays)
    baselines = fit_baselines(applicable("sequence_bert"), dataset, Processes(), **SIZES | {"n_lags": 6}, seed=0)
    ridge, sides = baselines["ridge_var"], baselines["ridge_both_sides"]
    # Five rows: four lags, three hidden samples between two visible ones, sides of two.
    assert torch.equal(ridge.coefficients_NCC[10:14], ridge.coefficients_NCC[6:10])
    assert not ridge.coefficients_NCC[14].any()
    assert int(sides.longest_gap) == 3
    assert torch.equal(sides.sides_NCC[[4, 5, 7, 8]], sides.sides_NCC[:4])
    assert not sides.sides_NCC[[6, 9]].any()
    for name in ("ridge_var", "ridge_both_sides"):
        assert torch.isfinite(baselines[name].predict(random_task(0, n_times=20))).all()


@pytest.mark.filterwarnings("ignore:Signals are rank-deficient")
def test_pairs_of_samples_are_enough_and_single_samples_are_refused():
    pairs = MultiSubjectDataset.from_arrays(autoregression((2,) * 30))
    baselines = fit_baselines(applicable("sequence_bert"), pairs, Processes(), **SIZES, seed=0)
    assert int(baselines["ridge_both_sides"].longest_gap) == 0
    assert torch.isfinite(baselines["ridge_both_sides"].predict(random_task(0))).all()
    signals = np.concatenate(autoregression((9,)))
    alone = MultiSubjectDataset.from_arrays([recording_of(signals, [[0, 1], [3, 4], [6, 7]])] * 2)
    with pytest.raises(DataError, match=r"segments of at least 4 samples, but the longest of the 2 .* has 1\."):
        fit_baselines(["ridge_var"], alone, Processes(), **SIZES, seed=0)


@pytest.mark.filterwarnings("ignore:Signals are rank-deficient")
def test_a_channel_that_depends_on_others_is_no_obstacle():
    arrays = [np.concatenate([one, one[:, :1] - one[:, 1:2]], axis=1) for one in autoregression((200, 150, 120))]
    dataset = MultiSubjectDataset.from_arrays(arrays)
    baselines = fit_baselines(BASELINE_NAMES, dataset, Processes(), **SIZES, seed=0)
    windows = windows_of(np.stack([one[:100] for one in arrays]).reshape(-1, 10, 4))
    visible = torch.ones(1, 1, 4, dtype=torch.bool)
    visible[..., 3] = False
    task = Task(windows, visible, ~visible)
    assert errors(baselines["ridge_from_other_networks"], task) < 1e-3 * float(windows.signals_BTC[..., 3].var())
    for name in BASELINE_NAMES:
        assert torch.isfinite(baselines[name].predict(random_task(0, n_channels=4))).all()
