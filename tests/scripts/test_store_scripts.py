import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from dynml.locks.writing import writing_to
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

SCRIPTS = Path(__file__).parents[2] / "scripts_python"
CREATE = "dynml_create_hdf5_dataset.py"
PRINT = "dynml_hdf5_print_architecture.py"
VERIFY = "dynml_hdf5_verify.py"
EXTRACT = "dynml_hdf5_extract_data.py"
COLUMNS = "subject participant subset group samples channels segments runs Hz seconds rank"


def command(name, *arguments):
    return [sys.executable, str(SCRIPTS / name), *map(str, arguments)]


def run(name, *arguments, **settings):
    return subprocess.run(command(name, *arguments), capture_output=True, text=True, timeout=1800, **settings)


def assert_one_sentence(process, *words):
    """A user's mistake: status 2, one line on standard error, no traceback."""
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("Error: ")
    assert process.stderr.count("\n") == 1, process.stderr
    for word in words:
        assert word in process.stderr
    assert process.stdout == ""


class Inputs:
    """Arguments of the creation script, on disk."""

    def __init__(self, folder: Path, n_subjects: int = 3, n_samples: int = 60) -> None:
        self.folder = folder
        self.subjects = [f"sub-{number:03d}" for number in range(n_subjects)]
        generator = np.random.default_rng(0)
        for subject in self.subjects:
            (folder / "ready" / subject).mkdir(parents=True)
            signals = generator.normal(size=(n_samples, 4)).astype(np.float32)
            np.save(folder / "ready" / subject / "run-0.npy", signals)
        config = {"signals": {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 100}}
        (folder / "config.json").write_text(json.dumps(config))
        for subset, chosen in {"training": self.subjects[:-1], "validation": self.subjects[-1:], "testing": []}.items():
            (folder / f"{subset}.txt").write_text("".join(f"{subject}\n" for subject in chosen))
        self.target = folder / "store.hdf5"

    def arguments(self, *options):
        lists = [self.folder / f"{subset}.txt" for subset in ("training", "validation", "testing")]
        return [self.folder / "ready", self.target, self.folder / "config.json", *lists, *options]

    def hidden_files(self):
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    inputs = Inputs(tmp_path_factory.mktemp("made with spaces é"))
    process = run(CREATE, *inputs.arguments())
    assert process.returncode == 0, process.stderr
    return inputs


@pytest.mark.parametrize("name", [CREATE, PRINT, VERIFY, EXTRACT])
def test_help_is_there_and_imports_neither_torch_nor_the_scientific_libraries(name):
    heavy = ["torch", "h5py", "nibabel", "nilearn", "dipy", "scipy", "matplotlib"]
    code = (
        f"import runpy, sys; sys.argv = ['{name}', '--help']\n"
        f"try: runpy.run_path({str(SCRIPTS / name)!r}, run_name='__main__')\n"
        f"except SystemExit as end: assert not end.code\n"
        f"found = [module for module in {heavy} if module in sys.modules]; assert not found, found\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1800)
    assert process.returncode == 0, process.stderr
    assert name in process.stdout


def test_a_store_is_made_and_said_so(made):
    assert faults_of_store(made.target) == []
    assert Store(made.target).subset("validation") == ["sub-002"]
    assert made.hidden_files() == []


def test_an_existing_store_is_refused_without_force(made):
    before = made.target.read_bytes()
    assert_one_sentence(run(CREATE, *made.arguments()), "store.hdf5 exists already; use -f")
    assert made.target.read_bytes() == before


def test_force_replaces_the_store(tmp_path):
    inputs = Inputs(tmp_path)
    with_an_old_store(inputs)
    assert run(CREATE, *inputs.arguments("-f")).returncode == 0
    assert faults_of_store(inputs.target) == []


def test_mistakes_are_told_in_one_sentence(tmp_path):
    inputs = Inputs(tmp_path)
    (tmp_path / "config.json").write_text('{"signals": {"type": "timeseries", "fils": ["run-*.npy"], "files": "a"}}')
    assert_one_sentence(run(CREATE, *inputs.arguments()), "signals.fils", "did you mean 'files'")
    assert_one_sentence(run(CREATE, *inputs.arguments("--froce")), "--froce", "did you mean '--force'")
    assert run(CREATE, *inputs.arguments()[:-1]).returncode == 2
    traceback = run(CREATE, *inputs.arguments("--debug"))
    assert "Traceback" in traceback.stderr
    assert inputs.hidden_files() == []


def test_warnings_are_one_line_each(tmp_path):
    inputs = Inputs(tmp_path)
    signals = np.load(tmp_path / "ready" / "sub-001" / "run-0.npy")
    signals[:, 0] = signals[:, 3]
    np.save(tmp_path / "ready" / "sub-001" / "run-0.npy", signals)
    process = run(CREATE, *inputs.arguments())
    assert process.returncode == 0
    assert process.stderr.startswith("Warning: Group signals: signals are rank-deficient")
    assert process.stderr.count("\n") == 1
    assert "sub-001: rank 3 of 4 (duplicated channels: channel_0 = channel_3)" in process.stderr


def test_printing_shows_every_subject_in_a_table(made):
    process = run(PRINT, made.target)
    assert process.returncode == 0
    header = next(line for line in process.stdout.splitlines() if line.startswith("subject"))
    assert header.split() == COLUMNS.split()
    rows = [line.split() for line in process.stdout.splitlines() if line.startswith("sub-")]
    assert [row[0] for row in rows] == made.subjects
    assert rows[2] == ["sub-002", "sub-002", "validation", "signals", "60", "4", "1", "1", "100", "0.6", "4"]
    assert "format_version: 1" in process.stdout
    assert "training: 2 subjects, 2 participants, 120 samples" in process.stdout
    assert run(PRINT, made.target, "--group", "signals").stdout == process.stdout
    assert_one_sentence(run(PRINT, made.target, "--group", "signal"), "no group 'signal'", "'signals'")


def test_a_reader_that_stops_listening_is_no_fault(made):
    with subprocess.Popen(command(PRINT, made.target), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_verification_passes_and_lists_faults(made, tmp_path):
    process = run(VERIFY, made.target)
    assert process.returncode == 0
    assert "3 subjects read, no faults" in process.stdout
    assert process.stderr == ""
    copy = tmp_path / "copy.hdf5"
    content = bytearray(made.target.read_bytes())
    with h5py.File(made.target) as file:
        for subject in made.subjects[1:]:
            content[file[f"subjects/{subject}/signals/data"].id.get_chunk_info(0).byte_offset + 9] ^= 4
    copy.write_bytes(content)
    process = run(VERIFY, copy)
    assert process.returncode == 2
    lines = process.stderr.splitlines()
    assert len(lines) == 2
    assert "sub-001" in lines[0]
    assert "sub-002" in lines[1]
    copy.write_bytes(content[: len(content) // 2])
    assert_one_sentence(run(VERIFY, copy), "copy.hdf5 is truncated")
    assert_one_sentence(run(VERIFY, tmp_path / "none.h5"), "none.h5 does not exist")


def test_extraction_gives_arrays_and_tables(made, tmp_path):
    source = np.load(made.folder / "ready" / "sub-001" / "run-0.npy").astype(np.float64)
    out = tmp_path / "sub.npy"
    assert run(EXTRACT, made.target, "sub-001", "signals", out).returncode == 0
    np.testing.assert_allclose(np.load(out), (source - source.mean(0)) / source.std(0), atol=1e-5)
    assert_one_sentence(run(EXTRACT, made.target, "sub-001", "signals", out), "sub.npy exists already")
    assert run(EXTRACT, made.target, "sub-001", "signals", out, "-f", "--original_units").returncode == 0
    np.testing.assert_allclose(np.load(out), source, atol=1e-5)
    table = tmp_path / "sub.tsv"
    assert run(EXTRACT, made.target, "sub-001", "signals", table, "--original_units").returncode == 0
    assert table.read_text().splitlines()[0].split("\t") == [f"channel_{number}" for number in range(4)]
    np.testing.assert_allclose(np.loadtxt(table, skiprows=1), source, atol=1e-5)


def test_extraction_names_what_is_unknown(made, tmp_path):
    out = tmp_path / "sub.npy"
    assert_one_sentence(run(EXTRACT, made.target, "sub-01", "signals", out), "no subject 'sub-01'", "did you mean")
    assert_one_sentence(run(EXTRACT, made.target, "sub-001", "bold", out), "no group 'bold'", "signals")
    assert_one_sentence(run(EXTRACT, made.target, "sub-001", "signals", tmp_path / "a.csv"), "must end in .npy or .tsv")
    assert not out.exists()


def with_an_old_store(inputs):
    """Its bytes."""
    with h5py.File(inputs.target, "w") as file:
        file.attrs["format"] = "dynml"
    return inputs.target.read_bytes()


def limit_file_size(n_bytes):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return limit


@pytest.mark.parametrize("n_bytes", [0, 1000, 20_000, 200_000])
def test_a_full_disk_leaves_the_old_store_and_nothing_else(tmp_path, n_bytes):
    inputs = Inputs(tmp_path, n_subjects=10, n_samples=2000)
    before = with_an_old_store(inputs)
    process = run(CREATE, *inputs.arguments("-f"), preexec_fn=limit_file_size(n_bytes))
    assert_one_sentence(process, "store.hdf5 could not be written: File too large")
    assert inputs.target.read_bytes() == before
    assert inputs.hidden_files() == []


def test_a_full_disk_during_extraction(made, tmp_path):
    arguments = (made.target, "sub-001", "signals", tmp_path / "out.npy")
    assert_one_sentence(run(EXTRACT, *arguments, preexec_fn=limit_file_size(100)), "could not be written")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_creation_leaves_the_old_store_or_nothing_and_the_next_sweeps_up(tmp_path):
    inputs = Inputs(tmp_path, n_subjects=60)
    generator = np.random.default_rng(0)
    n_interrupted = 0
    for _ in range(50):
        inputs.target.unlink(missing_ok=True)
        before = with_an_old_store(inputs) if n_interrupted >= 2 else None
        process = subprocess.Popen(command(CREATE, *inputs.arguments("-f")), stderr=subprocess.DEVNULL)
        _wait_for_partial_file(inputs, process, n_bytes=int(generator.uniform(0, 4000 * len(inputs.subjects))))
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = inputs.target.read_bytes() if inputs.target.exists() else None
        if after != before:
            assert faults_of_store(inputs.target) == []
            continue  # the whole store was there before the kill
        assert any(".partial-" in name for name in inputs.hidden_files())
        n_interrupted += 1
        if n_interrupted == 4:
            break
    assert n_interrupted == 4, "the kills came too late to interrupt anything"
    process = run(CREATE, *inputs.arguments("-f"))
    assert process.returncode == 0, process.stderr
    assert faults_of_store(inputs.target) == []
    assert inputs.hidden_files() == []


def _wait_for_partial_file(inputs, process, n_bytes=0):
    """Wait until a creation has written so many bytes, or has come to its end."""

    def has_written():
        paths = [path for path in inputs.folder.glob(".*") if path.name.endswith(f"-{process.pid}")]
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_size >= n_bytes for path in paths)

    while not has_written() and process.poll() is None:
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_creation_cleans_up(tmp_path, number, n_jobs):
    inputs = Inputs(tmp_path, n_subjects=300)
    process = subprocess.Popen(
        command(CREATE, *inputs.arguments("--n_jobs", n_jobs)),
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A process that a shell started in the background ignores SIGINT, by nohup SIGHUP, and so would this one.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    _wait_for_partial_file(inputs, process)
    process.send_signal(number)
    process.communicate(timeout=1800)
    assert process.returncode == 128 + number
    assert not inputs.target.exists()
    assert inputs.hidden_files() == []


def children_of(parent):
    """Processes that a process has made, by /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_workers_of_a_killed_creation_end_with_it(tmp_path):
    inputs = Inputs(tmp_path, n_subjects=1000)
    process = subprocess.Popen(
        command(CREATE, *inputs.arguments("--n_jobs", 3)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 1800
    # Two workers beside the process itself, and the tracker of multiprocessing.
    while not inputs.hidden_files() or len(children_of(process.pid)) < 3:
        assert process.poll() is None, "the creation ended before its workers were seen"
        assert time.monotonic() < deadline
    _wait_for_a_subject(inputs, process)
    workers = children_of(process.pid)
    process.kill()
    process.wait()
    while any(map(lives, workers)):
        assert time.monotonic() < deadline, "workers outlive the creation"
        time.sleep(0.05)


def _wait_for_a_subject(inputs, process):
    deadline = time.monotonic() + 1800
    while not any(path.stat().st_size > 20_000 for path in inputs.folder.glob(".store.hdf5.partial-*")):
        assert process.poll() is None, "the creation ended before it wrote a subject"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_second_creation_of_a_store_is_refused_and_names_the_first(tmp_path):
    inputs = Inputs(tmp_path)
    with writing_to(inputs.target):
        for options in ((), ("-f",)):
            process = run(CREATE, *inputs.arguments(*options))
            assert_one_sentence(process, "store.hdf5 is being written to by another process", str(os.getpid()))
    assert run(CREATE, *inputs.arguments()).returncode == 0
    assert inputs.hidden_files() == []


@pytest.mark.parametrize("content", [b"three years of work", b"\x89HDF\r\n\x1a\n and no store", None])
def test_force_does_not_replace_what_is_no_store(tmp_path, content):
    inputs = Inputs(tmp_path)
    if content is None:
        with h5py.File(inputs.target, "w") as file:
            file["thesis"] = np.arange(3)
    else:
        inputs.target.write_bytes(content)
    before = inputs.target.read_bytes()
    assert_one_sentence(run(CREATE, *inputs.arguments("-f")), "store.hdf5 is not a store that dynml made")
    assert inputs.target.read_bytes() == before


def test_force_replaces_a_damaged_store(tmp_path):
    inputs = Inputs(tmp_path)
    assert run(CREATE, *inputs.arguments()).returncode == 0
    content = inputs.target.read_bytes()
    inputs.target.write_bytes(content[: len(content) // 2])
    assert run(CREATE, *inputs.arguments("-f")).returncode == 0
    assert faults_of_store(inputs.target) == []


def test_a_store_behind_a_link_is_replaced_where_it_lies(tmp_path):
    inputs = Inputs(tmp_path)
    elsewhere = tmp_path / "large disk" / "store.hdf5"
    elsewhere.parent.mkdir()
    inputs.target.symlink_to(elsewhere)
    assert run(CREATE, *inputs.arguments()).returncode == 0
    assert inputs.target.is_symlink()
    assert faults_of_store(elsewhere) == []
