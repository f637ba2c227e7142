"""The two scripts that look at logs, as a user runs them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running_scripts import ran_here
from scipy import stats

from dynml.plotting import logs as plotting_logs

ROOT = Path(__file__).parents[2]
LOGS, CORRELATION = "dynml_visualize_logs.py", "dynml_visualize_logs_correlation.py"
PNG = b"\x89PNG"


def make_experiment(folder, n_epochs, seed=0, *, finished=True, family="hmm", **logs):
    rng = np.random.default_rng(seed)
    training = 3 + np.exp(-np.arange(n_epochs) / 5) + 0.05 * rng.normal(size=n_epochs)
    validation = training + 0.2 + 0.05 * rng.normal(size=n_epochs)
    (folder / "logs").mkdir(parents=True)
    given = {"training_loss": training, "validation_loss": validation, "training_seconds": np.ones(n_epochs), **logs}
    given["best_value"] = np.minimum.accumulate(validation)
    for name, values in given.items():
        np.save(folder / "logs" / f"{name}_per_epoch.npy", np.asarray(values, dtype=float))
    (folder / "parameters_latest.json").write_text(json.dumps({"dataset": {"fingerprint": "same"}}))
    if finished:
        loss = "free_energy" if family == "hmm" else "mse"
        summary = {"family": family, "epochs": n_epochs, "best_epoch": int(np.argmin(validation)) + 1, "loss": loss}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Three runs of different length; the second goes on, and has a log of its own; two have the same name."""
    monkeypatch.chdir(tmp_path)
    make_experiment(Path("a/run"), 20, 1)
    make_experiment(Path("a/other"), 12, 2, finished=False, gradient_norm=np.arange(12))
    make_experiment(Path("b/run"), 7, 3)
    return ["a/run", "a/other", "b/run"]


def read_table(path):
    return list(csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines()))


def read_log(path, name):
    return np.load(Path(path) / "logs" / f"{name}_per_epoch.npy")


def test_three_experiments_are_drawn_and_tabled_without_a_screen(runs, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    command = [sys.executable, str(ROOT / "scripts_python" / LOGS), *runs]
    command += ["--save_figures", "figures/logs", "--save_to_csv", "new/logs.csv", "--nb_plots_per_fig", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["figures/logs_1.png", "figures/logs_2.png", "new/logs.csv"]
    assert done.stderr == "Warning: a/run has no log gradient_norm; it is left out of the curves that need it.\n" + (
        "Warning: b/run has no log gradient_norm; it is left out of the curves that need it.\n"
    )
    assert all((tmp_path / "figures" / f"logs_{number}.png").read_bytes().startswith(PNG) for number in (1, 2))
    table = {}
    for row in read_table("new/logs.csv"):
        table.setdefault((row["experiment"], row["log"]), []).append(float(row["value"]))
    assert {name for name, _ in table} == {"a/run", "a/other", "b/run"}
    for path in runs:
        np.testing.assert_array_equal(table[path, "training_loss"], read_log(path, "training_loss"))
    assert len(table["a/other", "gradient_norm"]) == 12


def test_all_logs_but_costs_are_drawn_unless_there_is_nothing_else(runs):
    costs = {"training_samples_per_second": np.ones(4), "peak_memory_mebibytes": np.ones(4)}
    make_experiment(Path("c/run"), 4, **costs)
    assert ran_here(LOGS, "c/run", "--save_figures", "f", "--nb_plots_per_fig", 1)[1].split() == [
        f"f_{number}.png" for number in (1, 2, 3)
    ]
    for name in ("training_loss", "validation_loss", "best_value"):
        Path(f"c/run/logs/{name}_per_epoch.npy").unlink()
    assert ran_here(LOGS, "c/run", "--save_figures", "g", "--nb_plots_per_fig", 1)[1].split() == [
        f"g_{number}.png" for number in (1, 2, 3)
    ]


def test_graphs_hold_what_was_asked_for(runs, monkeypatch):
    drawn = []
    plot = plotting_logs.plot_logs
    monkeypatch.setattr(
        plotting_logs, "plot_logs", lambda *given, **named: drawn.append(plot(*given, **named)) or drawn[-1]
    )
    gap = "diff(validation_loss,training_loss)"
    graphs = ["--graph", "Losses", "training_loss", "validation_loss", gap, "--graph", "The gap", gap, -0.5, 1]
    settings = ["--logs", "training_loss", "--names", "x", "y", "z", "--title", "Mine", "--xlim", 2, 15]
    status, printed, _ = ran_here(LOGS, *runs, *settings, *graphs, "--save_figures", "f.pdf", "--save_to_csv", "t.csv")
    assert (status, printed.split()) == (0, ["f_1.pdf", "t.csv"])
    (figure,) = drawn
    single, losses, differences = figure.axes
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["training loss", "Losses", "The gap"]
    lines = {line.get_label(): line.get_ydata() for line in losses.lines}
    expected = read_log("a/other", "validation_loss") - read_log("a/other", "training_loss")
    np.testing.assert_array_equal(lines[f"y: {gap}"], expected)
    assert differences.get_ylim() == (-0.5, 1)
    assert single.get_xlim() == (2, 15)
    assert figure.get_suptitle() == "Mine"
    best = int(np.argmin(read_log("a/other", "validation_loss"))) + 1
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"y (running; best epoch {best} so far)" in legend
    rows = [row for row in read_table("t.csv") if (row["experiment"], row["log"]) == ("y", gap)]
    np.testing.assert_array_equal([float(row["value"]) for row in rows], expected)


def test_without_an_output_the_last_values_are_printed_and_what_can_be_asked(runs):
    status, printed, warned = ran_here(LOGS, "a/run", "a/other", "--logs", "training_loss", "gradient_norm")
    last = {path: f"{read_log(path, 'training_loss')[-1]:.6g}" for path in runs}
    best = [int(np.argmin(read_log(path, "validation_loss"))) + 1 for path in runs]
    assert (status, "a/run" not in warned) == (0, True)
    assert printed.splitlines() == [
        f"run (best epoch {best[0]}): last of 20 epochs",
        f"  training_loss  {last['a/run']}",
        f"other (running; best epoch {best[1]} so far): last of 12 epochs",
        f"  training_loss  {last['a/other']}",
        "  gradient_norm  11",
        "Draw them: --save_figures PREFIX or --show_now; all values: --save_to_csv FILE; which: --logs, --graph.",
    ]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "eps", "jpg", "tif"])
def test_figures_are_saved_in_the_format_of_the_prefix(runs, ending):
    assert ran_here(LOGS, *runs, "--logs", "training_loss", "--save_figures", f"out/run_0.5.{ending}")[:2] == (
        0,
        f"out/run_0.5_1.{ending}\n",
    )
    first = Path(f"out/run_0.5_1.{ending}").read_bytes()[:5]
    assert first.startswith((PNG, b"%PDF", b"<?xml", b"%!PS", b"\xff\xd8\xff", b"II*", b"MM\x00"))


def test_prefixes_without_an_ending_give_png_also_in_folders(runs):
    assert ran_here(LOGS, *runs, "--logs", "training_loss", "--save_figures", "runs_0.5")[1] == "runs_0.5_1.png\n"
    assert ran_here(LOGS, *runs, "--logs", "training_loss", "--save_figures", "here/")[1] == "here/logs_1.png\n"


def test_experiments_of_different_families_are_drawn_with_a_warning(runs):
    make_experiment(Path("c/bert"), 5, 4, family="sequence_bert")
    status, _, warned = ran_here(LOGS, "a/run", "c/bert", "--logs", "validation_loss", "--save_figures", "f")
    assert status == 0
    assert "different quantities (free_energy: run; mse: bert)" in warned
    assert warned.count("\n") == 1
    assert ran_here(LOGS, "a/run", "c/bert", "--logs", "training_seconds", "--save_figures", "g")[2] == ""


def test_show_now_without_a_screen_says_so(runs, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    status, _, warned = ran_here(LOGS, "a/run", "--logs", "training_loss", "--show_now")
    assert (status, warned.count("\n")) == (0, 1)
    assert "--show_now needs a screen" in warned


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--save_figures", "f"], "nowhere does not exist"),
        (["a", "--save_figures", "f"], "a is not an experiment: give the experiments in it (a/other, a/run)"),
        (["empty", "--save_figures", "f"], "empty is not an experiment"),
        (["young", "--save_figures", "f"], "young has no logs"),
        (["a/run", "a/run/", "--save_figures", "f"], "given twice"),
        (["a/run", "--logs", "training_los", "--save_figures", "f"], "one of best_value, training_loss, training_sec"),
        (["a/run", "--logs", "training_los", "--save_figures", "f"], "did you mean 'training_loss'"),
        (["a/run", "--graph", "T", "training_los", "--save_figures", "f"], "--graph is 'training_los'"),
        (["a/run", "--logs", "diff(training_loss)", "--save_figures", "f"], "diff(a,b) of exactly two logs"),
        (["a/run", "--graph", "T", "diff(a,b,c)", "--save_figures", "f"], "diff(a,b) of exactly two logs"),
        (["a/run", "--graph", "T", "--save_figures", "f"], "a title, one to six logs"),
        (["a/run", "--graph", "T", *["best_value"] * 7, "--save_figures", "f"], "a title, one to six logs"),
        (["a/run", "--graph", "T", "best_value", "2", "1", "--save_figures", "f"], "two numbers, the lower one first"),
        (["a/run", "--graph", "T", "best_value", "2", "--save_figures", "f"], "two numbers, the lower one first"),
        (["a/run", "--graph", "T", "best_value", "0", "nan", "--save_figures", "f"], "two numbers, the lower one"),
        (["a/run", "--ylims", "3", "3", "--save_figures", "f"], "--ylims is '3.0 3.0'"),
        (["a/run", "--ylims", "3", "--save_figures", "f"], "--ylims"),
        (["a/run", "--ylims", "3", "high", "--save_figures", "f"], "ylims"),
        (["a/run", "--ylims", "-1", "3", "--log_scale", "--save_figures", "f"], "above 0 on a logarithmic axis"),
        (["a/run", "--graph", "T", "best_value", "0", "3", "--log_scale", "--save_figures", "f"], "above 0 on a log"),
        (["a/run", "--ylims", "1", "3", "--remove_outliers", "--save_figures", "f"], "give one of them"),
        (["a/run", "--xlim", "9", "3", "--save_figures", "f"], "--xlim is '9 3'"),
        (["a/run", "--xlim", "1", "2", "3", "--save_figures", "f"], "--xlim is '1 2 3'"),
        (["a/run", "--xlim", "0", "--save_figures", "f"], "--xlim is '0'"),
        (["a/run", "--xlim", "30", "40", "--save_figures", "f"], "begin at epoch 20 or before"),
        (["a/run", "--fig_size", "0", "4", "--save_figures", "f"], "3 to 100 inches"),
        (["a/run", "--nb_plots_per_fig", "0", "--save_figures", "f"], "a whole number of at least 1"),
        (["a/run", "--names", "x", "y", "--save_figures", "f"], "one name, one for each experiment"),
        (["a/run", "--save_figures", "taken"], "taken_1.png exists already; use -f to overwrite it"),
        (["a/run", "--save_figures", "f", "--save_to_csv", "taken.csv"], "taken.csv exists already; use -f"),
        (["a/run", "--save_to_csv", "a", "-f"], "a is a folder"),
        (["a/run", "--save_to_csv", "taken.csv/t.csv"], "could not be made"),
        (["a/run", "--save_figures", "taken.csv/f"], "could not be made"),
        (["a/run", "--save_figure", "f"], "did you mean '--save_figures'"),
        (["a/run", "--save_to_csv", "t.csv", "--log_scale"], "--log_scale changes figures only"),
    ],
)
def test_mistakes_give_one_sentence_and_status_2_and_no_file(runs, arguments, words):
    Path("empty").mkdir()
    Path("young/checkpoint").mkdir(parents=True)
    Path("taken_1.png").write_bytes(b"old")
    Path("taken.csv").write_text("old")
    before = sorted(Path().rglob("*"))
    status, printed, error = ran_here(LOGS, *arguments)
    assert (status, printed, error.count("\n")) == (2, "", 1), error
    assert words in error
    assert sorted(Path().rglob("*")) == before
    assert (Path("taken_1.png").read_bytes(), Path("taken.csv").read_text()) == (b"old", "old")


def test_force_overwrites(runs):
    Path("taken_1.png").write_bytes(b"old")
    assert ran_here(LOGS, "a/run", "--logs", "best_value", "--save_figures", "taken", "-f")[0] == 0
    assert Path("taken_1.png").read_bytes().startswith(PNG)


def test_correlations_are_printed_saved_and_drawn(runs):
    outputs = ["--save_figures", "f", "--save_to_csv", "r.csv", "--show_first_order_fit", "--show_individual_logs"]
    status, printed, warned = ran_here(
        CORRELATION, *runs, "training_loss", "validation_loss", "--ignore_first_epochs", 2, *outputs
    )
    assert (status, warned) == (0, "")
    assert printed.split()[-2:] == ["f_correlation.png", "r.csv"]
    assert Path("f_correlation.png").read_bytes().startswith(PNG)
    rows = {row["experiment"]: row for row in read_table("r.csv")}
    logs = {path: [read_log(path, f"{name}_loss")[2:] for name in ("training", "validation")] for path in runs}
    for path, (x, y) in logs.items():
        assert int(rows[path]["n"]) == len(x)
        np.testing.assert_allclose([float(rows[path]["r"]), float(rows[path]["p"])], stats.pearsonr(x, y), rtol=1e-9)
        steps = np.corrcoef(np.diff(x), np.diff(y))[0, 1]
        np.testing.assert_allclose(float(rows[path]["r_of_differences"]), steps, rtol=1e-9)
        assert f"{np.corrcoef(x, y)[0, 1]:.4f}" in next(line for line in printed.splitlines() if line.startswith(path))
    pooled = stats.pearsonr(*(np.concatenate([logs[path][axis] for path in runs]) for axis in (0, 1)))
    np.testing.assert_allclose(float(rows["all experiments"]["r"]), pooled.statistic, rtol=1e-9)
    assert rows["within experiments"]["level"] == "within"
    assert "p is too small" in printed


def test_correlation_of_differences_under_other_names_needs_no_output(runs):
    logs = ["diff(validation_loss,training_loss)", "gradient_norm"]
    status, printed, warned = ran_here(CORRELATION, *runs, *logs, "--rename_log1", "gap", "--names", *"xyz")
    assert status == 0
    assert printed.startswith("x: gap; y: gradient norm")
    x = read_log("a/other", "validation_loss") - read_log("a/other", "training_loss")
    assert f"{np.corrcoef(x, np.arange(12))[0, 1]:.4f}" in printed
    assert warned.splitlines() == [f"Warning: {name} has no log gradient_norm and is left out." for name in "xz"]


def test_too_few_points_and_constant_logs_are_said(runs):
    _, printed, warned = ran_here(CORRELATION, "b/run", "training_loss", "best_value", "--ignore_first_epochs", 5)
    assert "No correlation can be computed for run: 2 points, but at least 3 are needed." in warned
    assert printed.splitlines()[2].split() == ["run", "2", *"-----"]
    _, _, warned = ran_here(CORRELATION, "a/run", "training_loss", "training_seconds")
    assert "No correlation can be computed for run: training seconds is constant." in warned


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a/run", "training_loss"], "LOG2 is missing"),
        (["a/run", "training_loss", "validation_los"], "LOG2 is 'validation_los', but must be one of best_value"),
        (["a/run", "diff(training_loss)", "validation_loss"], "LOG1 is 'diff(training_loss)'"),
        (["a/run", "a/other", "b/run"], "LOG1 is 'a/other', but must be one of"),
        (["nowhere", "training_loss", "validation_loss"], "does not exist"),
        (["a/run", "training_loss", "best_value", "--ignore_first_epochs", "-1"], "--ignore_first_epochs is -1"),
        (["a/run", "training_loss", "best_value", "--ignore_first_epochs", "20"], "less than 20, the epochs of"),
        (["a/run", "training_loss", "best_value", "--xlim", "2", "1"], "--xlim is '2.0 1.0'"),
        (["a/run", "training_loss", "best_value", "--ylim", "2", "2"], "--ylim is '2.0 2.0'"),
        (["a/run", "b/run", "training_loss", "best_value", "--names", "x"], "2 different names"),
        (["a/run", "training_loss", "best_value", "--save_figures", "taken"], "taken_correlation.png exists already"),
        (["a/run", "training_loss", "best_value", "--save_to_csv", "taken.csv"], "taken.csv exists already"),
        (["a/run", "c/half", "training_loss", "diff(gradient_norm,late)"], "No experiment has both training_loss and"),
    ],
)
def test_mistakes_of_a_correlation_give_one_sentence_and_status_2(runs, arguments, words):
    Path("taken_correlation.png").write_bytes(b"old")
    Path("taken.csv").write_text("old")
    make_experiment(Path("c/half"), 3, late=np.ones(3))
    make_experiment(Path("c/other_half"), 3, gradient_norm=np.ones(3))
    if "c/half" in arguments:
        arguments = ["c/other_half", *arguments]
    status, printed, error = ran_here(CORRELATION, *arguments)
    lines = [line for line in error.splitlines() if not line.startswith("Warning")]
    assert (status, printed, len(lines)) == (2, "", 1), error
    assert words in error
    assert (Path("taken_correlation.png").read_bytes(), Path("taken.csv").read_text()) == (b"old", "old")
