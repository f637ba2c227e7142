"""Runs reported to comet.ml: archives made by comet_ml itself, a server on this machine, and all that can fail."""

import hashlib
import json
import warnings

import numpy as np
import pytest
from comet_server import Archive, CometServer
from matplotlib.figure import Figure

from dynml.errors import ConfigurationError, DataWarning
from dynml.files import read_json
from dynml.training.costs import COST_ENDINGS
from dynml.training.loggers.comet_connection import ENVIRONMENT
from dynml.training.loggers.comet_logger import CometLogger
from dynml.training.loggers.comet_state import CometState, read_state, state_for, write_state
from dynml.training.loggers.config import CometConfig
from dynml.training.loggers.run_loggers import (
    GuardedLoggers,
    RunDescription,
    context_and_metric,
    flat,
    reported_parameters,
)

SECRET = "k0e1y2" * 5
OFFLINE = CometConfig(project="dynamics", workspace="lab", mode="offline")


@pytest.fixture(autouse=True)
def no_key_and_no_patience(monkeypatch):
    """No key of the person who runs the tests is used, and nobody waits long for a server of the test."""
    monkeypatch.setenv("COMET_API_KEY", "")
    monkeypatch.setenv("COMET_URL_OVERRIDE", "http://127.0.0.1:9/clientlib/")
    for name, value in ENVIRONMENT.items():
        short = {"COMET_TIMEOUT_CLEANING": "2", "COMET_TIMEOUT_UPLOAD": "2", "COMET_HTTP_SESSION_RETRY_TOTAL": "0"}
        monkeypatch.setenv(name, short.get(name, value))


@pytest.fixture
def server(monkeypatch):
    with CometServer().running() as running:
        monkeypatch.setenv("COMET_URL_OVERRIDE", running.url)
        monkeypatch.setenv("COMET_API_KEY", SECRET)
        yield running


class FaultyLogger:
    """Fails in one method and counts its calls in all."""

    name = "faulty"

    def __init__(self, method):
        self.method, self.calls = method, []

    def __getattr__(self, method):
        def called(*_):
            self.calls.append(method)
            if method == self.method:
                raise RuntimeError("no such place\nand more")

        return called


def one_figure(_):
    figure = Figure()
    figure.subplots().plot([1, 2, 4])
    return {"curve": figure}


def archives_of(folder):
    return [Archive(path) for path in sorted((folder / "comet").glob("*.zip"))]


def told_rows(rows, first=1):
    """Rows of a history as (context, metric, epoch) to value."""
    return {
        (*context_and_metric(log), epoch): value
        for epoch, row in enumerate(rows, start=1)
        for log, value in row.items()
        if epoch >= first
    }


def without_own(metrics):
    """Metrics without the one that comet_ml adds by itself."""
    return {where: value for where, value in metrics.items() if where[1] != "process duration"}


def results_of(trainer):
    """All that a run leaves behind, without what the clock and the memory say."""
    folder = trainer.folder
    logs = {path.name: np.load(path) for path in folder.logs.glob("*.npy")}
    logs = {
        name: log.tobytes()
        for name, log in logs.items()
        if not name.removesuffix("_per_epoch.npy").endswith(COST_ENDINGS)
    }
    summary = {name: value for name, value in read_json(folder.summary).items() if name not in CLOCK}
    weights = [(folder.path / name / "model.safetensors").read_bytes() for name in ("best_model", "checkpoint")]
    return weights, logs, summary


CLOCK = ("seconds", "costs", "peak_memory_mebibytes", "training_samples_per_second")


def warnings_of(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in caught if issubclass(warning.category, DataWarning)]


def test_an_archive_holds_what_the_run_logged(make_trainer):
    trainer = make_trainer(max_epochs=3, loggers=[CometLogger(OFFLINE)], figures=one_figure)
    summary = trainer.train_and_validate()
    (archive,) = archives_of(trainer.folder.path)
    assert without_own(archive.metrics) == told_rows(trainer.history.rows)
    assert {context for context, metric, _ in archive.metrics if metric == "loss"} == {"train", "validate"}
    assert archive.metrics[None, "learning_rate", 2] == 0.001
    weights = trainer.folder.best_model / "model.safetensors"
    assert archive.others["best_model_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert archive.others["best_model"] == "best_model/model.safetensors"
    assert archive.others["best_epoch"] == archive.others["summary.best_epoch"] == summary["best_epoch"]
    assert archive.others["best_value"] == summary["best_value"]
    assert archive.others["summary.stopping_reason"] == "max_epochs"
    assert archive.others["Name"] == "run"
    assert archive.parameters["trainer.learning_rate"] == 0.001
    assert archive.parameters["sampler.window_length"] == 40
    assert archive.parameters["dataset.fingerprint"] == trainer.dataset.describe()["fingerprint"]
    assert b"<svg" in archive.files[archive.uploads["curve"]["file_path"]]
    assert (archive.experiment["workspace"], archive.experiment["project_name"]) == ("lab", "dynamics")
    assert archive.experiment["resume_strategy"] == "get_or_create"


def test_what_is_kept_is_told_where_no_epoch_was_best(make_trainer):
    trainer = make_trainer(max_epochs=2, loggers=[CometLogger(OFFLINE)])
    trainer.kept_in_words = lambda: "the model after epoch 2, as folds chose"
    summary = trainer.train_and_validate()
    (archive,) = archives_of(trainer.folder.path)
    assert archive.others["kept"] == archive.others["summary.kept"] == summary["kept"]
    assert not {"best_epoch", "best_value", "summary.best_epoch", "summary.best_value"} & set(archive.others)


def test_nothing_leaves_the_computer_that_was_not_reported(make_trainer):
    trainer = make_trainer(max_epochs=1, loggers=[CometLogger(OFFLINE)])
    trainer.train_and_validate()
    (archive,) = archives_of(trainer.folder.path)
    assert archive.kinds == {"log_other", "parameter_msg", "metric_msg"}
    subjects = trainer.dataset.training_set.subjects
    assert not any(subject in json.dumps(archive.messages) for subject in subjects)
    assert str(trainer.folder.path) not in json.dumps(archive.messages)


def test_a_resumed_run_continues_its_experiment_without_telling_an_epoch_twice(make_trainer):
    make_trainer(max_epochs=2, loggers=[CometLogger(OFFLINE)]).train_and_validate()
    trainer = make_trainer(max_epochs=4, loggers=[CometLogger(OFFLINE)], resume="auto")
    trainer.train_and_validate()
    first, second = archives_of(trainer.folder.path)
    assert first.experiment["offline_id"] == second.experiment["offline_id"]
    assert without_own(first.metrics) | without_own(second.metrics) == told_rows(trainer.history.rows)
    assert without_own(second.metrics) == told_rows(trainer.history.rows, first=3)
    assert second.others["best_epoch"] == trainer.best.best_epoch


def test_a_logger_that_comes_later_is_told_what_it_missed(make_trainer):
    make_trainer(max_epochs=2, saving_share=1.0).train_and_validate()
    trainer = make_trainer(max_epochs=3, loggers=[CometLogger(OFFLINE)], resume="auto")
    best_before = read_json(trainer.folder.best_model / "manifest.json")["files"]["model.safetensors"]["sha256"]
    trainer.best.delta = float("inf")
    trainer.train_and_validate()
    (archive,) = archives_of(trainer.folder.path)
    assert without_own(archive.metrics) == told_rows(trainer.history.rows)
    assert archive.others["best_model_sha256"] == best_before


def test_a_killed_run_tells_again_what_its_lost_archive_held(tmp_path):
    rows = [{"training_loss": value} for value in (4.0, 3.0, 2.0)]
    write_state(tmp_path, CometState("a" * 32, "dynamics", "lab", n_reported_epochs=1))
    logger = CometLogger(OFFLINE)
    logger.start(RunDescription("run", tmp_path, {}, 3, rows))
    logger.finish({"epochs": 3})
    (archive,) = archives_of(tmp_path)
    assert without_own(archive.metrics) == {("train", "loss", 2): 3.0, ("train", "loss", 3): 2.0}
    assert read_state(tmp_path).n_reported_epochs == 3


def test_another_project_is_another_experiment(tmp_path):
    write_state(tmp_path, CometState("a" * 32, "dynamics", "lab", n_reported_epochs=7))
    assert state_for(tmp_path, OFFLINE).experiment_key == "a" * 32
    other = state_for(tmp_path, CometConfig(project="other", workspace="lab"))
    assert other.experiment_key != "a" * 32
    assert other.n_reported_epochs == 0


def test_a_server_is_told_the_same_and_a_resumed_run_finds_its_experiment(make_trainer, server):
    config = CometConfig(project="dynamics", mode="online")
    first = make_trainer(max_epochs=2, loggers=[CometLogger(config)], figures=one_figure)
    assert warnings_of(first.train_and_validate) == []
    second = make_trainer(max_epochs=3, loggers=[CometLogger(config)], resume="auto")
    assert warnings_of(second.train_and_validate) == []
    assert without_own(server.metrics()) == told_rows(second.history.rows)
    assert len(server.experiments) == 1
    assert server.told("/get/run")[-1]["previousExperiment"] == read_state(first.folder.path).experiment_key
    others = {message["key"]: message["value"] for message in server.told("/log-other")}
    weights = first.folder.best_model / "model.safetensors"
    assert others["best_model_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert any(b"<svg" in body for path, body in server.requests if path.endswith("visualizations/upload"))
    assert not list((first.folder.path / "comet").glob("*.zip"))


@pytest.mark.parametrize("fault", ["no key", "no network", "wrong key"])
def test_what_fails_at_the_start_makes_an_archive_and_one_warning(make_trainer, server, monkeypatch, fault):
    server.fault = fault
    if fault == "no key":
        monkeypatch.setenv("COMET_API_KEY", "")
    if fault == "no network":
        monkeypatch.setenv("COMET_URL_OVERRIDE", "http://127.0.0.1:9/clientlib/")
    trainer = make_trainer("reported", loggers=[CometLogger(CometConfig(project="dynamics"))])
    words = {"no key": "no API key", "no network": "cannot be reached", "wrong key": "does not know the API key"}
    (warning,) = warnings_of(trainer.train_and_validate)
    assert words[fault] in warning
    assert SECRET not in warning
    (archive,) = archives_of(trainer.folder.path)
    assert without_own(archive.metrics) == told_rows(trainer.history.rows)
    alone = make_trainer("alone")
    alone.train_and_validate()
    assert results_of(trainer) == results_of(alone)


def test_what_fails_in_the_middle_makes_an_archive_of_all_of_it(make_trainer, server):
    trainer = make_trainer("reported", max_epochs=3, loggers=[CometLogger(CometConfig(project="dynamics"))])
    end_of_training_epoch = trainer.end_of_training_epoch

    def broken_from_the_second_epoch():
        server.fault = "broken" if trainer.progress.epoch == 1 else server.fault
        end_of_training_epoch()

    trainer.end_of_training_epoch = broken_from_the_second_epoch
    (warning,) = warnings_of(trainer.train_and_validate)
    assert "may lack a part" in warning
    (archive,) = archives_of(trainer.folder.path)
    assert without_own(archive.metrics) == told_rows(trainer.history.rows)
    assert archive.others["summary.stopping_reason"] == "max_epochs"
    assert archive.parameters["trainer.max_epochs"] == 3
    alone = make_trainer("alone", max_epochs=3)
    alone.train_and_validate()
    assert results_of(trainer) == results_of(alone)


@pytest.mark.parametrize("method", ["start", "log_epoch", "log_best_model", "log_figures", "finish"])
def test_a_logger_that_fails_changes_nothing(make_trainer, method):
    alone = make_trainer("alone")
    alone.train_and_validate()
    faulty, sound = FaultyLogger(method), FaultyLogger(None)
    trainer = make_trainer("reported", loggers=[faulty, sound], figures=one_figure)
    (warning,) = warnings_of(trainer.train_and_validate)
    assert warning.startswith("faulty failed and is not used any more in this run: no such place ")
    assert faulty.calls[-1] == method
    assert sound.calls[0] == "start"
    assert sound.calls[-2:] == ["log_figures", "finish"]
    assert sound.calls.count("log_epoch") == 4
    assert results_of(trainer) == results_of(alone)


def test_without_loggers_there_is_nothing_to_tell():
    assert not GuardedLoggers()
    GuardedLoggers().finish({})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"workspace": "lab"}, "comet.project is None"),
        ({"mode": "offline"}, "comet.project is None"),
        ({"project": " "}, "comet.project is ' '"),
        ({"project": "p", "mode": "onlin"}, "did you mean 'online'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        CometConfig(**settings)


def test_online_needs_a_key_before_the_run_starts():
    with pytest.raises(ConfigurationError, match="without an API key"):
        CometLogger(CometConfig(project="p", mode="online"))


def test_off_and_no_project_ask_for_nothing():
    assert not CometConfig().asked_for
    assert not CometConfig(project="p", mode="off").asked_for


def test_names_of_subjects_and_folders_stay_here():
    nested = {"a": {"subjects": ["sub-1"], "n": 2, "none": None, "list": [1, 2]}, "f": "/home/me/store.hdf5", "e": ()}
    assert flat(nested) == {"a.n": 2, "a.list": "1, 2", "f": "store.hdf5"}


def test_what_was_asked_for_is_no_parameter_of_the_run():
    parameters = {"model": {"pooling": "mean"}, "asked": {"model": {"pooling": "attention"}}}
    assert reported_parameters(parameters) == {"model.pooling": "mean"}
