"""`dynml COMMAND ..`: every script as a sub-command, by a short name where it has one.

The scripts themselves are run, so that both ways are the same program. A new script needs no line here.
"""

from __future__ import annotations

import ast
import runpy
import sys
import textwrap
from pathlib import Path

from dynml.cli import demo
from dynml.cli.errors import EXIT_STATUS, report
from dynml.cli.shipped import SHORT_NAMES, shipped_folder
from dynml.configuration import nearest_name
from dynml.version import __version__

ABOUT = """usage: dynml COMMAND [ARGUMENTS ..]

Learn the dynamics of the brain from many subjects' MEG, EEG and fMRI.

"""
MORE = "More on each: dynml COMMAND --help. The scripts dynml_*.py are the same commands."
DEMO = "Train an HMM on real fMRI, from images to a report: dynml demo [OUT_FOLDER]"


def main() -> None:
    """Run the sub-command that the command line names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(overview())
    elif name == "--version":
        print(__version__)
    elif name == "demo":
        sys.argv = ["dynml demo", *arguments]
        demo.main()
    else:
        script = commands().get(name.replace("-", "_"))
        if script is None:
            known = nearest_name(name, [*_shown(), "demo"])
            report(f"Error: {name} is not a command of dynml{known}. (See dynml --help.)")
            sys.exit(EXIT_STATUS)
        script_main = runpy.run_path(str(script))["main"]
        sys.argv = [f"dynml {name}", *arguments]
        script_main()


def commands() -> dict[str, Path]:
    """Every name that a script can be called by, the short ones included, and the script."""
    paths = sorted(shipped_folder("scripts_python").glob("dynml_*.py"))
    scripts = {path.stem.removeprefix("dynml_"): path for path in paths}
    return scripts | {short: scripts[name] for short, name in SHORT_NAMES.items() if name in scripts}


def overview() -> str:
    """Help of `dynml`: all commands, each with the first line of what its script says of itself."""
    lines = {"demo": DEMO} | {name: _first_line(path) for name, path in _shown().items()}
    width = max(map(len, lines))
    listed = "\n".join(
        f"  {name:<{width}}  {textwrap.shorten(line, 86, placeholder=' ..')}" for name, line in lines.items()
    )
    return f"{ABOUT}commands:\n{listed}\n\n{MORE}"


def _shown() -> dict[str, Path]:
    """Each script once, those with a short name first, in the order of a usual analysis."""
    every = commands()
    short = {name: every[name] for name in SHORT_NAMES if name in every}
    return short | {name.replace("_", "-"): path for name, path in every.items() if path not in short.values()}


def _first_line(script: Path) -> str:
    described = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return described.partition("\n")[0]


if __name__ == "__main__":
    main()
