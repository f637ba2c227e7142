"""Help texts: types in words, and first the usual settings; `--help-all` shows the rest."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

HELP_ALL = "--help-all"
COLUMNS_OF_OPTIONS = 34
LEFT_OUT_AT_FIRST = ("version", "print_config", "debug")
PLACEHOLDERS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", list[str]: "TEXT,TEXT"}
WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    dict: "mapping",
}


class HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Types in words and defaults beside each option, and the description as it was written."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, **{"max_help_position": COLUMNS_OF_OPTIONS, **settings})

    def _get_type_str(self, action: argparse.Action) -> str | None:
        hint = getattr(action, "_typehint", None)
        if hint is None:
            return super()._get_type_str(action)
        return None if hint is bool or get_origin(hint) is Literal else type_in_words(hint)

    def _get_help_string(self, action: argparse.Action) -> str:
        # A flag that is not given is off, which nobody needs to read.
        is_flag = action.nargs == 0 and action.default is False
        return action.help or "" if is_flag else super()._get_help_string(action)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kinds = [kind for kind in get_args(getattr(action, "_typehint", None)) if kind is not NoneType]
        kind = kinds[0] if kinds else getattr(action, "_typehint", None)
        return PLACEHOLDERS.get(kind, super()._get_default_metavar_for_optional(action))


def type_in_words(hint: Any) -> str:
    """What a setting takes: `int | None` is "whole number or null"."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(type_in_words(part) for part in parts)
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin in (list, tuple):
        first, of, rest = type_in_words(parts[0]).partition(" of ")
        return f"list of {first}s{of}{rest}"
    return WORDS.get(origin or hint, getattr(hint, "__name__", str(hint)))


@contextmanager
def only_shown(
    actions: Collection[argparse.Action], *, usual: Collection[str] | None, unused: Collection[str]
) -> Iterator[int]:
    """Leave settings out of the help inside the block; they are parsed nevertheless.

    Parameters
    ----------
    actions : collection of Action
        All arguments of a parser. Settings are those with a dot in their name.
    usual : collection of str or None
        Settings to show, with their groups ("model.n_states"), each by the first sentence of its help; None: all but
        the unused ones, in full.
    unused : collection of str
        Settings that are never shown.

    Yields
    ------
    int
        How many settings there are to show in all.
    """
    settings = [action for action in actions if "." in action.dest]
    used = [action for action in settings if action.dest not in unused]
    files = [action for action in actions if type(action).__name__ == "_ActionConfigLoad"]
    shown = used if usual is None else [action for action in used if action.dest in usual]
    seldom = [] if usual is None else [action for action in actions if action.dest in LEFT_OUT_AT_FIRST]
    hidden = [action for action in (*settings, *files, *seldom) if action not in shown]
    before = [(action, action.help) for action in (*hidden, *shown)]
    for action in hidden:
        action.help = argparse.SUPPRESS
    for action in shown if usual is not None else []:
        action.help = (action.help or "").partition(". ")[0].removesuffix(".") + "."
    try:
        yield len(used)
    finally:
        for action, text in before:
            action.help = text
