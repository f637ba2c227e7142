"""Where the runs of a joined series end, from how long each of them is by what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.conversion.bids.entities import BidsFile, identity_of, same_value
from dynml.conversion.bids.entity_table import JOINED_BY_PIPELINES, makes_runs
from dynml.conversion.bids.run_clock import n_volumes_of
from dynml.data_warnings import DataWarnings
from dynml.store.layout import natural_order
from dynml.stretches import common_stretches
from dynml.tables import read_table

OF_SIGNALS = ("bold", "timeseries")
CUT = "Series that join several runs were cut at their joints"
TAKEN_AS_ONE = "Series that join several runs were taken as one run, so that windows go over the joints"


@dataclass(frozen=True, kw_only=True)
class JoinedRun:
    """One of the runs that a series joins, and the files of it that have a row or volume a sample."""

    name: str
    entities: tuple[str, ...]
    """Those that the name of the series lacks."""
    outliers: Path | None = None
    series: Path | None = None
    """As the joined one, of this run."""
    raw_image: Path | None = None


def joined_runs(
    series: BidsFile, files: Sequence[BidsFile], raw_files: Sequence[BidsFile], images: Sequence[str]
) -> tuple[JoinedRun, ...]:
    """Find the runs that a series joins by its name, in natural order of theirs; none where it joins none.

    Parameters
    ----------
    series : BidsFile
    files : sequence of BidsFile
        Of the subject, of the derivatives.
    raw_files : sequence of BidsFile
        Of the raw data set.
    images : sequence of str
        Extensions of images.
    """
    of_runs: dict[str, list[BidsFile]] = {}
    for other in [*files, *raw_files]:
        if other.suffix in OF_SIGNALS and _is_part_of(series, other):
            of_runs.setdefault(identity_of(other.run), []).append(other)
    return tuple(
        _joined_run(series, of_runs[key], files, raw_files, images) for key in sorted(of_runs, key=natural_order)
    )


def stretches_between_joints(
    runs: Sequence[JoinedRun],
    n_samples: int,
    stretches: NDArray[np.int64] | None,
    length_of_series: Callable[[Path], int],
    where: str,
    warned: DataWarnings,
) -> NDArray[np.int64] | None:
    """Cut the stretches of a joined series where its runs end, (n, 2), and tell it; as they are where that is unknown.

    Parameters
    ----------
    runs : sequence of JoinedRun
    n_samples : int
        Of the joined series, censored ones included.
    stretches : array, (n, 2), or None
        None: all of the series is one.
    length_of_series : callable
        Gives the rows of a run's own series.
    where : str
        Subject, group and file, for messages.
    warned : DataWarnings
    """
    found = list(_lengths(runs, length_of_series))
    lengths = next((lengths for lengths in found if sum(lengths) == n_samples), None)
    if lengths is None:
        sums = ", ".join(str(sum(lengths)) for lengths in found)
        reason = f"its runs have {sums} samples together, not {n_samples}" if sums else "nothing says how long runs are"
        warned.add(TAKEN_AS_ONE, f"{where} ({reason})")
        return stretches
    if len(set(lengths)) > 1 and any(run.entities != ("run",) for run in runs):
        warned.add(TAKEN_AS_ONE, f"{where} (its runs differ in length, and their order in it is not known)")
        return stretches
    if len(runs) == 1:
        return stretches
    stops = np.cumsum(lengths)
    warned.add(CUT, f"{where}: {len(runs)} runs, which begin at samples {', '.join(map(str, [0, *stops[:-1]]))}")
    pieces = np.stack([stops - lengths, stops], axis=1).astype(np.int64)
    return pieces if stretches is None else common_stretches(stretches, pieces)


def _is_part_of(series: BidsFile, other: BidsFile) -> bool:
    more = other.run.keys() - series.run.keys()
    same = all(same_value(other.run.get(key), label) for key, label in series.run.items())
    return bool(more) and same and more <= set(JOINED_BY_PIPELINES)


def _joined_run(
    series: BidsFile,
    of_run: Sequence[BidsFile],
    files: Sequence[BidsFile],
    raw_files: Sequence[BidsFile],
    images: Sequence[str],
) -> JoinedRun:
    first, raw = of_run[0], {file.path for file in raw_files}
    outliers = (file.path for file in files if file.suffix == "outliers" and file.extension == ".tsv")
    own_outliers = {file.path for file in files if file.run.keys() == first.run.keys() and file.is_of_run(first)}
    return JoinedRun(
        name=first.run_name,
        entities=tuple(sorted(first.run.keys() - series.run.keys())),
        outliers=next((path for path in outliers if path in own_outliers), None),
        series=next((file.path for file in of_run if _differs_in_run_only(file, series)), None),
        raw_image=next((file.path for file in of_run if file.path in raw and file.extension in images), None),
    )


def _differs_in_run_only(file: BidsFile, series: BidsFile) -> bool:
    def version(one: BidsFile) -> tuple[str, str, dict[str, str]]:
        return one.suffix, one.extension, {key: label for key, label in one.entities.items() if not makes_runs(key)}

    return version(file) == version(series)


def _lengths(runs: Sequence[JoinedRun], length_of_series: Callable[[Path], int]) -> Iterator[list[int]]:
    """Samples of each run, by each kind of file that all runs have."""
    kinds: list[tuple[list[Path | None], Callable[[Path], int]]] = [
        ([run.outliers for run in runs], lambda path: len(read_table(path))),
        ([run.series for run in runs], length_of_series),
        ([run.raw_image for run in runs], n_volumes_of),
    ]
    for paths, length in kinds:
        present = [path for path in paths if path is not None]
        if len(present) == len(runs):
            yield [length(path) for path in present]
