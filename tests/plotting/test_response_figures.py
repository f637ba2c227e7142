import numpy as np
import pytest

from dynml.plotting.findings.responses import plot_responses
from dynml.plotting.style import save_figure

TIMES = np.arange(-5, 15) / 10


def test_each_state_has_a_panel_with_curves_and_bars_where_they_are_significant(tmp_path):
    mean = np.random.default_rng(0).random((2, 20, 5))
    p = np.ones((2, 20, 5))
    p[1, 6:10, 3] = 0.01
    p[1, 15, 3] = 0.05
    figure = plot_responses(TIMES, mean, np.full_like(mean, 0.1), p, ["face", "house"], title="Responses")
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [f"State {number}" for number in range(1, 6)]
    bars = [collection for collection in panels[3].collections if type(collection).__name__ == "PolyCollection"][-1]
    spans = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bars.get_paths()]
    assert spans == [(pytest.approx(0.05), pytest.approx(0.45)), (pytest.approx(0.95), pytest.approx(1.05))]
    curves = [line for line in panels[0].lines if len(line.get_xdata()) == 20]
    np.testing.assert_allclose(curves[1].get_ydata(), mean[1, :, 0])
    assert all(tick >= 0 for axes in panels for tick in axes.get_yticks())
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["face", "house", "standard error", "p ≤ 0.05 (bars)"]
    assert save_figure(figure, tmp_path / "responses.svg").stat().st_size > 1000


def test_responses_of_nobody_and_of_one_sample_are_drawn(tmp_path):
    nothing = np.full((1, 1, 2), np.nan)
    save_figure(plot_responses([0.0], nothing, nothing, nothing, ["face"]), tmp_path / "responses.png")
