"""DyNeMo as an estimator: modes that mix, in the place of states that exclude each other.

Shapes: n trials, T samples, C channels, J modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dynml.estimators.states import StatesEstimator


class DyNeMo(StatesEstimator):
    """Dynamic network modes: Gaussian modes, mixed at every sample by coefficients that recurrent networks infer.

    `transform` gives the coefficients, which sum to 1 at every sample, `predict` the strongest mode. The parameters
    from `sampling_frequency` on are those of `HMM`.

    Parameters
    ----------
    n_modes : int
        Number of modes J.
    sequence_length : int
        Samples of a window given to the recurrent networks.
    covariance_type : {"full", "diagonal"}
    learn_means, learn_covariances : bool
        What is learnt. For time-delay embedded data, means are usually fixed at 0 (False).
    inference_n_units, model_n_units : int
        Units of the recurrent network that infers the coefficients, and of the one that predicts them.
    n_kl_annealing_epochs : int
        Epochs until the KL term has full weight.
    max_epochs : int
        Passes over the training data.
    learning_rate : float
    batch_size_training : int
        Windows in a batch.
    n_embeddings, n_components : int, optional
        Time-delay embedding and principal components, as for `HMM`.

    Attributes
    ----------
    means_ : array, (J, C)
    covariances_ : array, (J, C, C)
    experiment_, summary_, n_iter_, n_features_in_, feature_names_in_, sampling_frequency_
        As of `HMM`.

    Examples
    --------
    >>> from dynml import DyNeMo
    >>> from dynml.simulation import simulate_hmm
    >>> recordings = simulate_hmm(n_subjects=2, n_states=2, n_channels=4, n_samples=400).time_series
    >>> dynemo = DyNeMo(n_modes=2, sequence_length=50, max_epochs=2, n_kl_annealing_epochs=1).fit(recordings)
    >>> [alpha.shape for alpha in dynemo.transform(recordings)]
    [(400, 2), (400, 2)]
    """

    _family_name, _component = "dynemo", "mode"

    def __init__(
        self,
        n_modes: int = 6,
        *,
        sequence_length: int = 200,
        covariance_type: Literal["full", "diagonal"] = "full",
        learn_means: bool = True,
        learn_covariances: bool = True,
        inference_n_units: int = 64,
        model_n_units: int = 64,
        n_kl_annealing_epochs: int = 40,
        max_epochs: int = 160,
        learning_rate: float | str = 0.01,
        batch_size_training: int = 32,
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
