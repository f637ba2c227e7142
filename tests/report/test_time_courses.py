"""Bins of time courses are means over what was observed."""

import numpy as np
import pytest

from dynml.report.parts.time_courses import NOT_OBSERVED, binned


@pytest.mark.parametrize("step", [1, 3, 7, 50])
def test_bins_are_means_of_observed_samples(step):
    generator = np.random.default_rng(0)
    alpha = generator.dirichlet([1, 1, 1], size=50).astype(np.float32)
    alpha[10:25] = np.nan
    found = binned(alpha, step)
    assert found.shape == (-(-50 // step), 3)
    for number, values in enumerate(found):
        piece = alpha[number * step : (number + 1) * step]
        known = piece[np.isfinite(piece[:, 0])]
        if not len(known):
            assert (values == NOT_OBSERVED).all()
        else:
            np.testing.assert_allclose(values / 254, known.mean(axis=0), atol=0.5 / 254 + 1e-6)
