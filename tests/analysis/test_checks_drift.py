"""Drift of occupancies over runs and within them: told where it was planted, and seldom where states come and go."""

import numpy as np
import pytest

from dynml import MultiSubjectDataset
from dynml.analysis.checks.drift import Courses, drift_verdict, windows_of
from dynml.recording import recording_of_runs


def path_of(generator, n_samples, drift, n_states=3, lifetime=8.0):
    """One-hot states with geometric lifetimes; `drift` is by how much more likely the first is at the end."""
    lengths = generator.geometric(1 / lifetime, n_samples)
    first = np.exp(drift * ((lengths.cumsum() - lengths) / n_samples - 0.5))
    is_first = generator.random(n_samples) < first / (first + n_states - 1)
    states = np.where(is_first, 0, generator.integers(1, n_states, n_samples))
    return np.eye(n_states)[np.repeat(states, lengths)[:n_samples]]


def courses_of(generator, drifts, n_samples=2000):
    found = Courses()
    for number, drift in enumerate(drifts):
        found.add_run(f"sub-{number}", (f"sub-{number}", 0), path_of(generator, n_samples, drift))
    return found


@pytest.mark.parametrize("n_people", [1, 3, 8])
def test_a_drift_within_runs_is_told(n_people):
    found = courses_of(np.random.default_rng(0), [3.0] * n_people)
    verdict = drift_verdict(found.trends(0), "states")
    assert verdict.holds is False
    assert "state 1 grows most over the time within a run" in verdict.sentence
    assert verdict.value > verdict.reference


@pytest.mark.parametrize("n_people", [1, 8])
def test_states_that_come_and_go_are_seldom_called_a_drift(n_people, monkeypatch):
    monkeypatch.setattr("dynml.analysis.checks.drift.N_DRAWS", 99)
    generator = np.random.default_rng(1)
    told = [
        drift_verdict(courses_of(generator, [0.0] * n_people, 1500).trends(seed), "states").holds is False
        for seed in range(100)
    ]
    assert sum(told) <= 11, "5 of 100 are expected, and more than 11 in 1 of 200 cases"


def test_a_drift_over_runs_is_told_in_the_order_of_their_names():
    generator = np.random.default_rng(2)
    shares = np.linspace(0.2, 0.8, 12)
    signals = {f"one_run-{n}": generator.normal(size=(200, 2)) for n in range(1, 13)}
    people = dict.fromkeys(signals, "one")
    names = sorted(signals)
    dataset = MultiSubjectDataset.from_arrays(
        {name: signals[name] for name in names}, standardization="none", participants=people
    )
    found, subset = Courses(), dataset.training_set
    for place, name in enumerate(subset.subjects):
        share = shares[int(name.rpartition("-")[2]) - 1]
        states = np.repeat(generator.random(20) < share, 10).astype(int)
        found.add_subject(subset, place, np.eye(2)[states])
    assert found.trends(0)[0].kind == "runs"
    verdict = drift_verdict(found.trends(0), "states")
    assert verdict.holds is False
    assert "state 2 grows" in verdict.sentence or "state 1 falls" in verdict.sentence
    assert "over the runs of a participant" in verdict.sentence


def test_runs_of_one_recording_are_told_apart_and_masked_samples_do_not_count():
    generator = np.random.default_rng(3)
    recording = recording_of_runs(
        [generator.normal(size=(100, 2)) for _ in range(6)],
        sampling_frequency=1.0,
        channel_names=["a", "b"],
        run_names=[f"run-{n}" for n in range(6)],
    )
    subset = MultiSubjectDataset.from_arrays([recording], standardization="none").training_set
    alpha = np.zeros((600, 2))
    for run in range(6):
        alpha[run * 100 : run * 100 + 10 * run, 0] = 1
    alpha[:, 1] = 1 - alpha[:, 0]
    found = Courses()
    found.add_subject(subset, 0, alpha)
    [trend] = found.trends(0)
    np.testing.assert_allclose(trend.correlations_NK, [[1.0, -1.0]])
    assert drift_verdict([trend], "states").holds is False


def test_slow_states_of_a_short_recording_cannot_be_told_from_a_drift():
    found = Courses()
    assert windows_of(np.eye(2)[np.repeat([0, 1], 100)]) is None
    verdict = drift_verdict(found.trends(0), "states")
    assert verdict.holds is None
    assert "cannot be distinguished" in verdict.sentence
