from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import chi2, kstest

from dynml.errors import ConfigurationError, DataError
from dynml.simulation import MixedSineSimulationConfig, read_truth, simulate_mixed_sine, write_simulation
from dynml.simulation.kinds.gaussian_states import draw_mixed_signals
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

PUBLISHED = {
    "relative_activation": [1, 0.5, 0.5, 0.25, 0.25, 0.1],
    "amplitudes": [6, 5, 4, 3, 2, 1],
    "frequencies": [1, 2, 3, 4, 6, 8],
}
PLACES = ([0, 1, 100, 5000, 12345, 17003, 20001, 25599], [0, 1, 2, 3, 4, 5, 18, 19])


@pytest.fixture(scope="module")
def published():
    return {
        seeding: simulate_mixed_sine(n_channels=20, seed=123, seeding=seeding, **PUBLISHED)
        for seeding in ("osl_legacy", "osl")
    }


def test_alpha_is_the_softmax_of_sinusoids_with_the_asked_frequencies_and_amplitudes():
    simulation = simulate_mixed_sine(
        n_subjects=2,
        n_modes=3,
        n_channels=2,
        n_samples=500,
        relative_activation=[1.0, 0.0, -2.0],
        amplitudes=[3.0, 2.0, 1.0],
        frequencies=[1.0, 5.0, 20.0],
        sampling_frequency=100.0,
    )
    for subject in range(2):
        logits = simulation.logits[subject].astype(np.float64)
        np.testing.assert_allclose(simulation.alpha[subject], softmax(logits, axis=1), atol=1e-6)
        np.testing.assert_allclose(logits.mean(axis=0), [1, 0, -2], atol=1e-5)
        # Five seconds hold whole periods: a sinusoid is one line of the spectrum, of half its amplitude times T.
        spectrum = np.abs(np.fft.rfft(logits - logits.mean(axis=0), axis=0)) / 250
        assert spectrum.argmax(axis=0).tolist() == [5, 25, 100]
        np.testing.assert_allclose(spectrum.max(axis=0), [3, 2, 1], rtol=1e-5)
        np.testing.assert_allclose(
            logits[0], [1, 0, -2] + np.array([3, 2, 1]) * np.sin(simulation.phases[subject]), atol=1e-6
        )
    assert not np.allclose(simulation.phases[0], simulation.phases[1])


def test_phases_are_uniform():
    simulation = simulate_mixed_sine(n_subjects=300, n_modes=4, n_channels=1, n_samples=1)
    assert kstest(simulation.phases.ravel() / (2 * np.pi), "uniform").pvalue > 1e-3


def test_signals_have_the_mixed_mean_and_covariance():
    """Whitened by the truth of each sample, signals are standard normal, whatever the mixture."""
    simulation = simulate_mixed_sine(n_modes=4, n_channels=5, n_samples=20_000, means="random", observation_error=0.1)
    covariances = simulation.time_varying_covariances()
    expected = np.einsum("tj,jab->tab", simulation.alpha[0].astype(float), simulation.covariances)
    np.testing.assert_allclose(covariances, expected, atol=1e-12)
    np.testing.assert_array_equal(simulation.time_varying_covariances(0, 30, 40), covariances[30:40])
    deviations = simulation.time_series[0] - simulation.alpha[0].astype(float) @ simulation.means
    white = np.linalg.solve(np.linalg.cholesky(covariances), deviations[..., None])[..., 0]
    assert np.abs(white.mean(axis=0)).max() < 5 / np.sqrt(20_000)
    assert np.abs(white.T @ white / 20_000 - np.eye(5)).max() < 5 * np.sqrt(2 / 20_000)
    assert kstest((white**2).sum(axis=1), chi2(5).cdf).pvalue > 1e-3


def test_one_mixture_drawn_often_has_its_covariance():
    generator = np.random.default_rng(1)
    covariances = np.array([[[4.0, 1.0], [1.0, 1.0]], [[1.0, -0.8], [-0.8, 2.0]]])
    means = np.array([[10.0, 0.0], [0.0, -10.0]])
    signals = draw_mixed_signals(np.tile([[0.25, 0.75]], (300_000, 1)), means, covariances, generator)
    np.testing.assert_allclose(signals.mean(axis=0), [2.5, -7.5], atol=0.02)
    np.testing.assert_allclose(np.cov(signals.T), 0.25 * covariances[0] + 0.75 * covariances[1], atol=0.03)


def test_subjects_are_reproducible_and_independent_of_how_many_there_are():
    settings = dict(n_modes=3, n_channels=4, n_samples=50, seed=7, covariance_variability=0.2)
    few, many = simulate_mixed_sine(n_subjects=2, **settings), simulate_mixed_sine(n_subjects=5, **settings)
    for subject in range(2):
        np.testing.assert_array_equal(few.time_series[subject], many.time_series[subject])
        np.testing.assert_array_equal(few.alpha[subject], many.alpha[subject])
    np.testing.assert_array_equal(few.subject_covariances, many.subject_covariances[:2])
    assert not np.array_equal(many.time_series[0], many.time_series[1])
    given = simulate_mixed_sine(n_subjects=2, generator=np.random.default_rng(7), **settings)
    np.testing.assert_array_equal(given.time_series[1], few.time_series[1])
    own = few.time_varying_covariances(1, 10, 11)[0]
    np.testing.assert_allclose(own, np.tensordot(few.alpha[1][10].astype(float), few.subject_covariances[1], axes=1))


def test_standardize_rescales_the_truth():
    simulation = simulate_mixed_sine(n_subjects=2, n_samples=[3000, 500], n_channels=4, means="random")
    standardized = simulation.standardize()
    together = np.concatenate(standardized.time_series).astype(np.float64)
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(together.std(axis=0), 1, atol=1e-6)
    raw = np.concatenate(simulation.time_series).astype(np.float64)
    scale = raw.std(axis=0)
    np.testing.assert_allclose(standardized.covariances * np.outer(scale, scale), simulation.covariances, rtol=1e-6)
    np.testing.assert_allclose(standardized.means, (simulation.means - raw.mean(axis=0)) / scale, atol=1e-6)
    np.testing.assert_array_equal(standardized.alpha[1], simulation.alpha[1])
    with pytest.raises(DataError, match="already"):
        standardized.standardize()


def test_defaults_are_the_published_mixture_and_what_lies_between():
    config = MixedSineSimulationConfig()
    assert {key: getattr(config, key) for key in PUBLISHED} == PUBLISHED
    eleven = MixedSineSimulationConfig(n_modes=11)
    assert eleven.amplitudes == [6, 5.5, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1]
    assert eleven.frequencies[6:] == [4, 5, 6, 7, 8]


def test_published_mixtures_come_out_number_by_number(published):
    """Values from the recipe itself, run once: random_seed=123 up to 1.3.0, numpy.random.seed(123) after it."""
    expected = {
        "osl_legacy": (
            [4.287343, 0.338167, 1.384562, 1.158442, 1.105249, 5.10254],
            [0.131156, -0.047286, 0.261795, 0.031497],
            [0.000095, 0.695164, 0.015575],
            [0.212229, 0.58949, -0.701724, -0.308455, -0.107743, 0.50196, -0.534199, 0.563596],
        ),
        "osl": (
            [0.885093, 0.149994, 1.452904, 4.453159, 1.476767, 4.582537],
            [0.303045, -0.042012, 0.083593, 0.010962],
            [0.736827, 0.228319, 0.016669],
            [-0.28341, -0.724478, 0.278958, 0.580139, 0.417742, -0.293404, 0.271597, 0.441754],
        ),
    }
    for seeding, (phases, covariances, alpha, signals) in expected.items():
        own = published[seeding]
        np.testing.assert_allclose(own.phases[0], phases, atol=1e-6)
        np.testing.assert_allclose(own.covariances[[0, 0, 3, 5], [0, 1, 7, 19], [0, 3, 7, 2]], covariances, atol=1e-6)
        np.testing.assert_allclose(own.alpha[0][[0, 1000, 25599], [0, 2, 5]], alpha, atol=1e-6)
        # A singular vector may have the other sign under another LAPACK, which a few samples show.
        assert np.isclose(own.time_series[0][PLACES], signals, atol=1e-4).sum() >= 6


@pytest.mark.parametrize("seeding", ["osl_legacy", "osl"])
def test_signals_of_another_seeding_are_those_of_numpy_s_multivariate_normal(seeding):
    settings = dict(n_modes=3, n_channels=4, n_samples=600, seed=5, means="random", observation_error=0.2)
    settings |= dict(frequencies=[1.0, 2.0, 5.0], n_covariance_activations=2)
    simulation = simulate_mixed_sine(seeding=seeding, **settings)
    if seeding == "osl":
        generator = np.random.RandomState(5)
        integers = generator.randint
    else:
        generator = np.random.default_rng(5)
        integers = generator.integers
    means = generator.normal(0, 0.2, size=(3, 4))
    weights = generator.normal(0, 0.1, size=(3, 4, 4))
    for strength in (1.0, 5.0):
        for mode in range(3):
            weights[mode, np.unique(integers(0, 4, size=2))] += strength / 4
    covariances = weights @ weights.transpose(0, 2, 1) + 1e-6 * np.eye(4)
    np.testing.assert_allclose(simulation.means, means)
    np.testing.assert_allclose(simulation.covariances, covariances + 0.04 * np.eye(4))
    phase_generator = generator if seeding == "osl" else np.random.default_rng(5)
    np.testing.assert_array_equal(simulation.phases[0], phase_generator.uniform(0, 2 * np.pi, 3))
    alpha = simulation.alpha[0]
    expected = np.empty((600, 4))
    distinct = np.unique(alpha, axis=0)
    assert len(distinct) < 600
    for value in distinct:
        rows = np.all(alpha == value, axis=1)
        covariance = np.sum(covariances * value[:, None, None], axis=0)
        mean = np.sum(means * value[:, None], axis=0)
        expected[rows] = generator.multivariate_normal(mean, covariance, size=rows.sum())
    expected += generator.normal(scale=0.2, size=expected.shape)
    np.testing.assert_allclose(simulation.time_series[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"amplitudes": [1, 2]}, "amplitudes.*6 finite"),
        ({"frequencies": [1, 2, 3, 4, 5, "x"]}, "frequencies"),
        ({"relative_activation": [0, 0, 0, 0, 0, np.nan]}, "relative_activation.*NaN"),
        ({"n_modes": 0}, "n_modes is 0"),
        ({"means": np.zeros((2, 3))}, "means.*6 x 11"),
        ({"seeding": "osl_legasy"}, "did you mean 'osl_legacy'"),
        ({"seeding": "osl", "n_subjects": 2}, "n_subjects is 2.*'osl'"),
        ({"seeding": "osl_legacy", "covariance_variability": 0.1}, "covariance_variability"),
        ({"seeding": "osl", "n_samples_range": [3, 4]}, "n_samples_range"),
        ({"seeding": "osl", "generator": np.random.default_rng(0)}, "generator is given"),
        ({"covariances": np.tile(np.eye(11), (6, 1, 1)), "n_covariance_activations": 2}, "n_covariance_activations"),
        ({"n_mode": 3}, "did you mean 'n_modes'"),
        ({"config": MixedSineSimulationConfig(), "seed": 1}, "left out where a config is given"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        simulate_mixed_sine(**settings)


def test_the_store_holds_alpha(tmp_path):
    simulation = simulate_mixed_sine(
        n_subjects=3, n_samples=[40, 60, 50], n_modes=3, n_channels=4, covariance_variability=0.1, means="random"
    ).standardize()
    path = tmp_path / "modes.hdf5"
    write_simulation(simulation, path, n_testing_subjects=1)
    assert faults_of_store(path) == []
    truth = read_truth(path)
    assert (truth.kind, truth.states, truth.transition_probabilities) == ("mixed_sine", None, None)
    for name in ("means", "covariances", "phases"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(simulation, name))
    with Store(path) as store:
        for number, subject in enumerate(simulation.subjects):
            np.testing.assert_array_equal(store.read(subject, "signals"), simulation.time_series[number])
            np.testing.assert_array_equal(truth.alpha[subject], simulation.alpha[number])
            np.testing.assert_array_equal(truth.subject_covariances[subject], simulation.subject_covariances[number])
    again = simulate_mixed_sine(**truth.arguments)
    np.testing.assert_array_equal(again.alpha[2], simulation.alpha[2])
