"""What is shown and what is scored: at least one target, never padding, and everything keyed by window."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sequence_windows import DATASETS, SETTLED, SUBJECTS, windows

from dynml.models.sequence.backbones.tokens import TokenLayout
from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.objectives.pairs import paired_windows
from dynml.models.sequence.objectives.tasks import (
    Task,
    masked_networks_task,
    masked_samples_task,
    mean_loss,
    next_sample_task,
    reconstruction_task,
    single_position_task,
)
from dynml.models.sequence.windows import Windows

lengths_of_windows = st.lists(st.integers(1, 30), min_size=1, max_size=8).map(tuple)
rates = st.floats(0.01, 0.99)


def full(task: Task) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = task.windows.signals_BTC.shape
    return task.visible.expand(shape), task.scored.expand(shape), task.windows.mask_BT[:, :, None].expand(shape)


@given(lengths_of_windows, rates, st.integers(0, 100))
def test_hidden_samples_are_a_fixed_share_and_never_all_or_none(lengths, rate, seed):
    task = masked_samples_task(windows(3, lengths, seed), rate)
    visible, scored, mask = full(task)
    assert not (visible & scored).any()
    assert torch.equal(visible | scored, mask)
    for row, length in enumerate(lengths):
        expected = 1 if length == 1 else min(max(round(length * rate), 1), length - 1)
        assert scored[row, :, 0].sum() == expected or abs(length * rate % 1 - 0.5) < 1e-3
        assert (scored[row].all(dim=1) == scored[row].any(dim=1)).all(), "a sample is hidden in all networks or none"


@given(lengths_of_windows, rates, st.integers(2, 12))
def test_hidden_networks_stay_hidden_over_the_window(lengths, rate, n_channels):
    task = masked_networks_task(windows(n_channels, lengths), rate)
    visible, scored, mask = full(task)
    assert not (visible & scored).any()
    assert torch.equal(visible | scored, mask)
    for row, length in enumerate(lengths):
        hidden = scored[row, :length]
        assert (hidden == hidden[0]).all()
        assert 1 <= hidden[0].sum() < n_channels


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6).map(tuple), rates, st.integers(0, 100))
def test_hidden_networks_are_those_of_the_recording_by_itself(lengths, rate, seed):
    present = torch.tensor([[True] * 5 + [False] * 3, [False] * 2 + [True] * 6] * 3)[: len(lengths)]
    together = windows(8, lengths, seed)
    task = masked_networks_task(dataclasses.replace(together, present_BC=present), rate)
    visible, scored, mask = full(task)
    assert torch.equal(visible | scored, mask & present[:, None])
    for row, length in enumerate(lengths):
        own = present[row]
        alone = dataclasses.replace(together, signals_BTC=together.signals_BTC[..., own])
        assert torch.equal(scored[row][:, own], masked_networks_task(alone, rate).scored[row])
        assert scored[row, :length].any(dim=1).all()


@given(lengths_of_windows, st.integers(0, 50))
def test_a_single_position_is_scored_and_only_what_is_before_it_shown(lengths, seed):
    task = single_position_task(windows(2, lengths, seed))
    visible, scored, _ = full(task)
    assert task.causal
    for row, length in enumerate(lengths):
        assert scored[row, :, 0].sum() == (1 if length > 1 else 0)
        if length > 1:
            position = int(scored[row, :, 0].nonzero())
            assert 1 <= position < length
            assert visible[row, :, 0].nonzero().flatten().tolist() == list(range(position))


def test_single_positions_are_drawn_evenly():
    many = windows(1, (5,) * 4000)
    positions = single_position_task(many).scored[:, :, 0].nonzero()[:, 1]
    counts = torch.bincount(positions, minlength=5)
    assert counts[0] == 0
    assert (counts[1:] - 1000).abs().max() < 5 * (1000 * 0.75) ** 0.5


def test_every_sample_but_the_first_is_a_target_of_the_causal_task():
    task = next_sample_task(windows())
    assert int(task.scored.sum()) == sum(length - 1 for length in (20, 13, 4, 7, 20, 16))
    assert task.causal


def test_the_draw_belongs_to_the_window_not_to_its_place_in_the_batch():
    given_windows = windows()
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    shuffled = Windows(*(getattr(given_windows, f.name)[order] for f in dataclasses.fields(Windows)[:4]))
    for make in (single_position_task, lambda w: masked_samples_task(w, 0.3), lambda w: masked_networks_task(w, 0.3)):
        assert torch.equal(make(given_windows).scored[order], make(shuffled).scored)


def test_a_model_that_copies_its_input_scores_what_it_must():
    # Copying what is shown is perfect for reconstruction, and says nothing of what is hidden.
    config, given_windows = CsmConfig(**SETTLED), windows()
    copied = reconstruction_task(given_windows)
    assert float(mean_loss(given_windows.signals_BTC, given_windows.signals_BTC, copied.scored, config)[0]) == 0.0
    hidden = masked_samples_task(given_windows, 0.3)
    copy_of_shown = given_windows.signals_BTC * hidden.visible
    loss, n = mean_loss(copy_of_shown, given_windows.signals_BTC, hidden.scored, config)
    scored = given_windows.signals_BTC[hidden.scored.expand(given_windows.signals_BTC.shape)]
    assert float(loss) == pytest.approx(float(scored.abs().mean()), rel=1e-6)
    assert int(n) == scored.numel()


def test_predictions_of_padding_do_not_count_even_if_not_finite():
    config, given_windows = CsmConfig(**SETTLED), windows()
    task = reconstruction_task(given_windows)
    predicted = torch.where(task.scored, 0.0, torch.nan).expand(given_windows.signals_BTC.shape)
    loss, _ = mean_loss(predicted, given_windows.signals_BTC, task.scored, config)
    assert float(loss) == pytest.approx(float(given_windows.signals_BTC[given_windows.mask_BT].abs().mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"), [("l1", 2.0), ("l2", 5.0), ("huber", (0.5 * (3 - 0.25) + 0.5 * (1 - 0.25)) / 2)]
)
def test_losses_are_those_of_their_names(loss, expected):
    config = CsmConfig(loss=loss, huber_delta=0.5, **SETTLED)
    predicted, target = torch.tensor([[[3.0], [0.0]]]), torch.tensor([[[0.0], [1.0]]])
    assert float(mean_loss(predicted, target, torch.ones(1, 2, 1, dtype=torch.bool), config)[0]) == pytest.approx(
        expected
    )


# ---------------------------------------------------------------------- pairs


def test_pairs_follow_on_or_come_from_the_same_subject_else_the_same_data_set():
    many = windows(1, (12,) * 200)
    many = dataclasses.replace(many, signals_BTC=(torch.arange(200.0)[:, None] + torch.arange(12) / 100)[:, :, None])
    subject = torch.arange(200) % 20
    dataset = torch.where(subject < 19, 0, 1)
    subject[:3] = torch.tensor([50, 51, 52])
    pairs, follows = paired_windows(many, subject, dataset, max_gap=3)
    assert 60 < int(follows.sum()) < 140
    for row in range(200):
        n_first = int((pairs.token_types_BT[row] == 0).sum())
        length = int(pairs.lengths_B[row])
        first, second = pairs.signals_BTC[row, :n_first, 0], pairs.signals_BTC[row, n_first:length, 0]
        assert set(first.floor().int().tolist()) == {row}
        source = int(second[0].floor())
        assert (source == row) == bool(follows[row])
        if source != row:
            assert dataset[source] == dataset[row]
            assert subject[source] == subject[row] or int((subject == subject[row]).sum()) == 1
        # The second part is the end of its window, and its seconds start anew.
        assert float(second[-1]) == pytest.approx(source + 0.11, abs=1e-4)
        steps = pairs.seconds_BT[row, n_first:length]
        assert steps.tolist() == [0.5 * step for step in range(length - n_first)]


def test_a_window_without_a_partner_always_follows_on():
    _, follows = paired_windows(windows(), SUBJECTS, DATASETS, 4)
    assert bool(follows[4]), "it is the only window of its data set"


@pytest.mark.parametrize("min_gap", [0, 1, 2, 3])
def test_gaps_leave_samples_out_between_the_parts(min_gap):
    given_windows = windows(1, (12,) * 100)
    given_windows = dataclasses.replace(
        given_windows, signals_BTC=torch.arange(12.0).expand(100, 12)[:, :, None].contiguous()
    )
    pairs, follows = paired_windows(given_windows, torch.arange(100), torch.arange(100), 3, min_gap)
    assert follows.all()
    gaps = []
    for row in range(100):
        n_first = int((pairs.token_types_BT[row] == 0).sum())
        gaps.append(int(pairs.signals_BTC[row, n_first, 0] - pairs.signals_BTC[row, n_first - 1, 0]) - 1)
    assert set(gaps) == set(range(min_gap, 4))


# ---------------------------------------------------------------------- tokens


@given(lengths_of_windows, st.booleans())
def test_tokens_stand_where_they_are_read(lengths, in_pairs):
    given_windows = windows(2, lengths)
    if in_pairs:
        firsts = torch.tensor(lengths)[:, None] // 2
        types = (torch.arange(max(lengths)) >= firsts).long()
        given_windows = dataclasses.replace(given_windows, token_types_BT=types)
    layout = TokenLayout.of(given_windows)
    separator, class_token = torch.full((2,), 100.0), torch.full((2,), 200.0)
    extended = layout.laid_out(given_windows.signals_BTC, separator, class_token)
    assert torch.equal(layout.class_of(extended), class_token.expand(len(lengths), 2))
    samples = layout.samples_of(extended)
    assert torch.equal(samples[given_windows.mask_BT], given_windows.signals_BTC[given_windows.mask_BT])
    for row, length in enumerate(lengths):
        expected = [*given_windows.signals_BTC[row, :length, 0].tolist(), 200.0]
        if in_pairs:
            first = length // 2
            expected = [*expected[:first], 100.0, *expected[first:length], 100.0, 200.0]
            types_row = layout.token_types_BS[row, : length + 2].tolist()
            assert types_row == [0] * (first + 1) + [1] * (length - first + 1)
        assert extended[row, : len(expected), 0].tolist() == expected
        assert not extended[row, len(expected) :].any()
        assert int(layout.mask_BS[row].sum()) == len(expected)
