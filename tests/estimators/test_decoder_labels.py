"""What y may be for a decoder, and what is said of the rest."""

import numpy as np
import pandas
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from dynml import Decoder
from dynml.errors import ConfigurationError, DataError
from dynml.estimators.labels import labels_of

TRIALS = np.random.default_rng(2).normal(size=(20, 6, 3))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.linspace(0, 1, 20), r"continuous numbers \(0.0526316, .*DecoderRegressor predicts numbers\.$"),
        (np.linspace(0, 1, 20).astype(object), "continuous numbers"),
        (np.linspace(0, 1, 20).astype(str), "20 different numbers in 20 trials"),
        (np.arange(300, 320), "20 different numbers in 20 trials"),
        ([0.0, 1.0] * 9 + [np.nan, 1.0], r"no label \(nan\) for 1 of its trials \(18\)"),
        ([0.0, 1.0] * 9 + [np.inf, 1.0], r"no label \(inf\) for 1 of its trials \(18\)"),
        (["a", None, "b", None] + ["a", "b"] * 8, r"no label \(None\) for 2 of its trials \(1, 3\)"),
        (np.array(["a", "b"] * 9 + [np.nan, "a"], dtype=object), r"no label \(nan\)"),
        (np.array([0, "a"] * 10, dtype=object), r"labels of several types \(int, str\)"),
        (["a"] * 20, r"one class \(a\)"),
        ([["a"], ["a", "b"]] * 10, "lists of labels for trials: give a column of 0 and 1"),
        (np.array([[0, 2], [1, 0]] * 10), "must hold 0 and 1, but also the value 2; one label per trial"),
        (np.array([["a", "b"]] * 20), "must hold 0 and 1, but also the value a"),
        (pandas.DataFrame({"a;b": [0, 1] * 10, "c": [1, 0] * 10}), "has a column 'a;b': the name of a label"),
        (np.array([[0, 1]] * 20), "no label that some have and others have not"),
    ],
)
def test_what_is_no_class_is_said_in_a_sentence(labels, said):
    with pytest.raises(DataError, match=said):
        Decoder().fit(TRIALS, labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"] * 10,
        np.array([True, False] * 10),
        np.array([True, False] * 10, dtype=object),
        np.array([0.0, 1.0] * 10),
        np.array([3, 7] * 10, dtype=object),
        np.array(["1.5", "2.5"] * 10),
    ],
)
def test_classes_come_through_as_they_are(labels):
    found = labels_of(labels)
    assert found.tolist() == list(labels)
    assert np.unique(found).tolist() == sorted(set(np.asarray(labels).tolist()))


def test_labels_that_nobody_would_look_at_are_refused():
    with pytest.raises(DataError, match="name their column by target"):
        Decoder(target="stimulus").fit("a_store.hdf5", ["a", "b"])
    with pytest.raises(ConfigurationError, match="absent: Decoder has classes"):
        Decoder(settings={"model.target_values": "numbers"}).fit(TRIALS, ["a", "b"] * 10)
    with pytest.raises(ConfigurationError, match="absent: Decoder has classes here"):
        Decoder(settings={"model.target_values": "labels"}).fit(TRIALS, ["a", "b"] * 10)
    with pytest.raises(ConfigurationError, match="absent: Decoder has labels here"):
        Decoder(settings={"model.target_values": "classes"}).fit(TRIALS, [[0, 1], [1, 0]] * 10)


@pytest.fixture(scope="module")
def several():
    """Trials with three labels that are independent of each other, of which two can be seen, and a fourth for all."""
    generator = np.random.default_rng(4)
    marks = (generator.random((120, 4)) < [0.5, 0.4, 0.5, 1.0]).astype(int)
    trials = generator.normal(size=(120, 12, 3))
    trials[:, :, 0] += 2 * marks[:, [0]]
    trials[:, :, 1] -= 2 * marks[:, [1]]
    table = pandas.DataFrame(marks, columns=["face", "left", "10", "all"])
    decoder = Decoder(max_epochs=1, settings={"trainer.inner_folds": 0}).fit(trials[:80], table[:80])
    return decoder, trials[80:], marks[80:]


def test_several_labels_per_trial_come_as_columns(several):
    decoder, trials, marks = several
    probabilities, told = decoder.predict_proba(trials), decoder.predict(trials)
    assert decoder.classes_.tolist() == ["face", "left", "10", "all"]
    assert probabilities.shape == told.shape == marks.shape
    assert min(roc_auc_score(marks[:, k], probabilities[:, k]) for k in (0, 1)) > 0.95
    assert (probabilities[:, 3] == 1).all()
    np.testing.assert_array_equal(told, probabilities > 0.5)
    assert decoder.score(trials, marks) == (told == marks).all(axis=1).mean()
    assert decoder.summary_["label_counts"] == decoder.experiment_.model.config.class_counts


def test_they_may_stand_in_any_form_and_be_held_out(several):
    _, trials, marks = several
    quick = {"max_epochs": 1, "settings": {"trainer.inner_folds": 0, "model.linear_answer": "none"}}
    arrays = Decoder(**quick).fit(trials, marks[:, :2])
    for given in (marks[:, :2].tolist(), marks[:, :2].astype(bool), csr_array(marks[:, :2])):
        np.testing.assert_array_equal(Decoder(**quick).fit(trials, given).predict(trials), arrays.predict(trials))
    held_out = Decoder(validation_fraction=0.25, **quick).fit(trials, marks[:, :2])
    assert held_out.summary_["n_trials"] == {"training": 30, "validation": 10}
    again = held_out.fit(trials, np.where(marks[:, 0], "face", "house"))  # one class each, by the same object
    assert again.predict(trials[:1]).shape == (1,)
