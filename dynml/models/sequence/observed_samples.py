"""How much of a stretch of rows was observed: what lies in it and is not masked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.data.segment_table import SegmentTable
from dynml.data.subset import MultiSubjectSubset
from dynml.ops.masked_samples import observed_rows

_ROWS_AT_ONCE = 2**16


def observed_counts(subset: MultiSubjectSubset, spans: SegmentTable) -> NDArray[np.int64]:
    """Observed samples of stretches, each within a segment, (n,) int64.

    Rows are read only of subjects that have masked ones, once for all stretches of a segment.
    """
    counts = spans.lengths
    has_masked = subset.n_masked_of[spans.subject] > 0
    for subject, segment in np.unique(np.stack([spans.subject, spans.segment])[:, has_masked], axis=1).T.tolist():
        own = (spans.subject == subject) & (spans.segment == segment)
        first, last = int(spans.start[own].min()), int(spans.stop[own].max())
        pieces = [np.zeros(1, dtype=np.int64)]
        for start in range(first, last, _ROWS_AT_ONCE):
            rows = subset.rows(subject, start, min(start + _ROWS_AT_ONCE, last))
            pieces.append(observed_rows(rows).cpu().numpy().astype(np.int64))
        running = np.cumsum(np.concatenate(pieces))
        counts[own] = running[spans.stop[own] - first] - running[spans.start[own] - first]
    return counts


def with_observed(subset: MultiSubjectSubset, spans: SegmentTable) -> SegmentTable:
    """Leave stretches out that are masked altogether."""
    if not subset.n_masked:
        return spans
    return spans.take(observed_counts(subset, spans) > 0)
