import dataclasses
import math

import numpy as np
import pytest
import torch
from decoding_data import TRIAL, dataset_of, recording, small, trainer_of

from dynml import MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import ConfigurationError
from dynml.models.sequence.decoding.evaluation import check_trials, predictions_of
from dynml.models.sequence.decoding.findings import findings

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")


def first_batch(trainer, context="training"):
    trainer.batch_sampler.set_context(context)
    trainer.batch_loader.set_context(context)
    return next(trainer.batch_loader.iterate(trainer.batch_sampler, 0))


@pytest.mark.parametrize("backbone", ["linear", "csm"])
def test_learning_begins_at_the_entropy_of_the_classes_and_finds_them(tmp_path, backbone):
    own = {"backbone": "linear"} if backbone == "linear" else small("csm", embedding_dim=32)
    settings = {"max_epochs": 12, "learning_rate": 0.02 if backbone == "linear" else 0.003, "warmup_steps": 2}
    trainer = trainer_of(dataset_of(4, 2, 0), tmp_path, trainer=settings, **own)
    assert trainer.run_one_batch(first_batch(trainer)).loss.item() == pytest.approx(math.log(2), abs=1e-6)
    summary = trainer.train_and_validate()
    assert summary["loss"] == "cross_entropy"
    assert summary["monitored"] == "validation_loss"
    assert summary["best_value"] < 0.4
    assert summary["score"]["validation"] > 0.9
    assert summary["n_trials"] == {"training": 64, "validation": 32}
    assert set(summary["baselines"]) == {"majority", "linear", "functional_connectivity"}
    assert summary["baselines"]["majority"] == {"training": 0.5, "validation": 0.5}
    assert summary["most_frequent_of_subset"] == {"training": 0.5, "validation": 0.5}
    assert summary["balanced_accuracy_chance"] == {"training": 0.5, "validation": 0.5}
    assert summary["balanced_accuracy"]["validation"] == pytest.approx(summary["accuracy"]["validation"])
    assert summary["baselines"]["linear"]["validation"] > 0.9
    assert summary["baseline_settings"]["linear"]["chosen_by"] == "participants"
    assert summary["split"] == "participants"


def test_the_loss_weighs_classes_and_smooths_targets_in_training_alone(tmp_path):
    dataset = MultiSubjectDataset.from_arrays(
        [recording(0, classes=("house", "face", "face", "face"), n_runs=1)], [recording(1)]
    )
    trainer = trainer_of(dataset, tmp_path, backbone="linear", class_weights="balanced", label_smoothing=0.2)
    torch.nn.init.normal_(trainer.model.head.weight)
    trainer.model.eval()
    assert trainer.model.config.class_counts == [6, 2]
    weights = np.array([8 / 12, 8 / 4])
    for context, smoothing in (("training", 0.2), ("validation", 0.0)):
        batch = first_batch(trainer, context)
        trials = trainer.trials(context)
        expected = []
        log_p = np.log(predictions_of(trainer.model, trials).probabilities)
        for truth, own in zip(trials.truth, log_p):
            smoothed = (1 - smoothing) * np.eye(2)[truth] + smoothing / 2
            expected.append(-(smoothed * weights * own).sum())
        result = trainer.run_one_batch(batch)
        assert float(result.n) == len(trials) == batch.n_spans
        assert result.loss.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_trials_of_a_class_without_training_are_left_out_of_the_loss_but_count_as_wrong(tmp_path):
    dataset = MultiSubjectDataset.from_arrays([recording(0)], [recording(1, classes=("house", "tool"), effect=3.0)])
    trainer = trainer_of(dataset, tmp_path, backbone="linear", trainer={"max_epochs": 30, "learning_rate": 0.05})
    batch = first_batch(trainer, "validation")
    assert batch.n_spans == 16
    assert float(trainer.run_one_batch(batch).n) == 8
    summary = trainer.train_and_validate()
    # Half of the validation trials are tools, which a decoder of houses and faces cannot find.
    assert summary["accuracy"]["training"] > 0.9
    assert summary["accuracy"]["validation"] == pytest.approx(0.5, abs=0.07)
    assert summary["baselines"]["linear"]["validation"] <= 0.5


def test_trials_of_labels_that_are_not_asked_for_neither_teach_nor_count(tmp_path):
    dataset = dataset_of(2, 1, 0, classes=("house", "face", "tool", "tool"))
    trainer = trainer_of(dataset, tmp_path, backbone="linear", classes=["house", "face"])
    batch = first_batch(trainer, "validation")
    assert (batch.n_spans, float(trainer.run_one_batch(batch).n)) == (16, 8)
    trials = trainer.trials("validation")
    assert len(trials) == 8
    assert {trials.names[code] for code in trials.truth} == {"face", "house"}
    assert trainer.train_and_validate()["n_trials"] == {"training": 16, "validation": 8}


def test_accuracy_may_choose_the_best_epoch(tmp_path):
    settings = {"monitor": "accuracy", "max_epochs": 4, "learning_rate": 0.02}
    trainer = trainer_of(dataset_of(3, 1, 0), tmp_path, backbone="linear", trainer=settings)
    summary = trainer.train_and_validate()
    assert summary["monitored"] == "validation_error_rate"
    errors = 1 - np.load(tmp_path / "run" / "logs" / "validation_accuracy_per_epoch.npy")
    assert summary["best_epoch"] == int(np.argmin(errors)) + 1
    assert summary["best_value"] == pytest.approx(errors.min())
    assert summary["accuracy"]["validation"] == pytest.approx(1 - errors.min())


def test_a_run_repeats_itself_and_resuming_it_goes_on_to_the_same_numbers(tmp_path):
    dataset = dataset_of(3, 1, 0)
    settings = {"max_epochs": 6, "schedule_by": "epoch", "warmup_steps": 0, "learning_rate_schedule": "constant"}
    whole = trainer_of(dataset, tmp_path, "whole", trainer=settings, **small("csm")).train_and_validate()
    part = trainer_of(dataset, tmp_path, "part", trainer=settings | {"max_epochs": 3}, **small("csm"))
    assert part.train_and_validate()["epochs"] == 3
    rest = trainer_of(dataset, tmp_path, "part", trainer=settings, resume="auto", **small("csm")).train_and_validate()
    assert rest["epochs"] == 6
    assert rest["best_value"] == whole["best_value"]
    assert rest["baselines"] == whole["baselines"]


def test_every_trial_is_scored_once_whatever_the_batches(tmp_path):
    trainer = trainer_of(dataset_of(2, 1, 0, n_runs=9), tmp_path, backbone="linear")
    torch.nn.init.normal_(trainer.model.head.weight)
    trials = trainer.trials("training")
    assert len(trials) == 2 * 9 * 8
    predictions = predictions_of(trainer.model, trials)
    assert predictions.probabilities.shape == (144, 2)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0)
    chosen = np.array([143, 5, 70])
    np.testing.assert_allclose(
        predictions_of(trainer.model, trials.take(chosen)).probabilities, predictions.probabilities[chosen], rtol=1e-5
    )
    assert trials.number.tolist() == 18 * list(range(8))
    assert len(set(zip(trials.subjects, trials.run, trials.number.tolist()))) == 144


def test_longer_trials_than_the_linear_backbone_was_made_for_are_refused(tmp_path):
    trainer = trainer_of(dataset_of(2, 1, 0), tmp_path, backbone="linear")
    longer = BatchSamplerConfig(trials="stimulus", trial_length=TRIAL + 2)
    trials = trainer.target.trials("validation", longer, ["face", "house"])
    with pytest.raises(ConfigurationError, match="at most 12 samples"):
        check_trials(trainer.model.config, trials, trainer.dataset)


def test_trainer_and_sampler_must_cut_the_same_trials(tmp_path):
    trainer = trainer_of(dataset_of(2, 1, 0), tmp_path, backbone="linear")
    model = trainer.model
    model.config = dataclasses.replace(model.config, target="stimuli")
    with pytest.raises(ConfigurationError, match="model.target"):
        type(trainer)(model, tmp_path, "other", trainer.batch_sampler, trainer.batch_loader, trainer.config)


def test_findings_name_the_baselines_that_are_as_good():
    scores = {
        "majority": {"validation": 0.5},
        "linear": {"validation": 0.7},
        "functional_connectivity": {"validation": None},
    }
    said = findings({"training": 1.0, "validation": 0.7}, scores)
    assert said == ["On validation trials decoding (0.700) is no better than its baselines (linear, 0.700)."]
    assert findings({"training": 1.0, "validation": 0.71}, scores) == []
    assert (
        "always the most frequent class of these trials, 0.750"
        in findings({"training": 1.0, "validation": 0.71}, scores, most_frequent=0.75)[0]
    )
    assert "no validation trials" in findings({"training": 1.0, "validation": None}, scores)[0]
