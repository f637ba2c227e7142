"""Starts of the HMM: each a few EM iterations on a part of the training data, a pure function of (seed, number)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynml.batches.whole_segments import PackedSegments, part_of_subset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.models.hmm.config import HMMInitializationConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters
from dynml.ops.hmm.state_agreement import divergence_of_states
from dynml.ops.hmm.state_initialization import random_state_time_course, window_clustering
from dynml.ops.hmm.state_revival import revive_from_data
from dynml.training.data.em import MStepSettings, expectation, log_prior_of, run_em, within_constraints

START_STREAM, REVIVAL_STREAM = 12, 13

START_TOLERANCE = 1e-4
"""Nats per sample: a start that improves by less in an iteration is over."""

SAME_STATES = 0.01
"""Nats: states of two starts that diverge by less on average are the same: EM that stopped early leaves up to 0.002."""


@dataclass(frozen=True)
class Start:
    """Where one start arrived."""

    parameters: GaussianHMMParameters
    free_energy: float
    """On the part of the data that starts see, nats per observed sample."""
    objective: float
    """Free energy and priors: what EM minimises, and what starts are compared by."""

    def to_dictionary(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        numbers = {"free_energy": self.free_energy, "objective": self.objective}
        return {"parameters": self.parameters.to_dictionary(), **numbers}

    @classmethod
    def from_dictionary(cls, content: dict[str, Any]) -> Start:
        """Go on from `to_dictionary`."""
        parameters = GaussianHMMParameters.from_dictionary(content["parameters"])
        return cls(parameters, content["free_energy"], content["objective"])


def enough_starts(starts: Sequence[Start], config: HMMInitializationConfig) -> int | None:
    """Number of the first starts of which the two best agree; None if more have to be made.

    They agree when their objectives differ by less than `config.agreement` and their states are the same: where there
    are many optima, two can be equally good by chance. Starts that several processes made at once are to be cut to that
    number: it is what one process would have made.
    """
    for number in range(2, len(starts) + 1):
        best, second = sorted(starts[:number], key=lambda start: start.objective)[:2]
        is_close = second.objective - best.objective < config.agreement
        if is_close and divergence_of_states(best.parameters, second.parameters) < SAME_STATES:
            return number
    return config.n_init if len(starts) >= config.n_init else None


def scores_of_starts(starts: Sequence[Start]) -> list[dict[str, float]]:
    """Say where each start arrived, and how far its states are from those of the best one.

    Returns
    -------
    list of dict
        objective, free_energy (nats per sample, on the part that starts see) and divergence_from_best (nats, mean over
        the states; NaN where a start's covariances cannot be factorised), in the order in which starts were made.
    """
    best = min(starts, key=lambda start: start.objective)
    return [
        {
            "objective": start.objective,
            "free_energy": start.free_energy,
            "divergence_from_best": _divergence(best, start),
        }
        for start in starts
    ]


def _divergence(best: Start, start: Start) -> float:
    try:
        return divergence_of_states(best.parameters, start.parameters)
    except RuntimeError:  # torch's LinAlgError, which it does not export
        return math.nan


def part_for_starts(
    subset: MultiSubjectSubset, config: HMMInitializationConfig, seed: int, number: int = 0
) -> PackedSegments:
    """Whole segments that starts see.

    All starts see the same part, so that their free energies can be compared; with the method `random_subset` each
    start is made on a part of its own (`number`).
    """
    wanted = min(int(np.ceil(config.take * (subset.n_samples - subset.n_masked))), config.max_samples)
    return part_of_subset(subset, wanted, seed, number)


def make_start(
    number: int,
    subset: MultiSubjectSubset,
    model: GaussianHMM,
    config: HMMInitializationConfig,
    settings: MStepSettings,
    seed: int,
    *,
    jitter: float = 0.0,
    mean_C: torch.Tensor | None = None,
) -> Start:
    """Make start `number` and improve it by EM.

    Parameters
    ----------
    number : int
        From 0.
    subset : MultiSubjectSubset
        Training subjects.
    model : GaussianHMM
        Its config and transitions; left as it is.
    config : HMMInitializationConfig
    settings : MStepSettings
    seed : int
        The run's seed.
    jitter : float
        Standard deviation of noise added to the signals, so that starts on rank-deficient data have covariances that
        can be inverted.
    mean_C : Tensor, (C,), optional
        Mean of all data; needed where the settings share directions. Signals hold noise there.
    """
    common = part_for_starts(subset, config, seed)
    own = part_for_starts(subset, config, seed, number + 1) if config.method == "random_subset" else common
    generator = np.random.default_rng(np.random.SeedSequence((seed, START_STREAM, number)))
    own = _with_noise(own, jitter, settings, mean_C, generator)
    make = window_clustering if config.method == "window_clustering" else random_state_time_course
    parameters = make(
        own.signals,
        own.starts,
        model.config.n_states,
        generator=generator,
        learn_means=model.config.learn_means,
        covariance_type=model.config.covariance_type,
        prior=settings.covariance_prior,
        transitions=None if model.config.learn_transitions else model.transition_probabilities.cpu(),
    )
    parameters = within_constraints(_in_allowed_order(parameters, own, settings), settings)
    improved = run_em([own], parameters, settings, n_iterations=config.n_epochs, tolerance=START_TOLERANCE)
    if config.method == "random_subset":
        improved = run_em([common], improved.parameters, settings, n_iterations=1)
    prior = log_prior_of(improved.parameters, settings)
    return Start(improved.parameters, improved.free_energy, improved.free_energy - prior / improved.n_samples)


def revive(
    state: int,
    number: int,
    parameters: GaussianHMMParameters,
    subset: MultiSubjectSubset,
    config: HMMInitializationConfig,
    settings: MStepSettings,
    seed: int,
    *,
    jitter: float = 0.0,
    mean_C: torch.Tensor | None = None,
) -> GaussianHMMParameters:
    """Restart an empty state from the part of the data that starts see: a pure function of (seed, state, number).

    Parameters
    ----------
    state : int
    number : int
        How often this state was revived before.
    parameters : GaussianHMMParameters
    subset, config, settings, seed, jitter, mean_C
        As in `make_start`.
    """
    generator = np.random.default_rng(np.random.SeedSequence((seed, REVIVAL_STREAM, state, number)))
    part = _with_noise(part_for_starts(subset, config, seed), jitter, settings, mean_C, generator)
    revived = revive_from_data(
        part.signals,
        part.starts,
        parameters,
        state,
        generator=generator,
        learn_means=settings.learn_means,
        learn_transitions=settings.learn_transitions,
        prior=settings.covariance_prior,
    )
    return within_constraints(revived, settings)


def _in_allowed_order(
    parameters: GaussianHMMParameters, part: PackedSegments, settings: MStepSettings
) -> GaussianHMMParameters:
    """Number the states so that as many transitions as can be are among those that are allowed.

    Clusters come in any order, and EM cannot exchange two states whose transitions are constrained.
    """
    if settings.allowed_transitions is None or parameters.n_states < 3 or bool(settings.allowed_transitions.all()):
        return parameters
    from scipy.optimize import quadratic_assignment

    free = dataclasses.replace(settings, allowed_transitions=None, tied_covariance=False)
    free_parameters = run_em([part], parameters, free, n_iterations=3).parameters
    counts = expectation([part], free_parameters).transitions_KK.fill_diagonal_(0.0).numpy()
    allowed = settings.allowed_transitions.double().numpy()
    options = {"maximize": True, "rng": np.random.default_rng(0)}
    orders = [
        quadratic_assignment(allowed, counts, method=method, options=options) for method in ("faq", "2opt", "2opt")
    ]
    order = torch.from_numpy(max(orders, key=lambda one: float(one.fun)).col_ind.copy())
    return GaussianHMMParameters(
        free_parameters.means_KC[order],
        free_parameters.covariances_KCC[order],
        free_parameters.initial_probabilities_K[order],
        free_parameters.transition_probabilities_KK[order][:, order],
    )


def _with_noise(
    part: PackedSegments,
    size: float,
    settings: MStepSettings,
    mean_C: torch.Tensor | None,
    generator: np.random.Generator,
) -> PackedSegments:
    """Signals that are noise in the shared directions, if there are some, and noisy by `size` in all of them."""
    signals = part.signals

    def noise() -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal(signals.shape, dtype=np.float32)).to(signals.device)

    if settings.shared_directions is not None:
        assert mean_C is not None
        signals = settings.shared_directions.signals(signals, mean_C, noise())
    if size:
        signals = signals + size * noise()
    return PackedSegments(signals, part.starts)
