"""Masked samples in datasets and batches: the same rows wherever the series live, embedded or not, augmented or not."""

import itertools

import numpy as np
import pytest
import torch

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.dataset.config import DatasetConfig
from dynml.dataset.slicer import RowSlicer
from dynml.dataset.spans import Span
from dynml.errors import DataError, DataWarning
from dynml.ops.masked_samples import observed_rows
from dynml.preparation.standardization import standardized
from dynml.recording import Events, recording_of_runs
from dynml.store.missing.gaps import joined_over_gaps
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

N_CHANNELS, RATE = 3, 10.0
STRETCHES = {
    "a": [[[0, 60], [70, 150], [153, 200]], [[0, 90], [94, 120]]],
    "b": [[[0, 150]]],
    "v": [[[0, 40], [43, 47], [50, 100]]],
}
LENGTHS = {"a": [200, 120], "b": [150], "v": [100]}
SUBSETS = {"training": ["a", "b"], "validation": ["v"]}
N_MASKED = {"a": 17, "b": 0, "v": 6}


def events():
    """Trials inside a gap, half in one, and outside."""
    return Events(
        onset=np.array([10, 61, 65, 148]),
        duration=np.array([5, 8, 10, 6]),
        labels={"task": np.array([0, 1, 1, 0])},
        names={"task": ("x", "y")},
    )


def recordings():
    generator = np.random.default_rng(0)
    made = {}
    for subject, lengths in LENGTHS.items():
        made[subject] = recording_of_runs(
            [generator.normal(size=(length, N_CHANNELS)).astype(np.float32) + 2 for length in lengths],
            sampling_frequency=RATE,
            stretches=[np.array(one) for one in STRETCHES[subject]],
            events=events() if subject == "a" else None,
        )
    return made


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Where gaps are masked, and where they are cut."""
    folder = tmp_path_factory.mktemp("stores")
    paths = {"mask": folder / "mask.hdf5", "segment": folder / "segment.hdf5"}
    for missing, path in paths.items():
        with new_store(path, {}, SUBSETS) as writer:
            for subject, recording in recordings().items():
                recording = standardized(recording, "per_run")
                if missing == "mask":
                    recording = joined_over_gaps(recording)
                writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
                writer.add_group(subject, "signals", recording, N_CHANNELS)
    return paths


def opened(path, residency="memory", **settings):
    dataset = MultiSubjectDataset(path, residency, config=DatasetConfig(**settings))
    dataset.load_data()
    return dataset


def gaps_of(subject):
    """Rows of a subject that are masked."""
    rows, start = [], 0
    for stretches, length in zip(STRETCHES[subject], LENGTHS[subject]):
        for (_, stop), (first, _) in itertools.pairwise(stretches):
            rows += range(start + stop, start + first)
        start += length
    return rows


def test_masked_samples_are_counted_and_described(stores):
    dataset, cut = opened(stores["mask"]), opened(stores["segment"])
    training = dataset.training_set
    assert (training.n_masked, dataset.validation_set.n_masked, dataset.n_masked) == (17, 6, 23)
    assert training.n_masked_of.tolist() == [17, 0]
    assert training.n_samples == 320 + 150 == cut.training_set.n_samples + 17
    assert len(training.segments) == 3
    assert dataset.describe()["subsets"]["training"]["n_masked"] == 17
    assert cut.n_masked == cut.describe()["subsets"]["training"]["n_masked"] == 0
    assert dataset.fingerprint != cut.fingerprint
    assert dataset.fingerprints["testing"] == cut.fingerprints["testing"]


@pytest.mark.parametrize("collate", ["packed", "padded"])
def test_batches_say_which_rows_were_observed_wherever_series_live(stores, collate):
    spans = [Span(0, 0, 50, 80), Span(1, 0, 3, 20), Span(0, 1, 200, 320)]
    batches = [
        BatchLoader(opened(stores["mask"], residency), collate=collate).load_batch(spans)
        for residency in ("memory", "lazy")
    ]
    first, second = batches
    torch.testing.assert_close(first.signals, second.signals, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.observed, second.observed)
    expected = [
        ~np.isin(np.arange(span.start, span.stop), gaps_of("a" if span.subject == 0 else "b")) for span in spans
    ]
    if collate == "packed":
        assert first.observed.tolist() == np.concatenate(expected).tolist()
    else:
        assert first.observed.shape == first.mask.shape
        for row, one in zip(first.observed, expected):
            assert row[: len(one)].tolist() == one.tolist()
            assert not row[len(one) :].any()
    signals = first.signals.reshape(-1, N_CHANNELS)
    assert torch.equal(torch.isnan(signals).all(dim=1), torch.isnan(signals).any(dim=1))
    assert int(torch.isnan(signals).all(dim=1).sum()) == 10 + 4


def test_batches_of_data_without_masked_samples_say_none(stores):
    batch = BatchLoader(opened(stores["segment"])).load_batch([Span(0, 0, 0, 20)])
    assert not batch.has_masked
    assert batch.observed is None
    assert BatchLoader(opened(stores["mask"])).load_batch([Span(1, 0, 0, 20)]).observed.all()


def test_segments_that_are_read_piece_by_piece_say_the_same(stores):
    def batches(residency):
        dataset = opened(stores["mask"], residency)
        sampler = BatchSampler(dataset, batch_size_training=30, batch_size_units="nb_samples")
        loader = BatchLoader(dataset, collate="packed", noise=0.3, channel_dropout=0.9, time_masking=20)
        return {batch.spans[0]: batch for batch in loader.iterate(sampler, 0)}

    sliced, whole = batches("lazy"), batches("memory")
    assert isinstance(sliced[Span(0, 0, 0, 200)].signals, RowSlicer)
    for span, batch in sliced.items():
        torch.testing.assert_close(batch.signals[:], whole[span].signals[:], rtol=0, atol=0, equal_nan=True)
        assert torch.equal(batch.observed, whole[span].observed)
        rows = np.isin(np.arange(span.start, span.stop), gaps_of("a") if span.subject == 0 else [])
        assert batch.observed.tolist() == (~rows).tolist()


@pytest.mark.parametrize("collate", ["packed", "padded"])
def test_augmentation_keeps_masked_rows_and_changes_the_others_as_ever(stores, collate):
    settings = {
        "noise": 0.3, "sign_flip": 0.5, "channel_dropout": 0.4, "amplitude_jitter": 0.2, "time_masking": 30,
        "channel_masking": 2, "collate": collate,
    }  # fmt: skip
    found, expected = {}, {}
    for kind, results in (("mask", found), ("segment", expected)):
        loader = BatchLoader(opened(stores[kind]), **settings)
        # The same rows under the same keys, though in the other store they lie across the border of segments.
        results["batch"] = loader.on_device(loader.load_batch([Span(0, 0, 40, 90), Span(1, 0, 0, 30)]))
    masked, plain = found["batch"].signals, expected["batch"].signals
    observed = found["batch"].observed
    assert torch.isnan(masked[observed]).sum() == 0
    assert torch.equal(masked[observed], plain[observed])
    rows = ~observed if found["batch"].mask is None else ~observed & found["batch"].mask
    assert int(rows.sum()) == 10
    assert torch.isnan(masked[rows]).all()
    assert (masked[observed] == 0).any()
    if collate == "padded":
        assert (masked[~found["batch"].mask] == 0).all()


@pytest.mark.parametrize(("n_components", "cached"), [(4, False), (4, True), (None, False)])
@pytest.mark.parametrize("residency", ["memory", "lazy"])
@pytest.mark.filterwarnings("ignore:Segments of fewer than 6 samples")
def test_embedding_masks_what_a_masked_row_enters_and_gives_the_rest_as_ever(stores, n_components, cached, residency):
    if cached and residency == "lazy":
        pytest.skip("what is cached is in memory")
    settings = {"n_embeddings": 5, "n_components": n_components, "cache_embedded": cached}
    masked, cut = opened(stores["mask"], residency, **settings), opened(stores["segment"], residency, **settings)
    if n_components is not None:
        np.testing.assert_allclose(masked.embedding.components, cut.embedding.components, rtol=0, atol=1e-12)
    for name in ("training", "validation"):
        found, expected = masked.subset(name), cut.subset(name)
        n_masked = 0
        observed = {}
        for subject, segment, start, stop in zip(
            found.segments.subject, found.segments.segment, found.segments.start, found.segments.stop
        ):
            rows = found.read(int(subject), int(start), int(stop))
            good = torch.isfinite(rows)
            assert torch.equal(good.all(dim=1), good.any(dim=1))
            n_masked += int((~good[:, 0]).sum())
            numbers = np.arange(start, stop)[good[:, 0].numpy()]
            observed |= {(int(subject), int(number)): row for number, row in zip(numbers, rows[good[:, 0]])}
            batch = BatchLoader(masked, collate="padded")
            batch.set_context(name)
            batch = batch.load_batch([Span(int(subject), int(segment), int(start), int(stop))])
            torch.testing.assert_close(batch.signals[0], rows, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert found.n_masked == n_masked > 0
        others = {
            (int(subject), int(start) + place): row
            for subject, start, stop in zip(expected.segments.subject, expected.segments.start, expected.segments.stop)
            for place, row in enumerate(expected.read(int(subject), int(start), int(stop)))
        }
        assert observed.keys() == others.keys()
        for key, row in others.items():
            torch.testing.assert_close(observed[key], row, rtol=1e-5, atol=1e-5)
        if name == "training":
            spans = [Span(1, 0, 20, 60), Span(0, 0, 45, 75), Span(0, 1, 280, 310)]
            windows = BatchLoader(masked, collate="padded").load_batch(spans)
            for span, window, good in zip(spans, windows.signals, windows.observed):
                rows = found.read(span.subject, span.start, span.stop)
                torch.testing.assert_close(window[: span.length], rows, rtol=1e-5, atol=1e-5, equal_nan=True)
                assert torch.equal(good[: span.length], torch.isfinite(rows).all(dim=1))
        rows = masked.signal_source.masked_rows(found.subjects[0], masked.group)
        assert rows.sum() == found.n_masked_of[0]


def test_a_subject_without_stretches_long_enough_to_embed_is_left_out(stores):
    with pytest.warns(DataWarning, match=r"no segment of at least 52 samples, .* left out \(v"):
        dataset = opened(stores["mask"], n_embeddings=51)
    assert dataset.left_out == ["v"]


def test_trials_count_their_masked_samples(stores):
    with_masks = opened(stores["mask"]).training_set.trials("task")
    # The second event lies in masked samples; the third has the five of 65 to 69, and the last 150 to 152.
    assert with_masks.start.tolist() == [10, 65, 148]
    assert with_masks.n_masked.tolist() == [0, 5, 3]
    assert with_masks.number.tolist() == [0, 2, 3]
    assert (with_masks.n_left_out, with_masks.n_unobserved, with_masks.n_cut, with_masks.n_events) == (0, 1, 0, 4)
    cut = opened(stores["segment"]).training_set.trials("task")
    assert (cut.n_left_out, cut.n_unobserved, cut.n_masked.tolist()) == (2, 0, [0, 0])
    dataset = opened(stores["mask"])
    with pytest.warns(DataWarning, match="1 of 4 training trials have masked samples only and are left out"):
        BatchSampler(dataset, strategy="trials", trials="task")


def test_arrays_are_masked_as_a_store_is():
    signals = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    signals[:4] = np.nan
    signals[20:25, 1] = np.inf
    signals[40:43] = np.nan
    dataset = MultiSubjectDataset.from_arrays(signals, missing="mask", standardization="per_subject")
    training = dataset.training_set
    assert list(zip(training.segments.start, training.segments.stop)) == [(4, 60)]
    assert (training.n_masked, dataset.n_masked) == (8, 8)
    good = np.r_[4:20, 25:40, 43:60]
    values = signals[good].astype(np.float64)
    rows = training.read(0, 0, 60).numpy()
    np.testing.assert_allclose(rows[good], (values - values.mean(axis=0)) / values.std(axis=0), atol=1e-6)
    assert np.isnan(rows[20:25]).all()
    assert np.isnan(rows[40:43]).all()
    with pytest.raises(DataError, match="array training-0 has no two neighbouring samples"):
        MultiSubjectDataset.from_arrays(np.where(np.arange(60)[:, None] % 2, signals, np.nan), missing="mask")


def test_recordings_keep_the_cuts_that_hold_observed_samples():
    signals = np.random.default_rng(1).normal(size=(60, 2))
    signals[10:12], signals[30:33], signals[50, 0] = np.nan, np.nan, np.nan
    # 20:24 was cut though it is there; 30:33 is missing; 10:12 and 50 lie within segments.
    recording = recording_of_runs(
        [signals], sampling_frequency=1.0, stretches=[np.array([[0, 20], [24, 30], [33, 60]])]
    )
    with pytest.raises(DataError, match="segment from 0: channel channel_0 is nan at sample 10"):
        MultiSubjectDataset.from_arrays(recording)
    found = {
        missing: MultiSubjectDataset.from_arrays(recording, missing=missing).training_set
        for missing in ("segment", "mask")
    }
    pairs = {name: list(zip(one.segments.start, one.segments.stop)) for name, one in found.items()}
    assert pairs["segment"] == [(0, 10), (12, 20), (24, 30), (33, 50), (51, 60)]
    assert pairs["mask"] == [(0, 20), (24, 60)]
    assert (found["mask"].n_masked, found["segment"].n_masked) == (2 + 3 + 1, 0)
    sources = found["segment"].seconds_of_rows(np.zeros(5, int), np.arange(5), np.array([0, 12, 24, 33, 51]))
    assert sources.tolist() == [0, 12, 24, 33, 51]


def test_rows_of_nan_were_not_observed():
    signals = torch.randn(2, 4, 3)
    assert observed_rows(signals).all()
    signals[1, 2] = torch.nan
    assert observed_rows(signals).tolist() == [[True] * 4, [True, True, False, True]]


def test_observed_rows_of_a_subject_lie_in_segments_and_are_not_masked(stores):
    for dataset in (opened(stores["mask"]), opened(stores["mask"], "lazy")):
        subset = dataset.training_set
        for subject in range(subset.n_subjects):
            own = subset.segments.take(subset.segments.subject == subject)
            expected = np.zeros(int(subset.n_rows_of[subject]), dtype=bool)
            for start, stop in zip(own.start.tolist(), own.stop.tolist()):
                expected[start:stop] = ~np.isnan(subset.rows(subject, start, stop).numpy()[:, 0])
            found = subset.observed(subject)
            n_masked = own.lengths.sum() - expected.sum()
            assert subset.n_masked_of[subject] == n_masked
            assert found is None if n_masked == 0 else (found == expected).all()
    assert subset.n_masked > 0
