from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from dynml.plotting.modes import names_of_modes, plot_alpha, plot_loss, plot_separate_time_series
from dynml.plotting.style import PALETTE, save_figure, state_colours


def drawn(figure):
    """Picture of a figure, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255.0


def colour_at(figure, axes, x, y):
    image = drawn(figure)
    column, row = axes.transData.transform((x, y))
    return image[len(image) - 1 - int(row), int(column)]


def texts(figure):
    return {text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text"))}


def test_alpha_is_stacked_in_one_panel_a_result_with_gaps_left_white():
    truth = np.tile([[0.25, 0.5, 0.25]], (20, 1))
    inferred = truth[:, ::-1].copy()
    inferred[:, :2] = [0.8, 0.1]
    inferred[:, 2] = 0.1
    inferred[5:8] = np.nan
    figure = plot_alpha(truth, inferred, sampling_frequency=2.0, titles=["Truth", "DyNeMo"], mode_names=list("abc"))
    first, second = figure.axes
    colours = [to_rgb(colour) for colour in state_colours(3)]
    for axes, y, mode in ((first, 0.1, 0), (first, 0.5, 1), (first, 0.9, 2), (second, 0.5, 0), (second, 0.97, 2)):
        np.testing.assert_allclose(colour_at(figure, axes, 1.0, y), colours[mode], atol=0.01)
    np.testing.assert_allclose(colour_at(figure, second, 3.2, 0.5), (1, 1, 1), atol=0.01)
    assert second.get_xlim() == (0, 10)
    assert {"Truth", "DyNeMo", "a", "b", "c", "Time (s)", "Mixing coefficient"} <= texts(figure)


def test_alpha_shows_the_first_samples_only_where_asked():
    alpha = np.zeros((1000, 2))
    alpha[:50, 0] = 1
    alpha[50:, 1] = 1
    figure = plot_alpha(alpha, n_samples=100)
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 100)
    np.testing.assert_allclose(colour_at(figure, axes, 25, 0.5), to_rgb(PALETTE[0]), atol=0.01)
    np.testing.assert_allclose(colour_at(figure, axes, 75, 0.5), to_rgb(PALETTE[1]), atol=0.01)
    assert {"Mode 1", "Mode 2", "Sample"} <= texts(figure)
    assert names_of_modes(2) == ["Mode 1", "Mode 2"]


def test_separate_time_series_have_a_strip_a_column_on_one_scale():
    series = np.stack([np.linspace(-1, 1, 50), np.linspace(0, 10, 50)], axis=1)
    figure = plot_separate_time_series(series, sampling_frequency=10.0, n_samples=40, names=["low", "high"])
    low, high = figure.axes
    for axes, column in ((low, 0), (high, 1)):
        (line,) = axes.lines
        np.testing.assert_array_equal(line.get_ydata(), series[:40, column])
        np.testing.assert_allclose(line.get_xdata(), np.arange(40) / 10)
    assert low.get_ylim() == high.get_ylim()
    assert high.get_xlim() == (0, 4)
    assert [axes.get_ylabel() for axes in figure.axes] == ["low", "high"]
    free = plot_separate_time_series(series, series + 1, labels=["truth", "shifted"], same_scale=False)
    assert free.axes[0].get_ylim() != free.axes[1].get_ylim()
    assert [len(axes.lines) for axes in free.axes] == [2, 2]
    assert {"truth", "shifted"} <= texts(free)


def test_strips_of_many_channels_have_labels_that_do_not_overlap():
    figure = plot_separate_time_series(np.random.default_rng(0).normal(size=(100, 20)))
    drawn(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [axes.yaxis.label.get_window_extent(renderer) for axes in figure.axes]
    assert not any(above.overlaps(below) for above, below in itertools.pairwise(boxes))


def test_loss_has_panels_for_divergence_and_factor_and_shades_the_annealing():
    epochs = np.arange(20.0)
    factor = np.minimum(epochs / 10, 1)
    figure = plot_loss(
        {"training": 25 - epochs / 20, "validation": 25.2 - epochs / 20},
        divergences={"KL": 1 / (1 + epochs)},
        annealing_factor=factor,
        best_epoch=15,
    )
    loss, divergence, annealing = figure.axes
    np.testing.assert_array_equal(annealing.lines[0].get_ydata(), factor)
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), np.arange(1, 21))
    np.testing.assert_array_equal(divergence.lines[0].get_ydata(), 1 / (1 + epochs))
    white, shade = (colour_at(figure, annealing, epoch, 0.95) for epoch in (19.4, 5.4))
    np.testing.assert_allclose(white, 1, atol=0.01)
    assert (shade < 0.97).all()
    np.testing.assert_allclose(colour_at(figure, annealing, 10.9, 0.3), 1, atol=0.01)
    assert (colour_at(figure, annealing, 10.2, 0.3) < 0.97).all()
    assert {"training", "validation", "KL", "annealing", "Epoch (dashed line: the best one, 15)"} <= texts(figure)


def test_the_first_epochs_of_a_loss_do_not_flatten_the_others():
    losses = np.concatenate([[500.0, 60.0], np.linspace(25, 24, 48)])
    low, high = plot_loss({"training": losses}).axes[0].get_ylim()
    assert low < 24 < 24.9 < high < 26
    assert plot_loss({"training": np.linspace(25, 24, 50)}).axes[0].get_ylim()[1] > 25
    gaps = np.full(50, np.nan)
    assert len(plot_loss({"training": losses, "validation": gaps}).axes) == 1
    assert len(plot_loss({"training": [25.0]}, annealing_factor=[1.0]).axes) == 2


def test_figures_are_saved_without_a_screen(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from dynml.plotting.modes import plot_alpha, plot_loss, plot_separate_time_series\n"
        "from dynml.plotting.style import save_figure\n"
        f"folder = {str(tmp_path)!r}\n"
        "save_figure(plot_alpha(np.full((10, 2), 0.5)), folder + '/alpha.png')\n"
        "save_figure(plot_loss({'training': [2.0, 1.0]}, annealing_factor=[0.0, 1.0]), folder + '/loss.pdf')\n"
        "save_figure(plot_separate_time_series(np.ones((10, 3))), folder + '/series.svg')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} >= {".png", ".pdf", ".svg"}


def test_saved_picture_is_what_was_drawn(tmp_path):
    from matplotlib.image import imread

    picture = imread(save_figure(plot_alpha(np.tile([[1.0, 0.0]], (30, 1))), tmp_path / "alpha.png"))
    share = np.isclose(picture[..., :3], to_rgb(PALETTE[0]), atol=0.01).all(axis=2).mean()
    assert share > 0.5
