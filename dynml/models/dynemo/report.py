"""What is said of a trained DyNeMo: bound, free energy at the mean, baselines, and findings in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynml.batches.batch import Batch
from dynml.batches.fixed_windows import FixedWindows
from dynml.batches.whole_segments import SegmentPasses, part_of_subset
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.models.dynemo.model import Dynemo
from dynml.models.dynemo.starts import fitted_states, prior_of_states
from dynml.models.dynemo.windows import keys_of_draws, n_observed, ragged_mask
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters
from dynml.training.data.baselines import (
    GAUSSIAN,
    HMM,
    MIXTURE,
    Scores,
    fitted_mixture,
    gaussian_baseline,
    hmm_baseline,
    mixture_baseline,
    names_of_better,
    words_of_better,
)
from dynml.training.data.em import MStepSettings, PooledMoments
from dynml.training.data.subject_differences import Occupancies
from dynml.training.processes import Processes

SELDOM = 0.01
"""A mode with less than this share of the variance is named among the findings."""
BASELINE_SAMPLES, BASELINE_STREAM = 100_000, 14


@dataclass(frozen=True)
class SubsetScores:
    """Free energies of a subset, nats per observed sample, and how active each mode is in these."""

    bound: float
    at_mean: float
    """At the posterior's mean instead of draws, and without a prior for each window's first sample: the quantity that
    osl-dynamics reports. It is no bound and serves comparison only."""
    mean_alpha: list[float]
    occupancies: Occupancies
    """Coefficients of each run."""


def scores_of_subset(
    model: Dynemo, windows: FixedWindows, name: str, processes: Processes, n_draws: int
) -> SubsetScores:
    """Score all samples of a subset in windows that do not move, with draws that are functions of the window."""
    totals = torch.zeros(4 + model.config.n_modes, dtype=torch.float64)
    of_segments = _AlphaOfSegments(windows.dataset.subset(name), model.config.n_modes)
    model.eval()
    with torch.no_grad():
        for batch in windows(name):
            mask = ragged_mask(batch)
            observed, lengths = batch.observed, None if mask is None else mask.sum(dim=1)
            bounds = model.bounds_of_draws(batch.windows, keys_of_draws(batch), n_draws, mask, observed)
            at_mean = model.bound_terms(batch.windows, None, mask, observed)
            alpha = model.alpha(model.posterior(batch.windows, lengths, observed)[0])
            counted = mask if observed is None else observed
            alpha = alpha if counted is None else alpha * counted[:, :, None]
            of_segments.add(batch, alpha)
            of_batch = [
                float(bounds.sum()),
                -float(at_mean.log_likelihood_BT.double().sum()),
                float(at_mean.divergence_BT[:, 1:].double().sum()),
                float(batch.n_samples - batch.n_spans),
                *alpha.sum(dim=(0, 1), dtype=torch.float64).tolist(),
            ]
            totals += torch.tensor(of_batch, dtype=torch.float64)
    bound, nll, divergence, n_transitions, *activity = processes.sum(totals).tolist()
    n_samples = sum(activity)
    at_mean_value = nll / n_samples + divergence / max(n_transitions, 1.0)
    occupancies = of_segments.occupancies().of_all(processes)
    return SubsetScores(bound / n_samples, at_mean_value, [value / n_samples for value in activity], occupancies)


class _AlphaOfSegments:
    """Sums of the coefficients of each segment, and how often the largest one changes, over batches of windows."""

    def __init__(self, subset: MultiSubjectSubset, n_modes: int) -> None:
        self._subset = subset
        self._sums = np.zeros((len(subset.segments), n_modes + 1))

    def add(self, batch: Batch, alpha_BTJ: torch.Tensor) -> None:
        """Add windows; coefficients of samples that do not count are 0."""
        largest, known = alpha_BTJ.argmax(dim=2), alpha_BTJ.sum(dim=2) > 0
        changes = ((largest[:, 1:] != largest[:, :-1]) & known[:, 1:] & known[:, :-1]).sum(dim=1, keepdim=True)
        values = torch.cat([alpha_BTJ.sum(dim=1, dtype=torch.float64), changes.double()], dim=1)
        first = np.searchsorted(self._subset.segments.subject, batch.subject.cpu().numpy())
        np.add.at(self._sums, first + batch.segment.cpu().numpy(), values.cpu().numpy()[: len(first)])

    def occupancies(self) -> Occupancies:
        """Sums over the segments of each run."""
        found, table = Occupancies("modes"), self._subset.segments
        for subject in range(self._subset.n_subjects):
            of_subject, runs = self._sums[table.subject == subject], self._subset.runs_of_segments(subject)
            for run in dict.fromkeys(runs.tolist()):
                own = of_subject[runs == run]
                name = self._subset.run_names(subject)[run]
                found.add(self._subset, subject, name, own[:, :-1].sum(axis=0), float(own[:, -1].sum()) + len(own))
        return found


def choosing_bound(model: Dynemo, windows: FixedWindows, processes: Processes, n_samples: int) -> float:
    """Bound with the prior in full, nats per observed sample, on a part of the training windows that do not move.

    One draw per window suffices: windows and draws are the same for all models that are compared.
    """
    total = torch.zeros(2, dtype=torch.float64)
    model.eval()
    with torch.no_grad():
        for batch in windows("training", n_samples):
            mask = ragged_mask(batch)
            bounds = model.bounds_of_draws(batch.windows, keys_of_draws(batch), 1, mask, batch.observed)
            total += torch.tensor([float(bounds.sum()), float(n_observed(batch))], dtype=torch.float64)
    bound, n_observed_samples = processes.sum(total).tolist()
    return bound / n_observed_samples


@dataclass(frozen=True)
class FittedBaselines:
    """Baselines that are fitted to a part of the training data, which is ample for models of their size."""

    states: GaussianHMMParameters
    """HMM of as many states as there are modes."""
    mixture: GaussianHMMParameters
    settings: MStepSettings
    """How both were learnt."""


def report(
    model: Dynemo,
    dataset: MultiSubjectDataset,
    moments: PooledMoments,
    processes: Processes,
    n_draws: int,
    fitted: FittedBaselines,
) -> dict[str, Any]:
    """Entries of summary.json for the best model.

    Returns
    -------
    dict
        free_energy (the bound), free_energy_at_mean, baselines, mean_alpha, relative_activity, findings.
    """
    windows = FixedWindows(dataset, model.config.sequence_length)
    subsets = [name for name in ("training", "validation") if dataset.subset(name).n_subjects]
    scores = {name: scores_of_subset(model, windows, name, processes, n_draws) for name in subsets}
    compared = baselines_of(model, dataset, moments, processes, fitted)
    activity = relative_activity(model, scores["training"].mean_alpha)
    content: dict[str, Any] = {
        "free_energy": {name: scores[name].bound if name in scores else None for name in ("training", "validation")},
        "free_energy_at_mean": {
            name: scores[name].at_mean if name in scores else None for name in ("training", "validation")
        },
        "baselines": compared,
        "mean_alpha": scores["training"].mean_alpha,
        "relative_activity": activity,
        **scores["training"].occupancies.summary(),
    }
    return {**content, "findings": findings(content) + scores["training"].occupancies.findings()}


def baselines_of(
    model: Dynemo, dataset: MultiSubjectDataset, moments: PooledMoments, processes: Processes, fitted: FittedBaselines
) -> dict[str, Scores]:
    """Free energies of one Gaussian, a mixture and an HMM of as many states, nats per sample."""
    passes, has_validation = SegmentPasses(dataset), bool(dataset.validation_set.n_subjects)
    gaussian = gaussian_baseline(passes, has_validation, moments, fitted.settings, processes)
    if max(int(dataset.training_set.ranks.max()), moments.rank) < model.n_channels:
        # What float32 sums leave in the missing dimensions would look like a density.
        gaussian = dict.fromkeys(gaussian)
    return {
        GAUSSIAN: gaussian,
        MIXTURE: mixture_baseline(passes, has_validation, fitted.mixture, processes),
        HMM: hmm_baseline(passes, has_validation, fitted.states, processes),
    }


def fitted_baselines(
    model: Dynemo, dataset: MultiSubjectDataset, moments: PooledMoments, processes: Processes, seed: int
) -> FittedBaselines:
    """Fit an HMM of as many states, and a mixture that starts from it; they depend on no weight of the model."""
    part = part_of_subset(dataset.training_set, BASELINE_SAMPLES, seed)
    generator = np.random.default_rng(np.random.SeedSequence((seed, BASELINE_STREAM)))
    states = processes.from_first(
        lambda: fitted_states(part, model.config.n_modes, model.config, moments, generator)[0]
    )
    settings = MStepSettings(
        learn_means=model.config.learn_means,
        covariance_prior=prior_of_states(moments, model.config),
    )
    return FittedBaselines(states, fitted_mixture(states, part, settings), settings)


def relative_activity(model: Dynemo, mean_alpha: list[float]) -> list[float]:
    """Share of the variance that each mode stands for: mean coefficient times trace, out of the sum over modes."""
    traces = model.full_covariances().diagonal(dim1=1, dim2=2).sum(dim=1).cpu().numpy()
    weights = np.asarray(mean_alpha) * traces
    return [float(value) for value in weights / weights.sum()]


def findings(content: dict[str, Any]) -> list[str]:
    """Say what a statistician would point out: modes that are hardly active, baselines that win."""
    said = []
    seldom = [
        f"{mode} ({share:.2%})" for mode, share in enumerate(content["relative_activity"], start=1) if share < SELDOM
    ]
    if seldom:
        said.append(f"These modes are hardly active: {', '.join(seldom)}. Consider fewer modes, or other starts.")
    for subset in ("training", "validation"):
        better = names_of_better(content["free_energy"], content["baselines"], subset)
        # A model that loses against a single Gaussian is badly trained, which says nothing of the data.
        if HMM in better and GAUSSIAN not in better:
            better.remove(HMM)
            said.append(
                f"On {subset} data an HMM with as many states has the lower free energy: the data look more like "
                "states that exclude each other than like mixtures of modes, or DyNeMo was not trained long enough."
            )
        if better:
            said.append(f"On {subset} data DyNeMo is no better than {words_of_better(better)}.")
    return said
