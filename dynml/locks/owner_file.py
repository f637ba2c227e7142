"""Files that say which process holds a lock, and stand for it where the file system has no locks."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

from dynml.process_life import is_alive, machine, started_at

SECONDS_BETWEEN_TOUCHES = 10.0
SECONDS_WITHOUT_TOUCH = 120.0
"""After so long an owner on another machine is taken for dead."""
N_TRIES = 20
UNKNOWN_OWNER = "an unknown process"


class OwnerFile:
    """A file that exists while a process holds a lock, and says which."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = ""
        self._released = threading.Event()

    def try_to_take(self) -> str | None:
        """Make the file; otherwise say whose it is."""
        for _ in range(N_TRIES):
            owner = self.living_owner()
            if owner is not None:
                return owner
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
            self._content = json.dumps(own_record())
            try:
                os.write(descriptor, self._content.encode())
            except OSError:
                self._path.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
            self._released = threading.Event()
            threading.Thread(target=self._touch, args=(self._released,), name="touches a lock", daemon=True).start()
            return None
        return UNKNOWN_OWNER

    def living_owner(self) -> str | None:
        """Say whose the file is, in words; None when there is none, or it was a dead one's and is gone now."""
        content = read_record(self._path)
        if content is None:
            return None
        if self._is_of_the_living(content):
            return in_words(content)
        self._remove(content)
        return None

    def release(self) -> None:
        """Remove the file, if it is this one's."""
        self._released.set()
        if self._content and read_record(self._path) == self._content:
            self._path.unlink(missing_ok=True)
        self._content = ""

    def _is_of_the_living(self, content: str) -> bool:
        record = _parsed(content)
        if record.get("machine") == machine():
            return is_alive(int(record["process"]), record.get("started"))
        silence = self._seconds_since_touch()
        if silence < -SECONDS_BETWEEN_TOUCHES:
            # By a clock ahead of the file system's, which would lie ahead long after its owner's death: from now on
            # it counts as touched now, and a living owner touches it again.
            with contextlib.suppress(OSError):
                os.utime(self._path)
        return silence < SECONDS_WITHOUT_TOUCH

    def _seconds_since_touch(self) -> float:
        """By the clock of the file system: those of the machines may differ."""
        probe = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            probe.touch(exist_ok=False)
            return probe.stat().st_mtime - self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def _remove(self, content: str) -> None:
        """Remove a dead owner's file, but not that of another process that was quicker to take its place."""
        aside = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            os.rename(self._path, aside)
        except FileNotFoundError:
            return
        if read_record(aside) != content:
            with contextlib.suppress(OSError):
                os.link(aside, self._path)
        aside.unlink(missing_ok=True)

    def _touch(self, released: threading.Event) -> None:
        content = self._content
        while not released.wait(SECONDS_BETWEEN_TOUCHES):
            with contextlib.suppress(OSError):
                if read_record(self._path) != content:
                    return
                os.utime(self._path)


def own_record() -> dict[str, Any]:
    """Say which process this is, so that another one can tell whether it lives."""
    process = os.getpid()
    return {
        "process": process,
        "host": socket.gethostname(),
        "machine": machine(),
        "started": started_at(process),
        "token": secrets.token_hex(8),
    }


def read_record(path: Path) -> str | None:
    """Read what a file says of its owner; None when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _parsed(content: str) -> dict[str, Any]:
    """Read a record; empty for one that is not written yet or not one of ours."""
    try:
        record = json.loads(content)
        return record if isinstance(record["process"], int) and isinstance(record["host"], str) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def in_words(content: str | None) -> str:
    """Name the process of a record."""
    record = _parsed(content or "")
    return f"process {record['process']} on {record['host']}" if record else UNKNOWN_OWNER
