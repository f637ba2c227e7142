"""One network: edges between the centres of parcels on the glass brain, or a matrix where nobody knows them.

Shapes: C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.geometry.geometry import Geometry
from dynml.plotting.brain.maps import TITLE_HEIGHT, colours_of, put_words, quiet_nilearn
from dynml.plotting.style import INK, SMALL_TEXT_SIZE, add_colour_bar, new_figure, put_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMED = 40


def plot_network(
    network: ArrayLike,
    kept: ArrayLike,
    geometry: Geometry | None,
    channel_names: Sequence[str],
    *,
    limits: tuple[float, float],
    label: str,
    title: str,
) -> Figure:
    """Draw the edges that are kept.

    Parameters
    ----------
    network : array, (C, C)
        Symmetric.
    kept : array of bool, (C, C)
        Which edges are drawn.
    geometry : Geometry, optional
        Of these channels; on the glass brain where it has centres in a standard space, as a matrix otherwise.
    channel_names : sequence of C str
    limits : (float, float)
        Ends of the colour scale.
    label, title : str

    Returns
    -------
    Figure
    """
    own, chosen = np.array(network, dtype=np.float64), np.asarray(kept, dtype=bool)
    if not is_on_brain(geometry):
        return _matrix(own, chosen, channel_names, limits, label, title)
    assert geometry is not None
    from nilearn import plotting

    figure = new_figure(7.6, 2.5)
    figure.set_layout_engine("none")
    edges = np.where(chosen, own, 0.0)
    linked = np.asarray(chosen.any(axis=0), dtype=bool).tolist()
    with quiet_nilearn():
        plotting.plot_connectome(
            edges,
            geometry.positions,
            node_color=[INK if one else "#BBBBBB" for one in linked],
            node_size=np.where(linked, 14.0, 5.0),
            edge_cmap=colours_of(limits),
            edge_vmin=limits[0],
            edge_vmax=limits[1],
            display_mode="lyrz",
            figure=figure,
            axes=(0.0, 0.0, 0.96, 1.0 - TITLE_HEIGHT),
            colorbar=bool(chosen.any()),
        )
    put_words(figure, title if chosen.any() else f"{title} (no edge stands out)", label if chosen.any() else "")
    return figure


def is_on_brain(geometry: Geometry | None) -> bool:
    """Whether a network of these channels is drawn on the glass brain."""
    return geometry is not None and geometry.kind != "sensors" and geometry.has_positions and geometry.is_standard


def _matrix(
    network: NDArray[np.float64],
    kept: NDArray[np.bool_],
    names: Sequence[str],
    limits: tuple[float, float],
    label: str,
    title: str,
) -> Figure:
    """All edges above the diagonal, those that are kept below it."""
    n_channels = len(network)
    shown = np.where(np.tri(n_channels, k=-1, dtype=bool) & ~kept, np.nan, network)
    np.fill_diagonal(shown, np.nan)
    named = n_channels <= MOST_NAMED
    side = max(3.0, 0.14 * n_channels) if named else 3.6
    figure = new_figure(side + (2.8 if named else 1.6), side + (1.8 if named else 0.9))
    axes = figure.add_subplot()
    axes.set_facecolor("#EEEEEE")
    image = axes.imshow(shown, cmap=colours_of(limits), vmin=limits[0], vmax=limits[1], interpolation="nearest")
    if named:
        axes.set_xticks(range(n_channels), names, rotation=90)
        axes.set_yticks(range(n_channels), names)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE, colors=INK, length=2)
    axes.set_xlabel("Above the diagonal: all; below: those kept", size=SMALL_TEXT_SIZE + 1, color=INK)
    add_colour_bar(figure, image, [axes], label)
    put_title(figure, title)
    return figure
