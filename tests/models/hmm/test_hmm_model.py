"""The HMM as a model: its counts, what it infers of a subject, what it samples."""

import numpy as np
import pytest
import torch

from dynml import MultiSubjectDataset, Recording
from dynml.models.hmm.config import HMMConfig
from dynml.models.hmm.inference import infer
from dynml.models.hmm.model import GaussianHMM
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.training.model_summary import model_summary, parameter_table


@pytest.mark.parametrize(
    ("settings", "total", "trained"),
    [
        ({"learn_means": False}, 19962, 19482),
        ({"learn_means": True}, 19962, 19962),
        ({"covariance_type": "diagonal"}, 480 + 480 + 42, 480 + 480 + 42),
    ],
)
def test_parameter_counts_of_the_tutorials_table(settings, total, trained):
    model = GaussianHMM(HMMConfig(n_states=6, **settings), n_channels=80)
    rows = parameter_table(model)
    assert (sum(row.n_parameters for row in rows), sum(row.n_trained for row in rows)) == (total, trained)
    assert f"Parameters: {total} in all, {trained} trained, {total - trained} fixed" in model_summary(model)


def model_of(simulation, covariance_type="full"):
    model = GaussianHMM(HMMConfig(n_states=3, covariance_type=covariance_type), n_channels=6)
    model.set_parameters(
        GaussianHMMParameters(
            torch.from_numpy(simulation.means),
            torch.from_numpy(simulation.covariances),
            torch.full((3,), 1 / 3),
            torch.from_numpy(simulation.transition_probabilities),
        )
    )
    return model


def test_rows_of_a_subject_align_with_its_stored_samples(simulation):
    series = simulation.time_series[0][:400]
    recording = Recording(
        signals=series,
        sampling_frequency=100.0,
        channel_names=tuple("abcdef"),
        segments=np.array([[20, 150], [170, 390]]),
        segment_runs=np.array([0, 0]),
        run_names=("run",),
        source_samples=np.array([[20, 0], [170, 0]]),
        events=None,
        sources=(),
        preparation=(),
        units="",
    )
    dataset = MultiSubjectDataset.from_arrays([recording])
    (result,) = infer(model_of(simulation), dataset.training_set)
    inside = np.zeros(400, bool)
    inside[20:150] = inside[170:390] = True
    assert result.alpha.shape == (400, 3)
    np.testing.assert_allclose(result.alpha[inside].sum(1), 1, atol=1e-5)
    assert np.isnan(result.alpha[~inside]).all()
    assert (result.states[~inside] == -1).all()
    assert (result.states[inside] == simulation.states[0][:400][inside]).mean() > 0.97
    parts = [
        model_of(simulation).posteriors(torch.from_numpy(series[a:b]), torch.tensor([0, b - a]))
        for a, b in [(20, 150), (170, 390)]
    ]
    assert result.log_likelihood == pytest.approx(sum(float(logs.sum()) for _, logs in parts), rel=1e-9)
    assert result.n_samples == 350


def test_dual_estimates_are_weighted_moments(simulation):
    series = simulation.time_series[0]
    dataset = MultiSubjectDataset.from_arrays([series])
    model = model_of(simulation)
    (result,) = infer(model, dataset.training_set)
    weights, signals = result.alpha.astype(np.float64), series.astype(np.float64)
    for state in range(3):
        mean = np.average(signals, axis=0, weights=weights[:, state])
        covariance = np.cov(signals.T, aweights=weights[:, state], bias=True)
        np.testing.assert_allclose(result.means[state], mean, atol=1e-4)
        np.testing.assert_allclose(result.covariances[state], covariance, rtol=0.02, atol=0.02)


def test_samples_have_the_models_moments_and_transitions(simulation):
    model = model_of(simulation)
    signals, states = model.sample(40_000, torch.Generator().manual_seed(1))
    again, _ = model.sample(40_000, torch.Generator().manual_seed(1))
    assert torch.equal(signals, again)
    counts = torch.zeros(3, 3)
    counts.index_put_((states[:-1], states[1:]), torch.ones(39_999), accumulate=True)
    np.testing.assert_allclose(counts / counts.sum(1, keepdim=True), simulation.transition_probabilities, atol=0.01)
    for state in range(3):
        own = np.cov(signals[states == state].double().numpy().T)
        scale = np.sqrt(np.outer(np.diag(simulation.covariances[state]), np.diag(simulation.covariances[state])))
        assert np.abs((own - simulation.covariances[state]) / scale).max() < 0.06
