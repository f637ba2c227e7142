"""Labels that look the same are one class, whatever they are written with; those that nearly do are said."""

import dataclasses
import unicodedata
import warnings

import numpy as np
import pytest
from decoding_data import configs_of, recording

from dynml import Decoder, MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import DataError, DataWarning
from dynml.models.sequence.decoding.labels.alike import alike_labels
from dynml.models.sequence.decoding.labels.marks import marks_of
from dynml.models.sequence.decoding.targets import Target
from dynml.recording import Events

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Tür") for form in ("NFC", "NFD"))
SAMPLER = BatchSamplerConfig(trials="stimulus")


def renamed(item, **names):
    """The same recording with other names of its labels house and face."""
    given = item.events.names["stimulus"]
    changed = tuple(names.get(name, name) for name in given)
    return dataclasses.replace(item, events=dataclasses.replace(item.events, names={"stimulus": changed}))


def dataset(*spellings):
    items = [renamed(recording(number), house=house) for number, house in enumerate(spellings)]
    return MultiSubjectDataset.from_arrays(items[:-1], items[-1:])


def test_blanks_and_composed_letters_make_no_classes():
    data = dataset(COMPOSED, DECOMPOSED, f" {DECOMPOSED}\u00a0")
    assert data.label_names("stimulus") == (COMPOSED, "face")
    config = configs_of(data)["model"]
    assert config.class_names == [COMPOSED, "face"]
    assert config.class_counts == [16, 16]
    target = Target.of(data, "stimulus", [DECOMPOSED])
    assert len(target.labelled("training", SAMPLER)) == 16
    same = MultiSubjectDataset.from_arrays([renamed(recording(n), house=COMPOSED) for n in (0, 1)], [recording(2)])
    for name in ("training", "validation"):
        expected = Target.of(same if name == "training" else data, "stimulus").trials(name, SAMPLER, [COMPOSED, "face"])
        found = Target.of(data, "stimulus").trials(name, SAMPLER, [COMPOSED, "face"])
        np.testing.assert_array_equal(found.truth, expected.truth)
    codes = data.training_set._labels_of_subject(1, "stimulus")
    np.testing.assert_array_equal(codes, same.training_set._labels_of_subject(1, "stimulus"))


def test_decoders_from_before_know_their_classes():
    data = dataset(COMPOSED, COMPOSED, COMPOSED)
    target = Target.of(data, "stimulus")
    before = target.trials("training", SAMPLER, ["face", f"{DECOMPOSED} "])
    np.testing.assert_array_equal(before.truth, target.trials("training", SAMPLER, ["face", COMPOSED]).truth)
    np.testing.assert_array_equal(target.class_of_labels([f"{DECOMPOSED} "]), target.class_of_labels([COMPOSED]))
    np.testing.assert_array_equal(marks_of(before, [DECOMPOSED]), marks_of(before, [COMPOSED]))


def test_an_empty_text_is_no_label():
    events = Events(
        onset=np.arange(4),
        duration=np.ones(4, np.int64),
        labels={"a": np.array([0, 1, 2, -1])},
        names={"a": (" ", "b", "b ")},
    ).with_plain_labels("a")
    assert events.names["a"] == ("b",)
    np.testing.assert_array_equal(events.labels["a"], [-1, 0, 0, -1])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Face", "face", "house"], "'Face' and 'face'"),
        (["1", "1.0", "2"], "'1' and '1.0'"),
        (["01", "1", "+1e0"], "'01' and '1' and '+1e0'"),
        (["left  hand", "left hand"], "'left  hand' and 'left hand'"),
        (["ﬁst", "fist"], "'ﬁst' and 'fist'"),
        (["a\u200bb", "ab"], "and 'ab'"),
    ],
)
def test_labels_that_nearly_look_the_same_are_told(names, said):
    (clause,) = alike_labels(names)
    assert said in clause


@pytest.mark.parametrize(
    "names", [["face", "house"], ["1", "2", "10"], ["a1", "a01"], [COMPOSED, DECOMPOSED], ["-1", "1"]]
)
def test_labels_that_differ_are_not(names):
    assert alike_labels(names) == []


@pytest.mark.parametrize("values", ["classes", "labels"])
def test_one_warning_names_classes_that_count_apart(values):
    data = dataset("Face", "Face", "Face")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = configs_of(data, target_values=values)["model"]
    (said,) = [str(one.message) for one in caught if issubclass(one.category, DataWarning)]
    assert "count apart: 'Face' and 'face'" in said or "count apart: 'face' and 'Face'" in said
    assert len(config.class_names) == 2


def test_labels_given_in_python_are_plain_too():
    generator = np.random.default_rng(0)
    trials, codes = generator.normal(size=(40, 12, 3)), np.arange(40) % 2
    trials[codes == 1, :, 0] += 3
    y = [[COMPOSED, "b"][code] if number < 20 else [f" {DECOMPOSED}", "b "][code] for number, code in enumerate(codes)]
    decoder = Decoder(max_epochs=1, settings={"trainer.inner_folds": 0}).fit(trials, y)
    assert decoder.classes_.tolist() == [COMPOSED, "b"] or decoder.classes_.tolist() == ["b", COMPOSED]
    assert decoder.score(trials, y) > 0.9
    with pytest.raises(DataError, match="an empty text"):
        Decoder().fit(trials, [" "] * 20 + ["b"] * 20)
