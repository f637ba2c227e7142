"""Every command and every line of Python in the README and the guide runs, in the order in which a reader meets it.

Blocks marked `bash` and `python` are executed, page by page, each page in an empty folder of its own; included scripts
as well. Included outputs are compared with what was printed. Blocks marked `sh` (installation, minutes of work) and all
others (`text`, `yaml`, `json`) are not executed; but a package that a page installs there (`pip install ./folder`) can
be imported from then on, with its entry points.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from installing import install
from shown_output import first_difference

from dynml.simulation import simulate_hmm

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from page_blocks import EXECUTED, blocks_of, run_block  # noqa: E402

PAGES = sorted(page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
MARKS = {*EXECUTED, "sh", "text", "yaml", "json", "toml"}


def executed_blocks(page):
    return [block for block in blocks_of(page) if block.mark in EXECUTED]


def what_a_reader_has(page, folder):
    """Recordings of their own (README), the recipes of the repository, and packages that a page shows."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    for file in {block.file for block in blocks_of(page) if block.mark == "package"}:
        shutil.copytree(file, folder / file.name)
    if page.name == "README.md":
        for number, signals in enumerate(simulate_hmm(n_subjects=4, n_samples=1000, n_channels=6).time_series, 1):
            (folder / "ready" / f"sub-{number:02d}").mkdir(parents=True)
            for run, half in enumerate(np.split(signals, 2), 1):
                np.save(folder / "ready" / f"sub-{number:02d}" / f"run-{run}.npy", half)


@pytest.fixture
def one_thread():
    """Small data on one thread: two test processes that share two cores otherwise wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", [page for page in PAGES if executed_blocks(page)], ids=lambda page: page.stem)
def test_what_a_page_says_runs(page, tmp_path, monkeypatch):
    what_a_reader_has(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names, printed = {"__name__": page.stem}, ""
    for block in blocks_of(page):
        if block.mark in EXECUTED:
            printed += run_block(block, names, str(page))
        elif block.mark == "sh":
            for folder in re.findall(r"^pip install \./(\S+)$", block.text, flags=re.MULTILINE):
                install(tmp_path / folder, tmp_path / "site")
                monkeypatch.syspath_prepend(tmp_path / "site")
        elif block.mark == "output" and executed_blocks(page):
            missing = first_difference(block.text, printed)
            assert missing is None, f"{page.name}, line {block.line}: {missing!r} is not printed; see `make outputs`"
            printed = ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_whether_it_is_executed(page):
    text = page.read_text(encoding="utf-8")
    opened = [line for line in text.splitlines() if line.startswith("```") and line != "```"]
    unmarked = {line.strip("`") for line in opened} - MARKS
    assert {mark for mark in unmarked if not mark.startswith("{")} == set()
    for block in blocks_of(page):
        if block.mark not in (*EXECUTED, "sh"):
            commands = re.search(r"^\$? ?dynml_\w+\.py \S", block.text, flags=re.MULTILINE)
            assert not commands, f"{page.name}, line {block.line}"


def test_the_readme_trains_on_an_array_in_six_lines():
    blocks = [one.text for one in executed_blocks(ROOT / "README.md") if one.mark == "python" and "HMM(" in one.text]
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 6
    assert "predict_proba" in blocks[0]
