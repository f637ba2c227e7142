"""Sets of features, and the pipelines that make vectors of them within a fold.

Shapes: N participants, F features, K states, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.freedman_lane import scaled

Doubles = NDArray[np.float64]
SHRUNK = 0.1
"""Share of the mean variance on the diagonal, for covariances that are not positive definite."""
SMALLEST_EIGENVALUE = 1e-6
"""Of a covariance, relative to its mean variance, that counts as positive."""


@dataclass(frozen=True)
class FeatureSet:
    """Features that one predictor learns from."""

    name: str
    values: Doubles
    """(N, F), NaN where there is none; or covariances (N, K, C, C)."""

    @property
    def are_covariances(self) -> bool:
        """Whether they are covariances, which go through the tangent space."""
        return self.values.ndim == 4


def vectors_of_fold(features: FeatureSet, train: NDArray[np.int64], test: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Make vectors of train and test; all that is fitted is fitted on train.

    Tangent space (of covariances), medians for missing values, and scales.

    Returns
    -------
    array (n_train, F), array (n_test, F)
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps: list[Any] = [_Tangent()] if features.are_covariances else []
    steps += [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    pipeline = make_pipeline(*steps)
    values = features.values if features.are_covariances else scaled(features.values)[0]
    return pipeline.fit_transform(values[train]), pipeline.transform(values[test])


class _Tangent:
    """Covariances (N, K, C, C) -> their tangent vectors at the geometric mean of those fitted, state by state."""

    def fit(self, covariances: Doubles, _target: Any = None) -> _Tangent:
        from nilearn.connectome import ConnectivityMeasure
        from sklearn.covariance import EmpiricalCovariance

        self._measures = []
        for own in np.moveaxis(covariances, 1, 0):
            measure = ConnectivityMeasure(
                cov_estimator=EmpiricalCovariance(assume_centered=True),
                kind="tangent",
                vectorize=True,
                standardize=False,
            )
            measure.fit(_roots(own))
            self._measures.append(measure)
        return self

    def transform(self, covariances: Doubles) -> Doubles:
        states = np.moveaxis(covariances, 1, 0)
        return np.concatenate([one.transform(_roots(own)) for one, own in zip(self._measures, states)], axis=1)

    def fit_transform(self, covariances: Doubles, target: Any = None) -> Doubles:
        return self.fit(covariances, target).transform(covariances)


def _roots(covariances: Doubles) -> list[Doubles]:
    """Rows (C, C) whose second moment is the covariance, since nilearn takes samples: X^T X / C = covariance."""
    n_channels = covariances.shape[-1]
    return [np.sqrt(n_channels) * np.linalg.cholesky(one).T for one in covariances]


def positive_definite(covariances: Doubles) -> tuple[Doubles, int]:
    """Shrink covariances (.., C, C) that are not positive definite toward their mean variance.

    Returns
    -------
    array (.., C, C)
    int
        How many were shrunk.
    """
    flat = covariances.reshape(-1, *covariances.shape[-2:]).copy()
    n_shrunk = 0
    for number, one in enumerate(flat):
        scale = float(np.trace(one)) / len(one)
        if np.linalg.eigvalsh(one)[0] > SMALLEST_EIGENVALUE * scale:
            continue
        flat[number] = (1 - SHRUNK) * one + SHRUNK * (scale if scale > 0 else 1.0) * np.eye(len(one))
        n_shrunk += 1
    return flat.reshape(covariances.shape), n_shrunk


def together(sets: Sequence[FeatureSet], name: str = "all") -> FeatureSet | None:
    """All tables side by side; None where there are fewer than two."""
    tables = [one.values for one in sets if not one.are_covariances]
    return FeatureSet(name, np.concatenate(tables, axis=1)) if len(tables) > 1 else None
