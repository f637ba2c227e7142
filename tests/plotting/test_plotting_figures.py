from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dynml.analysis.state_statistics import state_statistics
from dynml.errors import ConfigurationError, DynmlError
from dynml.plotting import (
    plot_covariances,
    plot_free_energy,
    plot_state_probabilities,
    plot_state_summary,
    plot_transition_probabilities,
    save_figure,
)
from dynml.plotting.matrices import correlations_of
from dynml.plotting.style import PALETTE, perceived, state_colours
from dynml.report.figures import largest_off_diagonal

NAMES = [f"Lateral Occipital Cortex, part {number}" for number in range(21)]


def pixels(figure):
    """Colours of a drawn figure, (height, width, 3), and how to find a point of its axes there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3] / 255.0

    def at(axes, x, y):
        column, row = axes.transData.transform((x, y))
        return image[len(image) - 1 - int(row), int(column)]

    return at


def texts(figure):
    return [text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text"))]


def overlapping(figure, labels):
    """Pairs of neighbouring tick labels that cover one another when drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels if label.get_text()]
    return [pair for pair in itertools.pairwise(boxes) if pair[0].overlaps(pair[1])]


def test_stacked_probabilities_show_each_state_at_its_place_and_gaps_blank():
    alpha = np.tile([[0.25, 0.5, 0.25]], (20, 1))
    alpha[10:] = [[0.0, 0.0, 1.0]]
    alpha[5:8] = np.nan
    figure = plot_state_probabilities(alpha, 2.0, blocks=["rest"] * 12 + ["face"] * 8)
    at = pixels(figure)
    axes = figure.axes[1]
    colours = [to_rgb(colour) for colour in state_colours(3)]
    for y, state in ((0.1, 0), (0.5, 1), (0.9, 2)):
        np.testing.assert_allclose(at(axes, 1.0, y), colours[state], atol=0.01)
    np.testing.assert_allclose(at(axes, 6.7, 0.1), colours[2], atol=0.01)
    np.testing.assert_allclose(at(axes, 3.2, 0.5), (1, 1, 1), atol=0.01)
    assert axes.get_xlim() == (0, 10)
    assert axes.get_xlabel() == "Time (s)"
    shown = texts(figure)
    assert "face" in shown
    assert "rest" not in shown
    assert {"State 1", "State 2", "State 3"} <= set(shown)


def test_a_segment_of_one_sample_is_seen():
    alpha = np.full((100, 2), np.nan)
    alpha[50] = [1.0, 0.0]
    figure = plot_state_probabilities(alpha, 1.0, [[50, 51]])
    np.testing.assert_allclose(pixels(figure)(figure.axes[1], 50.5, 0.5), to_rgb(PALETTE[0]), atol=0.01)


def test_long_recordings_are_averaged_within_segments():
    alpha = np.zeros((50_000, 2))
    alpha[:, 0] = np.arange(50_000) % 2
    alpha[:, 1] = 1 - alpha[:, 0]
    alpha[20_000:20_010] = np.nan
    figure = plot_state_probabilities(alpha, 250.0)
    at, axes = pixels(figure), figure.axes[1]
    np.testing.assert_allclose(at(axes, 30.0, 0.3), to_rgb(PALETTE[0]), atol=0.01)
    np.testing.assert_allclose(at(axes, 30.0, 0.7), to_rgb(PALETTE[1]), atol=0.01)
    assert sum(len(patch.get_paths()[0].vertices) for patch in axes.collections) < 50_000


def test_covariances_share_one_symmetric_scale():
    covariances = np.array([np.eye(3), [[4.0, -1, 0], [-1, 1, 0], [0, 0, 1]]])
    figure = plot_covariances(covariances)
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert [image.get_clim() for image in images] == [(-4.0, 4.0)] * 2
    correlations = plot_covariances(covariances, as_correlations=True)
    images = [axes.images[0] for axes in correlations.axes if axes.images]
    assert [image.get_clim() for image in images] == [(-0.5, 0.5)] * 2 + [(-0.25, 0.25)] * 2
    np.testing.assert_allclose(np.ma.filled(images[1].get_array(), np.nan)[0], [np.nan, -0.5, 0])
    # Beneath: the differences from the average over states, in which the diagonal is left out as well.
    np.testing.assert_allclose(np.ma.filled(images[3].get_array(), np.nan)[0], [np.nan, -0.25, 0])


def test_correlations_with_a_constant_channel_are_left_out():
    covariances = np.array([[[4.0, -1, 0], [-1, 1, 0], [0, 0, 0]], [[1.0, 0.3, 0.1], [0.3, 1, 0], [0.1, 0, 1]]])
    found = correlations_of(covariances)
    np.testing.assert_allclose(found[0], [[1, -0.5, np.nan], [-0.5, 1, np.nan], [np.nan] * 3])
    np.testing.assert_allclose(found[1], covariances[1])
    assert largest_off_diagonal(found) == 0.5
    figure = plot_covariances(covariances, as_correlations=True)
    assert next(axes.images[0] for axes in figure.axes if axes.images).get_clim() == (-0.5, 0.5)


def test_diagonal_models_show_their_variances():
    variances = np.array([[1.0, 4.0, 9.0], [2.0, 3.0, 5.0]])
    for given in (variances, np.stack([np.diag(own) for own in variances])):
        figure = plot_covariances(given, ["a", "b", "c"], as_correlations=True, units="SD")
        (image,) = [axes.images[0] for axes in figure.axes if axes.images]
        np.testing.assert_allclose(image.get_array(), variances.T)
        assert figure.axes[0].get_xlim() == (0.5, 2.5)
        assert "Variance (SD²)" in texts(figure)


def test_names_of_many_events_never_cover_each_other():
    alpha = np.tile([[0.5, 0.5]], (1200, 1))
    blocks = ["rest"] * 1200
    for number, start in enumerate(range(5, 1190, 15)):
        blocks[start : start + 3] = [("famous face", "scrambled face", "house")[number % 3]] * 3
    figure = plot_state_probabilities(alpha, 2.0, blocks=blocks)
    task = figure.axes[0]
    assert [text for text in task.texts if text.get_text()] == []
    told = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"Event: famous face", "Event: scrambled face", "Event: house"} <= told
    colours = [patch.get_facecolor() for patch in task.patches]
    assert len(colours) == 79
    assert colours[0] == colours[3] != colours[1]
    # Names of many kinds would fill the legend.
    blocks = [f"item {sample}" if sample % 12 == 0 else "rest" for sample in range(1200)]
    figure = plot_state_probabilities(alpha, 2.0, blocks=blocks)
    assert "Events of 100 kinds" in {text.get_text() for text in figure.legends[0].get_texts()}


@pytest.mark.parametrize("n_events", [3, 8, 20])
def test_names_of_events_that_are_written_have_room(n_events):
    blocks = ["rest"] * 1000
    for start in np.linspace(0, 960, n_events).astype(int):
        blocks[start : start + 30] = ["scrambled face"] * 30
    figure = plot_state_probabilities(np.tile([[0.5, 0.5]], (1000, 1)), 2.0, blocks=blocks)
    assert overlapping(figure, figure.axes[0].texts) == []


@pytest.mark.parametrize("n_states", [1, 6, 12])
def test_names_of_21_parcels_do_not_overlap(n_states):
    figure = plot_covariances(np.tile(np.eye(21) + 0.1, (n_states, 1, 1)), NAMES)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == n_states
    assert [label.get_text() for label in panels[0].get_yticklabels()] == NAMES
    assert overlapping(figure, panels[0].get_yticklabels()) == []
    assert overlapping(figure, panels[-1].get_xticklabels()) == []


def test_unnamed_channels_are_numbered_on_the_outer_panels():
    figure = plot_covariances(np.tile(np.eye(80) + 0.1, (5, 1, 1)))
    panels = [axes for axes in figure.axes if axes.images]
    assert [bool(axes.get_ylabel()) for axes in panels] == [True, False, False, True, False]
    assert [bool(axes.get_xlabel()) for axes in panels] == [False, False, True, True, True]


def test_transition_probabilities_are_written_into_their_cells():
    figure = plot_transition_probabilities([[0.98, 0.02, 0.0], [0.004, 0.9, 0.096], [0.5, 0.0, 0.5]])
    axes = figure.axes[0]
    written = {(text.get_position()): text.get_text() for text in axes.texts}
    assert written[0, 0] == "0.98"
    assert written[1, 0] == "0.02"
    assert written[2, 0] == "0"
    assert written[0, 1] == "<0.01"
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("From", "To")


def test_free_energy_with_baselines_and_the_best_epoch():
    curves = {"training": [30.0, 28.0, 27.0], "validation": [31.0, 29.0, 29.5]}
    baselines = {
        "gaussian": {"training": 29.0, "validation": 30.0},
        "gaussian_mixture": {"training": 28.5, "validation": None},
        "hmm": None,
        "zero": 33.0,
    }
    figure = plot_free_energy(curves, baselines, best_epoch=2)
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["validation"].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(lines["validation"].get_ydata(), curves["validation"])
    assert lines["validation at the best epoch (2): 29.000"].get_ydata()[0] == 29.0
    marks = {label: line.get_ydata()[0] for label, line in lines.items() if line.get_transform() != axes.transData}
    bottom, top = axes.get_ylim()
    assert 26.5 < bottom < 27.0
    assert 31.0 < top < 31.5
    assert {label: value for label, value in marks.items() if not label.startswith("_")} == {
        "gaussian, training: 29.000": 29.0,
        "gaussian, validation: 30.000": 30.0,
        "gaussian mixture, training: 28.500": 28.5,
        "zero (beyond the axis): 33.000": top,
    }
    assert lines["gaussian, validation: 30.000"].get_color() == lines["validation"].get_color()
    assert "nats per sample" in axes.get_ylabel()


def test_summary_marks_every_subject_and_the_median():
    statistics = {
        "sub-a": state_statistics([0, 0, 1, 0], None, 1.0),
        "sub-b": state_statistics([0, 0, 0, 0], None, 1.0, n_states=2),
    }
    figure = plot_state_summary(statistics)
    occupancy, lifetime = figure.axes[0], figure.axes[1]
    np.testing.assert_allclose(occupancy.lines[0].get_ydata(), [0.75, 1.0])
    assert occupancy.collections[0].get_segments()[0][0][1] == pytest.approx(0.875)
    assert lifetime.collections[1].get_segments()[0][0][1] == pytest.approx(1.0)
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["1", "2"]


def test_colours_of_states_differ():
    for n_states in (2, 8, 12, 30):
        assert len(set(state_colours(n_states))) == n_states


def test_more_than_12_colours_are_told_apart():
    # Two units of CIE L*a*b* are just noticed.
    colours = state_colours(24)
    assert tuple(colours[:12]) == PALETTE
    places = perceived(np.array([to_rgb(colour) for colour in colours]))
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(24, 1)]
    assert distances.min() > 15
    np.testing.assert_allclose(perceived(np.array([[1.0, 1, 1], [0, 0, 0]])), [[100, 0, 0], [0, 0, 0]], atol=0.1)
    np.testing.assert_allclose(perceived(np.array([[1.0, 0, 0]])), [[53.2, 80.1, 67.2]], atol=0.1)


def test_first_epochs_that_would_flatten_all_others_lie_outside():
    values = np.concatenate([[90.0, 50.0], 27 + 0.1 * np.exp(-np.arange(30.0))])
    figure = plot_free_energy({"training": values})
    bottom, top = figure.axes[0].get_ylim()
    assert top < 27.2
    assert bottom > 26.9


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved_and_other_endings_refused(tmp_path, ending):
    figure = plot_transition_probabilities(np.eye(2))
    path = save_figure(figure, tmp_path / "new" / f"transitions.{ending}")
    assert path.stat().st_size > 1000
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    with pytest.raises(ConfigurationError, match=r"ends in \.png"):
        save_figure(figure, tmp_path / "transitions.jpeg2000")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DynmlError, match="file"):
        save_figure(plot_transition_probabilities(np.eye(2)), tmp_path / "file" / "figure.png")


def test_importing_plotting_imports_neither_matplotlib_nor_pyplot():
    code = "import sys, dynml.plotting; assert not [name for name in sys.modules if name.startswith('matplotlib')]"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import sys; from dynml.plotting import plot_transition_probabilities\n"
        "plot_transition_probabilities([[1.0]]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
