import dataclasses

import numpy as np
import pytest
from decoding_data import REST, TRIAL, dataset_of, recording

from dynml import MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.models.sequence.decoding.baselines import binned_means, correlations, fit_baselines, principal_axes
from dynml.models.sequence.decoding.targets import Target
from dynml.recording import Events, recording_of_runs

CUT = BatchSamplerConfig(trials="stimulus")


def trials_of(dataset, name="training", classes=("face", "house"), sampler=CUT):
    return Target.of(dataset, "stimulus").trials(name, sampler, classes)


def fitted(trials, **settings):
    return fit_baselines(trials, **{"by_runs": False, "balanced": False, "most_trials": 1000, "seed": 0} | settings)


def coupled(seed, n_trials=24):
    """Classes that differ in the correlation of two channels alone."""
    generator = np.random.default_rng(seed)
    length = TRIAL + REST
    labels = generator.permutation(np.resize([0, 1], n_trials))
    signals = generator.normal(size=(n_trials * length, 3))
    for trial, label in enumerate(labels):
        rows = slice(trial * length, trial * length + TRIAL)
        shared = generator.normal(size=(TRIAL, 1))
        signals[rows, :2] = signals[rows, :2] * 0.5 + shared * ([1, 1] if label else [1, -1])
    onset = np.arange(n_trials, dtype=np.int64) * length
    names = {"stimulus": ("apart", "together")}
    events = Events(onset=onset, duration=np.full(n_trials, TRIAL), labels={"stimulus": labels}, names=names)
    return recording_of_runs([signals], sampling_frequency=10.0, events=events)


def test_means_of_equal_parts_by_hand():
    trials = trials_of(dataset_of(1, 0, 0))
    found = binned_means(trials, 5)
    assert found.shape == (16, 20)
    signals = trials.subset.rows(0, int(trials.spans.start[3]), int(trials.spans.stop[3])).numpy().astype(np.float64)
    # 12 samples in 5 parts: 2, 2, 3, 2, 3.
    parts = [signals[0:2], signals[2:4], signals[4:7], signals[7:9], signals[9:12]]
    np.testing.assert_allclose(found[3], np.concatenate([part.mean(axis=0) for part in parts]), atol=1e-12)
    # More parts than samples: some samples count twice, and none of the parts is empty.
    assert np.isfinite(binned_means(trials, 20)).all()


def test_connectivity_agrees_with_numpy():
    trials = trials_of(dataset_of(1, 0, 0))
    found = correlations(trials)
    signals = trials.subset.rows(0, int(trials.spans.start[5]), int(trials.spans.stop[5])).numpy().astype(np.float64)
    expected = np.arctanh(np.corrcoef(signals.T)[np.triu_indices(4, k=1)])
    np.testing.assert_allclose(found[5], expected, rtol=1e-6)
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 2)))[0]
    expected = np.arctanh(np.corrcoef((signals @ axes).T)[0, 1])
    np.testing.assert_allclose(correlations(trials, axes)[5], [expected], rtol=1e-6)


def test_a_constant_channel_correlates_with_nothing():
    generator = np.random.default_rng(0)
    signals = generator.normal(size=(40, 3))
    signals[:20, 1] = 0.7
    events = Events(
        onset=np.array([0, 20]),
        duration=np.array([20, 20]),
        labels={"stimulus": np.array([0, 1])},
        names={"stimulus": ("a", "b")},
    )
    dataset = MultiSubjectDataset.from_arrays([recording_of_runs([signals], sampling_frequency=1.0, events=events)])
    found = correlations(trials_of(dataset, classes=("a", "b")))
    assert found[0, 0] == found[0, 2] == 0.0
    assert abs(found[0, 1]) > 0


def test_each_baseline_finds_what_it_looks_at():
    shifted = dataset_of(4, 2, 0)
    models = fitted(trials_of(shifted))
    held_out = trials_of(shifted, "validation")
    assert models["majority"].accuracy(held_out) == 0.5
    assert models["linear"].accuracy(held_out) > 0.9
    dataset = MultiSubjectDataset.from_arrays([coupled(seed) for seed in range(4)], [coupled(9)])
    classes = ("apart", "together")
    models = fitted(trials_of(dataset, classes=classes))
    held_out = trials_of(dataset, "validation", classes)
    assert models["functional_connectivity"].accuracy(held_out) > 0.9
    assert models["linear"].accuracy(held_out) < 0.75


def test_a_course_over_time_asks_for_several_means():
    def course(seed):
        generator = np.random.default_rng(seed)
        labels = generator.permutation(np.resize([0, 1], 20))
        signals = generator.normal(size=(20 * 16, 2))
        for trial, label in enumerate(labels):
            signals[trial * 16 : trial * 16 + 16, 0] += (1 if label else -1) * np.repeat([1.0, -1.0], 8)
        onset, names = np.arange(20, dtype=np.int64) * 16, {"stimulus": ("down", "up")}
        events = Events(onset=onset, duration=np.full(20, 16), labels={"stimulus": labels}, names=names)
        return recording_of_runs([signals], sampling_frequency=10.0, events=events)

    dataset = MultiSubjectDataset.from_arrays([course(seed) for seed in range(4)], [course(9)])
    linear = fitted(trials_of(dataset, classes=("down", "up")))["linear"]
    assert linear.settings["n_bins"] > 1
    assert linear.accuracy(trials_of(dataset, "validation", ("down", "up"))) > 0.9


def test_settings_are_chosen_by_what_separates_the_subsets():
    several, one = trials_of(dataset_of(3, 0, 0)), trials_of(dataset_of(1, 0, 0, n_runs=3))
    alone = trials_of(dataset_of(1, 0, 0, n_runs=1))
    for trials, by_runs, expected in (
        (several, False, "participants"),
        (several, True, "runs"),
        (one, False, "runs"),
        (alone, False, "trials"),
    ):
        models = fitted(trials, by_runs=by_runs)
        assert models["linear"].settings["chosen_by"] == expected
        assert models["functional_connectivity"].settings["chosen_by"] == expected


def test_connectivity_of_short_trials_and_of_one_channel_does_not_exist():
    short = trials_of(dataset_of(2, 0, 0), sampler=BatchSamplerConfig(trials="stimulus", trial_length=2))
    assert fitted(short)["functional_connectivity"] is None
    assert fitted(short)["linear"] is not None
    items = [recording(seed) for seed in range(2)]
    alone = [dataclasses.replace(item, signals=item.signals[:, :1], channel_names=("one",)) for item in items]
    assert fitted(trials_of(MultiSubjectDataset.from_arrays(alone)))["functional_connectivity"] is None


def test_baselines_repeat_themselves_and_take_no_more_trials_than_allowed():
    trials = trials_of(dataset_of(4, 0, 0))
    first, again = (fitted(trials, most_trials=20) for _ in range(2))
    np.testing.assert_array_equal(first["linear"].predict(trials), again["linear"].predict(trials))
    assert first["linear"].classifier[0].n_samples_seen_ == 20
    assert fitted(trials)["linear"].classifier[0].n_samples_seen_ == 64


def test_principal_axes_are_those_of_the_strongest_channels(monkeypatch):
    monkeypatch.setattr("dynml.models.sequence.decoding.baselines.MOST_NETWORKS", 2)
    generator = np.random.default_rng(0)
    item = recording(0)
    item.signals[:, 1] += 5 * generator.normal(size=len(item.signals))
    item.signals[:, 3] += 3 * generator.normal(size=len(item.signals))
    axes = principal_axes(trials_of(MultiSubjectDataset.from_arrays([item])))
    assert axes.shape == (4, 2)
    assert np.abs(axes[1, 0]) > 0.95
    assert np.abs(axes[3, 1]) > 0.95
    models = fitted(trials_of(MultiSubjectDataset.from_arrays([item])))
    assert models["functional_connectivity"].settings["principal_components"] == 2


def test_balanced_baselines_do_not_give_up_the_rare_class():
    rare = ("face",) * 7 + ("house",)
    dataset = MultiSubjectDataset.from_arrays(
        [recording(seed, classes=rare, n_runs=4, effect=0.35) for seed in range(4)]
    )
    trials = trials_of(dataset)
    found = {flag: np.mean(fitted(trials, balanced=flag)["linear"].predict(trials) == 1) for flag in (True, False)}
    assert found[False] < 0.12
    assert found[True] > found[False] + 0.1


@pytest.mark.parametrize("name", ["majority", "linear", "functional_connectivity"])
def test_no_trials_have_no_accuracy(name):
    trials = trials_of(dataset_of(2, 0, 0))
    assert fitted(trials)[name].accuracy(trials.take(np.zeros(0, dtype=np.int64))) is None
