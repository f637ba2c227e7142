"""What all figures share: colours that colour-blind readers tell apart, plain axes, and how a figure is saved.

Figures are made without pyplot: nothing is kept in a global state, and no screen is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError
from dynml.files import made_folder, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
FORMATS = ("png", "pdf", "svg")


def state_colours(n_states: int) -> list[str]:
    """Give one colour a state: the palette, or beyond its length a map from dark to light."""
    if n_states <= len(PALETTE):
        return list(PALETTE[:n_states])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["cividis"](state / (n_states - 1))) for state in range(n_states)]


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
