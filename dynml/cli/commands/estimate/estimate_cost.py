"""What dynml_estimate_cost.py does: probes of growing size, and the line through the last two, up to all data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dynml.cli.commands.estimate.probe import Probe, Seconds, Stopwatch, n_bytes_of, probed, size_of_epoch
from dynml.cli.commands.run_request import RunRequest
from dynml.errors import DataError
from dynml.training.costs import MEBIBYTE
from dynml.training.progress_bar import in_words

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset

FIRST_SAMPLES = 20_000
"""Samples of the first probe, at least."""
GROWTH = 4
ENOUGH_SECONDS = 2.0
"""Of an epoch, in processor seconds: a probe of that length is not followed by a larger one."""
FEWEST_PROBES = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will cost on this machine."""

    seconds: dict[str, Seconds]
    """Of "opening", "before" the first epoch, "training" and "validation" of an epoch, and "after" the last one."""
    max_epochs: int | None
    peaks: dict[str, float]
    """Most memory of the process, and of the device where torch counts it, in MiB."""
    n_bytes: int
    """Of the series."""
    n_bytes_on_disk: int
    n_subjects: int
    """Training subjects."""
    n_probed: int
    """Training subjects that were measured."""

    @property
    def epoch(self) -> Seconds:
        """Of training and validation."""
        parts = [self.seconds["training"], self.seconds["validation"]]
        return Seconds(sum(part.wall for part in parts), sum(part.processor for part in parts))


def estimated(request: RunRequest) -> Estimate:
    """Measure a run on a part of its subjects, and say what it will cost on all.

    Parameters
    ----------
    request : RunRequest
        As for a training; nothing is kept of what the probes write.

    Raises
    ------
    DynmlError
        As a training would.
    """
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.training.environment import resolve_device

    configs, watch = request.configs, Stopwatch()
    dataset = MultiSubjectDataset(
        request.hdf5_file,
        configs["loader"].residency,
        group=request.input_group,
        device=resolve_device(configs["trainer"].device),
        config=configs["dataset"],
    )
    opening = watch.seconds()
    if not dataset.training_set.n_subjects:
        raise DataError(f"{request.hdf5_file} has no training subjects.")
    probes, n_subjects = _probes(request, dataset)
    return _drawn_out(request, dataset, probes, n_subjects, opening)


def _probes(request: RunRequest, dataset: MultiSubjectDataset) -> tuple[list[Probe], int]:
    subset = dataset.training_set
    samples = np.cumsum(np.bincount(subset.segments.subject, subset.segments.lengths, subset.n_subjects))
    n_subjects = min(int(np.searchsorted(samples, FIRST_SAMPLES)) + 1, subset.n_subjects)
    probes: list[Probe] = []
    with tempfile.TemporaryDirectory(prefix="dynml_estimate_") as folder:
        while True:
            probes.append(probed(request, dataset, n_subjects, Path(folder) / str(len(probes))))
            is_long = probes[-1].seconds["training"].processor >= ENOUGH_SECONDS
            if n_subjects == subset.n_subjects or (is_long and len(probes) >= FEWEST_PROBES):
                return probes, n_subjects
            n_subjects = min(GROWTH * n_subjects, subset.n_subjects)


def _drawn_out(
    request: RunRequest, dataset: MultiSubjectDataset, probes: Sequence[Probe], n_subjects: int, opening: Seconds
) -> Estimate:
    from dynml.batches.sampler import BatchSampler

    last = probes[-1]
    sampler = BatchSampler(dataset, last.sampler, seed=request.configs["trainer"].seed)
    size = {name: size_of_epoch(sampler, name) for name in last.size}
    n_bytes = n_bytes_of(dataset)
    by_training = [probe.size["training"] for probe in probes]
    seconds = {
        phase: _line([probe.size.get(phase, n) for probe, n in zip(probes, by_training)], taken, size.get(phase, n_all))
        for phase in last.seconds
        for taken, n_all in [([probe.seconds[phase] for probe in probes], size["training"])]
    }
    loading = _line([probe.n_bytes for probe in probes], [probe.loading for probe in probes], n_bytes)
    seconds["opening"] = Seconds(opening.wall + loading.wall, opening.processor + loading.processor)
    more = (n_bytes - last.n_bytes) / MEBIBYTE if dataset.residence.is_resident else 0.0
    measure = "gpu_peak_memory_mebibytes" if dataset.residency == "device" else "peak_memory_mebibytes"
    return Estimate(
        seconds=seconds,
        max_epochs=request.configs["trainer"].max_epochs,
        peaks={name: peak + (more if name == measure else 0.0) for name, peak in last.peaks.items()},
        n_bytes=n_bytes,
        n_bytes_on_disk=last.n_bytes_on_disk,
        n_subjects=dataset.training_set.n_subjects,
        n_probed=n_subjects,
    )


def _line(sizes: Sequence[int], taken: Sequence[Seconds], size: int) -> Seconds:
    def drawn(of: Callable[[Seconds], float]) -> float:
        last = of(taken[-1])
        if size == sizes[-1] or not sizes[-1]:
            return last
        slope = last / sizes[-1]
        if len(sizes) > 1 and sizes[-1] > sizes[-2]:
            slope = min(max((last - of(taken[-2])) / (sizes[-1] - sizes[-2]), 0.0), slope)
        return last + slope * (size - sizes[-1])

    return Seconds(drawn(lambda one: one.wall), drawn(lambda one: one.processor))


def lines_of(estimate: Estimate, request: RunRequest) -> list[str]:
    """Say an estimate in words."""
    epoch, parts = estimate.epoch, estimate.seconds
    before, after, opening = parts["before"], parts["after"], parts["opening"]
    lines = [
        f"{request.family.name} on {request.hdf5_file}, group {request.input_group}: "
        f"{estimate.n_subjects} training subjects, measured on {estimate.n_probed} of them",
        f"  opening and reading the data   {in_words(opening.wall)}",
        f"  before the first epoch         {in_words(before.wall)}",
        f"  an epoch                       {in_words(epoch.wall)} ({epoch.processor:.3g} processor seconds; "
        f"training {in_words(parts['training'].wall)}, validation {in_words(parts['validation'].wall)})",
        f"  after the last epoch           {in_words(after.wall)}",
    ]
    if estimate.max_epochs is not None:
        whole = opening.wall + before.wall + estimate.max_epochs * epoch.wall + after.wall
        lines.append(f"  at most (max_epochs {estimate.max_epochs})".ljust(33) + in_words(whole))
    names = {"peak_memory_mebibytes": "memory", "gpu_peak_memory_mebibytes": "memory of the device"}
    for name, peak in estimate.peaks.items():
        lines.append(f"  {names[name]:<31}{peak:,.0f} MiB (series {estimate.n_bytes / MEBIBYTE:,.0f} MiB)")
    lines.append(f"  disk                           {estimate.n_bytes_on_disk / 1e6:.1f} MB, beside the store")
    return lines
