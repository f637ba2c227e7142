"""Sources of oscillations, found without classes, and classes that differ in how these go together alone."""

import dataclasses

import numpy as np
import pytest
import torch
from decoding_data import configs_of
from scipy.linalg import eigh, subspace_angles
from scipy.signal import lfilter

from dynml import MultiSubjectDataset
from dynml.models.sequence.decoding.answer.features import FeatureLayout, waves_of
from dynml.models.sequence.decoding.answer.fitting import fit_answer
from dynml.models.sequence.decoding.answer.oscillations import bands_with_sources, oscillations, source_axes
from dynml.models.sequence.decoding.evaluation import predictions_of
from dynml.models.sequence.decoding.findings import unread_finding
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Target
from dynml.recording import Events, recording_of_runs

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")

BAND, RATE, LENGTH, N_CHANNELS, N_TRIALS = (8.0, 13.0), 100.0, 200, 8, 60
LAYOUT = FeatureLayout(N_CHANNELS, LENGTH, (), source_bands=(BAND, (20.0, 40.0)))
NETWORKS = torch.eye(N_CHANNELS, dtype=torch.float64)
MIXING = np.random.default_rng(0).normal(size=(3, N_CHANNELS))


def trials_of(seed, strength=1.0, lag=None):
    """Three sources of 10 Hz in coloured noise; the first two at a stated lag, else at random phases."""
    generator = np.random.default_rng(seed)
    noise = lfilter([1.0], [1.0, -0.9], generator.normal(size=(N_TRIALS * LENGTH, N_CHANNELS)), axis=0)
    signals = noise.reshape(N_TRIALS, LENGTH, N_CHANNELS)
    phases = generator.uniform(0, 2 * np.pi, (N_TRIALS, 3))
    if lag is not None:
        phases[:, 1] = phases[:, 0] + lag
    times = np.arange(LENGTH) / RATE
    waves = np.cos(2 * np.pi * 10 * times[:, None] + phases[:, None])
    return signals + strength * waves @ MIXING


def as_trials(signals):
    known = torch.ones(signals.shape[1], dtype=torch.bool)
    return [(torch.from_numpy(one), known, RATE) for one in signals]


def cross_spectra(signals, inside):
    """Mean real cross-spectra of frequencies for which `inside` is true, each trial by its power, and how many."""
    taper = np.hanning(LENGTH + 2)[1:-1]
    waves = np.fft.rfft((signals - signals.mean(axis=1, keepdims=True)) * taper[:, None], axis=1)
    frequencies = np.fft.rfftfreq(LENGTH, 1 / RATE)
    low, high = BAND
    near = (frequencies >= low - 2.5) & (frequencies < high + 2.5)
    power = np.square(np.abs(waves[:, near])).sum(axis=(1, 2))
    chosen = near & inside(frequencies)
    own = waves[:, chosen]
    return np.einsum("nfc,nfd,n->cd", own.conj(), own, 1 / power).real / (len(signals) * chosen.sum())


def test_sources_are_those_of_generalized_eigenvectors_and_span_the_planted_ones():
    signals = trials_of(0)
    found = source_axes(as_trials(signals), LAYOUT, NETWORKS)
    assert bands_with_sources(found) == [0]
    axes = found[0][:, (found[0] != 0).any(dim=0)].numpy()
    assert axes.shape[1] == 3
    within = cross_spectra(signals, lambda hertz: (hertz >= BAND[0]) & (hertz < BAND[1]))
    beside = cross_spectra(signals, lambda hertz: (hertz < BAND[0]) | (hertz >= BAND[1]))
    expected = eigh(within, beside)[1][:, ::-1][:, :3]
    cosines = np.abs(np.sum(axes * expected, axis=0)) / np.linalg.norm(axes, axis=0) / np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-9)
    # In noise that is alike in all channels filters span the patterns; random ones are 70 to 90 degrees away.
    assert np.degrees(subspace_angles(axes, MIXING.T)).max() < 15


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_sources(seed):
    noise = np.random.default_rng(seed).normal(size=(N_TRIALS, LENGTH, N_CHANNELS))
    assert bands_with_sources(source_axes(as_trials(noise), LAYOUT, NETWORKS)) == []


def test_channels_that_depend_on_others_change_nothing():
    signals = trials_of(1)
    referenced = signals - signals.mean(axis=2, keepdims=True)
    plain, other = (source_axes(as_trials(one), LAYOUT, NETWORKS) for one in (signals, referenced))
    assert bands_with_sources(other) == bands_with_sources(plain) == [0]
    seven = source_axes(
        as_trials(referenced[:, :, :-1]), dataclasses.replace(LAYOUT, n_channels=7), torch.eye(7).double()
    )
    made = referenced @ other[0, :, :3].numpy(), referenced[:, :, :-1] @ seven[0, :, :3].numpy()
    assert np.degrees(subspace_angles(*(one.reshape(-1, 3) for one in made))).max() < 3


def test_a_loud_trial_does_not_outweigh_the_others():
    signals = trials_of(2)
    signals[0] *= 1e4
    axes = source_axes(as_trials(signals), LAYOUT, NETWORKS)[0].numpy()
    assert np.degrees(subspace_angles(axes[:, :3], MIXING.T)).max() < 15


def test_features_are_relative_power_and_cross_spectra():
    signals = trials_of(3)[0]
    axes = torch.from_numpy(np.random.default_rng(3).normal(size=(1, N_CHANNELS, 2)))
    found = oscillations(waves_of(torch.from_numpy(signals), RATE), [BAND], NETWORKS, axes).numpy()
    waves = np.fft.rfft((signals - signals.mean(axis=0)) * np.hanning(LENGTH + 2)[1:-1, None], axis=0)
    frequencies = np.fft.rfftfreq(LENGTH, 1 / RATE)
    made, near = waves @ axes[0].numpy(), (frequencies >= 5.5) & (frequencies < 15.5)
    first, second = made[(frequencies >= BAND[0]) & (frequencies < BAND[1])].T
    powers = np.square(np.abs(first)).sum(), np.square(np.abs(second)).sum()
    pair = (first.conj() * second).sum()
    np.testing.assert_allclose(
        found, np.array([*powers, pair.real, pair.imag]) / np.square(np.abs(made[near])).sum(), atol=1e-12
    )
    silent = oscillations(waves_of(torch.from_numpy(signals), RATE), [BAND], NETWORKS, torch.zeros_like(axes))
    assert torch.equal(silent, torch.zeros(4, dtype=torch.float64))


def coupled(seed):
    """Classes differ in the lag of two sources of the same power."""
    labels = np.arange(N_TRIALS) % 2
    kinds = [trials_of(2 * seed, 0.35, lag=0.8), trials_of(2 * seed + 1, 0.35, lag=-0.8)]
    signals = np.where(labels[:, None, None], kinds[1], kinds[0])
    onset, duration = np.arange(N_TRIALS) * LENGTH, np.full(N_TRIALS, LENGTH)
    events = Events(onset=onset, duration=duration, labels={"stimulus": labels}, names={"stimulus": ("a", "b")})
    return recording_of_runs([signals.reshape(-1, N_CHANNELS)], sampling_frequency=RATE, events=events)


@pytest.mark.parametrize("reads_sources", [True, False])
def test_coupling_is_decoded_from_few_trials(reads_sources):
    dataset = MultiSubjectDataset.from_arrays({"a": coupled(10)}, {}, {"b": coupled(11), "c": coupled(12)})
    config = configs_of(dataset, backbone="linear", linear_answer="best")["model"]
    assert [8.0, 13.0] in config.answer_source_bands
    assert [8.0, 10.0] in config.answer_source_bands
    if not reads_sources:  # a decoder of before
        config = dataclasses.replace(config, answer_source_bands=None)
    model, target = Decoding(config, N_CHANNELS), Target.of(dataset, "stimulus")
    sampler = configs_of(dataset, backbone="linear", linear_answer="best")["sampler"]
    training, testing = (target.trials(name, sampler, config.class_names) for name in ("training", "testing"))
    found = fit_answer(model.answer, training, by_runs=False, balanced=False, most_trials=1000, seed=0)
    model.network_share.fill_(0.0)
    said = predictions_of(model, testing)
    assert ("oscillations" in found.report["kinds"]) == reads_sources
    assert ("sources_APJ" in dict(model.answer.named_buffers())) == reads_sources
    assert said.accuracy > 0.85 if reads_sources else said.accuracy < 0.8
    if reads_sources:
        assert found.report["kinds"]["oscillations"]["band"] in ([8.0, 13.0], [10.0, 13.0])
        assert found.report["kinds"]["oscillations"]["weight"] > 0.3


def test_trials_without_a_spectrum_do_not_take_it_from_the_others():
    silent = coupled(13)
    for trial in range(0, N_TRIALS, 6):
        silent.signals[trial * LENGTH : (trial + 1) * LENGTH] = 0.0
    dataset = MultiSubjectDataset.from_arrays({"a": silent}, {}, {"b": coupled(11)})
    configs = configs_of(dataset, backbone="linear", linear_answer="best")
    model, target = Decoding(configs["model"], N_CHANNELS), Target.of(dataset, "stimulus")
    names = configs["model"].class_names
    training, testing = (target.trials(name, configs["sampler"], names) for name in ("training", "testing"))
    found = fit_answer(model.answer, training, by_runs=False, balanced=False, most_trials=1000, seed=0)
    model.network_share.fill_(0.0)
    assert predictions_of(model, testing).accuracy > 0.8
    assert found.report["n_without_spectrum"] == 10
    assert unread_finding(found.report) == [
        "10 of 60 training trials have no power, covariances or connectivity (too short for a band, or constant), so "
        "these say nothing of them."
    ]
