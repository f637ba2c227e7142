"""Figures that a page draws itself."""

import numpy as np

from dynml.report.figures import plot_curves


def test_a_run_of_one_epoch_has_whole_epochs_on_its_axis():
    figure = plot_curves({"training": np.array([0.7]), "validation": np.array([0.6])}, "loss", best_epoch=1, lines={})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0, 1, 2]
