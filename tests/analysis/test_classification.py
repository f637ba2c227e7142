import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as oracle

from dynml.analysis.classification import (
    balanced_accuracy,
    bootstrap_interval,
    classification_metrics,
    confusion_matrix,
    macro_f1,
    share_per_group,
    wilson_interval,
)


@pytest.mark.parametrize(("n_correct", "n_trials"), [(0, 5), (1, 1), (7, 20), (20, 20), (258, 293)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_interval_agrees_with_scipy(n_correct, n_trials, confidence):
    expected = binomtest(n_correct, n_trials).proportion_ci(confidence_level=confidence, method="wilson")
    assert wilson_interval(n_correct, n_trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_scores_agree_with_scikit_learn_also_where_a_class_never_occurs_or_is_never_predicted():
    generator = np.random.default_rng(0)
    truth = generator.choice([0, 1, 2, 4], size=200, p=[0.6, 0.2, 0.15, 0.05])
    predicted = np.where(generator.random(200) < 0.5, truth, generator.integers(0, 4, 200))
    predicted[truth == 4] = 3
    counts = confusion_matrix(truth, predicted, 5)
    np.testing.assert_array_equal(counts, oracle.confusion_matrix(truth, predicted, labels=range(5)))
    recalls = [np.mean(predicted[truth == label] == label) for label in (0, 1, 2, 4)]
    assert balanced_accuracy(counts) == pytest.approx(np.mean(recalls))
    assert macro_f1(counts) == pytest.approx(oracle.f1_score(truth, predicted, average="macro", zero_division=0))


def test_scores_by_hand():
    counts = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], 3)
    np.testing.assert_array_equal(counts, [[2, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert balanced_accuracy(counts) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_f1(counts) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_scores_of_groups_keep_their_order_and_size():
    assert share_per_group([1, 0, 1, 1], ["b", "b", "a", "b"]) == {
        "b": {"accuracy": pytest.approx(2 / 3), "n_trials": 3},
        "a": {"accuracy": 1.0, "n_trials": 1},
    }


def test_bootstrap_draws_whole_groups_and_covers_their_spread_rather_than_that_of_trials():
    generator = np.random.default_rng(1)
    shares = generator.uniform(0.3, 0.9, size=40)
    values = np.concatenate([generator.random(200) < share for share in shares])
    groups = [f"p{number}" for number in np.repeat(np.arange(40), 200)]
    low, high = bootstrap_interval(values, groups, seed=3)
    assert (low, high) == bootstrap_interval(values, groups, seed=3)
    assert (low, high) != bootstrap_interval(values, groups, seed=4)
    # The truth: the mean of 40 shares has this standard error; Student's interval about it.
    means = values.reshape(40, 200).mean(axis=1)
    half = 2.0227 * means.std(ddof=1) / np.sqrt(40)
    assert low == pytest.approx(means.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(means.mean() + half, abs=0.1 * half)
    assert high - low > 3 * np.subtract(*reversed(wilson_interval(int(values.sum()), len(values))))


def test_bootstrap_weighs_groups_by_their_trials_and_of_few_groups_reaches_from_the_worst_to_the_best():
    assert bootstrap_interval([1, 1, 1, 0], ["a", "a", "a", "b"]) == (0.0, 1.0)
    assert bootstrap_interval([1, 0, 1, 1], ["a", "a", "b", "b"]) == (0.5, 1.0)
    assert bootstrap_interval([1, 0], ["a", "a"]) is None


def test_bootstrap_gives_large_groups_their_weight():
    values = np.concatenate([np.tile([1] * 9 + [0], 600), np.tile([0] * 9 + [1], 20)])
    groups = [f"large {k}" for k in np.repeat(np.arange(20), 300)] + [
        f"small {k}" for k in np.repeat(np.arange(20), 10)
    ]
    low, high = bootstrap_interval(values, groups)
    assert 0.8 < low < values.mean() < high < 0.9


def test_all_scores_at_once():
    found = classification_metrics([0, 0, 1, 2], [0, 1, 1, 1], ["face", "house", "new"], ["a", "a", "b", "b"])
    assert found["n_trials"] == 4
    assert found["n_participants"] == 2
    assert found["accuracy"] == 0.5
    assert found["accuracy_wilson_interval"] == list(wilson_interval(2, 4))
    assert found["accuracy_bootstrap_interval"] == [0.5, 0.5]
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["confusion_matrix"] == {
        "class_names": ["face", "house", "new"],
        "counts": [[1, 1, 0], [0, 1, 0], [0, 1, 0]],
    }
    assert found["per_participant"]["b"] == {"accuracy": 0.5, "n_trials": 2}
