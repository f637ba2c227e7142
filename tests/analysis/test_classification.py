from statistics import NormalDist

import numpy as np
import pytest

from dynml.analysis.classification import bootstrap_interval, classification_metrics, share_per_group, wilson_interval
from dynml.ops.metrics import balanced_accuracy, balanced_accuracy_chance


@pytest.mark.parametrize(("n_correct", "n_trials"), [(0, 5), (1, 1), (7, 20), (20, 20), (258, 293)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_shares_at_the_ends_of_the_wilson_interval_are_z_standard_errors_from_what_was_found(
    n_correct, n_trials, confidence
):
    z, found = NormalDist().inv_cdf(0.5 + confidence / 2), n_correct / n_trials
    low, high = wilson_interval(n_correct, n_trials, confidence)
    assert 0 <= low <= found <= high <= 1
    for share in (low, high):
        assert abs(found - share) == pytest.approx(z * np.sqrt(share * (1 - share) / n_trials), abs=1e-9)


def test_scores_count_classes_by_hand_also_where_one_never_occurs_or_is_never_predicted():
    generator = np.random.default_rng(0)
    truth = generator.choice([0, 1, 2, 4], size=200, p=[0.6, 0.2, 0.15, 0.05])
    predicted = np.where(generator.random(200) < 0.5, truth, generator.integers(0, 4, 200))
    predicted[truth == 4] = 3
    found = classification_metrics(truth, predicted, "abcdef", ["p"] * 200)
    counts = [[int(np.sum((truth == row) & (predicted == column))) for column in range(6)] for row in range(6)]
    assert found["confusion_matrix"]["counts"] == counts
    hits = [counts[label][label] for label in range(5)]
    n_true, n_predicted = np.sum(counts, axis=1), np.sum(counts, axis=0)
    recalls = [hits[label] / n_true[label] for label in (0, 1, 2, 4)]
    assert found["balanced_accuracy"] == balanced_accuracy(truth, predicted) == pytest.approx(np.mean(recalls))
    f1_of_classes = [2 * hits[label] / (n_true[label] + n_predicted[label]) for label in range(5)]
    assert found["f1_macro"] == pytest.approx(np.mean(f1_of_classes))


def test_no_trials_have_no_balanced_accuracy():
    assert balanced_accuracy([], []) is None
    assert balanced_accuracy_chance([]) is None


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
    assert found["confusion_intervals"][0][0] == list(wilson_interval(1, 2))
    assert found["confusion_intervals"][1][1] == list(wilson_interval(1, 1))
