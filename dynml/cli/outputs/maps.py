"""Files of maps and networks: arrays, tidy tables, images for other programs, and one picture per state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dynml.files import write_array

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from dynml.analysis.maps.found import Found
    from dynml.analysis.maps.networks import KeptEdges
    from dynml.analysis.maps.vertices import Mesh
    from dynml.geometry.geometry import Geometry

PICTURES, IMAGES = "pictures", "images"
N_NAMED = 3
FORMATS = (".png", ".svg")


@dataclass(frozen=True)
class Drawn:
    """One picture, as summary.json lists it."""

    state: int
    kind: str
    band: str
    path: str
    alt: str

    def as_dictionary(self) -> dict[str, Any]:
        """Plain values."""
        return {"state": self.state, "kind": self.kind, "band": self.band, "path": self.path, "alt": self.alt}


def write_arrays(out: Path, found: Sequence[Found]) -> None:
    """Write `<name>.npy` with the values, and `<name>_relative.npy` with the differences from the average."""
    for one in found:
        for name, values in ((one.name, one.values), (f"{one.name}_relative", one.relative)):
            write_array(out / f"{name}.npy", values, durable=True)


def write_tables(out: Path, found: Sequence[Found], kept: dict[str, list[KeptEdges]], component: str) -> None:
    """Write `maps.tsv` and `networks.tsv`, one row per state and channel, or pair of channels."""
    from dynml.analysis.tidy import Column, write_tidy

    state = Column("state", f"Number of the {component}, from 1")
    quantity = Column("quantity", "What the value is, with its units")
    band = Column("band", 'Name of the band; "model": by the moments of the model, all frequencies together')
    value = Column("value", "In the units that stand beside the quantity")
    relative = Column("relative", "Minus the average over all, weighted by how often each is active")
    maps = [one for one in found if not one.is_network]
    if maps:
        columns = [quantity, band, state, Column("channel", "Name of the channel"), value, relative]
        write_tidy(out / "maps.tsv", columns, _rows_of_maps(maps))
    networks = [one for one in found if one.is_network]
    if networks:
        pair = [Column("channel_1", "Name of a channel"), Column("channel_2", "Name of another")]
        columns = [quantity, band, state, *pair, value, relative, Column("kept", "1: the edge is drawn; 0: it is not")]
        about = {one.name: [edges.in_words for edges in kept[one.name]] for one in networks}
        write_tidy(out / "networks.tsv", columns, _rows_of_networks(networks, kept), EdgesKept=about)


def _rows_of_maps(maps: Sequence[Found]) -> Iterator[list[Any]]:
    for one in maps:
        quantity = f"{one.quantity} [{one.units}]" if one.units else one.quantity
        for state, (values, relative) in enumerate(zip(one.values, one.relative), 1):
            for name, value, difference in zip(one.channel_names, values.tolist(), relative.tolist()):
                yield [quantity, one.band, state, name, value, difference]


def _rows_of_networks(networks: Sequence[Found], kept: dict[str, list[KeptEdges]]) -> Iterator[list[Any]]:
    import numpy as np

    for one in networks:
        names = one.channel_names
        first, second = np.triu_indices(len(names), 1)
        for state, (values, relative, edges) in enumerate(zip(one.values, one.relative, kept[one.name]), 1):
            for row, column in zip(first.tolist(), second.tolist()):
                value, difference = float(values[row, column]), float(relative[row, column])
                is_kept = int(edges.matrix[row, column])
                yield [one.quantity, one.band, state, names[row], names[column], value, difference, is_kept]


def write_images(
    out: Path, found: Sequence[Found], geometries: dict[str, Geometry | None], component: str
) -> list[str]:
    """Write the maps, and their differences from the average, as NIfTI or CIFTI where the channels are regions of one.

    Returns
    -------
    list of str
        Paths within the folder.
    """
    import nibabel
    import numpy as np

    from dynml.analysis.maps.images import EXTENSIONS, image_of
    from dynml.files import made_folder

    written = []
    for one in found:
        geometry = geometries[one.name]
        if one.is_network or geometry is None or geometry.kind not in EXTENSIONS:
            continue
        names = [f"{component} {number}" for number in range(1, len(one.values) + 1)]
        for suffix, values in (("", one.values), ("_relative", one.relative)):
            path = made_folder(out / IMAGES) / f"{one.name}{suffix}{EXTENSIONS[geometry.kind]}"
            nibabel.save(image_of(geometry, np.nan_to_num(values), names), path)  # type: ignore[attr-defined]
            written.append(str(path.relative_to(out)))
    return written


def draw(
    out: Path,
    found: Found,
    geometry: Geometry | None,
    kept: list[KeptEdges] | None,
    *,
    component: str,
    relative: bool,
    surface: bool = False,
    meshes: dict[str, Mesh] | None = None,
) -> Iterator[Drawn]:
    """Draw one picture for each state that occurs, all on one scale.

    A brain without an edge shows nothing: networks of which none is kept are drawn as matrices only.
    """
    import numpy as np

    from dynml.plotting.brain.maps import plot_map, symmetric_limits, way_to_draw
    from dynml.plotting.brain.networks import is_on_brain, plot_network
    from dynml.plotting.style import save_figure

    values = found.relative if relative else found.values
    limits = symmetric_limits(_off_diagonal(values) if found.is_network else values, signed=relative)
    what = f"{found.quantity}{', difference from the average' if relative else ''}"
    label = f"{found.quantity.partition(',')[0].capitalize()}{f' ({found.units})' if found.units else ''}"
    for position, own in enumerate(values):
        if not np.isfinite(own).any() or (kept is not None and is_empty(kept[position], geometry)):
            continue
        title = f"{component.capitalize()} {position + 1}: {what}"
        if found.is_network:
            assert kept is not None
            edges, where = kept[position].matrix, "on the glass brain" if is_on_brain(geometry) else "as a matrix"
            figure = plot_network(own, edges, geometry, found.channel_names, limits=limits, label=label, title=title)
            said = f"{kept[position].n_kept} edges are kept. {_strongest_edges(own, edges, found.channel_names)}"
        else:
            where = f"as {way}" if (way := way_to_draw(geometry)) in ("bars", "slices") else f"on the {way}"
            figure = plot_map(own, geometry, found.channel_names, limits=limits, label=label, title=title)
            said = _extremes(own, found.channel_names)
        name = f"{component}-{position + 1}_{found.name}"
        if geometry is not None and not found.is_network:
            scale = _Scale(limits, label)
            for suffix, on_what, further in _further_figures(
                own, geometry, title, scale, surface=surface, meshes=meshes
            ):
                save_figure(further, out / PICTURES / f"{name}_{suffix}.png")
                alt = f"{title}, {on_what}. {said}"
                yield Drawn(position + 1, f"{found.kind}_{suffix}", found.band, f"{PICTURES}/{name}_{suffix}.png", alt)
        _save(figure, out / PICTURES / name)
        yield Drawn(position + 1, found.kind, found.band, f"{PICTURES}/{name}.png", f"{title}, {where}. {said}".strip())


class _Scale(NamedTuple):
    limits: tuple[float, float]
    label: str


def _further_figures(
    values: Any,
    geometry: Geometry,
    title: str,
    scale: _Scale,
    *,
    surface: bool,
    meshes: dict[str, Mesh] | None,
) -> Iterator[tuple[str, str, Figure]]:
    """Draw a map on the cortex, and channels of CIFTI in voxels: endings of file names, where, figures."""
    from dynml.plotting.brain.maps import plot_on_volume, way_to_draw
    from dynml.plotting.brain.surfaces import plot_on_meshes, plot_on_surface

    words: dict[str, Any] = {"limits": scale.limits, "label": scale.label}
    if surface and way_to_draw(geometry) == "glass brain":
        drawn = plot_on_surface(values, geometry, title=title, **words)
        yield "surface", "on the surface of the cortex", drawn
    if geometry.kind not in ("parcels", "grayordinates"):
        return
    if meshes is not None:
        on_cortex = plot_on_meshes(values, geometry, meshes, title=f"{title}, cortex only", **words)
        if on_cortex is not None:
            yield "surface", "on the surface of the cortex where channels lie there", on_cortex
    if geometry.is_standard:
        in_voxels = plot_on_volume(values, geometry, title=f"{title}, voxels only", **words)
        if in_voxels is not None:
            yield "volume", "on the glass brain where channels lie in voxels", in_voxels


def is_empty(edges: KeptEdges, geometry: Geometry | None) -> bool:
    """Whether a picture of a network would be a brain without an edge."""
    from dynml.plotting.brain.networks import is_on_brain

    return not edges.n_kept and is_on_brain(geometry)


def not_drawn(
    found: Found, geometry: Geometry | None, kept: Sequence[KeptEdges] | None, component: str
) -> Iterator[str]:
    """Say which states have no picture, and why."""
    import numpy as np

    is_known = np.asarray(np.isfinite(found.values).reshape(len(found.values), -1).any(axis=1))
    unknown = [position + 1 for position in np.flatnonzero(~is_known).tolist()]
    if unknown:
        yield f"There is no {found.quantity} of {_listed(component, unknown)}."
    if kept is None:
        return
    empty = [position + 1 for position, edges in enumerate(kept) if is_known[position] and is_empty(edges, geometry)]
    if empty:
        yield (
            f"No edge stands out in the {found.quantity} of {_listed(component, empty)}, so that there is no picture; "
            "--edges 95 draws the strongest in any case."
        )


def _listed(component: str, numbers: Sequence[int]) -> str:
    return f"{component}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _save(figure: Any, stem: Path) -> None:
    from dynml.plotting.style import save_figure

    for ending in FORMATS:
        save_figure(figure, stem.with_name(stem.name + ending))


def _off_diagonal(networks: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(networks[:, ~np.eye(networks.shape[1], dtype=bool)])


def _extremes(values: NDArray[np.float64], names: Sequence[str]) -> str:
    import numpy as np

    order = [int(position) for position in np.argsort(values) if np.isfinite(values[position])]
    highest = ", ".join(names[position] for position in order[::-1][:N_NAMED])
    lowest = ", ".join(names[position] for position in order[:N_NAMED])
    return f"Highest in {highest}; lowest in {lowest}."


def _strongest_edges(network: NDArray[np.float64], kept: NDArray[np.bool_], names: Sequence[str]) -> str:
    import numpy as np

    first, second = np.nonzero(np.triu(kept, 1))
    order = np.argsort(-np.abs(network[first, second]))[:N_NAMED]
    pairs = [f"{names[first[position]]} with {names[second[position]]}" for position in order]
    return f"The strongest: {'; '.join(pairs)}." if pairs else ""
