from __future__ import annotations

import numpy as np
import pytest
import torch

from dynml.ops.k_means import _best_centres, _lloyd, _spread_centres, k_means_labels


@pytest.mark.parametrize("n_points", [300, 9000])  # fewer, and more, than the centres are fitted to
def test_separate_clusters_of_unequal_size_are_found(n_points):
    generator = np.random.default_rng(0)
    truth = generator.choice(5, size=n_points, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    centres = 12 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    points = torch.from_numpy(centres[truth] + generator.standard_normal((n_points, 3)))
    for seed in range(5):
        labels = k_means_labels(points, 5, np.random.default_rng(seed)).numpy()
        counts = np.zeros((5, 5), dtype=int)
        np.add.at(counts, (truth, labels), 1)
        assert ((counts > 0).sum(1) == 1).all()
        assert ((counts > 0).sum(0) == 1).all()


def test_every_point_has_the_label_of_its_nearest_mean():
    points = torch.from_numpy(np.random.default_rng(0).uniform(size=(400, 2)))
    labels = k_means_labels(points, 4, np.random.default_rng(1))
    means = torch.stack([points[labels == label].mean(0) for label in range(4)])
    nearest = torch.cdist(points, means).argmin(1)
    assert (nearest == labels).double().mean() > 0.97


def test_repeated_points_and_one_cluster_are_no_trouble():
    points = torch.ones(50, 2)
    assert not k_means_labels(points, 1, np.random.default_rng(0)).any()
    assert k_means_labels(points, 3, np.random.default_rng(0)).unique().numel() == 1


def test_clusters_far_from_zero_are_found_in_float32():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 600)
    points = 1e4 + np.where(truth[:, None], 1.0, -1.0) + 0.1 * generator.standard_normal((600, 3))
    labels = k_means_labels(torch.from_numpy(points).float(), 2, np.random.default_rng(1)).numpy()
    assert (labels == truth).all() or (labels == 1 - truth).all()


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_clusters_are_cut_as_well_as_by_scikit_learn(seed):
    from sklearn.cluster import KMeans

    generator = np.random.default_rng(seed)
    points = generator.standard_normal((6, 4))[generator.integers(6, size=1500)] + generator.standard_normal((1500, 4))
    labels = k_means_labels(torch.from_numpy(points), 6, np.random.default_rng(seed)).numpy()
    squares = sum(((points[labels == one] - points[labels == one].mean(0)) ** 2).sum() for one in range(6))
    assert squares < 1.01 * KMeans(6, n_init=6, random_state=seed).fit(points).inertia_


def test_a_better_restart_is_kept_when_others_are_left():
    """Only one of the restarts begins near the three clusters; the others have two centres in one of them."""
    generator = np.random.default_rng(0)
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]], dtype=torch.float64)
    points = centres[generator.integers(3, size=600)] + torch.from_numpy(generator.standard_normal((600, 2)))
    lost = torch.tensor([[0.0, 0.0], [0.5, 0.0], [25.0, 25.0]], dtype=torch.float64)
    first = torch.stack([lost, lost + 0.1, centres + 1.0, lost - 0.1])
    found = torch.from_numpy(_best_centres(points.T.contiguous().numpy(), first.numpy()))
    assert torch.cdist(centres, found).min(1).values.max() < 0.5


@pytest.mark.parametrize("n_points", [40, 256, 700])  # less than a block of points, a whole one, and several
def test_iterations_are_those_of_lloyd(n_points):
    generator = np.random.default_rng(n_points)
    points = generator.standard_normal((n_points, 3))
    centres = first = np.vstack([points[:4], [[99.0, 99.0, 99.0]]])  # nobody is near the last one
    for _ in range(5):
        distances = np.linalg.norm(points[:, None] - centres, axis=2)
        members = [points[distances.argmin(1) == one] for one in range(5)]
        total = (distances.min(1) ** 2).sum()
        centres = np.stack([group.mean(0) if len(group) else centres[k] for k, group in enumerate(members)])
    found = first.copy()
    before, is_over = _lloyd(np.ascontiguousarray(points.T), np.square(points).sum(), found, 5, 0.0)
    assert before == pytest.approx(total, rel=1e-12)
    assert not is_over
    np.testing.assert_allclose(found, centres, rtol=1e-12)


def test_first_centres_are_points_that_lie_far_apart():
    generator = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(6) / 6
    centres = 20 * np.column_stack([np.cos(angles), np.sin(angles)])
    points = centres[generator.integers(6, size=900)] + generator.standard_normal((900, 2))
    for restart in _spread_centres(np.ascontiguousarray(points.T), 6, 5, generator):
        assert (np.linalg.norm(points - restart[:, None], axis=2).min(1) == 0).all()
        assert len(np.unique(np.linalg.norm(restart[:, None] - centres, axis=2).argmin(1))) == 6
