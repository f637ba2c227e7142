"""Components that are standardized in each run as rows are read, against a store that numpy has prepared so."""

import json

import numpy as np
import pytest
import torch
from embedding_oracles import (
    N_COMPONENTS,
    SETTINGS,
    SUBSETS,
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

from dynml import BatchLoader, MultiSubjectDataset, load_experiment
from dynml.dataset.config import DatasetConfig
from dynml.dataset.embedding import Embedding
from dynml.dataset.spans import Span
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation.standardization import standardized
from dynml.store.participants import SubjectIdentity
from dynml.store.reading import Store
from dynml.store.writing import new_store

pytestmark = pytest.mark.filterwarnings("ignore:Segments of fewer than 6 samples")
STANDARDIZED = {**SETTINGS, "standardize_components": True}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The store of the channels, and that of components of mean 0 and standard deviation 1 in each run."""
    folder, made = tmp_path_factory.mktemp("stores"), recordings()
    components, _ = components_of(made)
    path = folder / "components.hdf5"
    with new_store(path, {}, SUBSETS) as writer:
        for subject, recording in made.items():
            embedded = prepared(recording, components)
            signals = np.full(embedded.signals.shape, np.nan)
            for run in range(len(embedded.run_names)):
                rows = np.concatenate([np.arange(*segment) for segment in embedded.segments_of_run(run)])
                good = embedded.signals[rows]
                signals[rows] = (good - good.mean(axis=0)) / good.std(axis=0)
            embedded.signals[:] = signals
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
            writer.add_group(subject, "signals", standardized(embedded, "none"), N_COMPONENTS)
    return written(folder / "channels.hdf5", made), path


def pair_of(stores, way):
    residency, settings = WAYS[way]
    return opened(stores[0], residency, **STANDARDIZED, **settings), opened(stores[1], residency)


@pytest.mark.parametrize("way", WAYS)
def test_rows_are_those_of_the_prepared_store(stores, way):
    view, plain = pair_of(stores, way)
    for name in ("training", "validation"):
        check_same_rows(view.subset(name), plain.subset(name))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("context", ["training", "validation"])
@pytest.mark.parametrize("collate", ["packed", "padded"])
@pytest.mark.parametrize("strategy", ["fixed_windows", "whole_segments"])
def test_batches_are_those_of_the_prepared_store(stores, way, context, collate, strategy):
    for signals, others in signals_of_batches(pair_of(stores, way), collate, context, strategy):
        close(signals, others)


def test_long_and_short_stretches_and_workers_do_the_same(stores, monkeypatch):
    settings = {"strategy": "whole_segments", "batch_size_training": 100}
    dataset = opened(stores[0], "lazy", **STANDARDIZED)
    (short,) = batches_of(dataset, "packed", "training", **settings)
    (worked,) = batches_of(dataset, "packed", "training", 1, **settings)
    monkeypatch.setattr("dynml.dataset.embedding._LONG_STRETCH", 1)
    (long,) = batches_of(dataset, "packed", "training", **settings)
    assert len(short.spans) == 6
    close(short.signals, long.signals, 1e-6)
    close(short.signals, worked.signals, 1e-6)


def test_the_moments_survive_offsets_that_dwarf_the_signals(stores, tmp_path):
    made = recordings()
    for recording in made.values():
        recording.signals[:] += 2000.0
    view = opened(written(tmp_path / "offset.hdf5", made), **STANDARDIZED)
    plain = opened(stores[1])
    # float32 has kept four digits of such signals.
    close(view.training_set.read(0, 2, 398), plain.training_set.read(0, 2, 398), 2e-3)
    rows = view.training_set.read(0, 2, 398).double()
    close(rows.mean(dim=0), torch.zeros(N_COMPONENTS, dtype=torch.float64), 1e-5)
    close(rows.std(dim=0, correction=0), torch.ones(N_COMPONENTS, dtype=torch.float64), 1e-5)


@pytest.mark.parametrize("cached", [False, True])
def test_masked_samples_have_no_part_in_the_moments(cached):
    generator = np.random.default_rng(2)
    arrays = [np.cumsum(generator.normal(size=(400, 3)), axis=0).astype(np.float32) for _ in range(3)]
    arrays[1][100:110] = np.nan
    arrays[1][250] = np.nan
    config = DatasetConfig(**STANDARDIZED, cache_embedded=cached)
    masked, cut = (
        MultiSubjectDataset.from_arrays(arrays, config=config, missing=missing) for missing in ("mask", "segment")
    )
    found = masked.training_set.read(1, 2, 398)
    good = torch.isfinite(found).all(dim=1)
    assert int((~good).sum()) == 10 + 4 + 1 + 4
    close(found[good].double().mean(dim=0), torch.zeros(N_COMPONENTS, dtype=torch.float64), 1e-5)
    close(found[good].double().std(dim=0, correction=0), torch.ones(N_COMPONENTS, dtype=torch.float64), 1e-5)
    table = cut.training_set.segments
    own = table.subject == 1
    others = torch.cat([cut.training_set.read(1, *borders) for borders in zip(table.start[own], table.stop[own])])
    close(found[good], others)
    batch = BatchLoader(masked, collate="padded").load_batch([Span(1, 0, 60, 130), Span(0, 0, 5, 30)])
    torch.testing.assert_close(batch.signals[0], found[58:128], rtol=0, atol=1e-6, equal_nan=True)


def test_a_run_and_its_inference_equal_those_of_the_prepared_store(stores, tmp_path):
    view, plain = pair_of(stores, "memory")
    energies = [hmm_run(data, tmp_path, name)["free_energy"] for data, name in ((view, "view"), (plain, "plain"))]
    assert energies[0]["validation"] == pytest.approx(energies[1]["validation"], abs=2e-4)
    # The saved model standardizes the components of a store of channels by itself, and those of new arrays.
    found, expected = (load_experiment(tmp_path / name).infer(path) for name, path in zip(("view", "plain"), stores))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.alpha, other.alpha, atol=5e-3)
    array = 5.0 * Store(stores[0]).read("c", "signals")[:180] - 3.0
    new = load_experiment(tmp_path / "view").open([array]).training_set.read(0, 2, 178)
    close(new, plain.training_set.read(2, 2, 178), 1e-4)
    with pytest.raises(DataError, match="embedded already, in another way"):
        load_experiment(tmp_path / "view").open(opened(stores[0], **SETTINGS))


def test_what_is_described_makes_it_again_and_older_descriptions_are_read(stores):
    view, plain = opened(stores[0], **STANDARDIZED), opened(stores[0], **SETTINGS)
    assert view.fingerprint != plain.fingerprint
    described = json.loads(json.dumps(view.embedding.describe()))
    assert Embedding.from_saved(described, view.embedding.tensors()).is_like(view.embedding)
    older = plain.embedding.describe()
    assert "standardize" not in older
    assert not Embedding.from_saved(older, plain.embedding.tensors()).standardize
    assert DatasetConfig(**DatasetConfig(**STANDARDIZED).in_force()) == DatasetConfig(**STANDARDIZED)
    assert "standardize_components" not in DatasetConfig(**SETTINGS).in_force()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_embeddings": 5, "standardize_components": True}, "dataset.standardize_components is True"),
        ({**SETTINGS, "standardize_components": 1}, "dataset.standardize_components is 1"),
        ({**STANDARDIZED, "whiten": True}, "dataset.whiten is True"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        DatasetConfig(**settings)


def test_a_component_without_variance_is_refused():
    # Three neighbours of this wave always add up to 0, and their weighted sum does not.
    wave = np.tile([1.0, -2.0, 1.0], 30)[:, None]
    dataset = MultiSubjectDataset.from_arrays([np.random.default_rng(0).normal(size=(60, 1)), wave])
    components = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, -1.0]])
    layout = Layout(sampling_frequency=1.0, channel_names=("channel_0",))
    embedding = Embedding(
        n_embeddings=3, layout=layout, components=components, variances=np.ones(2), fitted_to="x", standardize=True
    )
    with pytest.raises(DataError, match=r"training-1, .* component 0 of the time-delay embedding does not vary"):
        dataset.with_embedding(embedding)
