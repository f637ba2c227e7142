"""Makes a store of tar files in the layout of learning-from-brains: all are checked before one byte is written.

A run is one tar. A subject is one session of a participant (one rate of it, where rates differ). Each sample of a tar
is a segment, so that no window reaches from one trial into the next, and an event, where it has labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dynml.configuration import check_choice, nearest_name
from dynml.conversion.config import read_subject_list
from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError
from dynml.exchange.webdataset import RunName, TarRun, parse_run_name, read_tar, tar_files
from dynml.exchange.webdataset_labels import events_of_runs, read_target_names
from dynml.files import sha256_of_file
from dynml.locks.writing import writes_alone
from dynml.preparation import checks
from dynml.preparation.bad_stretches import TELL, without_bad_stretches
from dynml.preparation.standardization import standardized
from dynml.recording import Recording, Source, recording_of_runs
from dynml.store import layout
from dynml.store.participants_table import SubjectIdentity
from dynml.store.writing import check_target, new_store

LONGEST_USUAL_TIME = 30.0
"""Repetition times above, in seconds, are warned of."""


@dataclass(frozen=True, kw_only=True)
class TarImport:
    """What to import, and how."""

    inputs: list[Path]
    """Tar files, or folders that hold them."""
    group: str = "bold"
    """Name of the signals' group in the store."""
    lists: Mapping[str, Path] = field(default_factory=dict)
    """Subset to a text file of participants or subjects; others are left out."""
    validation_fraction: float = 0.0
    """Share of the participants that is drawn for validation, where there are no lists."""
    testing_fraction: float = 0.0
    """Share of the participants that is drawn for testing, where there are no lists."""
    seed: int = 0
    """Of this draw."""
    standardization: str = "none"
    """"none": as the source has them; "per_run": z-scored in each tar."""
    allow_mixed_sampling_frequency: bool = False
    """Runs may differ in their repetition time."""
    target_names: Path | None = None
    """JSON file: column to names of its labels, {"task_label": {"0": "rest", ..}} or {"task_label": ["rest", ..]}."""

    def __post_init__(self) -> None:
        check_choice("standardization", self.standardization, ["none", "per_run"])
        for name in ("validation_fraction", "testing_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(name, getattr(self, name), "a number from 0 to below 1")
        if not layout.is_valid_name(self.group):
            raise ConfigurationError("group", self.group, "a name without /")
        if self.lists and (self.validation_fraction or self.testing_fraction):
            raise ConfigurationError(
                "validation_fraction", self.validation_fraction, "left out, as testing_fraction, where lists are given"
            )
        if self.validation_fraction + self.testing_fraction >= 1:
            total = self.validation_fraction + self.testing_fraction
            raise ConfigurationError("validation_fraction + testing_fraction", total, "below 1")


@dataclass(frozen=True, kw_only=True)
class _Described:
    """A tar as the first reading found it, without its signals."""

    path: Path
    name: RunName
    repetition_time: float
    n_channels: int
    n_samples: int
    labels: frozenset[tuple[str, str]]
    digest: bytes


@writes_alone()
def import_webdataset(settings: TarImport, target: Path, *, overwrite: bool = False, progress: bool = False) -> str:
    """Make a store of tar files.

    Parameters
    ----------
    settings : TarImport
    target : Path
        The store, `.hdf5` or `.h5`.
    overwrite : bool
        Replace an existing store, at the very end.
    progress : bool
        Show bars on standard error.

    Returns
    -------
    str
        One line that says what was made.

    Raises
    ------
    DynmlError
        For any fault of a file, list or name, named; the target is then as it was.
    """
    check_target(target, overwrite)
    warned = DataWarnings()
    names = read_target_names(settings.target_names)
    quiet = None if progress else True
    paths = tar_files(settings.inputs)
    described = [_described(path, warned) for path in tqdm(paths, desc="Checking", unit="tar", disable=quiet)]
    _check_agreement(described, mixed_rates=settings.allow_mixed_sampling_frequency)
    _check_target_names(described, names, settings.target_names)
    subjects = _subjects(described)
    participants = {subject: runs[0].name.participant for subject, runs in subjects.items()}
    subsets = _listed(settings.lists, participants, warned) if settings.lists else _drawn(participants, settings)
    config = {
        layout.ALLOW_MIXED_SAMPLING_FREQUENCY: settings.allow_mixed_sampling_frequency,
        "import": _plain_settings(settings, len(described)),
    }
    chosen = [subject for subset in layout.SUBSET_NAMES for subject in subsets[subset]]
    with new_store(target, config, subsets, overwrite=overwrite) as writer:
        for subject in tqdm(chosen, desc="Writing", unit="subject", disable=quiet):
            recording, rank = _prepared(subject, subjects[subject], settings, names, warned)
            writer.add_subject(_identity(subject, subjects[subject][0].name))
            writer.add_group(subject, settings.group, recording, rank)
    warned.tell()
    counts = ", ".join(f"{len(subsets[subset])} {subset}" for subset in layout.SUBSET_NAMES)
    n_runs = sum(len(subjects[subject]) for subject in chosen)
    return (
        f"{target}: {counts} subjects, {len({participants[subject] for subject in chosen})} participants, {n_runs} "
        f"runs, {described[0].n_channels} networks in group {settings.group}; {target.stat().st_size / 1e6:.1f} MB, "
        "verified."
    )


def _described(path: Path, warned: DataWarnings) -> _Described:
    name = parse_run_name(path)
    with warned.of_encodings():
        run, unknown = read_tar(path)
    if unknown:
        warned.add("Members of kinds that are not known were not read", f"{path.name}: {', '.join(unknown)}")
    fault = checks.other_unit_of_time(run.repetition_time)
    if fault is not None:
        raise DataError(f"{path} has a repetition time of {run.repetition_time:g}, but must have seconds ({fault}).")
    if run.repetition_time > LONGEST_USUAL_TIME:
        warned.add("Repetition times are longer than those of most series", f"{path.name}: {run.repetition_time:g} s")
    (first, *others) = run.samples
    if not others and not first.labels and len(first.signals) < run.n_channels:
        topic = "Runs have fewer time points than networks, as if they were networks x time"
        warned.add(topic, f"{path.name}: {len(first.signals)} x {run.n_channels}")
    short = [sample.key for sample in run.samples if len(sample.signals) < 2]
    if len(short) == len(run.samples):
        raise DataError(f"{path} holds no sample of at least two time points.")
    if short:
        warned.add("Samples of a single time point were left out", f"{path.name}: {len(short)}")
    return _Described(
        path=path,
        name=name,
        repetition_time=run.repetition_time,
        n_channels=run.n_channels,
        n_samples=sum(len(sample.signals) for sample in run.samples),
        labels=frozenset(label for sample in run.samples for label in sample.labels.items()),
        digest=run.digest(),
    )


def _check_agreement(described: Sequence[_Described], *, mixed_rates: bool) -> None:
    by_name: dict[tuple[str, str], Path] = {}
    by_digest: dict[bytes, Path] = {}
    for run in described:
        other = by_name.setdefault((run.name.participant, run.name.run), run.path)
        if other != run.path:
            raise DataError(f"{run.path} and {other} have the same name: a run can be imported once only.")
        other = by_digest.setdefault(run.digest, run.path)
        if other != run.path:
            raise DataError(f"{run.path} holds the same signals as {other}: a run can be imported once only.")
    if len(by_name) < len(described):
        twice = Counter(run.path for run in described).most_common(1)[0][0]
        raise DataError(f"{twice} is named twice.")
    _check_one_value(described, "n_channels", "networks", "")
    if not mixed_rates:
        hint = "; differences are accepted by --allow_mixed_sampling_frequency"
        _check_one_value(described, "repetition_time", "s of repetition time", hint)


def _check_one_value(described: Sequence[_Described], field_name: str, unit: str, hint: str) -> None:
    values = [getattr(run, field_name) for run in described]
    usual = Counter(values).most_common(1)[0][0]
    typical = described[values.index(usual)]
    for run, value in zip(described, values):
        if value != usual:
            raise DataError(f"{run.path} has {value:g} {unit}, but {typical.path} has {usual:g}{hint}.")


def _subjects(described: Sequence[_Described]) -> dict[str, list[_Described]]:
    """Runs of each stored subject: of one participant, one session and one rate."""
    of_session: dict[str, list[_Described]] = {}
    for run in described:
        session = "_".join(filter(None, [run.name.participant, run.name.session]))
        of_session.setdefault(session, []).append(run)
    subjects = {}
    for session in sorted(of_session, key=layout.natural_order):
        runs = sorted(of_session[session], key=lambda run: layout.natural_order(run.name.run))
        times = sorted({run.repetition_time for run in runs})
        for time in times:
            subject = session if len(times) == 1 else f"{session}_tr-{time:g}"
            subjects[subject] = [run for run in runs if run.repetition_time == time]
    return subjects


def _listed(lists: Mapping[str, Path], participants: Mapping[str, str], warned: DataWarnings) -> dict[str, list[str]]:
    """Subsets as text files name them, by participant or subject."""
    subsets: dict[str, list[str]] = {subset: [] for subset in layout.SUBSET_NAMES}
    home: dict[str, str] = {}
    for subset, path in lists.items():
        for name in read_subject_list(path):
            subjects = [subject for subject, participant in participants.items() if name in (subject, participant)]
            if not subjects:
                near = nearest_name(name, {*participants, *participants.values()})
                raise DataError(f"{path} names {name!r}, of which there is no tar{near if 'mean' in near else ''}.")
            participant = participants[subjects[0]]
            if home.setdefault(participant, subset) != subset:
                raise DataError(
                    f"Participant {participant} is in two lists, for {home[participant]} and for {subset}; a score "
                    "would then not be about new people."
                )
            twice = next((subject for subject in subjects if subject in subsets[subset]), None)
            if twice is not None:
                raise DataError(f"{path} names subject {twice} twice.")
            subsets[subset] += subjects
    left_out = [subject for subject in participants if participants[subject] not in home]
    for subject in left_out:
        warned.add("Subjects that no list names were left out", subject)
    if not home:
        raise DataError(f"None of the lists {', '.join(map(str, lists.values()))} names a participant.")
    return subsets


def _drawn(participants: Mapping[str, str], settings: TarImport) -> dict[str, list[str]]:
    """Draw subsets by participant, from each data set in proportion to its participants."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([settings.seed])))
    of_dataset: dict[str, list[str]] = {}
    for person in sorted(set(participants.values()), key=layout.natural_order):
        of_dataset.setdefault(person.split("_sub-")[0], []).append(person)
    positions: dict[str, float] = {}
    for people in of_dataset.values():
        # Positions of a data set's people lie evenly in [0, 1): any stretch of it holds the same share of each.
        offset = generator.random()
        positions |= {people[i]: (n + offset) / len(people) for n, i in enumerate(generator.permutation(len(people)))}
    order = sorted(positions, key=positions.__getitem__)
    n_testing = _count(settings.testing_fraction, len(order))
    n_held_out = n_testing + _count(settings.validation_fraction, len(order))
    if n_held_out >= len(order):
        raise DataError(
            f"The tar files are of {len(order)} participants, of whom none would be left for training: give lists, or "
            "smaller fractions."
        )
    chosen = {
        "training": set(order[n_held_out:]),
        "validation": set(order[n_testing:n_held_out]),
        "testing": set(order[:n_testing]),
    }
    return {
        subset: [subject for subject, person in participants.items() if person in chosen[subset]]
        for subset in layout.SUBSET_NAMES
    }


def _count(fraction: float, n_people: int) -> int:
    return max(1, round(fraction * n_people)) if fraction else 0


def _prepared(
    subject: str,
    runs: Sequence[_Described],
    settings: TarImport,
    names: Mapping[str, Mapping[str, str]],
    warned: DataWarnings,
) -> tuple[Recording, int]:
    """Read a subject's tars again, as one recording, and its numerical rank."""
    with warned.of_encodings():
        read = [_read_again(run) for run in runs]
    lengths = [[len(sample.signals) for sample in run.samples] for run in read]
    starts = [np.cumsum([0, *of_run]) for of_run in lengths]
    stretches = [np.array([(a, b) for a, b in pairwise(borders) if b - a > 1], dtype=np.int64) for borders in starts]
    where = f"Subject {subject}"
    recording = recording_of_runs(
        [np.concatenate([sample.signals for sample in run.samples]) for run in read],
        sampling_frequency=1.0 / runs[0].repetition_time,
        channel_names=[f"network_{number}" for number in range(runs[0].n_channels)],
        run_names=[run.name.run for run in runs],
        stretches=stretches,
        events=events_of_runs(read, names),
        sources=[_source(run.path) for run in runs],
        units="z-score of the source",
    )
    checks.check_not_constant(recording, where)
    without_bad_stretches(recording, TELL, where, warned)
    recording = standardized(recording, settings.standardization)
    rank = checks.rank_of(checks.correlations(recording))
    if rank < recording.n_channels:
        topic = f"Group {settings.group}: signals are rank-deficient, so that full covariances need a prior or PCA"
        warned.add(topic, f"{subject}: rank {rank} of {recording.n_channels}")
    return recording, rank


def _read_again(run: _Described) -> TarRun:
    read, _ = read_tar(run.path)
    if read.digest() != run.digest:
        raise DataError(f"{run.path} changed while it was read.")
    return read


def _source(path: Path) -> Source:
    return Source(file=path.name, n_bytes=path.stat().st_size, sha256=sha256_of_file(path))


def _identity(subject: str, name: RunName) -> SubjectIdentity:
    covariates = {layout.DATASET: name.dataset}
    if name.session:
        covariates["session"] = name.session.removeprefix("ses-")
    return SubjectIdentity(subject=subject, participant=name.participant, covariates=covariates)


def _plain_settings(settings: TarImport, n_files: int) -> dict[str, Any]:
    drawn = {
        "validation_fraction": settings.validation_fraction,
        "testing_fraction": settings.testing_fraction,
        "seed": settings.seed,
    }
    return {
        "kind": "webdataset",
        "group": settings.group,
        "n_files": n_files,
        "standardization": settings.standardization,
        "target_names": str(settings.target_names) if settings.target_names else None,
        "subsets": {subset: str(path) for subset, path in settings.lists.items()} or drawn,
    }


def _check_target_names(
    described: Sequence[_Described], names: Mapping[str, Mapping[str, str]], path: Path | None
) -> None:
    found: dict[str, dict[str, Path]] = {}
    for run in described:
        for column, label in run.labels:
            found.setdefault(column, {}).setdefault(label, run.path)
    for column, known in names.items():
        if column not in found:
            raise DataError(f"{path} names labels of {column!r}, which no tar has{nearest_name(column, found)}.")
        for label, where in found[column].items():
            if label not in known and label not in known.values():
                raise DataError(f"{path} has no name for the label {label!r} of {column!r}, which {where} holds.")
