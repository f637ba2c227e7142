"""A training of a benchmark, which a signal ends together with the benchmark."""

from __future__ import annotations

from typing import Any


def trained_to_the_end(trainer: Any) -> dict[str, Any]:
    """Train and give the summary; SIGINT and SIGTERM, by which a training ends early and in order, end all."""
    summary: dict[str, Any] = trainer.train_and_validate()
    if trainer.interruption.exit_status:
        raise SystemExit(trainer.interruption.exit_status)
    return summary
