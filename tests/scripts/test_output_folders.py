"""Folders of results: one writer at a time, and what is no result stays."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynml.cli.outputs.folders import output_folder
from dynml.errors import DataWarning, DynmlError


def test_a_second_writer_into_a_folder_is_refused_and_no_lock_stays(tmp_path):
    out, inside, leave = tmp_path / "new" / "out", threading.Event(), threading.Event()

    def write():
        with output_folder(out, force=False):
            inside.set()
            leave.wait()
            (out / "a.npy").touch()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        inside.wait()
        try:
            for force in (False, True):
                with pytest.raises(DynmlError, match="out is being written to by another process"):
                    output_folder(out, force=force).__enter__()
        finally:
            leave.set()
        writing.result()
    assert [path.name for path in out.iterdir()] == ["a.npy"]
    with pytest.raises(DynmlError, match="is not empty; give another one, or -f"):
        output_folder(out, force=False).__enter__()
    with pytest.warns(DataWarning, match="did not write"), output_folder(out, force=True):
        assert (out / "a.npy").exists()


def test_the_lock_of_a_killed_run_does_not_make_a_folder_full(tmp_path):
    (tmp_path / ".dynml.lock").write_text("")
    with output_folder(tmp_path, force=False):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["parameters_latest.json", "best_model", "checkpoint"])
def test_an_experiment_is_no_folder_for_results(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DynmlError, match=f"is the folder of an experiment .{name}"):
        output_folder(tmp_path, force=True).__enter__()


def test_places_that_cannot_be_a_folder_are_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DynmlError, match="file is a file, not a folder"):
        output_folder(tmp_path / "file", force=True).__enter__()
    with pytest.raises(DynmlError, match="The folder .*below could not be made: Not a directory"):
        output_folder(tmp_path / "file" / "below", force=True).__enter__()


def written(folder, contents):
    """Write over a folder as a script does, the summary last."""
    with output_folder(folder, force=True) as out:
        for name, text in contents.items():
            (out / f"{name}.new").write_text(text)
            (out / f"{name}.new").replace(out / name)


def test_files_of_an_earlier_run_are_told_apart_and_stay(tmp_path, recwarn):
    written(tmp_path, {"a.npy": "1", "b.npy": "1", "summary.json": "1"})
    written(tmp_path, {"a.npy": "2", "b.npy": "2", "summary.json": "2"})
    assert not recwarn.list
    with pytest.warns(DataWarning, match=r"files that this run did not write.*\(b.npy\)"):
        written(tmp_path, {"a.npy": "3", "summary.json": "3"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.npy": "3",
        "b.npy": "2",
        "summary.json": "3",
    }


@pytest.mark.parametrize("writes", [False, True])
def test_a_run_that_breaks_off_leaves_no_summary_for_files_of_two_runs(tmp_path, writes):
    written(tmp_path, {"a.npy": "1", "b.npy": "1", "summary.json": "1"})
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path, force=True) as out:
        if writes:
            (out / "a.npy.new").write_text("2")
            (out / "a.npy.new").replace(out / "a.npy")
        raise KeyboardInterrupt
    assert (tmp_path / "summary.json").exists() != writes
    assert (tmp_path / "summary.json.earlier").exists() == writes
