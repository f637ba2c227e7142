"""What a page says of the data: how much there is, how it was prepared, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.report.experiment import ReportedExperiment
from dynml.report.parts.preparation_words import preparation_in_words
from dynml.report.words import counted, duration, listed, percent
from dynml.store.layout import SUBSET_NAMES
from dynml.store.printing import warnings_of
from dynml.store.reading import Store

SPLIT = {
    "participants": "Subsets were split by participant: validation and testing are people that the model has not seen.",
    "runs": "Subsets were split by runs: a participant stands in several subsets, so that scores say how the model "
    "carries over to other runs of these people, and nothing of new people.",
}


@dataclass(frozen=True)
class SubsetFacts:
    """One row of the table of subsets."""

    name: str
    n_subjects: int
    n_participants: int
    n_segments: int
    n_samples: int
    length: str
    """How long they are together, in words; the number of samples where rates differ."""


@dataclass(frozen=True)
class DataFacts:
    """All that is said of the data."""

    subsets: list[SubsetFacts]
    channels: list[str]
    rates: str
    preparation: list[str]
    left_out: list[str]
    """What no model saw, a sentence each."""
    split: str
    warnings: list[str]
    """Warnings that were given while the store was made."""


def data_facts(experiment: ReportedExperiment, hdf5: Path | None) -> DataFacts:
    """Say what parameters.json knows, and with a store also what lies outside of segments.

    Parameters
    ----------
    experiment : ReportedExperiment
    hdf5 : Path or None
        The store.
    """
    dataset = experiment.dataset
    subsets = dataset.get("subsets") or {}
    rates = [float(rate) for rate in dataset.get("sampling_frequencies") or ()]
    shown = [f"{rate:g}" for rate in (rates if len(rates) <= 3 else (rates[0], rates[-1]))]
    return DataFacts(
        subsets=[_subset(name, subsets[name], rates) for name in SUBSET_NAMES if _has_subjects(subsets.get(name))],
        channels=[str(name) for name in dataset.get("channel_names") or ()],
        rates=f"{' to '.join(shown) if len(rates) > 3 else listed(shown)} Hz" if rates else "an unknown rate",
        preparation=preparation_in_words(dataset.get("preparation") or {}) + _embedding(dataset.get("embedding")),
        left_out=_left_out(subsets, rates, hdf5, dataset.get("group")),
        split=SPLIT.get(str(dataset.get("split")), ""),
        warnings=_warnings(hdf5),
    )


def _warnings(hdf5: Path | None) -> list[str]:
    if hdf5 is None:
        return []
    with Store(hdf5) as store:
        return warnings_of(store)


def _has_subjects(given: Mapping[str, Any] | None) -> bool:
    return bool(given and given.get("n_subjects"))


def _subset(name: str, given: Mapping[str, Any], rates: Sequence[float]) -> SubsetFacts:
    n_samples = int(given.get("n_samples") or 0)
    return SubsetFacts(
        name=name,
        n_subjects=int(given.get("n_subjects") or 0),
        n_participants=int(given.get("n_participants") or 0),
        n_segments=int(given.get("n_segments") or 0),
        n_samples=n_samples,
        length=duration(n_samples / rates[0]) if len(rates) == 1 else counted(n_samples, "sample"),
    )


def _embedding(described: Any) -> list[str]:
    if not isinstance(described, Mapping):
        return []
    lags, kept = described.get("n_embeddings"), described.get("n_components")
    parts = [f"time-delay embedding over {lags} samples"] if lags and lags > 1 else []
    parts += [f"{kept} principal components, fitted to the training recordings"] if kept else []
    return [", ".join([*parts, "as the data are read"])] if parts else []


def _left_out(subsets: Mapping[str, Any], rates: Sequence[float], hdf5: Path | None, group: str | None) -> list[str]:
    said = []
    n_masked = sum(int((one or {}).get("n_masked") or 0) for one in subsets.values())
    n_samples = sum(int((one or {}).get("n_samples") or 0) for one in subsets.values())
    if n_masked:
        said.append(
            f"{counted(n_masked, 'sample')} within segments ({percent(n_masked / max(n_samples, 1))}) were not "
            "observed: the model marginalises or ignores them."
        )
    if hdf5 is not None and group is not None:
        said += _outside_segments(hdf5, group, [name for one in subsets.values() for name in one.get("subjects", ())])
    if not said:
        where = "" if hdf5 is not None else ", as far as the experiment says; give the store by --hdf5 to be sure"
        said.append(f"Nothing: every sample lies within a segment and was observed{where}.")
    return said


def _outside_segments(hdf5: Path, group: str, subjects: Sequence[str]) -> list[str]:
    """Count rows outside of segments, and what steps removed, over the subjects of the training."""
    lost: dict[str, float] = {}
    seconds, removed = 0.0, dict[str, float]()
    ranks = []
    with Store(hdf5) as store:
        known = set(store.subjects)
        for subject in [name for name in subjects if name in known and group in store.groups(name)]:
            about, segments = store.attributes(subject, group), store.segments(subject, group)
            outside = about.n_samples - int((segments[:, 1] - segments[:, 0]).sum())
            if outside:
                lost[subject] = outside / about.n_samples
                seconds += outside / about.sampling_frequency
            for step in about.preparation:
                if step.get("samples_removed"):
                    removed[subject] = float(step.get("share_removed") or 0.0)
            if about.rank < about.n_channels:
                ranks.append(f"{subject} ({about.rank} of {about.n_channels})")
    said = []
    if lost:
        worst = max(lost, key=lost.__getitem__)
        said.append(
            f"Between the segments of {counted(len(lost), 'recording')}, {duration(seconds)} were left out (gaps, bad "
            f"stretches, scrubbed volumes); most in {worst}: {percent(lost[worst])}."
        )
    if removed:
        worst = max(removed, key=removed.__getitem__)
        said.append(
            f"Bad samples were removed from {counted(len(removed), 'recording')}; most from {worst}: "
            f"{percent(removed[worst])}."
        )
    if ranks:
        said.append(f"These recordings do not fill all dimensions (rank of channels): {listed(ranks)}.")
    return said
