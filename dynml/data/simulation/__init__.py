"""Signals whose truth is known: many subjects from one generator, in memory or as a store."""

from dynml.data.simulation.config import HMMSimulationConfig
from dynml.data.simulation.hmm import HMMSimulation, simulate_hmm
from dynml.data.simulation.store import SimulationTruth, read_truth, write_simulation

__all__ = [
    "HMMSimulation",
    "HMMSimulationConfig",
    "SimulationTruth",
    "read_truth",
    "simulate_hmm",
    "write_simulation",
]
