"""Simulations, under the name of earlier versions; see `dynml.simulation`."""

from typing import Any

from dynml import simulation


def __getattr__(name: str) -> Any:
    return getattr(simulation, name)
