"""The argument parser of all scripts: jsonargparse, with errors of one sentence that name the nearest valid name.

jsonargparse makes command line and YAML file from the same Config dataclasses, help texts included.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from dynml.cli.config_text import OCTAL, check_argument, config_text
from dynml.cli.errors import EXIT_STATUS, report
from dynml.cli.help import HELP_ALL, HelpFormatter, only_shown
from dynml.cli.verbosity import set_verbosity
from dynml.configuration import config_from, nearest_name
from dynml.errors import DynmlError
from dynml.version import __version__

__all__ = ["Namespace", "ScriptParser"]

set_parsing_settings(docstring_parse_attribute_docstrings=True)


SIXTIES = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?")
"""What YAML reads as a number to the base of sixty."""


class ScriptParser(ArgumentParser):
    """Parser of one script.

    Parameters
    ----------
    description : str
        The script's docstring: its first line says what the script does.
    usual : collection of str or None
        Settings that `--help` shows, by their whole names; `--help-all` shows all. None: both show all.
    unused : collection of str
        Settings that no help shows, because they have no use here.
    beside : str
        What the usage names beside positional arguments and settings: `--grid KEY=VALUES ..`.
    """

    def __init__(
        self,
        description: str | None = None,
        *,
        usual: Collection[str] | None = None,
        unused: Collection[str] = (),
        beside: str = "",
        **settings: Any,
    ) -> None:
        self._usual, self._unused, self._beside = usual, unused, beside
        super().__init__(
            description=description,
            formatter_class=HelpFormatter,
            default_env=False,
            add_help=True,
            allow_abbrev=False,
            **settings,
        )
        self.add_argument("--version", action="version", version=__version__)
        self.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
        self.add_argument("-q", "--quiet", action="store_true", help="Print only warnings, errors and results.")
        self.add_argument("-v", "--verbose", action="store_true", help="Also print the time and memory used.")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None, **settings: Any) -> Namespace:  # type: ignore[override]
        """Parse the command line; a mistake ends the process with one sentence and status 2."""
        given = [_at_home(argument) for argument in (sys.argv[1:] if args is None else args)]
        if HELP_ALL in given:
            self._usual, given = None, ["--help"]
        for argument in given:
            try:
                check_argument(argument)
            except DynmlError as error:
                self.error(str(error), error)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = super().parse_args(self._read_lists(given), namespace, **settings)
        if parsed.quiet and parsed.verbose:
            self.error("Both --quiet and --verbose are given; keep one of them.")
        set_verbosity(quiet=parsed.quiet, verbose=parsed.verbose)
        return parsed

    def format_help(self, *positional: Any, **settings: Any) -> str:
        """Help on the usual settings, or on all that are of use here."""
        with only_shown(self._actions, usual=self._usual, unused=self._unused) as number:
            if self._usual is None and not self._unused:
                return super().format_help(*positional, **settings)
            positionals = " ".join(str(action.metavar) for action in self._actions if not action.option_strings)
            options = " ".join(filter(None, [self._beside, "[--config FILE_OR_RECIPE] [--SETTING VALUE ..]"]))
            self.usage = f"%(prog)s {positionals}\n           {options}"
            shown = super().format_help(*positional, **settings).rstrip()
            self.usage = None
            more = "" if self._usual is None else f"\n\n{number} settings in all: {HELP_ALL} shows them."
            return f"{shown}{more}\n"

    def _read_lists(self, arguments: Sequence[str]) -> list[str]:
        """Give lists written as 10,50 the brackets of YAML, and refuse 1:30, which YAML would read as the number 90."""
        types = {
            option: getattr(action, "_typehint", None) for action in self._actions for option in action.option_strings
        }
        read: list[str] = []
        for argument in arguments:
            option, equals, value = argument.partition("=")
            if equals and option in types:
                read.append(f"{option}={self._value_of(option, types[option], value)}")
            elif read and types.get(read[-1]) is not None:
                read.append(self._value_of(read[-1], types[read[-1]], argument))
            else:
                read.append(argument)
        return read

    def _value_of(self, option: str, typehint: Any, value: str) -> str:
        kinds = get_args(typehint) if get_origin(typehint) in (Union, UnionType) else (typehint,)
        if {int, float}.intersection(kinds) and (SIXTIES.fullmatch(value) or OCTAL.fullmatch(value)):
            self.error(f"{option.lstrip('-')} is {value}, but must be a number.")
        lists = [kind for kind in kinds if get_origin(kind) in (list, tuple)]
        scalars = [kind for kind in kinds if kind not in lists and kind is not NoneType]
        is_bare = not value.lstrip().startswith(("[", "{", "-")) and value not in ("null", "None", "~", "")
        return f"[{value}]" if lists and is_bare and ("," in value or not scalars) else value

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
        return config_from(config_class, values, group)

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
            option = unrecognized[1].split("=")[0].replace(".from_experiment", ".from")
            if option.startswith("-") and not option.startswith("--"):
                return f"{option} is not an argument of this script (a name that begins with - stands behind --)."
            near = nearest_name(option, known) if option.startswith("--") else ""
            return f"{option} is not an argument of this script{near if 'mean' in near else ''}."
        required = re.match(r"the following arguments are required: (.+)", message)
        if required:
            positionals = {action.dest: str(action.metavar) for action in self._actions if not action.option_strings}
            options = {action.dest: action.option_strings[0] for action in self._actions if action.option_strings}
            names = [(positionals | options).get(name, name) for name in required[1].rstrip(".").split(", ")]
            return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing."
        group = re.match(r"Group '(.+?)' does not accept option '(.+?)'", message)
        if group:
            name = f"{group[1]}.{group[2].split('.')[-1]}"
            return f"{name} is not a known setting{nearest_name('--' + name, known)}.".replace("'--", "'")
        typed = re.match(r'Parser key "(.+?)":\s*(.*)', message, flags=re.DOTALL)
        if typed:
            return f"{typed[1]}: {_type_in_words(typed[2])}"
        return " ".join(message.split()).rstrip(".") + "."


def _at_home(argument: str) -> str:
    """A path from ~ on, as shells give it; they leave it as it is behind an equals sign, or in quotes."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + os.path.expanduser(value) if value.startswith("~/") else argument


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _type_in_words(text: str) -> str:
    flat = " ".join(text.split()).rstrip(".") + "."
    several = re.match(
        r"Does not validate against any of the Union subtypes .*?Errors: (.*) Given value type: .*? (Given value: .*)",
        flat,
    )
    if several:
        kinds = " or ".join(dict.fromkeys(kind.strip() for kind in several[1].split("- Expected a ") if kind.strip()))
        flat = f"Expected a {kinds}; {several[2]}".replace("NoneType", "null").replace("Given value", "given")
    for pattern, words in (
        (r"<class '(\w+)'>", r"\1"),
        (r"typing\.Literal\[(.+?)\]", r"value out of \1"),
        (r"Expected a int", "Expected a whole number"),
        (r"Expected a float", "Expected a number"),
    ):
        flat = re.sub(pattern, words, flat)
    return flat
