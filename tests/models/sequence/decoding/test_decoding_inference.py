import csv
import json

import numpy as np
import pytest
from decoding_data import TRIAL, dataset_of, recording, trainer_of

from dynml import MultiSubjectDataset, load_experiment
from dynml.cli.outputs.decoding import write_decoding
from dynml.errors import DataError, DataWarning

SETTINGS = {"max_epochs": 8, "learning_rate": 0.02, "warmup_steps": 2}


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained decoder, its data and its folder."""
    folder = tmp_path_factory.mktemp("decoding")
    dataset = dataset_of(4, 1, 2)
    trainer_of(dataset, folder, trainer=SETTINGS, backbone="linear").train_and_validate()
    return dataset, folder / "run"


def test_every_testing_trial_comes_once_with_its_place_and_its_probabilities(run, tmp_path):
    dataset, path = run
    line = write_decoding(load_experiment(path), dataset, ["testing"], tmp_path)
    rows = table(tmp_path / "predictions.tsv")
    assert list(rows[0]) == [
        *("participant", "subject", "run", "trial", "truth", "predicted"),
        *("probability_face", "probability_house"),
    ]
    assert len(rows) == 2 * 2 * 8
    assert len({(row["subject"], row["run"], row["trial"]) for row in rows}) == len(rows)
    subject = dataset.testing_set.subjects[0]
    events = dataset.signal_source.events(subject, dataset.group)
    truth = [events.names["stimulus"][code] for code in events.labels["stimulus"]]
    assert [row["truth"] for row in rows if row["subject"] == subject] == truth
    for row in rows:
        probabilities = {name: float(row[f"probability_{name}"]) for name in ("face", "house")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(probabilities, key=probabilities.get)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    correct = [row["truth"] == row["predicted"] for row in rows]
    assert metrics["accuracy"] == pytest.approx(np.mean(correct))
    assert metrics["accuracy"] > 0.85
    assert metrics["n_trials"] == 32
    assert metrics["subset"] == "testing"
    assert metrics["split"] == "participants"
    assert metrics["majority"] == 0.5
    assert metrics["per_participant"].keys() == {"sub-f", "sub-g"}
    assert metrics["subjects_seen_in_training"] == []
    assert np.sum(metrics["confusion_matrix"]["counts"]) == 32
    assert metrics["accuracy_wilson_interval"][0] < metrics["accuracy"] < metrics["accuracy_wilson_interval"][1]
    assert (tmp_path / "confusion_matrix.png").read_bytes()[:4] == b"\x89PNG"
    assert "32 trials decoded; testing accuracy" in line


def test_baselines_are_compared_on_the_same_trials(run, tmp_path):
    dataset, path = run
    write_decoding(load_experiment(path), dataset, ["testing"], tmp_path)
    rows, own = table(tmp_path / "baseline_predictions.tsv"), table(tmp_path / "predictions.tsv")
    metrics = json.loads((tmp_path / "metrics.json").read_text())["baselines"]
    assert set(metrics) == {"majority", "linear", "functional_connectivity"}
    for name, scores in metrics.items():
        accuracy = np.mean([row[name] == row["truth"] for row in rows])
        assert scores["accuracy"] == pytest.approx(accuracy)
        gain = np.mean([row["predicted"] == row["truth"] for row in own]) - accuracy
        assert scores["difference"] == pytest.approx(gain)
        assert scores["difference_interval"][0] <= gain <= scores["difference_interval"][1]
        assert scores["interval_over"] == "participants"
        for participant, share in scores["per_participant"].items():
            of_person = [row[name] == row["truth"] for row in rows if row["participant"] == participant]
            assert share == {"accuracy": pytest.approx(np.mean(of_person)), "n_trials": len(of_person)}


def test_all_subsets_at_once_lead_with_the_newest(run, tmp_path):
    dataset, path = run
    write_decoding(load_experiment(path), dataset, ["training", "validation", "testing"], tmp_path)
    assert len(table(tmp_path / "predictions.tsv")) == 7 * 16
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {name: own["n_trials"] for name, own in metrics["subsets"].items()} == {
        "training": 64,
        "validation": 16,
        "testing": 32,
    }
    assert metrics["accuracy"] == metrics["subsets"]["testing"]["accuracy"]
    assert (tmp_path / "confusion_matrix_training.png").exists()
    summary = json.loads((path / "summary.json").read_text())
    assert metrics["subsets"]["validation"]["accuracy"] == pytest.approx(summary["accuracy"]["validation"])
    assert metrics["subsets"]["validation"]["baselines"]["linear"]["accuracy"] == pytest.approx(
        summary["baselines"]["linear"]["validation"]
    )


def test_other_data_have_no_baselines_and_a_class_that_was_never_trained_counts_as_wrong(run, tmp_path):
    _, path = run
    classes = ("house", "face", "animal", "animal")
    other = MultiSubjectDataset.from_arrays([], [], {"new": recording(77, classes=classes, n_runs=1)})
    write_decoding(load_experiment(path), other, ["testing"], tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["baselines"] == {}
    assert metrics["confusion_matrix"]["class_names"] == ["face", "house", "animal"]
    assert metrics["confusion_matrix"]["counts"][2][2] == 0
    assert sum(metrics["confusion_matrix"]["counts"][2]) == 4
    assert metrics["accuracy"] <= 0.5
    assert metrics["accuracy_bootstrap_interval"] is None
    assert not (tmp_path / "baseline_predictions.tsv").exists()


def test_subjects_that_the_decoder_learnt_from_are_named(run, tmp_path):
    _, path = run
    swapped = MultiSubjectDataset.from_arrays([recording(9)], [], {"sub-a": recording(0)})
    with pytest.warns(DataWarning, match="1 of 1 testing subjects \\(sub-a\\)"):
        write_decoding(load_experiment(path), swapped, ["testing"], tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["subjects_seen_in_training"] == ["sub-a"]


def test_constant_answers_are_those_of_the_training_and_those_of_the_scored_trials(run, tmp_path):
    _, path = run
    # The training trials tie between two classes, of which the first is the rarer one here: 1 trial in 4.
    mostly_house = recording(9, classes=("house", "house", "house", "face"))
    other = MultiSubjectDataset.from_arrays([], [], {"new": mostly_house})
    line = write_decoding(load_experiment(path), other, ["testing"], tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    truth = [row["truth"] for row in table(tmp_path / "predictions.tsv")]
    assert metrics["majority_tied_classes"] == ["face", "house"]
    assert metrics["majority_class"] == "face"
    assert metrics["majority"] == truth.count("face") / len(truth) == 0.25
    assert metrics["most_frequent_classes"] == ["house"]
    assert metrics["most_frequent_share"] == truth.count("house") / len(truth) == 0.75
    assert metrics["balanced_accuracy_chance"] == 0.5
    assert "training's most frequent class 0.250, always the testing subset's own 0.750" in line
    assert "(chance 0.500)" in line


def test_a_class_that_no_scored_trial_has_is_named_with_what_scores_then_are(run, tmp_path):
    _, path = run
    other = MultiSubjectDataset.from_arrays([], [], {"new": recording(9, classes=("house",))})
    with pytest.warns(DataWarning, match=r"No testing trial is of the class face: .* the one class .*chance 1\)"):
        write_decoding(load_experiment(path), other, ["testing"], tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["findings"]) == 1
    found = np.mean([row["predicted"] == "house" for row in table(tmp_path / "predictions.tsv")])
    assert metrics["balanced_accuracy"] == pytest.approx(found)
    assert metrics["f1_macro"] == pytest.approx(found / (1 + found) if found < 1 else 1)  # face counts as 0


def test_a_class_that_no_validation_trial_has_is_a_finding_of_the_run(tmp_path):
    validation = recording(9, classes=("house", "animal"))
    classes = ("house", "face", "animal")
    dataset = MultiSubjectDataset.from_arrays([recording(seed, classes=classes) for seed in range(2)], [validation])
    trainer = trainer_of(dataset, tmp_path, trainer=SETTINGS | {"max_epochs": 1}, backbone="linear")
    trainer.train_and_validate()
    said = json.loads((tmp_path / "run" / "summary.json").read_text())["findings"]
    assert len([one for one in said if "No validation trial is of the class face: balanced" in one]) == 1
    assert len([one for one in said if "mean over the 2 classes that occur (chance 0.5)" in one]) == 1


def test_a_subset_without_trials_is_refused(run, tmp_path):
    _, path = run
    with pytest.raises(DataError, match="no trials of stimulus in the testing subset"):
        write_decoding(load_experiment(path), dataset_of(2, 1, 0), ["testing"], tmp_path)


def test_classes_are_told_at_each_sample_of_everybodys_trials(run, tmp_path):
    dataset, path = run
    line = write_decoding(load_experiment(path), dataset, ["training", "testing"], tmp_path, over_time=True)
    assert "Over time" in line
    found = np.load(tmp_path / "generalization_over_time.npz")
    assert found["scores"].shape == (len(found["participants"]), TRIAL, TRIAL)
    assert set(found["participants"]) == {f"sub-{name}" for name in "abcdfg"}
    about = json.loads((tmp_path / "metrics.json").read_text())["over_time"]
    assert about["smallest_possible_p"] == 2**-6
    assert about["highest_balanced_accuracy"] > 0.6
    assert (tmp_path / "decoding_over_time.png").read_bytes()[:4] == b"\x89PNG"
