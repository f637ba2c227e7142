"""What stands before each reader: only plain files reach it, and whatever it raises becomes an error of one sentence.

Libraries raise what they happen to meet in damaged bytes, of any class; some of those written in C end the process. So
the methods of all readers are `guarded`, and those whose library can do the latter, or not end, run in a process of
their own.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from dynml.errors import DataCorruptionError, DataError, DataWarning, DynmlError, in_one_line
from dynml.host_memory import check_claimed_size
from dynml.readers.formats import extension_of
from dynml.readers.reader import FileDescription
from dynml.readers.reading_process import in_own_process, is_reading_process
from dynml.reading_files import check_plain_file, readable

BYTES_OF_SAMPLE = 8
CRASHING = (".set", ".h5", ".hdf5")
COUNTING, DESCRIBE = (".fif", ".fif.gz"), "describe"
"""mne believes the counts in headers of these. Only the description runs elsewhere: it reads the whole header, in a
limited time, and signals of gigabytes need not go from one process to another."""
HDF5_SIGNATURE, BYTES_BEFORE_SIGNATURE = b"\x89HDF\r\n\x1a\n", 512
Result = TypeVar("Result")
Method = Callable[[Any, Path], Result]


def guarded(method: Method[Result]) -> Method[Result]:
    """Guard a reader's method that takes a path.

    Where the library that reads such files can crash, the method runs in another process; the numbers are the same. So
    does the description of files whose header can keep their library busy for ever.

    Raises
    ------
    DataError
        For a path that is no plain file, any fault of its bytes, or signals that memory does not hold.
    """

    @functools.wraps(method)
    def wrapped(reader: Any, path: Path) -> Result:
        check_plain_file(path)
        elsewhere = library_can_crash(path) or (method.__name__ == DESCRIBE and extension_of(path) in COUNTING)
        if elsewhere and not is_reading_process():
            return cast(Result, in_own_process(reader, method.__name__, path))
        with faults_as_errors(path):
            result = method(reader, path)
        if isinstance(result, FileDescription):
            check_claimed_size(path, BYTES_OF_SAMPLE * result.n_samples * result.n_channels, "signals")
        return result

    return wrapped


def library_can_crash(path: Path) -> bool:
    """Say whether a file is read by a library that damaged bytes can crash: scipy for EEGLAB files, and HDF5."""
    extension = extension_of(path)
    return extension in CRASHING or (extension == ".mat" and starts_as_hdf5(path))


def starts_as_hdf5(path: Path) -> bool:
    """Say whether HDF5's signature stands at the start, or after the block of 512 bytes that MATLAB puts before it.

    Raises
    ------
    DataError
        When the file cannot be read.
    """
    with readable(path), path.open("rb") as stream:
        start = stream.read(BYTES_BEFORE_SIGNATURE + len(HDF5_SIGNATURE))
    return start.startswith(HDF5_SIGNATURE) or start.endswith(HDF5_SIGNATURE)


@contextmanager
def faults_as_errors(path: Path, what: str = "") -> Iterator[None]:
    """Turn whatever is raised in the block into one sentence that names the file; keep libraries' warnings quiet.

    Parameters
    ----------
    path : Path
    what : str
        What the file is, to stand before its name.
    """
    name = f"{what} {path}".strip()
    with _quiet_libraries():
        try:
            yield
        except DynmlError:
            raise
        except MemoryError as error:
            raise DataError(f"{name} could not be read: it takes more memory than there is.") from error
        except RecursionError as error:
            raise DataCorruptionError(f"{name} could not be read: it is nested too deep.") from error
        except ImportError as error:
            raise DataError(f"{name} could not be read: {in_one_line(error)}.") from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise DataError(f"{name} could not be read: {error.strerror or in_one_line(error)}.") from error
            raise DataCorruptionError(
                f"{name} could not be read, as if damaged or truncated: {in_one_line(error)} ({type(error).__name__})."
            ) from error


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    logger = logging.getLogger("nibabel.global")  # which speaks of headers without naming their file
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", DataWarning)
            yield
    finally:
        logger.disabled = was_disabled
