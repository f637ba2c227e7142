"""Embedding and its projection against windows that are laid out by hand."""

import numpy as np
import pytest
import torch

from dynml.ops.time_delay_embedding import embedded, projected, projected_windows


def windows_of(rows, n_embeddings):
    """All windows, (T', n, C), float64, the earliest sample first."""
    return np.stack([rows[t : t + n_embeddings] for t in range(len(rows) - n_embeddings + 1)]).astype(np.float64)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_columns_go_channel_by_channel_from_the_latest_sample():
    rows = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    expected = [[3.0, 2.0, 1.0, 30.0, 20.0, 10.0], [4.0, 3.0, 2.0, 40.0, 30.0, 20.0]]
    assert embedded(rows, 3).tolist() == expected


@pytest.mark.parametrize("n_samples", [4, 5, 6, 9, 10, 11, 64, 101])
def test_projection_is_that_of_windows_laid_out(n_samples):
    rows, filters = draw(n_samples, 3), draw(5, 3, 4, seed=1)
    found = projected(torch.from_numpy(rows), torch.from_numpy(filters))
    if n_samples < 5:
        assert found.shape == (0, 4)
        return
    expected = np.einsum("tlc,lcp->tp", windows_of(rows, 5), filters.astype(np.float64))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-6)


def test_projection_writes_where_it_is_told_and_takes_transposed_rows():
    rows, filters = torch.from_numpy(draw(3, 40)).T, torch.from_numpy(draw(7, 3, 2, seed=1))
    target = torch.full((36, 2), 7.0)
    projected(rows, filters, target[:34])
    torch.testing.assert_close(target[:34], projected(rows.contiguous(), filters))
    assert (target[34:] == 7.0).all()


def test_gaps_outside_a_window_do_not_reach_it():
    rows = torch.from_numpy(draw(30, 2))
    filters = torch.from_numpy(draw(3, 2, 2, seed=1))
    whole = projected(rows, filters)
    rows[10] = torch.nan
    holed = projected(rows, filters)
    assert torch.isnan(holed).any(dim=1).nonzero()[:, 0].tolist() == [8, 9, 10]
    torch.testing.assert_close(holed[11:], whole[11:], rtol=0, atol=0)


def test_windows_are_projected_one_by_one():
    rows, filters = torch.from_numpy(draw(6, 12, 3)), torch.from_numpy(draw(5, 3, 4, seed=1))
    found = projected_windows(rows, filters)
    assert found.is_contiguous()
    torch.testing.assert_close(found, torch.stack([projected(one, filters) for one in rows]))
    assert projected_windows(rows[:0], filters).shape == (0, 8, 4)
