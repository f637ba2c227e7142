"""Baselines against independent computations: torch.distributions, EM by hand, the forward algorithm."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from dynml import MultiSubjectDataset
from dynml.batches.whole_segments import PackedSegments, SegmentPasses, part_of_subset
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, GaussianHMMParameters
from dynml.training.data.baselines import (
    SamplesAlone,
    fitted_mixture,
    gaussian_baseline,
    hmm_baseline,
    mixture_baseline,
    names_of_better,
    without_time,
)
from dynml.training.data.em import MStepSettings, PooledMoments, pooled_moments
from dynml.training.processes import Processes

ALONE = Processes()


def switching(lengths=(700, 500, 400), n_channels=4, seed=0):
    generator = np.random.default_rng(seed)
    arrays = []
    for n in lengths:
        state = np.repeat(generator.integers(0, 2, n // 20 + 1), 20)[:n, None]
        scale = np.where(state, np.linspace(0.5, 2, n_channels), np.linspace(2, 0.5, n_channels))
        arrays.append((generator.normal(size=(n, n_channels)) * scale + 0.3).astype(np.float32))
    return arrays


@pytest.fixture(scope="module")
def arrays():
    return switching()


@pytest.fixture(scope="module")
def passes(arrays):
    return SegmentPasses(MultiSubjectDataset.from_arrays(arrays[:2], arrays[2:]))


@pytest.fixture(scope="module")
def states():
    covariances = torch.stack([torch.diag(torch.linspace(a, b, 4).double() ** 2) for a, b in ((0.4, 2.2), (2.2, 0.4))])
    return GaussianHMMParameters(
        torch.zeros(2, 4, dtype=torch.float64),
        covariances,
        torch.tensor([0.9, 0.1], dtype=torch.float64),
        torch.tensor([[0.95, 0.05], [0.1, 0.9]], dtype=torch.float64),
    )


def doubles(arrays):
    return torch.from_numpy(np.concatenate(arrays).astype(np.float64))


def test_one_gaussian_is_exact_far_from_zero():
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(6, 6)) * 30
    offsets = generator.uniform(6000, 14000, 6)
    arrays = [
        (generator.normal(size=(350, 6)) @ mixing + offsets * generator.uniform(0.99, 1.01)).astype(np.float32)
        for _ in range(5)
    ]
    passes = SegmentPasses(MultiSubjectDataset.from_arrays(arrays[:4], arrays[4:], standardization="none"))
    scores = gaussian_baseline(passes, True, pooled_moments(passes("training"), 6), MStepSettings(), ALONE)
    training = doubles(arrays[:4])
    gaussian = MultivariateNormal(training.mean(0), torch.cov(training.T, correction=0))
    assert scores["training"] == pytest.approx(-float(gaussian.log_prob(training).mean()), rel=1e-9)
    assert scores["validation"] == pytest.approx(-float(gaussian.log_prob(doubles(arrays[4:])).mean()), rel=1e-7)


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_one_gaussian_is_scored_with_the_moments_of_the_training_data(arrays, passes, epsilon):
    moments = pooled_moments(passes("training"), 4)
    scores = gaussian_baseline(passes, True, moments, MStepSettings(covariances_epsilon=epsilon), ALONE)
    training = doubles(arrays[:2])
    covariance = torch.cov(training.T, correction=0) + epsilon * torch.eye(4)
    gaussian = MultivariateNormal(training.mean(0), covariance)
    assert scores["training"] == pytest.approx(-float(gaussian.log_prob(training).mean()), abs=1e-5)
    assert scores["validation"] == pytest.approx(-float(gaussian.log_prob(doubles(arrays[2:])).mean()), abs=1e-5)
    assert gaussian_baseline(passes, False, moments, MStepSettings(), ALONE)["validation"] is None


def test_a_singular_gaussian_has_no_score(passes):
    moments = PooledMoments(100.0, torch.zeros(4, dtype=torch.float64), torch.ones(4, 4, dtype=torch.float64))
    scores = gaussian_baseline(passes, True, moments, MStepSettings(), ALONE)
    assert scores == {"training": None, "validation": None}


def log_densities(signals, states):
    return torch.stack(
        [MultivariateNormal(m, D).log_prob(signals) for m, D in zip(states.means_KC, states.covariances_KCC)], 1
    )


def test_an_hmm_is_scored_by_the_forward_algorithm_segment_by_segment(arrays, passes, states):
    def log_likelihood(array):
        densities = log_densities(doubles([array]), states)
        forward = states.initial_probabilities_K.log() + densities[0]
        for t in range(1, len(densities)):
            forward = (forward[:, None] + states.transition_probabilities_KK.log()).logsumexp(0) + densities[t]
        return float(forward.logsumexp(0))

    scores = hmm_baseline(passes, True, states, ALONE)
    assert scores["training"] == pytest.approx(-sum(map(log_likelihood, arrays[:2])) / 1200, abs=1e-5)
    assert scores["validation"] == pytest.approx(-log_likelihood(arrays[2]) / 400, abs=1e-5)
    assert hmm_baseline(passes, False, states, ALONE)["validation"] is None


def fitted_by_hand(signals, states, n_iterations, prior=None):
    """Plain EM of a Gaussian mixture in float64, from uniform weights."""
    weights, means, covariances = torch.full((2,), 0.5).double(), states.means_KC, states.covariances_KCC
    curve = []
    for _ in range(n_iterations + 1):
        densities = torch.stack([MultivariateNormal(m, D).log_prob(signals) for m, D in zip(means, covariances)], 1)
        joint = densities + weights.log()
        curve.append(-float(joint.logsumexp(1).mean()))
        result = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))
        share = joint.softmax(1)
        n = share.sum(0)
        weights, means = n / n.sum(), share.T @ signals / n[:, None]
        residuals = signals[:, None] - means
        scatter = torch.einsum("tk,tka,tkb->kab", share, residuals, residuals)
        extra, centre = (0.0, 0.0) if prior is None else (prior[0], prior[0] * prior[1])
        covariances = (scatter + centre) / (n + extra)[:, None, None]
        if len(curve) > 1 and curve[-2] - curve[-1] < 1e-4:
            break
    return result, curve


@pytest.mark.parametrize("pseudo_samples", [0, 30])
def test_a_mixture_without_time_is_fitted_by_em_from_the_states(arrays, passes, states, pseudo_samples):
    dataset = MultiSubjectDataset.from_arrays(arrays[:2], arrays[2:])
    part = part_of_subset(dataset.training_set, 10_000, seed=1)
    pooled = torch.cov(doubles(arrays[:2]).T, correction=0)
    prior = CovariancePrior(pseudo_samples, pooled) if pseudo_samples else None
    scores = mixture_baseline(passes, True, fitted_mixture(states, part, MStepSettings(covariance_prior=prior)), ALONE)
    by_hand, curve = fitted_by_hand(doubles(arrays[:2]), states, 15, prior and (pseudo_samples, pooled))
    assert len(curve) > 2
    for name, signals in (("training", arrays[:2]), ("validation", arrays[2:])):
        expected = -float(by_hand.log_prob(doubles(signals)).mean())
        # A mixture drawn as states without memory: its first sample has weights of its own, no more.
        assert scores[name] == pytest.approx(expected, abs=2e-3)
    moments = pooled_moments(passes("training"), 4)
    gaussian = gaussian_baseline(passes, True, moments, MStepSettings(), ALONE)
    assert scores["training"] < gaussian["training"] - 0.1


def test_a_mixture_takes_no_heed_of_order(arrays, passes, states):
    dataset = MultiSubjectDataset.from_arrays(arrays[:2], arrays[2:])
    part = part_of_subset(dataset.training_set, 10_000, seed=1)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(part.signals)))
    shuffled = PackedSegments(part.signals[order], part.starts)
    mixtures = [fitted_mixture(states, one, MStepSettings()) for one in (part, shuffled)]
    first, second = (mixture_baseline(passes, True, mixture, ALONE) for mixture in mixtures)
    assert first == pytest.approx(second, abs=1e-6)


def test_a_mixture_is_fitted_to_the_part_alone_and_scored_on_all(arrays, passes, states):
    part = PackedSegments(torch.from_numpy(arrays[0][:300]), torch.tensor([0, 300]))
    scores = mixture_baseline(passes, False, fitted_mixture(states, part, MStepSettings()), ALONE)
    by_hand, _ = fitted_by_hand(doubles([arrays[0][:300]]), states, 15)
    assert scores["training"] == pytest.approx(-float(by_hand.log_prob(doubles(arrays[:2])).mean()), abs=5e-3)
    assert scores["validation"] is None


def test_batches_without_time_have_a_segment_for_each_sample(passes):
    (batch,) = passes("training")
    (alone,) = without_time([batch])
    assert isinstance(alone, SamplesAlone)
    assert alone.starts.tolist() == list(range(len(batch.signals) + 1))
    borders = [int(batch.starts[i]) for i in batch.groups]
    assert alone.groups.tolist() == borders


def test_names_of_better_are_those_with_the_lower_or_an_equal_score():
    baselines = {
        "gaussian": {"training": 3.0, "validation": None},
        "gaussian_mixture": {"training": 2.0, "validation": 5.0},
        "hmm": {"training": 1.0, "validation": 2.0},
    }
    own = {"training": 2.0, "validation": 2.5}
    assert names_of_better(own, baselines, "training") == ["gaussian_mixture", "hmm"]
    assert names_of_better(own, baselines, "validation") == ["hmm"]
    assert names_of_better({"training": None}, baselines, "training") == []
    assert names_of_better(own | {"validation": None}, baselines, "validation") == []


def test_masked_samples_have_no_part_in_baselines(arrays, states):
    generator = np.random.default_rng(5)
    masked, kept = [array.copy() for array in arrays], []
    for array in masked:
        rows = np.repeat(generator.random(len(array) // 2) < 0.2, 2)
        rows[[0, 1, -2, -1]] = False
        array[rows] = np.nan
        kept.append(array[~rows])
    assert len({len(array) for array in kept}) == 3
    dataset = MultiSubjectDataset.from_arrays(masked[:2], masked[2:], missing="mask")
    assert dataset.n_masked == sum(map(len, arrays)) - sum(map(len, kept))
    passes = SegmentPasses(dataset)
    moments = pooled_moments(passes("training"), 4)
    training = doubles(kept[:2])
    assert moments.n_samples == len(training)
    torch.testing.assert_close(moments.mean_C, training.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(moments.covariance_CC, torch.cov(training.T, correction=0), atol=1e-5, rtol=0)
    gaussian = MultivariateNormal(training.mean(0), torch.cov(training.T, correction=0))
    scores = gaussian_baseline(passes, True, moments, MStepSettings(), ALONE)
    assert scores["validation"] == pytest.approx(-float(gaussian.log_prob(doubles(kept[2:])).mean()), abs=1e-5)
    part = part_of_subset(dataset.training_set, 10_000, seed=1)
    mixture = mixture_baseline(passes, True, fitted_mixture(states, part, MStepSettings()), ALONE)
    by_hand, _ = fitted_by_hand(training, states, 15)
    for name, signals in (("training", kept[:2]), ("validation", kept[2:])):
        assert mixture[name] == pytest.approx(-float(by_hand.log_prob(doubles(signals)).mean()), abs=2e-3)


def test_groups_of_samples_alone_are_counted_without_masked_ones():
    signals = torch.arange(12.0).reshape(6, 2)
    signals[[1, 2, 4]] = torch.nan
    batch = SamplesAlone(signals, torch.tensor([0, 3, 4, 6]), torch.tensor([0, 1, 3]))
    (alone,) = without_time([batch])
    assert alone.signals[:, 0].tolist() == [0.0, 6.0, 10.0]
    assert alone.starts.tolist() == [0, 1, 2, 3]
    assert alone.groups.tolist() == [0, 1, 3]
