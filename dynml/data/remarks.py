"""What the user should know of the data, gathered over subjects and told in one line a topic."""

from __future__ import annotations

import warnings

from dynml.errors import DataWarning

N_NAMED = 3


class Remarks:
    """Collects remarks, so that five thousand subjects with one peculiarity make one line, not five thousand."""

    def __init__(self) -> None:
        self._details: dict[str, list[str]] = {}

    def add(self, topic: str, detail: str = "") -> None:
        """Note that something holds; `detail` says for whom."""
        self._details.setdefault(topic, [])
        if detail:
            self._details[topic].append(detail)

    def take(self, other: Remarks) -> None:
        """Note all that another one holds."""
        for topic, details in other._details.items():
            self._details.setdefault(topic, []).extend(details)

    def tell(self) -> None:
        """Issue one DataWarning a topic, and forget them."""
        details, self._details = self._details, {}
        for topic, places in details.items():
            more = len(places) - N_NAMED
            named = "; ".join(places[:N_NAMED]) + (f"; and {more} more" if more > 0 else "")
            warnings.warn(f"{topic}: {named}." if named else f"{topic}.", DataWarning, stacklevel=2)
