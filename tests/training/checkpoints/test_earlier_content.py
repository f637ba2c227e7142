"""A folder that is not empty, a trainer that is called again: nothing is lost, and what happens is said."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from small_model import OneStepAhead

from dynml import Trainer
from dynml.errors import CheckpointError, ConfigurationError, DataWarning
from dynml.files import sha256_of_file
from dynml.training.checkpoints.experiment_folder import ExperimentFolder


def content_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def end_after(trainer, n_batches, end):
    """Call `end` in a training or validation batch; from the next call on the trainer is as before."""
    original, seen = trainer.run_one_batch, {"batches": 0}

    def counting(batch):
        seen["batches"] += 1
        if seen["batches"] == n_batches:
            end()
        return original(batch)

    trainer.run_one_batch = counting


def fail(error):
    def end():
        raise error

    return end


def losses_of(trainer):
    return trainer.history.column("training_loss").tolist()


# ---------------------------------------------------------------------- a trainer that is called again


@pytest.mark.parametrize("resume", ["refuse", "auto", "force", "anew"])
def test_a_finished_trainer_gives_its_summary_again_and_touches_nothing(make_trainer, resume):
    trainer = make_trainer(max_epochs=2, resume=resume)
    summary = trainer.train_and_validate()
    before = content_of(trainer.folder.path)
    trainer.run_one_batch = None
    assert trainer.train_and_validate() == summary
    assert content_of(trainer.folder.path) == before
    assert [path.name for path in trainer.folder.path.parent.iterdir()] == ["run"]


def test_a_finished_trainer_whose_folder_is_gone_says_so(make_trainer):
    trainer = make_trainer(max_epochs=1)
    summary = trainer.train_and_validate()
    shutil.rmtree(trainer.folder.path)
    with pytest.warns(DataWarning, match="is gone"):
        assert trainer.train_and_validate() == summary
    assert not trainer.folder.path.exists()


def test_a_finished_trainer_that_is_given_more_epochs_goes_on(make_trainer):
    whole = make_trainer("whole", max_epochs=4)
    whole.train_and_validate()
    trainer = make_trainer(max_epochs=2)
    trainer.train_and_validate()
    trainer.config = dataclasses.replace(trainer.config, max_epochs=4)
    assert trainer.train_and_validate()["epochs"] == 4
    assert losses_of(trainer) == losses_of(whole)


@pytest.mark.parametrize("settings", [{}, {"accumulate_gradients": 2}, {"weight_averaging": 0.9}])
@pytest.mark.parametrize("way", ["signal", "error", "keyboard"])
def test_a_call_after_one_that_ended_early_goes_on_to_the_same_numbers(make_trainer, way, settings):
    whole = make_trainer("whole", **settings)
    whole.train_and_validate()
    trainer = make_trainer(**settings)
    ends = {
        "signal": lambda: setattr(trainer.interruption, "signal_number", 15),
        "error": fail(RuntimeError("a worker died")),
        "keyboard": fail(KeyboardInterrupt()),
    }
    end_after(trainer, 9, ends[way])
    if way == "signal":
        assert trainer.train_and_validate()["stopping_reason"] == "signal SIGTERM"
    else:
        with pytest.raises((RuntimeError, KeyboardInterrupt)):
            trainer.train_and_validate()
    assert trainer.train_and_validate()["stopping_reason"] == "max_epochs"
    assert losses_of(trainer) == losses_of(whole)
    torch.testing.assert_close(trainer.weights(), whole.weights(), rtol=0, atol=0)


def test_a_first_call_that_failed_before_any_checkpoint_asks_for_a_new_trainer(make_trainer):
    trainer = make_trainer()
    end_after(trainer, 1, fail(RuntimeError("a worker died")))
    with pytest.raises(RuntimeError):
        trainer.train_and_validate()
    with pytest.raises(CheckpointError, match="build model and trainer anew"):
        trainer.train_and_validate()
    assert make_trainer().train_and_validate()["epochs"] == 4


def test_an_experiment_that_appears_between_construction_and_call_is_refused_untouched(make_trainer):
    late = make_trainer(max_epochs=1, seed=7)
    make_trainer(max_epochs=1).train_and_validate()
    before = content_of(late.folder.path)
    with pytest.raises(CheckpointError, match="exists already"):
        late.train_and_validate()
    assert content_of(late.folder.path) == before


def test_a_best_model_is_never_on_disk_without_a_checkpoint(make_trainer, monkeypatch):
    """A kill between the two would leave a model that the same command refuses to write over."""
    seen = []
    original = ExperimentFolder.save_best_model

    def saving(folder, *arguments):
        seen.append((folder.checkpoint / "manifest.json").exists())
        original(folder, *arguments)

    monkeypatch.setattr(ExperimentFolder, "save_best_model", saving)
    make_trainer(max_epochs=2, validation=False, accumulate_gradients=1000).train_and_validate()
    assert seen
    assert all(seen)


# ---------------------------------------------------------------------- a folder without a usable checkpoint


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def without_checkpoint(folder):
    for path in folder.path.glob("checkpoint*"):
        shutil.rmtree(path)


def with_damaged_checkpoints(folder):
    for path in folder.path.glob("checkpoint*"):
        flip(path / "state.pt")


def without_manifests(folder):
    for path in folder.path.glob("checkpoint*/manifest.json"):
        path.unlink()


def with_imported_weights(folder):
    for path in folder.path.iterdir():
        if path.name != "best_model":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def with_a_damaged_model_alone(folder):
    with_imported_weights(folder)
    flip(folder.best_model / "model.safetensors")


@pytest.mark.parametrize("resume", ["refuse", "auto", "force"])
@pytest.mark.parametrize(
    "harm",
    [
        without_checkpoint,
        with_damaged_checkpoints,
        without_manifests,
        with_imported_weights,
        with_a_damaged_model_alone,
    ],
)
def test_what_no_run_can_go_on_from_is_refused_untouched_and_moved_aside_when_told_to(make_trainer, harm, resume):
    early = make_trainer(max_epochs=1, resume=resume)
    folder = early.folder
    make_trainer(max_epochs=2).train_and_validate()
    harm(folder)
    before = content_of(folder.path)
    with pytest.raises(CheckpointError, match="--resume anew"):
        make_trainer(max_epochs=1, resume=resume)
    assert content_of(folder.path) == before
    with pytest.raises(CheckpointError, match="--resume anew"):
        early.train_and_validate()
    assert {name: text for name, text in content_of(folder.path).items() if name != ".lock"} == {
        name: text for name, text in before.items() if name != ".lock"
    }
    with pytest.warns(DataWarning, match="was moved to"):
        assert make_trainer(max_epochs=1, resume="anew").train_and_validate()["epochs"] == 1
    (aside,) = folder.path.parent.glob("run.before_*")
    assert content_of(aside) == {name: text for name, text in before.items() if name != ".lock"}


@pytest.mark.parametrize("reader", ["open", "stat"])
@pytest.mark.parametrize("resume", ["refuse", "auto", "force"])
def test_what_cannot_be_read_is_never_taken_for_damaged(make_trainer, monkeypatch, resume, reader):
    make_trainer(max_epochs=2).train_and_validate()
    trainer = make_trainer(max_epochs=3, resume="auto")
    before = content_of(trainer.folder.path)
    original = getattr(Path, reader)

    def failing(path, *arguments, **further):
        if "checkpoint" in str(path):
            raise OSError(errno.EIO, "Input/output error")
        return original(path, *arguments, **further)

    monkeypatch.setattr(Path, reader, failing)
    with pytest.raises(CheckpointError, match="could not be read"):
        make_trainer(max_epochs=3, resume=resume)
    with pytest.raises(CheckpointError, match="could not be read"):
        trainer.train_and_validate()
    monkeypatch.undo()
    assert content_of(trainer.folder.path) == before
    assert trainer.train_and_validate()["epochs"] == 3


def test_an_error_while_a_checkpoint_is_loaded_is_no_reason_to_begin(make_trainer, monkeypatch):
    make_trainer(max_epochs=2).train_and_validate()
    trainer = make_trainer(max_epochs=3, resume="auto")
    before = content_of(trainer.folder.path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: fail(OSError(errno.EIO, "Input/output error"))())
    with pytest.raises(CheckpointError, match="could not be read: Input/output error"):
        trainer.train_and_validate()
    assert content_of(trainer.folder.path) == before


def test_logs_and_summary_alone_are_moved_aside(make_trainer):
    make_trainer(max_epochs=2).train_and_validate()
    folder = make_trainer(max_epochs=2, resume="auto").folder
    without_checkpoint(folder)
    for path in folder.path.glob("best_model*"):
        shutil.rmtree(path)
    summary, log = folder.summary.read_bytes(), (folder.logs / "metrics.csv").read_bytes()
    with pytest.warns(DataWarning, match="was moved to"):
        make_trainer(max_epochs=1).train_and_validate()
    (aside,) = folder.path.parent.glob("run.before_*")
    assert (aside / "summary.json").read_bytes() == summary
    assert (aside / "logs" / "metrics.csv").read_bytes() == log


def test_anew_keeps_every_earlier_run_and_begins_in_an_empty_place_without_a_word(make_trainer, recwarn):
    for _ in range(3):
        assert make_trainer(max_epochs=1, resume="anew").train_and_validate()["epochs"] == 1
    assert len(list(make_trainer(resume="anew").folder.path.parent.glob("run.before_*"))) == 2
    assert len([warning for warning in recwarn if "was moved to" in str(warning.message)]) == 2


@pytest.mark.parametrize("harm", [shutil.rmtree, lambda path: flip(path / "model.safetensors")])
def test_going_on_without_the_best_model_is_refused_before_training(make_trainer, harm):
    make_trainer(max_epochs=2).train_and_validate()
    trainer = make_trainer(max_epochs=3, resume="auto")
    for path in trainer.folder.path.glob("best_model*"):
        harm(path)
    with pytest.raises(CheckpointError, match=r"best model, of epoch 2, is lost.*--force"):
        trainer.train_and_validate()
    assert make_trainer(max_epochs=3, resume="force").train_and_validate()["best_epoch"] == 3


def test_a_folder_of_experiments_that_does_not_exist_is_made_and_said(make_trainer, tmp_path):
    other = make_trainer()
    root = tmp_path / "deep" / "experiments"
    trainer = Trainer(
        OneStepAhead(4), root, "run", other.batch_sampler, other.batch_loader, max_epochs=1, progress=False
    )
    assert not root.exists()
    with pytest.warns(DataWarning, match="experiments did not exist and was made"):
        trainer.train_and_validate()
    assert (root / "run" / "summary.json").exists()


# ---------------------------------------------------------------------- settings of a run that goes on


def test_other_settings_are_applied_and_said(make_trainer):
    make_trainer(max_epochs=2).train_and_validate()
    trainer = make_trainer(max_epochs=3, learning_rate=0.0005, resume="auto")
    with pytest.warns(DataWarning, match=r"goes on with other settings from here: trainer\.learning_rate: 0\.001 -> "):
        trainer.train_and_validate()
    assert trainer.history.column("learning_rate").tolist() == [0.001, 0.001, 0.0005]


def test_settings_that_a_finished_run_does_not_use_are_said(make_trainer):
    make_trainer(max_epochs=2).train_and_validate()
    trainer = make_trainer(max_epochs=2, learning_rate=0.0005, patience=9, resume="auto")
    with pytest.warns(DataWarning, match=r"not used: trainer\.learning_rate: .*; trainer\.patience: None -> 9\."):
        trainer.train_and_validate()


@pytest.mark.parametrize(("limit", "value"), [("max_epochs", 2), ("max_steps", 5)])
def test_limits_below_what_was_done_are_refused_with_what_was_done(make_trainer, limit, value):
    make_trainer(max_epochs=3).train_and_validate()
    with pytest.raises(ConfigurationError, match=rf"trainer\.{limit} is {value}.*3 epochs, 12 steps"):
        make_trainer(**{"max_epochs": 3, limit: value}, resume="auto").train_and_validate()


def test_a_limit_that_is_reached_already_ends_the_run_there_with_a_report(make_trainer):
    trainer = make_trainer(max_epochs=9, saving_share=1)
    original = trainer._close_epoch

    def closing():
        original()
        if trainer.progress.epoch == 2:
            trainer.interruption.signal_number = 15

    trainer._close_epoch = closing
    assert trainer.train_and_validate()["epochs"] == 2
    summary = make_trainer(max_epochs=2, resume="auto").train_and_validate()
    assert (summary["epochs"], summary["stopping_reason"]) == (2, "max_epochs")


@pytest.mark.parametrize("by", ["epoch", "step"])
def test_epochs_beyond_the_schedule_say_at_which_rate_they_are_trained(make_trainer, by):
    settings = {"learning_rate_schedule": "cosine", "learning_rate_decay": 0.01, "schedule_by": by}
    make_trainer(max_epochs=None, max_steps=8, **settings).train_and_validate()
    trainer = make_trainer(max_epochs=None, max_steps=16, **settings, resume="auto")
    with pytest.warns(DataWarning, match=r"final rate, 1e-05 \(0\.01 of trainer\.learning_rate\).*--pretrained"):
        trainer.train_and_validate()
    assert trainer.history.column("learning_rate")[-1] == pytest.approx(1e-5)


def reports(**settings):
    return {"comet": {"project": None, "mode": "auto"} | settings, "tensorboard": {"enabled": False}}


def test_a_report_that_is_left_out_next_time_is_said(make_trainer):
    make_trainer(max_epochs=1, parameters=reports(project="p") | {"pretrained": None}).train_and_validate()
    trainer = make_trainer(max_epochs=2, parameters=reports() | {"pretrained": "other"}, resume="auto")
    with pytest.warns(DataWarning) as told:
        trainer.train_and_validate()
    texts = " ".join(str(one.message) for one in told)
    assert "--comet.project p goes on with it" in texts
    assert "--pretrained other is not used" in texts


def test_loggers_of_a_run_that_was_killed_in_its_report_are_told_all_of_it(make_trainer):
    class Remembering:
        name = "remembering"

        def __init__(self):
            self.told = []

        def __getattr__(self, name):
            return lambda *arguments: self.told.append((name, arguments))

    trainer = make_trainer(max_epochs=2)
    trainer.final_report = fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer.train_and_validate()
    logger = Remembering()
    summary = make_trainer(max_epochs=2, loggers=[logger], resume="auto").train_and_validate()
    (start, (description,)), *_, (finish, (told,)) = logger.told
    assert (start, finish) == ("start", "finish")
    assert [row["training_loss"] for row in description.history] == losses_of(trainer)
    assert told == summary == json.loads(trainer.folder.summary.read_text())
    assert sha256_of_file(trainer.folder.best_model / "model.safetensors")
