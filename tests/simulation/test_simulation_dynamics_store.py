from __future__ import annotations

import h5py
import numpy as np
import pytest

from dynml.cli.commands.simulate import parse_simulation, run_simulation
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataCorruptionError, DataError
from dynml.simulation import (
    read_truth,
    simulate_phase_multiplication,
    simulate_sines,
    simulate_switching_var,
    simulate_var,
    write_simulation,
)
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

SIMULATIONS = {
    "var": (simulate_var, {"n_lags": 2, "density": 0.5}),
    "switching_var": (simulate_switching_var, {"n_states": 3, "mean_deviation": 0.2}),
    "sines": (simulate_sines, {"noise": 0.2, "periods": [[9.0], [21.0, 30.0], [50.0]]}),
    "phase_multiplication": (simulate_phase_multiplication, {"n_sources": 3, "multipliers": [2, 3, 4]}),
}
SHARED = {"n_subjects": 5, "n_channels": 4, "n_samples": 120, "sampling_frequencies": [0.5, 1.0], "seed": 2}


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("kind", SIMULATIONS)
def test_the_script_stores_signals_data_sets_events_and_truth(tmp_path, capsys, kind, standardize):
    simulate, settings = SIMULATIONS[kind]
    path = tmp_path / "simulated.hdf5"
    words = [word for key, value in (SHARED | settings).items() for word in (f"--{key}", str(value))]
    words += ["--n_validation_subjects", "1", "--n_testing_subjects", "2", "--standardize", str(standardize).lower()]
    run_simulation(parse_simulation("Simulate.", [kind, str(path), *words]))
    assert "5 subjects (2 training, 1 validation, 2 testing), 600 samples in all" in capsys.readouterr().out
    expected = simulate(**SHARED, **settings)
    expected = expected.standardize() if standardize else expected
    assert faults_of_store(path) == []
    with Store(path) as store:
        assert store.subset("testing") == ["sub-004", "sub-005"]
        assert store.config["allow_mixed_sampling_frequency"] is True
        for number, subject in enumerate(store.subjects):
            np.testing.assert_array_equal(store.read(subject, "signals"), expected.time_series[number])
            assert store.attributes(subject, "signals").sampling_frequency == (0.5, 1.0)[number % 2]
            assert store.file[f"subjects/{subject}"].attrs["dataset"].decode() == f"dataset-{number % 2}"
            mean, std = (expected.mean, expected.std) if standardize else (np.zeros(4), np.ones(4))
            np.testing.assert_array_equal(store.mean(subject, "signals"), mean[None])
            np.testing.assert_array_equal(store.std(subject, "signals"), std[None])
            assert ("events" in store.file[f"subjects/{subject}/signals"]) == (kind != "var")
    truth = read_truth(path)
    assert truth.kind == kind
    for name in expected.parameters:
        np.testing.assert_array_equal(getattr(truth, name), getattr(expected, name))
    for name in expected.courses:
        for subject, own in zip(expected.subjects, getattr(expected, name)):
            np.testing.assert_array_equal(getattr(truth, name)[subject], own)
    again = simulate(**truth.arguments)
    np.testing.assert_array_equal(again.time_series[4], simulate(**SHARED, **settings).time_series[4])


def test_events_reach_the_dataset_under_one_set_of_labels(tmp_path):
    path = tmp_path / "states.hdf5"
    simulation = simulate_switching_var(n_subjects=3, n_samples=60, n_states=4, n_channels=3, seed=4)
    write_simulation(simulation, path, group="bold")
    dataset = MultiSubjectDataset(path, group="bold")
    assert dataset.label_names("state") == ("state-0", "state-1", "state-2", "state-3")
    for subject, states in zip(simulation.subjects, simulation.states):
        events = dataset.signal_source.events(subject, "bold")
        names = np.array(events.names["state"])[events.labels_of_samples("state", 60)]
        assert names.tolist() == [f"state-{state}" for state in states]


def test_the_truth_gives_the_process_of_the_filters(tmp_path):
    simulation = simulate_switching_var(n_samples=50, n_channels=3).standardize()
    write_simulation(simulation, tmp_path / "s.hdf5")
    process = read_truth(tmp_path / "s.hdf5").process
    np.testing.assert_array_equal(process.coefficients, simulation.process.coefficients)
    np.testing.assert_array_equal(process.initial_covariances, simulation.initial_covariances)
    write_simulation(simulate_var(n_samples=50, n_channels=3), tmp_path / "other.hdf5")
    with pytest.raises(DataError, match="simulated by var"):
        _ = read_truth(tmp_path / "other.hdf5").process


def test_long_numbers_stand_in_the_truth_alone(tmp_path):
    coefficients = 0.5 * np.eye(10)[None] + np.zeros((2, 10, 10))
    simulation = simulate_switching_var(n_states=2, n_channels=10, n_samples=90, coefficients=coefficients)
    write_simulation(simulation, tmp_path / "s.hdf5")
    with Store(tmp_path / "s.hdf5") as store:
        assert store.config["simulation"]["coefficients"] == "given"
        assert "allow_mixed_sampling_frequency" not in store.config
        assert "dataset" not in store.file["subjects/sub-001"].attrs
    arguments = read_truth(tmp_path / "s.hdf5").arguments
    np.testing.assert_array_equal(np.array(arguments["coefficients"]), coefficients)


def test_what_cannot_be_written_or_read_is_named(tmp_path):
    simulation = simulate_var(n_subjects=2, n_samples=50, n_channels=3)
    path = tmp_path / "v.hdf5"
    with pytest.raises(ConfigurationError, match=r"n_subjects is 2.*\(1 \+ 1\)"):
        write_simulation(simulation, path, n_validation_subjects=1, n_testing_subjects=1)
    with pytest.raises(ConfigurationError, match="group"):
        write_simulation(simulation, path, group="a/b")
    with pytest.raises(DataError, match="single sample"):
        write_simulation(simulate_var(n_samples=1), path)
    assert not path.exists()
    write_simulation(simulation, path)
    with pytest.raises(DataError, match="exists already"):
        write_simulation(simulation, path)
    with h5py.File(path, "r+") as file:
        del file["truth/coefficients"]
    with pytest.raises(DataCorruptionError, match="coefficients"):
        read_truth(path)
    with h5py.File(path, "r+") as file:
        del file["truth"]
    with pytest.raises(DataError, match="no truth"):
        read_truth(path)
