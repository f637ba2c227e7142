"""What a run costs is said beforehand: for all subjects, from some of them, and nothing is left behind."""

import re
import sys

import pytest
from running_scripts import run_here

from dynml.cli.commands.estimate.estimate_cost import GROWTH, _line, estimated
from dynml.cli.commands.estimate.probe import Seconds
from dynml.cli.commands.train import parse_training
from dynml.simulation import simulate_hmm
from dynml.simulation.store import write_simulation
from dynml.training.progress_bar import in_words

SCRIPT = "dynml_estimate_cost.py"
SETTINGS = ["--model.n_states", "2", "--initialization.n_init", "1", "--trainer.max_epochs", "40"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    file = tmp_path_factory.mktemp("store") / "small.hdf5"
    write_simulation(
        simulate_hmm(n_subjects=12, n_samples=200, n_states=2, n_channels=3, seed=1), file, n_validation_subjects=2
    )
    return file


def test_a_run_is_measured_on_some_subjects_and_said_of_all(store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dynml.cli.commands.estimate.estimate_cost.FIRST_SAMPLES", 300)
    monkeypatch.setattr("dynml.cli.commands.estimate.estimate_cost.ENOUGH_SECONDS", 0.0)
    before = set(store.parent.iterdir())
    done = run_here(SCRIPT, "hmm", store, "signals", *SETTINGS)
    assert done.stderr == ""
    said = done.stdout
    assert f"10 training subjects, measured on {2 * GROWTH} of them" in said
    for part in ("before the first epoch", "an epoch", r"at most \(max_epochs 40\)", "memory", "disk"):
        assert re.search(rf"^  {part} +[\d.,]+ ", said, flags=re.MULTILINE), said
    assert set(store.parent.iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_all_parts_are_known_of_data_that_are_measured_whole(store):
    arguments = ["hmm", str(store), "signals", *SETTINGS, "--loader.residency", "lazy"]
    request = parse_training(None, arguments, of_estimate=True)
    found = estimated(request)
    assert found.n_probed == found.n_subjects == 10
    assert found.n_bytes == 4 * 3 * 12 * 200
    assert found.n_bytes_on_disk > 1000
    assert set(found.seconds) == {"opening", "before", "training", "validation", "after"}
    assert all(one.wall > 0 and one.processor > 0 for one in found.seconds.values())
    if sys.platform == "linux":
        assert found.peaks["peak_memory_mebibytes"] > 50


def test_mistakes_are_those_of_a_training(store):
    assert "--model.n_state" in run_here(SCRIPT, "hmm", store, "signals", "--model.n_state", "2", status=2).stderr
    assert "no group 'other'" in run_here(SCRIPT, "hmm", store, "other", *SETTINGS, status=2).stderr


def test_costs_are_drawn_out_along_the_line_through_the_last_two():
    taken = [Seconds(3.0, 2.0), Seconds(5.0, 4.0)]  # 1 + 2 a piece, and 2 a piece
    assert _line([1, 2], taken, 10) == Seconds(21.0, 20.0)
    assert _line([2], taken[1:], 2) == taken[1]
    assert _line([2], taken[1:], 4) == Seconds(10.0, 8.0)
    # What did not grow by chance does not shrink.
    assert _line([1, 2], [Seconds(4.0, 4.0), Seconds(3.0, 3.0)], 10) == Seconds(3.0, 3.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.123, "0.12 s"), (48, "48 s"), (210, "3.5 min"), (7560, "2.1 h"), (345600, "4 days")]
)
def test_times_are_said_as_people_do(seconds, words):
    assert in_words(seconds) == words
