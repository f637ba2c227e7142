from __future__ import annotations

import h5py
import numpy as np
import pytest

from dynml.errors import ConfigurationError, DataCorruptionError, DataError, DataWarning
from dynml.simulation import read_truth, simulate_hmm, write_simulation
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store


@pytest.fixture(scope="module")
def simulation():
    return simulate_hmm(
        n_subjects=5,
        n_samples=[300, 80, 200, 90, 150],
        n_states=3,
        n_channels=4,
        means="random",
        transition_probabilities=np.array([[0.8, 0.2, 0], [0, 0.5, 0.5], [0.1, 0, 0.9]]),
        covariance_variability=0.1,
        sampling_frequency=100.0,
        seed=2,
    )


@pytest.mark.parametrize("standardize", [False, True])
def test_store_holds_signals_subsets_and_truth(tmp_path, simulation, standardize):
    simulation = simulation.standardize() if standardize else simulation
    path = tmp_path / "simulated.hdf5"
    write_simulation(simulation, path, group="meg", n_validation_subjects=1, n_testing_subjects=2)
    assert faults_of_store(path) == []
    with Store(path) as store:
        assert store.subjects == [f"sub-00{number}" for number in range(1, 6)]
        assert store.subset("training") == ["sub-001", "sub-002"]
        assert store.subset("validation") == ["sub-003"]
        assert store.subset("testing") == ["sub-004", "sub-005"]
        for subject, signals in zip(store.subjects, simulation.time_series):
            np.testing.assert_array_equal(store.read(subject, "meg"), signals)
            assert store.segments(subject, "meg").tolist() == [[0, len(signals)]]
            description = store.attributes(subject, "meg")
            assert (description.sampling_frequency, description.rank) == (100.0, 4)
            expected = (simulation.mean, simulation.std) if standardize else (np.zeros(4), np.ones(4))
            np.testing.assert_array_equal(store.mean(subject, "meg"), expected[0][None])
            np.testing.assert_array_equal(store.std(subject, "meg"), expected[1][None])
        assert store.config["simulation"]["transition_probabilities"] == simulation.transition_probabilities.tolist()
    truth = read_truth(path)
    assert truth.kind == "hmm"
    for name in ("means", "covariances", "transition_probabilities", "initial_probabilities"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(simulation, name))
    for number, subject in enumerate(simulation.subjects):
        np.testing.assert_array_equal(truth.states[subject], simulation.states[number])
        np.testing.assert_array_equal(truth.subject_covariances[subject], simulation.subject_covariances[number])


def test_the_stored_arguments_make_the_same_simulation_again(tmp_path, simulation):
    write_simulation(simulation, tmp_path / "simulated.h5")
    again = simulate_hmm(**read_truth(tmp_path / "simulated.h5").arguments)
    np.testing.assert_array_equal(again.time_series[4], simulation.time_series[4])
    np.testing.assert_array_equal(again.subject_covariances, simulation.subject_covariances)


def test_large_given_covariances_fit_in(tmp_path):
    covariances = np.tile(np.eye(60), (6, 1, 1)) + 0.123456789
    simulation = simulate_hmm(n_states=6, n_channels=60, n_samples=300, covariances=covariances)
    write_simulation(simulation, tmp_path / "simulated.hdf5")
    truth = read_truth(tmp_path / "simulated.hdf5")
    assert truth.subject_covariances is None
    np.testing.assert_array_equal(np.array(truth.arguments["covariances"]), covariances)


def test_an_existing_store_stays_unless_it_is_to_be_replaced(tmp_path, simulation):
    path = tmp_path / "simulated.hdf5"
    write_simulation(simulation, path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="exists already"):
        write_simulation(simulation, path)
    with pytest.raises(DataError, match="single sample"):
        write_simulation(simulate_hmm(n_samples=1), path, overwrite=True)
    assert path.read_bytes() == before
    write_simulation(simulate_hmm(n_samples=40, n_states=2), path, overwrite=True)
    assert read_truth(path).means.shape == (2, 11)
    assert [item.name for item in tmp_path.iterdir()] == ["simulated.hdf5"]


def test_no_training_subject_is_refused(tmp_path, simulation):
    with pytest.raises(ConfigurationError, match=r"n_subjects is 5.*\(3 \+ 2\)"):
        write_simulation(simulation, tmp_path / "s.hdf5", n_validation_subjects=3, n_testing_subjects=2)
    with pytest.raises(ConfigurationError, match="group"):
        write_simulation(simulation, tmp_path / "s.hdf5", group="a/b")
    assert list(tmp_path.iterdir()) == []


def test_fewer_samples_than_channels_are_told(tmp_path):
    with pytest.warns(DataWarning, match="sub-001: rank"):
        write_simulation(simulate_hmm(n_samples=4, n_channels=8), tmp_path / "short.hdf5")


def test_a_store_without_truth_and_a_damaged_truth_are_named(tmp_path, simulation):
    path = tmp_path / "simulated.hdf5"
    write_simulation(simulation, path)
    with h5py.File(path, "r+") as file:
        del file["truth/means"]
    with pytest.raises(DataCorruptionError, match="means"):
        read_truth(path)
    with h5py.File(path, "r+") as file:
        del file["truth"]
    with pytest.raises(DataError, match="holds no truth"):
        read_truth(path)
