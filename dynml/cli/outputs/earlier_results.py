"""What an earlier run left in a folder that results are written over: nothing of it passes for this run's."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from dynml.errors import DataWarning
from dynml.locks.writing import LOCK_OF_FOLDER

SUMMARIES, EARLIER = ("summary.json", "metrics.json"), ".earlier"
N_NAMED = 3


@contextlib.contextmanager
def earlier_results_set_apart(folder: Path) -> Iterator[None]:
    """Take an earlier summary away while results are written over, and tell of files that are not this run's.

    A run that is broken off leaves files of two runs, which the earlier summary would describe as one. It comes back
    where nothing was written; else it stays beside them, its name with `.earlier` at the end.
    """
    before = _stamps(folder)
    aside = {folder / name: folder / f"{name}{EARLIER}" for name in SUMMARIES}
    for summary, earlier in aside.items():
        with contextlib.suppress(FileNotFoundError):
            os.replace(summary, earlier)
    try:
        yield
    except BaseException:
        if _stamps(folder) == before:
            for summary, earlier in aside.items():
                if earlier.is_file() and not summary.exists():
                    os.replace(earlier, summary)
        raise
    for earlier in aside.values():
        earlier.unlink(missing_ok=True)
    left = sorted(name for name, stamp in _stamps(folder).items() if before.get(name) == stamp)
    if left:
        more = f" and {len(left) - N_NAMED} more" if len(left) > N_NAMED else ""
        warnings.warn(
            f"{folder} also has files that this run did not write, of an earlier one or of your own "
            f"({', '.join(left[:N_NAMED])}{more}); do not take them for its results.",
            DataWarning,
            stacklevel=4,
        )


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each file but summaries, by its path in the folder."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            if name.removesuffix(EARLIER) in SUMMARIES or LOCK_OF_FOLDER in name:
                continue
            path = Path(place) / name
            with contextlib.suppress(OSError):
                status = path.lstat()
                found[path.relative_to(folder).as_posix()] = status.st_ino, status.st_mtime_ns
    return found
