"""osl-dynamics' arrays of an HMM become a model that new recordings are prepared for and inferred by."""

import json

import numpy as np
import pytest
from running_scripts import run_here

from dynml import load_experiment
from dynml.errors import CheckpointError, ConfigurationError
from dynml.exchange.osl_dynamics import lagged_template, read_osl_hmm
from dynml.models.reference import findings_of, percentile_among, percentiles_of
from dynml.store.reading import Store

N_STATES, N_CHANNELS, N_LAGS, N_COMPONENTS = 3, 4, 5, 6
RATE = 100.0
IMPORT, APPLY, INFER = "dynml_import_weights.py", "dynml_apply_preparation.py", "dynml_infer_from_model.py"


def recording(seed, n_samples=1500):
    """Channels that hold the past of each other, so that signs and lags can be told."""
    generator = np.random.default_rng(seed)
    driver = np.convolve(generator.normal(size=n_samples + 20), np.hanning(9), "same")
    delayed = np.stack([driver[10 - lag : 10 - lag + n_samples] for lag in range(N_CHANNELS)], axis=1)
    return delayed + 0.7 * generator.normal(size=(n_samples, N_CHANNELS))


def embedded_as_osl(signals):
    """Rows of n samples per channel, channel by channel, latest first: x_c[t], x_c[t - 1], .., for one t per row."""
    windows = np.lib.stride_tricks.sliding_window_view(signals, N_LAGS, axis=0)  # (T - n + 1, C, n), earliest first
    return windows[:, :, ::-1].reshape(len(windows), -1)


def standardized(signals):
    return (signals - signals.mean(axis=0)) / signals.std(axis=0)


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    embedded = standardized(embedded_as_osl(standardized(recording(0))))
    template = embedded.T @ embedded / len(embedded)
    _, vectors = np.linalg.eigh(template)
    components = vectors[:, ::-1][:, :N_COMPONENTS]
    factors = generator.normal(size=(N_STATES, N_COMPONENTS, N_COMPONENTS))
    transitions = 0.9 * np.eye(N_STATES) + 0.1 / N_STATES
    return {
        "means": np.zeros((N_STATES, N_COMPONENTS)),
        "covs": factors @ factors.swapaxes(1, 2) / N_COMPONENTS + 0.1 * np.eye(N_COMPONENTS),
        "trans_prob": transitions,
        "initial_state_probs": np.full(N_STATES, 1 / N_STATES),
        "pca_components": components,
        "template_cov": template,
        "fe": generator.normal(8.5, 0.5, size=200),
    }


@pytest.fixture
def folder(arrays, tmp_path):
    path = tmp_path / "arrays"
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array.astype(np.float32))
    return path


def imported(folder, *further, status=0):
    settings = ("--n_embeddings", N_LAGS, "--sampling_frequency", RATE)
    return run_here(IMPORT, folder, folder.parent, "hmm", "--family", "hmm", *settings, *further, status=status)


def test_recordings_are_embedded_and_projected_as_osl_does(folder, arrays, tmp_path):
    imported(folder)
    signals = recording(1)
    flipped = signals * [1, -1, 1, -1]
    for name, one in {"plain": signals, "flipped": flipped}.items():
        (tmp_path / "new" / name).mkdir(parents=True)
        np.save(tmp_path / "new" / name / "meg.npy", (1e-9 * one).astype(np.float32))
    run_here(APPLY, tmp_path / "hmm", tmp_path / "new", tmp_path / "new.hdf5", "--files", "meg.npy")
    expected = standardized(embedded_as_osl(standardized(signals)) @ arrays["pca_components"])
    margin = N_LAGS // 2
    with Store(tmp_path / "new.hdf5") as store:
        for name in ("plain", "flipped"):  # the sign of a recording as a whole stays open
            stored = store.read(name, "signals")[margin : len(signals) - margin]
            sign = np.sign((stored * expected).sum())
            np.testing.assert_allclose(sign * stored, expected, atol=2e-3)


def test_the_template_has_the_later_channel_second():
    signals = standardized(recording(3))
    embedded = embedded_as_osl(signals)
    template = lagged_template(embedded.T @ embedded / len(embedded), N_LAGS)
    for lag in range(N_LAGS):
        expected = signals[: len(signals) - lag].T @ signals[lag:] / (len(signals) - lag)
        np.testing.assert_allclose(template[lag], expected, atol=0.01)
    assert abs(template[2] - template[2].T).max() > 0.1


def test_states_and_the_percentile_of_the_free_energy(folder, arrays, tmp_path):
    imported(folder)
    (tmp_path / "new" / "sub").mkdir(parents=True)
    np.save(tmp_path / "new" / "sub" / "meg.npy", recording(2).astype(np.float32))
    run_here(APPLY, tmp_path / "hmm", tmp_path / "new", tmp_path / "new.hdf5", "--files", "meg.npy")
    done = run_here(INFER, tmp_path / "hmm", tmp_path / "new.hdf5", tmp_path / "results")
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    energy = summary["free_energy"]["subjects"]["sub"]
    published = np.float32(arrays["fe"])
    share = 100 * (published < energy).mean()
    assert summary["free_energy_percentiles"]["sub"] == pytest.approx(share, abs=1)
    assert ("unlike theirs" in done.stdout) == (share > 95)


def test_a_sample_of_the_model_is_what_the_model_expects(folder, arrays, tmp_path):
    imported(folder)
    experiment = load_experiment(tmp_path / "hmm")
    signals, states = experiment.model.sample(4000)
    result = next(experiment.infer(signals.numpy()))
    entropy = [0.5 * np.linalg.slogdet(2 * np.pi * np.e * one)[1] for one in arrays["covs"]]
    occupancies = np.bincount(states, minlength=N_STATES) / len(states)
    # Entropy of the signals: at least that of the noise, and at most that of noise and states together.
    of_states = -np.sum(arrays["trans_prob"][0] * np.log(arrays["trans_prob"][0]))
    assert occupancies @ entropy - 0.1 < result.free_energy < occupancies @ entropy + of_states + 0.1
    assert "parameters" in repr(experiment)


def test_without_components_the_channels_are_the_models(folder, tmp_path):
    for name in ("pca_components", "template_cov", "fe"):
        (folder / f"{name}.npy").unlink()
    (tmp_path / "names.txt").write_text("\n".join("abcdef"))
    imported(folder, "--channel_names", tmp_path / "names.txt")
    experiment = load_experiment(tmp_path / "hmm")
    assert experiment.parameters["dataset"]["channel_names"] == list("abcdef")
    assert "reference" not in experiment.parameters


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("means", lambda array: array[:, :-1], "covs.npy has the shape"),
        ("covs", lambda array: -array, "not positive definite"),
        ("covs", lambda array: array + 0.1 * np.eye(N_COMPONENTS, k=1), "matrix of state 0 is not symmetric"),
        ("trans_prob", lambda array: 2 * array, "sum to 1"),
        ("initial_state_probs", lambda array: array * np.nan, "NaN"),
        ("pca_components", lambda array: array[1:], "n_embeddings"),
        ("template_cov", lambda array: array[::-1], "n_embeddings"),
        ("fe", lambda array: array[None], "fe.npy has the shape"),
        ("trans_prob", None, "it is missing"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(folder, arrays, tmp_path, name, change, words):
    path = folder / f"{name}.npy"
    if change is None:
        path.unlink()
    else:
        np.save(path, change(arrays[name]))
    assert words in imported(folder, status=2).stderr
    assert not (tmp_path / "hmm").exists()


def test_other_faults(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="n_embeddings"):
        read_osl_hmm(folder, n_embeddings=4)
    (folder / "means.npy").write_bytes(b"\x93NUMPY no more")
    with pytest.raises(CheckpointError, match=r"means\.npy could not be read"):
        read_osl_hmm(folder, n_embeddings=N_LAGS)
    with pytest.raises(CheckpointError, match="is a file, but must be the folder"):
        read_osl_hmm(folder / "means.npy")
    assert "--n_heads" in imported(folder, "--n_heads", 4, status=2).stderr


def test_percentiles_of_published_sessions():
    energies = np.random.default_rng(0).normal(100, 2, size=1001)
    reference = percentiles_of(energies)
    assert percentile_among(reference, np.percentile(energies, 37.0)) == pytest.approx(37.0)
    assert percentile_among(reference, 90.0) == 0.0
    assert percentile_among(reference, 120.0) == 100.0
    assert list(findings_of(reference, {"a": 50.0})) == []
    (finding,) = findings_of(reference, {"a": 50.0, "b": 99.2})
    assert "b (99)" in finding
    assert "1001 sessions" in finding
