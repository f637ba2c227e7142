"""Attributions and attention against weights, differences and slow sums."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from decoding_data import dataset_of, small
from features_making import by_hand, decoder_of, experiment_of, gappy
from sequence_making import model_of
from sequence_windows import windows

from dynml import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError
from dynml.models.experiment import Experiment
from dynml.models.sequence.features.attention_lags import attention_lags, model_of_attention
from dynml.models.sequence.features.attributed_values import attributed_of
from dynml.models.sequence.features.attribution import (
    attribution_maps,
    gradient_x_input,
    integrated_gradients,
    quadrature,
)
from dynml.models.sequence.features.pieces import Cut, pieces_of_subset

UNKNOWN = np.full(6, -1)
LENGTHS = (20, 13, 4, 7, 20, 16)


def trials_of(data, name="training", column="stimulus", **cut):
    experiment = Experiment(torch.nn.Identity(), {}, None)
    return pieces_of_subset(experiment, data, name, Cut(trials=column, **cut))


def windows_of_gappy(length=10):
    data = MultiSubjectDataset.from_arrays({"a": gappy(0), "b": gappy(1)})
    return pieces_of_subset(experiment_of(model_of("csm"), "csm"), data, "training", Cut(window_length=length))


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients"])
def test_a_linear_decoders_attributions_are_weights_times_input(method):
    data = dataset_of(1, 1, 0, classes=("house", "face", "tool"))
    decoder = decoder_of(data, backbone="linear", linear_rank=2)
    trials = trials_of(data)
    heads_KRC = decoder.head.weight.detach().double().unflatten(1, (2, -1)).numpy()
    times_RT = decoder.backbone.weights_RT.detach().double().numpy()
    weights_KTC = np.einsum("krc,rt->ktc", heads_KRC, times_RT)
    weights_KTC -= weights_KTC.mean(axis=0)
    maps, sizes = np.zeros((3, 12, 4)), np.zeros((3, 4))
    classes = np.array([decoder.config.class_names.index(trials.names[code]) for code in trials.truth])
    for row, group in enumerate(classes):
        start, stop = int(trials.spans.start[row]), int(trials.spans.stop[row])
        product = weights_KTC[group] * data.training_set.read(0, start, stop).double().numpy()
        maps[group] += product / np.sum(classes == group)
        sizes[group] += np.abs(product).mean(axis=0) / np.sum(classes == group)
    found = attribution_maps(decoder, [trials], method)
    assert found.group_names == tuple(decoder.config.class_names)
    assert found.n_windows.tolist() == np.bincount(classes).tolist()
    assert found.times.tolist() == list(range(12))
    assert found.of_classes
    np.testing.assert_allclose(found.maps, maps.transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_allclose(found.importance, sizes, atol=1e-6)
    if method == "integrated_gradients":
        assert found.unexplained < 1e-4
        total = np.einsum("gct,g->", found.maps, found.n_windows) / len(trials)
        assert total == pytest.approx(found.value_at_input - found.value_at_zero, abs=1e-5)


@pytest.mark.parametrize("kind", ["csm", "csm_single", "sequence_bert_pairs", "network_bert", "autoencoder"])
def test_integrated_gradients_sum_up_to_what_the_input_changes(kind):
    model, given = model_of(kind, loss="l2"), windows()
    attributed = attributed_of(model, given, UNKNOWN)
    attributions_BTC, unexplained = integrated_gradients(attributed.value, given.signals_BTC)
    with torch.no_grad():
        difference_B = attributed.value(given.signals_BTC) - attributed.value(torch.zeros_like(given.signals_BTC))
    assert difference_B.abs().mean() > 1e-3
    gap_B = (attributions_BTC.sum(dim=(1, 2)) - difference_B).abs()
    assert gap_B.mean() < 0.011 * max(float(difference_B.abs().mean()), 0.05 * 2.0)
    assert unexplained <= 0.01
    plain_BTC = gradient_x_input(attributed.value, given.signals_BTC)
    assert (plain_BTC.sum(dim=(1, 2)) - difference_B).abs().mean() > 5 * gap_B.mean()


def test_a_decoders_integrated_gradients_are_complete_although_its_embedder_normalizes():
    data = dataset_of(1, 1, 0)
    decoder = decoder_of(data, **small("csm", embedding_dim=32))
    with torch.no_grad():
        decoder.backbone.embedder.layers[0].bias.zero_()
    given = windows(n_channels=4)
    attributed = attributed_of(decoder, given, UNKNOWN)
    attributions_BTC, unexplained = integrated_gradients(attributed.value, given.signals_BTC)
    with torch.no_grad():
        difference_B = attributed.value(given.signals_BTC) - attributed.value(torch.zeros_like(given.signals_BTC))
    np.testing.assert_allclose(attributions_BTC.sum(dim=(1, 2)), difference_B, atol=0.03 * difference_B.abs().mean())
    assert unexplained <= 0.01


def test_the_quadrature_integrates_powers():
    for power in (0, 1, 2, 5, 1 / 3):
        assert sum(weight * share**power for share, weight in quadrature(32)) == pytest.approx(1 / (power + 1))


@pytest.mark.parametrize("kind", ["csm", "sequence_bert", "network_bert"])
def test_gradients_go_through_the_linear_path_too(kind):
    model = model_of(kind, loss="l2", linear_path=True)
    generator = torch.Generator().manual_seed(5)
    for buffer in model.linear.buffers():
        if buffer.is_floating_point() and buffer.ndim >= 2:
            noise = 0.2 * torch.randn(buffer.shape, generator=generator, dtype=buffer.dtype)
            buffer.add_(noise @ noise.transpose(-1, -2) if kind == "network_bert" else noise)
    given = windows(lengths=(8, 6))
    value = attributed_of(model, given, UNKNOWN).value
    direction = torch.randn(given.signals_BTC.shape, generator=generator) * given.mask_BT[:, :, None]
    inputs = given.signals_BTC.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(inputs).sum(), inputs)
    step = 1e-2
    with torch.no_grad():
        moved = [value(given.signals_BTC + sign * step * direction).sum().double() for sign in (1, -1)]
    slope = float((moved[0] - moved[1]) / (2 * step))
    assert abs(slope) > 0.05
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=0.02, abs=2e-3)
    with torch.no_grad():
        whole_B = value(given.signals_BTC)
        model.linear = None
        assert (whole_B - value(given.signals_BTC)).abs().min() > 1e-3


def test_what_is_attributed_is_the_fall_of_the_loss_of_one_sample():
    given = windows()
    rows = torch.arange(6)
    for kind, place in (("csm", [n - 1 for n in LENGTHS]), ("sequence_bert", [n // 2 for n in LENGTHS])):
        model = model_of(kind)
        attributed = attributed_of(model, given, UNKNOWN)
        assert attributed.anchor_B.tolist() == place
        hidden = torch.zeros_like(given.mask_BT)
        hidden[rows, place] = True
        task = model.task_of(given, rows, rows * 0)
        task = dataclasses.replace(task, scored=hidden[:, :, None], visible=(given.mask_BT & ~hidden)[:, :, None])
        with torch.no_grad():
            errors_BC = (model(task).predicted_BTC - given.signals_BTC)[rows, place].abs()
            np.testing.assert_allclose(attributed.value(given.signals_BTC), -errors_BC.mean(dim=1), atol=1e-5)
        attributions_BTC = gradient_x_input(attributed.value, given.signals_BTC)
        assert (attributions_BTC[rows, place] == 0).all()
        assert (attributions_BTC[~given.mask_BT] == 0).all()
        assert (attributions_BTC[0, 5:9] != 0).any()


def test_windows_that_predict_nothing_are_left_out():
    model, given = model_of("csm"), windows(lengths=(5, 1))
    assert attributed_of(model, given, UNKNOWN).group_B.tolist() == [0, -1]
    with pytest.raises(DataError, match="two samples or more"):
        attribution_maps(model, [windows_of_gappy(1)], "gradient_x_input")


def test_maps_are_means_over_the_windows_that_reach_there():
    model, part = model_of("csm"), windows_of_gappy()
    found = attribution_maps(model, [part], "gradient_x_input")
    assert found.n_windows.tolist() == [10]
    assert found.times.tolist() == list(range(-9, 1))
    assert found.since_predicted
    sums, sizes, counts, at_input = np.zeros((10, 6)), np.zeros(6), np.zeros(10), []
    for subject, start, stop in zip(part.spans.subject, part.spans.start, part.spans.stop):
        window = by_hand(part.subset.read(int(subject), int(start), int(stop)), 2.0)
        value = attributed_of(model, window, UNKNOWN[:1]).value
        own = gradient_x_input(value, window.signals_BTC)[0].numpy()
        sums[10 - len(own) :] += own
        counts[10 - len(own) :] += 1
        sizes += np.abs(own).sum(axis=0)
        at_input.append(value(window.signals_BTC).item())
    assert set(counts) == {6, 8, 10}
    np.testing.assert_allclose(found.maps[0], (sums / counts[:, None]).T, atol=1e-6)
    np.testing.assert_allclose(found.importance[0], sizes / counts.sum(), atol=1e-6)
    assert found.value_at_input == pytest.approx(np.mean(at_input), abs=1e-5)


def test_trials_of_unknown_classes_count_for_the_predicted_one():
    data = dataset_of(1, 1, 0)
    decoder = decoder_of(data, backbone="linear")
    other = dataset_of(1, 0, 0, classes=("tool",), first_seed=50)
    trials = trials_of(other)
    found = attribution_maps(decoder, [trials], "gradient_x_input")
    with torch.no_grad():
        logits = torch.cat(
            [
                decoder(by_hand(other.training_set.read(0, int(a), int(b)), 10.0))
                for a, b in zip(trials.spans.start, trials.spans.stop)
            ]
        )
    counts = np.bincount(logits.argmax(dim=1).numpy(), minlength=2)
    expected = {name: count for name, count in zip(decoder.config.class_names, counts.tolist()) if count}
    assert dict(zip(found.group_names, found.n_windows.tolist())) == expected


def test_hidden_networks_are_drawn_by_the_window():
    model, part = model_of("network_bert", masking_rate=0.5), windows_of_gappy()
    together = attribution_maps(model, [part], "gradient_x_input")
    apart = [attribution_maps(model, [part.take(np.array([row]))], "gradient_x_input") for row in range(10)]
    hidden = {tuple(np.flatnonzero((one.maps[0] == 0).all(axis=1))) for one in apart}
    assert len(hidden) > 4
    assert {len(networks) for networks in hidden} == {3}
    sums = sum(one.importance * one.maps.shape[2] for one in apart)
    np.testing.assert_allclose(together.importance, sums / part.spans.lengths.sum(), atol=1e-6)


@pytest.mark.parametrize("kind", ["csm", "sequence_bert"])
def test_attention_by_lag_is_a_mean_over_pairs_of_samples(kind):
    model, part = model_of(kind), windows_of_gappy()
    found = attention_lags(model, [part])
    sums, equal, counts = {}, {}, {}
    for subject, start, stop in zip(part.spans.subject, part.spans.start, part.spans.stop):
        window = by_hand(part.subset.read(int(subject), int(start), int(stop)), 2.0)
        with torch.no_grad():
            embedded = model.embedded(window.signals_BTC, window)
            maps = torch.stack(model.transformer.attention(embedded, None, causal=model.causal))[:, 0].double()
        length = stop - start
        for time in range(length):
            others = range(time + 1) if kind == "csm" else range(length)
            for other in others:
                lag = other - time
                sums[lag] = sums.get(lag, 0) + maps[:, :, time, other].numpy()
                equal[lag] = equal.get(lag, 0) + 1 / len(others)
                counts[lag] = counts.get(lag, 0) + 1
    lags = sorted(counts)
    assert found.lags.tolist() == lags
    np.testing.assert_allclose(found.profiles, np.stack([sums[lag] / counts[lag] for lag in lags], -1), atol=1e-5)
    np.testing.assert_allclose(found.equal, [equal[lag] / counts[lag] for lag in lags], atol=1e-6)
    n_samples = int(part.spans.lengths.sum())
    expected = sum(abs(lag) * sums[lag] for lag in lags) / n_samples
    np.testing.assert_allclose(found.distances, expected, atol=1e-4)
    assert found.equal_distance == pytest.approx(sum(abs(lag) * equal[lag] for lag in lags) / n_samples)
    assert found.n_windows == 10


def test_heads_without_queries_look_at_all_samples_alike(monkeypatch):
    model = model_of("csm")
    with torch.no_grad():
        for block in model.transformer.blocks:
            block.attention.queries_keys_values.weight[:32] = 0
            block.attention.queries_keys_values.bias[:32] = 0
    monkeypatch.setattr("dynml.models.sequence.features.attention_lags.NUMBERS_AT_ONCE", 1200)
    found = attention_lags(model, [windows_of_gappy()])
    np.testing.assert_allclose(found.profiles, np.broadcast_to(found.equal, found.profiles.shape), atol=1e-6)
    np.testing.assert_allclose(found.distances, found.equal_distance, rtol=1e-5)


def test_models_without_attention_are_refused():
    with pytest.raises(ConfigurationError, match="the autoencoder has no attention"):
        model_of_attention(model_of("autoencoder"))
    with pytest.raises(ConfigurationError, match="the backbone linear has no attention"):
        model_of_attention(decoder_of(dataset_of(1, 1, 0), backbone="linear"))
