"""Starts of the HMM: each a few EM iterations on a part of the training data, a pure function of (seed, number)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynml.data.subset import MultiSubjectSubset
from dynml.models.hmm.config import HMMInitializationConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.ops.gaussian_hmm import GaussianHMMParameters, log_prior
from dynml.ops.state_initialization import random_state_time_course, window_clustering
from dynml.training.em import MStepSettings, run_em

SUBSET_STREAM, START_STREAM = 11, 12

START_TOLERANCE = 1e-4
"""Nats per sample: a start that improves by less in an iteration is over."""


@dataclass(frozen=True)
class PackedSegments:
    """Whole segments laid end to end: what EM asks of a batch."""

    signals: torch.Tensor
    starts: torch.Tensor
    groups: torch.Tensor | None = None


@dataclass(frozen=True)
class Start:
    """Where one start arrived."""

    parameters: GaussianHMMParameters
    free_energy: float
    """On the part of the data that starts see, nats per sample."""
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


def subset_for_starts(
    subset: MultiSubjectSubset, config: HMMInitializationConfig, seed: int, number: int = 0
) -> PackedSegments:
    """Draw whole segments at random until there are enough samples; the last one may be cut.

    All starts see the same part, so that their free energies can be compared; with the method `random_subset` each
    start is made on a part of its own (`number`).
    """
    table = subset.segments
    wanted = min(int(np.ceil(config.take * table.n_samples)), config.max_samples)
    generator = np.random.default_rng(np.random.SeedSequence((seed, SUBSET_STREAM, number)))
    rows, lengths, missing = [], [], wanted
    for index in generator.permutation(len(table)):
        start, stop = int(table.start[index]), int(table.stop[index])
        stop = min(stop, start + missing)
        rows.append(subset.read(int(table.subject[index]), start, stop))
        lengths.append(stop - start)
        missing -= stop - start
        if missing <= 0:
            break
    starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    return PackedSegments(torch.cat(rows), starts)


def make_start(
    number: int,
    subset: MultiSubjectSubset,
    model: GaussianHMM,
    config: HMMInitializationConfig,
    settings: MStepSettings,
    seed: int,
    *,
    jitter: float = 0.0,
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
    """
    common = subset_for_starts(subset, config, seed)
    own = subset_for_starts(subset, config, seed, number + 1) if config.method == "random_subset" else common
    generator = np.random.default_rng(np.random.SeedSequence((seed, START_STREAM, number)))
    if jitter:
        noise = jitter * generator.standard_normal(own.signals.shape, dtype=np.float32)
        own = PackedSegments(own.signals + torch.from_numpy(noise).to(own.signals.device), own.starts)
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
    improved = run_em([own], parameters, settings, n_iterations=config.n_epochs, tolerance=START_TOLERANCE)
    if config.method == "random_subset":
        improved = run_em([common], improved.parameters, settings, n_iterations=1)
    prior = log_prior(
        improved.parameters,
        covariance_prior=settings.covariance_prior,
        transition_prior=settings.transition_prior,
    )
    return Start(improved.parameters, improved.free_energy, improved.free_energy - prior / len(common.signals))
