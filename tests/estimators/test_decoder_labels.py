"""What y may be for a decoder, and what is said of the rest."""

import numpy as np
import pytest

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
        ([["a"], ["a", "b"]] * 10, "several labels for a trial"),
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
