"""What an experiment's folder says of a run, whether it is finished, under way or was broken off."""

from __future__ import annotations

import datetime
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dynml.analysis.log_reading import Logs, check_is_experiment, read_logs
from dynml.errors import CheckpointError, DataWarning, DynmlError
from dynml.files import read_json
from dynml.models.registry import Family, family_of_run
from dynml.training.checkpoints.committed import MANIFEST, fault_of_committed, newest_committed
from dynml.training.checkpoints.experiment_folder import PARAMETERS, WEIGHTS

Kind = Literal["components", "decoding", "sequence", "other"]
LATEST = "parameters_latest.json"


@dataclass(frozen=True, kw_only=True)
class ReportedExperiment:
    """One run as a page tells of it."""

    path: Path
    parameters: dict[str, Any]
    """Content of parameters.json: of the best model, or of the run where there is no such model yet."""
    summary: dict[str, Any]
    """Content of summary.json; {} where the run has not written one."""
    logs: Logs
    """Metric to one value per epoch; {} where no epoch is over."""
    family: Family | None
    """None for a model that was built in Python and is of no registered family."""
    fault_of_model: str | None
    """Why there is no best model to use, in words; None where there is one."""
    model_sha256: str | None
    """Of the best model's weights."""
    is_finished: bool
    last_written: datetime.datetime
    """When the run wrote its last file."""

    @property
    def name(self) -> str:
        """Folder's name."""
        return self.path.name

    @property
    def dataset(self) -> dict[str, Any]:
        """What parameters.json says of the data."""
        return self.parameters.get("dataset") or {}

    @property
    def model(self) -> dict[str, Any]:
        """Settings of the model."""
        return self.parameters.get("model") or {}

    @property
    def family_name(self) -> str | None:
        """As on the command line."""
        return self.parameters.get("family")

    @property
    def kind(self) -> Kind:
        """What is shown of the model: states or modes over time, classes of trials, predictions, or the curves only."""
        if self.family is None:
            return "other"
        if self.family.inference is not None:
            return "components"
        if self.family.decode is not None:
            return "decoding"
        return "sequence" if "score" in self.summary or self.family.write_inference is not None else "other"

    @property
    def component(self) -> str:
        """What one column of alpha is called: state or mode."""
        return "state" if self.family is None else self.family.components.removesuffix("s")

    @property
    def n_epochs(self) -> int:
        """Epochs that are over."""
        return max((len(values) for values in self.logs.values()), default=0)


def read_reported_experiment(path: str | Path) -> ReportedExperiment:
    """Read all that a page needs of an experiment's folder; nothing in it is changed.

    Raises
    ------
    CheckpointError
        When the folder is no experiment, or holds neither a best model nor logs.

    Warns
    -----
    DataWarning
        When the best model is damaged, and the one before it is taken, as inference does.
    """
    folder = Path(path)
    check_is_experiment(folder)
    summary, logs = _json_if_there(folder / "summary.json"), _logs_if_there(folder)
    best = folder.resolve() / "best_model"  # as inference names it, so that a warning is one warning
    usable, warned = newest_committed(best)
    fault = None
    if usable is None:
        fault = fault_of_committed(best) if best.is_dir() else "it has no best model yet"
    if fault is not None and not logs:
        raise CheckpointError(f"There is nothing to report of {folder}: {fault.rstrip('.')}, and it has no logs.")
    parameters = _json_if_there(folder / LATEST if usable is None else usable / PARAMETERS)
    parameters = parameters or _json_if_there(folder / LATEST)
    if not parameters:
        raise CheckpointError(f"{folder} does not say how it was made: it has no {LATEST}.")
    n_epochs = max((len(values) for values in logs.values()), default=0)
    manifest = {} if usable is None else _json_if_there(usable / MANIFEST)
    for warning in warned if usable is not None else ():
        warnings.warn(f"{warning} Using {usable}.", DataWarning, stacklevel=2)
    return ReportedExperiment(
        path=folder.resolve(),
        parameters=parameters,
        summary=summary,
        logs=logs,
        family=family_of_run(parameters),
        fault_of_model=fault,
        model_sha256=(manifest.get("files") or {}).get(WEIGHTS, {}).get("sha256"),
        is_finished=bool(summary) and n_epochs <= int(summary.get("epochs") or n_epochs),
        last_written=_last_written(folder),
    )


def _json_if_there(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return content


def _logs_if_there(folder: Path) -> Logs:
    try:
        return read_logs(folder)
    except DynmlError:
        if any((folder / "logs").glob("*.npy")):
            raise
        return {}


def _last_written(folder: Path) -> datetime.datetime:
    paths = [folder / name for name in ("summary.json", LATEST, "logs/metrics.csv", "checkpoint/manifest.json")]
    times = [path.stat().st_mtime for path in paths if path.exists()] or [folder.stat().st_mtime]
    return datetime.datetime.fromtimestamp(max(times)).astimezone()
