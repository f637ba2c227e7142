"""Directives of the reference: tables of all settings and keys, made from the Configs, and the help of every script.

Nothing of the reference is written by hand, so it has every setting with the default that the code has.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import runpy
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from dynml.cli.commands.simulate import KINDS, config_class
from dynml.cli.commands.train import LOGGERS
from dynml.configuration import defaults_of, documented_settings
from dynml.conversion.bids.config import BidsConfig
from dynml.conversion.keys import parameters_of_steps, sections_of_keys
from dynml.dataset.config import DatasetConfig
from dynml.models.registry import FAMILIES, get_family
from dynml.preparation.chain import STEPS
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.training.config import TrainerConfig

ROOT = Path(__file__).parents[1]
KIND_FOR_HELP = {name: ("hmm",) for name in ("dynml_train_model.py", "dynml_select_model.py", "dynml_simulate_data.py")}
"""Scripts whose help needs a family or a kind."""
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
        return table(config_rows(config_class(name))) if name else all_simulations()
    if what == "trainer":
        return table(config_rows(TrainerConfig))
    if what == "bids":
        return table(config_rows(BidsConfig))
    keys = sections_of_keys() if what == "store" else parameters_of_steps()
    sections = {title: rows for title, rows in keys.items() if rows}
    return "\n".join(
        f"**{title}**\n\n{table([(key, f'`{default}`', text) for key, (default, text) in rows.items()])}\n"
        for title, rows in sections.items()
    )


def all_simulations() -> str:
    """Write the tables of all kinds of simulation."""
    return "\n".join(f"**{kind}**\n\n{table(config_rows(config_class(kind)))}\n" for kind in KINDS)


def rows_of(what: str, name: str, chosen: list[str]) -> str:
    """Write one table of the rows that a page of the guide shows.

    Raises
    ------
    KeyError
        There is no such setting.
    """
    lines = tables_of(what, name).splitlines()
    rows = {line.split("`")[1]: line for line in reversed(lines) if line.startswith("| `")}
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *(rows[setting] for setting in chosen), ""])


def everything() -> Iterator[tuple[str, str]]:
    """Give the arguments of every directive that the reference needs, for the page and its test."""
    yield from (("family", name) for name in sorted(FAMILIES))
    yield from (("logger", name) for name in sorted(LOGGERS))
    yield from (("simulation", ""), ("dataset", ""), ("store", ""), ("bids", ""), ("steps", ""))


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
    """Tables of settings: `family hmm`, `dataset`, `logger comet`, `simulation var`, `store`, `bids`, `steps`.

    `trainer`: all of `TrainerConfig`.

    With names of settings as content only these.
    """

    required_arguments = 1
    optional_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Parse the table as the page that it stands on."""
        what, name = (*self.arguments, "")[:2]
        container = nodes.container()
        chosen = " ".join(self.content).split()
        text = rows_of(what, name, chosen) if chosen else tables_of(what, name)
        lines = StringList(text.splitlines(), source=f"settings {what} {name}")
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


class HelpDirective(Directive):
    """A section for each script, with its help as it is printed."""

    def run(self) -> list[nodes.Node]:
        """Give the sections in the order of the scripts' names."""
        return [self.section(path.name) for path in sorted((ROOT / "scripts_python").glob("dynml_*.py"))]

    def section(self, script: str) -> nodes.section:
        """Give the section of one script."""
        text = help_of(script, *KIND_FOR_HELP.get(script, ()), "--help")
        section = nodes.section(ids=[script.removesuffix(".py").replace("_", "-")], names=[script])
        section += nodes.title("", "", nodes.literal(script, script))
        section += nodes.literal_block(text, text, language="text")
        return section


class PackagesDirective(Directive):
    """The packages of dynml from the top to the bottom of its imports, with the first line of each docstring."""

    def run(self) -> list[nodes.Node]:
        """Parse the table as the page that it stands on."""
        rows = [f"| `{name}/` | {text} |" for name, text in packages().items()]
        container = nodes.container()
        lines = StringList(["| package | what it does |", "|---|---|", *rows, ""], source="packages")
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


class StepsDirective(Directive):
    """Steps of the preparation, or (`simulations`) kinds of simulation, with the first lines of their docstrings."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the table as the page that it stands on."""
        rows = simulation_rows() if self.arguments else step_rows()
        container = nodes.container()
        lines = StringList(["| name | what it is |", "|---|---|", *rows, ""], source="steps")
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


def step_rows() -> list[str]:
    """Give a row for each step; those that learn from the training subjects are marked."""
    rows = []
    for name, step in STEPS.items():
        fitted = " **Fitted.**" if issubclass(step, FittedStep) else ""
        rows.append(f"| `{name}` | {(step.__doc__ or '').partition(chr(10))[0]}{fitted} |")
    return rows


def simulation_rows() -> list[str]:
    """Give a row for each kind of simulation."""
    return [f"| `{kind}` | {(config_class(kind).__doc__ or '').partition(chr(10))[0]} |" for kind in KINDS]


def packages() -> dict[str, str]:
    """Give each package with what its docstring begins with, in the order of the contract of import-linter."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    names = [name.strip().removeprefix("dynml.") for layer in contracts[0]["layers"] for name in layer.split("|")]
    folders = {name: ROOT / "dynml" / name / "__init__.py" for name in names}
    return {name: first_line(path) for name, path in folders.items() if path.exists()}


def first_line(module: Path) -> str:
    """Give the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def setup(app: Any) -> dict[str, Any]:
    """Register the directives with Sphinx."""
    app.add_directive("settings", SettingsDirective)
    app.add_directive("script-help", HelpDirective)
    app.add_directive("packages", PackagesDirective)
    app.add_directive("steps", StepsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
