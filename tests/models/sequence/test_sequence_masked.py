"""Masked samples in the tasks and the models: nobody looks at them, nothing counts them, and all else stays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from masked_data import RUBBISH, masked, observed_at_random
from sequence_making import KINDS, N_CHANNELS, model_of, task_of
from sequence_windows import windows

from dynml.models.sequence.backbones.transformer import Transformer
from dynml.models.sequence.baselines.named import applicable, make_baseline
from dynml.models.sequence.objectives.forecasting import forecast
from dynml.models.sequence.objectives.pairs import has_both_parts, paired_windows
from dynml.models.sequence.objectives.tasks import (
    masked_networks_task,
    masked_samples_task,
    next_sample_task,
    reconstruction_task,
    single_position_task,
)
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows, masked_windows

LENGTHS = (20, 13, 4, 7, 20, 16)
TASKS = {
    "next": next_sample_task,
    "single": single_position_task,
    "samples": lambda given: masked_samples_task(given, 0.2),
    "networks": lambda given: masked_networks_task(given, 0.3),
    "all": reconstruction_task,
}


def some(rate: float = 0.3, seed: int = 5) -> tuple[Windows, torch.Tensor]:
    given = windows(N_CHANNELS, LENGTHS)
    return given, observed_at_random(given, rate, seed)


# ---------------------------------------------------------------------------------------------------- windows


def test_masked_windows_are_filled_and_end_with_an_observed_sample():
    given, observed_BT = some()
    observed_BT[1, 9:] = False
    found = masked(given, observed_BT)
    for row in range(6):
        last = int(torch.nonzero(observed_BT[row]).max())
        assert found.lengths_B[row] == last + 1
    assert torch.equal(found.signals_BTC[observed_BT], given.signals_BTC[observed_BT])
    assert not found.signals_BTC[~observed_BT].any()
    assert torch.equal(found.known_BT, observed_BT)
    assert torch.equal(found.seconds_BT, given.seconds_BT)
    assert found.ragged


def test_windows_that_were_observed_whole_stay_as_they_are():
    given = windows(N_CHANNELS, LENGTHS)
    assert masked_windows(given, given.mask_BT) is given


def test_a_window_without_an_observed_sample_is_not_empty_and_nothing_of_it_is_scored():
    given, observed_BT = some()
    observed_BT[2] = False
    found = masked(given, observed_BT)
    assert found.lengths_B[2] == 1
    for name, make in TASKS.items():
        task = make(found)
        assert not task.scored.expand(found.shape)[2].any(), name
        assert not task.visible.expand(found.shape)[2].any(), name


# ---------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("name", TASKS)
def test_tasks_neither_show_nor_score_masked_samples(name):
    given, observed_BT = some()
    task = TASKS[name](masked(given, observed_BT))
    shape = given.shape
    visible, scored = task.visible.expand(shape).numpy(), task.scored.expand(shape).numpy()
    assert not visible[~observed_BT.numpy()].any()
    assert not scored[~observed_BT.numpy()].any()
    for row, length in enumerate(LENGTHS):
        known = np.flatnonzero(observed_BT[row].numpy())
        assert known.max() < length
        at = np.flatnonzero(scored[row].any(axis=1))
        if name == "next":
            assert at.tolist() == known[1:].tolist()
        elif name == "single":
            assert len(at) == (1 if len(known) > 1 else 0)
            assert np.flatnonzero(visible[row, :, 0]).tolist() == [one for one in known if not len(at) or one < at[0]]
        elif name == "samples":
            assert len(at) == min(max(1, round(0.2 * len(known))), max(len(known) - 1, 1))
            assert set(np.flatnonzero(visible[row, :, 0])) == set(known) - set(at)
        else:
            assert at.tolist() == known.tolist()
        if name == "networks":
            assert (scored[row, known].sum(axis=1) == 2).all()


def test_single_positions_are_drawn_evenly_from_the_observed_ones():
    given = windows(2, (8,) * 3000)
    observed_BT = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1], dtype=torch.bool).expand(3000, 8)
    scored_BT = single_position_task(masked(given, observed_BT)).scored[:, :, 0]
    shares = scored_BT.double().mean(dim=0).numpy()
    np.testing.assert_allclose(shares, [0, 0, 0.25, 0.25, 0, 0, 0.25, 0.25], atol=0.03)


# ---------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_at_masked_samples_changes_nothing(kind, linear_path):
    model = model_of(kind, linear_path=linear_path and kind != "autoencoder")
    given, observed_BT = some()
    first, second = masked(given, observed_BT), masked(given, observed_BT, RUBBISH)
    outputs, others = (model(task_of(model, one)) for one in (first, second))
    assert torch.equal(outputs.predicted_BTC, others.predicted_BTC)
    assert torch.isfinite(outputs.predicted_BTC).all()
    (loss, n), (other_loss, other_n) = model.compute_loss(outputs), model.compute_loss(others)
    assert loss == other_loss
    assert n == other_n > 0
    for pooling in ("class_token", "mean"):
        assert torch.equal(model.pooled(first, pooling), model.pooled(second, pooling))


@pytest.mark.parametrize("kind", KINDS)
def test_masked_samples_at_the_end_are_padding(kind):
    model, given = model_of(kind), windows(N_CHANNELS, LENGTHS)
    longer = windows(N_CHANNELS, tuple(length + 4 for length in LENGTHS))
    signals_BTC = torch.where(longer.mask_BT[:, :, None], RUBBISH, 0.0).expand(longer.shape).clone()
    signals_BTC[:, :20][given.mask_BT] = given.signals_BTC[given.mask_BT]
    observed_BT = torch.nn.functional.pad(given.mask_BT, (0, 4))
    found = masked(dataclasses.replace(longer, signals_BTC=signals_BTC), observed_BT)
    outputs, others = model(task_of(model, given)), model(task_of(model, found))
    where = outputs.task.windows.mask_BT
    torch.testing.assert_close(
        outputs.predicted_BTC[where], others.predicted_BTC[:, :20][where], atol=2e-5, rtol=0, msg=kind
    )
    (loss, n), (other_loss, other_n) = model.compute_loss(outputs), model.compute_loss(others)
    assert loss.item() == pytest.approx(other_loss.item(), abs=2e-6)
    assert n == other_n
    for pooling in ("class_token", "mean"):
        torch.testing.assert_close(model.pooled(given, pooling), model.pooled(found, pooling), atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("pairs")])
@pytest.mark.parametrize("loss", ["l1", "l2", "huber"])
def test_the_loss_is_the_mean_over_observed_targets(kind, loss):
    model, (given, observed_BT) = model_of(kind, loss=loss, huber_delta=0.7), some()
    task = task_of(model, masked(given, observed_BT))
    outputs = model(task)
    predicted, target = outputs.predicted_BTC.detach().double().numpy(), given.signals_BTC.double().numpy()
    scored, total, count = task.scored.expand(given.shape).numpy(), 0.0, 0
    for b, t, c in np.ndindex(*given.shape):
        if not scored[b, t, c]:
            continue
        assert observed_BT[b, t]
        error = abs(predicted[b, t, c] - target[b, t, c])
        huber = error**2 / 2 if error < 0.7 else 0.7 * (error - 0.35)
        total += {"l1": error, "l2": error**2, "huber": huber}[loss]
        count += 1
    found, n = model.compute_loss(outputs)
    assert int(n) == count > 0
    assert found.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("kind", ["csm", "csm_single"])
@pytest.mark.parametrize("linear_path", [False, True])
def test_causal_models_do_not_look_ahead_over_gaps(kind, linear_path):
    model, given = model_of(kind, linear_path=linear_path), windows(N_CHANNELS, (20, 20, 20))
    observed_BT = observed_at_random(given, 0.4)
    observed_BT[:, -1] = True
    task = single_position_task(masked(given, observed_BT))
    position_B = task.scored[:, :, 0].int().argmax(dim=1)
    future = (torch.arange(20) >= position_B[:, None]) & observed_BT

    def predicted(where: torch.Tensor) -> torch.Tensor:
        signals_BTC = torch.where(where[:, :, None], 9.0, task.windows.signals_BTC)
        shown = dataclasses.replace(task, windows=dataclasses.replace(task.windows, signals_BTC=signals_BTC))
        return model(shown).predicted_BTC[torch.arange(3), position_B]

    before = predicted(torch.zeros_like(future))
    assert torch.equal(before, predicted(future))
    assert not torch.allclose(before, predicted(observed_BT & ~future))


def test_in_training_gradients_of_windows_with_nothing_observed_are_finite_and_weigh_nothing():
    for kind in ("csm", "sequence_bert_pairs", "network_bert", "autoencoder"):
        model, (given, observed_BT) = model_of(kind, dropout=0.0), some()
        observed_BT[3] = False
        outputs = model.train()(task_of(model, masked(given, observed_BT)))
        loss, n = SequenceModel.compute_loss(model, outputs)
        loss.backward()
        assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None), kind
        nothing = masked(given, torch.zeros_like(observed_BT))
        loss, n = model.compute_loss(model(task_of(model, nothing)))
        assert (loss.item(), float(n)) == (0.0, 0.0), kind


def test_the_mean_state_is_that_of_observed_samples():
    for kind in ("csm", "sequence_bert", "network_bert"):
        model, (given, observed_BT) = model_of(kind), some()
        found = masked(given, observed_BT)
        states, pooled = model.states(found), model.pooled(found, "mean")
        for row in range(6):
            torch.testing.assert_close(pooled[row], states[row][observed_BT[row]].mean(dim=0), atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("causal", [True, False])
def test_the_states_of_observed_samples_are_those_of_windows_without_the_masked_ones(norm, causal):
    # Without positions, a window with gaps is to a transformer the window of its observed samples.
    torch.manual_seed(0)
    transformer = Transformer(16, 2, 2, n_positions=20, norm=norm).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        transformer.positions.weight.zero_()
    given, observed_BT = some(0.4)
    observed_BT[4, :2] = False
    inputs_BTd = torch.randn(6, 20, 16) * given.mask_BT[:, :, None]
    states = transformer(inputs_BTd, given.mask_BT, causal=causal, observed_BT=observed_BT)
    maps = transformer.attention(inputs_BTd, given.mask_BT, causal=causal, observed_BT=observed_BT)
    for row in range(6):
        known = observed_BT[row]
        alone = transformer(inputs_BTd[row : row + 1, known], None, causal=causal)[0]
        torch.testing.assert_close(states[row, known], alone, atol=1e-5, rtol=1e-5)
        for found, expected in zip(
            maps, transformer.attention(inputs_BTd[row : row + 1, known], None, causal=causal), strict=True
        ):
            torch.testing.assert_close(found[row][:, known][:, :, known], expected[0], atol=1e-5, rtol=1e-5)
            is_other = ~torch.eye(20, dtype=torch.bool)[~known]
            assert not found[row][:, :, ~known].transpose(1, 2)[:, is_other].any(), "nobody looks at masked samples"
            torch.testing.assert_close(found[row].sum(dim=-1), torch.ones(2, 20))


# ---------------------------------------------------------------------------------------------------- pairs, forecasts


def test_pairs_take_what_is_masked_with_them():
    given = windows(1, (20,) * 40)
    observed_BT = observed_at_random(given, 0.3)
    # Each sample says its window and time.
    names = (torch.arange(40)[:, None] * 100 + torch.arange(20) + 1.0)[:, :, None]
    shown = masked(dataclasses.replace(given, signals_BTC=names), observed_BT)
    pairs, _ = paired_windows(shown, torch.zeros(40).long(), torch.zeros(40).long(), 3)
    codes = pairs.signals_BTC[:, :, 0].long()
    known = pairs.observed_BT
    assert torch.equal(known, (codes > 0) & pairs.mask_BT)
    assert observed_BT[(codes[known] - 1) // 100, (codes[known] - 1) % 100].all()
    assert 0.6 < float(known.sum() / pairs.mask_BT.sum()) < 0.8


def test_pairs_of_which_a_part_is_masked_do_not_count():
    model, given = model_of("sequence_bert_pairs"), windows(N_CHANNELS, (12,) * 6)
    observed_BT = given.mask_BT.clone()
    observed_BT[0, :6] = False
    found = masked(given, observed_BT)
    task = model.task_of(found, torch.arange(6), torch.arange(6))
    valid = has_both_parts(task.windows)
    assert valid.tolist() == [False, True, True, True, True, True]
    outputs = dataclasses.replace(model(task), follows_logit_B=torch.tensor([-50.0, 2.0, 2.0, 2.0, 2.0, 2.0]))
    assert task.follows_B.all(), "there are no partners among other data sets"
    assert model.next_sequence_loss(outputs).item() == pytest.approx(np.log1p(np.exp(-2.0)), rel=1e-5)


def test_forecasts_start_from_windows_with_gaps():
    # Only the last observed sample is known to a predictor of x_t = 0.9 x_(t-1), whatever is masked behind it.
    given = dataclasses.replace(windows(3, (8, 8)), ragged=False)
    observed_BT = given.mask_BT.clone()
    observed_BT[0, 6:] = False
    signals_BTC = torch.where(observed_BT[:, :, None], given.signals_BTC, 0.0)
    known = dataclasses.replace(given, signals_BTC=signals_BTC, observed_BT=observed_BT)
    ar1 = make_baseline("ar1", 3)
    ar1.coefficients_C.fill_(0.9)
    ahead = forecast(ar1.predict, known, 4, torch.tensor([0.5, 0.5], dtype=torch.float64))
    for row, last, lost in ((0, 5, 2), (1, 7, 0)):
        for step in range(4):
            expected = 0.9 ** (step + 1 + lost) * given.signals_BTC[row, last]
            torch.testing.assert_close(ahead[row, step], expected)


def test_without_positions_and_times_forecasts_are_those_of_the_observed_samples_alone():
    model, given = model_of("csm"), dataclasses.replace(windows(N_CHANNELS, (8, 8)), ragged=False)
    with torch.no_grad():
        model.transformer.positions.weight.zero_()
        model.time_embedding.rows.weight.zero_()
    interval_B = torch.tensor([0.5, 0.5], dtype=torch.float64)

    def ahead(shown: Windows) -> torch.Tensor:
        return forecast(lambda task: model(task).predicted_BTC, shown, 3, interval_B)

    inner = given.mask_BT.clone()
    inner[:, 2:4] = False
    signals_BTC = torch.where(inner[:, :, None], given.signals_BTC, 0.0)
    found = ahead(dataclasses.replace(given, signals_BTC=signals_BTC, observed_BT=inner))
    keep = [0, 1, 4, 5, 6, 7]
    shorter = Windows(
        given.signals_BTC[:, keep], given.mask_BT[:, keep], given.seconds_BT[:, :6], given.keys_B, ragged=False
    )
    torch.testing.assert_close(found, ahead(shorter), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["csm", "sequence_bert", "network_bert", "autoencoder"])
def test_baselines_predict_without_masked_samples(family):
    generator = torch.Generator().manual_seed(1)
    given, observed_BT = some(0.4)
    first, second = masked(given, observed_BT), masked(given, observed_BT, RUBBISH)
    make = {"csm": "next", "sequence_bert": "samples", "network_bert": "networks", "autoencoder": "all"}[family]
    for name in applicable(family):
        baseline = make_baseline(name, N_CHANNELS, 3, 20, 4)
        for buffer_name, buffer in baseline.named_buffers():
            if buffer.is_floating_point() and buffer_name != "precision_CC":
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
        predicted, other = (baseline.predict(TASKS[make](one)) for one in (first, second))
        assert torch.isfinite(predicted).all()
        assert torch.equal(predicted, other), name


@pytest.mark.parametrize("kind", ["csm", "sequence_bert", "network_bert"])
def test_without_positions_and_times_the_class_token_is_that_of_the_observed_samples_alone(kind):
    model, (given, observed_BT) = model_of(kind), some(0.4)
    with torch.no_grad():
        model.transformer.positions.weight.zero_()
        model.time_embedding.rows.weight.zero_()
    pooled = model.pooled(masked(given, observed_BT))
    for row in range(6):
        known = observed_BT[row]
        alone = Windows(
            given.signals_BTC[row : row + 1, known],
            given.mask_BT[row : row + 1, known],
            given.seconds_BT[row : row + 1, known],
            given.keys_B[row : row + 1],
        )
        torch.testing.assert_close(pooled[row], model.pooled(alone)[0], atol=1e-5, rtol=1e-5)


def test_networks_are_predicted_from_others_as_if_masked_samples_were_not_there():
    given, observed_BT = some(0.4)
    baseline, generator = make_baseline("ridge_from_other_networks", N_CHANNELS), torch.Generator().manual_seed(0)
    factor = torch.randn(N_CHANNELS, 2 * N_CHANNELS, generator=generator, dtype=torch.float64)
    baseline.precision_CC.copy_(factor @ factor.T)
    task = masked_networks_task(masked(given, observed_BT), 0.3)
    predicted = baseline.predict(task)
    for b, t in np.argwhere(observed_BT.numpy()):
        hidden = task.scored[b, t]
        precision = baseline.precision_CC
        among, across = precision[hidden][:, hidden], precision[hidden][:, ~hidden]
        expected = -torch.linalg.solve(among, across @ given.signals_BTC[b, t, ~hidden].double())
        torch.testing.assert_close(predicted[b, t, hidden].double(), expected, atol=1e-4, rtol=1e-4)
