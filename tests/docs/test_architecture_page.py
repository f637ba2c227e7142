"""What docs/architecture.md names is there."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from page_blocks import blocks_of  # noqa: E402

FILE = ROOT / "docs" / "architecture.md"
INCLUDED = "".join(f"```text\n{block.text}```\n" for block in blocks_of(FILE) if block.mark == "text")
PAGE = f"{FILE.read_text(encoding='utf-8')}\n{INCLUDED}"
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / "dynml").rglob("*.py"))}
PLACES = {*SOURCES, *(parent.as_posix() for source in SOURCES for parent in Path(source).parents)}
OUTSIDE = {"dynml_create_hdf5_dataset", "dynml_train_model", "scripts_python"}
"""Names of scripts and their folder."""


def marked(page):
    """Text of the page that stands for code: in backquotes or in blocks of the way of the data."""
    blocks = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", prose)])


def is_place(name):
    name = name.rstrip("/")
    return any(f"/{place}".endswith((f"/{name}", f"/{name}.py")) for place in PLACES)


def unknown_names(page):
    """Files, folders and names of functions, classes and settings that the code does not have."""
    text = marked(page)
    files = set(re.findall(r"[\w/]*\w\.py\b", text))
    folders = set(re.findall(r"\b[a-z_]+/[a-z_]+/?", text)) | set(re.findall(r"\b([a-z_]+)/(?=[\s,;])", text))
    rooms = {room for room in (place.split("/")[1] for place in PLACES if place.count("/") == 1) if "." not in room}
    modules = set(re.findall(rf"(?<![\w/.])(?:{'|'.join(rooms)})\.[a-z_]+\b(?!\.)", text)) - files
    options = set(re.findall(r"\bdataset\.\w+", text))
    names = set(re.findall(r"\b_?[a-z]+(?:_[a-z0-9]+)+\b|\b(?:[A-Z][a-z]+){2,}\b", text)) - OUTSIDE
    defined = set(
        re.findall(r"^\s*(?:def|class) (\w+)|^\s*(?:self\.)?(\w+)\s*[:=]|(\w+)=", "\n".join(SOURCES.values()), re.M)
    )
    known = {name for group in defined for name in group if name}
    lost = {
        name for name in files - {f"{one}.py" for one in OUTSIDE} if not is_place(name) and not (ROOT / name).is_file()
    }
    lost |= {name for name in folders if not is_place(name) and not (ROOT / name).exists()}
    lost |= {name for name in modules - options if not is_place(name.replace(".", "/"))}
    return lost | {name for name in names if name not in known and not is_place(name)}


def test_the_page_names_what_is_there():
    assert sorted(unknown_names(PAGE)) == []


@pytest.mark.parametrize("name", ["no_such_function", "models/nothing.py", "data.gaps", "NoSuchClass", "readers/no/"])
def test_what_is_gone_would_be_found(name):
    assert unknown_names(f"{PAGE}\n`{name}`\n") - unknown_names(PAGE)
