"""Every command and every line of Python in the README and the guide runs, in the order in which a reader meets it.

Blocks marked `bash` and `python` are executed, page by page, each page in an empty folder of its own. Blocks marked
`sh` (installation, minutes of work) and all others (`text`, `yaml`, `json`) are not; but a package that a page has
written and installs there (`pip install ./folder`) can be imported from then on, with its entry points.
"""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from installing import install
from shown_output import first_difference

from dynml.simulation import simulate_hmm

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
PAGES = sorted(page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
EXECUTED = ("bash", "python")
SHOWING_OUTPUT = ("tutorial_", "finding_meg", "is_it_dynamics")
"""Pages whose blocks marked `text` are what the blocks before them print."""
MARKS = {*EXECUTED, "sh", "text", "yaml", "json", "toml"}


def blocks_of(page):
    """Marked blocks of a page as (mark, line where it starts, text)."""
    text = page.read_text(encoding="utf-8")
    return [(found[1], text[: found.start()].count("\n") + 1, found[2]) for found in BLOCK.finditer(text)]


def executed_blocks(page):
    return [block for block in blocks_of(page) if block[0] in EXECUTED]


def what_a_reader_has(page, folder):
    """Recordings of their own (README), and the recipes of the repository."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    if page.name == "README.md":
        for number, signals in enumerate(simulate_hmm(n_subjects=4, n_samples=1000, n_channels=6).time_series, 1):
            (folder / "ready" / f"sub-{number:02d}").mkdir(parents=True)
            for run, half in enumerate(np.split(signals, 2), 1):
                np.save(folder / "ready" / f"sub-{number:02d}" / f"run-{run}.npy", half)


def run_commands(text, folder, capsys):
    """Run a block as bash would, but the scripts in this process, which has torch and the compiled loops at hand.

    Returns what was printed.
    """
    others, printed = [], []
    for line in [*re.sub(r"\\\n\s*", "", text).splitlines(), "dynml_end"]:
        if not line.startswith("dynml_"):
            others.append(line)
            continue
        printed.append(run_by_bash("\n".join(others), folder))
        others = []
        if line != "dynml_end":
            printed.append(run_script(line, capsys))
    return "\n".join(printed)


def run_by_bash(commands, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{commands}\n{done.stderr}"
    return done.stdout


def run_script(line, capsys):
    name, *arguments = shlex.split(line)
    capsys.readouterr()
    status = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        try:
            runpy.run_path(str(ROOT / "scripts_python" / name), run_name="__main__")
        except SystemExit as end:
            status = end.code
    output = capsys.readouterr()
    assert not status, f"{line}\nstatus {status}: {output.err}"
    return output.out


@pytest.fixture
def one_thread():
    """Small data on one thread: two test processes that share two cores otherwise wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", [page for page in PAGES if executed_blocks(page)], ids=lambda page: page.stem)
def test_what_a_page_says_runs(page, tmp_path, monkeypatch, capsys):
    what_a_reader_has(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names, printed = {"__name__": page.stem}, ""
    for mark, line, text in blocks_of(page):
        if mark == "bash":
            printed += run_commands(text, tmp_path, capsys)
        elif mark == "sh":
            for folder in re.findall(r"^pip install \./(\S+)$", text, flags=re.MULTILINE):
                install(tmp_path / folder, tmp_path / "site")
                monkeypatch.syspath_prepend(tmp_path / "site")
        elif mark == "python":
            exec(compile("\n" * line + text, str(page), "exec"), names)
            printed += capsys.readouterr().out
        elif mark == "text" and page.stem.startswith(SHOWING_OUTPUT):
            missing = first_difference(text, printed)
            assert missing is None, f"{page.name}, line {line}: {missing!r} is not in the output:\n{printed[-4000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_whether_it_is_executed(page):
    text = page.read_text(encoding="utf-8")
    opened = [line for line in text.splitlines() if line.startswith("```") and line != "```"]
    unmarked = {line.strip("`") for line in opened} - MARKS
    assert {mark for mark in unmarked if not mark.startswith("{")} == set()
    for mark, line, block in blocks_of(page):
        if mark not in (*EXECUTED, "sh"):
            assert not re.search(r"^\$? ?dynml_\w+\.py \S", block, flags=re.MULTILINE), f"{page.name}, line {line}"


def test_the_readme_trains_on_an_array_in_six_lines():
    blocks = [text for mark, _, text in blocks_of(ROOT / "README.md") if mark == "python" and "HMM(" in text]
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 6
    assert "predict_proba" in blocks[0]
