"""Event files as TensorBoard itself reads them."""

import builtins
import hashlib

import pytest
from matplotlib.figure import Figure

from dynml.errors import ConfigurationError
from dynml.files import read_json
from dynml.training.loggers.asked_for import loggers_asked_for
from dynml.training.loggers.config import CometConfig, TensorBoardConfig
from dynml.training.loggers.run_loggers import RunDescription
from dynml.training.loggers.tensorboard_logger import TensorBoardLogger

EventAccumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator


def events_of(folder):
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def scalars_of(folder):
    """Tag to steps and values, as TensorBoard shows them."""
    events = events_of(folder)
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def text_of(events, tag):
    return events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


def column(trainer, log):
    return [(epoch, pytest.approx(row[log])) for epoch, row in enumerate(trainer.history.rows, start=1)]


def one_figure(_):
    figure = Figure()
    figure.subplots().plot([1, 2, 4])
    return {"curve": figure}


def test_event_files_hold_what_the_run_logged(make_trainer):
    trainer = make_trainer(max_epochs=3, loggers=[TensorBoardLogger()], figures=one_figure)
    summary = trainer.train_and_validate()
    scalars = scalars_of(trainer.folder.path)
    assert scalars["loss/train"] == column(trainer, "training_loss")
    assert scalars["loss/validate"] == column(trainer, "validation_loss")
    assert scalars["learning_rate"] == column(trainer, "learning_rate")
    assert scalars["best_epoch"][-1] == (summary["best_epoch"], summary["best_epoch"])
    events = events_of(trainer.folder.path)
    weights = trainer.folder.best_model / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in text_of(events, "best model")
    assert "| trainer.max_epochs | 3 |" in text_of(events, "parameters")
    assert "| stopping_reason | max_epochs |" in text_of(events, "summary")
    (image,) = events.Images("curve")
    assert (image.step, image.encoded_image_string[1:4]) == (3, b"PNG")


def test_what_is_kept_is_told_where_no_epoch_was_best(make_trainer):
    trainer = make_trainer(max_epochs=2, loggers=[TensorBoardLogger()])
    trainer.kept_in_words = lambda: "the model after epoch 2, as folds chose"
    summary = trainer.train_and_validate()
    assert summary["kept"] == "the model after epoch 2, as folds chose"
    assert "best_epoch" not in scalars_of(trainer.folder.path)
    events = events_of(trainer.folder.path)
    assert "| kept | the model after epoch 2, as folds chose |" in text_of(events, "kept model")
    assert "best_epoch" not in text_of(events, "summary")


def test_a_resumed_run_goes_on_in_the_same_folder(make_trainer):
    make_trainer(max_epochs=2, loggers=[TensorBoardLogger()]).train_and_validate()
    trainer = make_trainer(max_epochs=4, loggers=[TensorBoardLogger()], resume="auto")
    trainer.train_and_validate()
    assert len(list((trainer.folder.path / "tensorboard").glob("events*"))) == 2
    assert scalars_of(trainer.folder.path)["loss/train"] == column(trainer, "training_loss")


def test_epochs_after_the_checkpoint_of_a_killed_run_are_not_shown_twice(tmp_path):
    killed = TensorBoardLogger()
    killed.start(RunDescription("run", tmp_path, {}, 0))
    for epoch in (1, 2, 3):
        killed.log_epoch(epoch, {"training_loss": 10.0 + epoch})
    killed._writer.flush()
    resumed = TensorBoardLogger()
    resumed.start(RunDescription("run", tmp_path, {}, 1, [{"training_loss": 11.0}]))
    for epoch in (2, 3):
        resumed.log_epoch(epoch, {"training_loss": 20.0 + epoch})
    resumed.finish({"epochs": 3})
    assert scalars_of(tmp_path)["loss/train"] == [(1, 11.0), (2, 22.0), (3, 23.0)]
    assert read_json(tmp_path / "tensorboard" / "reported.json") == {"n_reported_epochs": 3}


def test_a_logger_that_comes_later_writes_what_it_missed(make_trainer):
    make_trainer(max_epochs=2).train_and_validate()
    trainer = make_trainer(max_epochs=3, loggers=[TensorBoardLogger()], resume="auto")
    trainer.train_and_validate()
    scalars = scalars_of(trainer.folder.path)
    assert scalars["loss/train"] == column(trainer, "training_loss")
    assert scalars["best_epoch"][-1][0] == trainer.best.best_epoch


def test_asked_for_and_not_installed_is_refused_before_the_run(monkeypatch):
    imported = builtins.__import__

    def without_tensorboard(name, *rest):
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_tensorboard)
    with pytest.raises(ConfigurationError, match="pip install tensorboard"):
        loggers_asked_for(CometConfig(), TensorBoardConfig(enabled=True))
    assert loggers_asked_for(CometConfig(), TensorBoardConfig()) == []
