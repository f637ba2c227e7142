"""Benchmarks and scripts, which no type checker reads, import names that exist."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["benchmarks", "scripts_python"])
def test_what_is_imported_from_dynml_is_there(folder):
    lacking = [
        f"{path.name}: {module}.{name}"
        for path in sorted((ROOT / folder).glob("*.py"))
        for module, name in _imported(path)
        if not _is_there(module, name)
    ]
    assert lacking == []


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dynml":
            yield from ((node.module, alias.name) for alias in node.names)


def _is_there(module, name):
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None
