"""What is asked for when a model is to be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dynml.models.registry import Family


@dataclass(frozen=True)
class RunRequest:
    """All that is needed to build a run: family, paths and one Config per group."""

    family: Family
    experiments_path: str
    experiment_name: str
    hdf5_file: str
    input_group: str
    configs: dict[str, Any]
    resume: Literal["refuse", "auto", "force", "anew"] = "refuse"
    pretrained: str | None = None
