"""Blocks of the pages of the guide, and how they are run: for the tests, the outputs that pages show, the pictures.

A page includes scripts of `docs/examples` and outputs of `docs/outputs` by `literalinclude`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXECUTED = ("bash", "python", "file")
KINDS = {".py": "python", ".sh": "sh"}
"""Marks of included examples; others are files that a reader saves."""
_BLOCK = re.compile(r"^```(?:(\w+)|\{literalinclude\} (\S+))\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One marked block of a page."""

    mark: str
    """`bash`, `python`, `sh`, ..; `output`: what was printed; `file`: to be saved; `package`: a part of one."""
    line: int
    """Where it starts on the page, from 1."""
    text: str
    """What the page shows; of an output what was included when the outputs were made."""
    file: Path | None = None
    """The file that it is included from; the folder of a package."""


def blocks_of(page: Path) -> list[Block]:
    """Give the marked blocks of a page in their order."""
    text, blocks = page.read_text(encoding="utf-8"), []
    for found in _BLOCK.finditer(text):
        mark, name, body = found.groups()
        line = text[: found.start()].count("\n") + 1
        if name is None:
            blocks.append(Block(mark, line, body))
            continue
        blocks.append(_included(page.parent / name, line, body))
    return blocks


def _included(file: Path, line: int, options: str) -> Block:
    """Give a block of docs/outputs, of docs/examples, or of a package in docs/examples."""
    if file.parent.name == "outputs":
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        return Block("output", line, shown_part(text, options), file)
    text = file.read_text(encoding="utf-8")
    if file.parent == DOCS / "examples":
        return Block(KINDS.get(file.suffix, "file"), line, shown_part(text, options), file)
    if DOCS / "examples" not in file.parents:
        return Block("text", line, shown_part(text, options))
    return Block("package", line, text, DOCS / "examples" / file.relative_to(DOCS / "examples").parts[0])


def shown_part(text: str, options: str) -> str:
    """Give the lines that options such as `start-at` of `literalinclude` leave, as Sphinx does."""
    lines = text.splitlines(keepends=True)
    for name, value in re.findall(
        r"^:(start-at|start-after|end-at|end-before): *(.*?) *$", options, flags=re.MULTILINE
    ):
        place = next((number for number, line in enumerate(lines) if value in line), None)
        if place is None:
            continue
        beyond = place + (name in ("start-after", "end-at"))
        lines = lines[beyond:] if name.startswith("start") else lines[:beyond]
    return "".join(lines)


def run_block(block: Block, names: dict[str, object], page: str) -> str:
    """Run a block in the present folder, and give what it prints.

    Raises
    ------
    RuntimeError
        A command of the block fails.
    """
    if block.mark == "file":
        Path(block.file.name).write_text(block.text, encoding="utf-8")
        return ""
    if block.mark != "python":
        return run_commands(block.text)
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(compile("\n" * block.line + block.text, page, "exec"), names)
    return shown.getvalue()


def run_commands(text: str) -> str:
    """Run lines as bash would, but the scripts in this process, which has torch and the compiled loops at hand."""
    printed = []
    for is_script, lines in _grouped(re.sub(r"\\\n\s*", "", text).splitlines()):
        printed.append(_run_script(lines[0]) if is_script else _run_by_bash("\n".join(lines)))
    return "\n".join(part for part in printed if part)


def _grouped(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Give each line that calls a script alone, and the others together."""
    others: list[str] = []
    for line in lines:
        if line.startswith("dynml_"):
            if others:
                yield False, others
            yield True, [line]
            others = []
        else:
            others.append(line)
    if others:
        yield False, others


def _run_by_bash(commands: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if done.returncode:
        raise RuntimeError(f"{commands}\nstatus {done.returncode}: {done.stderr}")
    return done.stdout


def _run_script(line: str) -> str:
    before, sys.argv = sys.argv, shlex.split(line)
    shown, told, status = io.StringIO(), io.StringIO(), None
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
            runpy.run_path(str(ROOT / "scripts_python" / sys.argv[0]), run_name="__main__")
    except SystemExit as end:
        status = end.code
    except Exception:
        status = traceback.format_exc()
    finally:
        sys.argv = before
    if status:
        raise RuntimeError(f"{line}\nstatus {status}: {told.getvalue()}")
    return shown.getvalue()
