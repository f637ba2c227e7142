"""From a trained HMM to spectra on disk, as a user runs it."""

import csv
import json

import numpy as np
import pytest
from resonating_signals import true_spectrum
from running_scripts import run_here
from spectra_runs import SPECTRA, made_store, switching_arrays, trained

from dynml import load_experiment


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spectra")
    arrays = switching_arrays(2)
    store = made_store(folder / "a", arrays, units="V")
    return folder, arrays, store, trained(folder, store)


@pytest.fixture(scope="module")
def results(work):
    folder, _, store, experiment = work
    done = run_here(SPECTRA, experiment, store, folder / "spectra")
    return done, folder / "spectra"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_arrays_are_those_of_the_contract_and_show_both_peaks(results):
    _, folder = results
    held = np.load(folder / "spectra.npz")
    n_frequencies = len(held["frequencies"])
    assert held["power"].shape == (2, 2, 4, n_frequencies)
    assert held["coherence"].shape == (2, 2, 4, 4, n_frequencies)
    assert held["group_power"].shape == (2, 4, n_frequencies)
    assert held["group_coherence"].shape == (2, 4, 4, n_frequencies)
    assert held["subjects"].tolist() == ["sub-0", "sub-1"]
    assert held["frequencies"][0] == 1
    assert held["frequencies"][-1] == 45
    peaks = sorted(held["frequencies"][own.mean(axis=0).argmax()] for own in held["group_power"])
    assert peaks == pytest.approx([10, 30], abs=1.5)
    slow = int(np.argmin([own.mean(axis=0).argmax() for own in held["group_power"]]))
    at_10 = np.searchsorted(held["frequencies"], 10)
    pairs = np.triu_indices(4, 1)
    assert held["group_coherence"][slow][pairs][:, at_10].mean() == pytest.approx(0.75, abs=0.1)
    ratio = held["group_power"][slow, :, at_10].mean() / held["group_power"][1 - slow, :, at_10].mean()
    assert ratio > 0.3 * true_spectrum([10], 10)[0] / (9 * true_spectrum([10], 30)[0])


def test_tables_hold_what_the_arrays_do_and_say_how_to_read_it(results):
    done, folder = results
    held, summary = np.load(folder / "spectra.npz"), json.loads((folder / "summary.json").read_text())
    assert summary["results"] == "spectra"
    assert summary["method"] == "multitaper"
    assert (summary["units_of_signals"], summary["units_of_power"]) == ("SD", "1/Hz")
    power = rows_of(folder / "band_power.tsv")
    assert len(power) == 2 * 2 * 5 * 4
    assert list(power[0]) == ["subject", "state", "band", "channel", "power"]
    total = sum(float(row["power"]) for row in power if row["subject"] == "sub-0" and row["state"] == "1")
    expected = np.trapezoid(held["power"][0, 0], held["frequencies"], axis=-1).sum()
    assert total == pytest.approx(expected, rel=1e-9)
    networks = rows_of(folder / "networks.tsv")
    assert list(networks[0]) == ["state", "band", "channel_1", "channel_2", "coherence"]
    assert len(networks) == 2 * 5 * 6
    sidecar = json.loads((folder / "networks.json").read_text())
    for about in (summary, sidecar):
        for state in about["states"]:
            assert state["mean_visit_s"] == pytest.approx(0.3, rel=0.2)
            assert state["resolution_Hz"] == pytest.approx(3.9, abs=0.1)
            assert 0.05 < state["coherence_floor"] < 0.3
    assert "coherence floor" in done.stdout
    assert {path.name for path in folder.iterdir()} >= {
        f"{name}.{ending}"
        for name in ("power_spectra", "coherence_spectra", "coherence_networks")
        for ending in ("png", "svg")
    }


def test_visits_under_a_quarter_of_a_second_choose_pairs(tmp_path):
    store = made_store(tmp_path / "a", switching_arrays(1, mean_visit=0.1))
    experiment = trained(tmp_path, store)
    run_here(SPECTRA, experiment, store, tmp_path / "out", "--bands", "ten=8-12", "thirty=25-35")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["method"] == "pairs"
    assert summary["longest_lag_s"] == 1
    assert {row["band"] for row in rows_of(tmp_path / "out" / "networks.tsv")} == {"ten", "thirty"}
    done = run_here(SPECTRA, experiment, store, tmp_path / "tapers", "--method", "multitaper")
    assert "--method pairs avoids this" in done.stdout


def test_signals_of_an_embedded_model_are_the_channels_and_the_model_has_spectra_of_its_own(work, tmp_path):
    _, _, store, _ = work
    experiment = trained(tmp_path, store, "tde", "--dataset.n_embeddings", 11, "--dataset.n_components", 12)
    run_here(SPECTRA, experiment, store, tmp_path / "out")
    held = np.load(tmp_path / "out" / "spectra.npz")
    assert held["power"].shape[2] == 4
    run_here(SPECTRA, experiment, store, tmp_path / "model", "--method", "model")
    model = np.load(tmp_path / "model" / "spectra.npz")
    assert model["power"].shape[:3] == (1, 2, 4)
    # 11 lags tell frequencies apart that are 42 Hz apart: the order of the states' centres is what is left.
    centres = [
        [(own.mean(axis=0) @ one["frequencies"]) / own.mean(axis=0).sum() for own in one["group_power"]]
        for one in (held, model)
    ]
    assert np.argmax(centres[0]) == np.argmax(centres[1])


def test_modes_of_dynemo_are_regressed_on_and_the_model_is_named(tmp_path):
    store = made_store(tmp_path / "a", switching_arrays(1, 3000))
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    sizes = ("--model.n_modes", 2, "--trainer.max_epochs", 1, "--model.sequence_length", 100)
    run_here("dynml_train_model.py", "dynemo", experiments, "modes", store, "signals", *sizes)
    run_here(SPECTRA, experiments / "modes", store, tmp_path / "out", "--bands", "ten=8-12")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["method"], summary["components"]) == ("regression", "modes")
    assert summary["condition_number"] >= 1
    assert summary["model_sha256"] == load_experiment(experiments / "modes").sha256
    held = np.load(tmp_path / "out" / "spectra.npz")
    assert held["power"].shape[:3] == (1, 2, 4)
    assert (held["power"] >= 0).all()


def test_bad_input_is_told_in_one_sentence(work, tmp_path):
    _, _, store, experiment = work
    for arguments, words in (
        ((tmp_path, store, tmp_path / "o1"), "no"),
        ((experiment, store, tmp_path / "o2", "--group", "parcels"), "parcels"),
        ((experiment, store, tmp_path / "o3", "--bands", "alpha"), "NAME=LOW-HIGH"),
        ((experiment, store, tmp_path / "o4", "--frequency_range", 1, 200), "half the sampling frequency"),
        ((experiment, store, tmp_path / "o5", "--method", "model"), "need a time-delay embedding"),
        (
            (experiment, store, tmp_path / "o6", "--window_length", 900, "--method", "multitaper"),
            "no subject has a stretch",
        ),
        ((experiment, store, tmp_path / "o7", "--subset", "testing"), "hold no subject"),
    ):
        done = run_here(SPECTRA, *arguments, status=2)
        assert words in done.stderr, done.stderr
        assert done.stderr.count("\n") <= 2
        assert not (tmp_path / arguments[2].name / "summary.json").exists()
