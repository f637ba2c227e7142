"""Schedules of the learning rate: closed formulas, their length, and that it is settled once."""

import math

import pytest
from small_model import OneStepAhead

from dynml.errors import ConfigurationError
from dynml.training.config import TrainerConfig
from dynml.training.gradients.optimization import learning_rate_at, learning_rate_at_step, settled_schedule

RATE, FLOOR, WARMUP, N = 0.02, 0.25, 5, 26


def falling(schedule, share):
    """Factor where `share` of the way from the end of the warm-up to the last unit is gone."""
    if schedule == "cosine":
        return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * share)) / 2
    return FLOOR + (1 - FLOOR) * (1 - share)


def by_step(index, **settings):
    config = TrainerConfig(learning_rate=RATE, learning_rate_decay=FLOOR, schedule_by="step", **settings)
    return learning_rate_at_step(config, index, index // 10, N, 10)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_rates_rise_by_steps_then_fall_to_the_final_fraction_and_stay_there(schedule):
    rates = [by_step(i, learning_rate_schedule=schedule, warmup_steps=WARMUP) for i in range(N + 10)]
    rising = [RATE * (i + 1) / (WARMUP + 1) for i in range(WARMUP)]
    down = [RATE * falling(schedule, i / (N - WARMUP - 1)) for i in range(N - WARMUP)]
    assert rates == pytest.approx([*rising, *down, *[RATE * FLOOR] * 10], rel=1e-12)


def test_warmup_epochs_count_the_steps_of_an_epoch():
    given = {"learning_rate_schedule": "linear"}
    assert [by_step(i, warmup_epochs=1, **given) for i in range(N)] == [
        by_step(i, warmup_steps=10, **given) for i in range(N)
    ]


def test_exponential_decay_is_per_epoch_in_both_units():
    settings = {"learning_rate": RATE, "learning_rate_decay": 0.3, "learning_rate_schedule": "exponential"}
    by_epochs, by_steps = TrainerConfig(**settings), TrainerConfig(**settings, schedule_by="step")
    for epoch in range(4):
        expected = RATE * math.exp(-0.3 * epoch)
        assert learning_rate_at(by_epochs, epoch, 6) == pytest.approx(expected, rel=1e-12)
        assert learning_rate_at_step(by_steps, 10 * epoch, epoch, 60, 10) == pytest.approx(expected, rel=1e-12)
    assert learning_rate_at_step(by_steps, 5, 0, 60, 10) == pytest.approx(RATE * math.exp(-0.15), rel=1e-12)


def test_constant_epochs_delay_the_fall_and_a_list_of_rates_is_by_epochs():
    config = TrainerConfig(learning_rate="0.1*2 0.01", learning_rate_schedule="linear", learning_rate_decay=0.0)
    rates = [learning_rate_at(config, epoch, 7, constant_epochs=3) for epoch in range(7)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01 * 2 / 3, 0.01 / 3, 0.0], abs=1e-12)
    config = TrainerConfig(**vars(config) | {"schedule_by": "step"})
    assert learning_rate_at_step(config, 7, 1, 16, 4, constant_epochs=2) == pytest.approx(0.1)
    assert learning_rate_at_step(config, 15, 3, 16, 4, constant_epochs=2) == 0.0


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"max_epochs": 7}, 7),
        ({"max_epochs": 7, "max_steps": 20}, 7),
        ({"max_epochs": None, "max_steps": 21}, 3),
        ({"max_epochs": 7, "schedule_by": "step"}, 70),
        ({"max_epochs": 7, "max_steps": 20, "schedule_by": "step"}, 20),
        ({"max_epochs": 7, "max_steps": 500, "schedule_by": "step"}, 70),
        ({"max_epochs": None, "max_steps": 500, "schedule_by": "step"}, 500),
    ],
)
def test_the_schedule_is_as_long_as_the_run(settings, length):
    assert settled_schedule(TrainerConfig(**settings), 10) == length


def rates_of(trainer):
    """Rate in force at each step that the optimizer makes."""
    rates, step = [], trainer.learner.optimizer.step

    def recording(*arguments):
        rates.append(trainer.learner.optimizer.param_groups[0]["lr"])
        return step(*arguments)

    trainer.learner.optimizer.step = recording
    return rates


def test_steps_of_a_run_have_the_rates_of_the_schedule_and_those_added_keep_the_last(make_trainer):
    settings = {"schedule_by": "step", "learning_rate_schedule": "cosine", "warmup_steps": 3, "learning_rate": RATE}
    first = make_trainer(max_epochs=2, **settings)
    rates = rates_of(first)
    first.train_and_validate()
    n = first.progress.step
    config = TrainerConfig(learning_rate=RATE, learning_rate_schedule="cosine", warmup_steps=3, schedule_by="step")
    expected = [learning_rate_at_step(config, i, 0, n, n // 2) for i in range(n)]
    assert rates == expected
    assert rates[-1] == pytest.approx(RATE * 0.1)
    assert [row["learning_rate"] for row in first.history.rows] == [expected[n // 2 - 1], expected[-1]]
    more = make_trainer(max_epochs=3, resume="auto", **settings)
    rates = rates_of(more)
    more.train_and_validate()
    assert rates == [expected[-1]] * (more.progress.step - n)
    assert more.progress.step > n


def test_a_run_given_steps_alone_ends_there_with_a_validation_and_a_best_model(make_trainer):
    trainer = make_trainer(max_epochs=None, max_steps=7, schedule_by="step", learning_rate_schedule="linear")
    rates = rates_of(trainer)
    summary = trainer.train_and_validate()
    assert (summary["stopping_reason"], summary["steps"], len(rates)) == ("max_steps", 7, 7)
    assert trainer.progress.step % trainer.progress.steps_per_epoch
    assert rates[-1] == pytest.approx(0.1 * 0.001)
    assert "validation_loss" in trainer.history.rows[-1]
    assert (trainer.folder.best_model / "model.safetensors").exists()


def test_the_last_group_of_gradients_ends_where_max_steps_ends_the_run(make_trainer):
    trainer = make_trainer(max_epochs=None, max_steps=3, accumulate_gradients=2, model=OneStepAhead(4))
    assert trainer.batch_sampler.n_batches(0) > 3
    rates = rates_of(trainer)
    trainer.train_and_validate()
    assert len(rates) == 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_epochs": None}, r"trainer\.max_epochs"),
        ({"warmup_steps": 3}, r"trainer\.warmup_steps is 3.*schedule_by step"),
        ({"warmup_steps": 3, "warmup_epochs": 1, "schedule_by": "step"}, "give one of them"),
        ({"schedule_by": "steps"}, r"trainer\.schedule_by"),
        ({"optimizer": "sgd", "adam_beta_2": 0.95}, "sgd does not use it"),
        ({"adam_beta_1": 1.0}, r"trainer\.adam_beta_1"),
        ({"weight_averaging": 1.0}, r"trainer\.weight_averaging"),
        ({"weight_decay_on": "weights"}, r"trainer\.weight_decay_on"),
        ({"non_finite_check_every": 0}, r"trainer\.non_finite_check_every"),
        ({"non_finite_check_every": 5, "optimizer": "radam"}, "1 for radam"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, named):
    with pytest.raises(ConfigurationError, match=named):
        TrainerConfig(**settings)
