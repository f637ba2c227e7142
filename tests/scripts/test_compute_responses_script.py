"""From a store with events to a table of responses, by the scripts."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from running_scripts import create_store, run_here

FOLDER = Path(__file__).parents[2] / "scripts_python"
RATE, N_ROWS = 100, 2000
SUBJECTS = tuple(f"sub-{number}" for number in range(7))


def write_events(folder, onsets, labels):
    lines = [f"{onset / RATE}\t0.1\t{label}" for onset, label in zip(onsets, labels)]
    (folder / "events.tsv").write_text("\n".join(["onset\tduration\ttrial_type", *lines]) + "\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two states of different variance; the loud one follows "target", and "other" comes without reason."""
    folder = tmp_path_factory.mktemp("responses")
    arrays = {}
    for number, subject in enumerate(SUBJECTS):
        generator = np.random.default_rng(number)
        onsets = np.sort(generator.choice(np.arange(60, N_ROWS - 100, 40), 24, replace=False))
        onsets += generator.integers(0, 12, 24)
        labels = generator.permutation(["target", "other"] * 12)
        loud = np.repeat(generator.random(N_ROWS // 20) < 0.3, 20)
        for onset in onsets[labels == "target"]:
            loud[onset + 5 : onset + 30] = True
        signals = generator.normal(size=(N_ROWS, 3)) * np.where(loud[:, None], [3.0, 3.0, 0.3], 1.0)
        if subject == "sub-3":
            signals[onsets[0] + 10 : onsets[0] + 40] = np.nan
        arrays[subject] = [signals.astype(np.float32)]
        (folder / "ready" / subject).mkdir(parents=True)
        if subject != "sub-6":
            write_events(folder / "ready" / subject, onsets, labels)
    write_events(folder / "ready" / "sub-6", [], [])
    subsets = {"training": SUBJECTS[:5], "validation": SUBJECTS[5:6], "testing": SUBJECTS[6:]}
    store = create_store(folder, arrays, subsets, run_by=run_here, events="events.tsv", missing="segment")
    settings = ("--model.n_states", 2, "--trainer.max_epochs", 15, "--initialization.n_init", 2)
    run_here("dynml_train_model.py", "hmm", folder, "model", store, "signals", *settings)
    return folder, store


@pytest.fixture
def in_process(monkeypatch):
    """Run a script in this process, which has torch at hand; gives the exit status."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(FOLDER / name), run_name="__main__")
        except SystemExit as end:
            return end.code
        return 0

    return run


@pytest.fixture
def compute(study, in_process):
    folder, store = study
    return lambda out, *further: in_process(
        "dynml_compute_responses.py", folder / "model", store, folder / out, *further
    )


def test_the_state_that_follows_an_event_is_found(study, compute, capsys):
    folder, _ = study
    arguments = ("--events", "trial_type", "--window", -0.3, 0.6, "--baseline", -0.3, -0.1, "--n_surrogates", 199)
    assert compute("out", *arguments) == 0
    said = capsys.readouterr().out
    table = pandas.read_csv(folder / "out" / "responses.tsv", sep="\t")
    assert list(table) == ["condition", "time", "state", "mean", "standard_error", "n_trials", "p"]
    assert len(table) == 2 * 90 * 2
    target = table[(table.condition == "target") & table.time.between(0.1, 0.25)]
    assert (target.p <= 0.05).all()
    loud = target.groupby("state")["mean"].mean().idxmax()
    assert target[target.state == loud]["mean"].min() > 0.3
    assert (table[table.condition == "other"].p > 0.05).all()
    assert (table[(table.condition == "target") & (table.time < -0.1)].p > 0.05).all()
    assert table.n_trials.max() == 72
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["results"] == "responses"
    assert summary["trials"]["sub-3"]["cut"] >= 1
    assert any("reach over a run's border or into a gap" in sentence for sentence in summary["findings"])
    assert "target: state" in said
    sidecar = json.loads((folder / "out" / "responses.json").read_text())
    assert sidecar["time"]["Units"] == "s"
    locking = pandas.read_csv(folder / "out" / "locking.tsv", sep="\t")
    assert set(locking.participant) == set(SUBJECTS[:6])
    # Of 2000 shifts of a short run, about 90 leave the response within the window.
    assert (locking[locking.condition == "target"].groupby("participant").p.min() <= 0.1).all()
    with np.load(folder / "out" / "responses.npz") as arrays:
        assert arrays["mean"].shape == (2, 90, 2)
        assert arrays["participant_means"].shape == (6, 2, 90, 2)
    trials = pandas.read_csv(folder / "out" / "trials.tsv", sep="\t")
    own = np.load(folder / "out" / "sub-0_trials.npy")
    assert own.shape == (24, 90, 2)
    mean = np.nanmean(own[(trials[trials.subject == "sub-0"].condition == "target").to_numpy()], axis=0)
    with np.load(folder / "out" / "responses.npz") as arrays:
        condition = arrays["conditions"].tolist().index("target")
        np.testing.assert_allclose(arrays["participant_means"][0, condition], mean, atol=1e-5)
    assert (folder / "out" / "responses.png").stat().st_size > 10_000
    assert (folder / "out" / "responses.svg").exists()


def test_events_of_all_conditions_can_be_one(study, compute):
    folder, _ = study
    options = ("--pooled", "--conditions", "target", "other", "--n_surrogates", 99, "--subset", "validation")
    assert compute("pooled", "--events", "trial_type", *options) == 0
    table = pandas.read_csv(folder / "pooled" / "responses.tsv", sep="\t", na_values="n/a")
    assert set(table.condition) == {"any event"}
    assert table.n_trials.max() == 24


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--events", "trial_tpye"), "trial_type"),
        (("--events", "trial_type", "--conditions", "targte"), "target"),
        (("--events", "trial_type", "--window", 1, 0), "--window is '1 0'"),
        (("--events", "trial_type", "--baseline", -2, -1), "--baseline is '-2 -1'"),
        (("--events", "trial_type", "--of", "features"), "no embeddings"),
        (("--events", "trial_type", "--n_surrogates", 3), "--n_surrogates is 3"),
        (("--events", "trial_type", "--subset", "testing"), "No window around an event"),
    ],
)
def test_mistakes_are_one_sentence(study, compute, arguments, words, capsys):
    assert compute("mistaken", *arguments) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1
    assert not any((study[0] / "mistaken").glob("[!.]*"))


def test_inference_writes_tables_that_agree_and_what_others_read(study, in_process, capsys):
    folder, store = study
    out, bids = folder / "states", folder / "derivative"
    options = ("--bids", bids, "--save_fif", "--alpha_format", "tsv", "mat", "--binarise", "argmax")
    assert in_process("dynml_infer_from_model.py", folder / "model", store, out, *options) == 0
    said = capsys.readouterr().out
    for command in ("dynml_compute_spectra.py", "dynml_compute_responses.py", "dynml_report.py"):
        assert f"Next: {command} {folder / 'model'}" in said, said
    assert f"{out}_responses --events trial_type" in said
    assert json.loads((out / "summary.json").read_text())["results"] == "inference"
    tables = {path.stem: pandas.read_csv(path, sep="\t", na_values="n/a") for path in out.glob("[!s]*.tsv")}
    tables["state_statistics"] = pandas.read_csv(out / "state_statistics.tsv", sep="\t", na_values="n/a")
    for name in ("visits", "transitions", "alpha_statistics", "windows", "on_off", "state_statistics"):
        assert set(json.loads((out / f"{name}.json").read_text())) >= set(tables[name])
    statistics, visits = tables["state_statistics"], tables["visits"]
    merged = visits.groupby(["subject", "state"]).lifetime.mean().reset_index()
    merged = merged.merge(statistics, on=["subject", "state"])
    np.testing.assert_allclose(merged.lifetime, merged.mean_lifetime, rtol=1e-5)
    on = tables["on_off"].merge(statistics, on=["subject", "state"])
    np.testing.assert_allclose(on.share_on, on.fractional_occupancy, rtol=1e-5)
    cut = visits[visits.subject == "sub-3"]
    assert cut.segment.max() == 2
    assert cut.censored.sum() == 4
    sums = tables["transitions"].groupby(["subject", "from"])[["probability", "expected_probability"]].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-9)
    series = pandas.read_csv(
        bids / "sub-3" / "sub-3_run-0_desc-hmm2_timeseries.tsv", sep="\t", na_values="n/a", keep_default_na=False
    )
    alpha = np.load(out / "sub-3_alpha.npy")
    np.testing.assert_allclose(series.to_numpy(), alpha, atol=1e-5)
    assert np.isnan(alpha).any()
    assert (out / "sub-3_alpha_raw.fif").exists()
    assert (bids / "desc-hmm2_transitions.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--bids", "mistaken"), "--bids is"),
        (("--statistics_window", -1), "--statistics_window is -1"),
        (("--binarise", "percentile", "--percentile", 100), "--percentile is 100"),
    ],
)
def test_mistaken_forms_are_one_sentence(study, in_process, options, words, capsys, monkeypatch):
    folder, store = study
    monkeypatch.chdir(folder)
    assert in_process("dynml_infer_from_model.py", "model", store, "mistaken", *options) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1
