"""Embedding as rows are read, against a store that numpy has embedded beforehand: rows, batches, whole runs."""

import numpy as np
import pytest
import torch
from embedding_oracles import (
    N_CHANNELS,
    N_COMPONENTS,
    SETTINGS,
    WAYS,
    batches_of,
    check_same_rows,
    close,
    components_of,
    hmm_run,
    opened,
    prepared,
    recordings,
    signals_of_batches,
    written,
)

from dynml import (
    BatchLoader,
    BatchSampler,
    Dynemo,
    DynemoConfig,
    DynemoInitializationConfig,
    DynemoTrainer,
    MultiSubjectDataset,
    load_experiment,
)
from dynml.dataset.config import DatasetConfig
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.store.reading import Store

TOO_SHORT = pytest.mark.filterwarnings("ignore:Segments of fewer than 6 samples")
pytestmark = TOO_SHORT


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The store of the channels, and that of the components."""
    folder, made = tmp_path_factory.mktemp("stores"), recordings()
    components, _ = components_of(made)
    embedded = {subject: prepared(recording, components) for subject, recording in made.items()}
    return written(folder / "channels.hdf5", made), written(folder / "components.hdf5", embedded)


def pair_of(stores, way):
    residency, settings = WAYS[way]
    return opened(stores[0], residency, **SETTINGS, **settings), opened(stores[1], residency)


# ---------------------------------------------------------------------- rows and batches


@pytest.mark.parametrize("way", WAYS)
def test_segments_times_and_rows_are_those_of_the_prepared_store(stores, way):
    view, plain = pair_of(stores, way)
    assert view.channel_names == plain.channel_names
    for name in ("training", "validation"):
        found, expected = view.subset(name), plain.subset(name)
        for field in ("subject", "segment", "start", "stop"):
            np.testing.assert_array_equal(getattr(found.segments, field), getattr(expected.segments, field))
        np.testing.assert_array_equal(found.n_rows_of, expected.n_rows_of)
        table = found.segments
        seconds = [one.seconds_of_rows(table.subject, table.segment, table.start) for one in (found, expected)]
        np.testing.assert_allclose(*seconds)
        check_same_rows(found, expected)


def test_only_the_stored_channels_are_kept_unless_the_embedding_is_cached(stores):
    assert opened(stores[0], **SETTINGS).series.shape[1] == N_CHANNELS
    assert opened(stores[0], **SETTINGS, cache_embedded=True).series.shape[1] == N_COMPONENTS


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("context", ["training", "validation"])
@pytest.mark.parametrize("collate", ["packed", "padded"])
@pytest.mark.parametrize("strategy", ["fixed_windows", "whole_segments"])
def test_batches_are_those_of_the_prepared_store(stores, way, context, collate, strategy):
    for signals, others in signals_of_batches(pair_of(stores, way), collate, context, strategy):
        assert signals.is_contiguous()
        close(signals, others)


def test_long_and_short_stretches_are_embedded_alike(stores, monkeypatch):
    dataset = opened(stores[0], **SETTINGS)
    (short,) = batches_of(dataset, "packed", "training", strategy="whole_segments", batch_size_training=100)
    monkeypatch.setattr("dynml.dataset.embedding._LONG_STRETCH", 1)
    (long,) = batches_of(dataset, "packed", "training", strategy="whole_segments", batch_size_training=100)
    assert len(short.spans) == 6
    close(short.signals, long.signals, 1e-6)


def test_workers_read_the_same_batches(stores):
    dataset = opened(stores[0], "lazy", **SETTINGS)
    settings = {"window_length": 30, "batch_size_training": 4}
    here, there = (batches_of(dataset, "padded", "training", n, **settings) for n in (0, 2))
    for found, expected in zip(here, there, strict=True):
        close(found.signals, expected.signals, 1e-6)


def test_a_long_segment_comes_in_slices(stores):
    view, plain = pair_of(stores, "lazy")
    found, expected = (one.training_set.slicer(0, 2, 398) for one in (view, plain))
    assert found.shape == expected.shape == (396, N_COMPONENTS)
    close(torch.cat([found[first : first + 50] for first in range(0, 396, 50)]), expected[0:396])


def test_whitened_components_have_variance_one_over_the_training_subjects(stores):
    subset = opened(stores[0], **SETTINGS, whiten=True).training_set
    table = subset.segments
    rows = torch.cat([subset.read(*where) for where in zip(table.subject, table.start, table.stop)]).double()
    close(rows.T @ rows / len(rows), torch.eye(N_COMPONENTS, dtype=torch.float64), 1e-5)


@pytest.mark.parametrize("cache_embedded", [False, True])
def test_embedding_without_components_keeps_the_offsets_and_goes_channel_by_channel(stores, cache_embedded):
    view, store = opened(stores[0], n_embeddings=5, cache_embedded=cache_embedded), Store(stores[0])
    rows = store.read("a", "signals")
    expected = [[rows[t + 2 - lag, channel] for channel in range(3) for lag in range(5)] for t in range(10, 14)]
    np.testing.assert_array_equal(view.training_set.read(0, 10, 14).numpy(), expected)
    assert view.channel_names[:2] == ("channel_0@+2", "channel_0@+1")
    (batch,) = batches_of(view, "padded", "training", window_length=30, batch_size_training=10**6)
    for span, signals in zip(batch.spans, batch.signals):
        close(signals[: span.length], view.training_set.read(span.subject, span.start, span.stop), 0)


# ---------------------------------------------------------------------- whole runs


def dynemo_run(dataset, folder, name):
    torch.manual_seed(3)
    config = DynemoConfig(n_modes=2, sequence_length=20, inference_n_units=5, model_n_units=4, n_kl_annealing_epochs=2)
    dynemo = Dynemo(config, dataset.n_channels)
    trainer = DynemoTrainer(
        dynemo,
        folder,
        name,
        BatchSampler(dataset, window_length=20, batch_size_training=8, seed=5),
        BatchLoader(dataset, dynemo, seed=5),
        initialization=DynemoInitializationConfig(method="random"),
        max_epochs=3,
        progress=False,
    )
    return trainer.train_and_validate()


@pytest.mark.parametrize("run", [hmm_run, dynemo_run])
@pytest.mark.parametrize("way", ["memory", "cached"])
def test_a_run_and_its_inference_equal_those_of_the_prepared_store(stores, tmp_path, run, way):
    view, plain = pair_of(stores, way)
    summaries = [run(dataset, tmp_path, name) for dataset, name in ((view, "view"), (plain, "plain"))]
    energies = [summary["free_energy"] for summary in summaries]
    for subset in ("training", "validation"):
        assert energies[0][subset] == pytest.approx(energies[1][subset], abs=2e-4)
    # The saved model embeds the store of channels by itself, with the components of its training.
    found = load_experiment(tmp_path / "view").infer(stores[0])
    expected = load_experiment(tmp_path / "plain").infer(stores[1])
    for one, other in zip(found, expected, strict=True):
        assert one.alpha.shape == other.alpha.shape
        np.testing.assert_array_equal(np.isnan(one.alpha), np.isnan(other.alpha))
        np.testing.assert_allclose(one.alpha, other.alpha, atol=5e-3)


def test_a_saved_model_embeds_new_data_by_the_components_of_its_training(stores, tmp_path):
    hmm_run(opened(stores[0], **SETTINGS, whiten=True), tmp_path, "run")
    experiment = load_experiment(tmp_path / "run")
    view = opened(stores[0], **SETTINGS, whiten=True)
    rows = [Store(stores[0]).read("c", "signals")[:180]]
    new = experiment.open(rows).training_set
    close(new.read(0, 2, 178), view.training_set.read(2, 2, 178))
    assert experiment.open(view) is view
    with pytest.raises(DataError, match="embedded already, in another way"):
        experiment.open(opened(stores[0], **SETTINGS))
    with pytest.raises(DataError, match="has 2 channels, but the time-delay embedding was made for 3"):
        experiment.open([rows[0][:, :2]])


# ---------------------------------------------------------------------- what is told apart, and refused


def test_a_described_config_makes_the_same_config_again(stores):
    for settings in ({}, {**SETTINGS, "whiten": True, "cache_embedded": True}):
        config = DatasetConfig(**settings)
        described = MultiSubjectDataset(stores[0], config=config).describe()["config"]
        assert DatasetConfig(**described) == config
        assert set(described) == {"subsets", "folds", "fold", "n_training_subjects", "seed", *settings}


def test_the_fingerprint_tells_embeddings_apart(stores):
    settings = [{}, {"n_embeddings": 5}, SETTINGS, {**SETTINGS, "whiten": True}, {**SETTINGS, "n_components": 3}]
    fingerprints = [MultiSubjectDataset(stores[0], config=DatasetConfig(**one)).fingerprint for one in settings]
    assert len(set(fingerprints)) == len(settings)
    cached = MultiSubjectDataset(stores[0], config=DatasetConfig(**SETTINGS, cache_embedded=True)).fingerprint
    assert cached == fingerprints[2]


def test_short_segments_are_told_of(stores):
    with pytest.warns(DataWarning, match=r"Segments of fewer than 6 samples .* v: 1 of 3"):
        opened(stores[0], **SETTINGS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_embeddings": 4}, "dataset.n_embeddings is 4"),
        ({"n_embeddings": True}, "dataset.n_embeddings is True"),
        ({"n_components": 0}, "dataset.n_components is 0"),
        ({"n_embeddings": 5, "whiten": True}, "dataset.whiten is True"),
        ({"cache_embedded": True}, "dataset.cache_embedded is True"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        DatasetConfig(**settings)


def test_data_that_cannot_be_embedded_so_are_refused(stores):
    with pytest.raises(ConfigurationError, match=r"at most n_embeddings x channels \(15\)"):
        opened(stores[0], n_embeddings=5, n_components=16)
    with pytest.raises(DataError, match="cache_embedded needs the series in memory"):
        opened(stores[0], "lazy", **SETTINGS, cache_embedded=True)
    with pytest.warns(DataWarning, match=r"no segment of at least 302 samples, .* left out \(.*\bb\b"):
        dataset = opened(stores[0], n_embeddings=301)
    assert "b" in dataset.left_out
    assert "b" not in dataset.subjects
