"""Directions that single subjects lack: found, shared, and without effect on the covariance of all data."""

import numpy as np
import pytest
import torch

from dynml.ops.moments.shared_directions import null_directions, shared_directions

RIDGE = 1e-5


def covariances_without(directions, n_channels=6, seed=0):
    """A covariance for each (C, L): none of its variance lies along the columns."""
    generator = np.random.default_rng(seed)
    for direction in directions:
        signals = generator.normal(size=(5000, n_channels)) @ generator.normal(size=(n_channels, n_channels))
        basis = np.linalg.qr(direction)[0]
        signals = signals - signals @ basis @ basis.T
        yield torch.from_numpy(np.cov(signals.T, bias=True))


def tilted(n_subjects=5, tilt=0.2, seed=1):
    generator = np.random.default_rng(seed)
    return [np.ones((6, 1)) + tilt * generator.normal(size=(6, 1)) for _ in range(n_subjects)]


def test_null_directions_are_those_without_variance():
    [direction] = tilted(1)
    [covariance] = covariances_without([direction])
    [null] = null_directions(covariance).T
    assert float(abs(null @ torch.from_numpy(direction[:, 0])) / np.linalg.norm(direction)) == pytest.approx(1)
    assert null_directions(torch.eye(6).double()).shape == (6, 0)


def test_what_subjects_lack_is_shared_and_no_state_is_singular_then():
    own = torch.stack(list(covariances_without(tilted())))
    pooled = own.mean(0)
    assert float(torch.linalg.eigvalsh(pooled)[0]) > 1e-3  # together they seem to fill all dimensions
    shared = shared_directions([null_directions(one) for one in own], pooled, RIDGE)
    assert shared.n_directions <= 2
    factor = torch.linalg.cholesky(pooled)
    whitener = torch.linalg.inv(factor)
    smallest = torch.linalg.eigvalsh(whitener @ shared.covariances(own) @ whitener.T)[:, 0]
    assert (torch.linalg.eigvalsh(whitener @ own @ whitener.T)[:, 0] < 1e-9).all()
    assert (smallest > 1e-2).all()


def test_one_state_with_the_covariance_of_all_data_stays_as_it_is():
    own = torch.stack(list(covariances_without(tilted())))
    pooled = own.mean(0) + RIDGE * torch.eye(6)
    shared = shared_directions([null_directions(one) for one in own], own.mean(0), RIDGE)
    torch.testing.assert_close(shared.covariances(pooled[None])[0], pooled, rtol=1e-9, atol=1e-9)


def test_nothing_is_shared_where_all_lack_the_same_or_nothing():
    same = torch.stack(list(covariances_without([np.ones((6, 1))] * 4)))
    assert shared_directions([null_directions(one) for one in same], same.mean(0), RIDGE) is None
    assert shared_directions([torch.zeros(6, 0).double()], torch.eye(6).double(), 0.0) is None


def test_signals_hold_noise_of_the_pooled_covariance_where_directions_are_shared():
    directions = tilted()
    own = torch.stack(list(covariances_without(directions)))
    shared = shared_directions([null_directions(one) for one in own], own.mean(0), RIDGE)
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(own[0] + 1e-12 * torch.eye(6))
    signals = torch.randn(200_000, 6, generator=generator, dtype=torch.float64) @ root.T + 7.0
    noise = torch.randn(200_000, 6, generator=generator, dtype=torch.float64)
    found = shared.signals(signals, torch.full((6,), 7.0), noise)
    expected = shared.covariances(own[:1])[0]
    torch.testing.assert_close(torch.cov(found.T), expected, rtol=0, atol=0.02 * float(expected.diagonal().max()))
    torch.testing.assert_close(found.mean(0), torch.full((6,), 7.0).double(), rtol=0, atol=0.05)
