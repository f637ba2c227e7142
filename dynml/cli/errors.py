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

from dynml.cli.early_interruption import INTERRUPTED, INTERRUPTED_STATUS, end_at_once
from dynml.cli.shipped import script_called
from dynml.cli.verbosity import took
from dynml.deferred_signals import raise_end
from dynml.errors import DynmlError
from dynml.files import ODD_BYTES
from dynml.ops.memory import bytes_asked_for, is_out_of_memory

EXIT_STATUS = 2
SMALLER = {
    "train": "a smaller sampler.batch_size_training, sampler.window_length or model, or loader.residency lazy",
    "resume": "a smaller --new_batch_size_training, or loader.residency lazy",
    "infer": "--device cpu, or fewer subjects at a time by --subset",
    "extract": "a smaller --window_length, --device cpu, or fewer subjects at a time by --subset",
    "create": "fewer --n_jobs, or shorter runs",
    "apply": "fewer --n_jobs, or shorter runs",
    "simulate": "fewer or shorter subjects",
    "visualize": "fewer subjects at a time",
}
"""What takes less memory, by the first word of a script's name."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
OF_NAMES, LONGEST_SHOWN = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES), 200


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
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors=ODD_BYTES)  # the last words of a long run are printed in any locale
    with warnings.catch_warnings(), _ending_signals_raised():
        warnings.showwarning = _show_in_one_line
        try:
            yield
        except DynmlError as error:
            if debug:
                raise
            report(f"Error: {error}")
            sys.exit(EXIT_STATUS)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(EXIT_STATUS)
        except KeyboardInterrupt:
            if debug:
                raise
            report(INTERRUPTED)
            sys.exit(INTERRUPTED_STATUS)
        except (MemoryError, OSError, RuntimeError) as error:
            sentence = None if debug else _lack_in_words(error)
            if sentence is None:
                raise
            report(f"Error: {sentence}")
            sys.exit(EXIT_STATUS)
        finally:
            sentence = took()
            if sentence is not None:
                report(sentence)


def _lack_in_words(error: MemoryError | OSError | RuntimeError) -> str | None:
    """One sentence on memory or a disk that is full, or a name that is none; None for a fault of the code."""
    if is_out_of_memory(error):
        return memory_in_words(error)
    if isinstance(error, OSError) and error.errno in OF_NAMES and error.filename is not None:
        return f"{str(error.filename)[:LONGEST_SHOWN]} cannot be opened: {error.strerror}."
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        where = "A file" if error.filename is None else str(error.filename)
        return f"{where} could not be written: {error.strerror}."
    return None


@contextlib.contextmanager
def _ending_signals_raised() -> Iterator[None]:
    """Make exceptions of the signals by which terminals and schedulers end a process, unless they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {
        number: signal.signal(number, raise_end)
        for number in numbers
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    if signal.getsignal(signal.SIGINT) is end_at_once:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def memory_in_words(error: BaseException) -> str:
    """One sentence on memory that ran out: where, how much was asked for, and what takes less."""
    where = "on the GPU" if "CUDA" in str(error) or "CUBLAS" in str(error) else "of this machine (or of its limit)"
    size = bytes_asked_for(error)
    asked = "" if size is None else f" when {size / 2**30:.3g} GiB more were asked for"
    kind = script_called(sys.argv[0]).partition("_")[0]
    return f"The memory {where} ran out{asked}; use {SMALLER.get(kind, 'a machine with more of it')}."


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
