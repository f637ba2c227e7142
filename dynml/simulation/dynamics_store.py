"""Simulations of dynamics as stores, with the truth beside the signals.

/truth                      attributes kind, arguments (JSON)
/truth/coefficients ...     the arrays that hold for all subjects
/truth/states/<subject>     switching_var: the state of every stored sample
/truth/trials/<subject>     sines: onset and duration in samples, and class of every trial
/truth/lags/<subject>       sines: seconds that each channel lags behind the onset of every trial

Subjects' data sets stand in the attribute `dataset` where there are several, events beside the signals.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import config_to_dictionary
from dynml.errors import ConfigurationError, DataCorruptionError, DataError
from dynml.simulation.dynamics_result import DynamicsSimulation
from dynml.simulation.kinds.sines import SinesSimulation
from dynml.simulation.kinds.switching_var import SwitchingVarSimulation
from dynml.simulation.kinds.var import VarSimulation
from dynml.simulation.store import (
    ARGUMENTS,
    KIND,
    SIGNALS,
    TRUTH,
    read_arrays,
    subsets_of_simulation,
    write_arrays,
)

if TYPE_CHECKING:
    import h5py

    from dynml.recording import Recording
    from dynml.simulation.filters.switching_var import SwitchingVar

DYNAMICS: dict[str, type[DynamicsSimulation]] = {
    own.kind: own for own in (VarSimulation, SwitchingVarSimulation, SinesSimulation)
}
MOST_LETTERS = 300
"""Of nested numbers that are shown in the store's config; longer ones stand in the truth alone."""


@dataclass(frozen=True, kw_only=True)
class DynamicsTruth:
    """What the signals of a store were simulated from; None for what a kind does not have."""

    kind: str
    """What was simulated: var, switching_var or sines."""
    arguments: dict[str, Any]
    """Settings of the simulation, its seed among them."""
    coefficients: NDArray[np.float64] | None = None
    """var: (p, C, C); switching_var: (K, C, C)."""
    intercepts: NDArray[np.float64] | None = None
    """var: (C,); switching_var: (K, C)."""
    noise_covariances: NDArray[np.float64] | None = None
    """var: (C, C); switching_var: (K, C, C)."""
    transition_probabilities: NDArray[np.float64] | None = None
    """switching_var: (K, K), rows = from-state."""
    initial_probabilities: NDArray[np.float64] | None = None
    """switching_var: (K,)."""
    initial_means: NDArray[np.float64] | None = None
    """switching_var: (K, C), of a subject's first sample."""
    initial_covariances: NDArray[np.float64] | None = None
    """switching_var: (K, C, C), of a subject's first sample."""
    states: dict[str, NDArray[np.int64]] | None = None
    """switching_var: subject to the state of every stored sample, (T,)."""
    periods: NDArray[np.float64] | None = None
    """sines: (n_classes, C), seconds."""
    amplitudes: NDArray[np.float64] | None = None
    """sines: (C,)."""
    offsets: NDArray[np.float64] | None = None
    """sines: (C,)."""
    noise_deviations: NDArray[np.float64] | None = None
    """sines: (C,)."""
    trials: dict[str, NDArray[np.int64]] | None = None
    """sines: subject to onset and duration in samples, and class of its trials, (n_trials, 3)."""
    lags: dict[str, NDArray[np.float64]] | None = None
    """sines: subject to the lag of each channel in each trial in seconds, (n_trials, C)."""

    @property
    def process(self) -> SwitchingVar:
        """What the functions of `dynml.simulation.filters.switching_var` take; `process.from_within()` for windows.

        Raises
        ------
        DataError
            When something else than a switching_var was simulated.
        """
        from dynml.simulation.filters.switching_var import SwitchingVar

        if self.kind != SwitchingVarSimulation.kind:
            raise DataError(f"The signals were simulated by {self.kind}, not by {SwitchingVarSimulation.kind}.")
        return SwitchingVar(**{name: getattr(self, name) for name in SwitchingVarSimulation.parameters})


def write_dynamics(
    simulation: DynamicsSimulation,
    path: str | Path,
    *,
    group: str = SIGNALS,
    n_validation_subjects: int = 0,
    n_testing_subjects: int = 0,
    overwrite: bool = False,
) -> dict[str, list[str]]:
    """Write a simulation of dynamics as a store that holds the truth as well.

    Parameters
    ----------
    simulation : VarSimulation, SwitchingVarSimulation or SinesSimulation
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
    from dynml.preparation import checks
    from dynml.remarks import Remarks
    from dynml.store.layout import DATASET, is_valid_name
    from dynml.store.participants import SubjectIdentity
    from dynml.store.writing import new_store

    if not is_valid_name(group):
        raise ConfigurationError("group", group, "a name without /")
    if min(map(len, simulation.time_series)) < 2:
        raise DataError("A subject of the simulation has a single sample: raise n_samples to at least 2.")
    subsets = subsets_of_simulation(simulation.subjects, n_validation_subjects, n_testing_subjects)
    remarks = Remarks()
    with new_store(Path(path), _config(simulation, group), subsets, overwrite=overwrite) as writer:
        for number, subject in enumerate(simulation.subjects):
            recording = _recording(simulation, number)
            checks.check_not_constant(recording, f"Subject {subject} of the simulation")
            rank = checks.rank_of(checks.correlations(recording))
            if rank < recording.n_channels:
                remarks.add("Simulated signals are rank-deficient", f"{subject}: rank {rank} of {recording.n_channels}")
            covariates = {} if simulation.datasets is None else {DATASET: simulation.datasets[number]}
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject, covariates=covariates))
            writer.add_group(subject, group, recording, rank)
        _write_truth(writer.file, simulation)
    remarks.tell()
    return subsets


def read_dynamics_truth(path: str | Path) -> DynamicsTruth:
    """Read what the signals of a store were simulated from.

    Raises
    ------
    DataError
        When the file is no store, or its signals were not simulated by one of these kinds.
    DataCorruptionError
        When the truth cannot be read.
    """
    from dynml.store.reading import Store

    with Store(path) as store:
        kind = str(store.file[TRUTH].attrs[KIND]) if TRUTH in store.file else None
        if kind not in DYNAMICS:
            held = "no truth" if kind is None else f"the truth of {kind}, which read_truth reads"
            raise DataError(f"{path} holds {held}, but is to hold that of {', '.join(DYNAMICS)}.")
        node, own = store.file[TRUTH], DYNAMICS[kind]
        try:
            found: dict[str, Any] = {name: node[name][:] for name in own.parameters}
            found |= {name: read_arrays(node[name]) for name in own.courses}
            return DynamicsTruth(kind=kind, arguments=json.loads(node.attrs[ARGUMENTS]), **found)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataCorruptionError(f"The truth in {path} cannot be read: {error}.") from error


def _config(simulation: DynamicsSimulation, group: str) -> dict[str, Any]:
    from dynml.store.layout import ALLOW_MIXED_SAMPLING_FREQUENCY

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


def _recording(simulation: DynamicsSimulation, number: int) -> Recording:
    from dynml.preparation.standardization import standardized
    from dynml.recording import recording_of_runs

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


def _write_truth(file: h5py.File, simulation: DynamicsSimulation) -> None:
    node = file.create_group(TRUTH)
    node.attrs[KIND] = simulation.kind
    node.attrs[ARGUMENTS] = json.dumps(config_to_dictionary(simulation.config))
    write_arrays(node, {name: getattr(simulation, name) for name in simulation.parameters})
    for name in simulation.courses:
        write_arrays(node.create_group(name), dict(zip(simulation.subjects, getattr(simulation, name))))
