from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynml.simulation import read_truth, simulate_hmm, simulate_hsmm, simulate_mixed_sine
from dynml.store.reading import Store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts_python" / "dynml_simulate_data.py"


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)


def test_the_script_writes_what_python_simulates(tmp_path):
    np.save(tmp_path / "transitions.npy", np.array([[0.7, 0.3], [0.5, 0.5]]))
    path = tmp_path / "simulated.hdf5"
    settings = ["--n_states", 2, "--n_channels", 3, "--n_subjects", 3, "--n_samples", "[50,60,70]", "--seed", 9]
    settings += ["--transition_probabilities", tmp_path / "transitions.npy", "--n_testing_subjects", 1]
    finished = run("hmm", path, *settings)
    assert finished.returncode == 0, finished.stderr
    assert "3 subjects (2 training, 0 validation, 1 testing)" in finished.stdout
    expected = simulate_hmm(
        n_states=2,
        n_channels=3,
        n_subjects=3,
        n_samples=[50, 60, 70],
        seed=9,
        transition_probabilities=[[0.7, 0.3], [0.5, 0.5]],
    ).standardize()
    with Store(path) as store:
        for subject, signals in zip(store.subjects, expected.time_series):
            np.testing.assert_array_equal(store.read(subject, "signals"), signals)
    np.testing.assert_array_equal(read_truth(path).covariances, expected.covariances)
    again = run("hmm", path, *settings)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("kind", "simulate", "settings"),
    [
        ("mixed_sine", simulate_mixed_sine, {"n_modes": 2, "amplitudes": [3, 2], "frequencies": [1.5, 4]}),
        ("mixed_sine", simulate_mixed_sine, {"n_modes": 3, "seeding": "osl_legacy"}),
        ("hsmm", simulate_hsmm, {"n_states": 3, "gamma_shape": [4, 5, 6], "transition_probabilities": "random"}),
        ("hsmm", simulate_hsmm, {"n_states": 2, "gamma_scale": 2.5}),
    ],
)
def test_every_kind_is_written_with_its_truth(tmp_path, kind, simulate, settings):
    settings = {**settings, "n_channels": 3, "n_samples": 200, "seed": 4}
    path = tmp_path / "simulated.hdf5"
    finished = run(kind, path, *[word for key, value in settings.items() for word in (f"--{key}", value)])
    assert finished.returncode == 0, finished.stderr
    expected = simulate(**settings).standardize()
    truth = read_truth(path)
    assert truth.kind == kind
    np.testing.assert_array_equal(truth.alpha["sub-001"], expected.alpha[0])
    np.testing.assert_array_equal(truth.covariances, expected.covariances)
    with Store(path) as store:
        np.testing.assert_array_equal(store.read("sub-001", "signals"), expected.time_series[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hmn", "out.hdf5"], "did you mean 'hmm'"),
        (["hmm", "out.hdf5", "--n_statse", 3], "did you mean '--n_states'"),
        (["hmm", "out.hdf5", "--n_states", 0], "n_states is 0"),
        (["hmm", "out.hdf5", "--n_samples", "many"], "n_samples"),
        (["hmm", "out.hdf5", "--means", "nowhere.npy"], "nowhere.npy"),
        (["mixed_sin", "out.hdf5"], "did you mean 'mixed_sine'"),
        (["mixed_sine", "out.hdf5", "--amplitudes", "[1,2]"], "amplitudes"),
        (["mixed_sine", "out.hdf5", "--n_states", 3], "--n_states"),
        (["hsmm", "out.hdf5", "--gamma_shape", "-1"], "gamma_shape"),
        (["hmm"], "OUT_HDF5 is missing"),
    ],
)
def test_mistakes_give_one_sentence_and_status_2(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    finished = run(*arguments)
    assert finished.returncode == 2
    assert words in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("hmm", "Initial state probabilities"),
        ("hsmm", "Shape of the lifetimes"),
        ("mixed_sine", "amplitude of each mode"),
    ],
)
def test_help_documents_every_setting_without_heavy_imports(kind, words):
    code = (
        f"import sys; sys.argv = ['dynml_simulate_data.py', '{kind}', '--help']\n"
        "from dynml.cli.commands.simulate import parse_simulation\n"
        "try:\n    parse_simulation('Simulate.')\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'h5py', 'matplotlib', 'scipy', 'nibabel'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    shown = " ".join(finished.stdout.split())
    assert words in shown
    assert "distance of subjects' covariances" in shown.lower()
