"""Mutated files over all readers: each is read in a forked process with a limit of memory and of time.

Outcomes of a file: `accepted`, `refused` (one sentence, as the scripts print it), `traceback` (any other exception),
`crash` (a signal), `hang` (more than `SECONDS` of processor time, or `WAITING` on the clock), `memory` (more than
`BYTES` beyond what the process had). Each file follows from (seed, format, number) alone, so that it can be made again.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from chaos_mutations import mutated
from chaos_products import archives, products, tables
from chaos_recordings import arrays, electrophysiology, images
from chaos_specimens import Specimen

SECONDS, WAITING, BYTES = 10, 60, 2**30
BATCH = 250
BAD = ("traceback", "crash", "hang", "memory", "silent")


class Bench:
    """A folder of sound files, in which one at a time is damaged and read."""

    def __init__(self, specimen: Specimen, sound: Path, folder: Path) -> None:
        self.specimen, self.folder = specimen, folder
        shutil.copytree(sound, folder)
        self.contents = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    def damage(self, seed: int, number: int) -> tuple[str, str]:
        """Damage one file; gives its name and what was done."""
        key = zlib.crc32(self.specimen.name.encode())
        generator = np.random.default_rng([seed, key, number])
        name = self.specimen.damaged[generator.integers(len(self.specimen.damaged))]
        content, what = mutated(self.contents[self.folder / name], name, generator)
        self.put(self.folder / name, content)
        return name, what

    def restore(self) -> None:
        """Make all files sound again."""
        for path, content in self.contents.items():
            if not path.exists() or path.read_bytes() != content:
                self.put(path, content)

    def put(self, path: Path, content: bytes) -> None:
        """Write one file anew."""
        # A new file: HDF5 would go on with what it knows of one that is still open somewhere.
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def outcome(self) -> dict[str, str]:
        """Read once and say what came of it."""
        try:
            return self.judged(self.specimen.read(self.folder))
        except SystemExit as end:
            text = f"SystemExit({end})"
            return {"outcome": "refused"} if end.code == 2 else {"outcome": "traceback", "exception": text}
        except BaseException as error:
            return _of_exception(error)

    def judged(self, found: object) -> dict[str, str]:
        """Say what it means that files were read without a word."""
        return {"outcome": "accepted"}


def _of_exception(error: BaseException) -> dict[str, str]:
    from dynml.errors import DynmlError

    if isinstance(error, DynmlError):
        return {"outcome": "refused"}
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/dynml/" in frame.filename] or frames
    last = frames[-1]
    return {
        "outcome": "memory" if isinstance(error, MemoryError) else "traceback",
        "exception": type(error).__name__,
        "where": f"{ours[-1].filename.rsplit('/dynml/', 1)[-1]}: {ours[-1].name}",
        "raised_in": f"{'/'.join(last.filename.split('/')[-3:])}: {last.name}",
        "message": " ".join(str(error).split())[:200],
    }


# ---------------------------------------------------------------------- within a forked process


def _limit() -> None:
    """Let memory run out, and hangs end the process; both by the kernel, whatever a library does."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2 * BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _work(bench_class: type[Bench], specimen: Specimen, sound: Path, seed: int, numbers: range, output: int) -> None:
    """Read damaged files one after the other; each result is a line, and a line says what is begun."""
    _limit()
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as temporary:
        bench = bench_class(specimen, sound, Path(temporary) / "sound")
        for number in numbers:
            name, what = bench.damage(seed, number)
            row = {"specimen": specimen.name, "number": number, "file": name, "mutation": what}
            os.write(output, (json.dumps(row) + "\n").encode())
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.setitimer(signal.ITIMER_REAL, WAITING)
            found = bench.outcome()
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            taken = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            if taken > BYTES:
                found = {**found, "outcome": "memory", "message": f"{taken / 2**20:.0f} MiB, {found['outcome']}"}
            os.write(output, (json.dumps({**row, **found}) + "\n").encode())
            bench.restore()
            if taken > BYTES // 4:
                return


def _quick_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _read_all(descriptor: int) -> list[dict[str, Any]]:
    with os.fdopen(descriptor) as stream:
        return [json.loads(line) for line in stream if line.endswith("\n")]


def results_of(
    bench_class: type[Bench], specimen: Specimen, sound: Path, seed: int, numbers: range
) -> Iterator[dict[str, Any]]:
    """Results of some numbers, whatever becomes of the processes that make them."""
    while len(numbers):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _work(bench_class, specimen, sound, seed, numbers, writing)
            finally:
                os._exit(0)
        os.close(writing)
        rows = _read_all(reading)
        _, status = os.waitpid(child, 0)
        done = [row for row in rows if "outcome" in row]
        yield from done
        last = done[-1]["number"] if done else numbers.start - 1
        if rows and "outcome" not in rows[-1]:
            yield rows[-1] | _of_signal(status)
            last = rows[-1]["number"]
        assert rows, f"{specimen.name}: the process ended before it read anything (status {status})"
        numbers = range(last + 1, numbers.stop)


def _of_signal(status: int) -> dict[str, str]:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number in (signal.SIGPROF, signal.SIGALRM):
        return {"outcome": "hang", "exception": signal.Signals(number).name}
    return {"outcome": "crash", "exception": signal.Signals(number).name if number else f"exit status {status >> 8}"}


# ---------------------------------------------------------------------- all of them


def all_specimens() -> list[Specimen]:
    """Every format, in the order of the table."""
    return [*arrays(), *images(), *electrophysiology(), *tables(), *archives(), *products()]


def preload() -> None:
    """Import what reading needs once, before any fork."""
    import mne
    import nibabel
    import nilearn.maskers
    import scipy.io

    import dynml.cli.commands.train
    import dynml.exchange.webdataset_import
    import dynml.models.experiment
    import dynml.readers.fmri.nifti
    import dynml.readers.meg_eeg.reader

    assert all((mne, nibabel, nilearn, scipy, dynml))


def write_sound(specimens: list[Specimen], home: Path) -> dict[str, Path]:
    """Folders of sound files, written and read once by a process of its own, so that this one starts no thread."""
    folders = {one.name: home / f"{number:02d}" for number, one in enumerate(specimens)}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            warnings.simplefilter("ignore")
            for one in specimens:
                folders[one.name].mkdir()
                one.make(folders[one.name])
                with tempfile.TemporaryDirectory() as copy:
                    shutil.copytree(folders[one.name], Path(copy) / "sound")
                    one.read(Path(copy) / "sound")
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "a sound file was refused"
    return folders


def damage_all(
    specimens: list[Specimen], n_files: int, seed: int, n_processes: int, bench_class: type[Bench] = Bench
) -> dict[str, Any]:
    """Read `n_files` damaged files, as many of each format, on several processes."""
    preload()
    each = -(-n_files // len(specimens))
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        sound = write_sound(specimens, home)
        tasks = [(one, range(start, min(start + BATCH, each))) for start in range(0, each, BATCH) for one in specimens]
        children = []
        for slot in range(n_processes):
            child = os.fork()
            if child == 0:
                _slot(bench_class, tasks[slot::n_processes], sound, seed, home / f"results-{slot}.jsonl")
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert not any(statuses), f"statuses of the processes: {statuses}"
        rows = [json.loads(line) for path in home.glob("results-*.jsonl") for line in path.read_text().splitlines()]
    return {"seed": seed, **summary_of(rows)}


def _slot(
    bench_class: type[Bench], tasks: list[tuple[Specimen, range]], sound: dict[str, Path], seed: int, target: Path
) -> None:
    status = 1
    try:
        with target.open("w") as stream:
            for specimen, numbers in tasks:
                for row in results_of(bench_class, specimen, sound[specimen.name], seed, numbers):
                    stream.write(json.dumps(row) + "\n")
                print(".", end="", flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def summary_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by format and outcome, and each kind of failure once, with the numbers of its first files."""
    counts: dict[str, Counter[str]] = {}
    kinds: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["specimen"], row["number"])):
        counts.setdefault(row["specimen"], Counter())[row["outcome"]] += 1
        if row["outcome"] in BAD:
            key = tuple(row.get(name, "") for name in ("specimen", "outcome", "exception", "where", "raised_in"))
            kind = kinds.setdefault(key, {**row, "count": 0, "numbers": []})
            kind["count"] += 1
            kind["numbers"] = [*kind["numbers"], row["number"]][:5]
    failures = [{key: value for key, value in kind.items() if key != "number"} for kind in kinds.values()]
    totals = sum(counts.values(), Counter())
    return {
        "n_files": len(rows),
        "totals": dict(totals),
        "formats": {name: dict(counter) for name, counter in counts.items()},
        "failures": failures,
    }


def one_again(name: str, number: int, seed: int) -> None:
    """Read one mutated file in this process, so that its traceback is seen; the file stays in a new folder."""
    preload()
    specimen = next(one for one in all_specimens() if one.name == name)
    folder = Path(tempfile.mkdtemp())
    (folder / "sound").mkdir()
    specimen.make(folder / "sound")
    bench = Bench(specimen, folder / "sound", folder / "damaged")
    print(*bench.damage(seed, number), f"in {bench.folder}", flush=True)
    specimen.read(bench.folder)
    print("accepted")
