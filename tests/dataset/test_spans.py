"""Spans as columns, and what a batch says about its spans alone."""

import pickle

import numpy as np
import pytest
import torch

from dynml.batches.loader import BatchLoader
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.spans import Span, Spans
from dynml.preparation.standardization import standardized
from dynml.recording import recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

LISTED = [Span(0, 0, 3, 9), Span(1, 0, 0, 4, 7, 2), Span(0, 0, 20, 30)]


def test_spans_read_like_a_list():
    spans = Spans.of(LISTED)
    assert list(spans) == LISTED
    assert spans == LISTED
    assert spans == tuple(LISTED)
    assert (1, tuple(LISTED)) == (1, spans)
    assert spans == Spans.of(list(LISTED))
    assert spans != LISTED[:2]
    assert spans != LISTED[::-1]
    assert (len(spans), spans[1], spans[-1], spans[1:]) == (3, LISTED[1], LISTED[2], LISTED[1:])
    assert LISTED[1] in spans
    assert not Spans.of([])
    assert list(Spans.of([])) == []
    with pytest.raises(IndexError):
        spans[3]
    assert pickle.loads(pickle.dumps(spans)) == spans
    assert Spans.of(spans) is spans


def test_columns_of_spans_are_their_fields():
    spans = Spans.of(LISTED)
    for name in ("subject", "segment", "start", "stop", "trial", "label"):
        assert getattr(spans, name).tolist() == [getattr(span, name) for span in LISTED]
    assert spans.lengths.tolist() == [6, 4, 10]
    moved = spans.starting_at(np.array([1, 2, 3]))
    assert moved == [Span(0, 0, 1, 7), Span(1, 0, 2, 6, 7, 2), Span(0, 0, 3, 13)]
    assert spans == LISTED


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Subject a at 4 Hz, b at 0.5 Hz."""
    path = tmp_path_factory.mktemp("rates") / "store.hdf5"
    rng = np.random.default_rng(0)
    with new_store(path, {}, {"training": ["a", "b"], "validation": ["c"]}) as writer:
        for subject, rate in {"a": 4.0, "b": 0.5, "c": 3.0}.items():
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
            recording = recording_of_runs([rng.normal(size=(50, 2))], sampling_frequency=rate)
            writer.add_group(subject, "signals", standardized(recording, "none"), 2)
    dataset = MultiSubjectDataset(path, "memory")
    dataset.load_data()
    return dataset


def test_seconds_in_a_span_go_by_the_rate_of_its_subject(dataset):
    seconds = BatchLoader(dataset).load_batch(LISTED).seconds_in_span
    assert seconds.dtype == torch.float64
    assert seconds.tolist() == [
        [t / 4 for t in range(10)],
        [t * 2.0 for t in range(10)],
        [t / 4 for t in range(10)],
    ]
    packed = BatchLoader(dataset, collate="packed").load_batch(LISTED).seconds_in_span
    assert packed.tolist() == [t / 4 for t in range(6)] + [t * 2.0 for t in range(4)] + [t / 4 for t in range(10)]
    assert BatchLoader(dataset).load_batch([]).seconds_in_span.shape == (0, 0)


def test_seconds_of_a_window_agree_with_those_of_the_run(dataset):
    batch = BatchLoader(dataset).load_batch(LISTED)
    times = batch.times_seconds
    torch.testing.assert_close(batch.seconds_in_span, times - times[:, :1], atol=1e-12, rtol=0)


def test_fixed_keys_are_of_the_span_alone(dataset):
    loaders = [BatchLoader(dataset, seed=1), BatchLoader(dataset, seed=2, collate="packed")]
    one = loaders[0].load_batch(LISTED, epoch=0)
    assert one.fixed_keys.dtype == torch.int64
    assert torch.equal(one.fixed_keys, loaders[1].load_batch(LISTED, epoch=3).fixed_keys)
    assert torch.equal(one.fixed_keys.flip(0), loaders[0].load_batch(LISTED[::-1]).fixed_keys)
    others = [Span(1, 0, 3, 9), Span(0, 1, 3, 9), Span(0, 0, 4, 9), Span(0, 0, 3, 8), *LISTED]
    keys = loaders[1].load_batch([span for span in others if span.segment == 0]).fixed_keys
    assert len(set(keys.tolist())) == 6
    assert not set(keys.tolist()) & set(one.keys.tolist())
    # The trial's number and label are no part of it.
    plain = [Span(span.subject, span.segment, span.start, span.stop) for span in LISTED]
    assert torch.equal(loaders[0].load_batch(plain).fixed_keys, one.fixed_keys)


def test_fixed_keys_are_the_same_in_every_release(dataset):
    keys = BatchLoader(dataset).load_batch([Span(0, 0, 3, 9)]).fixed_keys
    assert keys.tolist() == [-8333671242193706979]
