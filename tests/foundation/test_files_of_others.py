"""Nothing is deleted that dynml did not make; new files have the permissions that the umask says."""

import os
import resource
import signal
import stat

import pytest
import torch
from file_sets import content_of, write_text
from safetensors.torch import save_file

from dynml.errors import DynmlError
from dynml.files import made_folder, replacing, sweep_partial, write_json
from dynml.training.checkpoints.committed import commit_directory
from dynml.training.checkpoints.experiment_folder import Checkpoint, ExperimentFolder


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def usual_mode(request):
    """Permissions of a new file under a umask."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def test_the_umask_decides_who_may_read(tmp_path, usual_mode):
    folder = ExperimentFolder(tmp_path, "run")
    with folder.locked():
        folder.input_transform = {"mean": torch.zeros(3)}
        folder.save_best_model({"weight": torch.ones(3)}, {"family": "hmm"}, {})
        folder.save_checkpoint(Checkpoint({"weight": torch.ones(3)}, {"step": 1}, {}), {})
        folder.save_parameters({})
    with replacing(tmp_path / "alone.safetensors") as temporary:
        save_file({"weight": torch.ones(3)}, temporary)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {path: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == dict.fromkeys(files, oct(usual_mode))


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    for mode in (0o600, 0o640, 0o664):
        write_json(tmp_path / "a.json", {})
        (tmp_path / "a.json").chmod(mode)
        write_json(tmp_path / "a.json", {"new": 1})
        assert oct(stat.S_IMODE((tmp_path / "a.json").stat().st_mode)) == oct(mode)


def test_what_others_put_into_a_set_stays(tmp_path):
    target = tmp_path / "best_model"
    commit_directory(target, write_text("0"))
    (target / "notes.txt").write_text("mine")
    (target / "figures").mkdir()
    (target / "figures" / "a.png").write_text("mine too")
    for number in range(1, 4):
        commit_directory(target, write_text(str(number)))
        assert content_of(target) == str(number)
        assert (target / "notes.txt").read_text() == "mine"
        assert (target / "figures" / "a.png").read_text() == "mine too"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_model", "best_model.previous"]
    assert sorted(path.name for path in (tmp_path / "best_model.previous").iterdir()) == [
        "content.txt",
        "manifest.json",
    ]


@pytest.mark.parametrize("suffix", [".new", ".previous"])
def test_a_folder_of_others_is_not_in_the_way_for_long_but_stays(tmp_path, suffix):
    target, others = tmp_path / "checkpoint", tmp_path / f"checkpoint{suffix}"
    others.mkdir()
    (others / "thesis.txt").write_text("three years")
    with pytest.raises(DynmlError, match=f"checkpoint{suffix} is in the way .*did not write .thesis.txt.; move it"):
        for number in range(2):
            commit_directory(target, write_text(str(number)))
    assert (others / "thesis.txt").read_text() == "three years"


def test_a_set_on_another_disk_behind_a_link_is_not_touched(tmp_path):
    target, elsewhere = tmp_path / "checkpoint", tmp_path / "elsewhere"
    commit_directory(elsewhere, write_text("linked"))
    target.symlink_to(elsewhere)
    for number in range(3):
        commit_directory(target, write_text(str(number)))
    assert content_of(target) == "2"
    assert content_of(elsewhere) == "linked"


@pytest.mark.parametrize("leftover", ["content.txt", "manifest.json"])
def test_a_set_that_was_half_removed_when_the_run_was_killed_is_removed(tmp_path, leftover):
    target = tmp_path / "checkpoint"
    for number in range(2):
        commit_directory(target, write_text(str(number)))
    for path in (tmp_path / "checkpoint.previous").iterdir():
        if path.name != leftover:
            path.unlink()
    commit_directory(target, write_text("2"))
    assert content_of(target) == "2"
    assert content_of(tmp_path / "checkpoint.previous") == "1"


def test_a_set_that_was_half_written_when_the_run_was_killed_is_removed(tmp_path):
    target = tmp_path / "checkpoint"
    commit_directory(target, write_text("0"))

    def killed(folder):
        (folder / "half.txt").write_text("ha")
        kept = folder.with_name("kept")
        kept.mkdir()
        for path in folder.iterdir():
            (kept / path.name).write_bytes(path.read_bytes())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commit_directory(target, killed)
    assert not (tmp_path / "checkpoint.new").exists()
    (tmp_path / "kept").rename(tmp_path / "checkpoint.new")
    commit_directory(target, write_text("1"))
    assert content_of(target) == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "checkpoint.previous"]


def test_only_partial_files_of_ours_are_swept(tmp_path):
    dead = 1999999999
    names = [
        ".store.hdf5.partial-notes",
        ".store.hdf5.partial-",
        f".store.hdf5.partial-{dead}x",
        f".stor.partial-{dead}",
    ]
    ours = [f".store.hdf5.partial-{dead}", f".store.hdf5.partial-0123abcd-{dead}"]
    for name in names + ours:
        (tmp_path / name).touch()
    assert sorted(path.name for path in sweep_partial(tmp_path / "store.hdf5")) == sorted(ours)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    elsewhere = tmp_path / "disk" / "real.json"
    elsewhere.parent.mkdir()
    elsewhere.write_text("old")
    (tmp_path / "link.json").symlink_to(elsewhere)
    write_json(tmp_path / "link.json", {"a": 1})
    assert (tmp_path / "link.json").is_symlink()
    assert "a" in elsewhere.read_text()
    assert [path.name for path in elsewhere.parent.iterdir()] == ["real.json"]


@pytest.fixture
def small_disk():
    """No file may be larger than a thousand bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, previous)


@pytest.mark.parametrize("large", ["weights", "state", "parameters"])
def test_a_full_disk_is_one_sentence_whichever_library_meets_it(tmp_path, small_disk, large):
    folder = ExperimentFolder(tmp_path, "run")
    with folder.locked():
        small = Checkpoint({"weight": torch.ones(3)}, {}, {})
        folder.save_best_model(small.weights, {}, {})
        numbers = torch.ones(5000)
        with pytest.raises(DynmlError, match=r"run/(best_model|checkpoint) could not be written: "):
            if large == "weights":
                folder.save_best_model({"weight": numbers}, {}, {})
            elif large == "state":
                folder.save_checkpoint(Checkpoint(small.weights, {"moments": numbers}, {}), {})
            else:
                folder.save_best_model(small.weights, {"names": ["x" * 20] * 100}, {})
        assert torch.equal(folder.load_model()[0]["weight"], torch.ones(3))
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "best_model"]


def test_other_faults_stay_what_they_are(tmp_path):
    for fault in (ValueError("a fault of the code"), RuntimeError("shapes differ"), AssertionError()):
        with pytest.raises(type(fault)), replacing(tmp_path / "a.txt"):
            raise fault


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DynmlError, match="The folder .*file/below could not be made: Not a directory"):
        made_folder(tmp_path / "file" / "below")
    with pytest.raises(DynmlError, match="could not be written: Not a directory"):
        write_json(tmp_path / "file" / "a.json", {})
    (tmp_path / "run").write_text("")
    with pytest.raises(DynmlError, match="run could not be made: File exists"):
        ExperimentFolder(tmp_path, "run").locked().__enter__()
    (tmp_path / "locked" / ".lock").mkdir(parents=True)
    with pytest.raises(DynmlError, match="locked cannot be written to: Is a directory"):
        ExperimentFolder(tmp_path, "locked").locked().__enter__()
