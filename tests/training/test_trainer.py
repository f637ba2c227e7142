"""The trainer: what it computes, where it stops, what it saves."""

import json
import math
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_model import OneStepAhead, random_walks

from dynml import BatchSampler, load_experiment
from dynml.errors import CheckpointError, ConfigurationError, DataWarning, NonFiniteLossError, ResumeRefusedError
from dynml.training.checkpoints.committed import UNDER_WAY, commit_directory
from dynml.training.costs import COST_ENDINGS
from dynml.training.progress import seed_generators


def metrics_of(trainer):
    return [
        {name: value for name, value in row.items() if not name.endswith(COST_ENDINGS)} for row in trainer.history.rows
    ]


def interrupt_after(trainer, n_batches, reason="signal"):
    """Make the run end after so many batches, as a signal would."""
    seen = {"batches": 0}
    run_one_batch = trainer.run_one_batch

    def counting(batch):
        seen["batches"] += 1
        if seen["batches"] == n_batches:
            trainer.interruption.signal_number = 15
        return run_one_batch(batch)

    trainer.run_one_batch = counting


def test_training_lowers_the_loss_and_agrees_with_a_plain_loop(make_trainer):
    trainer = make_trainer("one", validation=False, max_epochs=1, optimizer="sgd", learning_rate=0.1, weight_decay=0.0)
    torch.manual_seed(3)
    model = OneStepAhead(4).eval()
    trainer.model.dropout.p = model.dropout.p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for batch in trainer.batch_loader.iterate(trainer.batch_sampler, 0):
        loss, n = model.compute_loss(model(batch.signals), batch)
        losses.append((loss.item(), n))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    trainer.train_and_validate()
    torch.testing.assert_close(trainer.model.state_dict(), model.state_dict(), rtol=0, atol=0)
    values, weights = zip(*losses)
    assert trainer.history.rows[0]["training_loss"] == pytest.approx(np.average(values, weights=weights), rel=1e-6)


def test_the_best_model_is_that_of_the_lowest_validation_loss(make_trainer):
    trainer = make_trainer(max_epochs=6, learning_rate=0.5, optimizer="sgd")
    saved = {}
    close = trainer._close_epoch

    def closing():
        saved[trainer.progress.epoch + 1] = {name: t.clone() for name, t in trainer.model.state_dict().items()}
        close()

    trainer._close_epoch = closing
    summary = trainer.train_and_validate()
    losses = [row["validation_loss"] for row in trainer.history.rows]
    best = int(np.nanargmin(losses)) + 1
    assert summary["best_epoch"] == best
    assert summary["best_value"] == losses[best - 1]
    torch.testing.assert_close(load_file(trainer.folder.best_model / "model.safetensors"), saved[best], rtol=0, atol=0)
    torch.testing.assert_close(dict(trainer.model.state_dict()), saved[best], rtol=0, atol=0)


@pytest.mark.parametrize("n_batches", [1, 2, 4, 5, 6, 9, 12])
def test_a_run_interrupted_after_any_batch_goes_on_to_the_same_numbers(make_trainer, n_batches):
    whole = make_trainer("whole")
    whole.train_and_validate()
    first = make_trainer("broken")
    interrupt_after(first, n_batches)
    assert first.train_and_validate()["stopping_reason"] == "signal SIGTERM"
    assert first.interruption.exit_status == 143
    second = make_trainer("broken", resume="auto")
    summary = second.train_and_validate()
    assert summary["stopping_reason"] == "max_epochs"
    assert metrics_of(second) == metrics_of(whole)
    torch.testing.assert_close(second.weights(), whole.weights(), rtol=0, atol=0)


def test_twenty_interruptions_in_a_row_change_nothing(make_trainer):
    whole = make_trainer("whole")
    whole.train_and_validate()
    for _ in range(100):
        part = make_trainer("broken", resume="auto")
        interrupt_after(part, 1)
        if part.train_and_validate()["stopping_reason"] == "max_epochs":
            break
    assert metrics_of(part) == metrics_of(whole)


def test_a_finished_run_has_nothing_to_do_and_more_epochs_equal_a_longer_run(make_trainer):
    long = make_trainer("long", max_epochs=6)
    long.train_and_validate()
    make_trainer("short", max_epochs=4).train_and_validate()
    again = make_trainer("short", max_epochs=4, resume="auto")
    again.run_one_batch = None
    assert again.train_and_validate()["epochs"] == 4
    more = make_trainer("short", max_epochs=6, resume="auto")
    assert more.train_and_validate()["epochs"] == 6
    assert metrics_of(more) == metrics_of(long)


def test_an_existing_experiment_is_not_overwritten(make_trainer):
    make_trainer(max_epochs=1).train_and_validate()
    with pytest.raises(CheckpointError, match="exists already"):
        make_trainer(max_epochs=1)


def test_resuming_with_other_data_seed_or_windows_is_refused_with_the_difference(make_trainer):
    make_trainer(max_epochs=1).train_and_validate()
    with pytest.raises(ResumeRefusedError, match=r"dataset\.fingerprint"):
        make_trainer(max_epochs=2, arrays=random_walks(seed=9), resume="auto").train_and_validate()
    with pytest.raises(ResumeRefusedError, match=r"trainer\.seed: 1234 -> 7"):
        make_trainer(max_epochs=2, seed=7, resume="auto").train_and_validate()
    forced = make_trainer(max_epochs=2, seed=7, resume="force")
    assert forced.train_and_validate()["epochs"] == 2
    parameters = json.loads((forced.folder.path / "parameters_latest.json").read_text())
    assert parameters["history"][-1]["changes"] == ["trainer.seed: 1234 -> 7"]


def test_patience_counts_epochs_without_improvement(make_trainer):
    trainer = make_trainer(max_epochs=50, patience=3, patience_delta=10.0)
    summary = trainer.train_and_validate()
    assert (summary["stopping_reason"], summary["epochs"], summary["best_epoch"]) == ("patience", 4, 1)


def test_max_steps_ends_in_the_middle_of_an_epoch(make_trainer):
    trainer = make_trainer(max_steps=6)
    summary = trainer.train_and_validate()
    assert (summary["stopping_reason"], summary["steps"], summary["epochs"]) == ("max_steps", 6, 2)


@pytest.mark.parametrize("n_batches", [2, 6])
def test_epochs_of_a_number_of_batches_are_validated_and_chosen_and_stopped_by(make_trainer, n_batches):
    passes = make_trainer("passes", learning_rate=1e-30, max_epochs=4)
    passes.train_and_validate()
    trainer = make_trainer("stretches", batches_per_epoch=n_batches, max_epochs=None, max_steps=4 * n_batches + 1)
    summary = trainer.train_and_validate()
    assert (summary["epochs"], summary["steps"], summary["stopping_reason"]) == (5, 4 * n_batches + 1, "max_steps")
    steps = [n_batches * number for number in range(1, 5)] + [4 * n_batches + 1]
    np.testing.assert_array_equal(trainer.history.column("step"), steps)
    assert np.isfinite(trainer.history.column("validation_loss")).all()
    assert summary["best_epoch"] == int(np.argmin(trainer.history.column("validation_loss"))) + 1
    assert (trainer.folder.logs / "metrics.csv").read_text().splitlines()[0].split(",").count("step") == 1
    assert "step" not in passes.history.names
    patient = make_trainer("patient", batches_per_epoch=2, max_epochs=50, patience=3, patience_delta=10.0)
    assert patient.train_and_validate()["steps"] == 8


def test_epochs_of_a_number_of_batches_change_no_batch(make_trainer):
    def one(name, **settings):
        trainer = make_trainer(name, learning_rate=0.01, **settings)
        trainer.model.dropout.p = 0.0
        trainer.train_and_validate()
        return trainer

    # Four batches a pass, each augmented by noise as in its pass.
    passes, stretches = one("passes", max_epochs=2), one("stretches", batches_per_epoch=8, max_epochs=1)
    assert passes.progress.step == stretches.progress.step == 8
    torch.testing.assert_close(stretches.weights(), passes.folder.load_checkpoint().weights, rtol=0, atol=0)


@pytest.mark.parametrize("n_batches", [1, 3, 4, 8, 9])
def test_a_run_in_epochs_of_a_number_of_batches_goes_on_to_the_same_numbers(make_trainer, n_batches):
    whole = make_trainer("whole", batches_per_epoch=4)
    whole.train_and_validate()
    first = make_trainer("broken", batches_per_epoch=4)
    interrupt_after(first, n_batches)
    first.train_and_validate()
    second = make_trainer("broken", batches_per_epoch=4, resume="auto")
    assert second.train_and_validate()["stopping_reason"] == "max_epochs"
    assert metrics_of(second) == metrics_of(whole)
    torch.testing.assert_close(second.weights(), whole.weights(), rtol=0, atol=0)


def test_max_time_ends_the_run_and_it_goes_on_later(make_trainer):
    trainer = make_trainer(max_time=1e-9)
    assert trainer.train_and_validate()["stopping_reason"] == "max_time"
    assert trainer.interruption.exit_status == 0
    assert make_trainer(resume="auto").train_and_validate()["stopping_reason"] == "max_epochs"


class FailsAt(OneStepAhead):
    """Gives NaN in one chosen training batch."""

    def __init__(self, n_channels, batch):
        super().__init__(n_channels)
        self.batch, self.seen = batch, 0

    def compute_loss(self, outputs, batch):
        loss, n = super().compute_loss(outputs, batch)
        self.seen += batch.context == "training"
        fails = batch.context == "training" and self.seen == self.batch
        return loss * (math.nan if fails else 1.0), n


def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_batch(make_trainer):
    trainer = make_trainer(model=FailsAt(4, batch=7))
    with pytest.raises(NonFiniteLossError, match=r"epoch 2, batch \d+ .*samples"):
        trainer.train_and_validate()
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())
    summary = json.loads(trainer.folder.summary.read_text())
    assert summary["stopping_reason"] == "non_finite_loss"
    assert summary["best_epoch"] == 1


def test_a_loss_that_is_not_finite_is_skipped_when_asked_for_and_counted(make_trainer):
    summary = make_trainer(model=FailsAt(4, batch=7), non_finite="skip").train_and_validate()
    assert summary["stopping_reason"] == "max_epochs"
    assert summary["n_skipped_batches"] == 1
    assert math.isfinite(summary["best_value"])


def test_validation_of_an_unchanged_model_is_the_same_every_epoch(make_trainer):
    trainer = make_trainer(learning_rate=1e-30, weight_decay=0.0)
    trainer.train_and_validate()
    assert len({row["validation_loss"] for row in trainer.history.rows}) == 1


def test_a_corrupt_checkpoint_falls_back_to_the_one_before_and_says_so(make_trainer):
    whole = make_trainer("whole")
    whole.train_and_validate()
    trainer = make_trainer("broken")
    interrupt_after(trainer, 7)
    trainer.train_and_validate()
    folder = trainer.folder.checkpoint
    interrupted = make_trainer("broken", resume="auto")
    interrupt_after(interrupted, 9)
    interrupted.train_and_validate()
    content = bytearray((folder / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "state.pt").write_bytes(bytes(content))
    resumed = make_trainer("broken", resume="auto")
    with pytest.warns(DataWarning, match=r"the checksum of state.pt differs.*Going on from"):
        resumed.train_and_validate()
    assert metrics_of(resumed) == metrics_of(whole)


def test_a_folder_without_a_checkpoint_starts_anew(make_trainer, tmp_path):
    for name in ("checkpoint", "best_model.new"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / "best_model.new" / UNDER_WAY).touch()
    (tmp_path / "run" / "best_model.new" / "model.safetensors").write_bytes(b"of a run that was killed here")
    assert make_trainer(max_epochs=1, resume="auto").train_and_validate()["epochs"] == 1
    assert not (tmp_path / "run" / "best_model.new").exists()


class Exploit:
    """Runs a command when it is unpickled by a careless loader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_malicious_pickle_is_refused_and_never_executed(make_trainer, tmp_path):
    trainer = make_trainer(max_epochs=1)
    trainer.train_and_validate()
    victim = tmp_path / "executed"

    def write(folder):
        for path in sorted(trainer.folder.checkpoint.iterdir()):
            if path.name not in ("manifest.json", "state.pt"):
                (folder / path.name).write_bytes(path.read_bytes())
        torch.save({"progress": Exploit(victim)}, folder / "state.pt")

    commit_directory(trainer.folder.checkpoint, write)
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        make_trainer(max_epochs=2, resume="auto").train_and_validate()
    assert not victim.exists()


def test_a_checkpoint_that_fails_without_words_is_refused_in_a_sentence(make_trainer, monkeypatch):
    trainer = make_trainer(max_epochs=1)
    trainer.train_and_validate()

    def failing(*_, **__):
        raise EOFError

    monkeypatch.setattr(torch, "load", failing)
    with pytest.raises(CheckpointError, match=r"state.pt holds more than .* not loaded: EOFError\.$"):
        trainer.folder.load_checkpoint()


def test_accumulated_gradients_equal_one_large_batch(make_trainer):
    settings = {"max_epochs": 1, "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0}
    arrays = random_walks((120, 120, 120))

    def run(name, batch_size, **further):
        trainer = make_trainer(name, arrays=arrays, validation=False, **settings, **further)
        trainer.model.dropout.p = 0.0
        trainer.batch_sampler = BatchSampler(
            trainer.dataset, strategy="fixed_windows", window_length=40, batch_size_training=batch_size, seed=5
        )
        trainer.train_and_validate()
        return trainer.weights()

    torch.testing.assert_close(run("large", 9), run("small", 3, accumulate_gradients=3), rtol=1e-5, atol=1e-6)


def test_learning_rates_follow_the_list_and_added_epochs_keep_the_last_one(make_trainer):
    trainer = make_trainer(learning_rate="0.01*2 0.001")
    trainer.train_and_validate()
    assert [row["learning_rate"] for row in trainer.history.rows] == [0.01, 0.01, 0.001, 0.001]


def test_very_short_epochs_do_not_all_write_a_checkpoint_but_the_last_state_is_saved(make_trainer):
    trainer = make_trainer(max_epochs=30, saving_share=1e-4)
    saves = []
    original = trainer.save_checkpoint
    trainer.save_checkpoint = lambda: (saves.append(trainer.progress.epoch), original())
    trainer.train_and_validate()
    assert len(saves) < 6
    assert saves[-1] == 30
    assert len(np.load(trainer.folder.logs / "training_loss_per_epoch.npy")) == 30


def test_settings_that_cannot_be_used_are_refused_by_name(make_trainer, tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'max_epochs'"):
        make_trainer(max_epoch=3)
    with pytest.raises(ConfigurationError, match="learning_rate"):
        make_trainer(learning_rate="fast")
    with pytest.raises(ConfigurationError, match="compute_loss"):
        make_trainer(model=torch.nn.Linear(4, 4))
    with pytest.raises(ConfigurationError, match=r"trainer\.device"):
        make_trainer(device="quantum")


def test_time_spent_is_told_by_phase(make_trainer):
    begin = time.monotonic()
    summary = make_trainer().train_and_validate()
    elapsed = time.monotonic() - begin
    assert 0 < summary["seconds"]["training"] < elapsed
    assert 0 < summary["seconds"]["validation"] < elapsed


def test_a_model_of_no_family_cannot_be_loaded_as_an_experiment(make_trainer):
    trainer = make_trainer(max_epochs=1)
    trainer.train_and_validate()
    with pytest.raises(CheckpointError, match="holds a model of no registered family"):
        load_experiment(trainer.folder.path)


def test_a_run_that_is_older_than_a_setting_goes_on_with_its_default(make_trainer):
    first = make_trainer(max_epochs=1)
    for name in ("schedule_by", "weight_averaging", "adam_beta_1"):
        del first.parameters["trainer"][name]
    first.train_and_validate()
    with pytest.raises(ResumeRefusedError, match=r"trainer\.adam_beta_1: 0\.9 -> 0\.8"):
        make_trainer(max_epochs=2, adam_beta_1=0.8, resume="auto").train_and_validate()
    assert make_trainer(max_epochs=2, resume="auto").train_and_validate()["epochs"] == 2


def test_without_validation_the_summary_says_what_the_best_epoch_was_chosen_by(make_trainer):
    summary = make_trainer("alone", validation=False, max_epochs=3).train_and_validate()
    (finding,) = summary["findings"]
    words = f"There are no validation subjects, so that the best epoch, {summary['best_epoch']} of 3, is that of the"
    value = f"lowest training loss ({summary['best_value']:.6g}): a mean over an epoch in which the weights changed"
    assert finding.startswith(f"{words} {value}")
    assert "findings" not in make_trainer("held_out", max_epochs=3).train_and_validate()


def test_the_summary_says_how_much_of_the_validation_data_a_cap_leaves(make_trainer):
    trainer = make_trainer(learning_rate=1e-30)
    trainer.batch_sampler = BatchSampler(
        trainer.dataset, window_length=40, batch_size_training=3, max_validation_batches=1, seed=5
    )
    (said,) = trainer.train_and_validate()["findings"]
    # 171 samples: a batch of three windows, and one of a window and an end.
    assert "1 of 2 validation batches (51 of 171 samples)" in said
    assert "sampler.max_validation_batches" in said
    assert len(set(trainer.history.column("validation_loss"))) == 1
    assert "findings" not in make_trainer("whole").train_and_validate()


def test_a_hook_that_chooses_by_something_else_is_not_said_to_have_looked_at_the_loss(make_trainer):
    trainer = make_trainer(validation=False, max_epochs=2)
    trainer.monitored_value = lambda row: row["training_loss"] + 1.0
    assert "findings" not in trainer.train_and_validate()


def test_a_seed_draws_the_same_numbers_as_torch_manual_seed():
    drawn = []
    for seeded in (torch.manual_seed, lambda seed: seed_generators(seed, torch.device("cpu"))):
        seeded(7)
        drawn.append(torch.rand(5))
        seeded(8)
        drawn.append(torch.randn(5))
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
