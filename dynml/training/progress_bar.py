"""Progress bars that say what a person wants to know: which epoch, loss, best so far, time left."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 30.0
SECONDS_BEFORE_INNER_BAR = 3.0


class ProgressBars:
    """One bar over epochs, and one over the batches of an epoch that takes long.

    Where standard error is no terminal (a cluster's log file) a line is written every half a minute at most.

    Parameters
    ----------
    n_epochs : int or None
        Most epochs there can be, if that is known; a run that converges earlier ends earlier.
    done : int
        Epochs done before (a resumed run).
    shown : bool
        False: no output at all.
    """

    def __init__(self, n_epochs: int | None, done: int, *, shown: bool) -> None:
        self._shown = shown
        self._interval = 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES
        self._epochs = tqdm(
            total=n_epochs, initial=done, desc="Training", unit="epoch", disable=not shown, mininterval=self._interval
        )

    def batches(self, items: Iterable[Item], total: int, start: int, name: str) -> Iterable[Item]:
        """Give items with a bar that shows itself if they take more than a few seconds."""
        bar: Iterable[Item] = tqdm(
            items,
            total=total,
            initial=start,
            desc=f"  {name}",
            unit="batch",
            leave=False,
            delay=SECONDS_BEFORE_INNER_BAR,
            disable=not self._shown,
            mininterval=self._interval,
        )
        return bar

    def epoch_done(self, loss: float, best: float | None, best_epoch: int | None) -> None:
        """Move on by one epoch."""
        best_text = "none" if best is None else f"{best:.5g} (epoch {best_epoch})"
        self._epochs.set_postfix_str(f"loss {loss:.5g}, best {best_text}", refresh=False)
        self._epochs.update()

    def close(self) -> None:
        """End the bars and leave the last line standing."""
        self._epochs.close()
