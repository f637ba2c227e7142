"""Progress: a line per epoch in a log file, and on a terminal a bar each for starts and epochs."""

import sys

import pytest

from dynml.training.config import RunConfig
from dynml.training.progress_bar import ProgressBars

CONFIG = RunConfig(max_epochs=10)


def go_through(bars):
    bars.begin_steps("Preparing", 3, 1)
    bars.step_done()
    assert list(bars.batches("ab", 2, 0, "Training")) == ["a", "b"]
    bars.epoch_done(2.5, None, None)
    bars.epoch_done(2.25, 2.25, 5)
    bars.close()


def test_each_epoch_is_a_line_where_there_is_no_terminal(capsys):
    go_through(ProgressBars(CONFIG, 3, shown=True))
    # Exactly these: no start of a bar, and no carriage return.
    assert capsys.readouterr().err == "Epoch 4/10: loss 2.5\nEpoch 5/10: loss 2.25, best 2.25 (epoch 5)\n"


def test_a_bar_in_a_log_file_ends_its_line(capsys, monkeypatch):
    monkeypatch.setattr("dynml.training.progress_bar.SECONDS_BETWEEN_LINES", 0.0)
    go_through(ProgressBars(CONFIG, 3, shown=True))
    lines = capsys.readouterr().err.split("\n")  # not at carriage returns
    assert [line for line in lines if line.startswith("Epoch")] == [
        "Epoch 4/10: loss 2.5",
        "Epoch 5/10: loss 2.25, best 2.25 (epoch 5)",
    ]


def test_on_a_terminal_starts_and_epochs_have_bars_of_their_own(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bars = ProgressBars(CONFIG, 3, shown=True)
    bars.begin_steps("Preparing", 3, 1)
    before = capsys.readouterr().err
    assert "Preparing" in before
    assert "1/3" in before
    assert "Training" not in before
    assert list(bars.batches("ab", 2, 0, "Training")) == ["a", "b"]
    bars.epoch_done(2.5, None, None)
    bars.close()
    shown = capsys.readouterr().err
    assert "4/10" in shown
    assert "loss 2.5" in shown
    assert "Epoch 4" not in shown


@pytest.mark.parametrize(("config", "shown"), [(CONFIG, False), (RunConfig(progress=False), True)])
def test_nothing_is_shown_unless_asked_for(config, shown, capsys):
    go_through(ProgressBars(config, 3, shown=shown))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds_a_batch", "is_long"), [(0.5, False), (60.0, True)])
def test_a_long_run_says_once_how_long_it_will_take(seconds_a_batch, is_long, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dynml.training.progress_bar.time.monotonic", lambda: now[0])

    def batches():
        for number in range(20):
            now[0] += 1000.0 if number == 0 else seconds_a_batch  # the first pays for compilation
            yield number

    bars = ProgressBars(CONFIG, 4, shown=True)
    for _ in range(2):
        assert list(bars.batches(batches(), 20, 0, "Training")) == list(range(20))
    bars.close()
    said = [line for line in capsys.readouterr().err.splitlines() if "an epoch" in line]
    assert len(said) == is_long
    if is_long:
        assert "About 20 min an epoch (20 batches of 60 s), 2 h for 6 epochs at most" in said[0]
