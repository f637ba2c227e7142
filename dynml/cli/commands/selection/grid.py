"""A grid of settings as it is written on a command line: KEY=VALUES, where VALUES is a list or a range."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError

RANGE = re.compile(r"(-?\d+):(-?\d+)(?::(\d+))?")
MOST_SETTINGS = 10_000
COMPARABLE_DATA = "dataset.n_training_subjects"
"""The one setting of the data under which the held-out numbers stay the same."""
Setting = dict[str, str]
"""Key to value, as they stand on a command line."""


def settings_of_grid(entries: Sequence[str], groups: Iterable[str]) -> list[Setting]:
    """All combinations of a grid.

    Parameters
    ----------
    entries : sequence of str
        `model.n_states=2:12`, `model.covariance_type=full,diagonal`, ...
    groups : iterable of str
        Groups of settings that there are.

    Raises
    ------
    ConfigurationError
        For an entry that cannot be read, stands twice, or may not differ between the runs.
    """
    values: dict[str, list[str]] = {}
    for entry in entries:
        key, equals, written = entry.partition("=")
        key = key.removeprefix("--")
        if not equals or not written:
            raise ConfigurationError("--grid", entry, "KEY=VALUES, such as model.n_states=2:12")
        _check_key(key, groups)
        if key in values:
            raise ConfigurationError("--grid", entry, f"one list of values of {key}, which has two")
        values[key] = _values(key, written)
    if not values:
        raise ConfigurationError("--grid", None, "at least one KEY=VALUES, such as model.n_states=2:12")
    n_settings = 1
    for own in values.values():
        n_settings *= len(own)
    if n_settings > MOST_SETTINGS:
        raise ConfigurationError("--grid", f"{n_settings} settings", f"at most {MOST_SETTINGS} settings")
    return [dict(zip(values, chosen)) for chosen in itertools.product(*values.values())]


def _check_key(key: str, groups: Iterable[str]) -> None:
    known = list(groups)
    group, dot, name = key.partition(".")
    if not dot or not name or group not in known:
        raise ConfigurationError(
            "--grid", key, f"a setting, GROUP.NAME, with a group out of {', '.join(known)}{nearest_name(group, known)}"
        )
    if key == "trainer.seed":
        raise ConfigurationError("--grid", key, "another setting; --seeds N tries several seeds")
    if group == "dataset" and key != COMPARABLE_DATA:
        raise ConfigurationError(
            "--grid",
            key,
            f"{COMPARABLE_DATA} or a setting of another group: held-out scores of other data cannot be compared",
        )


def _values(key: str, written: str) -> list[str]:
    found = RANGE.fullmatch(written)
    if found:
        first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
        if last < first or step < 1 or (last - first) // step >= MOST_SETTINGS:
            raise ConfigurationError("--grid", f"{key}={written}", "a range FIRST:LAST[:STEP] that goes up")
        return [str(value) for value in range(first, last + 1, step)]
    if ":" in written:
        accepted = "a range of whole numbers FIRST:LAST[:STEP], or values with commas between them"
        raise ConfigurationError("--grid", f"{key}={written}", accepted)
    values = [value.strip() for value in _split(written)]
    if not all(values) or len(set(values)) < len(values):
        raise ConfigurationError("--grid", f"{key}={written}", "values with commas between them, each of them once")
    return values


def _split(written: str) -> list[str]:
    """Split at commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in written:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
