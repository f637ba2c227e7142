"""How scripts speak of mistakes: one sentence on standard error, status 2, a traceback only with `--debug`."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from dynml.errors import DynmlError

EXIT_STATUS = 2
INTERRUPTED_STATUS = 130


def report(sentence: str) -> None:
    """Print one line on standard error; of processes that train together, each but the first gives its number."""
    rank = os.environ.get("RANK", "0")
    speaker = "" if rank == "0" else f"[process {rank}] "
    print(speaker + " ".join(sentence.split()), file=sys.stderr, flush=True)


@contextlib.contextmanager
def user_errors_in_one_sentence(debug: bool = False) -> Iterator[None]:
    """Turn a user's mistake inside the block into one sentence and exit status 2.

    Parameters
    ----------
    debug : bool
        Let every error through with its traceback.

    Notes
    -----
    Warnings become one line each, without the source line that Python's own format adds. Only the project's own
    errors are caught, and out-of-memory and broken-pipe conditions; anything else is a fault of the code and keeps
    its traceback.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_in_one_line
        try:
            yield
        except DynmlError as error:
            if debug:
                raise
            report(f"Error: {error}")
            sys.exit(EXIT_STATUS)
        except KeyboardInterrupt:
            if debug:
                raise
            report("Interrupted.")
            sys.exit(INTERRUPTED_STATUS)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(EXIT_STATUS)


def _show_in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if os.environ.get("RANK", "0") == "0":
        report(f"Warning: {message}")
