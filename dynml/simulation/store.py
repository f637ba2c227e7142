"""Simulations as stores, with the truth beside the signals; `truth.py` says where it stands and reads it.

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from dynml.configuration import check_at_least, config_to_dictionary
from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError
from dynml.preparation import checks
from dynml.preparation.standardization import standardized
from dynml.recording import Recording, recording_of_runs
from dynml.simulation.result import Simulation
from dynml.simulation.truth import KIND, write_truth
from dynml.store.layout import ALLOW_MIXED_SAMPLING_FREQUENCY, DATASET, is_valid_name
from dynml.store.participants_table import SubjectIdentity
from dynml.store.writing import new_store

SIGNALS = "signals"
MOST_LETTERS = 300
"""Of nested numbers that are shown in the store's config; longer ones stand in the truth alone."""


def write_simulation(
    simulation: Simulation,
    path: str | Path,
    *,
    group: str = SIGNALS,
    n_validation_subjects: int = 0,
    n_testing_subjects: int = 0,
    overwrite: bool = False,
) -> dict[str, list[str]]:
    """Write a simulation as a store that holds the truth as well.

    Parameters
    ----------
    simulation : Simulation
    path : str or Path
        The store, `.hdf5` or `.h5`.
    group : str
        Name of the signals' group.
    n_validation_subjects, n_testing_subjects : int
        The last subjects are for testing, those before them for validation, all others for training.
    overwrite : bool
        Replace an existing store, at the very end.

    Returns
    -------
    dict
        Subset name to its subjects.

    Raises
    ------
    ConfigurationError
        When no subject is left for training.
    DataError
        When the store exists, or a subject has a single sample or a constant channel.
    DynmlError
        When the file cannot be written; an old store stays as it was.
    """
    if not is_valid_name(group):
        raise ConfigurationError("group", group, "a name without /")
    if min(map(len, simulation.time_series)) < 2:
        raise DataError("A subject of the simulation has a single sample: raise n_samples to at least 2.")
    subsets = subsets_of_simulation(simulation.subjects, n_validation_subjects, n_testing_subjects)
    warned = DataWarnings()
    with new_store(Path(path), _config(simulation, group), subsets, overwrite=overwrite) as writer:
        for number, subject in enumerate(simulation.subjects):
            recording = _recording(simulation, number)
            checks.check_not_constant(recording, f"Subject {subject} of the simulation")
            rank = checks.rank_of(checks.correlations(recording))
            if rank < recording.n_channels:
                warned.add("Simulated signals are rank-deficient", f"{subject}: rank {rank} of {recording.n_channels}")
            covariates = {} if simulation.datasets is None else {DATASET: simulation.datasets[number]}
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject, covariates=covariates))
            writer.add_group(subject, group, recording, rank)
        write_truth(writer.file, simulation)
    warned.tell()
    return subsets


def subsets_of_simulation(subjects: list[str], n_validation: int, n_testing: int) -> dict[str, list[str]]:
    """Divide subjects into subsets, the last ones for testing."""
    check_at_least("n_validation_subjects", n_validation, 0)
    check_at_least("n_testing_subjects", n_testing, 0)
    n_training = len(subjects) - n_validation - n_testing
    if n_training < 1:
        accepted = f"above n_validation_subjects + n_testing_subjects ({n_validation} + {n_testing})"
        raise ConfigurationError("n_subjects", len(subjects), accepted)
    n_seen = n_training + n_validation
    return {"training": subjects[:n_training], "validation": subjects[n_training:n_seen], "testing": subjects[n_seen:]}


def _config(simulation: Simulation, group: str) -> dict[str, Any]:
    settings = {
        key: "given" if _is_nested(value) and len(json.dumps(value)) > MOST_LETTERS else value
        for key, value in config_to_dictionary(simulation.config).items()
    }
    config: dict[str, Any] = {"simulation": {KIND: simulation.kind, "group": group, **settings}}
    if len(set(simulation.sampling_frequencies)) > 1:
        config[ALLOW_MIXED_SAMPLING_FREQUENCY] = True
    return config


def _is_nested(value: object) -> bool:
    return isinstance(value, list) and isinstance(value[0], list)


def _recording(simulation: Simulation, number: int) -> Recording:
    recording = recording_of_runs(
        [simulation.time_series[number]],
        sampling_frequency=simulation.sampling_frequencies[number],
        events=None if simulation.events is None else simulation.events[number],
    )
    if simulation.mean is None or simulation.std is None:
        return standardized(recording, "none")
    step = {"step": "standardize", "method": "over_all_subjects"}
    mean, std = simulation.mean[None], simulation.std[None]
    return dataclasses.replace(recording, mean=mean, std=std, preparation=(*recording.preparation, step))
