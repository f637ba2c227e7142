"""Where EM of a Gaussian HMM may start from: random state paths, or windows clustered by their covariances.

Shapes: n samples of one or more segments end to end, C channels, K states, F features. `starts`, (n_segments + 1,), are
the row borders of the segments: 0 first, n last. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.forward_backward import as_borders
from dynml.ops.gaussian_hmm import CovariancePrior, e_step, log_prior, m_step, statistics_of_posteriors
from dynml.ops.hmm_statistics import CovarianceType, GaussianHMMParameters

Array = NDArray[Any]

WINDOW_LENGTHS = (5, 10, 24, 72)
"""Samples; one of them is near the states' mean lifetime where that is between 4 and 150 samples."""

STRETCH_LENGTH = 2000
"""Samples of a contiguous part that is drawn from a long segment."""

STAY_PROBABILITY = 0.9

_MOST_ITERATIONS = 10
"""Of the subspace, for each window length; the next one goes on from where the last one arrived."""

_ENOUGH = 0.01
"""The subspace has converged when an iteration adds less than this share to the variance that it holds."""

_CLUSTERED_ROWS, _CLUSTER_RESTARTS = 4000, 6

_LARGEST_PRODUCT = 2**21
"""Numbers in the largest intermediate product of the quadratic features."""

_TRIAL_TOLERANCE = 1e-3
"""Nats per sample: a trial that improves by less in an iteration is over."""

_CHUNK_ROWS = 8192

_SMALLEST_EIGENVALUE = 1e-6
"""Directions with a smaller share of the largest variance are left out: float32 signals hold nothing there."""


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
        Random stretches with about as many samples are used; by default max(30,000, 40 K C).
    softening : (float, float)
        Samples with a squared norm (per whitened channel) well above a limit count for little more than it, because
        products of channels give an artefact the fourth power of its size. The limit is drawn between these two, so
        that several starts differ.

    Returns
    -------
    GaussianHMMParameters
        Deterministic for the same generator state, signals and number of threads.

    Notes
    -----
    With whitened samples y, a quadratic form y' A y has a mean in every state, and given the states its values at
    different times are independent: its covariance with its own average over the neighbours holds the variance between
    states alone. That operator on matrices A has rank K - 1. Subspace iteration finds its leading forms; an iteration
    costs as much as an EM pass, and never holds C^2 x C^2 numbers. Window averages of the forms are then clustered by
    k-means. (The lagged-moment idea of spectral learning of HMMs: Hsu, Kakade & Zhang 2012; slow features: Wiskott &
    Sejnowski 2002.) Means that are learnt enter as forms of (y, 1); diagonal covariances as squares of channels.
    """
    assert len(window_lengths) > 0
    wanted = max(30_000, 40 * n_states * signals.shape[1]) if max_samples is None else max_samples
    signals, borders = random_stretches(signals, starts, wanted, generator)
    limit = float(np.exp(generator.uniform(*np.log(softening))))
    forms = _forms_of(signals, learn_means, covariance_type, limit)
    coefficients = forms.random(min(n_states + 1, forms.n_independent), generator)
    best: tuple[float, GaussianHMMParameters] | None = None
    for window_length in sorted(window_lengths) if n_states > 1 else window_lengths[:1]:
        neighbourhood = _Neighbourhood.of(borders, window_length)
        coefficients, values = _slowest(forms, coefficients, neighbourhood, n_states - 1)
        labels = _cluster(neighbourhood.average(values), n_states, generator)
        chain = stay_or_jump(n_states, 1 - 1 / max(window_length, 2)) if transitions is None else transitions
        parameters = parameters_from_labels(
            signals,
            labels,
            chain,
            generator=generator,
            learn_means=learn_means,
            covariance_type=covariance_type,
            prior=prior,
        )
        if n_trial_iterations == 0 and len(window_lengths) == 1:
            return parameters
        trial = _try(signals, borders, parameters, n_trial_iterations, learn_means, prior, transitions is None)
        if best is None or trial[0] < best[0]:
            best = trial
    assert best is not None
    return best[1]


def random_stretches(
    signals: Tensor, starts: Tensor | Array, n_samples: int, generator: np.random.Generator
) -> tuple[Tensor, Array]:
    """Contiguous parts of segments, drawn at random until they hold `n_samples` samples, end to end.

    Returns
    -------
    signals : Tensor, (m, C)
        The signals themselves if there are no more than `n_samples`.
    borders : int64 array, (n_stretches + 1,)
        Their row borders. A segment longer than `STRETCH_LENGTH` is drawn in parts of that length.
    """
    borders = as_borders(starts, len(signals))
    if len(signals) <= n_samples:
        return signals, borders
    edges = np.unique(np.concatenate([borders, _inner_edges(borders)]))
    order = generator.permutation(len(edges) - 1)
    n_taken = int(np.searchsorted(np.cumsum(np.diff(edges)[order]), n_samples)) + 1
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


class _Forms(Protocol):
    """Quadratic forms of signals: the linear map from coefficients (F, D) to values at every row, and its transpose."""

    n_independent: int

    def random(self, n_forms: int, generator: np.random.Generator) -> Tensor:
        """Coefficients to begin with, (F, D), float64."""

    def values(self, coefficients_FD: Tensor) -> Tensor:
        """Centred values, (n, F)."""

    def transposed(self, weights: Tensor) -> Tensor:
        """Sums over rows of weights (n, F) times what the coefficients multiply: (F, D), float64, CPU."""


class _ChannelForms:
    """Weighted sums of the squares of channels (and of the channels themselves, if means are learnt)."""

    def __init__(self, rows: Tensor, learn_means: bool) -> None:
        features = torch.cat([rows.square(), rows], 1) if learn_means else rows.square()
        features = features - features.mean(0)
        self._features = features / features.square().mean(0).sqrt().clamp(min=1e-12)
        self.n_independent = features.shape[1]

    def random(self, n_forms: int, generator: np.random.Generator) -> Tensor:
        return torch.from_numpy(generator.standard_normal((n_forms, self.n_independent)))

    def values(self, coefficients_FD: Tensor) -> Tensor:
        return self._features @ coefficients_FD.T.to(self._features)

    def transposed(self, weights: Tensor) -> Tensor:
        return (weights.T @ self._features).double().cpu()


class _ProductForms:
    """y' A y with symmetric A; y is the row, or the row and a one, if means are learnt."""

    def __init__(self, rows: Tensor, learn_means: bool) -> None:
        self._rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1) if learn_means else rows
        self._size = self._rows.shape[1]
        self.n_independent = self._size * (self._size + 1) // 2

    def random(self, n_forms: int, generator: np.random.Generator) -> Tensor:
        matrices = torch.from_numpy(generator.standard_normal((n_forms, self._size, self._size)))
        return (matrices + matrices.transpose(1, 2)).flatten(1)

    def values(self, coefficients_FD: Tensor) -> Tensor:
        matrices = coefficients_FD.view(-1, self._size, self._size).permute(1, 0, 2).reshape(self._size, -1)
        matrices = matrices.to(self._rows)
        output = self._rows.new_empty(len(self._rows), len(coefficients_FD))
        chunk = max(256, _LARGEST_PRODUCT // matrices.shape[1])
        for first in range(0, len(output), chunk):
            rows = self._rows[first : first + chunk]
            products = (rows @ matrices).view(len(rows), -1, self._size)
            output[first : first + chunk] = torch.matmul(products, rows.unsqueeze(2)).squeeze(2)
        return output - output.mean(0)

    def transposed(self, weights: Tensor) -> Tensor:
        sums = torch.zeros(weights.shape[1], self._size, self._size, dtype=torch.float64)
        for first in range(0, len(weights), _CHUNK_ROWS):
            rows = self._rows[first : first + _CHUNK_ROWS]
            for index, share in enumerate(weights[first : first + _CHUNK_ROWS].T):
                sums[index] += ((rows * share.unsqueeze(1)).T @ rows).double().cpu()
        return (0.5 * (sums + sums.transpose(1, 2))).flatten(1)


def _forms_of(signals: Tensor, learn_means: bool, covariance_type: CovarianceType, limit: float) -> _Forms:
    """Whiten the signals (scale them, for diagonal covariances), soften outlying samples, and choose the forms."""
    rows = signals - _centre(signals).to(signals) if learn_means else signals
    if covariance_type == "full":
        _, _, second = _moments(rows, torch.ones_like(rows[:, :1]), "full")
        eigenvalues, eigenvectors = torch.linalg.eigh(second[0] / len(rows))
        kept = eigenvalues > _SMALLEST_EIGENVALUE * eigenvalues[-1]
        rows = rows @ (eigenvectors[:, kept] * eigenvalues[kept].rsqrt()).to(rows)
    else:
        rows = rows / rows.square().mean(0).sqrt().clamp(min=torch.finfo(rows.dtype).tiny)
    rows = rows * (1 + rows.square().mean(1, keepdim=True) / limit).rsqrt()
    return _ProductForms(rows, learn_means) if covariance_type == "full" else _ChannelForms(rows, learn_means)


@dataclass(frozen=True)
class _Neighbourhood:
    """For every row, the first and the last (excluded) of the window around it, cut at the borders of its segment."""

    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, borders: Array, window_length: int) -> _Neighbourhood:
        half = max(window_length // 2, 1)
        rows = np.arange(borders[-1])
        lengths = np.diff(borders)
        first = np.maximum(rows - half, np.repeat(borders[:-1], lengths))
        last = np.minimum(rows + half + 1, np.repeat(borders[1:], lengths))
        return cls(torch.from_numpy(first), torch.from_numpy(last))

    def average(self, values: Tensor, *, without_itself: bool = False) -> Tensor:
        """Mean over the window around every row; zero where a row without itself has no neighbour."""
        first, last = self.first.to(values.device), self.last.to(values.device)
        sums = torch.zeros(len(values) + 1, values.shape[1], dtype=torch.float64, device=values.device)
        torch.cumsum(values.double(), 0, out=sums[1:])
        totals = sums[last] - sums[first]
        counts = (last - first).unsqueeze(1)
        if without_itself:
            totals, counts = torch.where(counts > 1, totals - values, 0.0), (counts - 1).clamp(min=1)
        return (totals / counts).to(values.dtype)


def _slowest(
    forms: _Forms, coefficients: Tensor, neighbourhood: _Neighbourhood, n_wanted: int
) -> tuple[Tensor, Tensor]:
    """Subspace iteration: coefficients to go on from, and the slowest forms' values, (n, at most `n_wanted`)."""
    held, n_wanted = -float("inf"), max(n_wanted, 1)
    for _ in range(_MOST_ITERATIONS):
        values = forms.values(torch.linalg.qr(coefficients.T).Q.T)
        averages = neighbourhood.average(values, without_itself=True)
        coefficients = forms.transposed(averages)
        between = (values.double().T @ averages.double()).cpu() / max(len(values), 1)
        variances, rotation = torch.linalg.eigh(0.5 * (between + between.T))
        before, held = held, float(variances[-n_wanted:].clamp(min=0).sum())
        if held - before <= _ENOUGH * held:
            break
    return coefficients, values @ rotation.flip(1)[:, :n_wanted].to(values)


def _cluster(points: Tensor, n_clusters: int, generator: np.random.Generator) -> Tensor:
    """Label of the nearest centre for every row of (n, F); centres by k-means on some of the rows."""
    rows = np.sort(generator.permutation(len(points))[:_CLUSTERED_ROWS])
    some = points[torch.from_numpy(rows).to(points.device)].double().cpu()
    best: tuple[float, Tensor] | None = None
    for _ in range(_CLUSTER_RESTARTS if n_clusters > 1 else 1):
        candidate = _k_means(some, _spread_centres(some, n_clusters, generator))
        if best is None or candidate[0] < best[0]:
            best = candidate
    assert best is not None
    return _nearest(points, best[1].to(points))[1]


def _spread_centres(points: Tensor, n_clusters: int, generator: np.random.Generator) -> Tensor:
    """k-means++ with the best of a few candidates for each centre (Arthur & Vassilvitskii 2007)."""
    centres = points[[int(generator.integers(len(points)))]]
    distances = (points - centres).square().sum(1)
    for _ in range(1, n_clusters):
        total = float(distances.sum())
        shares = (distances / total).numpy() if total > 0 else np.full(len(points), 1 / len(points))
        candidates = points[generator.choice(len(points), size=4, p=shares / shares.sum())]
        with_each = torch.minimum(distances.unsqueeze(1), torch.cdist(points, candidates).square())
        chosen = int(with_each.sum(0).argmin())
        centres, distances = torch.cat([centres, candidates[[chosen]]]), with_each[:, chosen]
    return centres


def _k_means(points: Tensor, centres: Tensor, n_iterations: int = 30) -> tuple[float, Tensor]:
    """Lloyd's iterations: sum of squared distances, and the centres. A centre without points stays where it is."""
    inertia = float("inf")
    for _ in range(n_iterations):
        distances, labels = _nearest(points, centres)
        if not float(distances.sum()) < inertia:
            break
        inertia = float(distances.sum())
        members = torch.nn.functional.one_hot(labels, len(centres)).to(points)
        counts = members.sum(0).unsqueeze(1)
        centres = torch.where(counts > 0, members.T @ points / counts.clamp(min=1), centres)
    return inertia, centres


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    nearest = (centres.square().sum(1) - 2 * points @ centres.T).min(1)
    return nearest.values + points.square().sum(1), nearest.indices


def _try(
    signals: Tensor,
    borders: Array,
    parameters: GaussianHMMParameters,
    n_iterations: int,
    learn_means: bool,
    prior: CovariancePrior | None,
    learn_transitions: bool,
) -> tuple[float, GaussianHMMParameters]:
    """A few EM iterations: negative log-likelihood (and prior) per sample, and the parameters it belongs to."""
    score, before = float("inf"), float("inf")
    for iteration in range(n_iterations + 1):
        try:
            statistics, _, _ = e_step(signals, borders, parameters)
        except NotPositiveDefiniteError:
            return float("inf"), parameters
        before, score = (
            score,
            -(statistics.log_likelihood + log_prior(parameters, covariance_prior=prior)) / len(signals),
        )
        if iteration == n_iterations or before - score < _TRIAL_TOLERANCE:
            break
        parameters, _ = m_step(
            statistics,
            parameters,
            learn_means=learn_means,
            learn_transitions=learn_transitions,
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


def _centre(signals: Tensor) -> Tensor:
    return signals.mean(0, dtype=torch.float64).cpu() if len(signals) else signals.new_zeros(signals.shape[1]).cpu()


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
