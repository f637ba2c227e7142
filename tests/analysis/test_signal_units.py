"""Units as the preparation leaves them."""

import dataclasses

import pytest

from dynml.analysis.signal_units import signal_units
from dynml.recording import GroupDescription

DESCRIBED = GroupDescription(
    n_samples=10,
    n_channels=2,
    sampling_frequency=100.0,
    channel_names=("a", "b"),
    units="V",
    rank=2,
    sha256="",
    sources=(),
    preparation=(),
)
LAST, NONE = {"step": "standardize", "method": "per_run"}, {"step": "standardize", "method": "none"}
FIRST, PCA = {"step": "standardize", "versions": {}}, {"step": "pca"}


@pytest.mark.parametrize(
    ("notes", "of_signals", "of_channels"),
    [
        ((NONE,), "V", "V"),
        ((LAST,), "SD", "SD"),
        ((FIRST, NONE), "SD", "SD"),
        ((PCA, LAST), "SD", "V"),
        ((PCA, NONE), "V", "V"),
        ((FIRST, PCA, LAST), "SD", "SD"),
    ],
)
def test_standardized_signals_are_in_standard_deviations(notes, of_signals, of_channels):
    described = dataclasses.replace(DESCRIBED, preparation=notes)
    assert signal_units(described) == of_signals
    assert signal_units(described, before_components=True) == of_channels
