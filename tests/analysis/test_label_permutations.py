import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from dynml.analysis.label_permutations import chance_of_classes, chance_of_labels, chance_of_numbers
from dynml.analysis.number_scores import number_scores


def test_what_tells_people_apart_and_not_their_trials_is_chance_within_participants():
    # Two participants whose shares of classes differ: to answer by participant is right more often than not.
    people = ["a"] * 40 + ["b"] * 40
    truth = np.array([0] * 32 + [1] * 8 + [0] * 8 + [1] * 32)
    predicted = np.array([0] * 40 + [1] * 40)
    found = chance_of_classes(truth, predicted, people, people)
    assert found["accuracy"]["mean"] == pytest.approx(0.8)
    assert found["accuracy"]["p"] == 1.0


def test_predictions_that_know_the_trials_are_beyond_all_permutations_and_balanced_accuracy_is_scikit_learns():
    generator = np.random.default_rng(0)
    truth = generator.choice(3, size=90, p=[0.6, 0.3, 0.1])
    predicted = np.where(generator.random(90) < 0.8, truth, 0)
    runs = np.repeat(["r1", "r2", "r3"], 30).tolist()
    found = chance_of_classes(truth, predicted, ["one"] * 90, runs)
    assert found["within"] == "runs"
    assert found["balanced_accuracy"]["p"] == pytest.approx(1 / 1001)
    assert found["balanced_accuracy"]["mean"] == pytest.approx(1 / 3, abs=0.02)
    assert balanced_accuracy_score(truth, predicted) > found["balanced_accuracy"]["quantile_95"]


def test_p_is_uniform_where_predictions_know_nothing():
    generator = np.random.default_rng(1)
    p = []
    for _ in range(30):
        truth, predicted = generator.integers(0, 2, 60), generator.integers(0, 2, 60)
        p.append(chance_of_classes(truth, predicted, ["one"] * 60, ["run"] * 60)["accuracy"]["p"])
    assert 0.3 < np.mean(p) < 0.75  # ties make it a little larger than 0.5
    assert np.mean(np.array(p) <= 0.05) < 0.2


def test_runs_of_one_class_are_permuted_within_participants_and_people_of_one_class_not_at_all():
    people, runs = ["a"] * 8, ["r1"] * 4 + ["r2"] * 4
    truth = np.array([0] * 4 + [1] * 4)
    assert chance_of_classes(truth, truth, people, runs)["within"] == "participants"
    assert chance_of_classes(truth, truth, runs, runs) is None
    assert chance_of_numbers(np.ones(8), np.ones(8), people, runs) is None


def test_scores_of_numbers_are_those_of_scipy_and_scikit_learn_together_and_by_participant():
    generator = np.random.default_rng(2)
    truth = generator.normal(size=60) + np.repeat([0, 5, 10], 20)
    predicted = truth + generator.normal(size=60)
    people = np.repeat(["a", "b", "c"], 20).tolist()
    found = number_scores(truth, predicted, people)
    assert found["r_squared"] == pytest.approx(r2_score(truth, predicted))
    assert found["correlation"] == pytest.approx(pearsonr(truth, predicted).statistic)
    own = found["per_participant"]["b"]
    assert own["correlation"] == pytest.approx(pearsonr(truth[20:40], predicted[20:40]).statistic)
    assert own["r_squared"] == pytest.approx(r2_score(truth[20:40], predicted[20:40]))
    low, high = found["mean_correlation_interval"]
    assert low <= found["mean_correlation"] <= high
    assert chance_of_numbers(truth, predicted, people, people)["r_squared"]["p"] == pytest.approx(1 / 1001)


def test_scores_without_a_meaning_are_none():
    found = number_scores([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], ["a"] * 3)
    assert (found["r_squared"], found["correlation"], found["mean_correlation"]) == (None, None, None)


def test_labels_of_trials_are_permuted_together():
    generator = np.random.default_rng(3)
    marks = (generator.random((60, 3)) < [0.5, 0.3, 0.2]).astype(float)
    people, runs = ["a"] * 30 + ["b"] * 30, [str(number // 15) for number in range(60)]
    good = marks + generator.normal(size=marks.shape)
    found = chance_of_labels(marks, good, people, runs)
    assert found["within"] == "runs"
    assert found["macro_auc"]["p"] == pytest.approx(1 / 1001)
    assert found["macro_auc"]["mean"] == pytest.approx(0.5, abs=0.03)
    noise = generator.normal(size=marks.shape)
    assert chance_of_labels(marks, noise, people, runs)["macro_auc"]["p"] > 0.01
    alone = chance_of_labels(marks, noise, people, [str(number) for number in range(60)])
    assert alone["within"] == "participants"
    drawn = [roc_auc_score(marks[_within(generator)], noise) for _ in range(60)]
    assert alone["macro_auc"]["mean"] == pytest.approx(np.mean(drawn), abs=0.02)
    assert alone["macro_auc"]["quantile_95"] == pytest.approx(np.quantile(drawn, 0.95), abs=0.03)
    assert chance_of_labels(np.ones((60, 1)), noise[:, :1], people, runs) is None


def _within(generator):
    return np.concatenate([generator.permutation(30), 30 + generator.permutation(30)])
