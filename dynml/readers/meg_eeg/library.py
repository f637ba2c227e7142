"""The package mne at work: imported when a file asks for it, its warnings kept, its faults as sentences."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dynml.errors import DataCorruptionError, DataError, in_one_line

LOUDNESS = "WARNING"
"""Level of mne's own messages: warnings, which are kept."""
NOT_PASSED_ON = ("naming conventions", "'boundary' events", "Number of records from the header")
"""Parts of mne's warnings about what is no fault here, or is refused or handled by these readers."""


def mne_package(path: Path) -> Any:
    """Import mne.

    Raises
    ------
    DataError
        When it is not installed; says how to install it.
    """
    try:
        return importlib.import_module("mne")
    except ImportError as error:
        raise DataError(
            f"{path} is read by the package mne, which is not installed; install it by: pip install dynml[mne]."
        ) from error


@contextmanager
def mne_reading(path: Path) -> Iterator[list[str]]:
    """Let mne read a file; the list that is given holds, at the end of the block, what mne warned of.

    Raises
    ------
    DataError
        When there is no permission to read the file; `DataCorruptionError` for whatever else mne stumbles over.
    """
    warned: list[str] = []
    logger = logging.getLogger("mne")
    was_disabled = logger.disabled
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logger.disabled = True  # it would print the warnings, too
        try:
            with path.open("rb"):  # for the plain reason where there is no permission
                pass
            yield warned
        except DataError:
            raise
        except (PermissionError, FileNotFoundError) as error:
            reason = error.strerror or in_one_line(error)
            raise DataError(f"{error.filename or path} could not be read: {reason}.") from error
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # mne raises what it happens to meet in the bytes
            raise DataCorruptionError(
                f"{path} could not be read by mne, as if damaged or truncated: {in_one_line(error)}."
            ) from error
        finally:
            logger.disabled = was_disabled
    texts = [in_one_line(one.message) for one in caught if issubclass(one.category, RuntimeWarning)]
    warned.extend(text for text in dict.fromkeys(texts) if not any(part in text for part in NOT_PASSED_ON))
