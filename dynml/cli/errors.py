"""How scripts speak of mistakes: one sentence on standard error, status 2, a traceback only with `--debug`."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from dynml.errors import DynmlError
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
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(EXIT_STATUS)
        except (MemoryError, OSError, RuntimeError) as error:
            if debug or not is_out_of_memory(error):
                raise
            report(f"Error: {memory_in_words(error)}")
            sys.exit(EXIT_STATUS)
        except KeyboardInterrupt:
            if debug:
                raise
            report("Interrupted.")
            sys.exit(INTERRUPTED_STATUS)


def memory_in_words(error: BaseException) -> str:
    """One sentence on memory that ran out: where, how much was asked for, and what takes less."""
    where = "on the GPU" if "CUDA" in str(error) or "CUBLAS" in str(error) else "of this machine (or of its limit)"
    size = bytes_asked_for(error)
    asked = "" if size is None else f" when {size / 2**30:.3g} GiB more were asked for"
    kind = Path(sys.argv[0]).stem.removeprefix("dynml_").partition("_")[0]
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
