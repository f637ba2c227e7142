"""A selection on coloured noise, which has no states, and on states: what each gains beside stationary data."""

import csv
import json

import pytest
from running_scripts import run_here

FOLDS, PEOPLE = 2, 6
SIZES = ("--n_subjects", PEOPLE, "--n_samples", 200, "--n_channels", 3, "--seed", 4)


def selected(folder, kind, *further):
    (folder / "experiments").mkdir()
    run_here("dynml_simulate_data.py", kind, folder / "store.hdf5", *SIZES, *further)
    places = ("hmm", folder / "experiments", "selection", folder / "store.hdf5", "signals")
    few = ("--seeds", 1, "--folds", FOLDS, "--n_jobs", 1, "--split_halves", "false", "--initialization.n_init", 1)
    run_here("dynml_select_model.py", *places, "--grid", "model.n_states=3", *few)
    root = folder / "experiments/selection"
    with (root / "selection.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return root, json.loads((root / "summary.json").read_text(encoding="utf-8")), rows


def mean(rows, part, column):
    values = [float(row[column]) for row in rows if row["part"] == part]
    assert len(values) == FOLDS
    return sum(values) / FOLDS


def test_coloured_noise_has_no_states_although_it_gains_over_one_gaussian(tmp_path):
    root, summary, rows = selected(tmp_path, "var", "--spectral_radius", 0.95)
    gain = summary["settings"][0]["gain_over"]
    assert gain["gaussian"]["low"] > 0 < gain["gaussian_mixture"]["low"], "what would be called states without more"
    assert summary["states"] is False
    assert summary["verdict"][0].startswith("No states")
    for part, name, rounding in (("var", "stationary_var", 1e-9), ("phases", "phase_randomized", 0.005)):
        # Folds hold as many people of as many samples: the mean over folds is that over people, but for a few
        # samples that are cut off before phases are drawn.
        own, other = (mean(rows, one, "gaussian") - mean(rows, one, "score") for one in ("fold", part))
        assert gain[name]["mean"] == pytest.approx(own - other, abs=rounding)
        assert other > 0.5 * own
    assert "autocorrelation alone explains as much" in " ".join(summary["findings"])
    heads = (root / "selection_participants.tsv").read_text().splitlines()[0].split("\t")
    assert heads[-2:] == ["phase_randomized", "phase_randomized_over_mixture"]


def test_states_gain_more_than_stationary_data_and_surrogates_come_again_with_the_same_numbers(tmp_path):
    root, summary, _ = selected(tmp_path, "hmm", "--n_states", 3)
    gain = summary["settings"][0]["gain_over"]
    assert summary["states"] is True
    assert min(gain[name]["low"] for name in ("stationary_var", "phase_randomized")) > 0.5
    assert "which have no states" in summary["verdict"][0]
    before = (root / "selection.tsv").read_text()
    lost = root / "runs/n_states-3_seed-0_var-1/selection_run.json"
    first = json.loads(lost.read_text())["subjects"]
    lost.unlink()
    few = ("--seeds", 1, "--folds", FOLDS, "--n_jobs", 1, "--split_halves", "false", "--initialization.n_init", 1)
    places = ("hmm", tmp_path / "experiments", "selection", tmp_path / "store.hdf5", "signals")
    run_here("dynml_select_model.py", *places, "--grid", "model.n_states=3", *few)
    assert json.loads(lost.read_text())["subjects"] == first
    assert [row for row in before.splitlines() if "_var-" not in row] == [
        row for row in (root / "selection.tsv").read_text().splitlines() if "_var-" not in row
    ]
