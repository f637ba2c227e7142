"""How scripts speak of mistakes: one sentence on standard error, status 2, a traceback only with `--debug`."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import TextIO

from dynml.deferred_signals import raise_end
from dynml.errors import DynmlError

EXIT_STATUS = 2
INTERRUPTED_STATUS = 130
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


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
    errors are caught, and out-of-memory, full-disk and broken-pipe conditions; anything else is a fault of the code and
    keeps its traceback. SIGTERM and SIGHUP leave the block as an interruption does, so that what was half-written is
    removed; the status is then 128 and the signal's number.
    """
    with warnings.catch_warnings(), _ending_signals_raised():
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
        except OSError as error:
            if debug or error.errno not in OF_THE_DISK:
                raise
            where = "A file" if error.filename is None else str(error.filename)
            report(f"Error: {where} could not be written: {error.strerror}.")
            sys.exit(EXIT_STATUS)


@contextlib.contextmanager
def _ending_signals_raised() -> Iterator[None]:
    """Make exceptions of the signals by which schedulers and terminals end a process, unless they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {
        number: signal.signal(number, raise_end)
        for number in numbers
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
