"""What all figures share: colours that colour-blind readers tell apart, plain axes, and how a figure is saved.

Figures are made without pyplot: nothing is kept in a global state, and no screen is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError
from dynml.files import made_folder, replacing

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, FigureBase
    from numpy.typing import NDArray

# Okabe and Ito's colours (black as grey), then four of Paul Tol's "muted" set that differ from them.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#7F7F7F",
    "#332288",
    "#882255",
    "#999933",
    "#44AA99",
)
INK = "#333333"
FAINT = "#D9D9D9"
TEXT_SIZE = 9
SMALL_TEXT_SIZE = 7
RESOLUTION = 150
DARKEST, LIGHTEST = 20.0, 88.0
"""Lightness (CIE L*, 0 to 100) of further colours."""
FORMATS = ("png", "pdf", "svg")


def state_colours(n_states: int) -> list[str]:
    """Give one colour per state: the palette, then colours that are as far as can be from all before them."""
    if n_states <= len(PALETTE):
        return list(PALETTE[:n_states])
    return list(_further_colours(n_states))


@functools.cache
def _further_colours(n_colours: int) -> tuple[str, ...]:
    import numpy as np
    from matplotlib.colors import to_hex, to_rgb

    grid = np.linspace(0.0, 1.0, 16)
    candidates = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = perceived(candidates)[:, 0]
    # What is nearly white or black is distinct neither from paper nor from ink.
    candidates = candidates[(lightness > DARKEST) & (lightness < LIGHTEST)]
    points = perceived(candidates)
    chosen = [to_rgb(colour) for colour in PALETTE]
    distances = np.min([np.linalg.norm(points - own, axis=1) for own in perceived(np.array(chosen))], axis=0)
    while len(chosen) < n_colours:
        furthest = int(np.argmax(distances))
        chosen.append(tuple(candidates[furthest]))
        distances = np.minimum(distances, np.linalg.norm(points - points[furthest], axis=1))
    return (*PALETTE, *(to_hex(colour) for colour in chosen[len(PALETTE) :]))


def perceived(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates in which distances are as they are seen: sRGB (n, 3) from 0 to 1 to CIE L*a*b* (n, 3), D65."""
    import numpy as np

    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)


def names_of_states(n_states: int, names: Sequence[str] | None) -> list[str]:
    """Give the names of the states: those given, or "State 1" and so on."""
    assert names is None or len(names) == n_states, (names, n_states)
    return list(names) if names is not None else [f"State {state}" for state in range(1, n_states + 1)]


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def plain_axes(axes: Axes) -> None:
    """Take away the frame's upper and right sides and set the size and colour of all text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK, length=3)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_fontsize(TEXT_SIZE)
        text.set_color(INK)


def name_axes(axes: Axes, x: str | None = None, y: str | None = None) -> None:
    """Write what an axis shows beside it, in the size and colour of text."""
    if x is not None:
        axes.set_xlabel(x, size=TEXT_SIZE, color=INK)
    if y is not None:
        axes.set_ylabel(y, size=TEXT_SIZE, color=INK)


def put_title(figure: Figure, title: str | None) -> None:
    """Put a title at the top left, if there is one."""
    if title:
        figure.suptitle(title, size=TEXT_SIZE + 1, color=INK, x=0.01, ha="left")


def add_colour_bar(
    figure: FigureBase, image: ScalarMappable, axes: Sequence[Axes], label: str, *, shrink: float = 0.8
) -> None:
    """Put a bar beside axes that says what the colours are."""
    bar = figure.colorbar(image, ax=list(axes), shrink=shrink, aspect=25)
    bar.set_label(label, size=TEXT_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure; the file's ending chooses between PNG, PDF and SVG.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        Its folder is made if need be.

    Returns
    -------
    Path

    Raises
    ------
    ConfigurationError
        For another ending.
    DynmlError
        When the file cannot be written; an old one stays.
    """
    path = Path(path)
    ending = path.suffix.lstrip(".").lower()
    if ending not in FORMATS:
        accepted = f"a path that ends in .{', .'.join(FORMATS)}"
        near = nearest_name(ending, FORMATS) if ending else ""
        raise ConfigurationError("path of the figure", str(path), accepted + (near if "did you mean" in near else ""))
    made_folder(path.parent)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=ending, dpi=RESOLUTION)
    return path
