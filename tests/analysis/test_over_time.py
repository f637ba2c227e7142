import numpy as np
import pytest
from scipy.stats import t as students_t
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dynml.analysis.over_time.classifiers import (
    balanced_accuracies,
    binned,
    by_participant,
    cross_validated_over_time,
    predicted_over_time,
)
from dynml.analysis.over_time.clusters import clusters_above, p_of_one_person


def trials(generator, n_trials, *, effect=2.0, n_times=6, where=slice(2, 4)):
    """Two classes that one channel tells apart at some samples."""
    classes = np.resize([0, 1], n_trials)
    signals = generator.normal(size=(n_trials, n_times, 3))
    signals[:, where, 1] += effect * (2 * classes - 1)[:, None]
    return signals, classes


def test_classifiers_of_each_sample_say_what_scikit_learn_says_sample_by_sample():
    generator = np.random.default_rng(0)
    (fitted_to, classes), (signals, _) = trials(generator, 41), trials(generator, 10)
    found = predicted_over_time(fitted_to, classes, signals)
    for fit in (0, 3):
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
        own = make_pipeline(StandardScaler(), lda).fit(fitted_to[:, fit], classes)
        for tried in (0, 2, 5):
            np.testing.assert_array_equal(found[fit, :, tried], own.predict(signals[:, tried]))


def test_the_course_is_high_where_the_classes_differ_and_classifiers_generalize_to_there_alone():
    generator = np.random.default_rng(1)
    (fitted_to, classes), (signals, truth) = trials(generator, 80), trials(generator, 80)
    names, scores, chance = by_participant(predicted_over_time(fitted_to, classes, signals), truth, ["a", "b"] * 40)
    assert names == []  # each of them has trials of one class
    people = ["a"] * 40 + ["b"] * 40
    names, scores, chance = by_participant(predicted_over_time(fitted_to, classes, signals), truth, people)
    assert (names, chance.tolist()) == (["a", "b"], [0.5, 0.5])
    mean = scores.mean(axis=0)
    assert mean[2:4, 2:4].min() > 0.9
    assert abs(np.delete(mean[2:4], [2, 3], axis=1) - 0.5).max() < 0.2


def test_held_out_groups_of_random_labels_are_told_by_chance():
    generator = np.random.default_rng(2)
    signals, groups = generator.normal(size=(120, 4, 30)), np.repeat(np.arange(6), 20)
    # A group's trials are alike in a way of their own: who has seen the group tells its labels.
    classes = generator.integers(0, 2, 120)
    found = cross_validated_over_time(signals, classes, groups)
    assert (found >= 0).all()
    assert abs(balanced_accuracies(found, classes).mean() - 0.5) < 0.06
    assert (cross_validated_over_time(signals, classes, np.zeros(120, int)) == -1).all()


def test_balanced_accuracies_are_those_of_scikit_learn():
    generator = np.random.default_rng(3)
    truth, predicted = generator.choice(3, size=50, p=[0.7, 0.2, 0.1]), generator.integers(0, 3, (50, 4))
    expected = [balanced_accuracy_score(truth, column) for column in predicted.T]
    np.testing.assert_allclose(balanced_accuracies(predicted.astype(np.int16), truth), expected)


def test_long_trials_are_averaged_and_what_was_not_observed_is_left_out():
    signals = np.arange(12.0).reshape(1, 12, 1)
    signals[0, 1] = np.nan
    means, width = binned(signals, most=4)
    assert width == 3
    np.testing.assert_allclose(means[0, :, 0], [1.0, 4.0, 7.0, 10.0])
    means, width = binned(np.full((1, 3, 2), np.nan))
    assert (width, means.sum()) == (1, 0.0)


def test_clusters_and_their_p_are_those_of_mne():
    mne = pytest.importorskip("mne")
    generator = np.random.default_rng(4)
    effects = 0.1 * generator.normal(size=(7, 12))
    effects[:, 4:8] += 0.12
    found = clusters_above(effects)
    _, clusters, p, _ = mne.stats.permutation_cluster_1samp_test(
        effects, threshold=students_t.isf(0.05, 6), n_permutations="all", tail=1, out_type="mask", verbose="error"
    )
    assert len(p) == len(found.p) > 0
    for number, (cluster, theirs) in enumerate(zip(clusters, p, strict=True), start=1):
        mask = np.zeros(12, bool)
        mask[cluster] = True
        np.testing.assert_array_equal(found.number == number, mask)
        assert found.p[number - 1] == pytest.approx(theirs, abs=0.02)


def test_an_effect_of_all_people_has_the_smallest_p_there_is_in_one_and_in_two_dimensions():
    generator = np.random.default_rng(5)
    for shape, where in (((6, 20), np.s_[:, 5:10]), ((6, 9, 9), np.s_[:, 3:6, 3:6])):
        effects = 0.02 * generator.normal(size=shape)
        effects[where] += 0.3
        found = clusters_above(effects)
        best = found.number[where[1:]]
        assert found.p_of_samples[where[1:]].max() == 2**-6
        assert (best == best.flat[0]).all()
    assert clusters_above(effects[:1]) is None


def test_noise_has_a_small_p_as_rarely_as_p_says():
    generator = np.random.default_rng(6)
    smallest = [clusters_above(generator.normal(size=(6, 15))).p.min(initial=1.0) for _ in range(60)]
    assert np.mean(np.array(smallest) <= 0.05) < 0.15


def test_one_person_is_tested_by_permuted_labels():
    generator = np.random.default_rng(7)
    (fitted_to, classes), (signals, truth) = trials(generator, 60), trials(generator, 40)
    predicted = np.diagonal(predicted_over_time(fitted_to, classes, signals), axis1=0, axis2=2)
    p = p_of_one_person(predicted, truth)
    assert p[2:4].max() < 0.01
    assert np.delete(p, [2, 3]).min() > 0.05
