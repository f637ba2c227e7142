"""The average of the weights: what it is, where the model has it, and that a run goes on with it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_model import OneStepAhead

from dynml.training.costs import COST_ENDINGS
from dynml.training.gradients.weight_averaging import WeightAverage

STEPPED = {
    "weight_averaging": 0.9,
    "schedule_by": "step",
    "learning_rate_schedule": "cosine",
    "warmup_steps": 3,
    "accumulate_gradients": 2,
    "weight_decay_on": "matrices",
    "clip_gradient": 1.0,
}


def copy_of(weights):
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def recording_weights(trainer):
    """Weights after each step, as the optimizer leaves them."""
    steps, step = [], trainer.learner.optimizer.step

    def recording(*arguments):
        step(*arguments)
        steps.append(copy_of(trainer.model.state_dict()))

    trainer.learner.optimizer.step = recording
    return steps


def averages_by_hand(start, steps, decay):
    """The average after each step, in float64."""
    average, averages = {name: tensor.double() for name, tensor in start.items()}, []
    for t, weights in enumerate(steps, start=1):
        kept = min(decay, t / (t + 9))
        average = {name: kept * average[name] + (1 - kept) * weights[name].double() for name in average}
        averages.append({name: tensor.float() for name, tensor in average.items()})
    return averages


@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_best_model_and_validation_are_those_of_the_average_made_by_hand(make_trainer, decay):
    trainer = make_trainer(weight_averaging=decay, max_epochs=3)
    start = copy_of(trainer.model.state_dict())
    steps, seen = recording_weights(trainer), {}
    run_one_batch = trainer.run_one_batch

    def watching(batch):
        if batch.context == "validation":
            seen[trainer.progress.epoch] = copy_of(trainer.model.state_dict())
        elif steps:
            torch.testing.assert_close(copy_of(trainer.model.state_dict()), steps[-1], rtol=0, atol=0)
        return run_one_batch(batch)

    trainer.run_one_batch = watching
    summary = trainer.train_and_validate()
    expected = averages_by_hand(start, steps, decay)[len(steps) // 3 - 1 :: len(steps) // 3]
    assert len(expected) == 3
    for epoch, average in enumerate(expected):
        torch.testing.assert_close(seen[epoch], average, rtol=1e-5, atol=1e-7)
    best = load_file(trainer.folder.best_model / "model.safetensors")
    torch.testing.assert_close(best, seen[summary["best_epoch"] - 1], rtol=0, atol=0)
    # The checkpoint has what training goes on with.
    torch.testing.assert_close(load_file(trainer.folder.checkpoint / "model.safetensors"), steps[-1], rtol=0, atol=0)


def metrics_of(trainer):
    return [{n: value for n, value in row.items() if not n.endswith(COST_ENDINGS)} for row in trainer.history.rows]


@pytest.mark.parametrize("every", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_bits(make_trainer, every):
    settings = STEPPED | {"non_finite_check_every": every}
    whole = make_trainer("whole", **settings)
    whole.train_and_validate()
    n_interruptions = 0
    for _ in range(100):
        part = make_trainer("broken", resume="auto", **settings)
        run_one_batch = part.run_one_batch

        def interrupting(batch, part=part, run_one_batch=run_one_batch):
            part.interruption.signal_number = 15
            return run_one_batch(batch)

        part.run_one_batch = interrupting
        if part.train_and_validate()["stopping_reason"] == "max_epochs":
            break
        n_interruptions += 1
    # Amid epochs, and amid validation, where the model has the average.
    assert n_interruptions > 2 * part.config.max_epochs
    assert metrics_of(part) == metrics_of(whole)
    for folder in ("best_model", "checkpoint"):
        one, other = (load_file(getattr(t.folder, folder) / "model.safetensors") for t in (whole, part))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    one, other = (t.folder.load_checkpoint().state for t in (whole, part))
    torch.testing.assert_close(one["average"], other["average"], rtol=0, atol=0)
    torch.testing.assert_close(one["optimizer"]["state"], other["optimizer"]["state"], rtol=0, atol=0)
    assert one["average"]["n_updates"] == sum(np.ceil(n / 2) for n in [whole.progress.steps_per_epoch] * 4)


class KilledError(Exception):
    """As by the system, without a last word."""


def test_a_checkpoint_saved_amid_validation_holds_the_weights_that_training_goes_on_with(make_trainer):
    whole = make_trainer("whole", **STEPPED)
    whole.train_and_validate()
    part = make_trainer("broken", save_every=1e-9, **STEPPED)
    save = part.save_checkpoint

    def killed_after_saving():
        save()
        if part.progress.phase == "validation" and part.progress.epoch == 1:
            raise KilledError

    part.save_checkpoint = killed_after_saving
    with pytest.raises(KilledError):
        part.train_and_validate()
    again = make_trainer("broken", resume="auto", **STEPPED)
    again.train_and_validate()
    assert metrics_of(again) == metrics_of(whole)


def test_buffers_stay_and_frozen_parameters_are_not_averaged():
    model = torch.nn.BatchNorm1d(2)
    model.bias.requires_grad_(False)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.bias.fill_(5.0)
        model.running_mean.fill_(7.0)
    average.update(True)
    with average.in_model():
        torch.testing.assert_close(model.weight.data, torch.full((2,), 0.1 * 1.0 + 0.9 * 3.0))
        assert (model.bias == 5).all()
        assert (model.running_mean == 7).all()
        with average.out_of_model():
            assert (model.weight == 3).all()
        assert (model.weight != 3).all()
    assert (model.weight == 3).all()


def test_a_step_that_was_not_made_moves_nothing():
    model = OneStepAhead(3)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.linear.weight += 1.0
    before = average.state_dict()
    average.update(torch.tensor(False))
    torch.testing.assert_close(average.state_dict(), before, rtol=0, atol=0)
    average.update(torch.tensor(True))
    assert average.state_dict()["n_updates"] == 1
