"""Settings of the HMM family. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice, check_fraction
from dynml.errors import ConfigurationError
from dynml.training.config import RunConfig

AUGMENTATIONS = (
    "noise",
    "sign_flip",
    "channel_dropout",
    "amplitude_jitter",
    "time_jitter",
    "time_masking",
    "channel_masking",
)
"""Settings of the loader that change what EM is exact for, and that an HMM refuses."""


@dataclass(frozen=True, kw_only=True)
class HMMConfig:
    """Hidden Markov model with Gaussian states."""

    n_states: int
    """Number of states K. Start with 6 to 12, and check that the findings do not depend on it."""

    learn_means: bool = True
    """Learn the states' means; false: they stay zero (usual for time-delay embedded data)."""

    learn_covariances: bool = True
    """Learn the states' covariances; false: they keep their initial values."""

    covariance_type: Literal["full", "diagonal"] = "full"
    """Full covariances, or variances only."""

    tied_covariance: bool = False
    """All states share one covariance and differ only in their means; needs learn_means."""

    covariances_epsilon: float = 0.0
    """Value added to the diagonal of learnt covariances."""

    covariance_prior_samples: float = 0.01
    """Strength of the inverse-Wishart prior around the covariance of all data, in pseudo-samples per state. 0: no
    prior. Increase it (to tens or hundreds) for short recordings with many channels."""

    learn_transitions: bool = True
    """Learn the transition probabilities; false: they stay at 0.9 on the diagonal."""

    transition_prior: float = 0.0
    """Pseudo-counts added to every entry of the expected transition counts (a Dirichlet prior)."""

    sticky_prior: float = 0.0
    """Pseudo-counts added to the diagonal only, which favours longer visits."""

    transition_prior_matrix: list[list[float]] | None = None
    """Pseudo-counts added to each transition: a matrix with K rows (from) and K columns (to)."""

    allowed_transitions: list[list[int]] | None = None
    """Allowed transitions: a matrix of 1 and 0 with K rows (from) and K columns (to). Transitions marked 0 have
    probability 0."""

    def __post_init__(self) -> None:
        check_at_least("model.n_states", self.n_states, 1)
        check_choice("model.covariance_type", self.covariance_type, ("full", "diagonal"))
        check_at_least("model.covariances_epsilon", self.covariances_epsilon, 0.0)
        check_at_least("model.covariance_prior_samples", self.covariance_prior_samples, 0.0)
        check_at_least("model.transition_prior", self.transition_prior, 0.0)
        check_at_least("model.sticky_prior", self.sticky_prior, 0.0)
        check_square("model.transition_prior_matrix", self.transition_prior_matrix, self.n_states)
        check_allowed(self.allowed_transitions, self.n_states)
        self._refuse_without_effect()

    def _refuse_without_effect(self) -> None:
        if self.tied_covariance and not (self.learn_means and self.learn_covariances):
            accepted = "false where model.learn_means or model.learn_covariances is false: states would not differ"
            raise ConfigurationError("model.tied_covariance", True, accepted)
        if self.learn_transitions:
            return
        for name in ("sticky_prior", "transition_prior_matrix"):
            if getattr(self, name):
                accepted = "absent where model.learn_transitions is false"
                raise ConfigurationError(f"model.{name}", getattr(self, name), accepted)


def check_square(key: str, rows: object, n_states: int) -> None:
    """Refuse what is no matrix (K, K) of finite numbers from 0."""
    if rows is None:
        return
    accepted = f"{n_states} rows of {n_states} numbers of at least 0, as many as model.n_states"
    if not isinstance(rows, (list, tuple)) or len(rows) != n_states:
        raise ConfigurationError(key, rows, accepted)
    for row in rows:
        if not isinstance(row, (list, tuple)) or len(row) != n_states or not all(map(_is_count, row)):
            raise ConfigurationError(key, rows, accepted)


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def check_allowed(rows: list[list[int]] | None, n_states: int) -> None:
    """Refuse what is no matrix of 0 and 1, and one that no path of states can follow, or that has a state cut off."""
    key = "model.allowed_transitions"
    check_square(key, rows, n_states)
    if rows is None:
        return
    if not all(value in (0, 1) for row in rows for value in row):
        raise ConfigurationError(key, rows, f"{n_states} rows of {n_states} numbers, each 0 or 1")
    for state, row in enumerate(rows):
        if not any(row):
            raise ConfigurationError(key, rows, f"a matrix with a 1 in every row; state {state + 1} leads nowhere")


@dataclass(frozen=True, kw_only=True)
class HMMInitializationConfig:
    """Initialization of EM: several starts on a part of the data; the one with the lowest free energy is kept."""

    method: Literal["window_clustering", "random_state_time_course", "random_subset"] = "window_clustering"
    """How each start is made. window_clustering: Gaussians clustered over short windows. random_state_time_course:
    Gaussians of the samples that a random state path assigns to each state. random_subset: random parameters, each
    start on a different random part of the data."""

    n_init: int = 3
    """Maximum number of starts."""

    agreement: float = 1e-4
    """Make no further start when the two best have the same states and their objectives (free energy and priors) differ
    by at most this, in nats per sample. 0: always make all starts."""

    n_epochs: int = 10
    """EM iterations per start."""

    take: float = 1.0
    """Fraction of the training samples used for the starts (whole segments, chosen at random)."""

    max_samples: int = 50_000
    """Maximum number of samples used for the starts."""

    def __post_init__(self) -> None:
        methods = ("window_clustering", "random_state_time_course", "random_subset")
        check_choice("initialization.method", self.method, methods)
        check_at_least("initialization.n_init", self.n_init, 1)
        check_at_least("initialization.agreement", self.agreement, 0.0)
        check_at_least("initialization.n_epochs", self.n_epochs, 1)
        check_fraction("initialization.take", self.take)
        check_at_least("initialization.max_samples", self.max_samples, 1)


@dataclass(frozen=True, kw_only=True)
class HMMTrainerConfig(RunConfig):
    """Training by EM; an epoch is one pass over all training segments."""

    max_epochs: int = 200
    """Maximum number of EM iterations."""

    tolerance: float = 1e-6
    """Converged when an epoch lowers the training objective (free energy and priors) by less than this, in nats per
    sample. 0: never."""

    algorithm: Literal["batch", "incremental"] = "batch"
    """batch: exact EM, one M-step per epoch. incremental: an M-step after every batch from decayed statistics, for data
    so large that only a few epochs are possible."""

    forgetting: float = 0.7
    """incremental: batch t has the weight (t + 2) ** -forgetting; above 0.5 and at most 1."""

    empty_states: Literal["revive", "freeze"] = "revive"
    """What to do with a state to which no sample belongs. revive: split the state that gains most from two Gaussians
    instead of one; freeze: leave it as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("trainer.tolerance", self.tolerance, 0.0)
        check_choice("trainer.algorithm", self.algorithm, ("batch", "incremental"))
        if not isinstance(self.forgetting, float) or not 0.5 < self.forgetting <= 1:
            raise ConfigurationError("trainer.forgetting", self.forgetting, "a number above 0.5 and at most 1")
        check_choice("trainer.empty_states", self.empty_states, ("revive", "freeze"))
