import numpy as np
import pytest

from dynml.plotting.attribution import (
    LONGEST_NAME,
    MOST_NAMED_NETWORKS,
    plot_attention_lags,
    plot_attribution_maps,
    plot_network_importance,
)
from dynml.plotting.style import save_figure

MAPS = np.array([[[0.0, 1.0, -2.0], [0.5, np.nan, 0.25]], [[4.0, 0.0, 0.0], [0.0, -1.0, 0.0]]])


def labels(ticks):
    return [label.get_text() for label in ticks]


def test_maps_share_a_scale_around_zero_and_say_what_they_show(tmp_path):
    figure = plot_attribution_maps(
        MAPS,
        [-2.0, 0.0, 2.0],
        network_names=["left", "right"],
        group_names=["face (3 trials)", "house (1 trial)"],
        time_label="Time since the trial's first sample (s)",
        unit="logit",
        title="Integrated gradients",
    )
    first, second, bar = figure.axes
    for axes, expected in ((first, MAPS[0]), (second, MAPS[1])):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array().filled(np.nan), expected)
        low, high = image.get_clim()
        assert -low == high == pytest.approx(4.0, rel=0.01)
        assert image.get_extent() == [-3.0, 3.0, 2.5, 0.5]
        assert axes.get_xlabel() == "Time since the trial's first sample (s)"
    assert labels(first.get_yticklabels()) == ["left", "right"]
    assert labels(second.get_yticklabels()) == ["", ""] or labels(second.get_yticklabels()) == []
    assert [axes.get_title() for axes in (first, second)] == ["face (3 trials)", "house (1 trial)"]
    assert bar.get_ylabel() == "Mean attribution (logit)"
    assert figure.get_suptitle() == "Integrated gradients"
    assert save_figure(figure, tmp_path / "maps.png").read_bytes()[:4] == b"\x89PNG"


def test_maps_of_many_networks_and_groups_are_numbered_and_one_of_zeros_is_drawn():
    n_networks = MOST_NAMED_NETWORKS + 1
    figure = plot_attribution_maps(
        np.zeros((5, n_networks, 1)), [0.0], network_names=[f"network {number}" for number in range(n_networks)]
    )
    assert figure.axes[0].get_ylabel() == "Network"
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 5


def test_bars_are_the_networks_with_the_largest_means_in_order(tmp_path):
    importance = np.array([[0.1, 0.9, 0.2, 0.0], [0.3, 0.5, 0.8, 0.1]])
    names = ["a", "b", "c" * 60, "d"]
    figure = plot_network_importance(importance, names, group_names=["face", "house"], unit="logit", n_networks=3)
    (axes,) = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.7, 0.5, 0.2])
    assert labels(axes.get_yticklabels()) == ["b", "c" * (LONGEST_NAME - 1) + "…", "a"]
    np.testing.assert_allclose([line.get_xdata() for line in axes.lines], [[0.9, 0.2, 0.1], [0.5, 0.8, 0.3]])
    assert labels(axes.get_legend().get_texts()) == ["face", "house"]
    assert axes.get_xlabel() == "Mean size of the attribution of a sample (logit)"
    assert axes.get_ylabel() == "Networks (1 smaller ones left out)"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert save_figure(figure, tmp_path / "bars.png").stat().st_size > 1000


def test_bars_of_one_group_have_no_dots_and_numbers_for_names():
    (axes,) = plot_network_importance([[0.1, 0.2]]).axes
    assert labels(axes.get_yticklabels()) == ["2", "1"]
    assert not axes.lines
    assert axes.get_legend() is None


def test_attention_has_a_panel_a_layer_and_a_line_a_head_beside_equal_attention(tmp_path):
    profiles = np.arange(5 * 2 * 3, dtype=float).reshape(5, 2, 3)
    figure = plot_attention_lags(profiles, [-4.0, -2.0, 0.0], equal=[0.1, 0.2, 0.3], lag_label="Lag (s)", title="Mean")
    panels = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title() for axes in panels] == [f"Layer {number}" for number in range(1, 6)]
    for layer, axes in enumerate(panels):
        np.testing.assert_array_equal([line.get_ydata() for line in axes.lines[:2]], profiles[layer])
        np.testing.assert_array_equal(axes.lines[2].get_ydata(), [0.1, 0.2, 0.3])
        assert axes.lines[0].get_xdata().tolist() == [-4.0, -2.0, 0.0]
    assert labels(figure.legends[0].get_texts()) == ["Head 1", "Head 2", "Equal"]
    assert panels[-1].get_xlabel() == "Lag (s)"
    assert save_figure(figure, tmp_path / "attention.png").stat().st_size > 1000
