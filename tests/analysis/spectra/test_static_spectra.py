"""Envelope and sliding correlations of signals whose amplitudes go together, and what is said of absent spectra."""

from types import SimpleNamespace

import numpy as np
import pytest

from dynml.analysis.spectra.findings import Asked
from dynml.analysis.spectra.settings import Band
from dynml.analysis.spectra.static import amplitude_envelope_correlation, sliding_correlations
from dynml.errors import DataError

ALPHA = Band("alpha", 8, 13)


def test_amplitudes_that_go_together_are_found_and_mixing_alone_is_not():
    generator = np.random.default_rng(0)
    times = np.arange(60000) / 250
    amplitude = 1 + 0.8 * np.sin(2 * np.pi * 0.2 * times)
    carriers = [np.sin(2 * np.pi * 10 * times + np.cumsum(generator.standard_normal(60000)) * 0.08) for _ in range(3)]
    noise = 0.05 * generator.standard_normal((60000, 4))
    signals = np.stack([amplitude * carriers[0], amplitude * carriers[1], carriers[2], carriers[2]], axis=1) + noise
    found = amplitude_envelope_correlation(signals, np.array([[0, 30000], [30000, 60000]]), 250, ALPHA)
    plain = amplitude_envelope_correlation(signals, np.array([[0, 60000]]), 250, ALPHA, orthogonalized=False)
    assert found[0, 1] > 0.5
    assert abs(found[0, 2]) < 0.15
    assert plain[2, 3] > 0.3
    assert found[2, 3] < 0.5 * plain[2, 3]
    assert np.isnan(np.diagonal(found)).all()
    with pytest.raises(DataError, match="longer"):
        amplitude_envelope_correlation(signals, np.array([[0, 150]]), 250, ALPHA)


def test_sliding_correlations_are_numpys_within_stretches():
    signals = np.random.default_rng(1).standard_normal((1000, 3))
    starts, found = sliding_correlations(signals, np.array([[0, 320], [400, 1000]]), 100, 50)
    assert starts.tolist() == [*range(0, 221, 50), *range(400, 901, 50)]
    np.testing.assert_allclose(found[3], np.corrcoef(signals[150:250].T))
    with pytest.raises(DataError, match="100 samples"):
        sliding_correlations(signals, np.array([[0, 90]]), 100, 50)


@pytest.mark.parametrize(("short", "which"), [([], "any of 3 subjects"), (["c"], "any other subject")])
def test_states_without_a_spectrum_anywhere_are_one_finding(short, which):
    power = np.ones((3, 4, 2, 5))
    power[:, [1, 3]] = np.nan
    power[0, 2] = np.nan
    if short:
        power[2] = np.nan
    gathered = SimpleNamespace(subjects=["a", "b", "c"], stacked=lambda name: power)
    settled = SimpleNamespace(window=100)
    own = SimpleNamespace(short_subjects=short, components="states", component="State", settled=settled)
    said = Asked._of_absent(own, gathered)[len(short) :]
    assert said == [
        f"These states are too rare for a spectrum in {which}: 2, 4.",
        "State 3 is too rare for a spectrum in 1 of 3 subjects (a).",
    ]
    power[:, 3] = 1.0
    alone = Asked._of_absent(own, gathered)[len(short) :]
    assert alone[0].startswith(f"State 2 is too rare for a spectrum in {3 - len(short)} of 3 subjects")
