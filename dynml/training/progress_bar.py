"""Progress: a bar each for starts, epochs, batches that take long and the report; a line an epoch in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

from dynml.training.config import RunConfig

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 30.0
SECONDS_BEFORE_INNER_BAR = 3.0


class ProgressBars:
    """A bar for what is done now: the steps before the first epoch, the epochs, batches that take long, the report.

    Time left is that of the bar's own items: the time of starts and compilation is none of the epochs'. Where standard
    error is no terminal (a cluster's log file) each epoch is a line, and other bars write one every half a minute.

    Parameters
    ----------
    config : RunConfig
        Says whether to show any, and the most epochs there can be; a run that converges earlier ends earlier.
    done : int
        Epochs done before (a resumed run).
    shown : bool
        False: no output at all.
    """

    def __init__(self, config: RunConfig, done: int, *, shown: bool) -> None:
        self._shown = shown and config.progress
        self._is_terminal = sys.stderr.isatty()
        self._interval = 0.1 if self._is_terminal else SECONDS_BETWEEN_LINES
        self._n_epochs, self._done = config.max_epochs, done
        self._epochs: tqdm[Any] | None = None
        self._steps: tqdm[Any] | None = None

    def begin_steps(self, name: str, total: int | None, done: int) -> None:
        """Show the steps before the first epoch."""
        settings = {"leave": False, "disable": not self._shown, "mininterval": self._interval}
        self._steps = tqdm(total=total, initial=done, desc=name, unit="step", **settings)

    def step_done(self) -> None:
        """Move on by one of those steps."""
        if self._steps is not None:
            self._steps.update()

    def _begin_epochs(self) -> None:
        """End the steps, and measure the time of epochs from now on."""
        if self._steps is not None:
            self._steps.close()
        is_hidden = not (self._shown and self._is_terminal)
        self._epochs = tqdm(
            total=self._n_epochs, initial=self._done, desc="Training", unit="epoch", disable=is_hidden, mininterval=0.1
        )

    def batches(self, items: Iterable[Item], total: int, start: int, name: str) -> Iterable[Item]:
        """Give items with a bar that shows itself if they take more than a few seconds; the first begin the epochs."""
        if self._epochs is None:
            self._begin_epochs()
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
        text = f"loss {loss:.5g}, best {best_text}"
        self._done += 1
        if self._shown and not self._is_terminal:
            of_all = "" if self._n_epochs is None else f"/{self._n_epochs}"
            print(f"Epoch {self._done}{of_all}: {text}", file=sys.stderr, flush=True)
        elif self._epochs is not None:
            self._epochs.set_postfix_str(text, refresh=False)
            self._epochs.update()

    def close(self) -> None:
        """End the bars and leave the last line of the epochs standing."""
        for bar in (self._steps, self._epochs):
            if bar is not None:
                bar.close()
