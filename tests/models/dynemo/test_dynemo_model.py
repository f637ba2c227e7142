"""DyNeMo as a model: counts, initial values, and the terms of its bound, against a second computation in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from dynemo_oracles import alpha_of, covariances_of, double, random_model, terms_of_window, walks
from torch.distributions import MultivariateNormal

from dynml import BatchLoader, BatchSampler, Dynemo, DynemoConfig, MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import ConfigurationError
from dynml.models.dynemo.annealing import kl_weight
from dynml.models.dynemo.config import settle_windows
from dynml.ops.keyed_noise import derived_keys
from dynml.training.model_summary import model_summary, parameter_table

TUTORIAL = {"n_modes": 6, "learn_means": False, "learn_alpha_temperature": True}


# ---------------------------------------------------------------------- counts and initial values


def test_parameter_counts_of_the_tutorials_table():
    model = Dynemo(DynemoConfig(**TUTORIAL), 80)
    rows = parameter_table(model)
    assert [row.n_parameters for row in rows] == [74240, 256, 774, 774, 1, 480, 19440, 18176, 128, 390, 390, 1]
    assert {row.layer for row in rows if not row.n_trained} == {"means", "kl annealing factor"}
    assert "Parameters: 115050 in all, 114569 trained, 481 fixed" in model_summary(model)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == 114569


def gru_count(n_inputs, n_units):
    """Keras' GRU with reset_after: three gates, each with two biases."""
    return 3 * (n_inputs * n_units + n_units * n_units + 2 * n_units)


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        (
            {"inference_rnn": "gru", "model_rnn": "gru"},
            {"inference rnn": 2 * gru_count(80, 64), "model rnn": gru_count(6, 64)},
        ),
        (
            {"inference_n_layers": 2},
            {"inference rnn": 74240 + 2 * 4 * 64 * (128 + 64 + 1), "inference normalization": 512},
        ),
        ({"inference_normalization": None}, {"inference normalization": None}),
        ({"covariance_type": "diagonal"}, {"covariances": 480}),
    ],
)
def test_counts_of_other_layers(settings, changed):
    counts = [
        {row.layer: row.n_parameters for row in parameter_table(Dynemo(DynemoConfig(**TUTORIAL, **further), 80))}
        for further in ({}, settings)
    ]
    expected = {name: count for name, count in (counts[0] | changed).items() if count is not None}
    assert counts[1] == expected


def test_fixed_parts_are_counted_as_fixed_and_have_no_gradient():
    model = Dynemo(
        DynemoConfig(n_modes=3, learn_covariances=False, learn_means=False, learn_alpha_temperature=False), 4
    )
    fixed = {row.layer for row in parameter_table(model) if not row.n_trained}
    assert fixed == {"means", "covariances", "alpha temperature", "kl annealing factor"}
    assert not any(p.requires_grad for p in (model.means, model.covariance_vectors, model.alpha_temperature))


def test_initial_values_are_those_of_keras():
    torch.manual_seed(0)
    H, C, J = 24, 10, 5
    model = Dynemo(DynemoConfig(n_modes=J, inference_n_units=H, model_n_units=H, inference_n_layers=2), C)
    layers = [(layer, "") for layer in (*model.inference_rnn.recurrent, *model.model_rnn.recurrent)]
    layers += [(layer, "_reverse") for layer in model.inference_rnn.recurrent]
    for layer, suffix in layers:
        bias = getattr(layer, f"bias_ih_l0{suffix}")
        assert bias.tolist() == [0.0] * H + [1.0] * H + [0.0] * 2 * H  # torch's order: input, forget, cell, output
        recurrent = getattr(layer, f"weight_hh_l0{suffix}")
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(H), atol=1e-5, rtol=0)
        weight = getattr(layer, f"weight_ih_l0{suffix}")
        assert_glorot(weight, math.sqrt(6 / (weight.shape[1] + 4 * H)))
    for head in (model.posterior_head, model.prior_head):
        for linear in (head.mean, head.scale):
            assert_glorot(linear.weight, math.sqrt(6 / (linear.in_features + J)))
            assert not linear.bias.any()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [1e-3] * 3
    variances = model.full_covariances().diagonal(dim1=1, dim2=2)
    assert 0.8 - 1e-6 <= float(variances.min()) < float(variances.max()) <= 1.2 + 1e-6
    assert float(variances.std()) == pytest.approx(0.088, abs=0.02)  # a normal of deviation 0.1, cut at two of them
    assert not (model.full_covariances() - torch.diag_embed(variances)).any()


def assert_glorot(weight, bound):
    """Uniform up to the bound: largest values close to it, variance that of the uniform distribution."""
    assert 0.9 * bound < float(weight.detach().abs().max()) <= bound
    assert float(weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.25)


def test_the_second_bias_of_an_lstm_stays_zero_and_is_neither_trained_nor_saved():
    model = random_model()
    names = [name for name, _ in model.inference_rnn.recurrent[0].named_buffers()]
    assert names == ["bias_hh_l0", "bias_hh_l0_reverse"]
    assert not any("bias_hh" in name for name in [*model.state_dict(), *dict(model.named_parameters())])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.posterior(torch.randn(2, 9, 3))[0].square().sum().backward()
    optimizer.step()
    for stack in (model.inference_rnn, model.model_rnn):
        assert not stack.recurrent[0].bias_hh_l0.any()


def test_weights_that_are_loaded_or_copied_are_the_ones_that_are_used():
    signals = torch.from_numpy(walks()[0][None])
    model, other = random_model(seed=1), random_model(seed=2)
    expected = model.posterior(signals)[0]
    assert not torch.allclose(other.posterior(signals)[0], expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.posterior(signals)[0], expected)
    twin = copy.deepcopy(model)
    assert torch.equal(twin.posterior(signals)[0], expected)
    assert not (twin.double().posterior(signals.double())[0] - expected).abs().max() > 1e-5


def test_dropout_acts_in_training_only():
    signals = torch.from_numpy(walks()[0][None])
    model = random_model(inference_dropout=0.5)
    assert torch.equal(model.posterior(signals)[0], model.posterior(signals)[0])
    model.train()
    assert not torch.equal(model.posterior(signals)[0], model.posterior(signals)[0])


# ---------------------------------------------------------------------- the bound

VARIANTS = {
    "defaults": {},
    "zero_means": {"learn_means": False},
    "diagonal": {"covariance_type": "diagonal", "covariances_epsilon": 0.01},
    "gru": {"inference_rnn": "gru", "model_rnn": "gru", "inference_activation": "tanh", "model_activation": "elu"},
    "deep": {"inference_n_layers": 2, "model_n_layers": 2, "inference_normalization": None, "model_activation": "relu"},
    "batch": {"inference_normalization": "batch", "model_normalization": "batch", "inference_activation": "gelu"},
}


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_terms_of_the_bound_are_those_of_a_hand_run_network_in_float64(settings):
    model, generator = random_model(**settings), np.random.default_rng(1)
    windows = np.stack([series[:13] for series in walks()])
    noise = generator.normal(size=(3, 13, 3)).astype(np.float32)
    for draw in (noise, None):
        tensor = None if draw is None else torch.from_numpy(draw)
        with torch.no_grad():
            terms = model.bound_terms(torch.from_numpy(windows), tensor)
        for number, window in enumerate(windows):
            log_likelihood, divergence = terms_of_window(model, window, None if draw is None else draw[number])
            np.testing.assert_allclose(terms.log_likelihood_BT[number], log_likelihood, rtol=2e-4, atol=2e-4)
            np.testing.assert_allclose(terms.divergence_BT[number], divergence, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", ["defaults", "gru", "batch"])
def test_padding_changes_nothing(kind):
    model, generator = random_model(**VARIANTS[kind]), torch.Generator().manual_seed(0)
    lengths, series = [20, 7, 1, 13], torch.from_numpy(walks((41,))[0])
    signals = torch.full((4, 20, 3), 1000.0)
    for number, length in enumerate(lengths):
        signals[number, :length] = series[number : number + length]
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    noise = torch.randn(4, 20, 3, generator=generator)
    keys = torch.arange(4) + 77
    with torch.no_grad():
        padded = model.bound_terms(signals, noise, mask)
        bounds = model.bounds_of_draws(signals, keys, 3, mask)
        for number, length in enumerate(lengths):
            alone = model.bound_terms(signals[number : number + 1, :length], noise[number : number + 1, :length])
            for name in ("log_likelihood_BT", "divergence_BT"):
                found, expected = getattr(padded, name)[number, :length], getattr(alone, name)[0]
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
                assert not getattr(padded, name)[number, length:].any()
            bound = model.bounds_of_draws(signals[number : number + 1, :length], keys[number : number + 1], 3)
            assert float(bounds[number]) == pytest.approx(float(bound), rel=1e-5)


@pytest.mark.parametrize("kind", ["defaults", "batch"])
def test_padding_has_no_part_in_training(kind):
    """Neither gradients nor the statistics of batch normalization feel what stands in padding, or how much there is."""
    model, generator = random_model(**VARIANTS[kind]).train(), torch.Generator().manual_seed(0)
    signals = torch.randn(2, 12, 3, generator=generator)
    mask = torch.arange(12) < torch.tensor([[12], [5]])
    noise = torch.randn(2, 12, 3, generator=generator)

    def results(filling, n_more):
        twin = copy.deepcopy(model)
        filled = torch.where(mask[:, :, None], signals, filling)
        padded = [torch.nn.functional.pad(one, (0, 0, 0, n_more), value=filling) for one in (filled, noise)]
        terms = twin.bound_terms(*padded, torch.nn.functional.pad(mask, (0, n_more)))
        (terms.divergence_BT - terms.log_likelihood_BT).sum().backward()
        return {name: p.grad for name, p in twin.named_parameters()}, dict(twin.named_buffers())

    torch.testing.assert_close(results(0.0, 0), results(50.0, 3), rtol=1e-4, atol=1e-4)


def test_the_bound_of_several_draws_is_the_mean_over_draws():
    model = random_model()
    windows, keys = torch.from_numpy(np.stack([series[:11] for series in walks()])), torch.tensor([5, 6, 7])
    with torch.no_grad():
        bounds = model.bounds_of_draws(windows, keys, 4)
    for number in range(3):
        values = []
        for draw in range(4):
            noise = model.noise(derived_keys(keys, draw), windows)[number]
            log_likelihood, divergence = terms_of_window(model, windows[number], noise)
            values.append((divergence - log_likelihood).sum())
        assert np.std(values) > 1e-3
        assert float(bounds[number]) == pytest.approx(np.mean(values), rel=1e-5)


def test_the_bound_is_below_the_likelihood_where_that_can_be_computed():
    """One sample: log p(x) = log E_prior[N(x; alpha(theta))], by plain Monte Carlo in float64."""
    model = random_model()
    window = torch.from_numpy(walks((1,))[0][None])
    with torch.no_grad():
        bound = -float(model.bounds_of_draws(window.expand(20_000, 1, 3), torch.arange(20_000), 1).mean())
        mean, scale = model.prior(torch.zeros(1, 1, 3))
        draws = mean[0] + scale[0] * torch.randn(100_000, 3, generator=torch.Generator().manual_seed(1))
    alpha = torch.from_numpy(alpha_of(model, draws.double().numpy()))
    covariances = torch.einsum("tj,jab->tab", alpha, torch.from_numpy(covariances_of(model)))
    means = alpha @ model.means.detach().double()
    log_likelihood = MultivariateNormal(means, covariances).log_prob(window[0].double()).logsumexp(0) - math.log(1e5)
    assert bound < float(log_likelihood) + 0.01


def test_noise_is_a_function_of_the_key_alone():
    model = random_model()
    keys, signals = torch.tensor([11, 12, 13]), torch.zeros(3, 9, 3)
    noise = model.noise(keys, signals)
    assert noise.shape == (3, 9, 3)
    assert torch.equal(model.noise(keys[[2, 0]], signals[:2]), noise[[2, 0]])
    assert torch.equal(model.noise(keys, torch.ones(3, 5, 3)), noise[:, :5])  # longer windows go on where shorter end
    assert len(noise.unique()) == noise.numel()
    many = model.noise(torch.arange(400), torch.zeros(400, 50, 3))
    assert float(many.mean()) == pytest.approx(0, abs=0.02)
    assert float(many.std()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["defaults", "diagonal", "gru"])
def test_gradients_agree_with_finite_differences(kind):
    model, generator = random_model(**VARIANTS[kind]).double(), torch.Generator().manual_seed(4)
    signals = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([[6], [4]])

    def loss():
        terms = model.bound_terms(signals, noise, mask)
        return (0.3 * terms.divergence_BT - terms.log_likelihood_BT).sum() / 10

    loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        sides = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter += step * direction
                sides.append(float(loss()))
                parameter -= step * direction
        slope = float((parameter.grad * direction).sum())
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-8), name


def test_every_trained_number_has_a_gradient_in_float32():
    model = random_model()
    windows = torch.from_numpy(np.stack([series[:12] for series in walks()]))
    terms = model.bound_terms(windows, model.noise(torch.tensor([1, 2, 3]), windows))
    (terms.divergence_BT - terms.log_likelihood_BT).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_priors_of_modes_are_inverse_wishart_and_gaussian():
    model = random_model(covariance_prior_samples=7.0, means_prior_samples=3.0)
    S = np.cov(np.random.default_rng(0).normal(size=(3, 40)))
    m = np.array([0.3, -0.2, 0.1])
    expected = 0.0
    for covariance, mean in zip(covariances_of(model), double(model.means)):
        expected -= 3.5 * (np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.inv(covariance) @ S))
        expected -= 1.5 * (mean - m) @ np.linalg.inv(S) @ (mean - m)
    assert model.log_prior(torch.from_numpy(S), torch.from_numpy(m)).item() == pytest.approx(expected, rel=1e-4)
    diagonal = random_model(covariance_type="diagonal", covariance_prior_samples=7.0)
    expected = -3.5 * sum(np.log(np.diag(D)).sum() + (np.diag(S) / np.diag(D)).sum() for D in covariances_of(diagonal))
    assert diagonal.log_prior(torch.from_numpy(S), torch.from_numpy(m)).item() == pytest.approx(expected, rel=1e-4)


# ---------------------------------------------------------------------- modes, samples


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_modes_that_are_set_are_the_modes(covariance_type):
    model = random_model(covariance_type=covariance_type)
    covariances = np.stack([np.cov(np.random.default_rng(k).normal(size=(3, 30))) for k in range(3)])
    means = np.arange(9.0).reshape(3, 3)
    model.set_modes(torch.from_numpy(covariances), torch.from_numpy(means))
    kept = covariances if covariance_type == "full" else covariances * np.eye(3)
    arrays = model.arrays()
    np.testing.assert_allclose(arrays["covariances"], kept, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(arrays["means"], means)
    np.testing.assert_allclose(covariances_of(model), kept, rtol=1e-5, atol=1e-6)
    assert arrays["covariances"].dtype == arrays["means"].dtype == np.float64


@pytest.mark.parametrize("settings", [{"model_n_layers": 2, "model_activation": "tanh"}, {"model_rnn": "gru"}])
def test_drawn_logits_are_fed_back_into_the_prior(settings):
    """A hand-run loop over the whole past, with the same noise."""
    model = random_model(**settings)
    alpha = model.sample_alpha(25, torch.Generator().manual_seed(8)).numpy()
    generator, theta = torch.Generator().manual_seed(8), np.zeros((0, 3))
    for _ in range(25):
        noise = torch.randn((1, 1, 3), generator=generator)
        with torch.no_grad():
            past = torch.from_numpy(np.concatenate([theta, np.zeros((1, 3))])).float()[None]
            mean, scale = model.prior(past)
        theta = np.concatenate([theta, double(mean[0, -1:] + scale[0, -1:] * noise[0])])
    np.testing.assert_allclose(alpha, alpha_of(model, theta), atol=1e-4)


def test_a_long_draw_spreads_as_the_prior_says():
    """With a prior that forgets everything, logits are independent Gaussians of known mean and deviation."""
    model = random_model()
    with torch.no_grad():
        for linear, bias in ((model.prior_head.mean, [0.5, -0.5, 0.0]), (model.prior_head.scale, [0.0, 1.0, -1.0])):
            linear.weight.zero_()
            linear.bias.copy_(torch.tensor(bias))
    alpha = model.sample_alpha(6000, torch.Generator().manual_seed(2)).double().numpy()
    generator = np.random.default_rng(0)
    theta = np.array([0.5, -0.5, 0.0]) + np.logaddexp(0, [0.0, 1.0, -1.0]) * generator.normal(size=(200_000, 3))
    expected = alpha_of(model, theta)
    np.testing.assert_allclose(alpha.mean(0), expected.mean(0), atol=0.015)
    np.testing.assert_allclose(alpha.std(0), expected.std(0), atol=0.015)


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(("sharpness", "n_epochs", "first"), [(5, 10, 0.018), (10, 20, 1.2e-4), (10, 100, 5.5e-5)])
def test_the_weight_of_the_prior_rises_as_in_the_tutorials(sharpness, n_epochs, first):
    config = DynemoConfig(n_modes=2, kl_annealing_sharpness=sharpness, n_kl_annealing_epochs=n_epochs)
    weights = [kl_weight(config, epoch) for epoch in range(n_epochs + 3)]
    assert weights[0] == 0.0
    assert weights[1] == pytest.approx(first, rel=0.03)
    assert weights[n_epochs // 2] == 0.5
    assert weights[n_epochs - 1] == pytest.approx(1 - first, rel=1e-3)
    assert weights[n_epochs:] == [1.0] * 3
    assert (np.diff(weights) >= 0).all()


def test_other_ways_to_let_the_prior_in():
    linear = DynemoConfig(n_modes=2, kl_annealing_curve="linear", n_kl_annealing_epochs=4)
    assert [kl_weight(linear, epoch) for epoch in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    cyclical = DynemoConfig(n_modes=2, kl_annealing_curve="cyclical", n_kl_annealing_epochs=12, n_kl_annealing_cycles=3)
    weights = [kl_weight(cyclical, epoch) for epoch in range(13)]
    alone = [kl_weight(DynemoConfig(n_modes=2, n_kl_annealing_epochs=4), epoch) for epoch in range(4)]
    assert weights == [*alone, *alone, *alone, 1.0]
    without = DynemoConfig(n_modes=2, do_kl_annealing=False)
    assert [kl_weight(without, epoch) for epoch in range(2)] == [1.0, 1.0]
    assert float(Dynemo(without, 3).kl_annealing_factor) == 1.0
    assert float(Dynemo(linear, 3).kl_annealing_factor) == 0.0


def test_the_models_length_of_windows_becomes_the_samplers():
    configs = {"model": DynemoConfig(n_modes=2, sequence_length=50), "sampler": BatchSamplerConfig(), "trainer": None}
    settled = settle_windows(configs)
    assert settled["sampler"] == BatchSamplerConfig(window_length=50, strategy="random_windows")
    assert settled["trainer"] is None
    assert configs["sampler"].window_length is None
    fixed = settle_windows(configs | {"sampler": BatchSamplerConfig(strategy=None, batch_size_training=7)})
    assert fixed["sampler"].batch_size_training == 7
    with pytest.raises(ConfigurationError, match=r"sampler\.window_length is 50, but must be absent"):
        settle_windows(configs | {"sampler": BatchSamplerConfig(window_length=50)})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_modes": 0}, r"model\.n_modes is 0"),
        ({"sequence_length": 0}, r"model\.sequence_length is 0"),
        ({"inference_n_units": -1}, r"model\.inference_n_units is -1"),
        ({"inference_rnn": "rnn"}, r"model\.inference_rnn is 'rnn'"),
        ({"model_normalization": "group"}, r"model\.model_normalization is 'group'"),
        ({"inference_activation": "sine"}, r"model\.inference_activation is 'sine'"),
        ({"inference_dropout": 1.0}, r"model\.inference_dropout is 1\.0.*below 1"),
        ({"covariance_type": "tied"}, r"model\.covariance_type is 'tied'"),
        ({"covariances_epsilon": -1e-6}, r"model\.covariances_epsilon is -1e-06"),
        ({"initial_alpha_temperature": 0.0}, r"model\.initial_alpha_temperature is 0\.0"),
        ({"kl_annealing_curve": "step"}, r"model\.kl_annealing_curve is 'step'"),
        ({"kl_annealing_sharpness": 0}, r"model\.kl_annealing_sharpness is 0"),
        ({"n_kl_annealing_epochs": 0}, r"model\.n_kl_annealing_epochs is 0"),
    ],
)
def test_settings_of_the_model_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        DynemoConfig(**{"n_modes": 3, **settings})


def test_windows_that_are_cut_short_reach_the_model_as_a_mask():
    """The loader's mask is the one that the bound takes: a batch of it is the windows alone."""
    model, arrays = random_model(), walks((47,))
    dataset = MultiSubjectDataset.from_arrays(arrays)
    sampler = BatchSampler(dataset, strategy="fixed_windows", window_length=20, minimum_length=1)
    (batch,) = BatchLoader(dataset, model).iterate(sampler, 0)
    with torch.no_grad():
        terms = model.bound_terms(batch.windows, None, batch.mask)
    for number, span in enumerate(batch.spans):
        log_likelihood, _ = terms_of_window(model, arrays[0][span.start : span.stop])
        np.testing.assert_allclose(terms.log_likelihood_BT[number, : span.length], log_likelihood, rtol=2e-4, atol=2e-4)
