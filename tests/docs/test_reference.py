"""The reference is made from the code: it asks for every family, simulation, script and public object."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import api_objects  # noqa: E402

tables = pytest.importorskip("reference_tables")

REFERENCE = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md")}
LAZY_PACKAGES = ("dynml", "dynml.simulation", "dynml.plotting", "dynml.readers")


def listed_objects():
    """Names on the page of the API, with their modules."""
    return {f"{module}.{name}" for _, module, names in api_objects.listed() for name in names}


def test_the_page_of_settings_asks_for_all_tables():
    asked = set(re.findall(r"^```\{settings\} (.*?)$", REFERENCE["settings"], flags=re.MULTILINE))
    assert asked == {" ".join(filter(None, arguments)) for arguments in tables.everything()}


@pytest.mark.parametrize("arguments", list(tables.everything()), ids=" ".join)
def test_every_setting_has_its_default_and_a_meaning(arguments):
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.*) \|$", tables.tables_of(*arguments), flags=re.MULTILINE)
    assert rows
    assert [name for name, default, text in rows if not text.strip() or default == "``"] == []


def test_the_page_of_scripts_has_the_help_of_all():
    assert "```{script-help}\n" in REFERENCE["scripts"]
    scripts = sorted(path.name for path in (ROOT / "scripts_python").glob("dynml_*.py"))
    assert set(tables.KIND_FOR_HELP) <= set(scripts)
    for name in ("dynml_report.py", "dynml_train_model.py"):
        assert tables.help_of(name, *tables.KIND_FOR_HELP.get(name, ()), "--help").startswith(f"usage: {name}")


def test_the_page_of_the_api_includes_what_is_listed():
    assert ".. include:: api_objects.rst" in REFERENCE["api"]
    assert {line.strip() for line in api_objects.page().splitlines()} >= {
        name.rpartition(".")[2] for name in listed_objects()
    }


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_the_page_of_the_api_has_all_public_objects(package):
    public = {f"{package}.{name}" for name in importlib.import_module(package).__all__ if name != "__version__"}
    assert public <= listed_objects()


def test_the_page_of_the_api_has_what_the_guide_imports():
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)]
    blocks += [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "examples").glob("*.py")]
    used = {
        name.strip()
        for block in blocks
        for names in re.findall(r"^from dynml[\w.]* import ([\w, ]+)$", block, flags=re.MULTILINE)
        for name in names.split(",")
    }
    known = {name.rpartition(".")[2] for name in listed_objects()}
    assert used <= known


@pytest.mark.parametrize("name", sorted(listed_objects()))
def test_what_the_page_of_the_api_names_is_there_with_a_docstring(name):
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(module), attribute).__doc__
