"""Bands that add up, components that are found again, group means that leave out who is absent."""

import itertools

import numpy as np
import pytest

from dynml.analysis.spectra.bands import mean_weights, power_weights, weighted
from dynml.analysis.spectra.choice import chosen_method
from dynml.analysis.spectra.factorization import spectral_components
from dynml.analysis.spectra.group import WeightedMean
from dynml.analysis.spectra.settings import Band, SpectraConfig, read_bands
from dynml.analysis.spectra.subjects import Visits
from dynml.errors import ConfigurationError

FREQUENCIES = np.arange(2, 91) / 2


def test_bands_that_touch_add_up_and_lines_are_integrated_exactly():
    spectrum = 3 + 2 * FREQUENCIES
    for edges in ((1, 4, 8.3, 13.7, 45), (1, 45)):
        total = sum(
            weighted(spectrum, power_weights(FREQUENCIES, Band("b", low, high)))
            for low, high in itertools.pairwise(edges)
        )
        assert total == pytest.approx(3 * 44 + 45**2 - 1)
    assert weighted(spectrum, mean_weights(FREQUENCIES, Band("b", 8, 13))) == pytest.approx(3 + 21)
    spectrum[[20, 30]] = np.nan
    assert np.isfinite(weighted(spectrum, mean_weights(FREQUENCIES, Band("b", 8, 20))))
    assert np.isnan(weighted(np.full(89, np.nan), mean_weights(FREQUENCIES, Band("b", 8, 20))))


def test_bands_are_read_and_checked():
    assert read_bands(["alpha=8-13", "mu=.5-2"]) == (Band("alpha", 8, 13), Band("mu", 0.5, 2))
    for wrong in (["alpha"], ["alpha=13-8"], ["a=1-2", "a=2-3"]):
        with pytest.raises(ConfigurationError, match="bands"):
            read_bands(wrong)
    with pytest.raises(ConfigurationError, match="within the frequencies"):
        SpectraConfig(bands=(Band("high", 40, 80),)).settled(250, "pairs")


@pytest.mark.parametrize(("rate", "bands", "window"), [(250, 5, 500), (0.4, 2, 40), (1.0, 2, 100), (64, 4, 128)])
def test_defaults_follow_the_rate(rate, bands, window):
    settled = SpectraConfig().settled(rate, "multitaper")
    assert (len(settled.bands), settled.window) == (bands, window)
    assert settled.frequency_range[1] < rate / 2  # where densities are not doubled
    assert all(band.highest <= rate / 2 for band in settled.bands)


def test_short_visits_choose_pairs_and_modes_regression():
    def visits(seconds):
        return [Visits(n_visits=np.full(2, 100.0), n_samples=np.array([5000.0, 100 * seconds * 250]))]

    assert chosen_method(SpectraConfig(), "states", visits(0.24), 250) == "pairs"
    assert chosen_method(SpectraConfig(), "states", visits(0.26), 250) == "pairs"  # the other state lasts 0.2 s
    longer = [Visits(n_visits=np.full(2, 100.0), n_samples=np.full(2, 26.0 * 250))]
    assert chosen_method(SpectraConfig(), "states", longer, 250) == "multitaper"
    assert chosen_method(SpectraConfig(window_length=60), "states", longer, 250) == "multitaper"
    assert chosen_method(SpectraConfig(), "modes", longer, 250) == "regression"
    assert chosen_method(SpectraConfig(method="multitaper"), "states", visits(0.1), 250) == "multitaper"
    with pytest.raises(ConfigurationError, match="modes"):
        chosen_method(SpectraConfig(method="pairs"), "modes", longer, 250)


def test_two_profiles_are_found_in_the_order_of_frequency_and_a_third_is_told():
    generator = np.random.default_rng(0)
    profiles = np.exp(-np.square((FREQUENCIES - np.array([[10], [30]])) / 4))
    values = generator.random((80, 2)) @ profiles * 0.5 + 0.2 + 0.005 * generator.random((80, 89))
    found = spectral_components(values, 2, floor=0.2)
    for own, true in zip(found.spectra, profiles):
        assert np.corrcoef(own, true)[0, 1] > 0.99
    assert found.findings() == []
    assert any("do as well" in finding for finding in spectral_components(values, 3, floor=0.2).findings())
    with pytest.raises(ConfigurationError, match="n_components"):
        spectral_components(values[:4], 3)


def test_absent_subjects_do_not_count_as_zeros():
    mean = WeightedMean()
    mean.add(np.array([[1.0], [5.0]]), np.array([10.0, 1.0]))
    mean.add(np.array([[4.0], [np.nan]]), np.array([20.0, 0.0]))
    np.testing.assert_allclose(mean.mean, [[3.0], [5.0]])
