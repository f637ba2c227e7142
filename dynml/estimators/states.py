"""Estimators of states and modes over time: the hidden Markov model and DyNeMo.

Shapes: n trials, T samples, C channels, K states or J modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import DensityMixin, TransformerMixin

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.estimators.base import TimeSeriesEstimator
from dynml.models.inferred import InferredSubject, inferred_subjects
from dynml.store.layout import SUBSET_NAMES

UNOBSERVED = -1


class StatesEstimator(TransformerMixin, DensityMixin, TimeSeriesEstimator):  # type: ignore[misc]
    """What the hidden Markov model and DyNeMo share."""

    _component: ClassVar[str]

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Fit the model to recordings.

        Parameters
        ----------
        X : array (T, C) or (n, T, C), table, Raw, Epochs, list or dict of these, or path of a store
            A list has one entry per recording, of any length. In an array (n, T, C) and in Epochs each trial is a
            separate segment. Of a store, the model is fitted to the training subset, and the validation subset chooses
            the best epoch.
        y : None
            Not used.
        groups : sequence, optional
            Participant of each recording of a list, of each trial, or of each row of a single array, which is then cut
            where the group changes.

        Returns
        -------
        self

        Raises
        ------
        DynmlError
            For data or parameters that cannot be used; also a ValueError.
        """
        self._fitted_to(X, groups, None)
        for name, array in self.experiment_.model.arrays().items():  # type: ignore[operator]
            setattr(self, f"{name}_", array)
        return self

    def transform(self, X: Any) -> Any:
        """Give the probabilities of states, or the mixing coefficients of modes, over time, in the form of X.

        Returns
        -------
        array, (T, K) or (n, T, K)
            They sum to 1; NaN where nothing was observed. Of a list: an object array of these; of a dict or a store: a
            dict by name.
        """
        return self._of_rows(X, lambda one: one.observed_alpha)

    def predict_proba(self, X: Any) -> Any:
        """Give the same as `transform`."""
        return self.transform(X)

    def predict(self, X: Any) -> Any:
        """Give the state (of the most likely path) or the strongest mode of each sample, from 0, in the form of X.

        Returns
        -------
        array of int, (T,) or (n, T)
            -1 where nothing was observed.
        """
        return self._of_rows(X, _components_over_time)

    def fit_predict(self, X: Any, y: Any = None, *, groups: Any = None) -> Any:
        """Fit, and predict the same data."""
        return self.fit(X, y, groups=groups).predict(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the free energy of a sample, in nats: higher is better. For the HMM it is the mean log-likelihood.

        Of a store the testing subset counts, or else the validation, or else the training subset.
        """
        dataset, _ = self._opened(X)
        subsets = [name for name in reversed(SUBSET_NAMES) if dataset.subset(name).n_subjects]
        found = list(inferred_subjects(self._family, self.experiment_.model, dataset.subset(subsets[0])))
        return float(sum(one.log_likelihood for one in found) / sum(one.n_samples for one in found))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns that `transform` gives."""
        self._fitted_experiment()
        n_components = len(self.covariances_)  # type: ignore[attr-defined]
        return np.array([f"{self._component}_{number}" for number in range(n_components)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes in
        return tags

    def _opened(self, X: Any) -> tuple[MultiSubjectDataset, Any]:
        experiment = self._fitted_experiment()
        dataset, series = self._dataset(X, None, None, None, reset=False)
        return experiment.open(dataset), series

    def _of_rows(self, X: Any, wanted: Any) -> Any:
        dataset, series = self._opened(X)
        model, sets = self.experiment_.model, map(dataset.subset, SUBSET_NAMES)
        found = {one.subject: wanted(one) for part in sets for one in inferred_subjects(self._family, model, part)}
        return found if series is None else series.restored(found)


def _components_over_time(one: InferredSubject) -> NDArray[np.int64]:
    alpha = one.observed_alpha
    is_observed = np.isfinite(alpha).all(axis=1)
    path = np.nan_to_num(one.alpha, nan=-np.inf).argmax(axis=1) if one.states is None else one.states
    return np.where(is_observed, path, UNOBSERVED)


class HMM(StatesEstimator):
    """Hidden Markov model with Gaussian states.

    Parameters
    ----------
    n_states : int
        Number of states K.
    covariance_type : {"full", "diagonal"}
    learn_means, learn_covariances, learn_transitions : bool
        What is learnt. For time-delay embedded data, means are usually fixed at 0 (False).
    covariances_epsilon : float
        Value added to the diagonal of learnt covariances.
    covariance_prior_samples : float
        Strength of the prior around the covariance of all data, in pseudo-samples per state.
    transition_prior : float
        Pseudo-counts added to every entry of the expected transition counts.
    n_init : int
        Maximum number of starts.
    max_epochs : int
        Maximum number of EM iterations.
    tolerance : float
        Converged when an iteration lowers the training objective by less than this, in nats per sample.
    n_embeddings : int, optional
        Time-delay embedding of this number (odd) of neighbouring samples.
    n_components : int, optional
        Number of principal components onto which the channels (embedded, if `n_embeddings` is given) are projected.
    sampling_frequency : float, optional
        Hz; for arrays (MNE objects and stores have their own).
    standardization : {"per_run", "per_subject", "training", "none"}
        Standardize each channel to mean 0 and standard deviation 1 in each recording; over the recordings of each
        participant; by the moments of the training data, for new data, too; or not at all. Stores are already
        standardized.
    missing : {"error", "segment", "mask"}
        What to do with samples that are NaN: raise an error, cut them out, or marginalize over them.
    picks : str or list of str, optional
        Channels of MNE objects: types or names; default: all data channels that are not marked bad.
    group : str, optional
        Group of a store, where it has several.
    validation_fraction : float, optional
        Fraction of the participants (`groups`, or else recordings) held out for validation: they choose the best
        epoch, and allow early stopping by settings={"trainer.patience": 5}.
    random_state : int, RandomState or None
        Seed of the run; None: a fixed seed.
    device : str
        cpu, cuda, ..; auto: the GPU if there is one.
    folder : path, optional
        Keep the run there as an experiment, which the scripts can read. Fitting again resumes an interrupted run and
        does not repeat a finished one. Other data or parameters need another folder.
    settings : dict, optional
        Further settings by their names on the command line, such as {"trainer.algorithm": "incremental"}.
    verbose : bool
        Show progress bars.

    Attributes
    ----------
    means_ : array, (K, C)
    covariances_ : array, (K, C, C)
    transition_probabilities_ : array, (K, K)
    initial_probabilities_ : array, (K,)
    experiment_ : dynml.models.experiment.Experiment
    summary_ : dict
        Free energies, baselines and findings.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : array of str
        Where the data have names of channels.
    sampling_frequency_ : float or None
        Hz; None where the subjects of a store differ.

    Examples
    --------
    >>> from dynml import HMM
    >>> from dynml.simulation import simulate_hmm
    >>> recordings = simulate_hmm(n_subjects=3, n_states=3, n_channels=5, n_samples=1000).time_series
    >>> hmm = HMM(n_states=3, sampling_frequency=250).fit(recordings[:2])
    >>> hmm.predict_proba(recordings[2]).shape
    (1000, 3)
    >>> bool(hmm.score(recordings[2:]) > HMM(n_states=1).fit(recordings[:2]).score(recordings[2:]))
    True
    """

    _family_name, _component = "hmm", "state"

    def __init__(
        self,
        n_states: int = 6,
        *,
        covariance_type: Literal["full", "diagonal"] = "full",
        learn_means: bool = True,
        learn_covariances: bool = True,
        learn_transitions: bool = True,
        covariances_epsilon: float = 0.0,
        covariance_prior_samples: float = 0.01,
        transition_prior: float = 0.0,
        n_init: int = 3,
        max_epochs: int = 200,
        tolerance: float = 1e-6,
        n_embeddings: int | None = None,
        n_components: int | None = None,
        sampling_frequency: float | None = None,
        standardization: Literal["per_run", "per_subject", "training", "none"] = "per_run",
        missing: Literal["error", "segment", "mask"] = "error",
        picks: str | Sequence[str] | None = None,
        group: str | None = None,
        validation_fraction: float | None = None,
        random_state: Any = None,
        device: str = "auto",
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())
