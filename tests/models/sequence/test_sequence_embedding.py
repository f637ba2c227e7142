"""Embedding of channels and seconds, and the way back, against the formulas in NumPy and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.special import erf

from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.embedding import Embedder, TimeEmbedding, Unembedder


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def shaken(module):
    """The module in float64 and evaluation mode, with parameters of which none is 0 or 1."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64) + 0.1)
    return module.eval()


def linear(layer, inputs):
    return inputs @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def normalized(layer, inputs):
    centred = inputs - inputs.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def gelu(inputs):
    return inputs * 0.5 * (1 + erf(inputs / np.sqrt(2)))


# ---------------------------------------------------------------------- channels


def test_one_layer_is_a_linear_map_and_a_normalization():
    embedder = shaken(Embedder(5, 8))
    inputs = np.random.default_rng(0).normal(size=(2, 3, 5))
    expected = normalized(embedder.layers[1], linear(embedder.layers[0], inputs))
    np.testing.assert_allclose(embedder(torch.tensor(inputs)).detach().numpy(), expected, atol=1e-12)


def test_several_layers_have_an_activation_between_them_and_none_at_the_end():
    embedder = shaken(Embedder(5, 8, n_layers=3))
    first, norm_1, _, _, second, norm_2, _, _, third, norm_3, _ = embedder.layers
    inputs = np.random.default_rng(1).normal(size=(2, 3, 5))
    hidden = gelu(normalized(norm_1, linear(first, inputs)))
    hidden = gelu(normalized(norm_2, linear(second, hidden)))
    expected = normalized(norm_3, linear(third, hidden))
    np.testing.assert_allclose(embedder(torch.tensor(inputs)).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_unembedder_ends_with_a_linear_map(n_layers):
    unembedder = shaken(Unembedder(5, 8, n_layers=n_layers))
    hidden = inputs = np.random.default_rng(2).normal(size=(2, 3, 8))
    for block in range(n_layers - 1):
        hidden = gelu(normalized(unembedder.layers[4 * block + 1], linear(unembedder.layers[4 * block], hidden)))
    expected = linear(unembedder.layers[-1], hidden)
    assert expected.shape == (2, 3, 5)
    np.testing.assert_allclose(unembedder(torch.tensor(inputs)).detach().numpy(), expected, atol=1e-12)


def test_parameter_counts():
    with torch.device("meta"):
        assert count(Embedder(1024, 768)) == 788_736
        assert count(Unembedder(1024, 768)) == 768 * 1024 + 1024
        assert count(Unembedder(8, 8)) == 8 * 8 + 8
        assert count(TimeEmbedding(0.2, 1500, 768)) == 1501 * 768
        assert count(Embedder(10, 4, n_layers=3)) == (10 * 4 + 4) + 2 * (4 * 4 + 4) + 3 * 8
        assert count(Unembedder(10, 4, n_layers=3)) == 2 * (4 * 4 + 4 + 8) + (4 * 10 + 10)


def test_weights_start_small_and_biases_at_zero():
    torch.manual_seed(0)
    for module in (Embedder(200, 100), Unembedder(200, 100), TimeEmbedding(0.1, 200, 100)):
        weight = (module.rows if isinstance(module, TimeEmbedding) else module.layers[0]).weight
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.03)
        assert abs(float(weight.detach().mean())) < 1e-3
        assert all(not parameter.any() for name, parameter in module.named_parameters() if "bias" in name)


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    embedder, inputs = Embedder(5, 400, dropout=0.25), torch.randn(1, 50, 5)
    share = float((embedder(inputs) == 0).float().mean())
    assert share == pytest.approx(0.25, abs=0.02)
    assert bool((embedder.eval()(inputs) != 0).all())


# ---------------------------------------------------------------------- seconds


def rows_taken(embedding, seconds):
    """Which row each time takes: the rows are made to hold their own numbers."""
    with torch.no_grad():
        embedding.rows.weight.copy_(torch.arange(embedding.n_rows + 1.0)[:, None])
    return embedding(torch.as_tensor(seconds, dtype=torch.float64))[..., 0].long().tolist()


@pytest.mark.parametrize("precision", ["0.1", "0.2", "0.5", "0.3", "0.002", "0.0005"])
@pytest.mark.parametrize("rate", ["1/2", "25/18", "1", "1.25", "3", "100", "250", "512", "1000"])
def test_each_time_takes_the_nearest_row(rate, precision):
    rate, precision = Fraction(rate), Fraction(precision)
    embedding = TimeEmbedding(float(precision), 40_000, 1)
    n_samples = min(2000, int(39_999 * precision * rate))
    seconds = [position / float(rate) for position in range(n_samples)]
    for position, row in enumerate(rows_taken(embedding, seconds)):
        steps = Fraction(position) / rate / precision
        if steps.denominator == 2:
            assert row in (steps - Fraction(1, 2), steps + Fraction(1, 2))
        else:
            assert row == round(steps)


def test_samples_half_a_step_apart_never_collide_however_late():
    """With a precision of half the sampling interval sample k takes row 2k; float32 would miss it after 2^24 rows."""
    rate = 1000.0
    embedding = TimeEmbedding(0.5 / rate, 20_000_001, 1)
    embedding.rows = torch.nn.Identity()
    positions = torch.arange(9_990_000, 10_000_000)
    assert torch.equal(embedding(positions.double() / rate), 2 * positions)


def test_the_last_row_stands_for_tokens_without_time_and_padding_stays_inside():
    embedding = TimeEmbedding(0.2, 10, 1)
    assert rows_taken(embedding, [[-1.0, 0.0, 1.8], [0.2, 5.0, 1e9]]) == [[10, 0, 9], [1, 9, 9]]


def test_gradients_reach_the_rows_that_were_taken():
    embedding = TimeEmbedding(0.5, 4, 3)
    embedding(torch.tensor([[0.0, 1.0, -1.0, 1.0]], dtype=torch.float64)).sum().backward()
    assert embedding.rows.weight.grad[:, 0].tolist() == [1.0, 0.0, 2.0, 0.0, 1.0]


def test_waits_for_no_device():
    """Numbers on the meta device cannot be looked at: whoever asks for one raises."""
    with torch.device("meta"):
        embedding, seconds = TimeEmbedding(0.5, 4, 3), torch.zeros(2, 5, dtype=torch.float64)
        assert embedding(seconds).shape == (2, 5, 3)


@pytest.mark.parametrize("precision", [0.1, 0.2, 0.3, 0.5])
def test_check_refuses_the_first_time_that_has_no_row(precision):
    embedding = TimeEmbedding(precision, 1500, 2)
    embedding.check(0.0)
    embedding.check(1499 * precision)
    with pytest.raises(ConfigurationError) as caught:
        embedding.check(1500 * precision)
    sentence = str(caught.value)
    assert sentence.startswith("model.max_seconds is ")
    assert f"{1499 * precision:g} s" in sentence
    assert f"above {1500 * precision:g}," in sentence
