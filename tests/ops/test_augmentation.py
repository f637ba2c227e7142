"""Augmentation: what it does in numbers, and that it depends on the span alone."""

import numpy as np
import pytest
import torch
from scipy import stats

from dynml.ops.augmentation.amounts import Augmentation
from dynml.ops.augmentation.rows import augmented_rows, jittered_starts
from dynml.ops.keyed_noise import span_keys

N_SPANS, N_TIMES, N_CHANNELS = 400, 30, 12


def keys_of(n_spans, epoch=0):
    start = torch.arange(n_spans) * 50
    return span_keys(1, epoch, torch.zeros_like(start), torch.zeros_like(start), start, start + N_TIMES)


def augmented(signals, augmentation, keys=None):
    """Spans (B, T, C) of equal length, augmented as rows."""
    n_spans, n_times, n_channels = signals.shape
    keys = keys_of(n_spans) if keys is None else keys
    span = torch.arange(n_spans).repeat_interleave(n_times)
    position = torch.arange(n_times).repeat(n_spans)
    lengths = torch.full((n_spans,), n_times)
    rows = augmented_rows(signals.reshape(-1, n_channels), span, position, keys, lengths, augmentation)
    return rows.reshape(signals.shape)


@pytest.fixture
def signals():
    return torch.randn(N_SPANS, N_TIMES, N_CHANNELS, generator=torch.Generator().manual_seed(0)) + 0.01


ALL = Augmentation(
    noise=0.3, sign_flip=0.4, channel_dropout=0.2, amplitude_jitter=0.5, time_masking=9, channel_masking=4
)


def test_nothing_is_on_by_default(signals):
    assert not Augmentation().changes_values
    assert not Augmentation(time_jitter=3).changes_values
    torch.testing.assert_close(augmented(signals, Augmentation()), signals, rtol=0, atol=0)


@pytest.mark.parametrize(
    "setting", ["noise", "sign_flip", "channel_dropout", "amplitude_jitter", "time_masking", "channel_masking"]
)
def test_each_setting_alone_changes_values(signals, setting):
    augmentation = Augmentation(**{setting: 3 if "masking" in setting else 0.5})
    assert augmentation.changes_values
    original = signals.clone()
    assert not torch.equal(augmented(signals, augmentation), signals)
    assert torch.equal(signals, original)


def test_a_span_is_augmented_alike_in_any_batch(signals):
    keys = keys_of(N_SPANS)
    together = augmented(signals, ALL, keys)
    chosen = torch.tensor([17, 3, 250])
    assert torch.equal(augmented(signals[chosen], ALL, keys[chosen]), together[chosen])
    pieces = [
        augmented_rows(
            signals[5, a:b],
            torch.zeros(b - a, dtype=torch.int64),
            torch.arange(a, b),
            keys[5:6],
            torch.tensor([N_TIMES]),
            ALL,
        )
        for a, b in ((0, 4), (4, 29), (29, 30))
    ]
    assert torch.equal(torch.cat(pieces), together[5])


def test_another_epoch_is_augmented_otherwise(signals):
    first, second = augmented(signals, ALL, keys_of(N_SPANS, 0)), augmented(signals, ALL, keys_of(N_SPANS, 1))
    assert not any(torch.equal(a, b) for a, b in zip(first, second))


def test_noise_is_gaussian_with_the_stated_deviation(signals):
    noise = (augmented(signals, Augmentation(noise=0.25)) - signals).double().numpy()
    assert stats.kstest(noise.ravel() / 0.25, "norm").pvalue > 1e-3
    correlations = np.corrcoef(noise.reshape(-1, N_CHANNELS).T) - np.eye(N_CHANNELS)
    assert np.abs(correlations).max() < 5 / np.sqrt(N_SPANS * N_TIMES)


def test_sign_flips_turn_whole_spans(signals):
    ratio = augmented(signals, Augmentation(sign_flip=0.3)) / signals
    of_spans = ratio.reshape(N_SPANS, -1)
    assert (of_spans == of_spans[:, :1]).all()
    assert set(of_spans[:, 0].tolist()) == {-1.0, 1.0}
    n_flipped = int((of_spans[:, 0] < 0).sum())
    assert stats.binomtest(n_flipped, N_SPANS, 0.3).pvalue > 1e-3


def test_amplitude_jitter_scales_whole_spans_evenly(signals):
    ratio = (augmented(signals, Augmentation(amplitude_jitter=0.4)) / signals).reshape(N_SPANS, -1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-5, atol=0)
    assert stats.kstest(ratio[:, 0].double().numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3


def test_channel_dropout_drops_each_channel_of_a_span_with_its_probability(signals):
    result = augmented(signals, Augmentation(channel_dropout=0.3))
    dropped = (result == 0).all(dim=1)
    assert torch.equal(torch.where(dropped[:, None, :], 0.0, signals), result)
    assert stats.binomtest(int(dropped.sum()), dropped.numel(), 0.3).pvalue > 1e-3
    assert stats.chisquare(dropped.sum(dim=0).double().numpy()).pvalue > 1e-3


def test_channel_masking_masks_zero_to_n_distinct_channels_evenly(signals):
    result = augmented(signals, Augmentation(channel_masking=4))
    masked = (result == 0).all(dim=1)
    assert torch.equal(torch.where(masked[:, None, :], 0.0, signals), result)
    counts = np.bincount(masked.sum(dim=1).numpy(), minlength=5)
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.chisquare(masked.sum(dim=0).double().numpy()).pvalue > 1e-3


def test_channel_masking_of_more_channels_than_there_are_may_mask_all(signals):
    masked = (augmented(signals, Augmentation(channel_masking=100)) == 0).all(dim=1)
    assert int(masked.sum(dim=1).max()) == N_CHANNELS


def test_time_masking_masks_one_stretch_of_zero_to_n_samples_evenly(signals):
    result = augmented(signals, Augmentation(time_masking=9))
    masked = (result == 0).all(dim=2)
    assert torch.equal(torch.where(masked[:, :, None], 0.0, signals), result)
    lengths = masked.sum(dim=1)
    stretches = torch.diff(masked.int(), dim=1, prepend=torch.zeros(N_SPANS, 1, dtype=torch.int32)) == 1
    assert (stretches.sum(dim=1) == (lengths > 0)).all()
    assert stats.chisquare(np.bincount(lengths.numpy(), minlength=10)).pvalue > 1e-3


def test_time_masking_stays_within_short_spans():
    signals = torch.ones(7, 3)
    span, position = torch.tensor([0, 0, 1, 1, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2, 3, 4])
    for epoch in range(50):
        rows = augmented_rows(
            signals, span, position, keys_of(2, epoch), torch.tensor([2, 5]), Augmentation(time_masking=100)
        )
        assert rows.shape == signals.shape


def test_time_jitter_moves_evenly_within_the_segment():
    n = 20_000
    keys = keys_of(n)
    starts = torch.full((n,), 100)
    borders = torch.tensor([[0, 1000]]).repeat(n, 1)
    moves = (jittered_starts(keys, starts, starts + 20, borders, 3) - starts).numpy()
    assert stats.chisquare(np.bincount(moves + 3, minlength=7)).pvalue > 1e-3
    near_the_end = torch.tensor([[99, 121]]).repeat(n, 1)
    moves = (jittered_starts(keys, starts, starts + 20, near_the_end, 3) - starts).numpy()
    assert set(moves) == {-1, 0, 1}
    whole = torch.tensor([[100, 120]]).repeat(n, 1)
    assert torch.equal(jittered_starts(keys, starts, starts + 20, whole, 3), starts)
