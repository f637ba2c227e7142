"""YAML files of settings: read in whatever encoding, and looked through before a library makes anything of them.

A few lines of YAML can name each other into billions of values, or nest deeper than a program's stack; and where a key
stands twice, the last silently wins. So its events are counted first, which makes nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynml.errors import DataError
from dynml.reading_files import read_text

DEEPEST, MOST_VALUES, LONGEST_NUMBER, LONG_ARGUMENT = 50, 100_000, 1000, 200
OCTAL = re.compile(r"[-+]?0\d[\d_]*")
"""YAML reads 010 as 8."""
NUMBER = re.compile(r"[-+]?\d[\d_.]*(e[-+]?\d+)?", flags=re.IGNORECASE)
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}


def config_text(path: Path) -> str:
    """Text of a YAML file that can be parsed safely.

    Raises
    ------
    DataError
        When the file is missing, empty or no YAML, a key stands twice, or it would nest or unfold without measure.
    """
    import yaml

    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path} is empty, but must hold settings.")
    try:
        _check_events(path, yaml.parse(text, Loader=yaml.SafeLoader))
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except DataError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = "" if mark is None else f": line {mark.line + 1}, column {mark.column + 1}"
        raise DataError(f"{path} is not valid YAML{position}: {getattr(error, 'problem', None) or error}.") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path} is not valid YAML: {str(error)[:200]}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold settings by name, such as trainer: {{max_epochs: 10}}.")
    return text


def check_argument(argument: str) -> None:
    """Refuse an argument that would nest or unfold without measure where it is parsed as YAML.

    Raises
    ------
    DataError
        Names its first characters.
    """
    import yaml

    if len(argument) < LONG_ARGUMENT:
        return
    text = argument.partition("=")[2] if argument.startswith("--") else argument
    with contextlib.suppress(yaml.YAMLError):  # what is no YAML is taken as text
        _check_events(Path(f"{argument[:40]}.."), yaml.parse(text, Loader=yaml.SafeLoader))


@dataclass
class _Collection:
    """A mapping or a list whose end was not seen yet."""

    anchor: str | None
    is_mapping: bool
    n_values: int = 1
    n_children: int = 0
    keys: set[str] = field(default_factory=set)


def _check_events(path: Path, events: Iterator[Any]) -> None:
    import yaml

    opened: list[_Collection] = []
    sizes: dict[str, int] = {}
    for event in events:
        line = event.start_mark.line + 1
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in {"!", *TAGS}:
            raise DataError(f"{path}, line {line}: the type {tag[:80]!r} is not allowed in settings.")
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Collection(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(opened) > DEEPEST:
                raise DataError(f"{path}, line {line}: more than {DEEPEST} nested lists or mappings.")
        elif isinstance(event, yaml.CollectionEndEvent):
            done = opened.pop()
            _note(opened, done.n_values, done.anchor, sizes)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise DataError(f"{path}, line {line}: *{event.anchor} stands within what it names, or before it.")
            _note(opened, sizes[event.anchor], None, sizes)
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > LONGEST_NUMBER and event.value.lstrip("+-").isdigit():
                raise DataError(f"{path}, line {line}: a number has {len(event.value)} digits.")
            if event.style is None and OCTAL.fullmatch(event.value):
                raise DataError(f"{path}, line {line}: write {event.value[:80]} without zeros before it, or in quotes.")
            _check_key(path, line, opened, event.value, is_plain=event.style is None)
            _note(opened, 1, event.anchor, sizes)
        if opened and opened[-1].n_values > MOST_VALUES:
            raise DataError(f"{path}, line {line}: it unfolds to more than {MOST_VALUES} values.")


def _check_key(path: Path, line: int, opened: list[_Collection], text: str, *, is_plain: bool) -> None:
    if not opened or not opened[-1].is_mapping or opened[-1].n_children % 2:
        return
    if text in opened[-1].keys:
        raise DataError(f"{path}, line {line}: the key {text[:80]!r} is repeated.")
    if is_plain and NUMBER.fullmatch(text):
        raise DataError(
            f"{path}, line {line}: {text[:80]} stands where a setting's name is due; numbers have decimal points, and "
            "lists brackets."
        )
    opened[-1].keys.add(text)


def _note(opened: list[_Collection], n_values: int, anchor: str | None, sizes: dict[str, int]) -> None:
    """Count a complete value in the collection that it stands in."""
    if anchor is not None:
        sizes[anchor] = n_values
    if opened:
        opened[-1].n_values += n_values
        opened[-1].n_children += 1
