"""Logs, their sums and differences, as written on the command line: diff(validation_loss,training_loss)."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.log_reading import Logs
from dynml.configuration import check_choice, nearest_name
from dynml.errors import ConfigurationError

ACCEPTED = "a log, diff(a,b) or sum(a,b,...)"


@dataclass(frozen=True)
class LogExpression:
    """A log, or a difference or sum of expressions."""

    operation: Literal["log", "diff", "sum"]
    name: str = ""
    """Of the log; empty for the others."""
    parts: tuple[LogExpression, ...] = ()

    @property
    def text(self) -> str:
        """As on the command line."""
        return self.name or f"{self.operation}({','.join(part.text for part in self.parts)})"

    @property
    def in_words(self) -> str:
        """For titles and legends."""
        if self.operation == "log":
            return self.name.replace("_", " ")
        words = [part.in_words if part.operation == "log" else f"({part.in_words})" for part in self.parts]
        return (" − " if self.operation == "diff" else " + ").join(words)

    @property
    def log_names(self) -> list[str]:
        """All logs in it, each once."""
        names = [self.name] if self.operation == "log" else [name for part in self.parts for name in part.log_names]
        return list(dict.fromkeys(names))

    def missing_in(self, logs: Logs) -> list[str]:
        """Logs that it needs and an experiment lacks."""
        return [name for name in self.log_names if name not in logs]

    def values(self, logs: Logs) -> NDArray[np.float64]:
        """Compute it from the logs of one experiment.

        Returns
        -------
        (n_epochs,) float64, as long as the shortest of its logs; NaN where one of them is NaN.
        """
        if self.operation == "log":
            return logs[self.name]
        values = [part.values(logs) for part in self.parts]
        shortest = min(map(len, values))
        stacked = np.stack([part[:shortest] for part in values])
        with np.errstate(invalid="ignore"):
            return stacked[0] - stacked[1] if self.operation == "diff" else stacked.sum(axis=0)


def parse_log_expression(text: str, key: str) -> LogExpression:
    """Read one expression.

    Parameters
    ----------
    text : str
        `training_loss`, `diff(a,b)`, `sum(a,b,c)`, nested as one likes.
    key : str
        The argument that it was given to, for the message.

    Raises
    ------
    ConfigurationError
        For an unknown function, a wrong number of logs, or parentheses that do not match.
    """
    if not any(sign in text for sign in "(),"):
        # A metric of a user's own may be called what Python takes for no name.
        if not text.strip():
            raise ConfigurationError(key, text, ACCEPTED)
        return LogExpression("log", text.strip())
    try:
        return _expression(ast.parse(text.strip(), mode="eval").body, text, key)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigurationError(key, text, ACCEPTED) from error


def _expression(node: ast.expr, text: str, key: str) -> LogExpression:
    """Map names and calls of diff and sum; anything else of Python is refused."""
    match node:
        case ast.Name(id=name):
            return LogExpression("log", name)
        case ast.Call(func=ast.Name(id="diff"), args=[_, _] as arguments, keywords=[]):
            return LogExpression("diff", parts=tuple(_expression(part, text, key) for part in arguments))
        case ast.Call(func=ast.Name(id="sum"), args=[_, _, *_] as arguments, keywords=[]):
            return LogExpression("sum", parts=tuple(_expression(part, text, key) for part in arguments))
        case ast.Call(func=ast.Name(id="diff")):
            raise ConfigurationError(key, text, "diff(a,b) of exactly two logs")
        case ast.Call(func=ast.Name(id="sum")):
            raise ConfigurationError(key, text, "sum(a,b,...) of at least two logs")
        case ast.Call(func=ast.Name(id=function)):
            near = nearest_name(function, ("diff", "sum"))
            raise ConfigurationError(key, text, ACCEPTED + (near if "mean" in near else ""))
    raise ConfigurationError(key, text, ACCEPTED)


def check_logs_are_known(expressions: Iterable[LogExpression], known: Iterable[str], key: str) -> None:
    """Refuse a log that no experiment has.

    Raises
    ------
    ConfigurationError
        Lists the logs that there are, and the nearest name.
    """
    names = sorted(set(known))
    for expression in expressions:
        for name in expression.log_names:
            check_choice(key, name, names)
