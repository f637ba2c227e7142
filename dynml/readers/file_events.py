"""What a file of recordings itself says happened, in its own samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class FileEvents:
    """Events of one file, ascending, in its samples."""

    onset: NDArray[np.int64]
    """First sample of each, (n_events,)."""
    duration: NDArray[np.int64]
    """Samples, (n_events,); no event goes beyond the end."""
    labels: dict[str, list[str]]
    """Per column, the label of each event; `n/a` where it has none."""
