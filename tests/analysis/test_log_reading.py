"""Reading logs of finished, running and broken experiments, and telling experiments apart."""

import json
import os
import threading

import numpy as np
import pytest

from dynml.analysis import log_reading
from dynml.analysis.log_reading import names_of_experiments, read_experiment, read_experiments, sentences_on_comparison
from dynml.errors import CheckpointError, ConfigurationError, DataWarning


def experiment(folder, summary=None, fingerprint=None, **logs):
    (folder / "logs").mkdir(parents=True)
    for name, values in logs.items():
        np.save(folder / "logs" / f"{name}_per_epoch.npy", np.array(values, dtype=float))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    if fingerprint is not None:
        (folder / "parameters_latest.json").write_text(json.dumps({"dataset": {"fingerprint": fingerprint}}))
    return folder


def test_a_finished_experiment_is_what_its_summary_says(tmp_path):
    path = experiment(tmp_path / "run", {"best_epoch": 2, "epochs": 3, "loss": "mse"}, "abc", loss=[3, 1, 2], rate=[1])
    read = read_experiment(path)
    assert (read.name, read.best_epoch, read.running, read.n_epochs) == ("run", 2, False, 3)
    assert (read.loss_name, read.fingerprint) == ("mse", "abc")
    np.testing.assert_array_equal(read.logs["loss"], [3, 1, 2])
    assert list(read.logs) == ["loss", "rate"]


def test_the_best_epoch_of_a_running_experiment_is_where_its_best_value_last_changed(tmp_path):
    # patience_delta: the monitored value went on falling by less than counts as an improvement
    logs = {"validation_loss": [5, 4, 3.99, 3.98], "best_value": [5, 4, 4, 4]}
    read = read_experiment(experiment(tmp_path / "run", **logs))
    assert (read.best_epoch, read.running) == (2, True)
    unknown = read_experiment(experiment(tmp_path / "unknown", validation_loss=[5, 4]))
    assert (unknown.best_epoch, unknown.running) == (None, True)
    nothing = read_experiment(experiment(tmp_path / "nothing", best_value=[np.nan, np.nan]))
    assert nothing.best_epoch is None
    (tmp_path / "unknown" / "best_model").mkdir()
    (tmp_path / "unknown" / "best_model" / "manifest.json").write_text('{"best_epoch": 1}')
    assert read_experiment(tmp_path / "unknown").best_epoch == 1


def test_a_resumed_experiment_has_more_epochs_than_its_old_summary_and_is_running(tmp_path):
    old = {"best_epoch": 1, "epochs": 2}
    read = read_experiment(experiment(tmp_path / "run", old, best_value=[5, 5, 3]))
    assert (read.best_epoch, read.running) == (3, True)


def test_logs_that_are_being_replaced_are_read_whole(tmp_path):
    path = experiment(tmp_path / "run", loss=np.zeros(1))
    target, stop = path / "logs" / "loss_per_epoch.npy", threading.Event()

    def keep_writing():
        for n in range(2, 100_000):
            if stop.is_set():
                return
            np.save(tmp_path / "new.npy", np.full(n % 500 + 1, float(n % 500 + 1)))
            os.replace(tmp_path / "new.npy", target)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        lengths = set()
        for _ in range(200):
            values = read_experiment(path).logs["loss"]
            assert np.all(values == len(values)) or len(values) == 1
            lengths.add(len(values))
    finally:
        stop.set()
        writer.join()
    assert len(lengths) > 1


def test_a_log_caught_half_written_is_read_again(tmp_path, monkeypatch):
    path = experiment(tmp_path / "run", loss=[1, 2])
    target = path / "logs" / "loss_per_epoch.npy"
    whole = target.read_bytes()
    target.write_bytes(whole[:-5])
    pauses = []

    def writer_goes_on(seconds):
        pauses.append(seconds)
        if seconds:
            target.write_bytes(whole)

    monkeypatch.setattr(log_reading.time, "sleep", writer_goes_on)
    np.testing.assert_array_equal(read_experiment(path).logs["loss"], [1, 2])
    assert len([pause for pause in pauses if pause]) == 1


def test_a_log_that_vanishes_is_named_and_the_others_are_kept(tmp_path, monkeypatch):
    path = experiment(tmp_path / "run", loss=[1, 2], rate=[3])
    monkeypatch.setattr(log_reading, "PAUSE_SECONDS", 0.0)
    load = np.load

    def vanishing(target, **settings):
        if target.name.startswith("loss"):
            target.unlink(missing_ok=True)
        return load(target, **settings)

    monkeypatch.setattr(log_reading.np, "load", vanishing)
    with pytest.warns(DataWarning, match="loss_per_epoch.npy vanished"):
        assert list(read_experiment(path).logs) == ["rate"]


def test_damaged_and_strange_logs_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(log_reading, "PAUSE_SECONDS", 0.0)
    path = experiment(tmp_path / "run", loss=[1, 2])
    (path / "logs" / "loss_per_epoch.npy").write_bytes(b"no array")
    with pytest.raises(CheckpointError, match="loss_per_epoch.npy could not be read"):
        read_experiment(path)
    np.save(path / "logs" / "loss_per_epoch.npy", np.zeros((2, 2)))
    with pytest.raises(CheckpointError, match="one number per epoch"):
        read_experiment(path)
    (tmp_path / "listed" / "logs").mkdir(parents=True)
    (tmp_path / "listed" / "summary.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="no JSON object"):
        read_experiment(tmp_path / "listed")


def test_folders_without_logs_and_folders_that_are_no_experiments_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_experiment(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty is not an experiment: it has no logs, parameters or model"):
        read_experiment(tmp_path / "empty")
    (tmp_path / "young" / "checkpoint").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"young has no logs \(no file logs"):
        read_experiment(tmp_path / "young")
    experiment(tmp_path / "experiments" / "first", loss=[1])
    with pytest.raises(
        CheckpointError, match=r"is not an experiment: give the experiments in it \(.*/experiments/first\)"
    ):
        read_experiment(tmp_path / "experiments")


def test_equal_folder_names_are_told_apart_by_as_much_of_the_path_as_needed(tmp_path):
    assert names_of_experiments([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert names_of_experiments([tmp_path / "a" / "one", tmp_path / "a" / "two"]) == ["one", "two"]
    deep = [tmp_path / "a" / "x" / "run", tmp_path / "b" / "x" / "run", tmp_path / "c"]
    assert names_of_experiments(deep) == ["a/x/run", "b/x/run", f"{tmp_path.parts[-2]}/{tmp_path.name}/c"]


def test_names_are_one_for_each_experiment_and_no_experiment_is_given_twice(tmp_path, monkeypatch):
    first, second = experiment(tmp_path / "a", loss=[1]), experiment(tmp_path / "b", loss=[2])
    assert [read.name for read in read_experiments([first, second], ["one", "two"])] == ["one", "two"]
    for names in (["one"], ["one", "one"], ["one", "two", "three"]):
        with pytest.raises(ConfigurationError, match="2 different names"):
            read_experiments([first, second], names)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="a is given twice"):
        read_experiments([first, second, "a"])


def test_other_data_and_other_losses_are_remarked_on(tmp_path):
    def run(name, loss, fingerprint):
        return experiment(tmp_path / name, {"loss": loss, "epochs": 1}, fingerprint, loss=[1])

    paths = [run("a", "free_energy", "x"), run("b", "mse", "x"), run("c", "mse", "y")]
    sentences = sentences_on_comparison(read_experiments(paths))
    assert len(sentences) == 2
    assert "(free_energy: a; mse: b, c)" in sentences[0]
    assert sentences[1].endswith("a, b and c.")
    assert sentences_on_comparison(read_experiments(paths[:1])) == []
    assert sentences_on_comparison(read_experiments([paths[0], experiment(tmp_path / "d", loss=[1])])) == []
