"""The three sentences say what the numbers say, whoever wins."""

import copy

import pytest
from report_making import HMM_SUMMARY, made_experiment, made_inference, parameters_of

from dynml.report.experiment import read_reported_experiment
from dynml.report.inferred import read_inferred
from dynml.report.results import find_results
from dynml.report.verdict import asked, found, trusted


def experiment_of(folder, **changes):
    parameters = changes.pop("parameters", None)
    summary = {**copy.deepcopy(HMM_SUMMARY), **changes}
    return read_reported_experiment(made_experiment(folder / "run", summary, parameters))


def test_a_model_that_wins_is_told_beside_its_best_baseline(tmp_path):
    sentence = found(experiment_of(tmp_path))
    assert "On 1 recording that it was not fitted to (validation) its free energy is 3.000 nats per sample" in sentence
    assert "0.25 nats below its best baseline (a mixture of Gaussians: 3.250)" in sentence


def test_a_baseline_that_wins_is_told(tmp_path):
    baselines = {"gaussian": {"training": 3.5, "validation": 2.9}, "gaussian_mixture": None}
    sentence = found(experiment_of(tmp_path, baselines=baselines))
    assert "no better than its best baseline (one Gaussian: 2.900), so that its states explain nothing" in sentence


def test_numbers_that_differ_late_have_the_decimals_that_it_takes(tmp_path):
    baselines = {"gaussian": {"training": 3.5, "validation": 2.99996}}
    assert (
        "3.00000 nats per sample (lower is better), no better than its best baseline (one Gaussian: 2.99996)"
        in found(experiment_of(tmp_path, baselines=baselines))
    )
    same = {"gaussian": {"training": 3.5, "validation": 3.0}}
    assert "as good as its best baseline" in found(experiment_of(tmp_path / "same", baselines=same))


def test_without_held_out_data_nothing_is_claimed_of_new_recordings(tmp_path):
    sentence = found(experiment_of(tmp_path, free_energy={"training": 2.5, "validation": None}))
    assert "No recordings were held out" in sentence
    assert "2.500 nats per sample" in sentence


def test_the_testing_score_comes_from_the_inference(tmp_path):
    experiment = experiment_of(tmp_path)
    results = find_results(made_inference(tmp_path / "states", experiment.path), experiment)
    assert found(experiment, results).endswith("; on 1 testing recording it is 3.100.")


def test_a_sequence_model_is_told_by_the_share_of_the_baseline(tmp_path):
    changes = {"free_energy": None, "score": {"training": 0.4, "validation": 0.45}, "loss": "l1"}
    baselines = {"zero": {"training": 1, "validation": 0.6}, "ar1": {"training": 0.6, "validation": 0.5}, "pca": None}
    parameters = parameters_of("csm", model={})
    experiment = experiment_of(tmp_path, **changes, baselines=baselines, parameters=parameters)
    assert "10.0 % below its best baseline (autoregression of each channel: 0.500)" in found(experiment)
    assert "how well can a sample be predicted from those before it?" in asked(experiment)


def test_a_score_that_is_the_baselines_in_all_decimals_is_as_good(tmp_path):
    changes = {"free_energy": None, "score": {"validation": 0.45 - 1e-9}, "loss": "l1"}
    parameters = parameters_of("csm", model={})
    experiment = experiment_of(tmp_path, **changes, baselines={"zero": {"validation": 0.45}}, parameters=parameters)
    assert "as good as its best baseline (" in found(experiment)
    assert "so that it has learnt nothing beyond that" in found(experiment)


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.8, "more than"), (0.5, "no more than")])
def test_a_decoder_is_told_with_its_interval(tmp_path, accuracy, verdict):
    from dynml.report.results import ResultsFolder

    metrics = {
        "subset": "testing",
        "n_trials": 20,
        "n_participants": 2,
        "accuracy": accuracy,
        "accuracy_wilson_interval": [0.3, 0.9],
        "most_frequent_share": 0.5,
        "baselines": {"linear": {"accuracy": 0.7}, "majority": {"accuracy": None}},
    }
    model = {"target": "trial_type", "class_names": ["face", "house"]}
    experiment = experiment_of(tmp_path, parameters=parameters_of("decoding", model=model))
    sentence = found(experiment, [ResultsFolder(tmp_path, "decoding", metrics)])
    assert sentence.startswith(f"Of 20 testing trials of 2 participants it names the class of {100 * accuracy:.1f} %")
    assert f"(95 % interval 30.0 % to 90.0 %), {verdict} its best baseline (linear classifier: 70.0 %)" in sentence
    assert "can trial_type (face and house) be told from the signals?" in asked(experiment)


@pytest.mark.parametrize(
    ("values", "own_loss", "question", "score"),
    [
        (
            "numbers",
            "squared_error",
            "can age be predicted from",
            "its R² is 0.300, 0.20 better than its best baseline",
        ),
        (
            "labels",
            "binary_cross_entropy",
            "can the labels of age (a and b) be told",
            "ROC curve is 0.300, 0.20 better",
        ),
        ("classes", "cross_entropy", "can age (a and b) be told", "its accuracy is 30.0 %, 20.0 points better"),
    ],
)
def test_scores_of_decoders_are_told_as_what_they_are(tmp_path, values, own_loss, question, score):
    summary = {
        "family": "decoding",
        "loss": own_loss,
        "score": {"training": 0.4, "validation": 0.3},
        "baselines": {"linear": {"training": 0.4, "validation": 0.1}},
    }
    names = [] if values == "numbers" else ["a", "b"]
    model = {"target": "age", "target_values": values, "class_names": names}
    folder = made_experiment(tmp_path / "run", summary, parameters_of("decoding", model=model))
    experiment = read_reported_experiment(folder)
    assert question in asked(experiment)
    sentence = found(experiment, [])
    assert score in sentence
    assert ("linear regression" if values == "numbers" else "linear classifier") in sentence


def test_starts_findings_and_states_that_never_occur_limit_the_trust(tmp_path):
    experiment = experiment_of(tmp_path)
    assert trusted(experiment, []).startswith("2 of 3 starts found the same states; the checks at the end")
    results = find_results(made_inference(tmp_path / "states", experiment.path, shares=(1.0, 0.0)), experiment)
    never = read_inferred(results[0]).never_visited
    assert never == [2]
    sentence = trusted(experiment, ["one", "two"], never)
    assert "state 2 is never the most probable one; 2 findings below should be read" in sentence


def test_starts_that_disagree_and_a_single_one_are_told(tmp_path):
    starts = copy.deepcopy(HMM_SUMMARY["starts"])
    starts[2]["divergence_from_best"] = 0.5
    assert "None of the other 2 starts found the same states" in trusted(experiment_of(tmp_path, starts=starts), [])
    assert "Only one start was made" in trusted(experiment_of(tmp_path / "one", starts=starts[:1]), [])


def test_a_split_by_runs_says_nothing_of_new_people(tmp_path):
    parameters = parameters_of()
    parameters["dataset"]["split"] = "runs"
    assert "nothing is said about new people" in trusted(experiment_of(tmp_path, parameters=parameters), [])


def test_the_question_names_the_data(tmp_path):
    assert asked(experiment_of(tmp_path)) == (
        "A hidden Markov model with 2 states was fitted to 2 recordings of 2 participants (3 channels, 100 Hz, 4 s in "
        "all): which means and covariances come back again and again, and when?"
    )
