"""Directives of the reference: tables of all settings and keys, made from the Configs, and the help of every script.

Nothing of the reference is written by hand, so it has every setting with the default that the code has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from dynml.cli.commands.simulate import KINDS, config_class
from dynml.cli.commands.train import LOGGERS
from dynml.configuration import defaults_of, documented_settings
from dynml.conversion.keys import parameters_of_steps, sections_of_keys
from dynml.dataset.config import DatasetConfig
from dynml.models.registry import FAMILIES, get_family

ROOT = Path(__file__).parents[1]
Row = tuple[str, str, str]
"""Name, default and meaning."""


def family_settings(name: str) -> dict[str, list[Row]]:
    """Give the rows of each group of settings of a family, by the names of the command line."""
    family = get_family(name)
    own = {"sampler": family.sampler_defaults, "loader": family.loader_defaults}
    groups = {}
    for group, config in family.config_classes().items():
        groups[group] = [
            row for row in config_rows(config, f"{group}.", own.get(group, {})) if row[0] not in family.unused_settings
        ]
    return groups


def config_rows(config: type[Any], prefix: str = "", other_defaults: dict[str, Any] | None = None) -> list[Row]:
    """Give the rows of one Config."""
    texts = documented_settings(config)
    defaults = defaults_of(config) | (other_defaults or {})
    return [(f"{prefix}{name}", in_words(value), texts[name]) for name, value in defaults.items()]


def in_words(default: Any) -> str:
    """Write a default as YAML would take it; "needed" where there is none."""
    if default is dataclasses.MISSING:
        return "needed"
    return f"`{default}`" if isinstance(default, str) and default else f"`{json.dumps(default)}`"


def table(rows: list[Row]) -> str:
    """Write rows as a table of Markdown."""
    lines = [f"| `{name}` | {default} | {text.replace('|', chr(92) + '|')} |" for name, default, text in rows]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *lines, ""])


def tables_of(what: str, name: str) -> str:
    """Write what the directive `settings` asks for."""
    if what == "family":
        groups = family_settings(name)
        return "\n".join(f"**{group}**\n\n{table(rows)}\n" for group, rows in groups.items() if rows)
    if what == "dataset":
        return table(config_rows(DatasetConfig, "dataset."))
    if what == "logger":
        return table(config_rows(LOGGERS[name], f"{name}."))
    if what == "simulation":
        return table(config_rows(config_class(name)))
    keys = sections_of_keys() if what == "store" else parameters_of_steps()
    sections = {title: rows for title, rows in keys.items() if rows}
    return "\n".join(
        f"**{title}**\n\n{table([(key, f'`{default}`', text) for key, (default, text) in rows.items()])}\n"
        for title, rows in sections.items()
    )


def everything() -> Iterator[tuple[str, str]]:
    """Give the arguments of every directive that the reference needs, for the page and its test."""
    yield from (("family", name) for name in sorted(FAMILIES))
    yield from (("logger", name) for name in sorted(LOGGERS))
    yield from (("simulation", name) for name in sorted(KINDS))
    yield from (("dataset", ""), ("store", ""), ("steps", ""))


def help_of(script: str, *arguments: str) -> str:
    """Give what a script prints as its whole help."""
    before, shown = sys.argv, io.StringIO()
    sys.argv = [script, *arguments]
    try:
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            runpy.run_path(str(ROOT / "scripts_python" / script), run_name="__main__")
    finally:
        sys.argv = before
    return shown.getvalue()


class SettingsDirective(Directive):
    """Tables of settings: `family hmm`, `dataset`, `logger comet`, `simulation var`, `store`, `steps`."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the table as the page that it stands on."""
        what, name = (*self.arguments, "")[:2]
        container = nodes.container()
        lines = StringList(tables_of(what, name).splitlines(), source=f"settings {what} {name}")
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


class HelpDirective(Directive):
    """The help of a script as it is printed."""

    required_arguments = 1
    optional_arguments = 3
    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        """Give it as a block of plain text."""
        text = help_of(self.arguments[0], *self.arguments[1:])
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Any) -> dict[str, Any]:
    """Register the directives with Sphinx."""
    app.add_directive("settings", SettingsDirective)
    app.add_directive("script-help", HelpDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
