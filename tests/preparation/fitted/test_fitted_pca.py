"""Fitted components against scikit-learn and numpy on signals that were embedded and concatenated in full."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation import chain
from dynml.preparation.fitted.components import principal_components
from dynml.preparation.fitted.lagged_products import embedded_second_moment, lagged_products, project
from dynml.recording import recording_of_runs

STRETCHES = [np.array([[2, 150], [160, 400]]), np.array([[0, 300]])]


def windows(signals, n):
    """Row t is signals[t : t + n], the earliest sample first, written out by a loop."""
    return np.stack([signals[t : t + n].ravel() for t in range(len(signals) - n + 1)])


def coloured(n_samples, n_channels=5, seed=0):
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(n_channels, n_channels))
    noise = generator.normal(size=(n_samples + 30, n_channels))
    smooth = sum(0.8**lag * noise[30 - lag : n_samples + 30 - lag] for lag in range(25))
    return smooth @ mixing


def subjects():
    made = {}
    for number in range(3):
        runs = [coloured(400, seed=10 * number) + 7.0, coloured(300, seed=10 * number + 1) * 2.0 - 3.0]
        made[f"s{number}"] = recording_of_runs(runs, sampling_frequency=100.0, stretches=STRETCHES)
    return made


def by_hand(recording, n):
    """Embedded samples of all segments, each run about its mean over good samples."""
    rows, start = [], 0
    for pieces in STRETCHES:
        pieces = pieces + start
        good = np.concatenate([recording.signals[first:last] for first, last in pieces])
        rows += [windows(recording.signals[first:last] - good.mean(0), n) for first, last in pieces]
        start = 400
    return np.concatenate(rows)


def fitted(entry, recordings, **more):
    step = chain.chosen_steps([entry])[0]
    first = next(iter(recordings.values()))
    layout = Layout(sampling_frequency=100.0, channel_names=first.channel_names)
    fit = step.fitted(layout, ((name, step.statistics(one)) for name, one in recordings.items()))
    return type(step)(**{**step.parameters(), "fit": fit})


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 4), st.sampled_from([1, 2, 3, 7, 15, 40]), st.integers(0, 99))
def test_lagged_products_are_sums_of_products(n_samples, n_channels, n_lags, seed):
    signals = np.random.default_rng(seed).normal(size=(n_samples, n_channels))
    expected = [signals[: max(n_samples - lag, 0)].T @ signals[lag:] for lag in range(n_lags)]
    np.testing.assert_allclose(lagged_products(signals, n_lags), expected, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 700), st.integers(1, 4), st.sampled_from([1, 3, 7, 15, 41]), st.integers(0, 99))
def test_moment_and_projection_are_those_of_the_embedding(more, n_channels, n, seed):
    generator = np.random.default_rng(seed)
    signals = generator.normal(size=(n + more, n_channels))
    embedded = windows(signals, n)
    np.testing.assert_allclose(embedded_second_moment(signals, n), embedded.T @ embedded, atol=1e-9)
    filters = generator.normal(size=(n, n_channels, 6))
    mean, found = generator.normal(size=n_channels), np.empty((more + 1, 6))
    project(signals, filters, found)
    np.testing.assert_allclose(found, embedded @ filters.reshape(-1, 6), atol=1e-10)
    project(signals, filters, found, mean)
    centred = windows(signals - mean, n)
    np.testing.assert_allclose(found, centred @ filters.reshape(-1, 6), atol=1e-10)
    np.testing.assert_allclose(embedded_second_moment(signals, n, mean), centred.T @ centred, atol=1e-9)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(("name", "n"), [("pca", 1), ("time_delay_embedding_pca", 5)])
def test_components_are_those_of_scikit_learn_on_everything_at_once(name, n, whiten):
    recordings = subjects()
    entry = {"step": name, "n_components": 4, "whiten": whiten} | ({"n_embeddings": n} if n > 1 else {})
    step = fitted(entry, recordings)
    everything = np.concatenate([by_hand(one, n) for one in recordings.values()])
    # The mean of a run is one for all lags; scikit-learn's, one a column, is the same but for the ends of segments.
    moment = everything.T @ everything / len(everything)
    reference = PCA(4).fit(everything)
    np.testing.assert_allclose(reference.explained_variance_, step.fit.arrays["variances"], rtol=2e-3)
    found = step.fit.arrays["components"]
    np.testing.assert_allclose(np.abs(np.diag(reference.components_ @ found)), 1.0, atol=1e-4)
    np.testing.assert_allclose(moment @ found, found * step.fit.arrays["variances"], atol=1e-9)
    assert step.fit.values["explained_variance"] == pytest.approx(
        step.fit.arrays["variances"].sum() / np.trace(moment), rel=1e-12
    )
    assert (found[np.abs(found).argmax(0), np.arange(4)] > 0).all()
    for recording in recordings.values():
        after = chain.applied([step], recording, "s", DataWarnings())
        scale = np.sqrt(step.fit.arrays["variances"]) if whiten else 1.0
        rows = np.concatenate([after.signals[first:last] for first, last in after.segments])
        expected = by_hand(recording, n) @ found / scale
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected, rtol=0, atol=5e-7 * np.abs(expected).max())
        np.testing.assert_array_equal(after.segments, recording.segments + np.array([n // 2, -(n // 2)]))
        np.testing.assert_array_equal(after.source_samples, recording.source_samples + np.array([n // 2, 0]))
        assert after.n_samples == recording.n_samples


@pytest.mark.parametrize(("name", "n"), [("pca", 1), ("time_delay_embedding_pca", 3)])
def test_components_of_very_unlike_size_are_projected_in_float64(name, n):
    scales = np.array([1.0, 1.0, 1e-2, 1e-2, 1e-3])
    recordings = {key: dataclasses.replace(one, signals=one.signals * scales) for key, one in subjects().items()}
    step = fitted({"step": name, "n_components": 5 * n} | ({"n_embeddings": n} if n > 1 else {}), recordings)
    found = step.fit.arrays["components"]
    for recording in recordings.values():
        after = chain.applied([step], recording, "s", DataWarnings())
        rows = np.concatenate([after.signals[first:last] for first, last in after.segments])
        assert rows.dtype == np.float64
        expected = by_hand(recording, n) @ found
        assert expected.std(axis=0).min() < 1e-3 * expected.std(axis=0).max()
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)


def test_embedding_and_pca_in_two_steps_span_the_same_as_in_one():
    recordings = subjects()
    embedding = chain.chosen_steps([{"step": "time_delay_embedding", "n_embeddings": 5}])
    embedded = {name: chain.applied(embedding, one, "s", DataWarnings()) for name, one in recordings.items()}
    two = fitted({"step": "pca", "n_components": 6}, embedded)
    one = fitted({"step": "time_delay_embedding_pca", "n_components": 6, "n_embeddings": 5}, recordings)
    # Column c 5 + e of the embedding is sample 4 - e of channel c; row i 5 + c of the other's components is sample i.
    order = [c * 5 + 4 - i for i in range(5) for c in range(5)]
    cosines = np.linalg.svd(two.fit.arrays["components"][order].T @ one.fit.arrays["components"])[1]
    np.testing.assert_allclose(cosines, 1.0, atol=1e-4)


def test_explained_variance_keeps_the_fewest_components():
    covariance = np.diag([1.0, 5.0, 3.0, 1.0])
    for share, number in [(0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (1.0, 4)]:
        components, variances, found = principal_components(covariance, None, share)
        assert components.shape == (4, number)
        assert found >= share - 1e-12
        assert variances.tolist() == sorted([1.0, 5.0, 3.0, 1.0], reverse=True)[:number]


def test_more_components_than_the_rank_are_refused():
    recordings = subjects()
    for one in recordings.values():
        one.signals[:, 4] = one.signals[:, 0] - one.signals[:, 1]
    with pytest.raises(DataError, match="n_components is 5, but the training subjects' signals have rank 4 only"):
        fitted({"step": "pca", "n_components": 5}, recordings)
    assert fitted({"step": "pca", "explained_variance": 1.0}, recordings).fit.arrays["variances"].shape == (4,)


def test_a_subject_of_lower_rank_than_the_others_is_refused():
    recordings = subjects()
    step = fitted({"step": "pca", "n_components": 5}, recordings)
    recordings["s1"].signals[:, 3] = recordings["s1"].signals[:, 0]
    recordings["s1"].signals[:, 2] = recordings["s1"].signals[:, 0]
    components = step.fit.arrays["components"].copy()
    components[:, 4] = [1, 0, 0, -1, 0]
    step.fit.arrays["components"] = components
    with pytest.raises(DataError, match="^s: run run_0 has no variance in component 4"):
        chain.applied([step], recordings["s1"], "s", DataWarnings())


def test_subjects_of_other_units_are_refused_unless_standardized():
    recordings = subjects()
    recordings["s2"].signals[:] *= 1e-7
    with pytest.raises(DataError, match=r"different units: .* in s2, but .* in s1; put the step 'standardize'"):
        fitted({"step": "pca", "n_components": 2}, recordings)
    standard = chain.chosen_steps(["standardize"])
    same = {name: chain.applied(standard, one, "s", DataWarnings()) for name, one in recordings.items()}
    fitted({"step": "pca", "n_components": 2}, same)


def test_a_fit_is_refused_for_other_channels_and_another_rate():
    step = fitted({"step": "time_delay_embedding_pca", "n_components": 2, "n_embeddings": 3}, subjects())
    names = tuple(f"channel_{c}" for c in range(5))
    assert step.layout_after(Layout(sampling_frequency=100.0, channel_names=names)).channel_names[-1] == "component_1"
    with pytest.raises(DataError, match="fitted at 100 Hz and meets 50 Hz"):
        step.layout_after(Layout(sampling_frequency=50.0, channel_names=names))
    with pytest.raises(DataError, match=r"'Cz' is in one of them only"):
        step.layout_after(Layout(sampling_frequency=100.0, channel_names=("Cz", *names[1:])))
    with pytest.raises(DataError, match="their order differs"):
        step.layout_after(Layout(sampling_frequency=100.0, channel_names=names[::-1]))


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"step": "pca"}, "n_components is None, but must be given, or explained_variance"),
        (
            {"step": "pca", "n_components": 2, "explained_variance": 0.5},
            r"explained_variance is 0\.5, but must",
        ),
        ({"step": "pca", "n_components": 2.0}, r"n_components is 2\.0"),
        ({"step": "pca", "n_components": 0}, "n_components is 0"),
        ({"step": "pca", "explained_variance": 1.5}, r"explained_variance is 1\.5"),
        ({"step": "pca", "n_components": 2, "whiten": 1}, "whiten is 1"),
        ({"step": "pca", "n_components": 2, "fit": None}, r"preparation\[0\]\.fit is None, but must be a parameter"),
        ({"step": "time_delay_embedding_pca", "n_components": 2, "n_embeddings": 4}, "n_embeddings is 4"),
        ({"step": "time_delay_embedding_pca", "n_components": 2}, "has no 'n_embeddings'"),
        ({"step": "sign_alignment"}, "has no 'n_embeddings'"),
        ({"step": "sign_alignment", "n_embeddings": 0}, "n_embeddings is 0"),
        ({"step": "standardize", "method": "none"}, "method is 'none'"),
    ],
)
def test_faulty_parameters_are_named(entry, sentence):
    with pytest.raises((ConfigurationError, DataError), match=sentence):
        chain.chosen_steps([entry])
