"""Trains decoders: cross-entropy of the classes or labels of trials, or squared error of their numbers.

initialize      the weights of a pre-trained model, if one is given; the linear answer, and folds of the training trials
                that say how long the network learns and how much of it is added
loss            mean over trials of weight(class) * cross-entropy; smoothed in training alone. Of labels: its mean over
                them. Of numbers: squared error
best model      by the cross-entropy (the accuracy, the squared error) of validation trials
report          accuracies (areas under ROC curves, R^2) of the best model and of its baselines, which are fitted to the
                training trials
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.published.input_checks import in_words
from dynml.models.sequence.channels import NONE
from dynml.models.sequence.decoding.answer.answered_trials import AnsweredTrials
from dynml.models.sequence.decoding.answer.averaged_networks import held_out_of_networks
from dynml.models.sequence.decoding.answer.choice import Floats
from dynml.models.sequence.decoding.answer.features import COURSE
from dynml.models.sequence.decoding.answer.fitting import OutOfFold, fit_answer
from dynml.models.sequence.decoding.answer.folds import trial_problem
from dynml.models.sequence.decoding.answer.network_share import (
    NetworkShare,
    epochs_at_most,
    head_epochs_of,
    network_share,
)
from dynml.models.sequence.decoding.answer.units import tell_of_units
from dynml.models.sequence.decoding.answer.worth_of_states import finding_of_states
from dynml.models.sequence.decoding.backbones import LinearBackbone
from dynml.models.sequence.decoding.baselines import fit_baselines
from dynml.models.sequence.decoding.config import DecodingTrainerConfig
from dynml.models.sequence.decoding.evaluation import predictions_of, windows_of_trials
from dynml.models.sequence.decoding.findings import (
    absent_classes,
    findings,
    share_findings,
    share_of_most_frequent,
    tell_of_unused_epochs,
    tell_of_unused_folds,
    unread_finding,
)
from dynml.models.sequence.decoding.inference import answer_without_states
from dynml.models.sequence.decoding.labels.baselines import fit_label_baselines
from dynml.models.sequence.decoding.labels.marks import marks_of, marks_of_names
from dynml.models.sequence.decoding.labels.report import label_report
from dynml.models.sequence.decoding.losses import ClassLoss, LabelLoss, NumberLoss, TrialLoss
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.numbers.baselines import fit_number_baselines
from dynml.models.sequence.decoding.numbers.report import number_report
from dynml.models.sequence.decoding.numbers.values import numbers_of, values_of
from dynml.models.sequence.decoding.pretraining import check_pretrained, load_pretrained
from dynml.models.sequence.decoding.targets import Target, Trials
from dynml.models.sequence.windows import windows_of
from dynml.ops.metrics import balanced_accuracy_chance
from dynml.training.batch_result import BatchResult
from dynml.training.config import RunConfig
from dynml.training.data.pretrained_data import check_data_of_pretrained
from dynml.training.progress_bar import ProgressBars
from dynml.training.trainer import Trainer

SUBSETS = ("training", "validation")


class DecodingTrainer(Trainer):
    """Gradients of the cross-entropy, or of the squared error; see `Trainer` for the other parameters.

    Parameters
    ----------
    pretrained : str or Path, optional
        Experiment whose best model becomes the backbone, or tells the states that the linear answer reads.
    """

    config_class: ClassVar[type[RunConfig]] = DecodingTrainerConfig
    loss_name: str = "cross_entropy"
    family_name: ClassVar[str | None] = "decoding"
    model: Decoding

    def __init__(self, *arguments: Any, pretrained: str | None = None, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.pretrained = pretrained
        config = self.model.config
        if pretrained is not None and not config.is_published:
            alike, settings = self.config.other_preparation, config.backbone_settings or {}
            same_channels = config.embedder_from_pretrained and settings.get("channel_embedding", NONE) == NONE
            embeds = (config.state_model or {}).get("embedding") is not None
            check_data_of_pretrained(
                pretrained, self.dataset, alike, same_channels=same_channels, same_embedding=not embeds
            )
            check_pretrained(self.model, pretrained)
        if self.batch_loader.config.collate != "padded":
            raise ConfigurationError("loader.collate", self.batch_loader.config.collate, "padded for decoding")
        self.target = Target.of(self.dataset, str(config.target), config.classes)
        cut = self.batch_sampler.config.trials
        if cut != (config.target if self.target.of_events else None):
            raise ConfigurationError("sampler.trials", cut, f"what follows from model.target ({config.target})")
        if self.config.compile and self.model.answer is not None:
            # It reads trials one by one on the host, which compiling makes slower.
            self.model.answer.forward = torch.compiler.disable(self.model.answer.forward)  # type: ignore[method-assign]
        self._answered: dict[str, AnsweredTrials] = {}
        self.head_epochs = 0
        self._chosen_epochs: int | None = None
        self._chosen_among: int | None = None
        self._answer_report: dict[str, Any] | None = None
        self._loss = self._loss_of_trials()
        self.loss_name = self._loss.name

    def initialize(self) -> None:
        """Take over the weights of a pre-trained model, fit the linear answer, and try the network on folds."""
        if self.pretrained is not None:
            load_pretrained(self.model, self.pretrained)
        self.head_epochs = head_epochs_of(self, self.model)
        if self.processes.is_first:
            tell_of_units(self.trials("training"))
        if self.model.answer is None:
            return
        found = self.processes.from_first(self._fit_answer)
        self._adopt(found)
        if not self.config.inner_folds:
            return
        if self.processes.are_several:
            if self.processes.is_first:
                tell_of_unused_folds(self.config.inner_folds)
            return
        trials, n_folds = self.trials("training"), self.config.inner_folds
        self._decide(network_share(self, self.model, trials, found[0], n_folds))

    def run_one_batch(self, batch: Batch) -> BatchResult:
        """Loss and accuracy of the trials whose class the model knows, and that are not masked altogether."""
        return self.result_of(self.model, batch, None)

    def result_of(self, model: Any, batch: Batch, left_out: int | None) -> BatchResult:
        """Loss and accuracy of a batch, without the trials of a fold.

        Parameters
        ----------
        model : Decoding
        batch : Batch
        left_out : int or None
            Number of the fold.
        """
        label_B, windows = self._labels(batch), windows_of(batch)
        known_B = self._loss.known(label_B) & windows.known_BT.any(dim=1)
        answered = self._answered.get(batch.context)
        if left_out is not None:
            assert answered is not None
            known_B = known_B & (answered.fold_of(batch) != left_out)
        with self.autocast():
            logits_BK = model(windows, None if answered is None else answered.logits_of(batch))
        n_networks = len(logits_BK) // max(len(label_B), 1)
        if n_networks > 1:
            assert answered is not None
            is_own_MB = answered.fold_of(batch) != answered.left_out(n_networks)[:, None]
            label_B, known_B = label_B.repeat(n_networks), (known_B & is_own_MB).flatten()
        loss_B = self._loss.of(logits_BK, label_B, in_training=batch.context == "training")
        n_known = known_B.sum()
        loss = torch.where(known_B, loss_B, 0.0).sum() / n_known.clamp(min=1)
        return BatchResult(loss, n_known, self._loss.metrics(logits_BK, label_B, known_B))

    def train_one_epoch(self, bars: ProgressBars) -> None:
        """As every trainer; in the first epochs a pre-trained backbone does not learn."""
        for network in self.model.networks:
            network.hold_backbone(self.progress.epoch < self.head_epochs)
        if self.learner is not None and self.progress.epoch == self.head_epochs:
            self.learner.wrap_anew()
        super().train_one_epoch(bars)

    def inner_batches(self, epoch: int) -> Iterator[Batch]:
        """Training batches of an epoch, for the folds."""
        self.batch_sampler.set_context("training")
        self.batch_loader.set_context("training")
        return self.batch_loader.iterate(self.batch_sampler, epoch, 0)

    def look_at_interruption(self) -> None:
        """End the run if it is to end; what the folds have done is done again then."""
        self._save_or_end(is_due=False)

    def monitored_value(self, row: dict[str, float]) -> float:
        """Value that chooses the best model: where folds have chosen how long to train, that of their last epoch."""
        if self._chosen_epochs is not None and self.progress.epoch + 1 < min(self._chosen_epochs, epochs_at_most(self)):
            return float("nan")
        return super().monitored_value(row)

    def stopping_reason(self) -> str | None:
        """Why the run is over: also when it has trained for as long as the folds have chosen."""
        if self._chosen_epochs is None:
            if self.progress.epoch <= self.head_epochs:
                self.best.n_epochs_without_improvement = 0
            return super().stopping_reason()
        return "inner_folds" if self.progress.epoch >= self._chosen_epochs else self.limit_reached()

    def family_state(self) -> dict[str, Any]:
        """What folds have found, beside the weights."""
        state: dict[str, Any] = {
            "chosen_epochs": self._chosen_epochs,
            "chosen_among": self._chosen_among,
            "linear_answer": self._answer_report,
            "head_epochs": self.head_epochs,
        }
        return state | {"answered": {name: one.state() for name, one in self._answered.items()}}

    def load_family_state(self, state: dict[str, Any]) -> None:
        """Go on from `family_state`."""
        self._chosen_epochs, self._answer_report = state.get("chosen_epochs"), state.get("linear_answer")
        self._answered = {
            name: AnsweredTrials.of_state(one, self.device) for name, one in state.get("answered", {}).items()
        }
        self._chosen_among, self.head_epochs = state.get("chosen_among"), state.get("head_epochs", 0)
        if self._chosen_epochs is not None and epochs_at_most(self) > (self._chosen_among or self._chosen_epochs):
            tell_of_unused_epochs(self._chosen_epochs)

    def _fit_answer(self) -> tuple[OutOfFold, dict[str, Any], Any]:
        """What is known of training trials, the weights of the answer, and what it says of validation trials."""
        answer = self.model.answer
        assert answer is not None
        trials = self.trials("training")
        answered = fit_answer(
            answer.cpu(),
            trials,
            by_runs=self.dataset.split == "runs",
            balanced=self.model.config.class_weights == "balanced",
            most_trials=self.config.baseline_trials,
            seed=self.config.seed,
            **self._targets(trials),
        )
        windows = windows_of_trials(self.trials("validation"), torch.device("cpu"))
        said = [np.zeros((0, self.model.config.n_classes)), *(answer(one).double().numpy() for one in windows)]
        return answered, answer.state_dict(), np.concatenate(said)

    def _adopt(self, found: tuple[OutOfFold, dict[str, Any], Any]) -> None:
        out_of_fold, weights, said = found
        assert self.model.answer is not None
        self.model.answer.load_state_dict(weights)
        self.model.answer.to(self.device)
        answered = {"training": (out_of_fold.logits, out_of_fold.fold)}
        if len(said):
            answered["validation"] = (said, np.full(len(said), -1))
        self._answered = {
            name: AnsweredTrials.of(self.trials(name), *known, self.device) for name, known in answered.items()
        }
        self._answer_report = out_of_fold.report
        if isinstance(self.model.backbone, LinearBackbone):
            self.model.backbone.use(out_of_fold.report["kinds"][COURSE]["n_bins"])
            self._answer_report["linear_rank"] = self.model.backbone.n_weightings

    def _decide(self, found: NetworkShare) -> None:
        self._chosen_epochs, self._chosen_among = found.epochs if found.share else 1, epochs_at_most(self)
        self.model.network_share.fill_(found.share)
        assert self._answer_report is not None
        self._answer_report["network"] = found.report

    def monitored_name(self) -> str:
        """Name of the value that chooses the best model."""
        subset = "validation" if self.dataset.validation_set.n_subjects else "training"
        return f"{subset}_{'error_rate' if self.config.monitor == 'accuracy' else 'loss'}"

    def final_report(self) -> dict[str, Any]:
        """Accuracies of the best model and of the baselines, and findings; the first process alone works it out."""
        report: dict[str, Any] = self.processes.from_first(self._report)
        return report

    def kept_in_words(self) -> str | None:
        """Say what is kept, where no value of an epoch has chosen it."""
        if not self.model.has_network:
            return "the linear answer alone, whose weights no epoch changes"
        if self._chosen_epochs is None or self.best.best_epoch is None:
            return None
        return (
            f"the model after epoch {self.best.best_epoch}, as folds of the training trials chose how long to train "
            f"({self._chosen_epochs} epoch{'s' if self._chosen_epochs > 1 else ''})"
        )

    def trials(self, name: str) -> Trials:
        """All trials of a subset."""
        assert self.model.config.class_names is not None
        return self.target.trials(name, self.batch_sampler.config, self.model.config.class_names)

    def _report(self) -> dict[str, Any]:
        if self.model.config.target_values != "classes":
            return self._report_of_others()
        config, trials = self.model.config, {name: self.trials(name) for name in SUBSETS}
        predictions = {name: predictions_of(self.model, trials[name]) for name in SUBSETS}
        accuracy = {name: predictions[name].accuracy for name in SUBSETS}
        commonest = {name: share_of_most_frequent(trials[name]) for name in SUBSETS}
        fitted = fit_baselines(
            trials["training"],
            by_runs=self.dataset.split == "runs",
            balanced=config.class_weights == "balanced",
            most_trials=self.config.baseline_trials,
            seed=self.config.seed,
        ) | answer_without_states(self.model)
        baselines: dict[str, dict[str, float | None]] = {}
        for name, baseline in fitted.items():
            baselines[name] = {
                subset: None if baseline is None else baseline.accuracy(trials[subset]) for subset in SUBSETS
            }
        return {
            "score": accuracy,
            "accuracy": accuracy,
            "baselines": baselines,
            "baseline_settings": {name: one.settings for name, one in fitted.items() if one is not None},
            "n_trials": {name: len(trials[name]) for name in SUBSETS},
            "target": config.target,
            "class_names": config.class_names,
            "class_counts": config.class_counts,
            "pretrained": self.pretrained,
            "head_epochs": self.head_epochs,
            "pretraining_overlap": config.pretraining_overlap,
            "most_frequent_of_subset": commonest,
            "balanced_accuracy": {name: predictions[name].balanced_accuracy for name in SUBSETS},
            "balanced_accuracy_chance": {name: balanced_accuracy_chance(trials[name].truth) for name in SUBSETS},
            "linear_answer": self._answer_report,
            "networks": self._held_out_of_networks(),
            "findings": findings(accuracy, baselines, commonest["validation"])
            + absent_classes("validation", trials["validation"], config.class_names or ())
            + share_findings(self._answer_report, training_score=accuracy["training"])
            + self._findings_of_parts(),
        }

    def _report_of_others(self) -> dict[str, Any]:
        """Of numbers, or of labels."""
        config, trials = self.model.config, {name: self.trials(name) for name in SUBSETS}
        choices: dict[str, Any] = {"by_runs": self.dataset.split == "runs", "seed": self.config.seed}
        choices["most_trials"] = self.config.baseline_trials
        if config.tells_numbers:
            report = number_report(
                self.model, trials, lambda own: fit_number_baselines(own, **choices) | answer_without_states(self.model)
            )
            report["findings"] += share_findings(self._answer_report, "squared error", report["score"]["training"])
        else:
            labels = config.class_names or ()
            report = label_report(
                self.model,
                trials,
                lambda own: fit_label_baselines(own, labels, **choices) | answer_without_states(self.model),
            )
            report["findings"] += share_findings(self._answer_report, training_score=report["score"]["training"])
        report["findings"] += self._findings_of_parts()
        own = {"linear_answer": self._answer_report, "networks": self._held_out_of_networks()}
        return report | own | {"pretrained": self.pretrained, "head_epochs": self.head_epochs}

    def _held_out_of_networks(self) -> dict[str, Any] | None:
        if self.model.answer is None or self.model.config.n_networks == 1:
            return None
        trials, log_priors = self.trials("training"), self.model.answer.bias_K.cpu().numpy()
        problem, _ = trial_problem(
            trials,
            log_priors,
            by_runs=self.dataset.split == "runs",
            balanced=self.model.config.class_weights == "balanced",
            drawn=np.arange(len(trials)),
            **self._targets(trials),
        )
        return held_out_of_networks(self.model, trials, self._answered["training"], problem)

    def _findings_of_parts(self) -> list[str]:
        """What the answer could not read, what states add, what imported weights need and how they are licensed."""
        config = self.model.config
        found = unread_finding(self._answer_report) + finding_of_states(self._answer_report, self.pretrained)
        return [*found, in_words(config.backbone_config())] if config.is_published else found

    def _labels(self, batch: Batch) -> Tensor:
        """Label of each trial of a batch, (B,); -1 for none."""
        if self.target.of_events:
            return batch.classes
        labels = self.target.label_of_subjects(self.dataset.subset(batch.context))
        return torch.from_numpy(labels).to(batch.device)[batch.subject]

    def _loss_of_trials(self) -> TrialLoss:
        config = self.model.config
        if config.tells_numbers:
            return NumberLoss(self._standardized(numbers_of(self.target.label_names)), self.device)
        assert config.class_names is not None
        if config.tells_labels:
            return LabelLoss(marks_of_names(self.target.label_names, config.class_names), self.device)
        counts = None if config.class_weights is None else config.class_counts
        classes = self.target.class_of_labels(config.class_names)
        return ClassLoss(classes, counts, config.label_smoothing, self.device)

    def _targets(self, trials: Trials) -> dict[str, Floats]:
        """What is predicted of trials where it is not their class."""
        config = self.model.config
        if config.tells_numbers:
            return {"values": self._standardized(values_of(trials))}
        return {"marks": marks_of(trials, config.class_names or ())} if config.tells_labels else {}

    def _standardized(self, values: Floats) -> Floats:
        assert self.model.config.value_moments is not None
        mean, scale = self.model.config.value_moments
        return (values - mean) / scale
