"""Answers and baselines do not depend on the units of the signals."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from decoding_data import RATE, configs_of, dataset_of, recording, small, trainer_of

from dynml import Decoder, MultiSubjectDataset
from dynml.models.sequence.decoding.answer.features import (
    FeatureLayout,
    connectivity,
    log_power,
    network_axes,
    shrunk,
    spectra,
    tangent,
    waves_of,
    whitening,
)
from dynml.models.sequence.decoding.answer.fitting import fit_answer
from dynml.models.sequence.decoding.evaluation import predictions_of
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.numbers.baselines import fit_number_baselines
from dynml.models.sequence.decoding.targets import Target
from dynml.recording import Events, recording_of_runs

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")

SCALES = [2.0**-43, 2.0**20]
"""Powers of 2, by which float32 is multiplied without rounding: 1e-13, 1e6."""

LENGTH, N_TRIALS = 24, 40


def loud_in_one(seed, scale):
    """Trials in which one of two channels is louder; a third one is silent in some, a fourth one in all."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(N_TRIALS) % 2)
    signals = generator.normal(size=(N_TRIALS, LENGTH + 2, 4))
    signals[np.arange(N_TRIALS), :, labels] *= 2.0
    signals[::3, :, 2] = 0.0
    signals[:, :LENGTH, 3] = 0.0
    onset, duration = np.arange(N_TRIALS) * (LENGTH + 2), np.full(N_TRIALS, LENGTH)
    events = Events(onset=onset, duration=duration, labels={"stimulus": labels}, names={"stimulus": ("a", "b")})
    runs = [np.float32(scale) * signals.reshape(-1, 4).astype(np.float32)]
    return recording_of_runs(runs, sampling_frequency=RATE, events=events)


def answered(scale):
    parts = [{f"{name}-{seed}": loud_in_one(seed, scale) for seed in seeds} for name, seeds in zip("abc", SEEDS)]
    dataset = MultiSubjectDataset.from_arrays(*parts)
    configs = configs_of(dataset, backbone="linear", linear_answer="best")
    model, target = Decoding(configs["model"], 4), Target.of(dataset, "stimulus")
    names = configs["model"].class_names
    training, testing = (target.trials(name, configs["sampler"], names) for name in ("training", "testing"))
    found = fit_answer(model.answer, training, by_runs=False, balanced=False, most_trials=1000, seed=0)
    model.network_share.fill_(0.0)
    return found, predictions_of(model, testing)


SEEDS = ([0, 1, 2, 3], [4], [5, 6])


def test_answers_are_the_same_in_all_units():
    expected, said = answered(1.0)
    assert said.accuracy > 0.9
    assert expected.report["kinds"]["power"]["weight"] + expected.report["kinds"]["tangent_space"]["weight"] > 0.5
    for scale in SCALES:
        found, other = answered(scale)
        assert set(found.report["kinds"]) == set(expected.report["kinds"])
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
        np.testing.assert_allclose(other.probabilities, said.probabilities, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-100, 1e-13, 1.0, 1e6, 1e100])
def test_features_of_channels_in_units_of_their_own(scale):
    generator = np.random.default_rng(0)
    signals = generator.normal(size=(12, 200, 3)) @ generator.normal(size=(3, 3))
    units = scale * np.array([1.0, 1e-7, 1e4])
    layout = FeatureLayout(3, 200, ((8.0, 13.0), (13.0, 30.0)))

    def features(values):
        trials = [(torch.from_numpy(one), torch.ones(200, dtype=torch.bool), 100.0) for one in values]
        axes = network_axes(trials, 3)
        found = [spectra(waves_of(one, 100.0), layout, axes) for one, _, _ in trials]
        covariances = torch.stack([shrunk(one) for one in found])
        whitened = whitening(covariances)
        return [
            np.stack(rows)
            for rows in (
                [log_power(one) for one in found],
                [tangent(one, whitened) for one in covariances],
                [connectivity(one) for one in found],
            )
        ]

    (powers, *others), (expected, *same) = features(signals * units), features(signals)
    np.testing.assert_allclose(powers, expected + 2 * np.log(np.tile(units, 3)), atol=1e-8)
    for one, other in zip(others, same):
        np.testing.assert_allclose(one, other, atol=1e-8)


def test_baselines_of_numbers_are_the_same_in_all_units():
    def scored(scale):
        item = recording(3, classes=("house", "face"), n_runs=4)
        values = np.random.default_rng(0).normal(size=32)
        signals = item.signals.astype(np.float64)
        for start, duration, value in zip(item.events.onset, item.events.duration, values):
            signals[start : start + duration, 0] += value
        names = tuple(repr(float(value)) for value in values)
        events = dataclasses.replace(item.events, labels={"force": np.arange(32)}, names={"force": names})
        changed = dataclasses.replace(item, events=events, signals=np.float32(scale) * signals.astype(np.float32))
        dataset = MultiSubjectDataset.from_arrays([changed], [recording(4)])
        trials = Target.of(dataset, "force").labelled("training", configs_of(dataset_of(1, 1, 0))["sampler"])
        fitted = fit_number_baselines(trials, by_runs=True, most_trials=1000, seed=0)
        return [fitted[name].r_squared(trials) for name in ("linear", "functional_connectivity")]

    expected = scored(1.0)
    assert expected[0] > 0.5
    for scale in SCALES:
        assert scored(scale) == pytest.approx(expected, abs=1e-6)


def test_a_decoder_of_signals_as_they_are_learns_in_tesla():
    generator = np.random.default_rng(1)
    trials, labels = generator.normal(size=(60, 20, 4)), np.arange(60) % 2
    trials[labels == 1, :, 0] += 1.0
    said = [
        Decoder(standardization="none", max_epochs=1).fit(scale * trials[:40], labels[:40]).predict(scale * trials[40:])
        for scale in (1e-13, 1.0)
    ]
    assert np.mean(said[1] == labels[40:]) > 0.9
    np.testing.assert_array_equal(said[0], said[1])


def test_signals_that_networks_do_not_learn_from_are_said(tmp_path):
    def dataset(scale):
        parts = [[dataclasses.replace(one, signals=scale * one.signals)] for one in (recording(0), recording(1))]
        return MultiSubjectDataset.from_arrays(*parts, standardization="none")

    for scale, is_said in ((1e-13, True), (10.0, False)):
        trainer = trainer_of(dataset(scale), tmp_path, f"{is_said}", **small("csm"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.initialize()
        assert any("networks learn from signals near 1" in str(one.message) for one in caught) == is_said
