"""Trains the HMM by EM: an epoch is an M-step followed by one pass that gives statistics and exact free energy.

    initialize      pooled moments of the data; starts, each a few EM iterations on a part of it; the best is kept
    epoch e         theta_e = M(statistics of theta_e-1)       start_of_epoch
                    statistics and log p(x) under theta_e      run_one_batch, back_propagation
                    so the free energy logged for an epoch is exactly that of the model saved for it

The incremental version makes an M-step after every batch, from statistics that forget (Cappe & Moulines 2009,
Journal of the Royal Statistical Society B 71:593), for data so large that few passes are possible.
"""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch

from dynml.batches.batch import Batch
from dynml.configuration import check_instance, config_to_dictionary
from dynml.errors import ConfigurationError, DataWarning, EmptyStateWarning
from dynml.models.hmm.config import AUGMENTATIONS, HMMInitializationConfig, HMMTrainerConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.models.hmm.priors import allowed_transitions_of, transition_prior_of
from dynml.models.hmm.report import collapsed_states, findings, occupancies_of, words_of_shared
from dynml.models.hmm.starts import Start, enough_starts, make_start, part_for_starts, revive, scores_of_starts
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, GaussianHMMParameters, Statistics, e_step
from dynml.ops.moments.shared_directions import SharedDirections, shared_directions
from dynml.training.batch_result import BatchResult
from dynml.training.checkpoints.experiment_folder import pretrained_weights
from dynml.training.config import RunConfig
from dynml.training.data.baselines import GAUSSIAN, MIXTURE, fitted_mixture, gaussian_baseline, mixture_baseline
from dynml.training.data.data_scale import warn_of_zero_means
from dynml.training.data.em import (
    MStepSettings,
    PooledMoments,
    expectation,
    log_prior_of,
    maximization,
    summed,
    within_constraints,
)
from dynml.training.data.pretrained_data import check_data_of_pretrained
from dynml.training.data.run_moments import RanksOfRuns, moments_of_runs
from dynml.training.monitors import EpochMonitor
from dynml.training.trainer import Trainer

MOST_REVIVALS = 3
"""A state that empties more often than this is left empty: the data do not want it."""

ROUNDING = 1e-3
"""EM cannot raise its objective by more than what float32 likelihoods explain, in nats per sample."""

RIDGE = 1e-5
"""Share of the mean variance that rank-deficient data get in all directions; float32 sums leave errors of 1e-7."""


class HMMTrainer(Trainer):
    """EM on the shared trainer; see `Trainer` for the other parameters.

    Parameters
    ----------
    initialization : HMMInitializationConfig, optional
    pretrained : str or Path, optional
        Experiment whose best model this run starts from, instead of its own starts.
    """

    config_class: ClassVar[type[RunConfig]] = HMMTrainerConfig
    model_class: ClassVar[type[torch.nn.Module]] = GaussianHMM
    loss_name: str = "free_energy"
    family_name: ClassVar[str | None] = "hmm"
    model: GaussianHMM

    def __init__(
        self,
        *arguments: Any,
        initialization: HMMInitializationConfig | None = None,
        pretrained: str | None = None,
        **settings: Any,
    ) -> None:
        kinds = (HMMInitializationConfig, type(None))
        check_instance("initialization", initialization, kinds, "an HMMInitializationConfig")
        check_instance("pretrained", pretrained, (str, os.PathLike, type(None)), "the path of an experiment")
        super().__init__(*arguments, **settings)
        self.initialization = initialization or HMMInitializationConfig()
        self.parameters["initialization"] = config_to_dictionary(self.initialization)
        self.pretrained = pretrained
        self.moments: PooledMoments | None = None
        self.ranks: RanksOfRuns | None = None
        self.shared: SharedDirections | None = None
        self.starts: list[Start] = []
        self.start_scores: list[dict[str, float]] = []
        self.mixture: GaussianHMMParameters | None = None
        self.statistics: Statistics | None = None
        self.running: Statistics | None = None
        self.revivals: dict[int, int] = {}
        self.revived_now = False
        self.converged = False
        self._check_sizes(self.dataset.training_set.n_samples - self.dataset.training_set.n_masked)
        self._check_loader()
        if pretrained is not None:
            self._pretrained_weights(pretrained)
            check_data_of_pretrained(pretrained, self.dataset, self.config.other_preparation)

    # ------------------------------------------------------------------ initialization

    def initialize(self) -> None:
        """Pool the data's moments, then make the starts that are still missing and keep the best."""
        if self.moments is None:
            self.moments, self.ranks, nulls = moments_of_runs(self.dataset.training_set, self.processes)
            self._check_sizes(round(self.moments.n_samples))
            self._check_rank()
            self._share_directions(nulls)
            if not self.model.config.learn_means:
                warn_of_zero_means(self.moments.mean_C, self.moments.covariance_CC.diagonal().sqrt())
            self.initialization_step_done()
        if self.pretrained is not None:
            self.model.load_state_dict(self._pretrained_weights(self.pretrained))
            self.model.set_parameters(within_constraints(self.model.get_parameters(), self.m_step_settings()))
            return
        while enough_starts(self.starts, self.initialization) is None:
            number = len(self.starts) + self.processes.rank
            own = self._make_start(number) if number < self.initialization.n_init else None
            self.starts += [start for start in self.processes.gather(own) if start is not None]
            self.initialization_step_done()
        self.starts = self.starts[: enough_starts(self.starts, self.initialization)]
        self.start_scores = scores_of_starts(self.starts)
        self.model.set_parameters(min(self.starts, key=lambda start: start.objective).parameters)

    def n_initialization_steps(self) -> int:
        """One for the pooled moments, and one a start."""
        return 1 + (0 if self.pretrained is not None else self.initialization.n_init)

    def _make_start(self, number: int) -> Start:
        subset, settings = self.dataset.training_set, self.m_step_settings()
        return make_start(number, subset, self.model, self.initialization, settings, self.config.seed, **self._noise())

    def _noise(self) -> dict[str, Any]:
        """What keeps covariances of a part of rank-deficient data invertible."""
        assert self.moments is not None
        return {"jitter": math.sqrt(self._ridge()), "mean_C": self.moments.mean_C}

    # ------------------------------------------------------------------ epochs

    def start_of_epoch(self) -> None:
        """M-step from the statistics of the epoch before; the first epoch takes the start as it is."""
        if self.statistics is not None and self.config.algorithm == "batch":
            self._maximize(self.statistics)
        self.running = None if self.config.algorithm == "batch" else self.running

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """E-step of one batch; the loss is its exact free energy."""
        assert batch.starts is not None
        self._of_batch = e_step(batch.signals, batch.starts, self.model.get_parameters(), groups=batch.groups)[0]
        n_samples = self._of_batch.n_samples
        loss = self._of_batch.free_energy if n_samples else 0.0
        return BatchResult(torch.tensor(loss, dtype=torch.float64), float(n_samples))

    def back_propagation(self, result: BatchResult) -> None:
        """Add the batch's statistics, or learn from it at once (incremental)."""
        if self.config.algorithm == "batch":
            self.running = self._of_batch if self.running is None else self.running + self._of_batch
            return
        assert self.moments is not None
        of_batch = summed(self._of_batch, self.processes)
        if not of_batch.n_samples:
            return
        scaled = of_batch.scaled(self.moments.n_samples / of_batch.n_samples)
        weight = (self.progress.step + 2.0) ** -self.config.forgetting
        self.running = scaled if self.running is None else self.running.scaled(1 - weight) + scaled.scaled(weight)
        self._maximize(self.running)

    def end_of_training_epoch(self) -> None:
        """Keep the statistics for the next M-step and see whether EM has converged."""
        loss = self.monitors["training_loss"].mean
        self.statistics = self._running_of_all()
        self.running = self.running if self.config.algorithm == "incremental" else None
        log_prior = log_prior_of(self.model.get_parameters(), self.m_step_settings())
        objective = loss - log_prior / self.monitors["training_loss"].weight
        self.monitors["training_objective"] = EpochMonitor()
        self.monitors["training_objective"].add(objective, 1.0)
        if self.config.algorithm == "incremental" or not self.history.rows:
            return
        fall = self.history.rows[-1]["training_objective"] - objective
        # The ridge of rank-deficient data is outside the objective, which may then rise a little at the optimum.
        exact = not self._ridge()
        self.converged = fall < self.config.tolerance and (fall >= 0 or not exact) and not self.revived_now
        if fall < -ROUNDING and exact and not self.revived_now:
            warnings.warn(
                f"EM raised its objective by {-fall:.3g} nats per sample in epoch {self.progress.epoch + 1}, more than "
                "rounding explains; the data may be badly scaled.",
                DataWarning,
                stacklevel=2,
            )

    def _running_of_all(self) -> Statistics | None:
        """Sums of the epoch so far; incremental EM shares them after every batch, batch EM only when it must."""
        if self.running is None or self.config.algorithm == "incremental":
            return self.running
        return summed(self.running, self.processes)

    def monitored_name(self) -> str:
        """Free energy of held-out data; without such, what EM lowers: free energy with the priors' part."""
        return "validation_loss" if self.dataset.validation_set.n_subjects else "training_objective"

    def stopping_reason(self) -> str | None:
        """Converged, or what stops any run."""
        return "converged" if self.converged else super().stopping_reason()

    def _maximize(self, statistics: Statistics) -> None:
        parameters, empty = maximization(statistics, self.model.get_parameters(), self.m_step_settings())
        self.revived_now = False
        for state in empty.states:
            times = self.revivals.get(state, 0)
            if self.config.empty_states == "revive" and times < MOST_REVIVALS:
                parameters = self._revived(state, times, parameters)
                self.revivals[state], self.revived_now = times + 1, True
            elif times <= MOST_REVIVALS:
                self.revivals[state] = MOST_REVIVALS + 1
                warnings.warn(f"State {state + 1} is empty and stays as it was.", EmptyStateWarning, stacklevel=2)
        self.model.set_parameters(parameters)

    def _revived(self, state: int, times: int, parameters: GaussianHMMParameters) -> GaussianHMMParameters:
        subset, settings, noise = self.dataset.training_set, self.m_step_settings(), self._noise()
        return self.processes.from_first(
            lambda: revive(state, times, parameters, subset, self.initialization, settings, self.config.seed, **noise)
        )

    # ------------------------------------------------------------------ state and report

    def family_state(self) -> dict[str, Any]:
        """Moments, finished starts and statistics: all that EM needs to go on."""
        moments, running = self.moments, self._running_of_all()
        return {
            "moments": None if moments is None else (moments.n_samples, moments.mean_C, moments.covariance_CC),
            "ranks": None if self.ranks is None else dataclasses.astuple(self.ranks),
            "shared": None
            if self.shared is None
            else (self.shared.kept_CC, self.shared.common_CC, self.shared.n_directions),
            "starts": [start.to_dictionary() for start in self.starts]
            if self.progress.phase == "initialization"
            else [],
            "start_scores": self.start_scores,
            "statistics": None if self.statistics is None else self.statistics.to_dictionary(),
            "running": None if running is None else running.to_dictionary(),
            "revivals": dict(self.revivals),
            "revived_now": self.revived_now,
            "converged": self.converged,
        }

    def load_family_state(self, state: dict[str, Any]) -> None:
        """Go on from `family_state`."""
        self.moments = None if state["moments"] is None else PooledMoments(*state["moments"])
        self.ranks = None if state.get("ranks") is None else RanksOfRuns(*state["ranks"])
        self.shared = None if state.get("shared") is None else SharedDirections(*state["shared"])
        self.starts = [Start.from_dictionary(start) for start in state["starts"]]
        self.start_scores = list(state.get("start_scores", []))
        self.statistics, self.running = (
            None if state[name] is None else Statistics.from_dictionary(state[name])
            for name in ("statistics", "running")
        )
        if self.running is not None and self.config.algorithm == "batch" and not self.processes.is_first:
            self.running = self.running.scaled(0.0)
        self.revivals = dict(state["revivals"])
        self.revived_now = state.get("revived_now", False)
        self.converged = state["converged"]

    def final_report(self) -> dict[str, Any]:
        """Free energy of the best model on training and validation data, its baselines, and findings."""
        assert self.moments is not None
        parameters = self.model.get_parameters()
        has_validation = bool(self.dataset.validation_set.n_subjects)
        on_training, held_out = self._scores_of_best(parameters, has_validation)
        report: dict[str, Any] = {"free_energy": {"training": on_training.free_energy, "validation": held_out}}
        settings = self.m_step_settings()
        part = part_for_starts(self.dataset.training_set, self.initialization, self.config.seed)
        self.mixture = fitted_mixture(parameters, part, settings)
        report["baselines"] = {
            GAUSSIAN: gaussian_baseline(self._pass, has_validation, self.moments, settings, self.processes),
            MIXTURE: mixture_baseline(self._pass, has_validation, self.mixture, self.processes),
        }
        report["fractional_occupancies"] = (on_training.occupancies_K / on_training.n_samples).tolist()
        said = findings(on_training, report, self._rank() if self.shared is None else self.model.n_channels)
        if self.shared is not None:
            assert self.ranks is not None
            said.append(words_of_shared(self.ranks, self.shared.n_directions, self.model.n_channels))
        occupancies = occupancies_of(self.dataset.training_set, parameters).of_all(self.processes)
        said += occupancies.findings() + collapsed_states(parameters, self.moments, self._ridge())
        report |= {"starts": self.start_scores} if self.start_scores else {}
        return {**report, **occupancies.summary(), "findings": said}

    def _scores_of_best(
        self, parameters: GaussianHMMParameters, has_validation: bool
    ) -> tuple[Statistics, float | None]:
        """Statistics on training data and free energy on validation data: known from its epoch if that was the last."""
        epoch, is_capped = self.best.best_epoch, self.batch_sampler.config.max_validation_batches is not None
        is_last = epoch == self.progress.epoch and not is_capped
        if self.config.algorithm == "batch" and self.statistics is not None and is_last:
            return self.statistics, self.history.rows[-1].get("validation_loss")
        on_training = expectation(self._pass("training"), parameters, self.processes)
        if not has_validation:
            return on_training, None
        return on_training, expectation(self._pass("validation"), parameters, self.processes).free_energy

    # ------------------------------------------------------------------ small helpers

    def _pass(self, context: Literal["training", "validation"]) -> Iterator[Batch]:
        """Go once through all batches of a subset, in the order of the first epoch."""
        sampler = self.batch_sampler.without_cap()
        sampler.set_context(context)
        self.batch_loader.set_context(context)
        batches = self.batch_loader.iterate(sampler, 0)
        return iter(self.bars.batches(batches, sampler.n_batches(0), 0, f"Report: {context}"))

    def m_step_settings(self) -> MStepSettings:
        """What an M-step learns, and its priors."""
        config = self.model.config
        return MStepSettings(
            learn_means=config.learn_means,
            learn_covariances=config.learn_covariances,
            learn_transitions=config.learn_transitions,
            covariances_epsilon=max(config.covariances_epsilon, self._ridge()),
            covariance_prior=self._covariance_prior(),
            transition_prior=transition_prior_of(config),
            allowed_transitions=allowed_transitions_of(config),
            tied_covariance=config.tied_covariance,
            shared_directions=self.shared,
        )

    def _covariance_prior(self) -> CovariancePrior | None:
        strength = self.model.config.covariance_prior_samples
        if not strength:
            return None
        assert self.moments is not None
        return CovariancePrior(strength, self.moments.scatter(about_mean=self.model.config.learn_means))

    def _pretrained_weights(self, path: str) -> dict[str, torch.Tensor]:
        return pretrained_weights(path, self.model.state_dict(), "an HMM")

    def _check_sizes(self, n_samples: int) -> None:
        n_states = self.model.config.n_states
        if n_states > n_samples:
            accepted = f"at most the number of training samples ({n_samples})"
            raise ConfigurationError("model.n_states", n_states, accepted)

    def _check_loader(self) -> None:
        """EM sums over whole, unchanged segments: refuse padding, windows and augmentation."""
        loader, sampler = self.batch_loader.config, self.batch_sampler
        if loader.collate != "packed":
            raise ConfigurationError("loader.collate", loader.collate, "packed for an HMM")
        if sampler.strategy != "whole_segments":
            raise ConfigurationError("sampler.strategy", sampler.strategy, "whole_segments for an HMM")
        for name in ("batches_per_epoch", "draws_per_epoch"):
            if (found := getattr(sampler.config, name)) is not None:
                raise ConfigurationError(f"sampler.{name}", found, "null for an HMM, whose EM goes over all segments")
        for name in AUGMENTATIONS:
            if getattr(loader, name):
                raise ConfigurationError(f"loader.{name}", getattr(loader, name), "0 for an HMM, whose EM is exact")

    def _rank(self) -> int:
        """Rank of the training data: the lowest of a run; where runs are short, that of the subjects or of all data."""
        assert self.moments is not None
        largest = int(self.dataset.training_set.ranks.max())
        rank = largest if largest == self.model.n_channels else max(largest, self.moments.rank)
        lowest = None if self.ranks is None else self.ranks.lowest
        return rank if lowest is None else min(rank, lowest)

    def _ridge(self) -> float:
        """Variance that is added in all directions where the data do not fill them; 0 for data of full rank."""
        if self.model.config.covariance_type == "diagonal" or self._rank() == self.model.n_channels:
            return 0.0
        assert self.moments is not None
        return RIDGE * float(self.moments.covariance_CC.diagonal().mean())

    def _check_rank(self) -> None:
        """Refuse full covariances without a prior on data that do not fill all dimensions."""
        config, rank, n_channels = self.model.config, self._rank(), self.model.n_channels
        if rank < n_channels and config.covariance_type == "full" and not config.covariance_prior_samples:
            raise ConfigurationError(
                "model.covariance_prior_samples",
                config.covariance_prior_samples,
                f"above 0, because the training data have rank {rank} of {n_channels} channels (or reduce the channels "
                f"to {rank} by PCA)",
            )

    def _share_directions(self, nulls: Sequence[torch.Tensor]) -> None:
        """Let all states share the directions that runs lack, each another one; warn of it."""
        config = self.model.config
        if config.covariance_type == "diagonal" or not config.learn_covariances or not nulls:
            return
        assert self.moments is not None
        assert self.ranks is not None
        scatter = self.moments.scatter(about_mean=config.learn_means)
        self.shared = shared_directions(nulls, scatter, self._ridge())
        if self.shared is not None:
            warnings.warn(words_of_shared(self.ranks, self.shared.n_directions, self.model.n_channels), DataWarning, 2)
