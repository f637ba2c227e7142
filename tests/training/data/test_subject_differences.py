"""What a summary says of states that tell subjects, sites and runs apart, and that it says nothing of others."""

import numpy as np
import pytest

from dynml import MultiSubjectDataset
from dynml.analysis.checks.occupancy import occupancy_verdicts
from dynml.recording import recording_of_runs
from dynml.training.data.subject_differences import Occupancies

N_SUBJECTS, N_SAMPLES, N_STATES = 8, 1200, 4


def state_paths(probabilities, generator, lifetime=15):
    """One-hot states of a subject that draws a new state after every visit."""
    n_visits = N_SAMPLES // lifetime
    states = np.repeat(generator.choice(N_STATES, n_visits, p=probabilities), lifetime)
    return np.eye(N_STATES, dtype=np.float32)[states]


@pytest.fixture
def subset():
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(N_SAMPLES, 2)) for _ in range(N_SUBJECTS)]
    return MultiSubjectDataset.from_arrays(arrays, standardization="none").training_set


def occupancies_of(subset, probabilities_of_subjects):
    generator, found = np.random.default_rng(1), Occupancies("states")
    for subject, probabilities in enumerate(probabilities_of_subjects):
        found.add_subject(subset, subject, state_paths(probabilities, generator))
    return found


def test_subjects_that_use_the_states_alike_are_no_finding(subset):
    found = occupancies_of(subset, [np.full(N_STATES, 1 / N_STATES)] * N_SUBJECTS)
    assert found.findings() == []
    summary = found.summary()
    assert list(summary["occupancies_of_subjects"]) == subset.subjects
    assert sum(summary["occupancies_of_subjects"]["training-0"]) == pytest.approx(1)
    explained = summary["explained_entropy"]["subject"]
    assert explained["share"] == pytest.approx(explained["by_chance"], abs=0.03)


def test_states_of_one_subject_each_are_named_with_their_numbers(subset):
    probabilities = np.full((N_SUBJECTS, N_STATES), 1 / 3)
    probabilities[:, 3] = 0
    probabilities[5] = [0, 0, 0, 1]
    [alone] = occupancies_of(subset, probabilities).findings()
    assert "4 (training-5, 100.0%)" in alone
    every = np.eye(N_STATES)[np.arange(N_SUBJECTS) % N_STATES]
    [entropy] = occupancies_of(subset, every).findings()
    assert "Which subject a sample comes from explains 100% of the entropy of the states" in entropy


def test_a_difference_between_sites_is_found_and_another_column_is_not(subset, monkeypatch):
    here, there = np.array([0.45, 0.35, 0.1, 0.1]), np.array([0.1, 0.1, 0.35, 0.45])
    places = ["Oslo" if subject % 2 else "Rome" for subject in range(N_SUBJECTS)]
    monkeypatch.setattr(
        subset,
        "covariates",
        lambda subject: {"Site": places[subject], "scanner": "AB"[subject // 4], "sex": "FM"[subject % 2]},
    )
    found = occupancies_of(subset, [there if place == "Oslo" else here for place in places])
    assert set(found.summary()["explained_entropy"]) == {"subject", "Site", "scanner"}
    [finding] = found.findings()
    assert finding.startswith("The column 'Site' of a subject explains")
    alike = occupancies_of(subset, [here] * N_SUBJECTS)
    assert alike.findings() == []


def test_a_difference_between_the_runs_of_subjects_is_found():
    generator, found = np.random.default_rng(0), Occupancies("states")
    recordings = [
        recording_of_runs(
            [generator.normal(size=(600, 2)) for _ in range(2)],
            sampling_frequency=1.0,
            channel_names=["a", "b"],
            run_names=["rest", "task"],
        )
        for _ in range(4)
    ]
    subset = MultiSubjectDataset.from_arrays(recordings, standardization="none").training_set
    for subject in range(4):
        rest, task = (state_paths(p, generator)[:600] for p in ([0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]))
        found.add_subject(subset, subject, np.concatenate([rest, task]))
    [finding] = found.findings()
    assert "Which run of its subject a sample comes from explains" in finding
    assert found.summary()["explained_entropy"]["run"]["share"] == pytest.approx(0.5, abs=0.05)


def test_masked_samples_and_those_outside_of_segments_do_not_count():
    generator = np.random.default_rng(0)
    array = generator.normal(size=(100, 2))
    array[40:60] = np.nan
    subset = MultiSubjectDataset.from_arrays([array], missing="mask", standardization="none").training_set
    alpha = np.zeros((100, 2), dtype=np.float32)
    alpha[:40, 0], alpha[40:60, 1], alpha[60:, 0] = 1, 1, 1
    found = Occupancies("states")
    found.add_subject(subset, 0, alpha)
    assert found.weights[0].tolist() == [80, 0]


def test_training_and_the_check_of_a_model_call_the_same_states_subjects(subset):
    own, said = np.eye(N_STATES)[np.arange(N_SUBJECTS) % N_STATES], []
    for share in (0.0, 0.5, 0.7, 0.8, 0.85, 0.95, 1.0):
        found = occupancies_of(subset, share * own + (1 - share) / N_STATES)
        explained = found.summary()["explained_entropy"]["subject"]
        beyond = (explained["share"] - explained["by_chance"]) / (1 - explained["by_chance"])
        are_subjects = any("Which subject" in finding for finding in found.findings())
        verdict = next(one for one in occupancy_verdicts(found) if one.name == "occupancy_by_subject")
        assert are_subjects == (not verdict.holds) == (beyond >= 0.5)
        said.append((explained["share"] - explained["by_chance"] > 0.25, are_subjects))
    assert (True, False) in said, "subjects that differ, but share the states"
    assert (True, True) in said
