"""The argument parser of all scripts: jsonargparse, with errors of one sentence that name the nearest valid name.

jsonargparse makes command line and YAML file from the same Config dataclasses, help texts included.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from dynml.cli.config_text import check_argument, config_text
from dynml.cli.errors import EXIT_STATUS, report
from dynml.configuration import nearest_name
from dynml.errors import DynmlError
from dynml.version import __version__

__all__ = ["Namespace", "ScriptParser"]

set_parsing_settings(docstring_parse_attribute_docstrings=True)


class ScriptParser(ArgumentParser):
    """Parser of one script.

    Parameters
    ----------
    description : str
        The script's docstring: its first line says what the script does.
    """

    def __init__(self, description: str | None = None, **settings: Any) -> None:
        super().__init__(
            description=description,
            formatter_class=_HelpFormatter,
            default_env=False,
            add_help=True,
            allow_abbrev=False,
            **settings,
        )
        self.add_argument("--version", action="version", version=__version__)
        self.add_argument("--debug", action="store_true", help="Show the traceback of an error.")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None, **settings: Any) -> Namespace:  # type: ignore[override]
        """Parse the command line; a mistake ends the process with one sentence and status 2."""
        for argument in sys.argv[1:] if args is None else args:
            try:
                check_argument(argument)
            except DynmlError as error:
                self.error(str(error), error)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return super().parse_args(list(sys.argv[1:] if args is None else args), namespace, **settings)

    def parse_path(self, path: str | os.PathLike[str], *positional: Any, **settings: Any) -> Namespace:
        """Parse a YAML file that was read and checked here; a fault of it ends the process as any other mistake."""
        try:
            text = config_text(Path(path).expanduser())
        except DynmlError as error:
            self.error(str(error), error)
        return self.parse_string(text, os.path.basename(path), *positional, **settings)

    def build(self, namespace: Namespace, group: str, config_class: type[Any]) -> Any:
        """Make the Config of one group from what was parsed, so that its own checks speak."""
        values = {
            field.name: _plain(namespace[f"{group}.{field.name}"])
            for field in dataclasses.fields(config_class)
            if f"{group}.{field.name}" in namespace
        }
        return config_class(**values)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report one sentence and exit with status 2."""
        if isinstance(ex, DynmlError):
            report(f"Error: {ex}")
        else:
            report(f"Error: {self._in_one_sentence(message)} (See {self.prog} --help.)")
        sys.exit(EXIT_STATUS)

    def _in_one_sentence(self, message: str) -> str:
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        unrecognized = re.match(r"[Uu]nrecognized arguments: (\S+)", message)
        if unrecognized:
            option = unrecognized[1].split("=")[0]
            near = nearest_name(option, known) if option.startswith("--") else ""
            return f"{option} is not an argument of this script{near if 'mean' in near else ''}."
        group = re.match(r"Group '(.+?)' does not accept option '(.+?)'", message)
        if group:
            name = f"{group[1]}.{group[2].split('.')[-1]}"
            return f"{name} is not a known setting{nearest_name('--' + name, known)}.".replace("'--", "'")
        typed = re.match(r'Parser key "(.+?)":\s*(.*)', message, flags=re.DOTALL)
        if typed:
            return f"{typed[1]}: {_type_in_words(typed[2])}"
        return " ".join(message.split()).rstrip(".") + "."


class _HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Types and defaults beside each option, and the description as it was written."""


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _type_in_words(text: str) -> str:
    flat = " ".join(text.split()).rstrip(".") + "."
    for pattern, words in (
        (r"<class '(\w+)'>", r"\1"),
        (r"typing\.Literal\[(.+?)\]", r"value out of \1"),
        (r"Expected a int", "Expected a whole number"),
        (r"Expected a float", "Expected a number"),
    ):
        flat = re.sub(pattern, words, flat)
    return flat
