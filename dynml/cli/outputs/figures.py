"""Where the scripts that draw put their figures and tables, and how they show them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.errors import ConfigurationError, DataWarning, DynmlError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_paths(prefix: str, names: Sequence[str], default_name: str) -> list[Path]:
    """Paths PREFIX_<name>.png, one for each name.

    A prefix that ends in a format that matplotlib writes (`figures/logs.pdf`) chooses that format
    (`figures/logs_1.pdf`); one that ends in a slash is a folder, and `default_name` is put behind it.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    stem = Path(prefix, default_name) if prefix.endswith(("/", os.sep)) else Path(prefix)
    ending = ".png"
    if stem.suffix.lstrip(".").lower() in FigureCanvasBase.get_supported_filetypes():
        stem, ending = stem.with_suffix(""), stem.suffix
    return [stem.with_name(f"{stem.name}_{name}{ending}") for name in names]


def check_outputs_are_free(paths: Iterable[Path], *, force: bool) -> None:
    """Refuse to overwrite, before anything is computed or written.

    Raises
    ------
    DynmlError
        Names the first file that exists already, or a folder where a file is to be.
    """
    for path in paths:
        if path.is_dir():
            raise DynmlError(f"{path} is a folder, not a file to write to.")
        if path.exists() and not force:
            raise DynmlError(f"{path} exists already; use -f to overwrite it.")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending, whole or not at all; needs no screen.

    Raises
    ------
    DynmlError
        When its folder cannot be made, the file cannot be written, or the format needs a program that is not there.
    """
    from dynml.files import made_folder, replacing
    from dynml.plotting.style import RESOLUTION

    made_folder(path.parent)
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix.lstrip(".").lower(), dpi=RESOLUTION)
    except RuntimeError as error:
        raise DynmlError(f"{path} could not be written: {' '.join(str(error).split())}.") from error


def show_figures(figures: Iterable[Figure]) -> None:
    """Show figures that were made without a screen in windows, and wait until they are closed."""
    from matplotlib import pyplot

    if pyplot.get_backend().lower() in ("agg", "pdf", "ps", "svg", "cairo", "pgf", "template"):
        warnings.warn(
            "--show_now needs a screen, and there is none; --save_figures saves the figures.", DataWarning, stacklevel=2
        )
        return
    for figure in figures:
        manager = pyplot.figure(figsize=figure.get_size_inches()).canvas.manager
        assert manager is not None
        figure.set_canvas(manager.canvas)
        manager.canvas.figure = figure
    pyplot.show()


def limits_of(key: str, words: Sequence[object]) -> tuple[float, float]:
    """Read two limits of an axis.

    Raises
    ------
    ConfigurationError
        When they are no two finite numbers, the lower one first.
    """
    import math

    try:
        low, high = (float(str(word)) for word in words)
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigurationError(key, " ".join(map(str, words)), "two numbers, the lower one first")
    return low, high
