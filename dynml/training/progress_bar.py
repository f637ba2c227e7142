"""Progress: a bar each for starts, epochs, batches that take long and the report; a line per epoch in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

from dynml.training.config import RunConfig

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 30.0
SECONDS_BEFORE_INNER_BAR = 3.0
N_TIMED, SECONDS_OF_LONG_RUN = 5, 600.0
"""Batches after the first, which pays for compilation, by which a run is said to be long."""


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
        self._cost_is_known = not self._shown

    def begin_steps(self, name: str, total: int | None, done: int) -> None:
        """Show the steps before the first epoch."""
        self._steps = tqdm(
            total=total,
            initial=done,
            desc=name,
            unit="step",
            leave=not self._is_terminal,  # a line of a log file must end
            delay=0.0 if self._is_terminal else SECONDS_BETWEEN_LINES,
            disable=not self._shown,
            mininterval=self._interval,
        )

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
            leave=not self._is_terminal,
            delay=SECONDS_BEFORE_INNER_BAR,
            disable=not self._shown,
            mininterval=self._interval,
        )
        return bar if self._cost_is_known else self._with_cost(bar, total - start, total)

    def _with_cost(self, items: Iterable[Item], n_left: int, total: int) -> Iterator[Item]:
        """Say once, after a few batches, how long the epochs of a long run will take."""
        self._cost_is_known = True
        begin = 0.0
        for number, item in enumerate(items):
            if number == 1:
                begin = time.monotonic()
            elif number == 1 + N_TIMED:
                seconds = (time.monotonic() - begin) / N_TIMED
                n_epochs = max((self._n_epochs or 1) - self._done, 1)
                if seconds * (n_left + (n_epochs - 1) * total) >= SECONDS_OF_LONG_RUN:
                    tqdm.write(self._cost_in_words(seconds, total, n_epochs), file=sys.stderr)
            yield item

    def _cost_in_words(self, seconds: float, n_batches: int, n_epochs: int) -> str:
        epoch = f"About {in_words(seconds * n_batches)} an epoch ({n_batches} batches of {in_words(seconds)})"
        if self._n_epochs is None:
            return f"{epoch}, as the first batches go, without validation."
        most = f"{in_words(seconds * n_batches * n_epochs)} for {n_epochs} epochs at most"
        return f"{epoch}, {most}, as the first batches go, without validation."

    def epoch_done(self, loss: float | None, best: float | None, best_epoch: int | None) -> None:
        """Move on by one epoch."""
        parts = [] if loss is None else [f"loss {loss:.5g}"]
        text = ", ".join(parts if best is None else [*parts, f"best {best:.5g} (epoch {best_epoch})"])
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


def in_words(seconds: float) -> str:
    """A length of time as people say it: `0.12 s`, `48 s`, `3.5 min`, `2.1 h`, `4.0 days`."""
    for limit, unit, name in ((90.0, 1.0, "s"), (5400.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if seconds < limit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds / 86400.0:.2g} days"
