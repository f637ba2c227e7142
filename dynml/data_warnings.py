"""What the user should know of the data, gathered over subjects, one warning a topic."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynml.errors import DataWarning
from dynml.reading_files import encodings_passed_to

N_NAMED = 3


class DataWarnings:
    """Collects warnings, so that five thousand subjects with one peculiarity make one line, not five thousand."""

    def __init__(self) -> None:
        self._details: dict[str, list[str]] = {}
        self._encodings: set[tuple[Path, str]] = set()

    def add(self, topic: str, detail: str = "") -> None:
        """Note that something holds; `detail` says for whom."""
        self._details.setdefault(topic, [])
        if detail:
            self._details[topic].append(detail)

    def take(self, other: DataWarnings) -> None:
        """Note all that another one holds."""
        for topic, details in other._details.items():
            self._details.setdefault(topic, []).extend(details)

    @contextmanager
    def of_encodings(self) -> Iterator[None]:
        """Note each text that is read in the block and is not UTF-8."""

        def note(path: Path, encoding: str) -> None:
            topic = f"Text that is not UTF-8 was read as {encoding}; if this is wrong, set the key 'encoding'"
            if (path, encoding) not in self._encodings:
                self._encodings.add((path, encoding))
                self.add(topic, str(path))

        with encodings_passed_to(note):
            yield

    def sentences(self) -> list[str]:
        """One sentence a topic."""
        found = []
        for topic, repeated in self._details.items():
            details = list(dict.fromkeys(repeated))  # one file can be read by several processes
            more = len(details) - N_NAMED
            named = "; ".join(details[:N_NAMED]) + (f"; and {more} more" if more > 0 else "")
            found.append(f"{topic}: {named}." if named else f"{topic}.")
        return found

    def tell(self) -> None:
        """Issue one DataWarning a topic, and forget them."""
        sentences, self._details = self.sentences(), {}
        for sentence in sentences:
            warnings.warn(sentence, DataWarning, stacklevel=2)
