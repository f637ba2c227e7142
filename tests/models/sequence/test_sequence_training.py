"""Runs of the sequence families on the shared trainer: scores, baselines, resuming, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from interrupting import interrupt_at
from sequence_runs import FAMILIES, TINY, rotations

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, load_experiment
from dynml.errors import ConfigurationError, DynmlError
from dynml.models.sequence.config import SequenceBertConfig
from dynml.models.sequence.decoding.config import DecodingTrainerConfig
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.windows import windows_of
from dynml.training.costs import COST_ENDINGS


def trainer_of(folder, family, name="run", *, arrays=None, model=None, sampler=None, resume="refuse", **settings):
    arrays = rotations() if arrays is None else arrays
    dataset = MultiSubjectDataset.from_arrays(arrays[:-1], arrays[-1:])
    model_class, config_class = FAMILIES[family]
    torch.manual_seed(1)
    network = model_class(settled_model(config_class(**{**TINY, **(model or {})}), dataset), dataset.n_channels)
    spans = BatchSampler(dataset, **{"window_length": [10, 20], "batch_size_training": 8} | (sampler or {}))
    loader = BatchLoader(dataset, network)
    settings = {"max_epochs": 2, "progress": False, "device": "cpu", "warmup_steps": 2} | settings
    return SequenceTrainer(network, folder, name, spans, loader, resume=resume, **settings)


def weights_and_logs(trainer):
    logs = {name: trainer.history.column(name) for name in trainer.history.rows[0] if not name.endswith(COST_ENDINGS)}
    return trainer.model.state_dict(), logs


def assert_same_numbers(first, second):
    (weights, logs), (others, other_logs) = weights_and_logs(first), weights_and_logs(second)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    assert logs.keys() == other_logs.keys()
    for name, values in logs.items():
        np.testing.assert_array_equal(values, other_logs[name], err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_and_stands_beside_its_baselines(tmp_path, family):
    trainer = trainer_of(tmp_path, family)
    summary = trainer.train_and_validate()
    assert (summary["family"], summary["loss"]) == (family, "l1")
    assert summary["score"]["validation"] == pytest.approx(summary["best_value"], rel=1e-5)
    compared = {name for name, values in summary["baselines"].items() if values is not None}
    assert compared == set(trainer.baselines)
    assert {"zero", "persistence", "ar1", "ridge_var"} <= set(summary["baselines"])
    assert len(summary["score_by_network"]) == 4
    assert summary["findings"]
    json.loads(trainer.folder.summary.read_text())


def test_the_zero_baseline_costs_the_mean_absolute_value_of_scored_samples(tmp_path):
    trainer = trainer_of(tmp_path, "csm", sampler={"window_length": 20, "strategy": "fixed_windows"})
    summary = trainer.train_and_validate()
    windows = rotations()[-1][:140].reshape(7, 20, 4)
    rest = rotations()[-1][140:][None]
    scored = np.concatenate([np.abs(part[:, 1:]).ravel() for part in (windows, rest)])
    assert summary["baselines"]["zero"]["validation"] == pytest.approx(scored.mean(), rel=1e-5)
    persistence = np.concatenate([np.abs(np.diff(part, axis=1)).ravel() for part in (windows, rest)])
    assert summary["baselines"]["persistence"]["validation"] == pytest.approx(persistence.mean(), rel=1e-5)


@pytest.mark.parametrize("family", ["csm", "sequence_bert", "network_bert"])
def test_with_a_learning_rate_of_nothing_the_model_is_its_linear_baseline(tmp_path, family):
    trainer = trainer_of(tmp_path, family, learning_rate=1e-30, weight_decay=0.0, max_epochs=1)
    summary = trainer.train_and_validate()
    baseline = summary["baselines"][trainer.model.linear_baseline]
    assert summary["score"] == pytest.approx(baseline, rel=1e-6)
    assert "does not beat" in summary["findings"][0]


def test_the_linear_path_knows_the_dynamics(tmp_path):
    summary = trainer_of(tmp_path, "csm", learning_rate=1e-30, max_epochs=1).train_and_validate()
    # Noise of standard deviation 0.3 cannot be predicted: its mean absolute value is the floor.
    floor = 0.3 * np.sqrt(2 / np.pi)
    assert floor * 0.9 < summary["score"]["validation"] < floor * 1.2
    horizons = summary["score_by_horizon"]
    assert all(np.diff(horizons["model"]) > -0.02)
    assert horizons["model"][0] < horizons["zero"][0]
    assert horizons["model"] == pytest.approx(horizons["ridge_var"], rel=1e-5)


@pytest.mark.parametrize("family", ["sequence_bert", "network_bert"])
def test_validation_hides_the_same_in_every_epoch_and_training_does_not(tmp_path, family):
    trainer = trainer_of(tmp_path, family)
    sampler, loader, model = trainer.batch_sampler, trainer.batch_loader, trainer.model
    hidden = {}
    for context in ("training", "validation"):
        sampler.set_context(context)
        loader.set_context(context)
        spans = next(iter(sampler.batches(0)))
        for epoch in (0, 1):
            batch = loader.on_device(loader.load_batch(spans, epoch))
            hidden[context, epoch] = model.task_of(windows_of(batch), batch.subject, batch.subject).scored
    assert torch.equal(hidden["validation", 0], hidden["validation", 1])
    assert not torch.equal(hidden["training", 0], hidden["training", 1])


def test_gaps_of_pairs_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="model.min_gap"):
        SequenceBertConfig(min_gap=5)
    assert SequenceBertConfig(max_gap=0).min_gap == 1
    gaps = {"next_sequence": True, "min_gap": 2, "max_gap": 50}
    with pytest.raises(ConfigurationError, match="sampler.window_length.* at least 54 for next_sequence"):
        trainer_of(tmp_path, "sequence_bert", model=gaps)


def test_the_next_sequence_task_is_reported_apart(tmp_path):
    trainer = trainer_of(tmp_path, "sequence_bert", model={"next_sequence": True, "next_sequence_weight": 0.5})
    trainer.train_and_validate()
    row = trainer.history.rows[-1]
    assert 0 <= row["validation_next_sequence_accuracy"] <= 1
    assert row["validation_next_sequence_loss"] > 0


# ---------------------------------------------------------------------- interruptions


@pytest.mark.parametrize(
    ("family", "call", "n"),
    [
        ("csm", "initialization_step_done", 1),
        ("csm", "run_one_batch", 2),
        ("sequence_bert", "run_one_batch", 5),
        ("network_bert", "run_one_batch", 7),
        ("autoencoder", "run_one_batch", 3),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path, family, call, n):
    settings = {"weight_averaging": 0.9, "model": {"dropout": 0.2}}
    whole = trainer_of(tmp_path, family, "whole", **settings)
    expected = whole.train_and_validate()
    first = trainer_of(tmp_path, family, "broken", **settings)
    interrupt_at(first, call, n)
    assert first.train_and_validate()["stopping_reason"] == "signal SIGTERM"
    torch.manual_seed(99)
    second = trainer_of(tmp_path, family, "broken", resume="auto", **settings)
    with torch.no_grad():
        for tensor in (*second.model.parameters(), *second.model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(1.0)
    summary = second.train_and_validate()
    assert_same_numbers(second, whole)
    for key in ("score", "baselines", "score_by_network", "findings"):
        assert summary[key] == expected[key], key


def test_a_run_that_is_older_than_a_setting_of_its_model_goes_on_with_its_default(tmp_path):
    first = trainer_of(tmp_path, "csm", max_epochs=1)
    for name in ("signal_weight", "patch_length"):
        del first.parameters["model"][name]
    first.train_and_validate()
    assert trainer_of(tmp_path, "csm", max_epochs=2, resume="auto").train_and_validate()["epochs"] == 2


def test_a_model_starts_from_another_experiment(tmp_path):
    first = trainer_of(tmp_path, "csm", "first")
    first.train_and_validate()
    still = {"learning_rate": 1e-30, "max_epochs": 1}
    second = trainer_of(tmp_path, "csm", "second", pretrained=str(tmp_path / "first"), **still)
    second.train_and_validate()
    for name, tensor in second.model.state_dict().items():
        assert torch.allclose(tensor, first.model.state_dict()[name], atol=1e-6), name


@pytest.mark.parametrize("family", ["csm", "sequence_bert", "autoencoder"])
def test_a_frozen_embedder_and_unembedder_stay_those_of_another_experiment(tmp_path, family):
    first = trainer_of(tmp_path, family, "first", max_epochs=1)
    first.train_and_validate()
    frozen = {"freeze_embedder": True, "freeze_unembedder": True, "max_epochs": 1, "weight_decay": 10.0}
    second = trainer_of(tmp_path, family, "second", pretrained=str(tmp_path / "first"), **frozen)
    summary = second.train_and_validate()
    kept = ("embedder", "time_embedding", "unembedder", "mask_token_C", "class_token_C")
    before = load_experiment(tmp_path / "first").model.state_dict()
    for name, tensor in second.model.state_dict().items():
        if name.startswith(kept):
            assert torch.equal(tensor, before[name]), name
    learnt = {id(p) for group in second.learner.optimizer.param_groups for p in group["params"]}
    names = {name for name, parameter in second.model.named_parameters() if id(parameter) in learnt}
    assert names
    assert not [name for name in names if name.startswith(kept)]
    assert not torch.equal(*(dict(m.named_parameters())[sorted(names)[-1]] for m in (first.model, second.model)))
    assert not [said for said in summary["findings"] if "never learnt" in said]


def test_parts_that_are_frozen_at_random_numbers_draw_a_finding(tmp_path):
    summary = trainer_of(tmp_path, "csm", max_epochs=1, freeze_embedder=True).train_and_validate()
    (said,) = [said for said in summary["findings"] if "never learnt" in said]
    assert "trainer.freeze_embedder" in said
    with pytest.raises(ConfigurationError, match="trainer.freeze_unembedder.*model.fine_tuning"):
        DecodingTrainerConfig(freeze_unembedder=True)


def test_a_pretrained_model_of_other_sizes_is_refused(tmp_path):
    trainer_of(tmp_path, "csm", "first").train_and_validate()
    with pytest.raises(DynmlError, match="same shape"):
        trainer_of(tmp_path, "csm", "second", model={"embedding_dim": 32}, pretrained=str(tmp_path / "first"))


# ---------------------------------------------------------------------- bad input


def test_windows_longer_than_the_positions_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"sampler\.window_length is 70.*at most 61 samples"):
        trainer_of(tmp_path, "csm", sampler={"window_length": 70})


def test_windows_longer_than_every_segment_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="at most 150"):
        trainer_of(tmp_path, "csm", sampler={"window_length": 151})


def test_windows_that_outlast_the_embedding_of_time_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"at most 10 samples at 1 Hz.*max_seconds is 10"):
        trainer_of(tmp_path, "csm", model={"max_seconds": 10.0})


def test_an_embedding_of_time_too_coarse_for_the_data_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="time_precision is 3"):
        trainer_of(tmp_path, "csm", model={"time_precision": 3.0})


def test_packed_batches_are_refused(tmp_path):
    trainer = trainer_of(tmp_path, "csm")
    packed = BatchLoader(trainer.dataset, trainer.model, collate="packed")
    with pytest.raises(ConfigurationError, match=r"loader\.collate"):
        SequenceTrainer(trainer.model, tmp_path, "packed", trainer.batch_sampler, packed, progress=False)


@pytest.mark.processor
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_train_in_mixed_precision_on_any_processor(tmp_path, family):
    runs = [trainer_of(tmp_path, family, name, precision=name).train_and_validate() for name in ("float32", "bf16")]
    assert runs[1]["best_value"] == pytest.approx(runs[0]["best_value"], rel=0.05)
