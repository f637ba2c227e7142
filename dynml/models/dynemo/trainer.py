"""Trains DyNeMo by stochastic gradients of the bound on the likelihood.

    initialize      modes of a start (`starts`), or the best of several starts that were trained a little
    epoch e         weight of the prior and learning rate; windows at other positions in every epoch
    loss            - (log-likelihood - weight * divergence) per sample, one draw of the logits for each window
    best model      by the bound with the prior in full, of windows and draws that are the same in every epoch: those of
                    validation, or, without validation subjects, of a part of the training data (`choosing_bound`)
    patience        counts from the epoch on in which the prior counts in full

The draws are keyed by (seed, epoch, span), so they depend neither on batches nor on processes; dropout does.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.batches.fixed_windows import FixedWindows
from dynml.batches.sampler import Span
from dynml.configuration import check_instance, config_to_dictionary
from dynml.errors import ConfigurationError, DataWarning
from dynml.host_memory import keep_freed_memory
from dynml.models.dynemo.annealing import kl_weight
from dynml.models.dynemo.config import DynemoInitializationConfig, DynemoTrainerConfig
from dynml.models.dynemo.model import Dynemo
from dynml.models.dynemo.report import FittedBaselines, choosing_bound, fitted_baselines, report
from dynml.models.dynemo.starts import modes_from_states
from dynml.models.dynemo.windows import keys_of_draws, n_observed, ragged_lengths, ragged_mask
from dynml.models.experiment import load_experiment
from dynml.ops.workers import one_thread
from dynml.training.batch_result import BatchResult
from dynml.training.checkpoints.experiment_folder import pretrained_weights
from dynml.training.config import RunConfig
from dynml.training.data.data_scale import warn_of_scale
from dynml.training.data.em import PooledMoments
from dynml.training.data.pretrained_data import check_data_of_pretrained
from dynml.training.data.run_moments import RanksOfRuns, moments_of_runs
from dynml.training.gradients.learning import GradientLearner
from dynml.training.monitors import EpochMonitor
from dynml.training.progress import batch_seed
from dynml.training.progress_bar import ProgressBars
from dynml.training.trainer import Trainer

OPERATIONS_WORTH_THREADS = 4_000_000
"""Floating-point operations of a recurrent layer for one sample of all windows of a batch."""

SAMPLES_TO_CHOOSE_BY = 100_000
"""Training samples whose bound chooses the epoch where no subject is held out."""

FIRST_EPOCH_OF_STARTS = 1_000_000
"""Starts are trained on epochs of the sampler that the run itself never reaches."""


class DynemoTrainer(Trainer):
    """Gradients of the bound on the shared trainer; see `Trainer` for the other parameters.

    Parameters
    ----------
    initialization : DynemoInitializationConfig, optional
    pretrained : str or Path, optional
        Experiment whose best model this run starts from, instead of its own starts.
    """

    config_class: ClassVar[type[RunConfig]] = DynemoTrainerConfig
    model_class: ClassVar[type[torch.nn.Module]] = Dynemo
    loss_name: str = "free_energy"
    family_name: ClassVar[str | None] = "dynemo"
    model: Dynemo

    def __init__(
        self,
        *arguments: Any,
        initialization: DynemoInitializationConfig | None = None,
        pretrained: str | None = None,
        **settings: Any,
    ) -> None:
        kinds = (DynemoInitializationConfig, type(None))
        check_instance("initialization", initialization, kinds, "a DynemoInitializationConfig")
        check_instance("pretrained", pretrained, (str, os.PathLike, type(None)), "the path of an experiment")
        super().__init__(*arguments, **settings)
        self.initialization = initialization or DynemoInitializationConfig()
        self.parameters["initialization"] = config_to_dictionary(self.initialization)
        self.pretrained = pretrained
        self.moments: PooledMoments | None = None
        self.n_starts_done = 0
        self.start_bounds: list[float] = []
        self.best_start: tuple[float, dict[str, Tensor]] | None = None
        self._fitted_baselines: FittedBaselines | None = None
        self._faulty_B: Tensor | None = None
        self._check_modes()
        self._check_windows()
        for path in (pretrained, self.initialization.from_experiment):
            if path is not None:
                check_data_of_pretrained(path, self.dataset, self.config.other_preparation)
        if pretrained is not None:
            self._pretrained_weights(pretrained)

    # ------------------------------------------------------------------ initialization

    def initialize(self) -> None:
        """Pool the data's moments, then take the modes of an experiment or of a start."""
        if self.moments is None:
            self.moments, ranks, _ = moments_of_runs(self.dataset.training_set, self.processes)
            self._check_ranks(ranks)
            warn_of_scale(self.moments.mean_C, self.moments.covariance_CC.diagonal().sqrt(), "DyNeMo's networks")
            self.initialization_step_done()
        if self.pretrained is not None:
            self.model.load_state_dict(self._pretrained_weights(self.pretrained))
        elif self.initialization.from_experiment is not None:
            self._take_modes_of(self.initialization.from_experiment)
        elif self.initialization.n_init == 1 and self.initialization.method != "random_subset":
            self._begin_start(0)
        else:
            self._best_of_starts()

    def _pretrained_weights(self, path: str) -> dict[str, Tensor]:
        return pretrained_weights(path, self.model.state_dict(), "a DyNeMo")

    def _best_of_starts(self) -> None:
        while self.n_starts_done < self.initialization.n_init:
            bound = self._train_start(self.n_starts_done)
            if self.best_start is None or bound < self.best_start[0]:
                weights = {name: tensor.detach().cpu().clone() for name, tensor in self.weights().items()}
                self.best_start = (bound, weights)
            self.n_starts_done += 1
            self.start_bounds.append(float(bound))
            self.initialization_step_done()
        assert self.best_start is not None
        self.model.load_state_dict(self.best_start[1])

    def _begin_start(self, number: int) -> None:
        """Fresh networks, and the modes of start `number`."""
        if number:
            torch.manual_seed(batch_seed(self.config.seed, number, 0, "start"))
            self.model.load_state_dict(Dynemo(self.model.config, self.model.n_channels).state_dict())
        if self.initialization.method in ("unmixing", "hmm"):
            assert self.moments is not None
            arguments = (self.dataset.training_set, self.model.config, self.initialization, self.moments)
            covariances, means = self.processes.from_first(
                lambda: modes_from_states(number, *arguments, seed=self.config.seed)
            )
            self.model.set_modes(covariances, means)

    def _train_start(self, number: int) -> float:
        """Train start `number` a little; its bound over the windows of the last epoch, with the prior in full."""
        self._begin_start(number)
        learner = GradientLearner.for_model(self.model, self.config, self.processes)
        assert learner is not None
        n_epochs, bound = self.initialization.n_epochs, float("inf")
        for epoch in range(n_epochs):
            self.model.kl_annealing_factor.fill_(epoch / max(n_epochs - 1, 1))
            with self._worthwhile_threads():
                bound = self._train_start_for_one_epoch(learner, FIRST_EPOCH_OF_STARTS + epoch)
        return bound

    def _train_start_for_one_epoch(self, learner: GradientLearner, epoch: int) -> float:
        self.batch_sampler.set_context("training")
        self.batch_loader.set_context("training")
        n_batches = max(1, round(self.initialization.take * self.batch_sampler.n_batches(epoch)))
        total = torch.zeros(2, dtype=torch.float64)
        self.model.train()
        for position, batch in enumerate(self.batch_loader.iterate(self.batch_sampler, epoch)):
            if position == n_batches:
                break
            torch.manual_seed(batch_seed(self.config.seed, epoch, position, "training", self.processes.rank))
            result = learner.result(batch, self.run_one_batch, self._stand_in)
            if self._is_usable(result, batch):
                learner.learn(result, position, n_batches)
                if result.n:
                    total += torch.tensor([float(result.metrics["bound"]) * result.n, result.n], dtype=torch.float64)
        bound, n_samples = self.processes.sum(total).tolist()
        return bound / n_samples if n_samples else float("inf")

    def _take_modes_of(self, path: str) -> None:
        model: Any = load_experiment(path).model
        arrays = model.arrays() if hasattr(model, "arrays") else {}
        J, C = self.model.config.n_modes, self.model.n_channels
        covariances = arrays.get("covariances")
        if covariances is None or covariances.shape != (J, C, C):
            found = "no covariances" if covariances is None else f"covariances {covariances.shape}"
            accepted = f"an HMM or a DyNeMo of {J} states or modes and {C} channels (it has {found})"
            raise ConfigurationError("initialization.from", path, accepted)
        means = torch.from_numpy(arrays["means"]) if self.model.config.learn_means else None
        self.model.set_modes(torch.from_numpy(covariances), means)

    # ------------------------------------------------------------------ epochs

    def train_one_epoch(self, bars: ProgressBars) -> None:
        """As every trainer, on as many threads as the networks are worth."""
        keep_freed_memory()
        with self._worthwhile_threads():
            super().train_one_epoch(bars)

    def validate_one_epoch(self, bars: ProgressBars) -> None:
        """As every trainer, on as many threads as the networks are worth."""
        with self._worthwhile_threads():
            super().validate_one_epoch(bars)

    def _worthwhile_threads(self) -> contextlib.AbstractContextManager[None]:
        """One thread for torch in small networks, whose samples follow on one another; compiled kernels keep theirs.

        It depends on the settings alone, so that a run comes to the same numbers wherever it is resumed.
        """
        n_units = max(self.model.config.inference_n_units, self.model.config.model_n_units)
        operations = 8 * self.batch_sampler.config.batch_size_training * n_units**2
        return one_thread(but_kernels=True) if operations < OPERATIONS_WORTH_THREADS else contextlib.nullcontext()

    def start_of_epoch(self) -> None:
        """Set the weight of the prior and the learning rate."""
        self.model.kl_annealing_factor.fill_(kl_weight(self.model.config, self.progress.epoch))
        super().start_of_epoch()

    def constant_epochs(self) -> int:
        """Count the epochs of annealing, in which the learning rate does not fall."""
        return self.model.config.annealing_epochs

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """Annealed bound of one draw in training, bound of several seeded draws in validation."""
        if batch.context == "training":
            return self._training_batch(batch)
        parts = keys_of_draws(batch), self.config.n_draws, ragged_mask(batch), batch.observed, ragged_lengths(batch)
        bounds = self.model.bounds_of_draws(batch.windows, *parts)
        n_samples = n_observed(batch)
        return BatchResult(bounds.sum() / max(n_samples, 1), float(n_samples))

    def _training_batch(self, batch: Batch) -> BatchResult:
        noise = self.model.noise(batch.keys, batch.windows)
        parts = batch.windows, noise, ragged_mask(batch), batch.observed
        terms = self.model.bound_terms(*parts, lengths_B=ragged_lengths(batch), in_sum=True)
        values_BT = terms.log_likelihood_BT.detach() + terms.divergence_BT.detach()
        self._faulty_B = ~torch.isfinite(values_BT).all(dim=1)
        n_samples = max(n_observed(batch), 1)
        nll, divergence = -terms.log_likelihood_BT.sum() / n_samples, terms.divergence_BT.sum() / n_samples
        loss = nll + self.model.kl_annealing_factor * divergence - self._log_prior()
        metrics: dict[str, Tensor | float] = {
            "negative_log_likelihood": nll.detach(),
            "divergence": divergence.detach(),
            "bound": (nll + divergence).detach(),
        }
        return BatchResult(loss, float(n_samples), metrics)

    def end_of_training_epoch(self) -> None:
        """Log the weight of the prior and the temperature, and what the epoch is chosen by if nothing is held out.

        While the prior does not count in full the last epoch is the best one, and its own batches say how good it is.
        """
        values: dict[str, Tensor | float] = {
            "kl_annealing_factor": self.model.kl_annealing_factor,
            "alpha_temperature": self.model.alpha_temperature.detach(),
        }
        if self._is_chosen_by_training:
            with self.averaged_weights():
                values["training_free_energy"] = (
                    self.monitors["training_bound"].mean if self._is_annealing else self._choosing_bound()
                )
        for name, value in values.items():
            self.monitors[name] = EpochMonitor()
            self.monitors[name].add(value, 1.0)

    def _choosing_bound(self) -> float:
        """Bound of the model as it is now; that of the epoch's own batches is of other weights, windows and draws."""
        windows = FixedWindows(self.dataset, self.model.config.sequence_length)
        return choosing_bound(self.model, windows, self.processes, SAMPLES_TO_CHOOSE_BY)

    def monitored_name(self) -> str:
        """Name of the bound with the prior in full."""
        return "training_free_energy" if self._is_chosen_by_training else "validation_loss"

    def is_best(self, row: dict[str, float]) -> bool:
        """Whether the epoch that ends is the best so far; without validation the last one of the annealing is."""
        if self._is_chosen_by_training and self.progress.epoch <= self.model.config.annealing_epochs:
            return self.best.take(self.monitored_value(row), self.progress.epoch + 1)
        return super().is_best(row)

    @property
    def _is_chosen_by_training(self) -> bool:
        return not self.dataset.validation_set.n_subjects

    @property
    def _is_annealing(self) -> bool:
        return self.progress.epoch < self.model.config.annealing_epochs

    def stopping_reason(self) -> str | None:
        """What stops any run; patience begins when the prior counts in full."""
        if self.progress.epoch <= self.model.config.annealing_epochs:
            self.best.n_epochs_without_improvement = 0
        return super().stopping_reason()

    def spans_at_fault(self, batch: Batch) -> Sequence[Span]:
        """Windows in which a mixed covariance was not positive definite or the divergence overflowed, if any."""
        faulty = [] if self._faulty_B is None else self._faulty_B.nonzero()[:, 0].tolist()
        return [batch.spans[index] for index in faulty if index < batch.n_spans] or batch.spans

    def _log_prior(self) -> Tensor | float:
        """Log-density of the priors of the modes, for each sample of the training data."""
        config = self.model.config
        if not (config.covariance_prior_samples or config.means_prior_samples):
            return 0.0
        assert self.moments is not None
        covariance = self.moments.scatter(about_mean=config.learn_means)
        return self.model.log_prior(covariance, self.moments.mean_C) / self.moments.n_samples

    # ------------------------------------------------------------------ state and report

    def family_state(self) -> dict[str, Any]:
        """Moments and finished starts."""
        moments, best = self.moments, self.best_start
        during_initialization = self.progress.phase == "initialization"
        return {
            "moments": None if moments is None else (moments.n_samples, moments.mean_C, moments.covariance_CC),
            "n_starts_done": self.n_starts_done,
            "start_bounds": self.start_bounds,
            "best_start": best if during_initialization else None,
        }

    def load_family_state(self, state: dict[str, Any]) -> None:
        """Go on from `family_state`."""
        self.moments = None if state["moments"] is None else PooledMoments(*state["moments"])
        self.n_starts_done = state["n_starts_done"]
        self.start_bounds = list(state.get("start_bounds", []))
        self.best_start = None if state["best_start"] is None else tuple(state["best_start"])

    def final_report(self) -> dict[str, Any]:
        """Bound and free energy at the mean of the best model, its baselines, and findings."""
        assert self.moments is not None
        fitted = self.fitted_baselines()
        found = report(self.model, self.dataset, self.moments, self.processes, self.config.n_draws, fitted)
        starts = [{"objective": bound} for bound in self.start_bounds]
        return {**found, "starts": starts} if starts else found

    def fitted_baselines(self) -> FittedBaselines:
        """Baselines of these training data; a run's report and scores of other people share one fit."""
        if self._fitted_baselines is None:
            assert self.moments is not None
            self._fitted_baselines = fitted_baselines(
                self.model, self.dataset, self.moments, self.processes, self.config.seed
            )
        return self._fitted_baselines

    # ------------------------------------------------------------------ small helpers

    def _check_modes(self) -> None:
        subset = self.dataset.training_set
        n_modes, n_samples = self.model.config.n_modes, subset.n_samples - subset.n_masked
        if n_modes > n_samples:
            accepted = f"at most the number of training samples ({n_samples})"
            raise ConfigurationError("model.n_modes", n_modes, accepted)

    def _check_windows(self) -> None:
        length, window = self.model.config.sequence_length, self.batch_sampler.config.window_length
        if window != length:
            raise ConfigurationError("sampler.window_length", window, f"model.sequence_length ({length})")
        if self.batch_loader.config.collate != "padded":
            raise ConfigurationError("loader.collate", self.batch_loader.config.collate, "padded for DyNeMo")
        config = self.model.config
        if self.processes.are_several and "batch" in (config.inference_normalization, config.model_normalization):
            name = "inference" if config.inference_normalization == "batch" else "model"
            accepted = "layer or null on several processes, since each would normalize its own windows"
            raise ConfigurationError(f"model.{name}_normalization", "batch", accepted)
        self._check_rank(int(self.dataset.training_set.ranks.max()))

    def _check_rank(self, rank: int) -> None:
        if self.model.config.covariance_type == "full" and rank < self.model.n_channels:
            raise ConfigurationError(
                "model.covariance_type",
                "full",
                f"diagonal, because the training data have rank {rank} of {self.model.n_channels} channels (or reduce "
                f"the channels to {rank} by PCA)",
            )

    def _check_ranks(self, ranks: RanksOfRuns) -> None:
        """Refuse runs that all lack dimensions, and warn where some do: each may lack other ones."""
        if not ranks.n_deficient or self.model.config.covariance_type == "diagonal":
            return
        assert ranks.lowest is not None
        if ranks.n_deficient == ranks.n_runs:
            self._check_rank(ranks.lowest)
        text = ranks.describe(self.model.n_channels)
        warnings.warn(
            f"{text[0].upper()}{text[1:]}: a mode may become the one of such a run, with a covariance that is singular "
            f'there. Reduce the channels by the step {{"step": "pca", "n_components": {ranks.lowest}}} of the store\'s '
            "config, or leave these runs out.",
            DataWarning,
            stacklevel=2,
        )
