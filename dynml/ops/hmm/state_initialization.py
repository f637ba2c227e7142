"""Where EM of a Gaussian HMM may start from: random state paths, or windows clustered by their covariances.

Shapes: n samples of one or more segments end to end, C channels, K states. `starts`, (n_segments + 1,), are the row
borders of the segments: 0 first, n last. Rows that are NaN in all channels were not observed: Gaussians, windows and
clusters are made of the others, and trials of EM marginalise them. All randomness comes from the generator that is
passed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.hmm.forward_backward import as_borders
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, e_step, log_prior, m_step, statistics_of_posteriors
from dynml.ops.hmm.slow_forms import Neighbourhood, forms_of, slowest
from dynml.ops.hmm.statistics import CovarianceType, GaussianHMMParameters
from dynml.ops.k_means import k_means_labels
from dynml.ops.masked_samples import observed_if_masked
from dynml.ops.workers import Workers

Array = NDArray[Any]

WINDOW_LENGTHS = (5, 10, 24, 72)
"""Samples; one of them is near the states' mean lifetime where that is between 4 and 150 samples."""

STRETCH_LENGTH = 2000
"""Samples of a contiguous part that is drawn from a long segment."""

STAY_PROBABILITY = 0.9

_TRIAL_TOLERANCE = 1e-3
"""Nats per sample: a trial that improves by less in an iteration is over."""

_STEPS_BEFORE_GIVING_UP = 2
"""Iterations after which a trial may be given up that falls behind the best one."""


def random_state_time_course(
    signals: Tensor,
    starts: Tensor | Array,
    n_states: int,
    *,
    generator: np.random.Generator,
    learn_means: bool = False,
    covariance_type: CovarianceType = "full",
    prior: CovariancePrior | None = None,
    transitions: Tensor | None = None,
) -> GaussianHMMParameters:
    """Gaussians of the samples that a random walk over the states gives to each state.

    Parameters
    ----------
    signals : Tensor, (n, C), float32 or float64
    starts : Tensor or array, (n_segments + 1,)
    n_states : int
    generator : numpy Generator
    learn_means : bool
        If not, means are zero and covariances are second moments about zero.
    covariance_type : {"full", "diagonal"}
    prior : CovariancePrior, optional
        Its pseudo-samples join every state's samples.
    transitions : Tensor, (K, K), optional
        Of the walk and of the result; by default a state is left with probability 0.1 for any of the others.

    Returns
    -------
    GaussianHMMParameters
        With uniform initial probabilities.

    Notes
    -----
    The Gaussians differ from the pooled one by chance alone, so EM has to break the symmetry by itself: of 8 starts 5
    reach the optimum with 6 well separated states in 80 channels, none with 12 states in 40 channels.
    """
    chain = stay_or_jump(n_states, STAY_PROBABILITY) if transitions is None else transitions
    labels = _random_walk(chain.double().cpu().numpy(), as_borders(starts, len(signals)), generator)
    return parameters_from_labels(
        signals,
        torch.from_numpy(labels),
        chain,
        generator=generator,
        learn_means=learn_means,
        covariance_type=covariance_type,
        prior=prior,
    )


def window_clustering(
    signals: Tensor,
    starts: Tensor | Array,
    n_states: int,
    *,
    generator: np.random.Generator,
    learn_means: bool = False,
    covariance_type: CovarianceType = "full",
    prior: CovariancePrior | None = None,
    transitions: Tensor | None = None,
    window_lengths: Sequence[int] = WINDOW_LENGTHS,
    n_trial_iterations: int = 8,
    max_samples: int | None = None,
    softening: tuple[float, float] = (1.0, 4.0),
) -> GaussianHMMParameters:
    """Gaussians of windows that are alike in the products of channels that change most slowly.

    Parameters
    ----------
    signals, starts, n_states, generator, learn_means, covariance_type, prior
        As in `random_state_time_course`.
    transitions : Tensor, (K, K), optional
        Of the result, never changed; by default a state stays for one window on average, then EM goes on from there.
    window_lengths : sequence of int
        Samples. Every length gives a clustering, each is improved by up to `n_trial_iterations` EM iterations, and the
        one with the lowest free energy (prior included) is kept.
    n_trial_iterations : int
        With 0 and a single window length, the clustering is returned as it is.
    max_samples : int, optional
        Random stretches with about as many samples are used; by default max(20,000, 40 K C).
    softening : (float, float)
        Samples with a squared norm (per whitened channel) well above a limit count for little more than it, because
        products of channels give an artefact the fourth power of its size. The limit is drawn between these two, so
        that several starts differ.

    Returns
    -------
    GaussianHMMParameters
        Deterministic for the same generator state and signals, whatever the number of threads.

    Notes
    -----
    Window averages of the products of channels that change most slowly (`dynml.ops.hmm.slow_forms`) are clustered by
    k-means. The window lengths are tried from the shortest to the longest, each going on from the products that the
    one before it found, until two trials agree: then the next lengths would lead there, too. Data of up to
    `max_samples` are used whole, and all lengths are tried: that is cheap, and what is best is less certain.
    """
    assert len(window_lengths) > 0
    wanted = max(20_000, 40 * n_states * signals.shape[1]) if max_samples is None else max_samples
    n_given = len(signals)
    signals, borders = random_stretches(signals, starts, wanted, generator)
    is_part, observed = len(signals) < n_given, observed_if_masked(signals)
    rows = signals if observed is None else signals[observed]
    kind: dict[str, Any] = {"learn_means": learn_means, "covariance_type": covariance_type}
    limit = float(np.exp(generator.uniform(*np.log(softening))))
    best: tuple[float, GaussianHMMParameters | None] = float("inf"), None
    with Workers(None if signals.device.type == "cpu" else 1) as workers:
        forms = forms_of(rows, limit=limit, workers=workers, **kind)
        coefficients = forms.random(min(n_states + 1, forms.n_independent), generator)
        for window_length in sorted(window_lengths) if n_states > 1 else window_lengths[:1]:
            neighbourhood = Neighbourhood.of(borders, window_length, observed)
            coefficients, values = slowest(forms, coefficients, neighbourhood, n_states - 1)
            labels = k_means_labels(neighbourhood.average(values), n_states, generator)
            chain = stay_or_jump(n_states, 1 - 1 / max(window_length, 2)) if transitions is None else transitions
            parameters = parameters_from_labels(rows, labels, chain, generator=generator, prior=prior, **kind)
            if n_trial_iterations == 0 and len(window_lengths) == 1:
                return parameters
            trial = _try(
                signals,
                borders,
                parameters,
                n_iterations=n_trial_iterations,
                learn_means=learn_means,
                learn_transitions=transitions is None,
                # Stretches begin anywhere: learnt, their initial probabilities would hold first samples where they are.
                learn_initial_probabilities=not is_part,
                prior=prior,
                n_threads=workers.n_threads,
                best=best[0],
                is_enough=is_part,
            )
            agree = abs(trial[0] - best[0]) < _TRIAL_TOLERANCE
            best = trial if best[1] is None or trial[0] < best[0] else best
            if agree and is_part:
                break
    assert best[1] is not None
    return best[1]


def random_stretches(
    signals: Tensor, starts: Tensor | Array, n_samples: int, generator: np.random.Generator
) -> tuple[Tensor, Array]:
    """Contiguous parts of segments, drawn at random until they hold `n_samples` observed samples, end to end.

    Returns
    -------
    signals : Tensor, (m, C)
        The signals themselves if no more than `n_samples` of them were observed.
    borders : int64 array, (n_stretches + 1,)
        Their row borders. A segment longer than `STRETCH_LENGTH` is drawn in parts of that length.
    """
    borders = as_borders(starts, len(signals))
    if len(signals) <= n_samples:
        return signals, borders
    observed = observed_if_masked(signals)
    kept = np.ones(len(signals), dtype=bool) if observed is None else observed.cpu().numpy()
    if np.count_nonzero(kept) <= n_samples:
        return signals, borders
    edges = np.unique(np.concatenate([borders, _inner_edges(borders)]))
    order = generator.permutation(len(edges) - 1)
    n_observed = np.diff(np.concatenate([[0], np.cumsum(kept)])[edges])
    n_taken = int(np.searchsorted(np.cumsum(n_observed[order]), n_samples)) + 1
    taken = np.sort(order[:n_taken])
    parts = [signals[edges[index] : edges[index + 1]] for index in taken]
    return torch.cat(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


def stay_or_jump(n_states: int, stay_probability: float) -> Tensor:
    """Transition probabilities (K, K): stay, or go to any of the other states alike."""
    if n_states == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    transitions = torch.full((n_states, n_states), (1 - stay_probability) / (n_states - 1), dtype=torch.float64)
    return transitions.fill_diagonal_(stay_probability)


def parameters_from_labels(
    signals: Tensor,
    labels: Tensor,
    transitions: Tensor,
    *,
    generator: np.random.Generator,
    learn_means: bool = False,
    covariance_type: CovarianceType = "full",
    prior: CovariancePrior | None = None,
) -> GaussianHMMParameters:
    """Gaussians of the samples of each label.

    Parameters
    ----------
    signals : Tensor, (n, C)
    labels : Tensor, (n,), int64, 0 to K - 1
        Those of masked rows do not matter.
    transitions : Tensor, (K, K)
        Of the result.
    generator : numpy Generator
        Draws samples for labels that nobody has.
    learn_means, covariance_type, prior
        As in `random_state_time_course`.

    Notes
    -----
    A state with fewer samples than twice its covariance has rows is filled up to that number with pseudo-samples of the
    pooled covariance, so that it can be factored.
    """
    n_states, n_channels = len(transitions), signals.shape[1]
    observed = observed_if_masked(signals)
    if observed is not None:
        signals, labels = signals[observed], labels.to(signals.device)[observed]
    labels = _without_empty_states(labels.cpu(), n_states, generator).to(signals.device)
    memberships = torch.nn.functional.one_hot(labels, n_states).to(signals)
    occupancies, first, second = _moments(signals, memberships, covariance_type)
    pooled = _scatter(occupancies.sum()[None], first.sum(0)[None], second.sum(0)[None], learn_means)[0]
    pooled = pooled / max(len(signals), 1)
    scatter = _scatter(occupancies, first, second, learn_means)
    means = first / occupancies.clamp(min=1).unsqueeze(1) if learn_means else torch.zeros_like(first)
    shape = (-1, 1, 1) if covariance_type == "full" else (-1, 1)
    borrowed = (2 * (n_channels if covariance_type == "full" else 1) - occupancies).clamp(min=0).view(shape)
    weight = occupancies.view(shape) + borrowed
    scatter = scatter + borrowed * pooled
    uniform = torch.full((n_states,), 1 / n_states, dtype=torch.float64)
    if prior is not None:
        form = GaussianHMMParameters(means, scatter, uniform, transitions)
        scatter = scatter + prior.pseudo_samples * prior.covariance(form)
        weight = weight + prior.pseudo_samples
    return GaussianHMMParameters(means, scatter / weight, uniform, transitions)


def _try(
    signals: Tensor,
    borders: Array,
    parameters: GaussianHMMParameters,
    *,
    n_iterations: int,
    learn_means: bool,
    learn_transitions: bool,
    learn_initial_probabilities: bool,
    prior: CovariancePrior | None,
    n_threads: int,
    best: float,
    is_enough: bool,
) -> tuple[float, GaussianHMMParameters]:
    """A few EM iterations: negative log-likelihood (and prior) per observed sample, and the parameters it belongs to.

    A trial is over when an iteration improves it by little, when it could not reach the best score so far by as large
    steps as the last one, which grow smaller as a rule, or when it has reached it and that `is_enough`.
    """
    score = float("inf")
    for iteration in range(n_iterations + 1):
        try:
            statistics, _, _ = e_step(signals, borders, parameters, n_threads=n_threads)
        except NotPositiveDefiniteError:
            return float("inf"), parameters
        log_joint = statistics.log_likelihood + log_prior(parameters, covariance_prior=prior)
        before, score = score, -log_joint / max(statistics.n_samples, 1)
        if iteration == n_iterations or before - score < _TRIAL_TOLERANCE:
            break
        if is_enough and abs(score - best) < _TRIAL_TOLERANCE:
            break
        if iteration >= _STEPS_BEFORE_GIVING_UP and score - (n_iterations - iteration) * (before - score) > best:
            break
        parameters, _ = m_step(
            statistics,
            parameters,
            learn_means=learn_means,
            learn_transitions=learn_transitions,
            learn_initial_probabilities=learn_initial_probabilities,
            covariance_prior=prior,
        )
    return score, parameters


def _without_empty_states(labels: Tensor, n_states: int, generator: np.random.Generator) -> Tensor:
    """Give every state without samples a random share of the most crowded state's samples."""
    labels = labels.clone()
    for state in range(n_states):
        counts = torch.bincount(labels, minlength=n_states)
        if counts[state] == 0 and counts.max() > 1:
            rows = torch.nonzero(labels == counts.argmax())[:, 0].numpy()
            labels[torch.from_numpy(generator.choice(rows, size=len(rows) // 2, replace=False))] = state
    return labels


def _scatter(occupancies_K: Tensor, first_KC: Tensor, second: Tensor, learn_means: bool) -> Tensor:
    """Second moments times the number of samples, about the mean or about zero, of the shape of `second`."""
    if not learn_means:
        return second
    means = first_KC / occupancies_K.clamp(min=1).unsqueeze(1)
    if second.ndim == 2:
        return (second - means * first_KC).clamp(min=0)
    return second - means.unsqueeze(2) * first_KC.unsqueeze(1)


def _moments(signals: Tensor, weights: Tensor, covariance_type: CovarianceType) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of weights, of weighted rows, and of their products or squares, about zero."""
    statistics = statistics_of_posteriors(
        signals, np.array([0, len(signals)]), weights, covariance_type=covariance_type
    )
    return statistics.occupancies_K, statistics.first_moments_KC, statistics.second_moments_KCC


def _inner_edges(borders: Array) -> Array:
    """Where segments longer than a stretch are cut."""
    pieces = [np.arange(first, last, STRETCH_LENGTH) for first, last in itertools.pairwise(borders)]
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)


@njit(cache=True)
def _walk(cumulative, uniforms, borders):  # type: ignore  # noqa
    """States of a chain that draws its next state from the row of the last; a segment's first state is any."""
    n_states = len(cumulative)
    labels = np.empty(len(uniforms), dtype=np.int64)
    for segment in range(len(borders) - 1):
        for t in range(borders[segment], borders[segment + 1]):
            if t == borders[segment]:
                state = int(uniforms[t] * n_states)
            else:
                row = cumulative[labels[t - 1]]
                state = np.searchsorted(row, uniforms[t] * row[-1], side="right")
            labels[t] = min(state, n_states - 1)
    return labels


def _random_walk(transitions: Array, borders: Array, generator: np.random.Generator) -> Array:
    return np.asarray(_walk(np.cumsum(transitions, axis=1), generator.random(int(borders[-1])), borders))
