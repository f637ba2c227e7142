"""Batches against rows gathered by hand; the same wherever data live, however many workers read them."""

import multiprocessing
import os

import h5py
import numpy as np
import pytest
import torch

from dynml.batches import loader as batch_loader
from dynml.batches.loader import BatchLoader, BatchLoaderConfig
from dynml.batches.sampler import BatchSampler, Span
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.slicer import RowSlicer
from dynml.errors import ConfigurationError, DataCorruptionError, DataWarning
from dynml.preparation.standardization import standardized
from dynml.recording import Events, recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

N_CHANNELS = 4
RUNS = {"a": [90, 47], "b": [75], "c": [33, 28], "v": [41, 20]}
ALL_NOISE = {
    "noise": 0.2,
    "sign_flip": 0.3,
    "channel_dropout": 0.2,
    "amplitude_jitter": 0.4,
    "time_jitter": 3,
    "time_masking": 4,
    "channel_masking": 2,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "store.hdf5"
    rng = np.random.default_rng(0)
    with new_store(path, {}, {"training": ["a", "b", "c"], "validation": ["v"]}) as writer:
        for subject, lengths in RUNS.items():
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
            events = Events(
                onset=np.array([10], dtype=np.int64),
                duration=np.array([15], dtype=np.int64),
                labels={"task": np.array([0], dtype=np.int64)},
                names={"task": (f"task-{subject}",)},
            )
            recording = recording_of_runs(
                [rng.normal(size=(n, N_CHANNELS)).astype(np.float32) for n in lengths],
                sampling_frequency=2.0,
                events=events,
                # Subject b has a bad stretch, so that not all segments are neighbours.
                stretches=[np.array([[0, 40], [50, 75]])] if subject == "b" else None,
            )
            writer.add_group(subject, "signals", standardized(recording, "none"), N_CHANNELS)
    return path


@pytest.fixture(scope="module")
def rows(store):
    with h5py.File(store) as file:
        return {subject: torch.from_numpy(file[f"subjects/{subject}/signals/data"][:]) for subject in RUNS}


def loaded(path, residency="memory"):
    dataset = MultiSubjectDataset(path, residency)
    dataset.load_data()
    return dataset


NAMES = {"training": ["a", "b", "c"], "validation": ["v"]}
SPANS = [Span(0, 1, 95, 105), Span(2, 0, 0, 7), Span(1, 0, 3, 13)]


@pytest.mark.parametrize("residency", ["memory", "lazy"])
def test_padded_batches_hold_the_rows_and_zeros(store, rows, residency):
    batch = BatchLoader(loaded(store, residency), labels=("task",)).load_batch(SPANS, epoch=2)
    assert batch.signals.shape == (3, 10, N_CHANNELS)
    assert batch.signals.dtype == torch.float32
    for row, span in enumerate(SPANS):
        expected = rows[NAMES["training"][span.subject]][span.start : span.stop]
        assert torch.equal(batch.signals[row, : span.length], expected)
        assert (batch.signals[row, span.length :] == 0).all()
        assert batch.mask[row].tolist() == [True] * span.length + [False] * (10 - span.length)
    assert batch.starts is None
    assert (batch.n_samples, batch.context, batch.epoch, batch.spans) == (27, "training", 2, tuple(SPANS))
    assert batch.subject.tolist() == [0, 2, 1]
    assert batch.segment.tolist() == [1, 0, 0]
    assert batch.start_sample.tolist() == [95, 0, 3]
    assert batch.lengths.tolist() == [10, 7, 10]
    # Run 1 of subject a starts at row 90; two samples per second.
    assert batch.times_seconds[0, :2].tolist() == [2.5, 3.0]
    assert batch.times_seconds[2, :2].tolist() == [1.5, 2.0]
    # Labels 0, 1, 2 are task-a, task-b, task-c; they hold from row 10 to 24.
    assert batch.labels["task"][0].tolist() == [-1] * 10
    assert batch.labels["task"][2].tolist() == [-1] * 7 + [1] * 3
    assert batch.labels["task"][1].tolist() == [-1] * 10


@pytest.mark.parametrize("residency", ["memory", "lazy"])
def test_a_short_span_at_the_very_end_of_the_data_is_padded(store, rows, residency):
    loader = BatchLoader(loaded(store, residency))
    loader.set_context("validation")
    batch = loader.load_batch([Span(0, 0, 0, 41), Span(0, 1, 51, 61)])
    assert torch.equal(batch.signals[1, :10], rows["v"][51:61])
    assert (batch.signals[1, 10:] == 0).all()


@pytest.mark.parametrize("residency", ["memory", "lazy"])
def test_packed_batches_hold_the_rows_end_to_end(store, rows, residency):
    batch = BatchLoader(loaded(store, residency), collate="packed", labels=("task",)).load_batch(SPANS)
    expected = torch.cat([rows[NAMES["training"][span.subject]][span.start : span.stop] for span in SPANS])
    assert torch.equal(batch.signals, expected)
    assert batch.starts.tolist() == [0, 10, 17, 27]
    assert batch.mask is None
    assert batch.times_seconds[[0, 9, 10, 17]].tolist() == [2.5, 7.0, 0.0, 1.5]
    assert batch.labels["task"].tolist() == [-1] * 24 + [1] * 3


def test_labels_are_read_only_when_asked_for(store):
    assert BatchLoader(loaded(store)).load_batch(SPANS).labels is None


@pytest.mark.parametrize("collate", ["padded", "packed"])
@pytest.mark.parametrize("residency", ["memory", "lazy"])
def test_an_empty_share_of_a_rank_is_an_empty_batch(store, collate, residency):
    loader = BatchLoader(loaded(store, residency), collate=collate, noise=0.1)
    batch = loader.on_device(loader.load_batch([]))
    assert batch.n_samples == 0
    assert batch.signals.shape == ((0, N_CHANNELS) if collate == "packed" else (0, 0, N_CHANNELS))
    assert batch.times_seconds.numel() == 0


def test_neighbouring_resident_segments_are_packed_as_a_view(store):
    dataset = loaded(store)
    loader = BatchLoader(dataset, collate="packed")

    def is_view(spans):
        signals = loader.on_device(loader.load_batch(spans)).signals
        return signals.untyped_storage().data_ptr() == dataset.series.untyped_storage().data_ptr()

    # Both runs of a, then the first stretch of b: neighbours over the border between subjects.
    assert is_view([Span(0, 0, 0, 90), Span(0, 1, 90, 137), Span(1, 0, 0, 40)])
    assert not is_view([Span(1, 0, 0, 40), Span(1, 1, 50, 75)])
    assert not is_view([Span(0, 1, 90, 137), Span(0, 0, 0, 90)])


SAMPLERS = {
    "windows": {"window_length": 10, "batch_size_training": 4},
    "range": {"window_length": [4, 12], "minimum_length": 1, "batch_size_training": 5},
    "subjects": {"window_length": 10, "batch_size_training": 4, "nb_subjects_per_batch": 1},
    "packs": {"batch_size_training": 80, "batch_size_units": "nb_samples"},
}


def epoch_of(path, residency, sampler, collate, *, context="training", epoch=1, start=0, n_workers=0, **noise):
    dataset = loaded(path, residency)
    batch_sampler = BatchSampler(dataset, seed=3, **SAMPLERS[sampler])
    loader = BatchLoader(dataset, collate=collate, seed=3, n_workers=n_workers, labels=("task",), **noise)
    batch_sampler.set_context(context)
    loader.set_context(context)
    return list(loader.iterate(batch_sampler, epoch, start))


def assert_same(batches, others):
    assert len(batches) == len(others) > 0
    for one, other in zip(batches, others):
        assert one.spans == other.spans
        assert torch.equal(one.signals[:], other.signals[:])
        assert torch.equal(one.labels["task"], other.labels["task"])
        assert torch.equal(one.keys, other.keys)
        for name in ("mask", "starts"):
            first, second = getattr(one, name), getattr(other, name)
            assert first is second is None or torch.equal(first, second)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
@pytest.mark.parametrize("collate", ["padded", "packed"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("noise", [{}, ALL_NOISE], ids=["plain", "augmented"])
def test_batches_are_the_same_in_memory_and_lazy_from_any_start(store, collate, sampler, noise):
    resident = epoch_of(store, "memory", sampler, collate, **noise)
    assert_same(resident, epoch_of(store, "lazy", sampler, collate, **noise))
    for start in range(len(resident)):
        assert_same(resident[start:], epoch_of(store, "lazy", sampler, collate, start=start, **noise))


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("collate", "sampler"), [("padded", "range"), ("packed", "packs")])
def test_workers_read_the_same_batches(store, collate, sampler, n_workers):
    alone = epoch_of(store, "lazy", sampler, collate, **ALL_NOISE)
    assert_same(alone, epoch_of(store, "lazy", sampler, collate, n_workers=n_workers, **ALL_NOISE))
    assert_same(alone[2:], epoch_of(store, "lazy", sampler, collate, n_workers=n_workers, start=2, **ALL_NOISE))


@pytest.mark.parametrize(
    "method",
    [
        "spawn",
        pytest.param(
            "forkserver",  # what Linux has by default since Python 3.14: a worker's parent is a server then
            marks=pytest.mark.skipif(
                "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system has no fork server"
            ),
        ),
    ],
)
def test_workers_may_be_spawned(store, method, monkeypatch):
    alone = epoch_of(store, "lazy", "packs", "packed", **ALL_NOISE)
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        assert_same(alone, epoch_of(store, "lazy", "packs", "packed", n_workers=1, **ALL_NOISE))
    finally:
        multiprocessing.set_start_method(before, force=True)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_workers_leave_the_random_numbers_of_the_model_alone(store):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    epoch_of(store, "lazy", "windows", "padded", n_workers=1, **ALL_NOISE)
    assert torch.equal(torch.rand(3), expected)


def test_a_fault_of_the_file_comes_out_of_a_worker_as_one_sentence(store, tmp_path):
    import shutil

    damaged = tmp_path / "damaged.hdf5"
    shutil.copy(store, damaged)
    with h5py.File(damaged) as file:
        offset = file["subjects/a/signals/data"].id.get_chunk_info(0).byte_offset
    with damaged.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff\xff")
    dataset = MultiSubjectDataset(damaged, "lazy")
    dataset.load_data(verify=False)
    loader = BatchLoader(dataset, n_workers=1)
    with pytest.raises(DataCorruptionError) as error:
        list(loader.iterate(BatchSampler(dataset, window_length=20), 0))
    assert "Traceback" not in str(error.value)
    assert "damaged.hdf5" in str(error.value)


def test_a_lazy_segment_longer_than_a_batch_is_read_in_pieces(store, rows):
    batches = epoch_of(store, "lazy", "packs", "packed")
    slicers = [batch for batch in batches if isinstance(batch.signals, RowSlicer)]
    assert [batch.spans for batch in slicers] == [(Span(0, 0, 0, 90),)]
    (batch,) = slicers
    assert batch.signals.shape == (90, N_CHANNELS)
    assert batch.starts.tolist() == [0, 90]
    assert batch.labels["task"].shape == batch.times_seconds.shape == (90,)
    assert torch.equal(torch.cat([batch.signals[0:31], batch.signals[31:90]]), rows["a"][:90])
    assert not any(isinstance(b.signals, RowSlicer) for b in epoch_of(store, "memory", "packs", "packed"))


def test_pieces_of_a_long_segment_are_augmented_as_the_whole(store):
    noise = {**ALL_NOISE, "time_jitter": 0}
    whole = next(b for b in epoch_of(store, "memory", "packs", "packed", **noise) if b.n_samples == 90)
    sliced = next(b for b in epoch_of(store, "lazy", "packs", "packed", **noise) if b.n_samples == 90)
    assert isinstance(sliced.signals, RowSlicer)
    assert torch.equal(torch.cat([sliced.signals[0:31], sliced.signals[31:90]]), whole.signals)


def test_a_span_gets_its_noise_in_whatever_batch_and_collation(store):
    dataset = loaded(store)
    noise = {**ALL_NOISE, "time_jitter": 0}
    padded = BatchLoader(dataset, seed=9, **noise)
    packed = BatchLoader(dataset, seed=9, collate="packed", **noise)

    def augmented(loader, spans, epoch=4):
        return loader.on_device(loader.load_batch(spans, epoch))

    together, turned = augmented(padded, SPANS), augmented(padded, SPANS[::-1])
    end_to_end, alone = augmented(packed, SPANS), augmented(packed, SPANS[1:2])
    for row, span in enumerate(SPANS):
        signals = together.signals[row, : span.length]
        assert torch.equal(signals, turned.signals[2 - row, : span.length])
        assert torch.equal(signals, end_to_end.signals[end_to_end.starts[row] : end_to_end.starts[row + 1]])
        assert not torch.equal(signals, augmented(padded, SPANS, epoch=5).signals[row, : span.length])
    assert torch.equal(alone.signals, together.signals[1, :7])
    assert (together.signals[1, 7:] == 0).all()
    other_seed = augmented(BatchLoader(dataset, seed=10, **noise), SPANS)
    assert not torch.equal(other_seed.signals, together.signals)


def test_noise_is_added_to_a_copy_in_training_only(store, rows):
    dataset = loaded(store)
    before = dataset.series.clone()
    for collate in ("padded", "packed"):
        loader = BatchLoader(dataset, collate=collate, **ALL_NOISE)
        span = Span(0, 0, 0, 30)
        assert not torch.equal(loader.on_device(loader.load_batch([span])).signals.reshape(30, -1), rows["a"][:30])
        loader.set_context("validation")
        batch = loader.on_device(loader.load_batch([span]))
        assert batch.spans == (span,)
        assert torch.equal(batch.signals.reshape(30, -1), rows["v"][:30])
    assert torch.equal(dataset.series, before)


def test_time_jitter_moves_spans_within_their_segments(store, rows):
    dataset = loaded(store)
    sampler = BatchSampler(dataset, window_length=10, batch_size_training=4, seed=1)
    loader = BatchLoader(dataset, time_jitter=3, seed=1)
    segments = dataset.training_set.segments
    borders = {(s, g): (a, b) for s, g, a, b in zip(segments.subject, segments.segment, segments.start, segments.stop)}
    moves = []
    for epoch in range(20):
        sampled = [span for batch in sampler.batches(epoch) for span in batch]
        read = [(span, row) for b in loader.iterate(sampler, epoch) for span, row in zip(b.spans, b.signals)]
        for span, (moved, signals) in zip(sampled, read):
            start, stop = borders[moved.subject, moved.segment]
            assert start <= moved.start < moved.stop <= stop
            assert (moved.subject, moved.segment, moved.length) == (span.subject, span.segment, span.length)
            assert torch.equal(signals, rows[NAMES["training"][moved.subject]][moved.start : moved.stop])
            moves.append(moved.start - span.start)
    assert set(moves) == set(range(-3, 4))


@pytest.mark.parametrize(("residency", "n_workers"), [("memory", 0), ("lazy", 0), ("lazy", 1)])
def test_validating_amid_an_epoch_does_not_disturb_it(store, residency, n_workers):
    dataset = loaded(store, residency)
    sampler = BatchSampler(dataset, window_length=10, batch_size_training=4, batch_size_validation=3, seed=3)
    loader = BatchLoader(dataset, n_workers=n_workers, noise=0.2, seed=3)
    undisturbed = [batch.signals for batch in loader.iterate(sampler, 1)]
    training, found = loader.iterate(sampler, 1), []
    for context in ("validation", "training") * 20:
        sampler.set_context(context)
        loader.set_context(context)
        if context == "validation":
            assert {batch.context for batch in loader.iterate(sampler, 1)} == {"validation"}
        found += [batch.signals for batch in [next(training, None)] if batch is not None]
    assert len(found) == len(undisturbed)
    assert all(torch.equal(one, other) for one, other in zip(found, undisturbed))


def test_unused_and_impossible_settings_are_told(store):
    dataset = loaded(store)
    with pytest.warns(DataWarning, match=r"n_workers is 2, but is not used.*memory"):
        BatchLoader(dataset, n_workers=2)
    model = torch.nn.Identity()
    model.n_channels = 5
    for arguments, key in [
        ({"model": model}, "model.n_channels"),
        ({"input_group_name": "bold"}, "input_group_name"),
        ({"residency": "lazy"}, "loader.residency"),
        ({"collate": "stacked"}, "loader.collate"),
        ({"noise": -0.1}, "loader.noise"),
        ({"sign_flip": 1.5}, "loader.sign_flip"),
        ({"channel_dropout": 1.0}, "loader.channel_dropout"),
        ({"time_masking": 2.5}, "loader.time_masking"),
        ({"n_workers": -1}, "loader.n_workers"),
        ({"labels": "task"}, "loader.labels"),
        ({"noize": 0.1}, "loader.noize"),
        ({"config": BatchLoaderConfig(), "noise": 0.1}, "loader"),
    ]:
        with pytest.raises(ConfigurationError) as error:
            BatchLoader(dataset, **arguments)
        assert error.value.key == key
    model.n_channels = N_CHANNELS
    assert BatchLoader(dataset, model, "signals", BatchLoaderConfig(residency="memory")).n_channels == N_CHANNELS


def test_workers_are_told_whose_they_are():
    pool = batch_loader._worker_pool(None, iter(()), 1, torch.device("cpu"))
    assert pool.worker_init_fn.args == (os.getpid(), True)
