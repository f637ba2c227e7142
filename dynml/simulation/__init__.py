"""Signals whose truth is known: many subjects from one generator, in memory or as a store."""

from dynml.simulation.config import HMMSimulationConfig, HSMMSimulationConfig, MixedSineSimulationConfig
from dynml.simulation.dynamics_config import (
    SinesSimulationConfig,
    SwitchingVarSimulationConfig,
    VarSimulationConfig,
)
from dynml.simulation.dynamics_result import DynamicsSimulation
from dynml.simulation.dynamics_store import DynamicsTruth, read_dynamics_truth, write_dynamics
from dynml.simulation.kinds.hmm import HMMSimulation, simulate_hmm
from dynml.simulation.kinds.hsmm import HSMMSimulation, simulate_hsmm
from dynml.simulation.kinds.mixed_sine import MixedSineSimulation, simulate_mixed_sine
from dynml.simulation.kinds.sines import SinesSimulation, simulate_sines
from dynml.simulation.kinds.switching_var import SwitchingVarSimulation, simulate_switching_var
from dynml.simulation.kinds.var import VarSimulation, simulate_var
from dynml.simulation.result import GaussianSimulation
from dynml.simulation.store import SimulationTruth, read_truth, write_simulation

__all__ = [
    "DynamicsSimulation",
    "DynamicsTruth",
    "GaussianSimulation",
    "HMMSimulation",
    "HMMSimulationConfig",
    "HSMMSimulation",
    "HSMMSimulationConfig",
    "MixedSineSimulation",
    "MixedSineSimulationConfig",
    "SimulationTruth",
    "SinesSimulation",
    "SinesSimulationConfig",
    "SwitchingVarSimulation",
    "SwitchingVarSimulationConfig",
    "VarSimulation",
    "VarSimulationConfig",
    "read_dynamics_truth",
    "read_truth",
    "simulate_hmm",
    "simulate_hsmm",
    "simulate_mixed_sine",
    "simulate_sines",
    "simulate_switching_var",
    "simulate_var",
    "write_dynamics",
    "write_simulation",
]
