"""Pictures of logs: what the lines hold, marks, limits, outliers, gaps, titles and legends."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from dynml.analysis.log_expressions import parse_log_expression
from dynml.analysis.log_reading import ExperimentLogs
from dynml.plotting.log_limits import AxisSettings
from dynml.plotting.logs import LogGraph, plot_logs
from dynml.plotting.style import PALETTE


def experiment(name, *, best_epoch=None, running=False, **logs):
    arrays = {log: np.array(values, dtype=float) for log, values in logs.items()}
    return ExperimentLogs(name=name, logs=arrays, best_epoch=best_epoch, running=running)


def graph(*texts, title="Title", ylims=None):
    return LogGraph(title=title, expressions=tuple(parse_log_expression(text, "") for text in texts), ylims=ylims)


def curves(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def marks(axes):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "o"]


def notes(axes):
    return axes.get_title(loc="right")


def texts_of(legend):
    return [text.get_text() for text in legend.get_texts()]


def draw(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def test_curves_of_unequal_length_and_a_missing_log_are_drawn_as_they_are():
    first = experiment("first", best_epoch=3, loss=[3, 2, 1], rate=[0.1, 0.2, 0.1])
    figure = plot_logs([first, experiment("second", loss=[5, 4])], [graph("loss"), graph("rate")])
    loss, rate = figure.axes
    np.testing.assert_array_equal(curves(loss)["first"].get_ydata(), [3, 2, 1])
    np.testing.assert_array_equal(curves(loss)["second"].get_xdata(), [1, 2])
    drawn = [to_hex(line.get_color()).upper() for line in curves(loss).values()]
    assert drawn == [colour.upper() for colour in PALETTE[:2]]
    assert marks(loss) == [(3, 1)]
    assert set(curves(rate)) == {"first"}
    assert loss.get_xlim() == rate.get_xlim()


def test_an_experiment_without_any_of_the_logs_has_no_entry():
    runs = [experiment("absent", other=[1, 2]), experiment("first", loss=[3, 2]), experiment("second", loss=[5, 4])]
    figure = plot_logs(runs, [graph("loss")])
    assert texts_of(figure.legends[0]) == ["first (best epoch unknown)", "second (best epoch unknown)"]
    assert figure.get_suptitle() == "Logs of 2 experiments"
    # The colours stay those of the experiments, on this figure and on others.
    assert to_hex(curves(figure.axes[0])["first"].get_color()).upper() == PALETTE[1].upper()
    empty = plot_logs([runs[0]], [graph("loss")])
    assert not empty.legends or texts_of(empty.legends[0]) == []


def test_several_logs_in_one_graph_have_line_styles_and_a_legend_of_their_own():
    run = experiment("run", best_epoch=1, a=[1, 2], b=[3, 4], c=[5, 7])
    names = ("a", "b", "c", "diff(c,b)", "sum(a,b)", "sum(a,b,c)")
    figure = plot_logs([run], [graph(*names)])
    (axes,) = figure.axes
    lines = curves(axes)
    np.testing.assert_array_equal(lines["run: diff(c,b)"].get_ydata(), [2, 3])
    np.testing.assert_array_equal(lines["run: sum(a,b,c)"].get_ydata(), [9, 13])
    draw(figure)
    assert len({str(line._unscaled_dash_pattern) for line in lines.values()}) == len(names)
    assert texts_of(axes.get_legend()) == ["a", "b", "c", "c − b", "a + b", "a + b + c"]
    assert sorted(marks(axes)) == [(1, value) for value in (1, 2, 3, 4, 5, 9)]


def test_the_legend_tells_the_best_epoch_and_title_and_legend_tell_what_runs():
    runs = [experiment("a", best_epoch=2, loss=[2, 1]), experiment("b", running=True, loss=[3])]
    figure = plot_logs(runs, [graph("loss")])
    assert texts_of(figure.legends[0]) == ["a (best epoch 2)", "b (running; best epoch unknown so far)"]
    assert figure.get_suptitle() == "Logs of 2 experiments (running: b)"
    alone = plot_logs([experiment("b", best_epoch=1, running=True, loss=[3])], [graph("loss")])
    assert alone.get_suptitle() == "Logs of b (running)"
    assert texts_of(alone.legends[0]) == ["b (running; best epoch 1 so far)"]
    named = plot_logs(runs, [graph("loss", title="For $5 or $6")], title="My runs")
    assert named.get_suptitle() == "My runs"
    assert named.axes[0].get_title(loc="left") == r"For \$5 or \$6"


def test_gaps_stay_gaps_and_a_value_between_gaps_is_a_point():
    values = [np.nan, 5, np.nan, np.nan, 4, 3, np.nan, np.inf, 2]
    (axes,) = plot_logs([experiment("run", best_epoch=3, loss=values)], [graph("loss")]).axes
    line = curves(axes)["run"]
    np.testing.assert_array_equal(line.get_ydata(), np.where(np.isfinite(values), values, np.nan))
    assert line.get_markevery() == [1, 8]
    assert marks(axes) == []
    assert notes(axes) == "1 above the limits"


def test_limits_of_both_axes_and_of_single_graphs():
    run = experiment("run", loss=np.arange(20.0), rate=np.arange(20.0) / 10)
    settings = AxisSettings(xlim=(5, 10), ylims=(-1, 12))
    figure = plot_logs([run], [graph("loss"), graph("rate", ylims=(0.5, 1.0))], settings)
    loss, rate = figure.axes
    assert (loss.get_xlim(), loss.get_ylim(), rate.get_ylim()) == ((5, 10), (-1, 12), (0.5, 1.0))
    assert notes(loss) == ""
    assert notes(rate) == "1 below the limits"
    assert [line.get_label() for line in loss.lines].count("_zero") == 1
    until = plot_logs([run], [graph("loss")], AxisSettings(xlim=(None, 10))).axes[0]
    assert until.get_xlim()[1] == 10
    # without limits of its own, y fits what is shown of x: values 0 to 9, and a twentieth more
    np.testing.assert_allclose(until.get_ylim(), (-0.45, 9.45))


def test_outliers_do_not_set_the_limits_and_are_counted():
    bulk = np.r_[np.linspace(1, 2, 40), np.linspace(2, 1, 40)]
    values = bulk.copy()
    values[[3, 50]], values[60] = (100.0, np.inf), -40.0
    far = experiment("far", loss=bulk + 30)
    figure = plot_logs([experiment("run", loss=values), far], [graph("loss")], AxisSettings(remove_outliers=True))
    (axes,) = figure.axes
    first, third = np.quantile(values[np.isfinite(values)], [0.25, 0.75])
    assert values[50] > third + 3 * (third - first)
    kept = np.delete(values, [3, 50, 60])
    low, high = kept.min(), far.logs["loss"].max()
    np.testing.assert_allclose(axes.get_ylim(), (low - 0.05 * (high - low), high + 0.05 * (high - low)))
    assert notes(axes) == "2 above and 1 below the limits"
    arrows = {line.get_marker(): list(line.get_xdata()) for line in axes.lines if line.get_label() == "_outside"}
    assert arrows == {"^": [4, 51], "v": [61]}
    plain = plot_logs([experiment("run", loss=values)], [graph("loss")]).axes[0]
    assert plain.get_ylim()[1] > 100


def test_a_logarithmic_axis_counts_what_it_cannot_show():
    run = experiment(
        "run", loss=[1000, 100, 0, -5, 1], all_negative=[-1, -2, -3, -4, -5], narrow=[7.9, 7.8, 7.7, 7.6, 7]
    )
    figure = plot_logs([run], [graph(name) for name in run.logs], AxisSettings(log_scale=True))
    loss, negative, narrow = figure.axes
    assert loss.get_yscale() == "log"
    np.testing.assert_allclose(np.log10(loss.get_ylim()), (-0.15, 3.15))
    assert notes(loss) == "2 not above 0"
    assert notes(negative) == "nothing to show: no finite value above 0"
    draw(figure)
    labels = [label.get_text() for label in narrow.get_yticklabels()]
    assert len(labels) >= 3
    assert not any("10^" in label for label in labels)


@pytest.mark.parametrize("values", [[2.0], [0.0, 0.0], [-3.0, -3.0, -3.0], [np.nan, np.nan]])
def test_single_constant_and_absent_values_make_a_picture(values, recwarn):
    figure = plot_logs([experiment("run", best_epoch=1, loss=values)], [graph("loss")])
    draw(figure)
    low, high = figure.axes[0].get_ylim()
    finite = [value for value in values if np.isfinite(value)]
    assert all(low < value < high for value in finite)
    assert (notes(figure.axes[0]) == "") == bool(finite)
    assert not recwarn.list


def test_nothing_overlaps_and_nothing_is_cut_off():
    runs = [
        experiment(
            f"_an_experiment_with_a_long_name_{number}_$x$", best_epoch=2, running=True, a=[1, 2 + number], b=[3, 40]
        )
        for number in range(14)
    ]
    long = graph("a", "b", "diff(b,a)", title="A title with many words " * 6, ylims=(0, 5))
    figure = plot_logs(runs, [long, graph("a", title="Short")], title="A title of the figure " * 8)
    renderer = draw(figure)
    axes, other = figure.axes
    boxes = [figure._suptitle, axes.title, axes._left_title, figure.legends[0], axes.get_legend(), other._left_title]
    extents = [box.get_window_extent(renderer) for box in boxes if not hasattr(box, "get_text") or box.get_text()]
    extents += [other.xaxis.label.get_window_extent(renderer), axes._right_title.get_window_extent(renderer)]
    for position, extent in enumerate(extents):
        assert not any(extent.overlaps(another) for another in extents[position + 1 :]), position
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.x1
        assert extent.y0 >= -1
        assert extent.y1 <= figure.bbox.y1 + 1
    assert axes.get_window_extent(renderer).height > 100
    assert axes.get_legend().get_window_extent(renderer).x0 >= axes.get_window_extent(renderer).x1


def test_a_size_that_is_asked_for_is_kept():
    figure = plot_logs([experiment("run", loss=[1, 2])], [graph("loss")], size=(5.0, 4.0))
    assert tuple(figure.get_size_inches()) == (5.0, 4.0)
