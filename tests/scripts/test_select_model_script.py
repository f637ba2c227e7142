"""A small selection by the script, held against runs that are asked one by one."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from running_scripts import run_here

from dynml.models.experiment import load_experiment
from dynml.models.inferred import inferred_subjects


def select(folder, *further, status=0, name="selection"):
    places = ("hmm", folder / "experiments", name, folder / "store.hdf5", "signals")
    options = ("--n_jobs", 1, "--initialization.n_init", 1, *further)
    return run_here("dynml_select_model.py", *places, *options, status=status)


GRID = ("--grid", "model.n_states=2,3,5000", "--seeds", 2, "--folds", 2)


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selection")
    (folder / "experiments").mkdir()
    sizes = ("--n_subjects", 5, "--n_validation_subjects", 1, "--n_testing_subjects", 1, "--n_samples", 400)
    model = ("--n_channels", 3, "--n_states", 2, "--seed", 1)
    run_here("dynml_simulate_data.py", "hmm", folder / "store.hdf5", *sizes, *model)
    select(folder, *GRID)
    return folder


def rows_of(folder):
    with (folder / "experiments/selection/selection.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_each_run_is_scored_on_people_that_it_has_not_seen(selected):
    rows = rows_of(selected)
    folds = [row for row in rows if row["part"] == "fold" and row["status"] == "finished"]
    assert len(folds) == 2 * 2 * 2
    for row in folds[::3]:
        experiment = load_experiment(selected / "experiments/selection/runs" / row["run"])
        subsets = experiment.parameters["dataset"]["subsets"]
        assert not subsets["validation"]["n_subjects"]
        dataset = experiment.open(selected / "store.hdf5")
        assert set(dataset.testing_set.subjects).isdisjoint(dataset.training_set.subjects)
        assert len(dataset.testing_set.subjects) == len(dataset.training_set.subjects) == 2
        found = list(inferred_subjects(experiment.family, experiment.model, dataset.testing_set))
        own = -sum(one.log_likelihood for one in found) / sum(one.n_samples for one in found)
        assert float(row["score"]) == pytest.approx(own, abs=1e-6)
        series = {
            name: np.concatenate([dataset.subset(name).read(index, 0, 400).numpy() for index in range(2)])
            for name in ("training", "testing")
        }
        mean, covariance = series["training"].mean(0), np.cov(series["training"].T, bias=True)
        centred = series["testing"] - mean
        squared = np.einsum("ti,ij,tj->t", centred, np.linalg.inv(covariance), centred).mean()
        gaussian = 0.5 * (squared + np.linalg.slogdet(2 * np.pi * covariance)[1])
        assert float(row["gaussian"]) == pytest.approx(gaussian, abs=1e-4)


def test_a_run_that_fails_is_told_and_the_others_go_on(selected):
    summary = json.loads((selected / "experiments/selection/summary.json").read_text())
    assert {name.partition("_seed")[0] for name in summary["failed"]} == {"n_states-5000"}
    assert any("n_states 5000, seed 0, fold 0 failed" in finding for finding in summary["findings"])
    assert summary["best"] == {"model.n_states": 2}
    assert summary["best"] in summary["not_worse"]
    assert {"model.n_states": 5000} not in summary["not_worse"]
    assert summary["states"] is True
    for kind in ("seeds", "split_halves"):
        agreement = summary["reproducibility"][kind]
        assert agreement["similarity"] > 0.9 > agreement["shifted_interval"][1]
    assert all((selected / "experiments/selection" / f"selection.{ending}").is_file() for ending in ("png", "svg"))


def test_the_chosen_model_is_trained_on_all_and_can_be_inferred_from(selected):
    root = selected / "experiments/selection"
    experiment = load_experiment(root / "best")
    assert experiment.parameters["dataset"]["subsets"]["training"]["n_subjects"] == 4
    run_here("dynml_infer_from_model.py", root / "best", selected / "store.hdf5", selected / "inferred")
    assert np.load(next((selected / "inferred").glob("*_alpha.npy"))).shape == (400, 2)
    page = selected / "page.html"
    run_here("dynml_report.py", root / "best", page, "--hdf5", selected / "store.hdf5", "--results", root)
    assert "How many states" in page.read_text(encoding="utf-8")


def test_begun_again_only_what_is_missing_is_done(selected):
    root = selected / "experiments/selection"
    before = (root / "selection.tsv").read_text()
    lost = root / "runs/n_states-3_seed-1_fold-1/selection_run.json"
    lost.unlink()
    finished = {path: path.stat().st_mtime_ns for path in root.glob("runs/*/selection_run.json")}
    select(selected, *GRID)
    assert lost.is_file()
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())
    assert (root / "selection.tsv").read_text() == before
    assert "model.learn_means" in select(selected, *GRID, "--model.learn_means", "false", status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--grid", "model.n_sttes=2:3"), "model.n_states"),
        (("--grid", "model.n_states=2:3", "model.covariance_type=full,round"), "covariance_type"),
        (("--grid", "model.n_states=2:3", "--seeds", "0"), "--seeds"),
        (("--grid", "model.n_states=2:3", "--folds", "1"), "--folds"),
        (("--grid", "model.n_states=2:3", "--folds", "5"), "hold 4 participants"),
        (("--grid", "model.n_states=2:3", "--dataset.n_training_subjects", "99"), "n_training_subjects"),
        ((), "--grid"),
    ],
)
def test_mistakes_are_told_before_anything_runs(selected, arguments, message):
    assert message in select(selected, *arguments, name="refused", status=2).stderr
    assert not (selected / "experiments/refused/runs").exists()


def test_one_participant_is_refused(tmp_path):
    (tmp_path / "experiments").mkdir()
    run_here("dynml_simulate_data.py", "hmm", tmp_path / "store.hdf5", "--n_samples", 100, "--n_channels", 2)
    error = select(tmp_path, "--grid", "model.n_states=2:3", status=2).stderr
    assert "hold 1 participant" in error
    assert "Traceback" not in error


POOL = """
import json, os, signal, sys
from pathlib import Path
from types import SimpleNamespace

from dynml.cli.commands.selection.pool import carried_out
from dynml.models.registry import get_family


def carry_out(run):
    if run.name == "killed" or (run.name == "killed once" and not run.mark.exists()):
        run.mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    import torch

    has = {name: name in sys.modules for name in ("dynml.models.hmm.trainer", "torch._dynamo")}
    return {"process": os.getpid(), "threads": torch.get_num_threads(), **has}


if __name__ == "__main__":
    request, mark = SimpleNamespace(family=get_family("hmm")), Path(sys.argv[1])
    names = ["first", "killed once", "second", "killed", "third"]
    runs = [SimpleNamespace(name=name, mark=mark / name, request=request) for name in names]
    found = {run.name: row for run, row in carried_out(carry_out, runs, 2)}
    print(json.dumps({"parent": os.getpid(), **found}))
"""


def test_a_worker_that_is_killed_takes_no_other_run_with_it(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    done = subprocess.run([sys.executable, tmp_path / "pool.py", tmp_path], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    parent = found.pop("parent")
    assert "was killed" in found.pop("killed")["failed"]
    assert set(found) == {"first", "second", "third", "killed once"}
    for row in found.values():
        assert row["process"] != parent
        assert row["threads"] == 1
        assert row["dynml.models.hmm.trainer"], "imports are made once, before there are workers"
        assert not row["torch._dynamo"], "an HMM has no use for torch's compiler, which takes seconds to import"
