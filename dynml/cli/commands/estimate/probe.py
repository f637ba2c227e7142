"""A few epochs of a run on the first of its subjects, in a folder that goes away, with what each phase took."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.commands.run_request import RunRequest
from dynml.dataset.config import DatasetConfig
from dynml.errors import DataWarning
from dynml.training.loggers.config import CometConfig, TensorBoardConfig

if TYPE_CHECKING:
    from dynml.batches.sampler import BatchSampler
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.training.trainer import Trainer

N_EPOCHS = 3
"""The first pays for compilation and caches; the shortest of the others counts."""
PHASES = {
    "initialize": "before",
    "train_one_epoch": "training",
    "validate_one_epoch": "validation",
    "final_report": "after",
}
"""Methods of a trainer, and the phase that each is timed as."""


@dataclass(frozen=True)
class Seconds:
    """How long something took."""

    wall: float
    processor: float
    """Of all threads of this process."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a run on some of the subjects took."""

    size: dict[str, int]
    """Spans of windows, or samples of whole segments, that an epoch of "training" and of "validation" goes through."""
    seconds: dict[str, Seconds]
    """By phase; of the epochs, the shortest."""
    loading: Seconds
    n_bytes: int
    """Of the series."""
    n_bytes_on_disk: int
    peaks: dict[str, float]
    """See `peak_memory`."""
    sampler: Any = field(repr=False)
    """Config of the sampler, settled with the data."""


class Stopwatch:
    """Seconds and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def seconds(self) -> Seconds:
        """Time so far."""
        return Seconds(time.perf_counter() - self._wall, time.process_time() - self._processor)


def probed(request: RunRequest, dataset: MultiSubjectDataset, n_subjects: int, folder: Path) -> Probe:
    """Run a few epochs on the first subjects of each subset.

    Parameters
    ----------
    request : RunRequest
    dataset : MultiSubjectDataset
        All of the data, opened, whether or not loaded.
    n_subjects : int
        Training subjects; of the validation subjects, the same share, rounded up.
    folder : Path
        Where the run may write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The training itself will tell of what there is to tell.
        warnings.simplefilter("ignore", DataWarning)
        return _probed(request, dataset, n_subjects, folder)


def _probed(request: RunRequest, dataset: MultiSubjectDataset, n_subjects: int, folder: Path) -> Probe:
    from dynml.cli.commands.train import trainer_on
    from dynml.training.costs import peak_memory
    from dynml.training.processes import Processes

    watch = Stopwatch()
    part = _part_of(request, dataset, n_subjects)
    part.load_data()
    loading = watch.seconds()
    quiet = dataclasses.replace(request.configs["trainer"], progress=False)
    configs = {**request.configs, "trainer": quiet, "comet": CometConfig(), "tensorboard": TensorBoardConfig()}
    own = dataclasses.replace(request, configs=configs, experiments_path=str(folder), experiment_name="run")
    trainer = trainer_on(own, part, processes=Processes())
    taken = timed_phases(trainer)
    _end_after(trainer, N_EPOCHS)
    trainer.train_and_validate()
    return Probe(
        size={name: size_of_epoch(trainer.batch_sampler, name) for name in ("training", "validation")},
        seconds={phase: _shortest(all_taken) for phase, all_taken in taken.items()},
        loading=loading,
        n_bytes=n_bytes_of(part),
        n_bytes_on_disk=sum(file.stat().st_size for file in trainer.folder.path.rglob("*") if file.is_file()),
        peaks=peak_memory(trainer.device),
        sampler=trainer.batch_sampler.config,
    )


def size_of_epoch(sampler: BatchSampler, subset: Any) -> int:
    """Spans that an epoch goes through, or samples where spans differ in length (whole segments)."""
    sampler.set_context(subset)
    if not sampler.subset.n_subjects:
        return 0
    report = sampler.report()
    return report.n_spans if sampler.config.window_length else report.n_samples - report.n_samples_left_out


def n_bytes_of(dataset: MultiSubjectDataset) -> int:
    """Of all series as they are kept."""
    return 4 * dataset.residence.n_rows * dataset.residence.n_kept_channels


def _part_of(request: RunRequest, dataset: MultiSubjectDataset, n_subjects: int) -> MultiSubjectDataset:
    from dynml.dataset.dataset import MultiSubjectDataset

    training, validation = dataset.training_set.subjects, dataset.validation_set.subjects
    n_validation = -(-len(validation) * n_subjects // len(training))
    members = {"training": training[:n_subjects], "validation": validation[:n_validation], "testing": []}
    config: DatasetConfig = request.configs["dataset"]
    kept = {name: getattr(config, name) for name in EMBEDDING}
    return MultiSubjectDataset(
        request.hdf5_file,
        dataset.residency,  # type: ignore[arg-type]
        group=request.input_group,
        device=dataset.device,
        config=DatasetConfig(**kept),
        members=members,
        conditioning=dataset.conditioning,
    )


EMBEDDING = ("n_embeddings", "n_components", "whiten", "standardize_components", "cache_embedded")
"""Settings of a dataset that say how its rows are embedded; the others say who is in which subset."""


def timed_phases(trainer: Trainer) -> dict[str, list[Seconds]]:
    """Let a trainer note how long its phases take."""
    taken: dict[str, list[Seconds]] = {phase: [] for phase in PHASES.values()}

    def timed(method: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def with_watch(*values: Any, **settings: Any) -> Any:
            watch = Stopwatch()
            found = method(*values, **settings)
            taken[phase].append(watch.seconds())
            return found

        return with_watch

    for name, phase in PHASES.items():
        setattr(trainer, name, timed(getattr(trainer, name), phase))
    return taken


def _end_after(trainer: Trainer, n_epochs: int) -> None:
    """End a run after some epochs, whatever its settings say, which schedules may go by."""
    reason = trainer.stopping_reason

    def earlier() -> str | None:
        return "max_epochs" if trainer.progress.epoch >= n_epochs else reason()

    setattr(trainer, "stopping_reason", earlier)  # noqa: B010


def _shortest(taken: list[Seconds]) -> Seconds:
    counted = taken[1:] or taken or [Seconds(0.0, 0.0)]
    return Seconds(min(one.wall for one in counted), min(one.processor for one in counted))
