"""A selection that is shared out over the processes of torchrun, on a store that is split by runs."""

import json
import os
import sys

import numpy as np
import pytest

from dynml import MultiSubjectDataset
from dynml.cli.commands.selection import selecting
from dynml.cli.commands.selection.planned_run import ROW
from dynml.cli.commands.selection.select_model import parse_selection
from dynml.cli.commands.train import parse_training, parsed_trainings
from dynml.conversion.creation import create_store
from dynml.files import made_folder, write_json

RUNS = [f"sub-1_run-{number}" for number in range(4)]


@pytest.fixture
def request_of_runs(tmp_path, monkeypatch):
    """One person with four runs."""
    config = {
        "signals": {"type": "timeseries", "files": ["run.npy"], "sampling_frequency": 100},
        "split": "runs",
        "participants": dict.fromkeys(RUNS, "sub-1"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "training.txt").write_text("\n".join(RUNS) + "\n")
    (tmp_path / "none.txt").write_text("")
    for number, name in enumerate(RUNS):
        (tmp_path / "ready" / name).mkdir(parents=True)
        np.save(tmp_path / "ready" / name / "run.npy", np.random.default_rng(number).normal(size=(60, 2)).astype("f4"))
    none = tmp_path / "none.txt"
    lists = {"training": tmp_path / "training.txt", "validation": none, "testing": none}
    create_store(tmp_path / "ready", tmp_path / "store.hdf5", tmp_path / "config.json", lists)
    (tmp_path / "experiments").mkdir()
    places = ["hmm", tmp_path / "experiments", "selection", tmp_path / "store.hdf5", "signals", "--n_jobs", 1]
    options = ["--grid", "model.n_states=2:3", "--seeds", 1, "--surrogates", "false"]
    monkeypatch.setattr(sys, "argv", ["dynml_select_model.py", *map(str, [*places, *options])])
    return parse_selection(None)


def test_ranks_share_the_runs_and_the_first_one_puts_them_together(request_of_runs, monkeypatch):
    done_by = {}

    def carry_out(run):
        """Score what is held out, without a training: three states are worse."""
        configs = run.request.configs
        dataset = MultiSubjectDataset(run.request.hdf5_file, "lazy", group="signals", config=configs["dataset"])
        done_by[run.folder.name] = os.environ["RANK"]
        n_states = configs["model"].n_states
        row = {"settings": run.settings, "seed": run.seed, "part": run.part, "fold": run.fold, "objective": 1.0}
        row |= {"training": 1.0, "seconds": 1.0, "epochs": 1, "n_parameters": n_states, "aic": None, "bic": None}
        row |= {"stopping_reason": "converged", "warnings": []}
        if run.part == "fold":
            of_one = {"n_samples": 60, "baselines": {"gaussian": 5.0}}
            row["subjects"] = {
                name: {"participant": dataset.participant(name), "score": n_states + 0.01 * number, **of_one}
                for number, name in enumerate(dataset.testing_set.subjects)
            }
        write_json(made_folder(run.folder) / ROW, row)
        return row

    def token():
        """What all wait for; the second process does its share as soon as the first one has looked at the folder."""
        if os.environ["RANK"] == "0":
            monkeypatch.setenv("RANK", "1")
            selecting.run_selection(request_of_runs, carry_out)
            monkeypatch.setenv("RANK", "0")
        return "token"

    monkeypatch.setattr(selecting, "_token", token)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    selecting.run_selection(request_of_runs, carry_out)
    root = request_of_runs.root
    summary = json.loads((root / "summary.json").read_text())
    assert summary["unit"] == "run"
    assert summary["best"] == {"model.n_states": 2}
    shared = {name: rank for name, rank in done_by.items() if "_all" not in name}
    assert len(shared) == 2 * (4 + 2), "four folds and two halves"
    assert list(shared.values()).count("1") == list(shared.values()).count("0")
    lines = (root / "selection_participants.tsv").read_text().splitlines()[1:]
    assert sorted(line.split("\t")[1] for line in lines) == sorted([*RUNS, *RUNS])
    assert (root / "best" / ROW).is_file()
    assert not list(root.glob(".process*"))


def test_settings_of_a_grid_are_those_that_the_training_command_would_have():
    common = ["hmm", "experiments", "name", "store.hdf5", "signals", "--trainer.max_epochs=7"]
    lines = [
        [*common, "--model.n_states=3", "--model.covariance_type=diagonal", "--dataset.n_embeddings=3"],
        [*common, "--model.n_states=4", "--trainer.max_epochs=9"],
        [*common, "--model.n_states=4"],
    ]
    assert parsed_trainings(None, lines) == [parse_training(None, line) for line in lines]
