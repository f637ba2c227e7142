import dataclasses

import numpy as np
import pytest
import torch
from decoding_data import TRIAL, configs_of, dataset_of, small

from dynml.errors import ConfigurationError
from dynml.models.sequence.decoding.backbones import LinearBackbone
from dynml.models.sequence.decoding.config import DecodingConfig
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.windows import Windows

FAMILIES = ("csm", "sequence_bert", "network_bert", "autoencoder")


@pytest.fixture(scope="module")
def dataset():
    return dataset_of(2, 1, 0)


def windows_of_lengths(lengths, n_times, n_channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(n_times) < torch.tensor(lengths)[:, None]
    signals = torch.randn(len(lengths), max(lengths), n_channels, generator=generator)
    signals = torch.nn.functional.pad(signals, (0, 0, 0, n_times - max(lengths)))
    seconds = torch.arange(n_times, dtype=torch.float64).expand(len(lengths), -1) / 10
    return Windows(signals * mask[:, :, None], mask, seconds, torch.zeros(len(lengths), dtype=torch.int64))


def decoder(dataset, backbone, *, seed=0, **settings):
    torch.manual_seed(seed)
    own = small(backbone) if backbone != "linear" else {"backbone": backbone}
    model = Decoding(configs_of(dataset, **own | settings)["model"], dataset.n_channels)
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize("backbone", ["linear", *FAMILIES])
def test_padding_and_the_order_of_trials_change_no_logit(dataset, backbone):
    model = decoder(dataset, backbone).eval()
    lengths = [TRIAL, 7, 3]
    tight = model(windows_of_lengths(lengths, TRIAL))
    assert tight.shape == (3, 2)
    if backbone != "linear":
        torch.testing.assert_close(model(windows_of_lengths(lengths, TRIAL + 5)), tight, atol=1e-5, rtol=1e-5)
    dirty = windows_of_lengths(lengths, TRIAL)
    dirty.signals_BTC[~dirty.mask_BT] = 100.0
    torch.testing.assert_close(model(dirty), tight, atol=1e-5, rtol=1e-5)
    alone = windows_of_lengths(lengths, TRIAL)
    alone = dataclasses.replace(
        alone, **{name: getattr(alone, name)[[2, 0, 1]] for name in ("signals_BTC", "mask_BT", "seconds_BT", "keys_B")}
    )
    torch.testing.assert_close(model(alone), tight[[2, 0, 1]], atol=1e-5, rtol=1e-5)


def test_the_linear_backbone_is_a_weighted_sum_over_real_samples():
    backbone = LinearBackbone(3, trial_length=9, rank=2)
    torch.testing.assert_close(backbone.weights_RT[0], torch.full((9,), 1 / 3.0))
    weights = backbone.weights_RT.detach().numpy()
    np.testing.assert_allclose(weights @ weights.T, np.eye(2), atol=1e-6)
    windows = windows_of_lengths([9, 4], 9, n_channels=3)
    found = backbone.pooled(windows).detach().numpy()
    for trial, length in enumerate((9, 4)):
        signals = windows.signals_BTC[trial, :length].numpy()
        expected = [sum(weights[rank, t] * signals[t] for t in range(length)) for rank in range(2)]
        np.testing.assert_allclose(found[trial], np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_a_fresh_decoder_says_how_frequent_the_classes_are(dataset):
    config = configs_of(dataset, backbone="linear")["model"]
    config = dataclasses.replace(config, class_counts=[30, 10])
    windows = windows_of_lengths([TRIAL], TRIAL)
    probabilities = Decoding(config, 4).eval()(windows).softmax(dim=1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.75, 0.25]]))
    balanced = Decoding(dataclasses.replace(config, class_weights="balanced"), 4).eval()(windows).softmax(dim=1)
    torch.testing.assert_close(balanced, torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize("backbone", FAMILIES[:3])
def test_a_learnt_query_weighs_the_states_of_known_samples(dataset, backbone):
    model = decoder(dataset, backbone, pooling="attention").eval()
    given = windows_of_lengths([TRIAL, 7], TRIAL)
    mean = decoder(dataset, backbone, pooling="mean").eval()
    torch.testing.assert_close(model.features(given), mean.features(given))
    torch.nn.init.normal_(model.query_d)
    states = model.backbone.states(given).detach().double().numpy()
    for trial, length in enumerate((TRIAL, 7)):
        own = states[trial, :length]
        weights = np.exp(own @ model.query_d.detach().double().numpy())
        expected = (weights[:, None] * own).sum(axis=0) / weights.sum()
        np.testing.assert_allclose(model.features(given)[trial].detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    probe = Decoding(dataclasses.replace(model.config, fine_tuning="linear_probe"), 4)
    assert {name for name, p in probe.named_parameters() if p.requires_grad} == {"query_d", "head.weight", "head.bias"}
    assert sum(len(parameters) for _, parameters in probe.parameter_groups()) == 3


@pytest.mark.parametrize("pooling", ["class_token", "mean", "attention"])
@pytest.mark.parametrize("backbone", FAMILIES)
def test_all_that_is_trained_is_reached_by_the_loss(dataset, backbone, pooling):
    if backbone == "autoencoder" and pooling != "class_token":
        pytest.skip("an autoencoder has a code, whatever the pooling")
    model = decoder(dataset, backbone, pooling=pooling)
    model(windows_of_lengths([TRIAL, 5], TRIAL)).square().sum().backward()
    unreached = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert unreached == []
    assert ("backbone.class_token_C" in dict(model.named_parameters())) == (
        pooling == "class_token" and backbone != "autoencoder"
    )


@pytest.mark.parametrize("backbone", FAMILIES)
def test_what_is_fixed_neither_learns_nor_drops_out(dataset, backbone):
    settled = configs_of(dataset, **small(backbone, pooling="class_token"))["model"]
    config = dataclasses.replace(settled, fine_tuning="linear_probe")
    probe = Decoding(config, 4).train()
    assert {name for name, p in probe.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    windows = windows_of_lengths([TRIAL, 5], TRIAL)
    torch.testing.assert_close(probe.features(windows), probe.features(windows), rtol=0, atol=0)
    frozen = Decoding(dataclasses.replace(config, fine_tuning="frozen"), 4)
    trained = {name.split(".")[0] for name, p in frozen.named_parameters() if p.requires_grad}
    assert trained == ({"head", "hidden"} if backbone == "autoencoder" else {"head", "hidden", "backbone"})
    mean = Decoding(dataclasses.replace(frozen.config, pooling=None if backbone == "autoencoder" else "mean"), 4)
    assert {name.split(".")[0] for name, p in mean.named_parameters() if p.requires_grad} == {"head", "hidden"}
    anew = dataclasses.replace(config, fine_tuning="frozen", embedder_from_pretrained=False)
    model = Decoding(anew, 4).train()
    assert all(p.requires_grad for p in model.backbone.embedder.parameters())
    assert not torch.equal(model.features(windows), model.features(windows))


@pytest.mark.parametrize("backbone", ["csm", "autoencoder"])
def test_learning_rates_fall_from_the_head_to_the_embedder(dataset, backbone):
    model = decoder(dataset, backbone, layer_learning_rate_decay=0.5)
    factors = {id(p): factor for factor, parameters in model.parameter_groups() for p in parameters}
    named = {name: factors[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    assert len(factors) == len(named)
    assert named["head.weight"] == 1.0
    layers = "transformer.blocks.{}.attention.output.weight" if backbone == "csm" else "encoder.lstms.{}.weight_hh_l0"
    assert named["backbone." + layers.format(1)] == 0.5
    assert named["backbone." + layers.format(0)] == 0.25
    assert named["backbone.embedder.layers.0.weight"] == 0.125
    assert named["backbone.time_embedding.rows.weight"] == 0.125


def test_open_classes_are_refused():
    with pytest.raises(ConfigurationError, match="settle_with_data"):
        Decoding(DecodingConfig(target="stimulus", backbone="linear"), 4)
