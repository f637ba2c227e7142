"""One map of channels on the surface of the cortex: of an atlas on fsaverage5, of CIFTI vertices on their own meshes.

Shapes: C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike

from dynml.analysis.maps.images import image_of
from dynml.analysis.maps.vertices import Mesh, values_on_vertices
from dynml.geometry.geometry import Geometry
from dynml.plotting.brain.maps import SMALLEST_SHARE, colours_of, put_words, quiet_nilearn
from dynml.plotting.style import INK, SMALL_TEXT_SIZE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIEWS = ("lateral", "medial")


def plot_on_surface(
    values: ArrayLike, geometry: Geometry, *, limits: tuple[float, float], label: str, title: str
) -> Figure:
    """Draw one value a parcel of an atlas in a standard space on the cortex of nilearn's fsaverage5.

    Parameters
    ----------
    values : array, (C,)
    geometry : Geometry
        Of labels or maps.
    limits, label, title
        As for `plot_map`.
    """
    from matplotlib import pyplot
    from nilearn import plotting

    volume = image_of(geometry, np.asarray(values, dtype=np.float64)[None], ["map"]).slicer[..., 0]
    with quiet_nilearn():
        figure, _ = plotting.plot_img_on_surf(
            volume,
            surf_mesh="fsaverage5",
            views=["lateral", "medial"],
            hemispheres=["left", "right"],
            cmap=colours_of(limits),
            vmin=limits[0],
            vmax=limits[1],
            threshold=SMALLEST_SHARE * limits[1],
            symmetric_cbar=limits[0] < 0,
            inflate=True,
            cbar_tick_format="%.2g",
        )
    pyplot.close(figure)  # nilearn makes it by pyplot, which would keep it
    put_words(figure, title, label)
    return cast("Figure", figure)


def plot_on_meshes(
    values: ArrayLike,
    geometry: Geometry,
    meshes: dict[str, Mesh],
    *,
    limits: tuple[float, float],
    label: str,
    title: str,
) -> Figure | None:
    """Draw channels of CIFTI that lie on the cortex, each half from outside and from the midline.

    Parameters
    ----------
    values : array, (C,)
    geometry : Geometry
        Of parcels or grayordinates.
    meshes : dict of Mesh
        "left" and "right", with the numbers of vertices of the channels' cortex.
    limits, label, title
        As for `plot_map`.

    Returns
    -------
    Figure or None
        None where no channel lies on the cortex.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from nilearn import plotting
    from nilearn.surface import InMemoryMesh

    found = values_on_vertices(geometry, values)
    if not found:
        return None
    panels = [(hemisphere, view) for hemisphere in found for view in VIEWS]
    figure = new_figure(1.9 * len(panels) + 0.8, 2.2)
    figure.set_layout_engine("none")
    width = 0.9 / len(panels)
    for column, (hemisphere, view) in enumerate(panels):
        axes = figure.add_axes((column * width, 0.0, width, 0.9), projection="3d")
        mesh = meshes[hemisphere]
        with quiet_nilearn():
            plotting.plot_surf(
                InMemoryMesh(mesh.coordinates, mesh.triangles),
                found[hemisphere],
                hemi=hemisphere,
                view=view,
                avg_method="median",  # a triangle on a border takes a value of one side, not one between
                cmap=colours_of(limits),
                vmin=limits[0],
                vmax=limits[1],
                colorbar=False,
                axes=axes,
                figure=figure,
            )
        figure.text((column + 0.5) * width, 0.02, f"{hemisphere}, {view}", size=SMALL_TEXT_SIZE, color=INK, ha="center")
    scale = figure.add_axes((0.91, 0.15, 0.012, 0.65))
    figure.colorbar(ScalarMappable(Normalize(*limits), colours_of(limits)), cax=scale)
    scale.tick_params(labelsize=SMALL_TEXT_SIZE, colors=INK)
    put_words(figure, title, label)
    return figure
