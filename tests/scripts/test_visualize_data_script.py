"""The script that draws a store, as a user runs it."""

import csv
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import h5py
import numpy as np
import pytest
from running_scripts import ran_here

from dynml.conversion.creation import create_store

ROOT = Path(__file__).parents[2]
NAME = "dynml_visualize_data.py"
SUBJECTS = ["sub-1", "sub-2", "sub-3", "sub-4", "a & b", "x <y>", "sub-loud"]


def write_store(folder):
    generator = np.random.default_rng(0)
    for subject in SUBJECTS:
        (folder / "ready" / subject).mkdir(parents=True)
        for run in (1, 2):
            signals = generator.normal(size=(700, 3)) * (20 if subject == "sub-loud" else 1)
            if (subject, run) == ("sub-2", 2):
                signals[200:230] = np.nan
            np.save(folder / "ready" / subject / f"run-{run}.npy", signals)
            trials = "onset\tduration\ttrial\n0.5\t1\tleft\n3\t0\tright\n"
            (folder / "ready" / subject / f"run-{run}_events.tsv").write_text(trials)
    group = {"type": "timeseries", "files": ["run-?.npy"], "sampling_frequency": 100, "missing": "segment"}
    group["events"] = "run-?_events.tsv"
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    lists = {"training": SUBJECTS[:5], "validation": SUBJECTS[5:], "testing": []}
    for subset, names in lists.items():
        (folder / f"{subset}.txt").write_text("".join(f"{name}\n" for name in names))
    paths = {subset: folder / f"{subset}.txt" for subset in lists}
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", paths)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made with spaces é")
    with pytest.warns(match="Missing samples were cut out"):
        write_store(folder)
    return folder


@pytest.fixture
def script(made, monkeypatch):
    """Run the script in this process: (status, what it printed, its errors and warnings)."""
    monkeypatch.chdir(made)
    return functools.partial(ran_here, NAME)


def test_a_whole_store_becomes_a_page_without_a_screen(made):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    command = [sys.executable, str(ROOT / "scripts_python" / NAME), "store.hdf5", "signals", "page"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=made, env={**environment, "PYTHONPATH": str(ROOT)}, timeout=1800
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "1 of 7 subjects are outliers:"
    assert lines[1].startswith("  sub-loud: the amplitude is ")
    assert lines[-1] == "page/index.html"
    text = (made / "page" / "index.html").read_text(encoding="utf-8")
    for name in ("sub-1", "a &amp; b", "x &lt;y&gt;", "Missing data: samples outside of segments or masked in 1 of 7"):
        assert name in text
    named = [unquote(piece.split('"')[0]) for piece in text.split('src="')[1:]]
    assert len(named) == len(SUBJECTS) + 2
    assert {path.name for path in (made / "page" / "pictures").iterdir()} == {Path(path).name for path in named}
    assert all((made / "page" / path).read_bytes().startswith(b"\x89PNG") for path in named)
    with (made / "page" / "subjects.tsv").open(encoding="utf-8", newline="") as stream:
        rows = {row["subject"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert set(rows) == set(SUBJECTS)
    assert next(iter(rows)) == "sub-loud"
    assert float(rows["sub-2"]["missing"]) == pytest.approx(30 / 1400)
    assert float(rows["sub-2"]["seconds"]) == pytest.approx(13.7)
    assert rows["sub-2"]["segments"] == "3"
    assert rows["sub-1"]["mains_line"] == "n/a"


def test_subsets_subjects_and_seconds_can_be_chosen_and_an_old_page_goes(script, made):
    assert script("store.hdf5", "signals", "few", "--subset", "validation")[0] == 0
    assert len(list(Path("few/pictures").iterdir())) == 4
    (made / "few" / "pictures" / "mine.png").write_bytes(b"mine")
    chosen = ["--subjects", "sub-3", "a & b", "--max_seconds", 5, "--format", "svg"]
    status, printed, error = script("store.hdf5", "signals", "few", *chosen, "-f")
    assert (status, error) == (0, "")
    assert printed.splitlines()[0] == "With fewer than 5 subjects, outliers are not searched for."
    pictures = sorted(path.name for path in Path("few/pictures").iterdir())
    assert pictures == [
        "all_numbers.svg", "all_spectra.svg", "mine.png", "subject_0001_a_b.svg", "subject_0002_sub-3.svg",
    ]  # fmt: skip
    text = Path("few/index.html").read_text(encoding="utf-8")
    assert "Only the first 5 s" in text
    assert "sub-loud" not in text
    rows = list(csv.DictReader(Path("few/subjects.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    assert [(row["subject"], float(row["seconds"])) for row in rows] == [("a & b", 5.0), ("sub-3", 5.0)]


@pytest.mark.parametrize("name", ["index.html", "subjects.tsv"])
def test_force_does_not_replace_a_page_or_table_of_others(script, made, name):
    (made / f"site {name}").mkdir()
    (made / f"site {name}" / name).write_text("Recordings of mine")
    status, _, error = script("store.hdf5", "signals", f"site {name}", "-f")
    assert status == 2
    assert f"{name} was not made by this script" in error
    assert [path.name for path in (made / f"site {name}").iterdir()] == [name]
    assert (made / f"site {name}" / name).read_text() == "Recordings of mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.hdf5", "signals", "new"], "nowhere.hdf5 does not exist"),
        (["config.json", "signals", "new"], "config.json is not an HDF5 file"),
        (["store.hdf5", "signal", "new"], "has no group 'signal' (did you mean 'signals'?)"),
        (["store.hdf5", "signals", "new", "--subjects", "sub-1", "sub-lout"], "(did you mean 'sub-loud'?)"),
        (["store.hdf5", "signals", "new", "--subset", "testing"], "store.hdf5 has no testing subjects"),
        (["store.hdf5", "signals", "new", "--subset", "validate"], "did you mean 'validation'"),
        (
            ["store.hdf5", "signals", "new", "--subset", "training", "--subjects", "sub-loud"],
            "is in the validation sub",
        ),
        (["store.hdf5", "signals", "new", "--max_seconds", "0"], "--max_seconds is 0.0, but must be a number above 0"),
        (["store.hdf5", "signals", "new", "--format", "pngs"], "--format is 'pngs', but must be one of png, svg"),
        (["store.hdf5", "signals", "new", "--max_second", "3"], "did you mean '--max_seconds'"),
        (["store.hdf5", "signals", "full"], "full exists already and is not empty; use -f"),
        (["store.hdf5", "signals", "config.json", "-f"], "config.json is a file, but must be a folder"),
        (["store.hdf5", "signals", "config.json/new"], "The folder config.json/new could not be made ready"),
    ],
)
def test_mistakes_give_one_sentence_and_status_2_and_no_file(script, arguments, words):
    Path("full").mkdir(exist_ok=True)
    Path("full/thing").write_text("mine")
    before = sorted(Path().rglob("*"))
    status, printed, error = script(*arguments)
    assert (status, printed, error.count("\n")) == (2, "", 1), error
    assert words in error
    assert sorted(Path().rglob("*")) == before


def test_damage_and_subjects_without_the_group_are_told(script, made, tmp_path):
    copy = tmp_path / "copy.hdf5"
    shutil.copy(made / "store.hdf5", copy)
    with h5py.File(copy, "r+") as file:
        del file["subjects/x <y>/signals"]
    assert script(copy, "signals", tmp_path / "lacking", "--subset", "validation")[0] == 0
    assert "left out: x &lt;y&gt;." in (tmp_path / "lacking" / "index.html").read_text(encoding="utf-8")
    status, _, error = script(copy, "signals", tmp_path / "named", "--subjects", "x <y>")
    assert (status, "subject x <y> has no group 'signals'" in error) == (2, True)
    with h5py.File(copy, "r") as file:
        offset = file["subjects/sub-3/signals/data"].id.get_chunk_info(0).byte_offset
    with copy.open("r+b") as stream:
        stream.seek(offset + 40)
        stream.write(b"damage")
    status, _, error = script(copy, "signals", tmp_path / "damaged", "--subjects", "sub-3")
    assert (status, error.count("\n")) == (2, 1)
    assert "the signals of subject sub-3, group signals cannot be read" in error
    assert not (tmp_path / "damaged" / "index.html").exists()


def test_memory_does_not_grow_with_the_length_of_a_recording(script, made, monkeypatch, tmp_path):
    from dynml.analysis import data_measures
    from dynml.store.reading import Store

    monkeypatch.setattr(data_measures, "VALUES_PER_PIECE", 300)
    read, lengths = Store.read, []

    def counted(self, subject, group, start=0, stop=None):
        rows = read(self, subject, group, start, stop)
        lengths.append(len(rows))
        return rows

    monkeypatch.setattr(Store, "read", counted)
    assert script("store.hdf5", "signals", tmp_path / "page", "--subjects", "sub-1")[0] == 0
    assert max(lengths) == 100
    assert sum(lengths) == 1400
