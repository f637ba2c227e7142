"""The picture of two logs against one another."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dynml.analysis.log_correlation import correlate, pair_logs, pool
from dynml.plotting.log_correlation import CAUTION, CorrelationSettings, plot_log_correlation


def correlations():
    rng = np.random.default_rng(4)
    runs = {}
    for name, n in (("first", 12), ("second", 30)):
        x = rng.normal(size=n)
        runs[name] = (x, x**2 + 0.1 * rng.normal(size=n))
    own = [correlate(pair_logs(*logs), name) for name, logs in runs.items()]
    short = correlate(pair_logs(np.ones(2), np.ones(2)), "short")
    return runs, [*own, short, *pool([*own, short])]


def test_points_fits_and_numbers_are_those_of_the_logs():
    runs, found = correlations()
    figure = plot_log_correlation(found, ("loss", "rate"), CorrelationSettings(orders=(1, 2), individual_logs=True))
    axes, first_log, second_log = figure.axes
    points = [line for line in axes.lines if line.get_marker() == "."]
    for line, (x, y) in zip(points, runs.values()):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_array_equal(line.get_ydata(), y)
    fits = {line.get_label().split(", MSE")[0]: line for line in axes.lines if line.get_marker() != "."}
    assert set(fits) == {
        f"{name}: {kind}" for name in ("first", "second", "all experiments") for kind in ("straight line", "parabola")
    }
    x, y = runs["second"]
    for kind, degree in (("straight line", 1), ("parabola", 2)):
        line = fits[f"second: {kind}"]
        expected = np.polyval(np.polyfit(x, y, degree), line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(first_log.lines[1].get_ydata(), x)
    np.testing.assert_array_equal(second_log.lines[1].get_ydata(), y)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    r = np.corrcoef(x, y)[0, 1]
    assert any(text.startswith(f"second: r = {r:.3f}, p = ") and "n = 30" in text for text in legend)
    assert "short: no r (2 points, but at least 3 are needed)" in legend
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("loss", "rate")
    joined = [np.concatenate([logs[axis] for logs in (*runs.values(), np.ones((2, 2)))]) for axis in (0, 1)]
    assert f"all experiments: r = {np.corrcoef(*joined)[0, 1]:.3f}" in figure.get_suptitle()


def test_the_caution_stands_in_the_figure_and_nothing_overlaps():
    _, found = correlations()
    settings = CorrelationSettings(orders=(1, 2), individual_logs=True, title="A long title, " * 12)
    figure = plot_log_correlation(found, ("a long name of a log " * 4, "another long name " * 4), settings)
    assert " ".join(figure.legends[0].get_title().get_text().split()) == CAUTION
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    parts = [figure._suptitle, figure.legends[0], *(axes.xaxis.label for axes in figure.axes)]
    extents = [part.get_window_extent(canvas.get_renderer()) for part in parts]
    for position, extent in enumerate(extents):
        assert not any(extent.overlaps(another) for another in extents[position + 1 :])
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.x1
        assert extent.y0 >= -1
    assert figure.axes[0].get_window_extent(canvas.get_renderer()).height > 200


def test_limits_and_a_single_experiment():
    _, found = correlations()
    figure = plot_log_correlation(found[:1], ("x", "y"), CorrelationSettings(xlim=(-1, 2), ylim=(0, 3)))
    (axes,) = figure.axes
    assert (axes.get_xlim(), axes.get_ylim()) == ((-1, 2), (0, 3))
    assert figure.get_suptitle() == "y against x"
