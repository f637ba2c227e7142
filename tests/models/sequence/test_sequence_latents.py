"""Latent prediction: the teacher, what it is shown, what is scored beside it, and what decoders take over."""

import dataclasses

import numpy as np
import pytest
import torch
from interrupting import interrupt_at
from sequence_making import model_of, task_of
from sequence_windows import windows
from test_sequence_training import assert_same_numbers, trainer_of

from dynml.batches.fixed_windows import FixedWindows
from dynml.errors import ConfigurationError
from dynml.models.sequence.config import SequenceBertConfig
from dynml.models.sequence.targets.latents import PARTS
from dynml.models.sequence.targets.scores import findings_of_further, scores_of_further
from dynml.models.sequence.windows import datasets_of, windows_of

P = 4
LATENT = {"patch_length": P, "latent_weight": 1.0}


def parts_of(model):
    return {name: tensor for name, tensor in model.named_parameters() if name.partition(".")[0] in PARTS}


def teacher_of(model):
    return {
        name.removeprefix("latents.teacher."): tensor.clone()
        for name, tensor in model.state_dict().items()
        if name.startswith("latents.teacher.")
    }


def test_the_teacher_is_the_moving_average_of_the_weights_after_each_step(tmp_path):
    model = {"patch_length": 5, "latent_weight": 1.0, "teacher_decay": 0.3}
    trainer = trainer_of(tmp_path, "sequence_bert", model=model, sampler={"window_length": 20})
    average, n_steps = teacher_of(trainer.model), []
    assert average.keys() == parts_of(trainer.model).keys()
    follow = trainer._step_done

    def following(step):
        follow(step)
        if step is None:
            return
        n_steps.append(1)
        decay = min(0.3, len(n_steps) / (9 + len(n_steps)))
        for name, tensor in parts_of(trainer.model).items():
            average[name] = decay * average[name] + (1 - decay) * tensor.detach()

    trainer._step_done = following
    trainer.train_and_validate()
    assert len(n_steps) == trainer.progress.step > 4
    checkpoint = trainer.folder.load_checkpoint()
    for name, tensor in average.items():
        torch.testing.assert_close(checkpoint.weights[f"latents.teacher.{name}"], tensor, atol=1e-6, rtol=1e-5)
    assert int(checkpoint.weights["latents.n_updates"]) == len(n_steps)


def test_the_target_is_the_normalized_state_of_a_teacher_that_sees_what_is_hidden_from_the_model():
    model, given = model_of("sequence_bert", **LATENT, masking_rate=0.4), windows(lengths=(20, 13))
    with torch.no_grad():
        for parameter in model.latents.teacher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    task = task_of(model, given)
    changed = torch.where(task.scored, -3.0 * given.signals_BTC, given.signals_BTC)
    other = task_of(model, dataclasses.replace(given, signals_BTC=changed))
    with torch.no_grad():
        one, two = (model(given_task).further["latents"] for given_task in (task, other))
    torch.testing.assert_close(one.predicted, two.predicted)
    scored_BN = one.scored[:, :, 0]
    assert scored_BN.sum(dim=1).tolist() == [2, 2]
    assert (one.target - two.target)[scored_BN].abs().max() > 0.1
    # A model that has the teacher's weights gives the states that the target normalizes.
    same = model_of("sequence_bert", patch_length=P)
    same.load_state_dict(same.state_dict() | teacher_of(model))
    states = same.states(given)[:, ::P].detach()
    expected = (states - states.mean(-1, keepdim=True)) / states.std(-1, correction=0, keepdim=True)
    known_BN = given.mask_BT[:, ::P]
    torch.testing.assert_close(one.target[known_BN], expected[known_BN], atol=1e-3, rtol=1e-3)


def test_gradients_go_to_the_model_and_none_to_the_teacher_which_has_no_dropout():
    model, given = model_of("sequence_bert", **LATENT, signal_weight=0, linear_path=True), windows()
    model.train()
    targets = [model(task_of(model, given)).further["latents"].target for _ in range(2)]
    torch.testing.assert_close(*targets, rtol=0, atol=0)
    loss, _ = model.compute_loss(model(task_of(model, given)))
    loss.backward()
    assert all(parameter.grad is None for parameter in model.latents.teacher.parameters())
    assert not model.unembedder.layers[-1].weight.grad.any()
    assert model.embedder.layers[0].weight.grad.abs().max() > 0


def test_scores_baselines_and_variances_are_those_of_independent_sums(tmp_path):
    model = {"patch_length": 5, "latent_weight": 1.0, "signal_weight": 0}
    settings = {"sampler": {"window_length": 20, "strategy": "fixed_windows"}, "max_epochs": 1}
    trainer = trainer_of(tmp_path, "sequence_bert", model=model, **settings)
    summary = trainer.train_and_validate()
    states = {"training": [], "validation": []}
    trainer.model.eval()
    for name in states:
        for batch in FixedWindows(trainer.dataset, 20)(name):
            task = trainer.model.task_of(windows_of(batch), batch.subject, datasets_of(batch))
            with torch.no_grad():
                said = trainer.model(task).further["latents"]
            for b, n in said.scored[:, :, 0].nonzero().tolist():
                states[name].append((n, said.target[b, n].double().numpy(), said.predicted[b, n].double().numpy()))
    usual = {
        n: np.mean([z for at, z, _ in states["training"] if at == n], axis=0)
        for n in {n for n, _, _ in states["training"]}
    }
    found = summary["further_targets"]["latents"]
    for name, rows in states.items():
        assert found["score"][name] == pytest.approx(np.mean([np.abs(z - p) for _, z, p in rows]), rel=1e-4)
        by_position = np.mean([np.abs(z - usual.get(n, 0.0)) for n, z, _ in rows])
        assert found["baselines"]["usual_latent"][name] == pytest.approx(by_position, rel=1e-4)
        variance = np.var([z for _, z, _ in rows], axis=0).mean()
        assert found["variance"][name] == pytest.approx(variance, rel=1e-4)
        own = {n: np.mean([z for at, z, _ in rows if at == n], axis=0) for n, _, _ in rows}
        within = np.mean([(z - own[n]) ** 2 for n, z, _ in rows])
        assert found["variance_within_positions"][name] == pytest.approx(within, rel=1e-4)
    assert summary["score"] == summary["baselines"]["ridge_both_sides"]
    assert any("are not alike" in finding for finding in summary["findings"])
    assert np.isfinite(trainer.history.column("validation_latents_variance")).all()


def test_the_last_epoch_is_kept_since_losses_of_a_moving_target_do_not_compare(tmp_path):
    model = {"patch_length": 5, "latent_weight": 1.0}
    trainer = trainer_of(tmp_path, "sequence_bert", model=model, max_epochs=3)
    trainer.monitored_value = lambda row: float(trainer.progress.epoch)  # ever worse
    summary = trainer.train_and_validate()
    assert (summary["best_epoch"], summary["best_value"]) == (3, 2.0)
    weights, _ = trainer.folder.load_model()
    torch.testing.assert_close(weights, trainer.folder.load_checkpoint().weights, rtol=0, atol=0)
    with pytest.raises(ConfigurationError, match=r"trainer\.patience is 2, but must be null with model\.latent_weight"):
        trainer_of(tmp_path, "sequence_bert", "patient", model=model, patience=2)


def test_a_teacher_whose_states_are_all_alike_is_said_to_have_collapsed(tmp_path):
    trainer = trainer_of(tmp_path, "sequence_bert", model={"patch_length": 5, "latent_weight": 1.0})
    with torch.no_grad():
        norm = trainer.model.latents.teacher["transformer"].final_norm
        norm.weight.zero_()
        norm.bias.copy_(torch.randn(norm.bias.shape))
    further = scores_of_further(trainer.model, trainer.dataset, 20, trainer.processes)
    assert further["latents"]["variance"]["validation"] < 1e-6
    assert "they have collapsed" in findings_of_further(further)[-1]


def test_an_interrupted_run_with_a_teacher_goes_on_to_the_same_numbers(tmp_path):
    settings = {
        "model": {"patch_length": 5, "latent_weight": 1.0, "spectral_weight": 0.5, "dropout": 0.2},
        "sampler": {"window_length": 20, "batches_per_epoch": 3},
        "weight_averaging": 0.9,
    }
    whole = trainer_of(tmp_path, "sequence_bert", "whole", **settings)
    expected = whole.train_and_validate()
    first = trainer_of(tmp_path, "sequence_bert", "broken", **settings)
    interrupt_at(first, "run_one_batch", 5)
    first.train_and_validate()
    second = trainer_of(tmp_path, "sequence_bert", "broken", resume="auto", **settings)
    with torch.no_grad():
        for parameter in second.model.parameters():
            parameter.add_(1.0)
    summary = second.train_and_validate()
    assert_same_numbers(second, whole)
    assert summary["further_targets"] == expected["further_targets"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"latent_weight": 0.0}, "model.latent_weight"),
        ({"latent_weight": 1.0, "next_sequence": True}, "model.latent_weight"),
        ({"latent_weight": 1.0, "channel_embedding": "position"}, "model.latent_weight"),
        ({"latent_weight": 1.0, "teacher_decay": 1.0}, "model.teacher_decay"),
    ],
)
def test_settings_of_latent_prediction_that_cannot_be_used_are_named(settings, key):
    with pytest.raises(ConfigurationError) as error:
        SequenceBertConfig(**settings)
    assert error.value.key == key
