import numpy as np
import pytest

from dynml.analysis.maps.bands import chosen_bands
from dynml.analysis.maps.networks import kept_by_mixture, kept_edges, relative_to_average
from dynml.analysis.spectra.settings import Band
from dynml.errors import ConfigurationError, DataError


def network_of(edges):
    n_channels = round((1 + np.sqrt(1 + 8 * len(edges))) / 2)
    network = np.zeros((n_channels, n_channels))
    network[np.triu_indices(n_channels, 1)] = edges
    return network + network.T


def test_bands_are_read_as_a_user_writes_them():
    frequencies = np.linspace(1.0, 45.0, 89)
    assert chosen_bands(["alpha=8-13", "b=13-30.5"], frequencies)[1] == Band("b", 13.0, 30.5)
    assert chosen_bands(None, frequencies) == [Band("all", 1.0, 45.0)]
    for words, error in (
        (["alpha"], ConfigurationError),
        (["a=3-2"], ConfigurationError),
        (["a=2-3", "a=3-4"], ConfigurationError),
        (["../x=2-3"], ConfigurationError),
        (["a=30-60"], DataError),
    ):
        with pytest.raises(error):
            chosen_bands(words, frequencies)


def test_the_average_is_weighted_by_occupancy():
    values = np.array([[1.0, 4.0], [3.0, 0.0]])
    np.testing.assert_allclose(relative_to_average(values, [0.75, 0.25]), values - [1.5, 3.0])


def test_a_state_that_is_never_visited_changes_no_other():
    values = np.array([[1.0, 4.0], [np.nan, np.nan], [3.0, 0.0]])
    relative = relative_to_average(values, [0.75, 0.0, 0.25])
    np.testing.assert_allclose(relative[[0, 2]], [[-0.5, 1.0], [1.5, -3.0]])
    assert np.isnan(relative[1]).all()


def test_what_one_state_has_not_is_averaged_over_the_others():
    values = np.array([[1.0, 4.0], [np.nan, 2.0], [3.0, 0.0]])
    relative = relative_to_average(values, [0.5, 0.25, 0.25])
    np.testing.assert_allclose(relative[[0, 2]], [[1 - 5 / 3, 1.5], [3 - 5 / 3, -2.5]])
    np.testing.assert_allclose(relative[1], [np.nan, -0.5])


def test_edges_without_a_value_are_not_kept_and_change_no_other():
    edges = np.random.default_rng(0).normal(0, 0.05, 45)
    edges[:3] = 0.9
    without = edges.copy()
    without[20:30] = np.nan
    for choice in ("mixture", "90"):
        kept = kept_edges(network_of(without), choice).matrix[np.triu_indices(10, 1)]
        assert kept[:3].all()
        assert not kept[20:30].any()
        assert kept_edges(np.full((10, 10), np.nan), choice).n_kept == 0


def test_edges_above_a_percentile_have_either_sign():
    network = network_of(np.array([0.1, -0.9, 0.2, 0.3, -0.1, 0.8]))
    kept = kept_edges(network, "60")
    assert kept.n_kept == 2
    assert kept.matrix[0, 2]
    assert not kept.matrix.diagonal().any()
    np.testing.assert_array_equal(kept.matrix, kept.matrix.T)


@pytest.mark.parametrize("edges", ["101", "-1", "nan", "most"])
def test_other_words_are_refused(edges):
    with pytest.raises(ConfigurationError, match="percentile"):
        kept_edges(np.eye(4), edges)


def test_a_mixture_finds_the_edges_that_stand_out_on_both_sides():
    generator = np.random.default_rng(1)
    edges = generator.normal(0, 0.05, 210)
    edges[:8] += 0.4
    edges[8:14] -= 0.4
    kept = kept_by_mixture(network_of(edges))
    assert 14 <= kept.n_kept <= 19
    rows, columns = np.triu_indices(21, 1)
    assert kept.matrix[rows[:14], columns[:14]].all()


def test_a_mixture_keeps_nothing_where_nothing_stands_out():
    # BIC's penalty of three more parameters: of edges of one Gaussian, few networks are taken for two.
    generator = np.random.default_rng(2)
    found = [kept_by_mixture(network_of(generator.normal(0, 0.1, 210))).n_kept > 0 for _ in range(12)]
    assert sum(found) <= 1
    assert kept_by_mixture(network_of(np.full(10, 0.3))).n_kept == 0


def test_a_mixture_is_the_same_each_time():
    edges = np.random.default_rng(3).standard_t(2, 300)
    first, second = (kept_by_mixture(network_of(edges), seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert first.in_words == second.in_words
