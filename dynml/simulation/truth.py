"""What the signals of a store were simulated from.

/truth                            attributes kind, arguments (JSON)
/truth/means ...                  the arrays that hold for all subjects
/truth/states/<subject>           hmm, hsmm, switching_var: the state of every stored sample
/truth/alpha/<subject>            mixed_sine: the mixing coefficients of every stored sample
/truth/trials/<subject>           sines, phase_multiplication: onset and duration in samples, and class of every trial
/truth/lags/<subject>             sines: seconds that each channel lags behind the onset of every trial
/truth/sources/<subject>          phase_multiplication: the sources of every stored sample
/truth/subject_covariances/<subject>    where subjects differ from the group

Subjects' data sets stand in the attribute `dataset` where there are several, events beside the signals.

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dynml.configuration import config_to_dictionary
from dynml.errors import DataCorruptionError, DataError
from dynml.simulation.filters.switching_var import SwitchingVar
from dynml.simulation.kinds.hmm import HMMSimulation
from dynml.simulation.kinds.hsmm import HSMMSimulation
from dynml.simulation.kinds.mixed_sine import MixedSineSimulation
from dynml.simulation.kinds.phase_multiplication import PhaseMultiplicationSimulation
from dynml.simulation.kinds.sines import SinesSimulation
from dynml.simulation.kinds.switching_var import SwitchingVarSimulation
from dynml.simulation.kinds.var import VarSimulation
from dynml.simulation.result import GaussianSimulation, Simulation, one_hot
from dynml.store.layout import natural_order
from dynml.store.reading import Store

Array = NDArray[np.float64]

TRUTH, KIND, ARGUMENTS = "truth", "kind", "arguments"
SUBJECT_COVARIANCES = "subject_covariances"
KINDS: dict[str, type[Simulation]] = {
    own.kind: own
    for own in (
        HMMSimulation,
        HSMMSimulation,
        MixedSineSimulation,
        PhaseMultiplicationSimulation,
        SinesSimulation,
        SwitchingVarSimulation,
        VarSimulation,
    )
}
FIELDS = {"alpha": "mixing"}
"""Names in the store of time courses that the truth calls something else."""


@dataclass(frozen=True, kw_only=True)
class SimulationTruth:
    """What the signals of a store were simulated from; None for what a kind does not have."""

    kind: str
    """What was simulated: hmm, hsmm, mixed_sine, var, switching_var, sines or phase_multiplication."""
    arguments: dict[str, Any]
    """Settings of the simulation, its seed among them."""
    means: Array | None = None
    """hmm, hsmm, mixed_sine: (K, C)."""
    covariances: Array | None = None
    """hmm, hsmm, mixed_sine: (K, C, C), of the group."""
    states: dict[str, NDArray[np.int64]] | None = None
    """hmm, hsmm, switching_var: subject to the state of every stored sample, (T,)."""
    mixing: dict[str, NDArray[np.float32]] | None = None
    """mixed_sine: subject to the mixing coefficients of every stored sample, (T, K). See `alpha`."""
    subject_covariances: dict[str, Array] | None = None
    """Subject to its covariances (K, C, C), or None where all have the group's."""
    transition_probabilities: Array | None = None
    """hmm, hsmm, switching_var: (K, K), rows = from-state; of an hsmm with zeros on the diagonal."""
    initial_probabilities: Array | None = None
    """hmm, switching_var: (K,)."""
    gamma_shape: Array | None = None
    """hsmm: (K,), of the lifetimes."""
    gamma_scale: Array | None = None
    """hsmm: (K,), of the lifetimes, in samples."""
    phases: Array | None = None
    """mixed_sine: (n_subjects, K), of the sinusoids."""
    coefficients: Array | None = None
    """var: (p, C, C); switching_var: (K, C, C)."""
    intercepts: Array | None = None
    """var: (C,); switching_var: (K, C)."""
    noise_covariances: Array | None = None
    """var: (C, C); switching_var: (K, C, C)."""
    initial_means: Array | None = None
    """switching_var: (K, C), of a subject's first sample."""
    initial_covariances: Array | None = None
    """switching_var: (K, C, C), of a subject's first sample."""
    periods: Array | None = None
    """sines: (n_classes, C), seconds."""
    amplitudes: Array | None = None
    """sines: (C,)."""
    offsets: Array | None = None
    """sines, phase_multiplication: (C,)."""
    noise_deviations: Array | None = None
    """sines, phase_multiplication: (C,)."""
    source_weights: Array | None = None
    """phase_multiplication: (C, S), what a source adds to each channel."""
    sources: dict[str, Array] | None = None
    """phase_multiplication: subject to its sources, (T, S)."""
    trials: dict[str, NDArray[np.int64]] | None = None
    """sines, phase_multiplication: subject to onset and duration in samples, and class of its trials, (n_trials, 3)."""
    lags: dict[str, Array] | None = None
    """sines: subject to the lag of each channel in each trial in seconds, (n_trials, C)."""

    @property
    def alpha(self) -> dict[str, NDArray[np.float32]]:
        """Subject to its time courses (T, K): mixing coefficients, or 1 for the state of a sample and 0 for others."""
        if self.mixing is not None:
            return self.mixing
        assert self.states is not None, f"{self.kind} has neither states nor modes"
        n_states = self.arguments["n_states"]
        return {subject: one_hot(states, n_states) for subject, states in self.states.items()}

    @property
    def process(self) -> SwitchingVar:
        """What the functions of `dynml.simulation.filters.switching_var` take; `process.from_within()` for windows.

        Raises
        ------
        DataError
            When something else than a switching_var was simulated.
        """
        if self.kind != SwitchingVarSimulation.kind:
            raise DataError(f"The signals were simulated by {self.kind}, not by {SwitchingVarSimulation.kind}.")
        return SwitchingVar(**{name: getattr(self, name) for name in SwitchingVarSimulation.parameters})


def read_truth(path: str | Path) -> SimulationTruth:
    """Read what the signals of a store were simulated from.

    Raises
    ------
    DataError
        When the file is no store, or its signals were not simulated.
    DataCorruptionError
        When the truth cannot be read.
    """
    with Store(path) as store:
        if TRUTH not in store.file:
            raise DataError(f"{path} holds no truth: its signals were not made by dynml_simulate_data.py.")
        node = store.file[TRUTH]
        try:
            own = KINDS[str(node.attrs[KIND])]
            found: dict[str, Any] = {name: node[name][:] for name in own.parameters}
            found |= {FIELDS.get(name, name): _read_arrays(node[name]) for name in own.courses}
            if SUBJECT_COVARIANCES in node:
                found[SUBJECT_COVARIANCES] = _read_arrays(node[SUBJECT_COVARIANCES])
            return SimulationTruth(kind=own.kind, arguments=json.loads(node.attrs[ARGUMENTS]), **found)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataCorruptionError(f"The truth in {path} cannot be read: {error}.") from error


def write_truth(file: h5py.File, simulation: Simulation) -> None:
    """Write what a simulation's signals were made from into its store."""
    node = file.create_group(TRUTH)
    node.attrs[KIND] = simulation.kind
    node.attrs[ARGUMENTS] = json.dumps(config_to_dictionary(simulation.config))
    _write_arrays(node, {name: getattr(simulation, name) for name in simulation.parameters})
    for name in simulation.courses:
        _write_arrays(node.create_group(name), dict(zip(simulation.subjects, getattr(simulation, name))))
    if isinstance(simulation, GaussianSimulation) and simulation.subject_covariances is not None:
        varied = dict(zip(simulation.subjects, simulation.subject_covariances))
        _write_arrays(node.create_group(SUBJECT_COVARIANCES), varied)


def _write_arrays(node: h5py.Group, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        node.create_dataset(name, data=array, chunks=array.shape, fletcher32=True)


def _read_arrays(node: h5py.Group) -> dict[str, NDArray[Any]]:
    return {name: node[name][:] for name in sorted(node, key=natural_order)}
