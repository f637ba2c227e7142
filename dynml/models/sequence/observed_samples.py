"""How much of a stretch of rows was observed: what lies in it and is not masked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.spans import SegmentTable
from dynml.dataset.subset import MultiSubjectSubset


def observed_counts(subset: MultiSubjectSubset, spans: SegmentTable) -> NDArray[np.int64]:
    """Observed samples of stretches, each within a segment, (n,) int64; only subjects with masked ones are read."""
    counts = spans.lengths
    for subject in np.unique(spans.subject).tolist():
        observed = subset.observed(subject)
        if observed is not None:
            own, n_before = spans.subject == subject, np.append(0, np.cumsum(observed))
            counts[own] = n_before[spans.stop[own]] - n_before[spans.start[own]]
    return counts


def with_observed(subset: MultiSubjectSubset, spans: SegmentTable) -> SegmentTable:
    """Leave stretches out that are masked altogether."""
    if not subset.n_masked:
        return spans
    return spans.take(observed_counts(subset, spans) > 0)
