"""Scores of what a model predicts beside the signals, next to simple predictions of the same numbers.

Shapes: B windows, N tokens, d embedding dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dynml.batches.fixed_windows import FixedWindows
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.sequence.objectives.tasks import elementwise_loss
from dynml.models.sequence.targets.further_target import FurtherPrediction
from dynml.models.sequence.targets.latents import LatentTarget
from dynml.models.sequence.windows import datasets_of, windows_of
from dynml.training.processes import Processes

MODEL = "model"
REPORTED = ("training", "validation")
COLLAPSED = 0.05
"""Variance of the teacher's states, beyond what their position explains, below which they count as all alike."""


def metrics_of(further: Mapping[str, FurtherPrediction], config: Any) -> dict[str, Tensor | float]:
    """Losses by target, for the log; of latents also the variance of the teacher's states over a batch."""
    metrics: dict[str, Tensor | float] = {
        f"{name}_loss": prediction.mean_loss(config).detach() for name, prediction in further.items()
    }
    if LatentTarget.name in further:
        latents = further[LatentTarget.name]
        _, n_tokens, width = latents.target.shape
        moments = _Moments.zeros(n_tokens, width, latents.target.device)
        moments.add(latents.target, latents.scored[:, :, 0])
        metrics["latents_variance"] = moments.over_positions().variance()
    return metrics


@torch.no_grad()
def scores_of_further(
    model: Any, dataset: MultiSubjectDataset, window_length: int, processes: Processes
) -> dict[str, dict[str, Any]]:
    """Score a model's further targets on its own tasks, as `scoring.scores_of_subset` does its signals.

    Returns
    -------
    dict
        By target: `score` and `baselines` {name: {training, validation}}; of latents also `variance` and
        `variance_within_positions` {training, validation}: of the teacher's states over tokens, 1 at most, and over
        tokens at the same position of their windows.
    """
    targets = {target.name: target for target in model.further_targets}
    if not targets:
        return {}
    model.eval()
    subsets = [name for name in REPORTED if dataset.subset(name).n_subjects]
    found: dict[str, dict[str, Any]] = {name: {"score": {}, "baselines": {}} for name in targets}
    if LatentTarget.name in targets:
        found[LatentTarget.name] |= _latent_variances(
            targets[LatentTarget.name], model, dataset, window_length, processes
        )
    for subset in subsets:
        sums: dict[str, dict[str, Tensor]] = {name: {} for name in targets}
        for task, outputs in _answers(model, dataset, subset, window_length):
            for name, target in targets.items():
                prediction = outputs.further[name]
                said = {MODEL: prediction.predicted} | target.baselines(task, prediction)
                for key, values in said.items():
                    total = _summed(values, prediction, model.config)
                    sums[name][key] = sums[name].get(key, torch.zeros_like(total)) + total
        for name, by_key in sums.items():
            for key, total in by_key.items():
                cost, n = processes.sum(total.cpu()).tolist()
                where = found[name]["score"] if key == MODEL else found[name]["baselines"].setdefault(key, {})
                where[subset] = cost / n if n else None
    return found


def findings_of_further(further: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say of each further target whether the model is better than the best simple prediction of it."""
    return [sentence for name, content in further.items() for sentence in _findings(name, content)]


def _findings(name: str, content: Mapping[str, Any]) -> list[str]:
    subset, own = list(content["score"].items())[-1]
    if own is None:
        return [f"No {name} of {subset} data could be scored: the windows have no whole hidden patch."]
    best = min(content["baselines"], key=lambda key: content["baselines"][key][subset])
    value = content["baselines"][best][subset]
    unit = " nepers" if name == "spectra" else ""
    found = [
        f"The loss of predicted {name} on {subset} data is {own:.4g}{unit}, "
        + (f"{100 * (1 - own / value):.1f} % below" if own < value else "not below")
        + f" that of {best} ({value:.4g}), the best simple prediction of them."
    ]
    if name == LatentTarget.name:
        total, within = content["variance"][subset], content["variance_within_positions"][subset]
        said = "they are not alike."
        if within < COLLAPSED:
            said = "they have collapsed, so that predicting them well says nothing (lower trainer.learning_rate, raise "
            said += "model.teacher_decay, or keep signals as a target beside them)."
        found.append(
            f"The teacher's states that were to be predicted have a variance of {total:.2g} over {subset} tokens (1 at "
            f"most), {within:.2g} over tokens at the same position of their windows: {said}"
        )
    return found


def _answers(model: Any, dataset: MultiSubjectDataset, subset: str, window_length: int) -> Any:
    for batch in FixedWindows(dataset, window_length)(subset):
        task = model.task_of(windows_of(batch), batch.subject, datasets_of(batch))
        yield task, model(task)


def _summed(values: Tensor, prediction: FurtherPrediction, config: Any) -> Tensor:
    """Cost and number of what is scored, (2,) float64."""
    weights = prediction.scored.expand_as(prediction.target)
    costs = elementwise_loss(values.float().expand_as(prediction.target), prediction.target, config)
    return torch.stack([torch.where(weights, costs, 0.0).double().sum(), weights.sum().double()])


def _latent_variances(
    target: LatentTarget, model: Any, dataset: MultiSubjectDataset, window_length: int, processes: Processes
) -> dict[str, Any]:
    """Variances of the teacher's states of each subset; the training subset's means become a baseline."""
    found: dict[str, Any] = {"variance": {}, "variance_within_positions": {}}
    n_positions, width = target.usual_Nd.shape
    for subset in REPORTED:
        if not dataset.subset(subset).n_subjects:
            continue
        moments = _Moments.zeros(n_positions, width, target.usual_Nd.device)
        for _, outputs in _answers(model, dataset, subset, window_length):
            latents = outputs.further[target.name]
            moments.add(latents.target, latents.scored[:, :, 0])
        moments = _Moments(*(processes.sum(sums.cpu()) for sums in (moments.n_N, moments.sums_Nd, moments.squares_Nd)))
        found["variance"][subset] = float(moments.over_positions().variance())
        found["variance_within_positions"][subset] = float(moments.variance())
        if subset == "training":
            target.usual_Nd.copy_(moments.sums_Nd / moments.n_N.clamp(min=1)[:, None])
    return found


@dataclass(frozen=True)
class _Moments:
    """Sums over scored tokens by position: how many, their states, and squares of these; float64."""

    n_N: Tensor
    sums_Nd: Tensor
    squares_Nd: Tensor

    @classmethod
    def zeros(cls, n_positions: int, width: int, device: torch.device) -> _Moments:
        sizes = (n_positions,), (n_positions, width), (n_positions, width)
        return cls(*(torch.zeros(size, dtype=torch.float64, device=device) for size in sizes))

    def add(self, states_BNd: Tensor, scored_BN: Tensor) -> None:
        values, n_tokens = torch.where(scored_BN[:, :, None], states_BNd, 0.0).double(), states_BNd.shape[1]
        self.n_N[:n_tokens] += scored_BN.sum(dim=0)
        self.sums_Nd[:n_tokens] += values.sum(dim=0)
        self.squares_Nd[:n_tokens] += values.square().sum(dim=0)

    def over_positions(self) -> _Moments:
        return _Moments(*(sums.sum(dim=0, keepdim=True) for sums in (self.n_N, self.sums_Nd, self.squares_Nd)))

    def variance(self) -> Tensor:
        """Mean over the d numbers of their variance over tokens at the same position."""
        within_Nd = self.squares_Nd - self.sums_Nd.square() / self.n_N.clamp(min=1)[:, None]
        return (within_Nd.sum(dim=0) / self.n_N.sum().clamp(min=1)).mean()
