"""Logs of several experiments on one page: names, lengths, missing logs, and the table beside the pictures."""

import csv
import json

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dynml.errors import CheckpointError
from dynml.plotting.logs import names_of_experiments, plot_logs, read_logs, write_logs
from dynml.plotting.style import PALETTE


def experiment(folder, **logs):
    (folder / "logs").mkdir(parents=True)
    for name, values in logs.items():
        np.save(folder / "logs" / f"{name}_per_epoch.npy", np.array(values, dtype=float))
    (folder / "summary.json").write_text(json.dumps({"best_epoch": 2}))
    return folder


def test_equal_folder_names_are_told_apart_by_as_much_of_the_path_as_needed(tmp_path):
    assert names_of_experiments([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert names_of_experiments([tmp_path / "a" / "one", tmp_path / "a" / "two"]) == ["one", "two"]


def test_curves_of_unequal_length_and_a_missing_log_are_drawn_as_they_are(tmp_path):
    first = read_logs(experiment(tmp_path / "first", loss=[3, 2, 1], rate=[0.1, 0.1, 0.1]))
    second = read_logs(experiment(tmp_path / "second", loss=[5, 4]))
    figure = plot_logs({"first": first, "second": second}, ["loss", "rate"], {"first": 3, "second": None})
    loss, rate = figure.axes
    curves = {line.get_label(): line for line in loss.lines if not line.get_label().startswith("_")}
    np.testing.assert_array_equal(curves["first"].get_ydata(), [3, 2, 1])
    np.testing.assert_array_equal(curves["second"].get_xdata(), [1, 2])
    assert [to_hex(curves[name].get_color()).upper() for name in curves] == [colour.upper() for colour in PALETTE[:2]]
    marks = [line for line in loss.lines if line.get_marker() == "o"]
    assert [(float(mark.get_xdata()[0]), float(mark.get_ydata()[0])) for mark in marks] == [(3.0, 1.0)]
    assert {line.get_label() for line in rate.lines if not line.get_label().startswith("_")} == {"first"}


def test_the_table_holds_every_value(tmp_path):
    logs = {"first": {"loss": np.array([3.0, np.nan, 1.0])}, "second": {"loss": np.array([0.1])}}
    write_logs(tmp_path / "logs.csv", logs)
    rows = list(csv.reader((tmp_path / "logs.csv").read_text().splitlines()))
    assert rows == [
        ["experiment", "log", "1", "2", "3"],
        ["first", "loss", "3.0", "", "1.0"],
        ["second", "loss", "0.1", "", ""],
    ]


def test_folders_without_logs_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no existing experiment folder"):
        read_logs(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="has no logs"):
        read_logs(tmp_path)
