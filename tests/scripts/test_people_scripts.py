"""Comparison and prediction of people by their scripts' functions: files, findings and mistakes."""

import csv
import json
import sys

import h5py
import numpy as np
import pytest

from dynml.analysis.prediction.people import People, Result
from dynml.analysis.prediction.scores import Scores
from dynml.cli.commands.groups.compare_groups import parse_comparison, run_comparison
from dynml.cli.commands.groups.predict_participants import parse_prediction, run_prediction
from dynml.cli.outputs.features import opened_output
from dynml.cli.outputs.people.prediction import _findings
from dynml.errors import DynmlError


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Sixteen people in two sessions: patients have more of state 2, and all have more of it in session 2."""
    generator = np.random.default_rng(0)
    people, rows = ["participant_id\tgroup\tage\tsite\tsame"], ["subject\tstate\toccupancy\tlifetime\tconstant"]
    for number in range(16):
        age = "n/a" if number == 5 else int(generator.integers(20, 60))
        group = ("control", "patient")[number // 8]
        people.append(f"sub-{number + 1:02d}\t{group}\t{age}\t{'AB'[number % 2]}\tx")
        for session in (1, 2):
            for state in (1, 2):
                share = 0.3 + 0.2 * (group == "patient") * (state == 2) + 0.1 * session * (state == 2)
                lifetime = "n/a" if (number, state) == (3, 1) else f"{generator.normal():.4f}"
                share += 0.03 * generator.normal()
                rows.append(f"sub-{number + 1:02d}_ses-{session}\t{state}\t{share:.4f}\t{lifetime}\t1")
    (tmp_path / "participants.tsv").write_text("\n".join(people) + "\n")
    (tmp_path / "table.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(monkeypatch, *arguments):
    few = ["--n_permutations", "199"]
    monkeypatch.setattr(sys, "argv", ["dynml_compare_groups.py", "table.tsv", "participants.tsv", *arguments, *few])
    run_comparison(parse_comparison("Compare."))


def rows_of(path):
    return list(csv.DictReader(path.open(), delimiter="\t"))


def test_groups_are_compared_by_participants_and_all_that_was_left_out_is_named(tables, monkeypatch):
    compare(monkeypatch, "group + age", "out")
    rows, summary = rows_of(tables / "out/comparison.tsv"), json.loads((tables / "out/summary.json").read_text())
    found = {(row["term"], row["measure"]): row for row in rows}
    assert len(rows) == 2 * 4
    assert float(found["group", "occupancy, state 2"]["p_corrected"]) == 0.005
    assert found["group", "occupancy, state 2"]["state"] == "2"
    assert float(found["group", "occupancy, state 2"]["coefficient"]) == pytest.approx(0.2, abs=0.05)
    assert found["group", "lifetime, state 1"]["n"] == "14"
    said = " ".join(summary["findings"])
    for words in ("sub-06", "averaged", "constant, state 1", "lifetime, state 1 (n = 14)", "occupancy, state 2: d ="):
        assert words in said
    assert summary["results"] == "comparison"
    for picture in summary["pictures"]:
        assert (tables / "out" / picture["path"]).stat().st_size > 3000
    sidecar = json.loads((tables / "out/comparison.json").read_text())
    assert set(rows[0]) <= set(sidecar)


def test_a_change_between_sessions_is_tested_by_sign_flips_and_within_people(tables, monkeypatch):
    compare(monkeypatch, "1", "paired", "--paired", "session")
    compare(monkeypatch, "session", "within", "--sessions", "separate", "--within", "participant_id")
    for folder, term in (("paired", "Intercept"), ("within", "session")):
        row = next(row for row in rows_of(tables / folder / "comparison.tsv") if row["measure"] == "occupancy, state 2")
        assert row["term"] == term
        assert float(row["p_corrected"]) <= 0.05
        assert float(row["coefficient"]) == pytest.approx(0.1, abs=0.03)
    assert "sign flips" in " ".join(json.loads((tables / "paired/summary.json").read_text())["findings"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grup", "out"], "did you mean 'group'"),
        (["group + same", "out"], "'x' for all"),
        (["age + I(2 * age)", "out"], "rank-deficient"),
        (["group", "out", "--sessions", "separate"], "give --within participant_id"),
        (["group", "out", "--within", "town"], "--within names 'town'"),
        (["group", "out", "--whole", "same"], "Nothing can be exchanged"),
        (["group", "out", "--measures", "rate"], "no column 'rate'"),
        (["group", "out", "--test", "age"], "--test names 'age'"),
        (["group", "out", "--measures", "constant"], "No measure of"),
        (["1", "out", "--paired", "group"], "needs|both"),
    ],
)
def test_mistakes_are_told_in_one_sentence(tables, monkeypatch, arguments, words):
    with pytest.raises(DynmlError, match=words):
        compare(monkeypatch, *arguments)
    assert not (tables / "out/comparison.tsv").exists()


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("participants.tsv", "sub-01\tcontrol\t30\tA\tx", "sub-01 2 times"),
        ("table.tsv", "sub-01_ses-1\t1\t0.1\t0.2\t1", "two rows of sub-01_ses-1, state 1|two rows of"),
        ("table.tsv", "sub-01_ses-3\t1\tmuch\t0.2\t1", "'much' in the column|two rows of"),
    ],
)
def test_tables_with_someone_twice_or_words_for_numbers_are_refused(tables, monkeypatch, file, line, words):
    path = tables / file
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DynmlError, match=words):
        compare(monkeypatch, "group", "out", "--measures", "occupancy")


def test_one_participant_is_too_few(tables, monkeypatch):
    path = tables / "participants.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(DynmlError, match="at least two are needed"):
        compare(monkeypatch, "group", "out")


def predict(monkeypatch, *arguments):
    few = ["--n_permutations", "99", "--n_repeats", "1"]
    monkeypatch.setattr(
        sys, "argv", ["dynml_predict_participants.py", "table.tsv", "participants.tsv", *arguments, *few]
    )
    run_prediction(parse_prediction("Predict."))


def test_classes_are_predicted_in_people_left_out(tables, monkeypatch):
    predict(monkeypatch, "group", "out", "--confounds", "site")
    summary = json.loads((tables / "out/summary.json").read_text())
    assert summary["scores"]["occupancy"]["balanced_accuracy"] > 0.9
    assert summary["scores"]["occupancy"]["p"] == 0.01
    assert summary["results"] == "prediction"
    rows = rows_of(tables / "out/predictions.tsv")
    assert {row["participant"] for row in rows} == {f"sub-{number:02d}" for number in range(1, 17)}
    assert {row["features"] for row in rows} == {"occupancy", "lifetime", "all", "confounds"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["agee", "out"], "did you mean 'age'"),
        (["same", "out"], "the same for all"),
        (["group", "out", "--groups", "site"], "2 \\(16 participants\\)"),
        (["group", "out", "--n_folds", "1"], "--n_folds is 1"),
        (["group", "out", "--measures", "constant"], "No feature \\(constant\\) varies"),
    ],
)
def test_predictions_that_cannot_be_made_are_refused(tables, monkeypatch, arguments, words):
    with pytest.raises(DynmlError, match=words):
        predict(monkeypatch, *arguments)
    assert not (tables / "out/predictions.tsv").exists()


def test_a_folder_of_inference_gives_covariances_and_the_report_its_table(tables, monkeypatch):
    from dynml.report.parts.people import people_tables
    from dynml.report.results import ResultsFolder

    generator, folder = np.random.default_rng(1), tables / "inferred"
    folder.mkdir()
    (folder / "state_statistics.tsv").write_text((tables / "table.tsv").read_text())
    (folder / "summary.json").write_text(json.dumps({"subjects_seen_in_training": {"training": ["sub-01_ses-1"]}}))
    for number in range(16):
        for session in (1, 2):
            roots = generator.normal(size=(2, 2, 20)) * np.array([1, 1 + 2 * (number >= 8)])[:, None]
            name = f"sub-{number + 1:02d}_ses-{session}_covariances.npy"
            np.save(folder / name, roots @ roots.transpose(0, 2, 1) / 20)
    few = ["--n_permutations", "99", "--n_repeats", "1"]
    arguments = ["dynml_predict_participants.py", "inferred", "participants.tsv", "group", "out", *few]
    monkeypatch.setattr(sys, "argv", arguments)
    run_prediction(parse_prediction("Predict."))
    summary = json.loads((tables / "out/summary.json").read_text())
    assert summary["scores"]["covariances"]["balanced_accuracy"] > 0.9
    assert "trained on 1 of the subjects" in " ".join(summary["findings"])
    shown = people_tables(ResultsFolder(tables / "out", "prediction", summary))[0].rows
    assert ["covariances", "8"] in [row[:2] for row in shown]


@pytest.mark.parametrize("form", ["folder", "file"])
def test_embeddings_of_a_sequence_model_predict_who_has_them(tables, monkeypatch, form):
    generator = np.random.default_rng(3)
    names = [f"sub-{number:02d}" for number in range(1, 17)]
    vectors = {name: generator.normal(size=(6, 4)).astype("f4") for name in names}
    for number, name in enumerate(names):
        vectors[name][:, 2] += 5 * (number >= 8)
        vectors[name][0] = np.nan  # a window that the model says nothing of
    summary = {"results": "features", "subjects_seen_in_training": {"training": names[:3]}}
    if form == "folder":
        (tables / "features").mkdir()
        for name in names:
            np.save(tables / f"features/{name}_embeddings.npy", vectors[name])
        (tables / "features/summary.json").write_text(json.dumps(summary))
        path = "features"
    else:
        path = "features.hdf5"
        with opened_output(tables / path, force=False) as output:
            columns = {"subject": [name for name in names for _ in range(6)]}
            output.embeddings("window", np.concatenate(list(vectors.values())), columns, ())
            output.summary(summary)
    few = ["--n_permutations", "99", "--n_repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["dynml_predict_participants.py", path, "participants.tsv", "group", "out", *few])
    run_prediction(parse_prediction("Predict."))
    written = json.loads((tables / "out/summary.json").read_text())
    assert written["scores"]["embeddings"]["balanced_accuracy"] > 0.9
    assert any("trained on 3 of the subjects" in finding for finding in written["findings"])


def test_a_store_is_no_file_of_embeddings(tables, monkeypatch):
    with h5py.File(tables / "store.hdf5", "w") as file:
        file["subject"] = 1
    monkeypatch.setattr(
        sys, "argv", ["dynml_predict_participants.py", "store.hdf5", "participants.tsv", "group", "out"]
    )
    with pytest.raises(DynmlError, match="holds no embeddings"):
        run_prediction(parse_prediction("Predict."))


@pytest.mark.parametrize(
    ("confounds", "classes", "words"),
    [
        (0.05, [], "alone reach r = 0.05 for"),
        (0.003, [], "alone reach r = 0.003 for"),
        (-0.09, [], r"do not predict the target as it is either (r = -0.09)"),
        (0.0, [], "they predict the same for everybody"),
        (0.45, ["a", "b"], "do not predict the target as it is either (balanced accuracy = 0.45)"),
    ],
)
def test_confounds_are_said_to_reach_only_what_is_better_than_chance(confounds, classes, words):
    scores = {"table": -0.2 if not classes else 0.4, "confounds": confounds}
    results = [Result(name, 1, None, Scores(own, (-1.0, 1.0), 0.8, {"r2": 0.1}), None) for name, own in scores.items()]
    people = People(["s"], "age", ["1"], classes, np.zeros((1, 1)), ("sex",), np.zeros(1, dtype=int))
    assert words in list(_findings(people, results))[-1]
