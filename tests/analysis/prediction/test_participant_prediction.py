"""Prediction of people: scores by autograd, tangent space by its definition, and no leak from confounds or families."""

import numpy as np
import pytest
import torch
from scipy.linalg import logm, sqrtm

from dynml.analysis.prediction.cross_validation import PredictionSettings, cross_validated
from dynml.analysis.prediction.features import FeatureSet, positive_definite, vectors_of_fold
from dynml.analysis.prediction.fisher import fisher_scores
from dynml.analysis.prediction.folds import connected_groups, folds_of
from dynml.analysis.prediction.scores import scores_of
from dynml.errors import DataError

SETTINGS = PredictionSettings(n_repeats=1, n_permutations=99)


def log_likelihood(signals, segments, logits, transition_logits, means, triangles):
    """Forward algorithm in torch; covariances are filled from their lower triangles."""
    n_states, n_channels = means.shape
    rows, columns = np.tril_indices(n_channels)
    covariances = torch.zeros(n_states, n_channels, n_channels, dtype=torch.float64)
    covariances[:, rows, columns] = triangles
    covariances[:, columns, rows] = triangles
    densities = torch.stack(
        [torch.distributions.MultivariateNormal(m, c).log_prob(signals) for m, c in zip(means, covariances)], dim=1
    )
    transitions, total = torch.log_softmax(transition_logits, dim=1), 0.0
    for start, stop in segments:
        forward = torch.log_softmax(logits, dim=0) + densities[start]
        for time in range(start + 1, stop):
            forward = torch.logsumexp(forward[:, None] + transitions, dim=0) + densities[time]
        total = total + torch.logsumexp(forward, dim=0)
    return total


def posteriors(signals, segments, initial, transitions, means, covariances):
    """State probabilities and expected transitions, by gradients of the likelihood's own terms."""
    densities = torch.stack(
        [torch.distributions.MultivariateNormal(m, c).log_prob(signals) for m, c in zip(means, covariances)], dim=1
    ).requires_grad_()
    logs, total = transitions.log().requires_grad_(), 0.0
    for start, stop in segments:
        forward = initial.log() + densities[start]
        for time in range(start + 1, stop):
            forward = torch.logsumexp(forward[:, None] + logs, dim=0) + densities[time]
        total = total + torch.logsumexp(forward, dim=0)
    alpha, expected = torch.autograd.grad(total, [densities, logs])
    return alpha.numpy(), expected.numpy()


def test_fisher_scores_are_the_gradient_of_the_likelihood():
    generator = np.random.default_rng(0)
    n_states, n_channels, segments = 3, 2, [(0, 12), (12, 30)]
    signals = torch.tensor(generator.normal(size=(30, n_channels)))
    means = torch.tensor(generator.normal(size=(n_states, n_channels)))
    roots = generator.normal(size=(n_states, n_channels, n_channels))
    covariances = torch.tensor(roots @ roots.transpose(0, 2, 1) + np.eye(n_channels))
    logits, transition_logits = torch.tensor(generator.normal(size=3)), torch.tensor(generator.normal(size=(3, 3)))
    initial, transitions = torch.softmax(logits, 0), torch.softmax(transition_logits, 1)
    alpha, expected = posteriors(signals, segments, initial, transitions, means, covariances)
    rows, columns = np.tril_indices(n_channels)
    parameters = [logits, transition_logits, means, covariances[:, rows, columns]]
    parameters = [one.clone().requires_grad_() for one in parameters]
    gradients = torch.autograd.grad(log_likelihood(signals, segments, *parameters), parameters)
    reference = np.concatenate([one.numpy().ravel() for one in gradients]) / len(signals)
    firsts = alpha[[start for start, _ in segments]].sum(axis=0)
    scores = fisher_scores(
        *(signals.numpy(), alpha, firsts, expected, initial.numpy(), transitions.numpy()),
        *(means.numpy(), covariances.numpy()),
    )
    np.testing.assert_allclose(scores, reference, atol=1e-5)


def test_tangent_vectors_are_logarithms_at_the_mean_of_the_training_people():
    generator = np.random.default_rng(1)
    roots = generator.normal(size=(8, 1, 3, 3))
    covariances = roots @ np.swapaxes(roots, 2, 3) + np.eye(3)
    train, test = np.arange(6), np.arange(6, 8)
    x_train, x_test = vectors_of_fold(FeatureSet("covariances", covariances), train, test)
    assert (x_train.shape, x_test.shape) == ((6, 6), (2, 6))
    mean = np.eye(3)
    for _ in range(50):  # Fletcher and Joshi's descent to the geometric mean
        root = sqrtm(mean)
        white = np.linalg.inv(root)
        mean = root @ _exponential(np.mean([logm(white @ one @ white) for one in covariances[train, 0]], axis=0)) @ root
    white = np.linalg.inv(sqrtm(mean))
    rows, columns = np.tril_indices(3)
    logs = np.stack([logm(white @ one @ white)[rows, columns] for one in covariances[:, 0]])
    logs = (logs - logs[train].mean(axis=0)) / logs[train].std(axis=0)
    np.testing.assert_allclose(np.concatenate([x_train, x_test]), logs, atol=1e-4)


def _exponential(matrix):
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.exp(values)) @ vectors.T


def test_singular_covariances_are_shrunk():
    fixed, n_shrunk = positive_definite(np.stack([np.ones((2, 2)), np.eye(2)]))
    assert n_shrunk == 1
    assert np.linalg.eigvalsh(fixed).min() > 0.05


def predicted(features, target, confounds=None, groups=None, seed=0):
    n = len(target)
    generator = np.random.default_rng(seed)
    targets = np.stack([target, *(generator.permutation(target) for _ in range(99))], axis=1)[:, :, None]
    confounds = np.zeros((n, 0)) if confounds is None else confounds
    groups = np.arange(n) if groups is None else groups
    found = cross_validated(FeatureSet("table", features), targets, confounds, groups, SETTINGS)
    return scores_of(found, groups, 0)


def test_a_target_is_found_and_noise_is_not():
    generator = np.random.default_rng(2)
    features = generator.normal(size=(80, 5))
    target = features[:, 0] + 0.3 * generator.normal(size=80)
    found = predicted(features, target)
    assert found.main > 0.8
    assert found.p == 0.01
    assert found.interval[0] < found.main < found.interval[1]
    assert abs(predicted(features, generator.normal(size=80)).main) < 2 / np.sqrt(80)


def test_what_only_a_confound_tells_is_not_predicted():
    generator = np.random.default_rng(3)
    confound = generator.normal(size=(100, 1))
    features = confound + 0.1 * generator.normal(size=(100, 4))
    target = confound[:, 0] + 0.1 * generator.normal(size=100)
    assert predicted(features, target).main > 0.9
    assert abs(predicted(features, target, confound).main) < 2 / np.sqrt(100)


def test_units_of_targets_and_features_do_not_matter():
    generator = np.random.default_rng(6)
    features = generator.normal(size=(40, 3))
    target = features[:, 0] + generator.normal(size=40)
    one = predicted(features, target)
    for scales in ((1e-14, 1.0), (1e60, 1.0), (1.0, 1e200), (1.0, 1e-200)):
        other = predicted(features * scales[1], target * scales[0])
        assert (other.main, other.p) == pytest.approx((one.main, one.p))
        assert other.interval == pytest.approx(one.interval)
    assert predicted(np.zeros((40, 1)), target + 1000).main == 0


def test_singular_covariances_in_small_units_keep_their_numbers():
    small = 1e-26 * np.stack([np.ones((2, 2)), np.diag([1.0, 3.0])])
    np.testing.assert_allclose(positive_definite(small)[0] / 1e-26, positive_definite(small * 1e26)[0], rtol=1e-9)


def test_families_stay_together_through_any_column():
    groups = connected_groups([["f1", "f1", "f2", "f3", "f4"], ["a", "b", "b", "c", "d"]], 5)
    assert len(set(groups)) == 3
    assert groups[0] == groups[1] == groups[2]
    families = np.repeat(np.arange(10), 3)
    for train, test in folds_of(families, 5, np.random.default_rng(0)):
        assert not set(families[train]) & set(families[test])
    with pytest.raises(DataError, match="5 folds need 5 groups"):
        list(folds_of(np.repeat([0, 1, 2], 4), 5, np.random.default_rng(0)))


def test_training_people_of_one_group_are_refused_in_a_sentence():
    features = FeatureSet("table", np.random.default_rng(0).normal(size=(8, 2)))
    targets = np.arange(8.0).reshape(8, 1, 1)
    groups = np.array([0, 0, 0, 0, 0, 1, 2, 3])
    with pytest.raises(DataError, match="use more folds"):
        cross_validated(features, targets, np.zeros((8, 0)), groups, PredictionSettings(n_folds=2, n_repeats=1))
    found = cross_validated(features, targets, np.zeros((8, 0)), groups, PredictionSettings(n_folds=3, n_repeats=1))
    assert np.isfinite(found.predicted).all()
