"""Signs against all signs tried one by one, and against flips that were made on purpose."""

import itertools

import numpy as np
import pytest

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.fits import Layout
from dynml.preparation import chain
from dynml.preparation.fitted.sign_alignment import lagged_correlations
from dynml.preparation.fitted.sign_search import SignAgreement, best_signs
from dynml.recording import recording_of_runs


def correlation_of(correlations, template, signs):
    """Pearson correlation over the off-diagonal blocks of the embedded covariance, written out entry by entry."""
    n = len(correlations)
    found, wanted = [], []
    for p, q in itertools.combinations(range(len(signs)), 2):
        for i, j in itertools.product(range(n), repeat=2):
            lag = j - i
            own, other = ((one[lag, p, q] if lag >= 0 else one[-lag, q, p]) for one in (correlations, template))
            found.append(signs[p] * signs[q] * own)
            wanted.append(other)
    return np.corrcoef(found, wanted)[0, 1]


@pytest.mark.parametrize("seed", range(6))
def test_the_search_finds_what_trying_all_signs_finds(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, 3, 7, 7))
    for one in (first, second):
        one[0] = one[0] + one[0].T
    agreement = SignAgreement.of(first, second)
    every = [(1.0, *others) for others in itertools.product([1.0, -1.0], repeat=6)]
    tried = {signs: correlation_of(first, second, signs) for signs in every}
    for signs, expected in list(tried.items())[::9]:
        assert agreement.of_signs(np.array(signs)) == pytest.approx(expected, abs=1e-12)
    signs, found = best_signs(agreement, 10)
    best = max(tried, key=tried.__getitem__)
    assert found == pytest.approx(tried[best], abs=1e-12)
    assert tuple(signs * signs[0]) == best
    assert (signs < 0).sum() <= 3


def subject(seed, signs):
    mixing = np.random.default_rng(5).normal(size=(6, 6))
    noise = np.random.default_rng(seed).normal(size=(3002, 6))
    signals = (noise[2:] + 0.7 * noise[1:-1] * np.arange(6) + 0.5 * noise[:-2]) @ mixing
    return recording_of_runs([signals[:2000] * signs + 3.0, signals[2000:] * signs], sampling_frequency=100.0)


def test_flips_are_undone_and_noted():
    generator = np.random.default_rng(0)
    flips = {f"s{number}": generator.choice([-1.0, 1.0], size=6) for number in range(5)}
    recordings = {name: subject(number, signs) for number, (name, signs) in enumerate(flips.items())}
    step = chain.chosen_steps([{"step": "sign_alignment", "n_embeddings": 3}])[0]
    layout = Layout(sampling_frequency=100.0, channel_names=recordings["s0"].channel_names)
    fit = step.fitted(layout, ((name, step.statistics(one)) for name, one in recordings.items()))
    template = fit.values["template_subject"]
    step = type(step)(n_embeddings=3, fit=fit)
    for name, recording in recordings.items():
        after = chain.applied([step], recording, "s", DataWarnings())
        ratio = after.signals[0] / recording.signals[0]
        together = ratio * flips[name] * flips[template]
        assert (together == together[0]).all(), name
        note = after.preparation[-1]
        assert note["flipped"] == [f"channel_{c}" for c in np.flatnonzero(ratio < 0)]
        assert note["correlation_after"] > 0.97
        assert note["correlation_after"] >= note["correlation_before"]
        assert note["template_subject"] == template


def test_the_template_is_the_subject_of_median_likeness():
    recordings = {f"s{number}": subject(number, np.ones(6)) for number in range(5)}
    step = chain.chosen_steps([{"step": "sign_alignment", "n_embeddings": 1}])[0]
    statistics = {name: step.statistics(one) for name, one in recordings.items()}
    rows, columns = np.triu_indices(6, k=1)
    entries = [np.abs(one["lagged_correlations"][0][rows, columns]) for one in statistics.values()]
    sums = np.corrcoef(entries).sum(axis=1)
    layout = Layout(sampling_frequency=100.0, channel_names=recordings["s0"].channel_names)
    fit = step.fitted(layout, statistics.items())
    assert fit.values["template_subject"] == f"s{np.argsort(sums)[2]}"
    stated = type(step)(n_embeddings=1, template="s9")
    with pytest.raises(DataError, match="template 's9', which is not a training subject"):
        stated.fitted(layout, statistics.items())
    assert type(step)(n_embeddings=1, template="s4").fitted(layout, statistics.items()).values == {
        "template_subject": "s4"
    }


def test_lagged_correlations_stay_within_segments():
    signals = np.random.default_rng(1).normal(size=(500, 3))
    pieces = np.array([[0, 200], [210, 480]])
    recording = recording_of_runs([signals], sampling_frequency=1.0, stretches=[pieces])
    good = np.concatenate([signals[first:last] for first, last in pieces])
    centred = signals - good.mean(0)
    deviations = good.std(0)
    for lag, found in enumerate(lagged_correlations(recording, 3)):
        expected = sum(centred[first : last - lag].T @ centred[first + lag : last] for first, last in pieces)
        np.testing.assert_allclose(found, expected / (470 - 2 * lag) / np.outer(deviations, deviations), atol=1e-12)


def test_two_channels_are_refused():
    step = chain.chosen_steps([{"step": "sign_alignment", "n_embeddings": 3}])[0]
    with pytest.raises(DataError, match="at least 3 channels, and meets 2"):
        step.layout_after(Layout(sampling_frequency=1.0, channel_names=("a", "b")))
