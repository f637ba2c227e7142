"""Fits the linear predictions that a sequence model must beat to the training subset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.baselines.named import make_baseline
from dynml.models.sequence.baselines.passes import TrainingPasses
from dynml.training.processes import Processes


def fit_baselines(
    names: Iterable[str],
    dataset: MultiSubjectDataset,
    processes: Processes,
    *,
    n_lags: int,
    window_length: int,
    code_size: int | None,
    seed: int,
) -> dict[str, Baseline]:
    """Fit baselines to the training subset.

    Parameters
    ----------
    names : iterable of str
    dataset : MultiSubjectDataset
        Loaded.
    processes : Processes
        Those that hold the other parts of the data; all get the same baselines.
    n_lags, window_length, code_size : int
        See `make_baseline`.
    seed : int
        What the windows that pca is fitted to are drawn by.

    Returns
    -------
    dict
        Baselines by name, on the dataset's device.

    Raises
    ------
    DataError
        When no training segment is long enough.
    """
    passes = TrainingPasses(dataset, processes, seed)
    baselines = {}
    for name in names:
        n_channels, n_conditioning = dataset.n_channels - dataset.n_conditioning, dataset.n_conditioning
        montages = None if dataset.montages is None else dataset.montages.columns
        of_data: dict[str, Any] = {"n_conditioning": n_conditioning, "montages": montages}
        baseline = make_baseline(name, n_channels, n_lags, window_length, code_size, **of_data).to(dataset.device)
        baseline.fit(passes)
        baselines[name] = baseline
    return baselines
