"""Mean and scatter against NumPy's in float64, far from zero, with masked rows, in any number of chunks."""

import numpy as np
import pytest
import torch

from dynml.ops.moments import pooled as pooled_moments
from dynml.ops.moments.pooled import CentredSums, centred_sums


def subjects_far_from_zero(n_subjects=4, n_rows=900, seed=0):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(5, 5))
    offsets = generator.uniform(6000, 14000, size=(n_subjects, 5))
    return [(generator.normal(size=(n_rows, 5)) @ mixing + offset).astype(np.float32) for offset in offsets]


def of_numpy(rows):
    rows = rows.astype(np.float64)
    return rows.mean(axis=0), np.cov(rows.T, bias=True) * len(rows)


@pytest.mark.parametrize("chunk_rows", [7, 512, 8192])
def test_agrees_with_numpy_at_a_mean_of_ten_thousand_deviations(monkeypatch, chunk_rows):
    monkeypatch.setitem(pooled_moments.CHUNK_ROWS, "cpu", chunk_rows)
    [rows] = subjects_far_from_zero(1)
    found = centred_sums(torch.from_numpy(rows))
    mean, scatter = of_numpy(rows)
    np.testing.assert_allclose(found.mean_C, mean, rtol=1e-13)
    np.testing.assert_allclose(found.scatter_CC, scatter, rtol=1e-9, atol=1e-9 * scatter.max())


def test_sums_of_subjects_with_other_offsets_merge_exactly():
    arrays = subjects_far_from_zero()
    total = CentredSums.zeros(5)
    for rows in arrays:
        total = total.merged(centred_sums(torch.from_numpy(rows)))
    mean, scatter = of_numpy(np.concatenate(arrays))
    assert total.n_samples == 3600
    np.testing.assert_allclose(total.mean_C, mean, rtol=1e-13)
    np.testing.assert_allclose(total.scatter_CC, scatter, rtol=1e-11)


def test_masked_rows_and_empty_signals_have_no_part():
    [rows] = subjects_far_from_zero(1)
    masked = rows.copy()
    masked[100:300] = np.nan
    found = centred_sums(torch.from_numpy(masked))
    mean, scatter = of_numpy(np.delete(rows, slice(100, 300), axis=0))
    assert found.n_samples == 700
    np.testing.assert_allclose(found.mean_C, mean, rtol=1e-13)
    np.testing.assert_allclose(found.scatter_CC, scatter, rtol=1e-9, atol=1e-9 * scatter.max())
    assert centred_sums(torch.empty(0, 5)).n_samples == 0
    assert centred_sums(torch.full((3, 5), torch.nan)).n_samples == 0
