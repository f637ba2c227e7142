"""What is asked for when a model is to be trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of a run that is gone on with: group to settings as they were asked for, before data settled them."""
