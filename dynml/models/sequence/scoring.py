"""Scores of a model and its baselines on the same windows and the same hidden samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.batches.fixed_windows import FixedWindows
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.forecasting import Predictor, forecast
from dynml.models.sequence.objectives.tasks import elementwise_loss
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows, datasets_of, windows_of
from dynml.training.processes import Processes

MODEL = "model"


@dataclass(frozen=True)
class Scores:
    """Mean losses of one predictor on one subset, over scored numbers."""

    mean: float
    by_network: list[float]
    """NaN for channels that no subject of the subset has."""

    by_horizon: list[float] | None
    """Of forecasts 1, 2, .. samples ahead, for causal models."""

    by_subject: dict[str, float]


class Tally:
    """Sums of losses by network, by horizon and by subject; float64."""

    def __init__(self, n_channels: int, n_horizons: int, n_subjects: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.networks, self.horizons, self.subjects = zeros(2, n_channels), zeros(2, n_horizons), zeros(2, n_subjects)

    def add(self, costs_BTC: Tensor, scored: Tensor, subject_B: Tensor) -> None:
        """Count the costs of scored numbers."""
        weights_BTC = scored.expand_as(costs_BTC)
        both = torch.stack([torch.where(weights_BTC, costs_BTC, 0.0).double(), weights_BTC.double()])
        self.networks += both.sum(dim=(1, 2))
        self.subjects.index_add_(1, subject_B, both.sum(dim=(2, 3)))

    def add_forecasts(self, costs_BHC: Tensor, scored_BH: Tensor, present_BC: Tensor | None = None) -> None:
        """Count the costs of forecasts of samples that were observed, in channels that are there."""
        scored_BHC = scored_BH[:, :, None].expand_as(costs_BHC)
        if present_BC is not None:
            scored_BHC = scored_BHC & present_BC[:, None]
        self.horizons[0] += torch.where(scored_BHC, costs_BHC, 0.0).double().sum(dim=(0, 2))
        self.horizons[1] += scored_BHC.sum(dim=(0, 2))

    def scores(self, processes: Processes, subset: MultiSubjectSubset) -> Scores:
        """Means over all processes."""
        networks, horizons, each = (processes.sum(sums.cpu()) for sums in (self.networks, self.horizons, self.subjects))
        means = networks[0] / networks[1].clamp(min=1)
        if subset.montages is not None:
            present_C = subset.montages.present_MC[subset.montage_of].any(axis=0)
            means = torch.where(torch.from_numpy(present_C), means, torch.nan)
        by_horizon = (horizons[0] / horizons[1]).tolist() if bool(horizons.any()) else None
        by_subject = {name: float(total / n) for name, total, n in zip(subset.subjects, *each) if n}
        return Scores(float(networks[0].sum() / networks[1].sum()), means.tolist(), by_horizon, by_subject)


@torch.no_grad()
def scores_of_subset(
    model: SequenceModel,
    predictors: Mapping[str, Predictor],
    dataset: MultiSubjectDataset,
    name: str,
    window_length: int,
    processes: Processes,
) -> dict[str, Scores]:
    """Score predictors on the model's own tasks, with draws that are functions of the window.

    Parameters
    ----------
    model : SequenceModel
        Makes the tasks, and has the loss.
    predictors : mapping
        Name to what predicts, the model among them.
    dataset, name
        The subset.
    window_length : int
    processes : Processes

    Returns
    -------
    dict
        Name to Scores; the same in all processes.
    """
    subset = dataset.subset(name)
    n_horizons = _n_horizons(model, window_length)
    device = dataset.device
    tallies = {key: Tally(model.n_predicted, n_horizons, subset.n_subjects, device) for key in predictors}
    rates_S = torch.from_numpy(subset.sampling_frequencies).to(device)
    for batch in FixedWindows(dataset, window_length)(name):
        windows = windows_of(batch)
        task = model.task_of(windows, batch.subject, datasets_of(batch))
        whole_B = batch.lengths == window_length
        known, future_BHR, scored_BH = _known_and_future(windows, whole_B, window_length - n_horizons, n_horizons)
        future_BHC, beside_BHJ = future_BHR.split([model.n_predicted, model.n_conditioning], dim=2)
        known = None if known is None else known.conditioned(model.n_conditioning)
        interval_B = 1.0 / rates_S[batch.subject]
        for key, predictor in predictors.items():
            costs_BTC = elementwise_loss(predictor(task).float(), task.windows.signals_BTC, model.config)
            tallies[key].add(costs_BTC, task.scored, batch.subject)
            if known is not None:
                beside = beside_BHJ if model.n_conditioning else None
                forecast_BHC = forecast(predictor, known, n_horizons, interval_B[whole_B], beside)
                tallies[key].add_forecasts(
                    elementwise_loss(forecast_BHC, future_BHC, model.config), scored_BH, known.present_BC
                )
    return {key: tally.scores(processes, subset) for key, tally in tallies.items()}


def _n_horizons(model: SequenceModel, window_length: int) -> int:
    return min(model.config.forecast_samples, window_length // 2) if isinstance(model, Csm) else 0


def _known_and_future(
    windows: Windows, whole_B: Tensor, n_known: int, n_horizons: int
) -> tuple[Windows | None, Tensor, Tensor]:
    """Beginnings of the windows of full length, the samples that follow in them, and which of those are scored.

    Samples that are masked, or that follow on a beginning that is masked altogether, are not.
    """
    if not n_horizons or windows.shape[1] < n_known + n_horizons or not bool(whole_B.any()):
        return None, windows.signals_BTC[:0], windows.mask_BT[:0]
    known_BT = windows.known_BT[whole_B]
    known = Windows(
        windows.signals_BTC[whole_B, :n_known],
        torch.ones_like(known_BT[:, :n_known]),
        windows.seconds_BT[whole_B, :n_known],
        windows.keys_B[whole_B],
        ragged=False,
        observed_BT=None if windows.observed_BT is None else known_BT[:, :n_known],
    )
    if windows.present_BC is not None:
        whole = torch.nonzero(whole_B)[:, 0].tolist()
        montages = tuple((windows.montages_on_host or ())[row] for row in whole)
        known = dataclasses.replace(known, present_BC=windows.present_BC[whole_B], montages_on_host=montages)
    scored_BH = known_BT[:, n_known:] & known_BT[:, :n_known].any(dim=1, keepdim=True)
    return known, windows.signals_BTC[whole_B, n_known:], scored_BH


def predictors_of(model: SequenceModel, baselines: Mapping[str, Baseline]) -> dict[str, Predictor]:
    """What predicts, by name: the model and its baselines."""
    return {MODEL: lambda task: model(task).predicted_BTC} | {
        name: baseline.predict for name, baseline in baselines.items()
    }
