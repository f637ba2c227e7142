"""What the benchmarks of decoding share: one training on a store, predictions for its testing subset, a ridge, a date.

Shapes: n trials, T samples, C channels.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from whole_training import trained_to_the_end

from dynml.cli.commands.train import LOGGERS, RunRequest, build_trainer
from dynml.configuration import config_from
from dynml.conversion.creation import create_store
from dynml.dataset.config import DatasetConfig
from dynml.errors import DataWarning
from dynml.files import write_json
from dynml.models.registry import get_family
from dynml.models.sequence.decoding.evaluation import Predictions, predictions_of, signals_of_trials
from dynml.models.sequence.decoding.targets import Trials

RESULTS = Path(__file__).parent / "results"
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Of the ridge, in multiples of the number of training trials."""


def train(
    family: str,
    place: Path,
    store: Path,
    group: str,
    settings: Mapping[str, Mapping[str, Any]],
    pretrained: Path | None,
) -> Any:
    """Train as dynml_train_model.py does; the trainer, when it is done.

    Parameters
    ----------
    family : str
    place : Path
        The experiment's folder; the folder above it exists.
    store : Path
    group : str
    settings : mapping
        Group of settings to setting to value.
    pretrained : Path or None
        Experiment to start from.
    """
    parts = get_family(family)
    defaults = {"sampler": parts.sampler_defaults, "loader": parts.loader_defaults, "trainer": {"progress": False}}
    classes = {"dataset": DatasetConfig, **parts.config_classes(), **LOGGERS}
    configs = {
        name: config_from(kind, {**defaults.get(name, {}), **settings.get(name, {})}, name)
        for name, kind in classes.items()
    }
    if parts.settle is not None:
        from dynml.models.registry import load

        configs = load(parts.settle)(configs)
    request = RunRequest(
        parts, str(place.parent), place.name, str(store), group, configs, pretrained=pretrained and str(pretrained)
    )
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        trainer = build_trainer(request)
        trained_to_the_end(trainer)
    return trainer


def decoded(trainer: Any, subset: str) -> Predictions:
    """What a trained decoder says of a subset of its own dataset."""
    return predictions_of(trainer.model, trainer.trials(subset))


def write_subjects(folder: Path, config: Mapping[str, Any], subjects: Mapping[str, Mapping[str, Any]]) -> None:
    """Write files into one folder per subject, and the config of stores of them.

    Parameters
    ----------
    folder : Path
        New.
    config : mapping
        Content of the JSON file.
    subjects : mapping
        Name of a subject to its files: name to array, or to rows of a table (the first one holds its columns).
    """
    for subject, files in subjects.items():
        (folder / "subjects" / subject).mkdir(parents=True)
        for name, content in files.items():
            path = folder / "subjects" / subject / name
            if isinstance(content, np.ndarray):
                np.save(path, content)
            else:
                write_table(path, content)
    write_json(folder / "config.json", dict(config))


def make_store(folder: Path, name: str, training: Sequence[str], testing: Sequence[str]) -> Path:
    """Make a store of some of the subjects in a folder."""
    lists = {}
    for subset, subjects in {"training": training, "validation": (), "testing": testing}.items():
        lists[subset] = folder / f"{name}_{subset}.txt"
        lists[subset].write_text("".join(f"{subject}\n" for subject in subjects), encoding="utf-8")
    store = folder / f"{name}.hdf5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        create_store(folder / "subjects", store, folder / "config.json", lists)
    return store


def write_table(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows with tabs between the cells."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(rows)


def courses(trials: Trials, n_bins: int) -> NDArray[np.float64]:
    """Means of each trial over `n_bins` equal parts, (n, n_bins C)."""
    rows = []
    for signals in signals_of_trials(trials, np.arange(len(trials))):
        rows.append(np.concatenate([part.mean(axis=0) for part in np.array_split(signals, n_bins)]))
    return np.array(rows, dtype=np.float64)


def ridge(
    inputs: NDArray[np.float64], truth: NDArray[np.int64], groups: NDArray[np.int64], new: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Ridge regression onto classes, its penalty chosen by leaving out groups of training trials; said of new ones."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = [make_pipeline(StandardScaler(), RidgeClassifier(alpha=penalty * len(truth))) for penalty in PENALTIES]
    cut = LeaveOneGroupOut()
    scores = [cross_val_score(model, inputs, truth, groups=groups, cv=cut).mean() for model in models]
    return np.asarray(models[int(np.argmax(scores))].fit(inputs, truth).predict(new), dtype=np.int64)


def paired_difference(differences: Sequence[float]) -> dict[str, Any]:
    """Mean of paired differences, and its t interval (95 %); None of fewer than two."""
    from scipy.stats import t

    gaps = np.array(differences)
    if len(gaps) < 2:
        return {"mean": float(gaps.mean()), "interval": None}
    half = float(t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return {"mean": float(gaps.mean()), "interval": [float(gaps.mean()) - half, float(gaps.mean()) + half]}


def write_results(name: str, report: Mapping[str, Any]) -> None:
    """Write benchmarks/results/NAME.json with date and machine."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**made(), **report}, indent=2) + "\n", encoding="utf-8")


def made() -> dict[str, str]:
    """Date and machine."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }


def read_results(name: str) -> dict[str, Any]:
    """What stands in benchmarks/results/NAME.json; empty where there is none."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
