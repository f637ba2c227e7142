"""Trials as spans and batches: each once, with its label, whatever the batches and processes."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler, BatchSamplerConfig
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.recording import Events, recording_of_runs

N_SAMPLES = 120
NAMES = ("face", "house", "tool")


def recording(seed, onset=None, labels=None, duration=6, names=NAMES):
    """Two runs of noise with an event every ten samples; sample t of channel 0 is t."""
    rng = np.random.default_rng(seed)
    onset = np.arange(0, N_SAMPLES, 10) if onset is None else np.array(onset, dtype=np.int64)
    labels = np.arange(len(onset)) % 3 if labels is None else np.array(labels)
    signals = rng.normal(size=(N_SAMPLES, 3)).astype(np.float32)
    signals[:, 0] = np.arange(N_SAMPLES)
    events = Events(
        onset=onset.astype(np.int64),
        duration=np.full(len(onset), duration, dtype=np.int64),
        labels={"task": labels.astype(np.int64)},
        names={"task": names},
    )
    runs = [signals[:50], signals[50:]]
    return recording_of_runs(runs, sampling_frequency=0.5, run_names=["r1", "r2"], events=events)


def dataset_of(n_training=5, **settings):
    recordings = [recording(seed) for seed in range(n_training + 2)]
    return MultiSubjectDataset.from_arrays(
        recordings[:n_training], recordings[n_training : n_training + 1], recordings[-1:], **settings
    )


SETTINGS = {
    "all": {"batch_size_training": 7},
    "samples": {"batch_size_training": 40, "batch_size_units": "nb_samples"},
    "subjects": {"batch_size_training": 4, "nb_subjects_per_batch": 2, "cycles": 2},
}


def spans_of(sampler, epoch=0):
    return [span for batch in sampler.batches(epoch) for span in batch]


def places(spans):
    return [(span.subject, span.segment, span.start, span.stop) for span in spans]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_trial_comes_once_an_epoch_in_an_order_of_its_own(name):
    dataset = dataset_of()
    sampler = BatchSampler(dataset, trials="task", seed=3, **SETTINGS[name])
    expected = [(s, int(t >= 50), t, t + 6) for s in range(5) for t in range(0, N_SAMPLES, 10)]
    orders = [spans_of(sampler, epoch) for epoch in range(3)]
    for spans in orders:
        assert sorted(places(spans)) == sorted(expected)
        assert places(spans) != expected
        table = sampler.trials
        assert all(
            (span.start, span.stop, span.label) == (table.start[n], table.stop[n], table.label[n])
            for span in spans
            for n in [span.trial]
        )
    assert len({tuple(spans) for spans in orders}) == 3
    assert spans_of(BatchSampler(dataset, trials="task", seed=3, **SETTINGS[name]), 1) == orders[1]
    assert spans_of(BatchSampler(dataset, trials="task", seed=4, **SETTINGS[name]), 1) != orders[1]


@pytest.mark.parametrize("context", ["validation", "testing"])
@pytest.mark.parametrize("name", SETTINGS)
def test_held_out_trials_come_in_stored_order(context, name):
    sampler = BatchSampler(dataset_of(), trials="task", onset_shift=4.0, trial_length=4, **SETTINGS[name])
    sampler.set_context(context)
    # 4 s are two samples.
    assert places(spans_of(sampler, 5)) == [(0, int(t >= 50), t + 2, t + 6) for t in range(0, N_SAMPLES, 10)]
    assert [span.trial for span in spans_of(sampler)] == list(range(12))
    assert [span.label for span in spans_of(sampler)] == [0, 1, 2] * 4


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_trials_of_one(name, world_size):
    alone = list(BatchSampler(dataset_of(), trials="task", seed=2, **SETTINGS[name]).batches(1))
    samplers = [
        BatchSampler(dataset_of(rank=rank, world_size=world_size), trials="task", seed=2, **SETTINGS[name])
        for rank in range(world_size)
    ]
    shares = [list(sampler.batches(1)) for sampler in samplers]
    assert [Counter(span for share in shares for span in share[step]) for step in range(len(alone))] == [
        Counter(batch) for batch in alone
    ]
    for sampler, share in zip(samplers, shares):
        own = np.flatnonzero(sampler.subset.is_own)
        assert {span.subject for batch in share for span in batch} == set(own.tolist())
        assert sampler.first_own_span(1).subject in own


@pytest.mark.parametrize("collate", ["padded", "packed"])
def test_batches_know_their_trials_and_classes(collate):
    dataset = dataset_of()
    sampler = BatchSampler(dataset, trials="task", batch_size_training=5, seed=1)
    loader = BatchLoader(dataset, collate=collate, seed=1)
    table, seen = dataset.training_set.trials("task"), []
    for batch in loader.iterate(sampler, 0):
        assert batch.trial.dtype == batch.classes.dtype == torch.int64
        assert batch.trial.tolist() == [span.trial for span in batch.spans]
        assert batch.classes.tolist() == table.label[batch.trial].tolist()
        first = batch.signals[:, 0, 0] if collate == "padded" else batch.signals[batch.starts[:-1], 0]
        assert first.tolist() == table.start[batch.trial].tolist()
        assert batch.to(torch.device("cpu")).classes.tolist() == batch.classes.tolist()
        seen += batch.trial.tolist()
    assert sorted(seen) == list(range(60))
    windows = BatchSampler(dataset, window_length=10)
    batch = next(loader.iterate(windows, 0))
    assert set(batch.trial.tolist()) == set(batch.classes.tolist()) == {-1}


def test_jittered_trials_keep_their_label():
    dataset = dataset_of()
    sampler = BatchSampler(dataset, trials="task", batch_size_training=60, seed=1)
    (batch,) = BatchLoader(dataset, time_jitter=2, seed=1).iterate(sampler, 0)
    table = sampler.trials
    assert batch.classes.tolist() == table.label[batch.trial].tolist()
    assert set((batch.start_sample - torch.from_numpy(table.start)[batch.trial]).tolist()) == {-2, -1, 0, 1, 2}


def test_workers_read_trials_as_one_process_does(tmp_path):
    dataset = dataset_of(residency="lazy")
    sampler = BatchSampler(dataset, trials="task", batch_size_training=7, seed=1)
    alone = list(BatchLoader(dataset, seed=1).iterate(sampler, 0))
    read = list(BatchLoader(dataset, seed=1, n_workers=2).iterate(sampler, 0))
    assert [batch.spans for batch in read] == [batch.spans for batch in alone]
    assert all(torch.equal(one.signals, other.signals) for one, other in zip(read, alone))
    assert all(torch.equal(one.classes, other.classes) for one, other in zip(read, alone))


def test_overlapping_trials_come_each_and_their_samples_count_once():
    onset = [0, 2, 4, 30]
    dataset = MultiSubjectDataset.from_arrays([recording(0, onset, [0, 1, 2, 0], duration=10)])
    sampler = BatchSampler(dataset, trials="task", batch_size_training=2)
    assert sorted(places(spans_of(sampler))) == [(0, 0, t, t + 10) for t in onset]
    report = sampler.report()
    assert report.n_spans == 4
    assert report.n_samples - report.n_samples_left_out == 14 + 10


def test_the_report_counts_trials_within_trials_once():
    events = {"onset": [0, 2, 20], "labels": [0, 1, 2]}
    whole = recording(0, **events)
    durations = np.array([30, 4, 4], dtype=np.int64)
    nested = dataclasses.replace(whole, events=dataclasses.replace(whole.events, duration=durations))
    report = BatchSampler(MultiSubjectDataset.from_arrays([nested]), trials="task").report()
    assert report.n_samples - report.n_samples_left_out == 30


def test_lost_and_cut_trials_are_told_in_one_warning():
    silent = dataclasses.replace(recording(1), events=None)
    # Of the two at the end of run r1 (50 samples), 47 to 53 keeps three of six, 48 to 54 two.
    subject = recording(0, [10, 20, 47, 48], [0, 1, -1, 2])
    kept = recording(2, [10, 47, 48, 60], [0, 1, 2, 0])
    dataset = MultiSubjectDataset.from_arrays([subject, kept, silent], standardization="none")
    with pytest.warns(DataWarning) as caught:
        sampler = BatchSampler(dataset, trials="task")
    assert [str(warning.message) for warning in caught] == [
        "2 of 7 training trials have less than half of their samples in one good segment and are left out; 1 of 7 "
        "training trials reach beyond their segment and are cut there; 1 of 3 training subjects have no events with a "
        "column 'task'."
    ]
    assert caught[0].filename == __file__
    assert sorted(places(spans_of(sampler))) == [
        (0, 0, 10, 16), (0, 0, 20, 26), (1, 0, 10, 16), (1, 0, 47, 50), (1, 1, 60, 66)
    ]  # fmt: skip
    assert sampler.trials.number.tolist() == [0, 1, 0, 1, 0]
    assert sampler.trials.n_unlabelled == 1


def test_held_out_subjects_without_trials_are_told():
    unlabelled = recording(1, [10], [-1])
    sampler = BatchSampler(MultiSubjectDataset.from_arrays([recording(0)], [unlabelled]), trials="task")
    with pytest.warns(DataWarning, match=r"^the validation subset has no trials\.$"):
        sampler.set_context("validation")
    assert list(sampler.batches(0)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": "tasks"}, r"column 'tasks' \(did you mean 'task'\?\)"),
        ({"trials": "task", "onset_shift": 1000.0}, r"no trials: of its 12 events .* none has half"),
    ],
)
def test_data_without_trials_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        BatchSampler(dataset_of(1), **settings)


def test_training_data_without_events_or_labels_are_refused():
    silent = dataclasses.replace(recording(1), events=None)
    with pytest.raises(DataError, match=r"column 'task' \(no subject has events\)"):
        BatchSampler(MultiSubjectDataset.from_arrays([silent]), trials="task")
    with pytest.raises(DataError, match=r"training subset has no event with a label in the column 'task'"):
        BatchSampler(MultiSubjectDataset.from_arrays([silent], [recording(0)]), trials="task")


def test_a_process_without_trials_is_refused_by_all_of_them():
    silent = dataclasses.replace(recording(1), events=None)
    for rank in (0, 1):
        dataset = MultiSubjectDataset.from_arrays([recording(0), silent], rank=rank, world_size=2)
        with pytest.raises(DataError, match=r"Process 1 of 2 would have no training trials.*start fewer processes"):
            BatchSampler(dataset, trials="task")


def test_a_trial_longer_than_every_segment_names_the_longest():
    with pytest.raises(ConfigurationError, match=r"trial_length is 71, .* at most 70.*segment 1 of training-0"):
        BatchSampler(dataset_of(1), trials="task", trial_length=71)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"trials": ""}, "sampler.trials"),
        ({"strategy": "trials"}, "sampler.trials"),
        ({"onset_shift": 2.0}, "sampler.onset_shift"),
        ({"onset_shift": 2.0, "window_length": 10}, "sampler.onset_shift"),
        ({"trial_length": 5}, "sampler.trial_length"),
        ({"trials": "task", "trial_length": 0}, "sampler.trial_length"),
        ({"trials": "task", "onset_shift": float("nan")}, "sampler.onset_shift"),
        ({"trials": "task", "onset_shift": "2"}, "sampler.onset_shift"),
        ({"trials": "task", "window_length": 10}, "sampler.window_length"),
        ({"trials": "task", "step": 5}, "sampler.step"),
        ({"trials": "task", "gap": 5}, "sampler.gap"),
        ({"trials": "task", "minimum_length": 5}, "sampler.minimum_length"),
        ({"trials": "task", "strategy": "random_windows", "window_length": 10}, "sampler.strategy"),
        ({"trials": "task", "strategy": "whole_segments"}, "sampler.strategy"),
    ],
)
def test_settings_of_trials_that_cannot_be_used_are_named(settings, key):
    with pytest.raises(ConfigurationError) as error:
        BatchSampler(dataset_of(1), **settings)
    assert error.value.key == key


def test_a_family_may_name_the_trials_after_the_settings_are_read():
    config = BatchSamplerConfig(trial_length=4, onset_shift=2.0)
    named = dataclasses.replace(config, trials="task")
    assert named.resolved_strategy == "trials"
    assert {span.length for span in spans_of(BatchSampler(dataset_of(1), named))} == {4}
