"""Where scripts put their results: what is there already is not touched, unless it is dynml's and `-f` says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from dynml.cli.outputs.earlier_results import earlier_results_set_apart
from dynml.errors import DynmlError
from dynml.locks.writing import LOCK_OF_FOLDER, writing_to

OF_EXPERIMENTS = ("parameters_latest.json", "best_model", "checkpoint")


def check_output_folder(folder: Path, *, force: bool) -> None:
    """Refuse a file, a folder that is not empty (unless `force`), and an experiment's folder in any case.

    Raises
    ------
    DynmlError
        Says what is in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise DynmlError(f"{folder} is a file, not a folder.")
    held = [name for name in OF_EXPERIMENTS if (folder / name).exists()]
    if held:
        raise DynmlError(f"{folder} is the folder of an experiment ({held[0]}); give another one for the results.")
    if not force and folder.is_dir() and any(LOCK_OF_FOLDER not in path.name for path in folder.iterdir()):
        raise DynmlError(f"The folder {folder} is not empty; give another one, or -f to overwrite.")


@contextlib.contextmanager
def output_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """Make a folder of results, and keep other processes from writing into it for the length of a block.

    Raises
    ------
    DynmlError
        When it may not be used (see `check_output_folder`), is being written to, or cannot be made.
    """
    from dynml.files import folder_made_for

    check_output_folder(folder, force=force)
    with folder_made_for(folder), writing_to(folder):
        check_output_folder(folder, force=force)
        with earlier_results_set_apart(folder):
            yield folder


def check_made_by(folder: Path, page: str, words: str, others: Sequence[str]) -> None:
    """Refuse to replace files that are called like those of a script, but stand beside no page of that script.

    Parameters
    ----------
    folder : Path
    page : str
        File that holds `words` if the script made it.
    words : str
    others : sequence of str
        Further files that the script replaces.

    Raises
    ------
    DynmlError
        Names the first such file.
    """
    path = folder / page
    if path.is_file() and words in path.read_text(encoding="utf-8", errors="replace"):
        return
    for name in (page, *others):
        if (folder / name).exists():
            raise DynmlError(f"{folder / name} was not made by this script, so that -f does not replace it; move it.")
