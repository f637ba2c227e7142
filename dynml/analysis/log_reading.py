"""Logs of experiments as they lie on disk, also of runs that are still writing them.

A log is one value per epoch: (n_epochs,) float64, NaN where an epoch has none.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import CheckpointError, ConfigurationError, DataWarning, DynmlError, first_of
from dynml.files import ODD_BYTES, read_json
from dynml.reading_files import is_folder, is_there

ENDING = "_per_epoch.npy"
MARKS_OF_AN_EXPERIMENT = ("logs", "summary.json", "parameters_latest.json", "best_model", "checkpoint")
N_TRIES, PAUSE_SECONDS = 5, 0.05
Logs = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class ExperimentLogs:
    """One experiment as the pictures of logs need it."""

    name: str
    logs: Logs
    """Metric to its values, (n_epochs,) each; lengths may differ while the run writes."""
    best_epoch: int | None = None
    """From 1; of a running experiment the best so far. None where no epoch had a finite value, or it is unknown."""
    kept: str | None = None
    """What is kept, where no value of an epoch has chosen it; there is no best epoch then."""
    running: bool = False
    """The run has not written its summary yet, or has gone on since."""
    loss_name: str | None = None
    """What training_loss and validation_loss are (`free_energy`, ...); None while it is unknown."""
    fingerprint: str | None = None
    """Of the data that the run was trained on."""
    n_epochs: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_epochs", max((len(values) for values in self.logs.values()), default=0))


def read_experiments(
    paths: Sequence[str | Path], names: Sequence[str] | None = None, *, key: str = "--names"
) -> list[ExperimentLogs]:
    """Read the logs and the state of several experiments.

    Parameters
    ----------
    paths : sequence of str or Path
        Experiment folders.
    names : sequence of str, optional
        Their names in legends and tables; default: the names of their folders, distinguished by as much of the path as
        that needs.
    key : str
        How the caller's setting of the names is called, for messages.

    Raises
    ------
    CheckpointError
        When a folder is no experiment, has no logs, or is given twice.
    ConfigurationError
        When there are not as many different names as experiments.
    """
    resolved = [Path(path).resolve() for path in paths]
    for position, path in enumerate(resolved):
        if path in resolved[:position]:
            raise CheckpointError(f"The experiment {paths[position]} is given twice.")
    if names is not None and (len(names) != len(paths) or len(set(names)) != len(paths)):
        count = f"{len(paths)} different names" if len(paths) > 1 else "one name"
        raise ConfigurationError(key, " ".join(names), f"{count}, one for each experiment")
    return [read_experiment(path, name) for path, name in zip(paths, names or names_of_experiments(paths))]


def read_experiment(path: str | Path, name: str | None = None) -> ExperimentLogs:
    """Read one experiment: its logs, its best epoch, and whether it still runs.

    Notes
    -----
    The summary is read before the logs. A run that goes on has more epochs in its logs than its summary says; a run
    without a summary is going on, or was killed. The best epoch of such a run is where `best_value`, the running
    best of the monitored value, last changed.
    """
    folder = Path(path)
    check_is_experiment(folder)
    summary = _json_if_there(folder / "summary.json")
    logs = read_logs(folder)
    n_epochs = max(len(values) for values in logs.values())
    epochs = summary.get("epochs")
    running = not summary or (isinstance(epochs, int) and n_epochs > epochs)
    best = _best_so_far(folder, logs) if running or "best_epoch" not in summary else summary["best_epoch"]
    parameters = _json_if_there(folder / "parameters_latest.json")
    # Of the manifest while the run goes on, which has no summary yet.
    kept = (_json_if_there(folder / "best_model" / "manifest.json") if running else summary).get("kept")
    return ExperimentLogs(
        name=name if name is not None else folder.resolve().name,
        logs=logs,
        best_epoch=None if kept else best,
        kept=kept,
        running=running,
        loss_name=summary.get("loss"),
        fingerprint=(parameters.get("dataset") or {}).get("fingerprint"),
    )


def check_is_experiment(folder: Path) -> None:
    """Refuse a folder that no run has written to.

    Raises
    ------
    CheckpointError
        With the experiments in it, when it is the folder of several.
    """
    if not is_folder(folder):
        raise CheckpointError(f"The experiment {folder} {'is not a folder' if is_there(folder) else 'does not exist'}.")
    if any(is_there(folder / mark) for mark in MARKS_OF_AN_EXPERIMENT):
        return
    inside = sorted(path.parent for path in folder.glob("*/logs") if is_folder(path))
    shown = first_of([str(path) for path in inside])
    hint = f"give the experiments in it ({shown})" if inside else "it has no logs, parameters or model"
    raise CheckpointError(f"{folder} is not an experiment: {hint}.")


def read_logs(experiment: str | Path) -> Logs:
    """Read all logs of an experiment folder, metric to one value per epoch.

    Raises
    ------
    CheckpointError
        When the folder is no experiment, has no logs yet, or one of them is damaged.
    """
    folder = Path(experiment)
    check_is_experiment(folder)
    paths = sorted((folder / "logs").glob(f"*{ENDING}"))
    found = {path.name.removesuffix(ENDING): _read_log(path) for path in paths}
    logs = {name: values for name, values in found.items() if values is not None and len(values)}
    if not logs:
        raise CheckpointError(
            f"The experiment {folder} has no logs (no file logs/*{ENDING}); a run writes them after its first epoch."
        )
    return logs


def _read_log(path: Path) -> NDArray[np.float64] | None:
    """Read one log, several times if it is being replaced; None when it is gone for good."""
    reason = ""
    for attempt in range(N_TRIES):
        time.sleep(PAUSE_SECONDS if attempt else 0.0)
        try:
            values = np.load(path, allow_pickle=False)
        except Exception as error:  # numpy parses the header as text, with whatever that raises
            reason = str(error)
            continue
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "fiub":
            raise CheckpointError(f"{path} is not a log: it must hold one number per epoch.")
        return values.astype(np.float64)
    if not is_there(path):
        warnings.warn(f"{path} vanished while it was read and is left out.", DataWarning, stacklevel=2)
        return None
    raise CheckpointError(f"{path} could not be read: {reason.rstrip('.')}.")


def _best_so_far(folder: Path, logs: Logs) -> int | None:
    values = logs.get("best_value", np.empty(0))
    known = values[np.isfinite(values)]
    if known.size:
        return int(np.flatnonzero(values == known[-1])[0]) + 1
    return _json_if_there(folder / "best_model" / "manifest.json").get("best_epoch")


def _json_if_there(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} when there is none, also when a run removes it at this moment."""
    try:
        content = read_json(path)
    except DynmlError:
        if is_there(path):
            raise
        return {}
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return content


def names_of_experiments(paths: Sequence[str | Path]) -> list[str]:
    """Folder names; where two are equal, with as much of their paths as tells them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return ["/".join(part[-depth:]).encode(errors=ODD_BYTES).decode() for part in parts]


def sentences_on_comparison(experiments: Sequence[ExperimentLogs]) -> list[str]:
    """Say why losses of these experiments cannot be compared: other data, or another quantity under the same name."""
    sentences = []
    by_loss = _grouped({experiment.name: experiment.loss_name for experiment in experiments})
    if len(by_loss) > 1:
        parts = "; ".join(f"{loss}: {', '.join(names)}" for loss, names in by_loss.items())
        sentences.append(f"Losses of these experiments are different quantities ({parts}) and cannot be compared.")
    by_data = _grouped({experiment.name: experiment.fingerprint for experiment in experiments})
    if len(by_data) > 1:
        parts = " and ".join(", ".join(names) for names in by_data.values())
        sentences.append(f"Losses cannot be compared between experiments on different data or subsets: {parts}.")
    return sentences


def _grouped(values: Mapping[str, str | None]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            groups.setdefault(value, []).append(name)
    return groups
