"""What can go wrong by a user's mistake or a fault of a file, each said in one sentence.

Scripts print the sentence on standard error and end with status 2; only `--debug` shows a traceback. Faults of the
code itself are assertions and never come through here.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_CHARACTERS = 240


class DynmlError(Exception):
    """Root of all errors that a user can mend; its text is one sentence that says what to do."""


class ConfigurationError(DynmlError, ValueError):
    """A setting that cannot be used.

    Parameters
    ----------
    key : str
        Dotted name of the setting, as on the command line (`model.n_states`).
    found : object
        What was given.
    accepted : str
        What would be accepted.
    """

    def __init__(self, key: str, found: object, accepted: str) -> None:
        self.key, self.found, self.accepted = key, found, accepted
        super().__init__(f"{key} is {found!r}, but must be {accepted}.")

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        return type(self), (self.key, self.found, self.accepted)


class DataError(DynmlError, ValueError):
    """Recordings, lists or a store that cannot be used as they are."""


class DataCorruptionError(DataError):
    """Stored bytes that are not those that were written."""


class CheckpointError(DynmlError):
    """An experiment folder, checkpoint or saved model that cannot be used."""


class ResumeRefusedError(CheckpointError):
    """A run that would go on with another model, other data or another seed than it started with."""


class NotWrittenError(DynmlError):
    """A file that the system refused to write: a full disk, no permission."""


class NotPositiveDefiniteError(DynmlError, ValueError):
    """A covariance without a Cholesky factor; the sentence names the state or mode."""


class NonFiniteLossError(DynmlError, ArithmeticError):
    """A loss or gradient that is NaN or infinite."""


class EmptyStateWarning(UserWarning):
    """A state or mode that no sample belongs to."""


class DataWarning(UserWarning):
    """A peculiarity of the data that the user should know and the run can live with."""


def in_one_line(message: BaseException | str | None) -> str:
    """Start of a message of another package on one line, without its full stop; its type where it has no words."""
    text = " ".join(str(message).split()) or type(message).__name__
    return (text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..").rstrip(".")


def shortened(names: Sequence[str], most: int = 3) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def first_of(names: Sequence[str], most: int = 3) -> str:
    """The first of many names, where their number is told beside."""
    return ", ".join([*names[:most], *([".."] if len(names) > most else [])])
