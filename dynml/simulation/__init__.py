"""Signals whose truth is known: many subjects from one generator, in memory or as a store.

Names are fetched when they are used: `--help` of a kind needs its settings only.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "kinds.hmm": ("HMMSimulation", "HMMSimulationConfig", "simulate_hmm"),
    "kinds.hsmm": ("HSMMSimulation", "HSMMSimulationConfig", "simulate_hsmm"),
    "kinds.mixed_sine": ("MixedSineSimulation", "simulate_mixed_sine"),
    "kinds.phase_multiplication": (
        "PhaseMultiplicationSimulation",
        "PhaseMultiplicationSimulationConfig",
        "simulate_phase_multiplication",
    ),
    "kinds.sine_mixing": ("MixedSineSimulationConfig",),
    "kinds.sines": ("SinesSimulation", "SinesSimulationConfig", "simulate_sines"),
    "kinds.switching_var": ("SwitchingVarSimulation", "SwitchingVarSimulationConfig", "simulate_switching_var"),
    "kinds.var": ("VarSimulation", "VarSimulationConfig", "simulate_var"),
    "result": ("GaussianSimulation", "Simulation"),
    "store": ("write_simulation",),
    "truth": ("SimulationTruth", "read_truth"),
}
_MODULES = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
