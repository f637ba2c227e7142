"""Pictures that lie inside the page: drawn here, or made by a script of dynml and read from its results."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

RESOLUTION = 144
"""Dots per inch: sharp on a phone, whose pixels are small."""
LARGEST_SIDE, QUALITY = 1400, 85
NARROW = 640
"""Pictures of other scripts that are wider keep at least this width, and scroll, where the screen is small."""


@dataclass(frozen=True)
class Picture:
    """An image in the page, with the words for those who do not see it."""

    address: str
    """data: URI."""
    alt: str
    width: int
    """CSS pixels."""
    height: int
    is_wide: bool = False


def picture_of_figure(figure: Figure, alt: str) -> Picture:
    """Draw a figure of matplotlib as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=RESOLUTION)
    width, height = figure.get_size_inches() * 96
    return Picture(_uri(stream.getvalue(), "png"), alt, round(width), round(height))


def picture_of_file(path: Path, alt: str) -> Picture:
    """Read a PNG file, made smaller where it is larger than a screen.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return _picture(image, path, alt)
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"The picture {path} could not be read: {str(error).rstrip('.')}.") from error


def _picture(image: Image, path: Path, alt: str) -> Picture:
    small = image.convert("RGBA" if image.mode in ("RGBA", "LA", "P") else "RGB")
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = io.BytesIO()
    small.save(stream, format="webp", quality=QUALITY, method=4)
    content, kind = stream.getvalue(), "webp"
    if small.size == image.size and path.stat().st_size <= len(content):
        content, kind = path.read_bytes(), str(image.format or "png").lower()
    # A picture of 150 dots an inch is shown at its size in inches, 96 CSS pixels each.
    width, height = (round(side / 1.5) for side in small.size)
    return Picture(_uri(content, kind), alt, width, height, is_wide=width > NARROW)


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
