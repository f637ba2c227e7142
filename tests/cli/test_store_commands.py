"""How the scripts that make stores read who trains, validates and tests."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynml.cli.commands.store_commands import draw_of, lists_of, parse_creation
from dynml.errors import DataError

SCRIPTS = Path(sys.executable).parent


def parsed(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["dynml_create_hdf5_dataset.py", "ready", "out.hdf5", "config.json", *arguments])
    return parse_creation("Make.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["-", "-", "-"], {}),
        (["a.txt", "-", "-"], {"training": Path("a.txt")}),
        (
            ["a.txt", "b.txt", "c.txt"],
            {
                name: Path(f"{name}.txt".replace(name, letter))
                for name, letter in zip(("training", "validation", "testing"), "abc")
            },
        ),
    ],
)
def test_lists_may_be_left_out(monkeypatch, arguments, expected):
    assert lists_of(parsed(monkeypatch, *arguments)) == expected


def test_some_lists_only_are_refused(monkeypatch):
    with pytest.raises(DataError, match="The list of testing subjects is not given; give all three lists"):
        lists_of(parsed(monkeypatch, "a.txt", "b.txt"))


def test_a_draw_is_read(monkeypatch):
    arguments = ["--draw_subsets", "validation=0.1", "testing=0.25", "--seed", "3", "--stratify", "site"]
    assert draw_of(parsed(monkeypatch, *arguments)) == {
        "validation": 0.1,
        "testing": 0.25,
        "seed": 3,
        "stratify": "site",
    }
    assert draw_of(parsed(monkeypatch, "--draw_subsets", "testing=0.5")) == {"testing": 0.5}
    assert draw_of(parsed(monkeypatch)) is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seed", "3"], "--seed is a setting of --draw_subsets"),
        (["--draw_subsets", "training=0.5"], "--draw_subsets has 'training=0.5'"),
        (["--draw_subsets", "testing=0.5", "testing=0.1"], "each once"),
        (["--draw_subsets", "testing=half"], "share is not a number"),
        (["--draw_subsets", "testing"], "share is not a number"),
    ],
)
def test_a_faulty_draw_is_refused(monkeypatch, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        draw_of(parsed(monkeypatch, *arguments))


def run(folder, name, *arguments):
    return subprocess.run([SCRIPTS / name, *arguments], cwd=folder, capture_output=True, text=True)


def test_drawing_adding_and_applying_by_the_scripts(tmp_path):
    for number in range(6):
        folder = tmp_path / ("ready" if number < 4 else "more") / f"sub-{number}"
        folder.mkdir(parents=True)
        np.save(folder / "run.npy", np.random.default_rng(number).normal(size=(200, 4)))
    group = {"type": "timeseries", "files": ["run.npy"], "sampling_frequency": 100}
    group["preparation"] = [{"step": "pca", "explained_variance": 0.8}]
    (tmp_path / "config.json").write_text(json.dumps({"signals": group}))
    (tmp_path / "one.txt").write_text("sub-4\n")
    create = "dynml_create_hdf5_dataset.py"
    done = run(tmp_path, create, "ready", "s.hdf5", "config.json", "--draw_subsets", "testing=0.25")
    assert done.stdout == f"s.hdf5: 3 training, 0 validation, 1 testing subjects; {done.stdout.split('; ')[1]}"
    before = (tmp_path / "s.hdf5").read_bytes()
    for arguments, sentence in [
        (["ready", "s.hdf5", "config.json", "--draw_subsets", "testing=0.25"], "exists already"),
        (["more", "s.hdf5", "config.json", "--add"], "Nothing says who trains"),
        (["more", "s.hdf5", "config.json", "--draw_subsets", "testing=0.25", "--add"], "cannot be given with --add"),
        (["more", "no.hdf5", "config.json", "-", "-", "one.txt", "--add"], "no.hdf5 does not exist"),
        (["more", "t.hdf5", "config.json", "one.txt", "-", "-", "--n_jobs", "0"], "n_jobs is 0"),
    ]:
        failed = run(tmp_path, create, *arguments)
        assert failed.returncode == 2, arguments
        assert sentence in failed.stderr
        assert failed.stderr.count("Error: ") == 1
        assert "Traceback" not in failed.stderr
    assert (tmp_path / "s.hdf5").read_bytes() == before
    done = run(tmp_path, create, "more", "s.hdf5", "config.json", "-", "-", "one.txt", "--add")
    assert (done.returncode, done.stdout.startswith("Added to s.hdf5: 0 training, 0 validation, 1 testing")) == (
        0,
        True,
    )
    done = run(tmp_path, "dynml_apply_preparation.py", "s.hdf5", "more", "applied.hdf5")
    assert done.stdout.startswith("applied.hdf5: 0 training, 0 validation, 2 testing subjects"), done.stderr
    failed = run(tmp_path, "dynml_apply_preparation.py", "s.hdf5", "more", "x.hdf5", "--subset", "test")
    assert failed.returncode == 2
    assert "subset is 'test', but must be one of training, validation, testing" in failed.stderr
