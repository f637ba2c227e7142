"""Time courses for the page's viewer: small enough for one page, with what is known of events above them.

Shapes: T samples, K states or modes, B bins of equal length.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.report.experiment import ReportedExperiment
from dynml.report.inferred import Inferred, chosen_subjects
from dynml.store.reading import Store

MOST_SUBJECTS = 100
BYTES_IN_ALL = 3_500_000
"""Values of all subjects together, a byte each; base64 adds a third."""
MOST_BINS, FEWEST_BINS = 40_000, 400
NOT_OBSERVED = 255
MOST_EVENTS = 2_000
"""Events of one subject that are drawn; of more, the first."""


@dataclass(frozen=True)
class TimeCourses:
    """What the viewer draws."""

    content: dict[str, Any]
    """Plain values: names and colours of components, and for each subject its bins in base64."""
    n_left_out: int
    """Subjects that have no place on the page."""


def time_courses(
    experiment: ReportedExperiment, inferred: Inferred, names: list[str], colours: list[str], hdf5: Path | None
) -> TimeCourses | None:
    """Bin the time courses of as many subjects as a page holds.

    Parameters
    ----------
    experiment : ReportedExperiment
    inferred : Inferred
    names, colours : list of str
        Of the K components.
    hdf5 : Path or None
        Store with events and sampling frequencies; without it the rate is that of the training.

    Returns
    -------
    TimeCourses or None
        None where there are none.
    """
    subset_of = inferred.subset_of()
    subjects = chosen_subjects(inferred, MOST_SUBJECTS)
    if not subjects:
        return None
    most_bins = max(FEWEST_BINS, min(MOST_BINS, BYTES_IN_ALL // (len(subjects) * max(len(names), 1))))
    rates = experiment.dataset.get("sampling_frequencies") or []
    entries = []
    with _KnownOfSubjects(hdf5) as known:
        for subject in subjects:
            alpha = inferred.alpha(subject)
            assert alpha is not None
            rate, events = known.of_subject(subject, experiment.dataset.get("group"))
            rate = rate or (float(rates[0]) if len(rates) == 1 else None)
            step = max(1, -(-len(alpha) // most_bins))
            values = base64.b64encode(binned(alpha, step).tobytes()).decode("ascii")
            entries.append(
                {
                    "name": subject,
                    "subset": subset_of[subject],
                    "step": step / rate if rate else float(step),
                    "unit": "s" if rate else "samples",
                    "length": len(alpha) / rate if rate else len(alpha),
                    "values": values,
                    "events": events,
                }
            )
    content = {"components": names, "colours": colours, "subjects": entries}
    return TimeCourses(content, len(subset_of) - len(subjects))


def binned(alpha_TK: NDArray[np.float32], step: int) -> NDArray[np.uint8]:
    """Mean over bins of observed samples, 0 to 254, (B, K); 255 where a bin has none."""
    n_samples, n_components = alpha_TK.shape
    n_bins = -(-n_samples // step)
    padded = np.full((n_bins * step, n_components), np.nan, dtype=np.float32)
    padded[:n_samples] = alpha_TK
    pieces = padded.reshape(n_bins, step, n_components)
    known = np.isfinite(pieces)
    counts = known.sum(axis=1)
    means = np.where(known, pieces, 0.0).sum(axis=1) / np.maximum(counts, 1)
    scaled = np.clip(np.rint(means * (NOT_OBSERVED - 1)), 0, NOT_OBSERVED - 1)
    return np.where(counts > 0, scaled, NOT_OBSERVED).astype(np.uint8)


class _KnownOfSubjects:
    """What a store knows of a subject's rate and events; nothing without a store."""

    def __init__(self, hdf5: Path | None) -> None:
        self._store = None if hdf5 is None else Store(hdf5)

    def __enter__(self) -> _KnownOfSubjects:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def of_subject(self, subject: str, group: str | None) -> tuple[float | None, dict[str, Any] | None]:
        """Sampling frequency in Hz, and onsets, durations (seconds) and labels of events."""
        store = self._store
        if store is None or group is None or subject not in store.subjects or group not in store.groups(subject):
            return None, None
        rate = float(store.attributes(subject, group).sampling_frequency)
        found = store.events(subject, group)
        if found is None or not len(found) or not found.labels:
            return rate, None
        column = next(iter(found.labels))
        return rate, _events(found, column, rate)


def _events(found: Any, column: str, rate: float) -> dict[str, Any]:
    names = [str(name) for name in found.names[column]]
    n = min(len(found), MOST_EVENTS)
    return {
        "column": column,
        "names": names,
        "onset": [round(float(value) / rate, 4) for value in found.onset[:n]],
        "duration": [round(float(value) / rate, 4) for value in found.duration[:n]],
        "label": [int(code) for code in found.labels[column][:n]],
    }
