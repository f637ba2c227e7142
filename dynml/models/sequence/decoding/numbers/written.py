"""What counts as a number in a text."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number_of(text: str) -> float | None:
    """The finite number that a label is; None where it is another text."""
    own = text.strip()
    value = float(own) if _NUMBER.fullmatch(own) else math.nan
    return value if math.isfinite(value) else None
