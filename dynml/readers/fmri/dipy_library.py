"""dipy, which few need: a sentence where it is asked for and not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dynml.errors import DataError


@contextlib.contextmanager
def dipy_needed_for(what: str) -> Iterator[None]:
    """Block that imports from dipy.

    Parameters
    ----------
    what : str
        What it is needed for: the beginning of the sentence.

    Raises
    ------
    DataError
        When dipy is not installed, with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dipy":
            raise
        raise DataError(
            f'{what} needs the package dipy, which is not installed; install it by: pip install "dynml[fmri]".'
        ) from error
