"""Figure of a confusion matrix: which classes are taken for which.

Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import INK, SMALL_TEXT_SIZE, TEXT_SIZE, add_colour_bar, name_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES_WITH_NUMBERS = 24
"""With more classes than this the numbers in the cells would be too small to read."""
LONGEST_NAME = 28


def plot_confusion(counts: ArrayLike, class_names: Sequence[str], *, title: str | None = None) -> Figure:
    """Draw how the trials of each true class (rows) were predicted (columns).

    Shades are shares of the row, so that rare and frequent classes can be compared; the numbers are trials.

    Parameters
    ----------
    counts : array, (K, K)
        Trials; rows = truth.
    class_names : sequence of K str
    title : str, optional

    Returns
    -------
    Figure
    """
    counts = np.asarray(counts)
    n_classes = len(counts)
    assert counts.shape == (n_classes, n_classes) == (len(class_names), len(class_names)), counts.shape
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in class_names]
    longest = max(map(len, names))
    margin = 0.9 + 0.06 * longest
    side = max(2.2, (0.42 if n_classes <= MOST_CLASSES_WITH_NUMBERS else 0.2) * n_classes)
    figure = new_figure(side + margin + 1.0, side + margin)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if n_classes <= MOST_CLASSES_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(counts)):
            colour = "white" if shares[row, column] > 0.55 else INK
            text = f"{counts[row, column]:g}"
            axes.text(column, row, text, ha="center", va="center", size=SMALL_TEXT_SIZE + 1, color=colour)
    axes.set_xticks(range(n_classes), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n_classes), names)
    name_axes(axes, "Predicted", "True")
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    add_colour_bar(figure, image, [axes], "Share of the true class")
    if title:
        figure.suptitle(title, size=TEXT_SIZE + 1, color=INK)
    return figure
