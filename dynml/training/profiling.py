"""Where the time of a run goes: a trace of some training batches by torch.profiler, and a table of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dynml.files import made_folder, replacing
from dynml.ops.devices import accelerator

N_BATCHES = 20
N_ROWS = 15
TRACE, TABLE = "trace.json", "profile.txt"


class Profiler:
    """Traces the batches after the first one, which pays for compilation and caches.

    Parameters
    ----------
    folder : Path
        Where the trace (for chrome://tracing or ui.perfetto.dev) and the table go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._on = folder, True
        self._profile: Any = None
        self._n_batches = 0

    def step(self) -> None:
        """Count a batch; begin after the first, end after enough of them."""
        if not self._on:
            return
        if self._profile is None:
            self._begin()
            return
        self._n_batches += 1
        if self._n_batches == N_BATCHES:
            self.close()

    def close(self) -> None:
        """Write and print what was traced, if anything was."""
        self._on, profile, self._profile = False, self._profile, None
        if profile is None:
            return
        profile.__exit__(None, None, None)
        made_folder(self._folder)
        with replacing(self._folder / TRACE, durable=False) as temporary:
            profile.export_chrome_trace(str(temporary))
        where = "device" if accelerator() is not None else "cpu"
        averages = profile.key_averages()
        table = averages.table(sort_by=f"self_{where}_time_total", row_limit=N_ROWS, max_name_column_width=40)
        with replacing(self._folder / TABLE, durable=False) as temporary:
            temporary.write_text(table, encoding="utf-8")
        print(f"{self._n_batches} training batches, by torch operation:\n{table}\nTrace: {self._folder / TRACE}")

    def _begin(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU]
        kind = accelerator()
        if kind is not None and hasattr(ProfilerActivity, kind.type.upper()):
            activities.append(getattr(ProfilerActivity, kind.type.upper()))
        self._profile = profile(activities=activities)
        self._profile.__enter__()
