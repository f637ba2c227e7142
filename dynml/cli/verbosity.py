"""How much scripts say: `-q` warnings, errors and results alone; `-v` also what a run took.

Results are printed as ever: they are what was asked for. The level is that of the command line parsed last.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _Level:
    quiet: bool = False
    verbose: bool = False
    began: float = field(default_factory=time.perf_counter)


_level = _Level()


def set_verbosity(*, quiet: bool = False, verbose: bool = False) -> None:
    """Take over what a command line asks for; the time that `took` tells counts from here."""
    _level.quiet, _level.verbose, _level.began = quiet, verbose, time.perf_counter()


def shows_progress() -> bool:
    """Whether bars, and lines of epochs, are wanted."""
    return not _level.quiet


def say(text: str) -> None:
    """Print what helps a reader along, but is no result: what was read, the layers of a model, what to do next."""
    if not _level.quiet:
        print(text, flush=True)


@contextlib.contextmanager
def compilation_told() -> Iterator[None]:
    """Say so, once, when loops are compiled in a block, which takes seconds the first time and none later."""
    from numba.core import event

    class Told(event.Listener):  # type: ignore[misc]
        told = False

        def on_start(self, event: Any) -> None:
            if shows_progress() and not self.told:
                self.told = True
                print("Compiling loops for this processor; later runs find them compiled.", file=sys.stderr, flush=True)

        def on_end(self, event: Any) -> None:
            pass

    listener = Told()
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


def took() -> str | None:
    """What the script took since its command line was parsed, in one sentence; None unless `-v` asks for it."""
    if not _level.verbose:
        return None
    seconds, processor = time.perf_counter() - _level.began, time.process_time()
    return f"Took {seconds:.1f} s ({processor:.1f} s of processor time since the start{_most_memory()})."


def _most_memory() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return ""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f", {most / (2**20 if sys.platform == 'darwin' else 2**10):.0f} MiB of memory at most"
