"""Files of one subject's group -> one Recording: runs read, confounds cleaned, what is missing or bad cut out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.conversion.config import TimeseriesGroupConfig
from dynml.conversion.sources.agreement import GroupSources, SourceFile
from dynml.conversion.sources.units import check_stated_units
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError, shortened
from dynml.files import sha256_of_file
from dynml.preparation import checks
from dynml.preparation.bad_stretches import cut_note, rows_to_cut
from dynml.preparation.confounds.cleaning import Cleaning
from dynml.reading_files import readable, stated_encoding
from dynml.recording import Recording, Source, recording_of_runs
from dynml.stretches import common_stretches, good_stretches


def read_recording(
    sources: GroupSources,
    config: TimeseriesGroupConfig,
    where: str,
    warned: DataWarnings,
    *,
    describes_files: bool = True,
) -> Recording:
    """Read all runs of one subject's group into one recording, its segments free of missing samples.

    Parameters
    ----------
    sources : GroupSources
    config : TimeseriesGroupConfig
    where : str
        For messages.
    warned : DataWarnings
    describes_files : bool
        Give the files' SHA-256, which what is only fitted does not ask for.

    Raises
    ------
    DataError
        When samples are missing and the config refuses them, or a run has no good stretch.
    """
    runs, stretches, parts = [], [], []
    notes: list[dict[str, Any]] = []
    censored: dict[str, int] = {}
    moved: dict[str, float] = {}
    hashed = _hashed_beside(sources.files if describes_files else [])
    cut: dict[str, int] = {}
    for file in sources.files:
        with stated_encoding(config.encoding), warned.of_encodings():
            run = file.reader.read(file.path)
        if run.shape != (file.description.n_samples, file.description.n_channels):
            raise DataError(f"{where}: {file.path} changed while it was read.")
        run = run if file.columns is None else run[:, file.columns]
        run = run if sources.order is None else run[:, sources.order]
        of_run = f"{where}, run {file.run_name}"
        checks.check_no_empty_channel(run, sources.channel_names, of_run)
        check_stated_units(run, sources.units, file.description.units, of_run)
        with stated_encoding(config.encoding), warned.of_encodings():
            cleaning = None if file.cleaning is None else file.cleaning.of_run(len(run))
        seen = _not_marked_bad(run, file.description.stretches, cleaning)
        bad = rows_to_cut(seen, sources.channel_names, config.bad_stretches, of_run, warned)
        cut[file.run_name] = int(bad.sum())
        if cleaning is not None:
            run = _cleaned(run, cleaning, sources, config, of_run, bad, warned)
            censored[file.run_name] = int((~cleaning.confounds.kept | bad).sum())
            if cleaning.confounds.mean_displacement is not None:
                moved[file.run_name] = cleaning.confounds.mean_displacement
            notes = [cleaning.note(censored, moved)]
            stretches.append(_good_stretches(run, config, of_run, warned, censored[file.run_name]))
        elif config.missing == "error":
            checks.check_finite(run, sources.channel_names, of_run, file.description.stretches)
            stretches.append(np.array([[0, len(run)]], dtype=np.int64))
        else:
            stretches.append(_good_stretches(run, config, of_run, warned))
        if bad.any():
            stretches[-1] = _without_bad(stretches[-1], bad, of_run)
        if file.description.stretches is not None:
            stretches[-1] = _within(stretches[-1], file.description.stretches, len(run), of_run, warned)
        parts.append(_parts(stretches[-1], file.description.stretches))
        runs.append(run)
    recording = recording_of_runs(
        runs,
        sampling_frequency=sources.sampling_frequency,
        channel_names=sources.channel_names,
        run_names=[file.run_name for file in sources.files],
        stretches=stretches,
        parts=parts,
        events=sources.events,
        sources=[source for of_file in hashed for source in of_file.result()],
        units=sources.units,
    )
    if any(cut.values()):
        notes.insert(0, cut_note(cut))
    return dataclasses.replace(recording, preparation=(*_notes_of_readers(sources, where, warned), *notes))


def _notes_of_readers(sources: GroupSources, where: str, warned: DataWarnings) -> list[dict[str, Any]]:
    """What was done to the runs as they were read; each step once, with what was found in every run."""
    notes: dict[str, dict[str, Any]] = {}
    for file in sources.files:
        for note in file.reader.note(file.path, file.run_name):
            known = notes.setdefault(note["step"], note)
            if "runs" in note:
                known["runs"].update(note["runs"])
        warning = file.reader.warning(file.path)
        if warning is not None:
            warned.add(warning[0], f"{where}, run {file.run_name}: {warning[1]}")
    return list(notes.values())


def _cleaned(
    run: NDArray[np.floating],
    cleaning: Cleaning,
    sources: GroupSources,
    config: TimeseriesGroupConfig,
    where: str,
    bad: NDArray[np.bool_],
    warned: DataWarnings,
) -> NDArray[np.floating]:
    kept = cleaning.confounds.kept
    if config.missing == "error":
        checks.check_finite(np.where(kept[:, None], run, 0.0), sources.channel_names, where)
    finite = np.isfinite(run).all(axis=1) & ~bad
    cleaned = cleaning(run, finite, sources.sampling_frequency, sources.channel_names, where)
    constant = cleaning.constant_confounds(finite)
    if constant:
        warned.add(
            "A confound is constant in a run, so that nothing is removed for it there; see whether its table is right",
            f"{where}: {shortened(constant)}",
        )
    return cleaned


def _not_marked_bad(
    run: NDArray[np.floating], stated: NDArray[np.int64] | None, cleaning: Cleaning | None
) -> NDArray[np.floating]:
    """Signals that are NaN where the file or the confounds say that they are not to be used."""
    used = np.full(len(run), stated is None)
    for start, stop in [] if stated is None else stated.tolist():
        used[start:stop] = True
    if cleaning is not None:
        used &= cleaning.confounds.kept
    return run if used.all() else np.where(used[:, None], run, np.nan)


def _without_bad(stretches: NDArray[np.int64], bad: NDArray[np.bool_], where: str) -> NDArray[np.int64]:
    """Stretches without the samples that are to be cut out, and without single samples."""
    common = common_stretches(stretches, good_stretches(np.where(bad[:, None], np.nan, 0.0)))
    kept = common[common[:, 1] - common[:, 0] > 1]
    if not len(kept):
        raise DataError(f"{where} has no two neighbouring samples that are good in all channels.")
    return kept


def _within(
    stretches: NDArray[np.int64], stated: NDArray[np.int64], n_samples: int, where: str, warned: DataWarnings
) -> NDArray[np.int64]:
    """Stretches that also lie in those that the file holds for good, without single samples."""
    n_bad = n_samples - int((stated[:, 1] - stated[:, 0]).sum())
    if n_bad:
        warned.add("Stretches that the files mark as bad were cut out", f"{where}: {n_bad} of {n_samples}")
    common = common_stretches(stretches, stated)
    kept = common[common[:, 1] - common[:, 0] > 1]
    if not len(kept):
        raise DataError(f"{where} has no two neighbouring samples that are good and finite in all channels.")
    if len(kept) < len(common):
        warned.add("Stretches of a single sample were left out", f"{where}: {len(common) - len(kept)}")
    return kept


def _parts(stretches: NDArray[np.int64], stated: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Which of the stretches that the file states each one lies in, (n,)."""
    if stated is None:
        return np.zeros(len(stretches), dtype=np.int64)
    return np.searchsorted(stated[:, 0], stretches[:, 0], side="right")


def _hashed_beside(files: Sequence[SourceFile]) -> list[Future[list[Source]]]:
    """Describe the files that are read, by a thread beside their reading."""
    helper = ThreadPoolExecutor(max_workers=1)
    described = [helper.submit(_sources, file) for file in files]
    helper.shutdown(wait=False)
    return described


def _sources(file: SourceFile) -> list[Source]:
    folder = Path(file.name).parent
    named = [(file.name, file.path)]
    named += [((folder / path.name).as_posix(), path) for path in file.description.further_files]
    with readable(file.path):
        return [Source(file=name, n_bytes=path.stat().st_size, sha256=sha256_of_file(path)) for name, path in named]


def _good_stretches(
    run: NDArray[np.floating], config: TimeseriesGroupConfig, where: str, warned: DataWarnings, n_censored: int = 0
) -> NDArray[np.int64]:
    stretches = good_stretches(run)
    length = stretches[:, 1] - stretches[:, 0]
    kept = stretches[length > 1]
    if not len(kept):
        raise DataError(f"{where} has no two neighbouring samples that are finite in all channels.")
    n_missing = len(run) - int(length.sum()) - n_censored
    done = "masked" if config.missing == "mask" else "cut out"
    if n_censored:
        warned.add(f"Censored volumes were {done}", f"{where}: {n_censored} of {len(run)}")
    if n_missing:
        warned.add(f"Missing samples were {done}", f"{where}: {n_missing} of {len(run)}")
    if len(kept) < len(stretches):
        what = "masked, too" if config.missing == "mask" else "left out"
        warned.add(f"Stretches of a single sample were {what}", f"{where}: {len(stretches) - len(kept)}")
    return kept
