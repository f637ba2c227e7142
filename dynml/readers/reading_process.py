"""A process that reads for this one, so that a library that crashes on damaged bytes does not end this one.

The process is started when it is first needed, and then kept: it reads one file after another, and ends with the one
that started it. It is a plain program, started by no means of `multiprocessing`, so that workers may have one, too, and
scripts need no guard around their main part.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dynml.errors import DataCorruptionError, DataError, DynmlError
from dynml.host_memory import largest_size
from dynml.reading_files import encoding_stated, encodings_passed_to, stated_encoding, tell_encoding

PROTOCOL = 5
SECONDS, SECONDS_PER_MEBIBYTE = 30, 2
"""Processor time that a file may take to be read: many times what the slowest takes, but not for ever."""


class _Request(NamedTuple):
    reader: Any
    method: str
    path: Path
    encoding: str | None
    folder: str
    """Where relative paths start."""


class _Answer(NamedTuple):
    result: Any
    fault: BaseException | None
    encodings: list[tuple[Path, str]]


class ReadingProcess:
    """Another process that calls methods of readers, and gives back what they return or raise."""

    def __init__(self) -> None:
        folders = os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dynml.readers.reading_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": folders},
        )
        self.owner = os.getpid()

    def call(self, reader: Any, method: str, path: Path) -> Any:
        """Call a method with a path.

        Raises
        ------
        DataCorruptionError
            When the process ended over it.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        request = pickle.dumps(_Request(reader, method, path, encoding_stated(), os.getcwd()), protocol=PROTOCOL)
        try:
            stdin.write(request)
            stdin.flush()
            answer: _Answer = pickle.load(stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise DataCorruptionError(
                f"{path} could not be read, as if damaged: the library that reads it {self._end()}."
            ) from error
        for file, encoding in answer.encodings:
            tell_encoding(file, encoding)
        if answer.fault is not None:
            raise answer.fault
        return answer.result

    @property
    def runs(self) -> bool:
        """It can be called."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.kill()
        self._process.wait()

    def _end(self) -> str:
        """Say how the process ended."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            code = 0
        self.close()
        if code == -signal.SIGXCPU:
            return "went on for much longer than a file of this size takes"
        if code == -signal.SIGKILL:
            return "was killed, perhaps for memory"
        return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended, with status {code}"


_current: ReadingProcess | None = None
_lock = threading.Lock()
_is_child = False


def is_reading_process() -> bool:
    """Say whether this is the process that reads for another one."""
    return _is_child


def in_own_process(reader: Any, method: str, path: Path) -> Any:
    """Call a reader's method with a path in the reading process, which is started where there is none.

    Raises
    ------
    DynmlError
        What the method raises; `DataCorruptionError` when the process ended over it.
    """
    global _current
    with _lock:
        if _current is None or _current.owner != os.getpid() or not _current.runs:
            _close()
            try:
                _current = ReadingProcess()
            except OSError as error:
                raise DataError(
                    f"The process that reads {path} could not be started: {error.strerror or error}."
                ) from error
        try:
            return _current.call(reader, method, path)
        except KeyboardInterrupt:
            _close()  # its answer, still to come, would be taken for that of the next file
            raise


@atexit.register
def _close() -> None:
    global _current
    if _current is not None and _current.owner == os.getpid():
        _current.close()
    _current = None


def _answered(request: _Request) -> _Answer:
    encodings: list[tuple[Path, str]] = []
    try:
        os.chdir(request.folder)
        _limit_time(request.path)
        with (
            stated_encoding(request.encoding),
            encodings_passed_to(lambda file, encoding: encodings.append((file, encoding))),
        ):
            return _Answer(getattr(request.reader, request.method)(request.path), None, encodings)
    except DynmlError as error:
        error.add_note(traceback.format_exc())  # pickles keep no traceback
        return _Answer(None, error, encodings)
    except MemoryError:
        return _Answer(
            None, DataError(f"{request.path} could not be read: it takes more memory than there is."), encodings
        )


def _limit_time(path: Path) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + SECONDS + SECONDS_PER_MEBIBYTE * (path.stat().st_size >> 20)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit = largest_size()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if limit is not None and (hard < 0 or limit < hard):
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while True:
        try:
            request = pickle.load(requests)
        except (EOFError, OSError):
            return
        pickle.dump(_answered(request), answers, protocol=PROTOCOL)
        answers.flush()


def main() -> None:
    """Read for the process that started this one, until it ends."""
    global _is_child
    _is_child = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not stand among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_memory()
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    from dynml.readers import reading_process

    reading_process.main()
