"""Signals whose truth is known: many subjects from one generator, in memory or as a store."""

from dynml.data.simulation.config import HMMSimulationConfig, HSMMSimulationConfig, MixedSineSimulationConfig
from dynml.data.simulation.hmm import HMMSimulation, simulate_hmm
from dynml.data.simulation.hsmm import HSMMSimulation, simulate_hsmm
from dynml.data.simulation.mixed_sine import MixedSineSimulation, simulate_mixed_sine
from dynml.data.simulation.result import GaussianSimulation
from dynml.data.simulation.store import SimulationTruth, read_truth, write_simulation

__all__ = [
    "GaussianSimulation",
    "HMMSimulation",
    "HMMSimulationConfig",
    "HSMMSimulation",
    "HSMMSimulationConfig",
    "MixedSineSimulation",
    "MixedSineSimulationConfig",
    "SimulationTruth",
    "read_truth",
    "simulate_hmm",
    "simulate_hsmm",
    "simulate_mixed_sine",
    "write_simulation",
]
