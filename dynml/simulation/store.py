"""Simulations as stores, with the truth beside the signals.

/truth                            attributes kind, arguments (JSON)
/truth/means ...                  the arrays of the group
/truth/states/<subject>           hmm, hsmm: the state of every stored sample
/truth/alpha/<subject>            mixed_sine: the mixing coefficients of every stored sample
/truth/subject_covariances/<subject>    where subjects differ from the group

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, config_to_dictionary
from dynml.errors import ConfigurationError, DataCorruptionError, DataError
from dynml.simulation.gaussian_config import GaussianSimulationConfig
from dynml.simulation.kinds.hmm import HMMSimulation
from dynml.simulation.kinds.hsmm import HSMMSimulation
from dynml.simulation.kinds.mixed_sine import MixedSineSimulation
from dynml.simulation.result import GaussianSimulation, one_hot

if TYPE_CHECKING:
    import h5py

    from dynml.recording import Recording

TRUTH, KIND, ARGUMENTS = "truth", "kind", "arguments"
SUBJECT_COVARIANCES = "subject_covariances"
KINDS: dict[str, type[GaussianSimulation]] = {
    own.kind: own for own in (HMMSimulation, HSMMSimulation, MixedSineSimulation)
}
KINDS_OF_DYNAMICS = ("sines", "switching_var", "var")
FIELDS = {"states": "states", "alpha": "mixing"}
"""Name of the time courses in the store to their field in the truth."""
SIGNALS = "signals"


@dataclass(frozen=True, kw_only=True)
class SimulationTruth:
    """What the signals of a store were simulated from."""

    kind: str
    """What was simulated: hmm, hsmm or mixed_sine."""
    arguments: dict[str, Any]
    """Settings of the simulation, its seed among them."""
    means: NDArray[np.float64]
    """(K, C)."""
    covariances: NDArray[np.float64]
    """(K, C, C), of the group."""
    states: dict[str, NDArray[np.int64]] | None = None
    """Subject to the state of every stored sample, (T,); None for a soft mixture."""
    mixing: dict[str, NDArray[np.float32]] | None = None
    """Subject to the mixing coefficients of every stored sample, (T, K); None where there are states. See `alpha`."""
    subject_covariances: dict[str, NDArray[np.float64]] | None = None
    """Subject to its covariances (K, C, C), or None where all have the group's."""
    transition_probabilities: NDArray[np.float64] | None = None
    """(K, K), rows = from-state; of an hsmm with zeros on the diagonal; None for a soft mixture."""
    initial_probabilities: NDArray[np.float64] | None = None
    """(K,), of an hmm."""
    gamma_shape: NDArray[np.float64] | None = None
    """(K,), of an hsmm's lifetimes."""
    gamma_scale: NDArray[np.float64] | None = None
    """(K,), of an hsmm's lifetimes, in samples."""
    phases: NDArray[np.float64] | None = None
    """(n_subjects, K), of a soft mixture's sinusoids."""

    @property
    def alpha(self) -> dict[str, NDArray[np.float32]]:
        """Subject to its time courses (T, K): mixing coefficients, or 1 for the state of a sample and 0 for others."""
        if self.mixing is not None:
            return self.mixing
        assert self.states is not None
        return {subject: one_hot(states, len(self.means)) for subject, states in self.states.items()}


def write_simulation(
    simulation: GaussianSimulation,
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
    simulation : HMMSimulation, HSMMSimulation or MixedSineSimulation
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
    from dynml.store.layout import is_valid_name
    from dynml.store.participants import SubjectIdentity
    from dynml.store.writing import new_store

    if not is_valid_name(group):
        raise ConfigurationError("group", group, "a name without /")
    if min(map(len, simulation.time_series)) < 2:
        raise DataError("A subject of the simulation has a single sample: raise n_samples to at least 2.")
    subsets = subsets_of_simulation(simulation.subjects, n_validation_subjects, n_testing_subjects)
    config = {"simulation": {KIND: simulation.kind, "group": group, **_without_arrays(simulation.config)}}
    remarks = Remarks()
    with new_store(Path(path), config, subsets, overwrite=overwrite) as writer:
        for subject, signals in zip(simulation.subjects, simulation.time_series):
            recording = _recording(simulation, signals)
            checks.check_not_constant(recording, f"Subject {subject} of the simulation")
            rank = checks.rank_of(checks.correlations(recording))
            if rank < recording.n_channels:
                remarks.add("Simulated signals are rank-deficient", f"{subject}: rank {rank} of {recording.n_channels}")
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
            writer.add_group(subject, group, recording, rank)
        _write_truth(writer.file, simulation)
    remarks.tell()
    return subsets


def read_truth(path: str | Path) -> SimulationTruth:
    """Read what the signals of a store were simulated from.

    Raises
    ------
    DataError
        When the file is no store, or its signals were not simulated.
    DataCorruptionError
        When the truth cannot be read.
    """
    from dynml.store.reading import Store

    with Store(path) as store:
        if TRUTH not in store.file:
            raise DataError(f"{path} holds no truth: its signals were not made by dynml_simulate_data.py.")
        node = store.file[TRUTH]
        kind = str(node.attrs.get(KIND))
        if kind in KINDS_OF_DYNAMICS:
            raise DataError(f"{path} holds the truth of {kind}, which read_dynamics_truth reads.")
        try:
            own = KINDS[kind]
            varied = read_arrays(node[SUBJECT_COVARIANCES]) if SUBJECT_COVARIANCES in node else None
            courses: dict[str, Any] = {FIELDS[own.courses]: read_arrays(node[own.courses])}
            return SimulationTruth(
                kind=own.kind,
                arguments=json.loads(node.attrs[ARGUMENTS]),
                subject_covariances=varied,
                **{name: node[name][:] for name in own.parameters},
                **courses,
            )
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataCorruptionError(f"The truth in {path} cannot be read: {error}.") from error


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


def _without_arrays(config: GaussianSimulationConfig) -> dict[str, Any]:
    """Settings to look at: thousands of numbers stand in the truth, not here."""
    settings = config_to_dictionary(config)
    nested = {key for key, value in settings.items() if isinstance(value, list) and isinstance(value[0], list)}
    return {key: "given" if key in nested else value for key, value in settings.items()}


def _recording(simulation: GaussianSimulation, signals: NDArray[np.float32]) -> Recording:
    from dynml.preparation.standardization import standardized
    from dynml.recording import recording_of_runs

    recording = recording_of_runs([signals], sampling_frequency=simulation.sampling_frequency)
    if simulation.mean is None or simulation.std is None:
        return standardized(recording, "none")
    step = {"step": "standardize", "method": "over_all_subjects"}
    mean, std = simulation.mean[None], simulation.std[None]
    return dataclasses.replace(recording, mean=mean, std=std, preparation=(*recording.preparation, step))


def _write_truth(file: h5py.File, simulation: GaussianSimulation) -> None:
    node = file.create_group(TRUTH)
    node.attrs[KIND] = simulation.kind
    node.attrs[ARGUMENTS] = json.dumps(config_to_dictionary(simulation.config))
    write_arrays(node, {name: getattr(simulation, name) for name in simulation.parameters})
    courses = dict(zip(simulation.subjects, getattr(simulation, simulation.courses)))
    write_arrays(node.create_group(simulation.courses), courses)
    if simulation.subject_covariances is not None:
        varied = dict(zip(simulation.subjects, simulation.subject_covariances))
        write_arrays(node.create_group(SUBJECT_COVARIANCES), varied)


def write_arrays(node: h5py.Group, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays with checksums."""
    for name, array in arrays.items():
        node.create_dataset(name, data=array, chunks=array.shape, fletcher32=True)


def read_arrays(node: h5py.Group) -> dict[str, NDArray[Any]]:
    """Read all arrays of a group, in natural order."""
    from dynml.store.layout import natural_order

    return {name: node[name][:] for name in sorted(node, key=natural_order)}
