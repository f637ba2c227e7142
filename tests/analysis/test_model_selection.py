from __future__ import annotations

import math

import numpy as np
import pytest

from dynml.analysis.model_selection import information_criteria
from dynml.ops.hmm.free_parameters import n_free_parameters


def test_free_parameters_worked_out_by_hand():
    # 2 states, 3 channels: means 6, covariances 2 * 6, transitions 2, initial 1
    assert n_free_parameters(2, 3) == 6 + 12 + 2 + 1
    assert n_free_parameters(2, 3, covariance_type="diagonal") == 6 + 6 + 2 + 1
    assert n_free_parameters(2, 3, learn_means=False) == 15
    assert n_free_parameters(2, 3, learn_covariances=False, learn_transitions=False, learn_initial=False) == 6
    assert n_free_parameters(1, 1) == 2
    assert n_free_parameters(6, 80) == 6 * 80 + 6 * 3240 + 30 + 5


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_agrees_with_hmmlearn(covariance_type):
    from hmmlearn.hmm import GaussianHMM

    signals = np.random.default_rng(0).normal(size=(300, 2))
    model = GaussianHMM(2, covariance_type=covariance_type, n_iter=5, random_state=0).fit(signals)
    name = "full" if covariance_type == "full" else "diagonal"
    criteria = information_criteria(model.score(signals), n_free_parameters(2, 2, covariance_type=name), 300)
    assert criteria.aic == pytest.approx(model.aic(signals))
    assert criteria.bic == pytest.approx(model.bic(signals))


def test_criteria_worked_out_by_hand():
    criteria = information_criteria(-100.0, 7, 50)
    assert criteria.aic == 214.0
    assert criteria.bic == pytest.approx(7 * math.log(50) + 200)
    assert (criteria.n_parameters, criteria.n_samples) == (7, 50)
