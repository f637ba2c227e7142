"""Losses and gradients that are not finite, seen on the host after every batch or on the device alone."""

import math

import numpy as np
import pytest
import torch
from small_model import OneStepAhead, random_walks

from dynml.errors import ConfigurationError, NonFiniteLossError
from dynml.training.gradients.deferred_check import DeferredCheck
from dynml.training.processes import Processes

DEFERRED = {"non_finite_check_every": 50}


class FaultyAt(OneStepAhead):
    """Gives a faulty loss, or only a faulty gradient, in chosen training batches; counts samples on the device."""

    def __init__(self, batches=(), gradient_alone=False):
        super().__init__(4)
        self.batches, self.gradient_alone, self.seen = batches, gradient_alone, 0

    def compute_loss(self, outputs, batch):
        valid = batch.mask[:, 1:]
        squares = (outputs - batch.signals[:, 1:]).square().mean(dim=2)
        n = valid.sum()
        loss = torch.where(valid, squares, 0.0).sum() / n
        self.seen += batch.context == "training"
        if batch.context == "training" and self.seen in self.batches:
            # The root of zero has an infinite slope.
            loss = loss + (self.linear.weight * 0).sum().sqrt() if self.gradient_alone else loss * math.nan
        return loss, n


def snapshot(trainer):
    optimizer = trainer.learner.optimizer.state_dict()["state"]
    return {
        "weights": {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()},
        "optimizer": {i: {k: torch.as_tensor(v).clone() for k, v in s.items()} for i, s in optimizer.items()},
        "average": None if trainer.average is None else trainer.average.state_dict(),
    }


def recording(trainer):
    """State before each training batch, and after the last."""
    states, learn_from = [snapshot(trainer)], trainer._learn_from

    def learning(batch):
        learn_from(batch)
        states.append(snapshot(trainer))

    trainer._learn_from = learning
    return states


def same(one, other):
    try:
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("settings", [DEFERRED, {}], ids=["device", "host"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("gradient_alone", [False, True])
def test_a_faulty_step_changes_nothing_and_is_counted(make_trainer, settings, optimizer, gradient_alone):
    model = FaultyAt((2, 7), gradient_alone)
    settings = {"optimizer": optimizer, "weight_averaging": 0.5, "clip_gradient": 1.0, **settings}
    trainer = make_trainer(model=model, non_finite="skip", **settings)
    states = recording(trainer)
    summary = trainer.train_and_validate()
    unchanged = [i for i in range(1, len(states)) if same(states[i - 1], states[i])]
    assert unchanged == [2, 7]
    assert summary["n_skipped_batches"] == 2
    rows = trainer.history.rows
    assert all(math.isfinite(row["training_loss"]) and math.isfinite(row["gradient_norm"]) for row in rows)


def test_a_first_step_that_is_faulty_leaves_the_state_of_a_run_that_begins(make_trainer):
    for optimizer in ("sgd", "adamw"):
        settings = {"optimizer": optimizer, "max_epochs": 1} | DEFERRED
        trainer = make_trainer(optimizer, model=FaultyAt((1,)), non_finite="skip", **settings)
        states = recording(trainer)
        trainer.train_and_validate()
        assert same(states[0]["weights"], states[1]["weights"])
        for state in states[1]["optimizer"].values():
            assert all((tensor == 0).all() for tensor in state.values())


@pytest.mark.parametrize("settings", [DEFERRED, {}], ids=["device", "host"])
@pytest.mark.parametrize("gradient_alone", [False, True])
def test_a_run_that_stops_has_the_model_of_before_the_faulty_step(make_trainer, settings, gradient_alone):
    model = FaultyAt((3,), gradient_alone)
    trainer = make_trainer(model=model, weight_averaging=0.5, max_epochs=1, **settings)
    states = recording(trainer)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1.*left as it was before"):
        trainer.train_and_validate()
    assert same(snapshot(trainer), states[2])
    assert not same(states[1], states[2])


def test_the_host_looks_every_so_many_batches_before_it_saves_and_after_an_epoch(make_trainer):
    for every, faulty, n_seen, n_unseen in ((3, 6, 7, 3), (3, 5, 7, 3), (3, 8, 8, 1), (50, 5, 8, 4)):
        name = f"every-{every}-{faulty}"
        trainer = make_trainer(name, model=FaultyAt((faulty,)), non_finite_check_every=every, max_epochs=3)
        assert trainer.batch_sampler.n_batches(0) == 4
        with pytest.raises(NonFiniteLossError, match=f"in epoch 2, among its last {n_unseen} batches"):
            trainer.train_and_validate()
        assert trainer.model.seen == n_seen
    # Before a checkpoint amid an epoch: no fault is saved unseen.
    trainer = make_trainer("saves", model=FaultyAt((2,)), save_every=1e-9, non_finite_check_every=50)
    with pytest.raises(NonFiniteLossError):
        trainer.train_and_validate()
    assert trainer.model.seen == 2


def test_losses_of_both_ways_are_the_same_numbers(make_trainer):
    runs = [make_trainer(name, model=FaultyAt((4,)), non_finite="skip", **settings) for name, settings in RUNS.items()]
    for trainer in runs:
        torch.manual_seed(3)
        trainer.model.load_state_dict(FaultyAt().state_dict())
        trainer.train_and_validate()
    for one, other in zip(*(trainer.history.rows for trainer in runs)):
        for name in ("training_loss", "validation_loss", "gradient_norm", "learning_rate"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), name


RUNS = {"host": {}, "device": DEFERRED}


@pytest.mark.parametrize("settings", [DEFERRED, {}], ids=["device", "host"])
@pytest.mark.parametrize("faulty", [3, 4])
def test_a_faulty_batch_takes_its_whole_accumulated_step_with_it(make_trainer, settings, faulty):
    trainer = make_trainer(
        model=FaultyAt((faulty,)), non_finite="skip", accumulate_gradients=2, max_epochs=1, **settings
    )
    states = recording(trainer)
    summary = trainer.train_and_validate()
    n = len(states) - 1
    moved = [i for i in range(1, n + 1) if not same(states[i - 1], states[i])]
    assert moved == [i for i in range(1, n + 1) if (i % 2 == 0 or i == n) and i != 4]
    assert summary["n_skipped_batches"] == 1


class Normalized(FaultyAt):
    """With running statistics, which a forward pass changes."""

    def __init__(self, batches):
        super().__init__(batches)
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, signals):
        self.seen_next = self.seen + 1
        scale = math.nan if self.training and self.seen_next in self.batches else 1.0
        return super().forward(self.norm((signals * scale).transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("settings", [DEFERRED, {}], ids=["device", "host"])
@pytest.mark.parametrize("non_finite", ["skip", "stop"])
def test_running_statistics_do_not_see_a_faulty_batch(make_trainer, settings, non_finite):
    trainer = make_trainer(model=Normalized((3,)), non_finite=non_finite, max_epochs=1, **settings)
    states = recording(trainer)
    if non_finite == "stop":
        with pytest.raises(NonFiniteLossError):
            trainer.train_and_validate()
        assert same(snapshot(trainer)["weights"], states[2]["weights"])
    else:
        trainer.train_and_validate()
        assert same(states[3]["weights"], states[2]["weights"])
        assert not same(states[4]["weights"], states[3]["weights"])


def test_nothing_in_the_inner_loop_asks_the_device_for_a_value(make_trainer, monkeypatch):
    settings = {"accumulate_gradients": 2, "weight_averaging": 0.9, "schedule_by": "step", "warmup_steps": 2} | DEFERRED
    trainer = make_trainer(model=FaultyAt((2,)), non_finite="skip", clip_gradient=1.0, max_epochs=2, **settings)
    learn_from, n_learnt = trainer._learn_from, [0]

    def refusing(tensor, *arguments):
        raise AssertionError("a value was read")

    def learning(batch):
        with monkeypatch.context() as patch:
            for name in ("item", "__bool__", "__float__", "__int__", "tolist", "cpu", "__index__", "numpy"):
                patch.setattr(torch.Tensor, name, refusing)
            learn_from(batch)
        n_learnt[0] += 1

    trainer._learn_from = learning
    assert trainer.train_and_validate()["n_skipped_batches"] == 1
    assert n_learnt[0] == trainer.progress.step == 8


def test_the_check_on_the_host_does_ask(make_trainer, monkeypatch):
    trainer = make_trainer(model=FaultyAt(), max_epochs=1)
    assert trainer.deferred_check is None

    def refusing(tensor):
        raise AssertionError("a value was read")

    monkeypatch.setattr(torch.Tensor, "__bool__", refusing)
    with pytest.raises(AssertionError, match="a value was read"):
        trainer.train_and_validate()


def test_an_epoch_without_a_usable_batch_ends_the_run(make_trainer):
    trainer = make_trainer(model=FaultyAt(range(100)), non_finite="skip", **DEFERRED)
    with pytest.raises(NonFiniteLossError, match="All batches of epoch 1"):
        trainer.train_and_validate()


def test_batches_without_samples_teach_nothing_and_are_no_fault(make_trainer):
    class SometimesEmpty(FaultyAt):
        def compute_loss(self, outputs, batch):
            loss, n = super().compute_loss(outputs, batch)
            empty = batch.context == "training" and self.seen == 2
            return (loss * math.nan, n * 0) if empty else (loss, n)

    for name, settings in RUNS.items():
        trainer = make_trainer(name, model=SometimesEmpty(), max_epochs=1, **settings)
        states = recording(trainer)
        assert trainer.train_and_validate()["n_skipped_batches"] == 0
        assert same(states[1], states[2])
        assert np.isfinite(trainer.history.rows[0]["training_loss"])


def test_a_check_that_cannot_be_deferred_is_refused(make_trainer, tmp_path):
    class WithItsOwnStep(type(make_trainer("plain"))):
        def back_propagation(self, result):
            result.loss.backward()

    plain = make_trainer("other")
    arguments = (plain.model, tmp_path, "own", plain.batch_sampler, plain.batch_loader)
    with pytest.raises(ConfigurationError, match="a step of its own"):
        WithItsOwnStep(*arguments, non_finite_check_every=5)
    assert WithItsOwnStep(*arguments).deferred_check is None
    several = make_trainer("several", arrays=random_walks())
    several.processes = Processes(0, 2)
    several.config = type(several.config)(non_finite_check_every=5)
    with pytest.raises(ConfigurationError, match="several processes"):
        DeferredCheck.for_run(several.config, several.device, several.processes, learns_by_itself=False)
