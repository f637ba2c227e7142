"""From a store with events to a table of responses, by the scripts."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from running_scripts import create_store, run_script

SCRIPT = Path(__file__).parents[2] / "scripts_python" / "dynml_compute_responses.py"
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
    store = create_store(folder, arrays, subsets, events="events.tsv", missing="segment")
    settings = ("--model.n_states", 2, "--trainer.max_epochs", 15, "--initialization.n_init", 2)
    run_script("dynml_train_model.py", "hmm", folder, "model", store, "signals", *settings)
    return folder, store


@pytest.fixture
def compute(study, monkeypatch):
    """Run the script in this process, which has torch at hand; gives the exit status."""

    def run(out, *further):
        folder, store = study
        arguments = [SCRIPT.name, folder / "model", store, folder / out, *further]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            return end.code
        return 0

    return run


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
    assert (locking[locking.condition == "target"].groupby("participant").p.min() <= 0.05).sum() >= 5
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
