"""Moments brought back to the channels: against those of the channels themselves."""

import dataclasses

import numpy as np
import pytest
from store_making import Study

from dynml.analysis.maps.projection import back_projection
from dynml.dataset.config import DatasetConfig
from dynml.dataset.dataset import MultiSubjectDataset


def smooth_noise(seed, n_samples=4000, n_channels=4):
    """Correlated in space and in time, so that components differ."""
    generator = np.random.default_rng(seed)
    white = generator.normal(size=(n_samples + 4, n_channels)) @ np.random.default_rng(7).normal(size=(n_channels,) * 2)
    smooth = sum(white[lag : lag + n_samples] for lag in range(5))
    return (smooth + 5.0).astype(np.float32)


def study(folder, *steps, **settings):
    runs = {"sub-a": [smooth_noise(1)], "sub-b": [smooth_noise(2)]}
    return Study(folder, runs, preparation=list(steps), **settings)


def moments(signals):
    return signals.mean(axis=0), np.cov(signals.T, bias=True)


def stored(store, subjects=("sub-a", "sub-b")):
    """Moments of the model's channels: those of the store's rows within segments."""
    rows = []
    for subject in subjects:
        own = store.read(subject, "signals").astype(np.float64)
        rows += [own[start:stop] for start, stop in store.segments(subject, "signals")]
    return moments(np.concatenate(rows))


def pooled(subjects=(1, 2)):
    centred = [smooth_noise(seed).astype(np.float64) for seed in subjects]
    return np.mean([np.cov(own.T, bias=True) for own in centred], axis=0)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("standardization", ["per_run", "none"])
def test_all_components_give_the_covariance_of_the_channels(tmp_path, whiten, standardization):
    step = {"step": "time_delay_embedding_pca", "n_embeddings": 5, "explained_variance": 1.0, "whiten": whiten}
    store = study(tmp_path, step, standardization=standardization).create()
    names = store.attributes("sub-a", "signals").channel_names
    assert len(names) == 20
    back = back_projection(names, None, store, "signals", ["sub-a", "sub-b"])
    assert back.channel_names == ("channel_0", "channel_1", "channel_2", "channel_3")
    _, covariance = stored(store)
    # Ends of segments count less in a window: 4 of 4000 samples.
    tolerance = 0.01 * np.abs(pooled()).max()
    np.testing.assert_allclose(back.covariances(covariance[None])[0], pooled(), atol=tolerance)


def test_plain_components_come_back(tmp_path):
    store = study(tmp_path, {"step": "pca", "n_components": 4}).create()
    names = store.attributes("sub-a", "signals").channel_names
    back = back_projection(names, None, store, "signals", ["sub-a", "sub-b"])
    _, covariance = stored(store)
    np.testing.assert_allclose(back.covariances(covariance[None])[0], pooled(), rtol=0.01, atol=0.05)
    # A mean of a component is its column, scaled.
    unit = back.means(np.eye(4))
    np.testing.assert_allclose(unit, back.mixing[0].T)


def test_embedded_channels_come_back(tmp_path):
    store = study(tmp_path, {"step": "time_delay_embedding", "n_embeddings": 3}, standardization="none").create()
    names = store.attributes("sub-a", "signals").channel_names
    back = back_projection(names, None, store, "signals", ["sub-a", "sub-b"])
    assert back.channel_names == ("channel_0", "channel_1", "channel_2", "channel_3")
    mean, covariance = stored(store)
    both = np.concatenate([smooth_noise(1), smooth_noise(2)])
    np.testing.assert_allclose(back.means(mean[None])[0], both.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(back.covariances(covariance[None])[0], np.cov(both.T, bias=True), rtol=0.01, atol=0.05)


@pytest.mark.parametrize(("whiten", "standardize"), [(False, False), (True, False), (False, True)])
def test_an_embedding_on_the_fly_comes_back(tmp_path, whiten, standardize):
    store = study(tmp_path).create()
    config = DatasetConfig(n_embeddings=5, n_components=20, whiten=whiten, standardize_components=standardize)
    dataset = MultiSubjectDataset(store.path, config=config)
    dataset.load_data()
    source = dataset.signal_source
    rows = []
    for subject in ("sub-a", "sub-b"):
        own = source.read(subject, "signals").astype(np.float64)
        rows.append(own[np.isfinite(own).all(axis=1)])
    _, covariance = moments(np.concatenate(rows))
    back = back_projection(dataset.channel_names, dataset.embedding, store, "signals", ["sub-a", "sub-b"])
    _, expected = stored(store)
    np.testing.assert_allclose(back.covariances(covariance[None])[0], expected, atol=0.02)
    np.testing.assert_allclose(np.diag(expected), 1.0, atol=1e-3)


def test_what_has_no_way_back_is_told(tmp_path):
    steps = ({"step": "pca", "n_components": 2}, {"step": "amplitude_envelope"})
    store = study(tmp_path, *steps).create()
    names = store.attributes("sub-a", "signals").channel_names
    back = back_projection(names, None, store, "signals", ["sub-a"])
    assert back.stopped_at == "amplitude_envelope"
    assert back.channel_names == ("component_0", "component_1")
    assert dataclasses.asdict(back)["in_words"] == ()


def test_channels_stay_as_they_are_without_components(tmp_path):
    store = study(tmp_path, {"step": "filter", "low_frequency": 1.0}).create()
    names = store.attributes("sub-a", "signals").channel_names
    back = back_projection(names, None, store, "signals", ["sub-a"])
    np.testing.assert_array_equal(back.mixing, np.eye(4)[None])


def lagged(n_embeddings):
    """Covariances of windows of both subjects' channels, the earliest sample first."""
    windows = []
    for seed in (1, 2):
        own = smooth_noise(seed).astype(np.float64)
        own -= own.mean(axis=0)
        n_windows = len(own) - n_embeddings + 1
        windows.append(np.concatenate([own[shift : shift + n_windows] for shift in range(n_embeddings)], axis=1))
    return np.mean([np.cov(own.T, bias=True) for own in windows], axis=0)


@pytest.mark.parametrize(
    "steps",
    [
        [{"step": "time_delay_embedding_pca", "n_embeddings": 5, "explained_variance": 1.0}],
        [{"step": "time_delay_embedding_pca", "n_embeddings": 5, "explained_variance": 1.0, "whiten": True}],
        [{"step": "time_delay_embedding", "n_embeddings": 5}, {"step": "pca", "n_components": 20}],
        [{"step": "pca", "n_components": 4}, {"step": "time_delay_embedding", "n_embeddings": 5}],
        [
            {"step": "time_delay_embedding_pca", "n_embeddings": 5, "explained_variance": 1.0},
            {"step": "standardize"},
        ],
    ],
    ids=["at once", "whitened", "in two steps", "components first", "standardized"],
)
def test_covariances_at_all_lags_come_back_through_the_steps_of_a_store(tmp_path, steps):
    store = study(tmp_path, *steps).create()
    names = store.attributes("sub-a", "signals").channel_names
    back = back_projection(names, None, store, "signals", ["sub-a", "sub-b"])
    _, covariance = stored(store)
    found, truth = back.lagged_covariances(covariance[None])[0], lagged(5)
    assert back.n_embeddings == 5
    np.testing.assert_allclose(found, truth, atol=0.02 * np.abs(truth).max())


def test_components_that_were_chosen_have_no_way_back(tmp_path):
    steps = {"step": "pca", "n_components": 4}, {"step": "select_channels", "channels": ["component_0", "component_1"]}
    store = study(tmp_path, *steps).create()
    names = store.attributes("sub-a", "signals").channel_names
    back = back_projection(names, None, store, "signals", ["sub-a", "sub-b"])
    assert back.stopped_at == "select_channels"
    assert back.channel_names == names
