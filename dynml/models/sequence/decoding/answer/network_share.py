"""How long a decoder's network learns, and how much of it is added to the linear answer, by trials it has not seen.

The network is trained once for each fold of the training trials, on the batches of the run itself, with the trials of
the fold left out of the loss. Curves of the left-out trials' cross-entropy are averaged over folds, which go on side by
side until the mean has not fallen for `patience` epochs: the epoch with the least is how long the run trains, on all
trials. The smallest share that is within one standard error of the best is
what stays of the network, so that 0 is given up for a difference alone that trials bear out.

Shapes: E epochs, n trials, K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.batches.batch import Batch
from dynml.models.sequence.decoding.answer.choice import Floats, Problem, standard_error
from dynml.models.sequence.decoding.answer.fitting import OutOfFold
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials
from dynml.training.batch_result import BatchResult
from dynml.training.gradients.learning import GradientLearner
from dynml.training.monitors import BestMonitor
from dynml.training.progress import Progress, batch_seed

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_HEAD_EPOCHS = 10
FEW_TRIALS = 1_000
ENOUGH_GROUPS = 4
"""With more trials than `FEW_TRIALS`, folds that have so many participants (or runs) together are enough to tell."""


@dataclass(frozen=True)
class NetworkShare:
    """What the folds said."""

    epochs: int
    share: float
    report: dict[str, Any]


class InnerRun(Protocol):
    """What the run gives to the folds."""

    config: Any
    processes: Any
    progress: Progress
    head_epochs: int
    """In which the backbone does not learn."""

    def result_of(self, model: Decoding, batch: Batch, left_out: int | None) -> BatchResult:
        """Loss of a batch without the trials of a fold."""
        ...

    def inner_batches(self, epoch: int) -> Iterator[Batch]:
        """Training batches of an epoch."""
        ...

    def look_at_interruption(self) -> None:
        """End the run here if it is to end."""
        ...


def network_share(run: InnerRun, model: Decoding, trials: Trials, answered: OutOfFold, n_folds: int) -> NetworkShare:
    """Train the network on folds, and decide by what it adds to the linear answer.

    Parameters
    ----------
    run : InnerRun
    model : Decoding
        As it is before training; it stays so.
    trials : Trials
        Of training.
    answered : OutOfFold
    n_folds : int
        Most folds to train on.
    """
    n_epochs = epochs_at_most(run)
    folds = folds_to_try(answered.fold, answered.problem.groups, n_folds)
    tried_trials = np.flatnonzero(np.isin(answered.fold, folds))
    problem = answered.problem.part(tried_trials, ())
    own = [np.flatnonzero(answered.fold[tried_trials] == fold) for fold in folds]
    tried = [
        _one_fold(run, model, trials.take(tried_trials[rows]), fold, n_epochs)
        for fold, rows in zip(folds, own, strict=True)
    ]
    by_epoch: list[Floats] = []
    monitor = BestMonitor(run.config.patience_delta)
    for epoch in range(n_epochs if folds else 0):
        added = np.zeros((len(tried_trials), answered.logits.shape[1]))
        for rows, logits in zip(own, tried, strict=True):
            added[rows] = next(logits)
        by_epoch.append(added)
        monitor.update(_least_loss(added, answered.logits[tried_trials], problem), epoch + 1)
        if epoch < run.head_epochs:
            monitor.n_epochs_without_improvement = 0
        if run.config.patience is not None and monitor.n_epochs_without_improvement >= run.config.patience:
            break
    fold = answered.fold[tried_trials] if len(folds) > 1 else np.unique(problem.groups, return_inverse=True)[1] % 2
    return decided(np.stack(by_epoch or [answered.logits[tried_trials]]), answered.logits[tried_trials], problem, fold)


def folds_to_try(fold: NDArray[np.int64], groups: NDArray[np.int64], n_folds: int) -> list[int]:
    """Numbers of the folds to train on: of many trials the first alone, if it has enough groups for a standard error.

    Parameters
    ----------
    fold : (n,)
        Of each trial, -1 for none.
    groups : (n,)
        Participant or run of each trial.
    n_folds : int
        Most folds.
    """
    folds: list[int] = []
    for number in sorted(set(fold[fold >= 0].tolist()))[:n_folds]:
        folds.append(number)
        n_groups = len(np.unique(groups[np.isin(fold, folds)]))
        if len(fold) > FEW_TRIALS and n_groups >= ENOUGH_GROUPS:
            break
    return folds


def decided(added: Floats, answered: Floats, problem: Problem, fold: NDArray[np.int64]) -> NetworkShare:
    """Whether the network stays; if so, the epoch with the least mean cross-entropy, and the share.

    Parameters
    ----------
    added : (E, n, K)
        Logits of networks that have not seen these trials, by epoch.
    answered : (n, K)
        Logits of the linear answer, that has not, either.
    problem : Problem
        Of these trials.
    fold : (n,)
        Parts of the trials by which the choice of epoch and share is tried.
    """
    if not len(answered):
        return NetworkShare(1, 0.0, {"share": 0.0, "epochs": 1, "n_trials": 0})
    is_finite = np.isfinite(added).all(axis=(1, 2))
    tried = [answered + share * np.nan_to_num(added) for share in SHARES]
    losses = np.stack([problem.cautious_losses(logits) for logits in tried])  # (shares, E, n)
    losses[1:, ~is_finite] = np.inf
    means = losses.mean(axis=2)
    best, epoch = np.unravel_index(int(means.argmin()), means.shape)
    gain = losses[0, 0] - _losses_of_choices(losses, fold)
    error = standard_error(gain, problem.groups)
    share = 0
    if gain.mean() > error:
        worse = losses[:, epoch] - losses[best, epoch]
        within = [worse[number].mean() <= standard_error(worse[number], problem.groups) for number in range(1, best)]
        share = next((number for number, is_as_good in enumerate(within, start=1) if is_as_good), int(best))
    return NetworkShare(
        int(epoch) + 1,
        SHARES[share],
        {
            "share": SHARES[share],
            "epochs": int(epoch) + 1,
            "n_trials": len(answered),
            f"{problem.loss_name}_of_linear_answer": float(problem.losses(tried[0][0]).mean()),
            f"least_{problem.loss_name}": float(problem.losses(tried[best][epoch]).mean()),
            "held_out_score": problem.score(tried[share][epoch]),
            "gain": float(gain.mean()),
            "standard_error_of_gain": _finite(error),
        },
    )


def _least_loss(added: Floats, answered: Floats, problem: Problem) -> float:
    """Least mean cross-entropy, over the shares above 0, with the network of one epoch."""
    return min(float(problem.cautious_losses(answered + share * added).mean()) for share in SHARES[1:])


def _losses_of_choices(losses: Floats, fold: NDArray[np.int64]) -> Floats:
    """Losses of each fold's trials at the epoch and share that the other folds choose, (n,), of (shares, E, n)."""
    found = losses[0, 0].copy()
    for number in np.unique(fold):
        own = fold == number
        if not own.all():
            means = losses[:, :, ~own].mean(axis=2)
            share, epoch = np.unravel_index(int(means.argmin()), means.shape)
            found[own] = losses[share, epoch, own]
    return found


def _no_stand_in() -> Batch:
    raise AssertionError("folds are trained on in one process")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def epochs_at_most(run: InnerRun) -> int:
    """Epochs that the limits of a run allow."""
    limits = [run.config.max_epochs]
    if run.config.max_steps is not None:
        limits.append(math.ceil(run.config.max_steps / max(run.progress.steps_per_epoch, 1)))
    return max(1, min(limit for limit in limits if limit is not None))


def head_epochs_of(run: InnerRun, model: Decoding) -> int:
    """Epochs in which the head learns alone: those that are set, or a few; none without a pre-trained backbone."""
    if model.config.backbone_settings is None or model.config.fine_tuning != "full":
        return 0
    if run.config.head_epochs is not None:
        return int(run.config.head_epochs)
    return min(MOST_HEAD_EPOCHS, epochs_at_most(run) // 5)


def _one_fold(run: InnerRun, model: Decoding, held_out: Trials, fold: int, n_epochs: int) -> Iterator[Floats]:
    """Logits of the network alone for the trials of a fold, after each epoch without them, (n, K)."""
    inner = copy.deepcopy(model)
    inner.keep_one_network()
    learner = GradientLearner.for_model(inner, run.config, run.processes)
    assert learner is not None
    windows = list(windows_of_trials(held_out, next(inner.parameters()).device))
    progress = Progress(schedule_length=run.progress.schedule_length, steps_per_epoch=run.progress.steps_per_epoch)
    for epoch in range(n_epochs):
        progress.epoch = epoch
        inner.hold_backbone(epoch < run.head_epochs)
        learner.start_of_epoch(progress)
        inner.train()
        for position, batch in enumerate(run.inner_batches(epoch)):
            torch.manual_seed(batch_seed(run.config.seed, epoch, position, f"fold {fold}"))
            learner.start_of_step(progress)
            result = learner.result(batch, lambda one: run.result_of(inner, one, fold), _no_stand_in)
            is_finite = bool(torch.isfinite(result.loss))
            if is_finite and bool(result.n):
                learner.learn(result, position, run.progress.steps_per_epoch)
            else:
                learner.leave_out(position, run.progress.steps_per_epoch, faulty=not is_finite)
            progress.step += 1
        run.look_at_interruption()
        inner.eval()
        with torch.no_grad():
            logits = np.concatenate([inner.network(one).double().cpu().numpy() for one in windows])
        yield logits  # not within no_grad, which would reach the other folds
