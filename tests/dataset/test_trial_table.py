"""Trials against a loop over events and samples, on random runs, stretches and events."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.trials import TrialCut, trial_table
from dynml.errors import DataError
from dynml.preparation.standardization import standardized
from dynml.recording import Events, recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

LABELS = ("a", "b", "c")


def events_of(onset, duration, labels, names=LABELS, column="task"):
    """Events of one column; -1 for no label."""
    return Events(
        onset=np.array(onset, dtype=np.int64),
        duration=np.array(duration, dtype=np.int64),
        labels={column: np.array(labels, dtype=np.int64)},
        names={column: tuple(names)},
    )


class Source:
    """Stands for a store of recordings."""

    def __init__(self, recordings):
        self.recordings = recordings

    def events(self, subject, group):
        return self.recordings[subject].events

    def attributes(self, subject, group):
        recording = self.recordings[subject]
        return SimpleNamespace(
            sampling_frequency=recording.sampling_frequency, source_step=recording.source_step, n_masked=0
        )

    def segments(self, subject, group):
        return self.recordings[subject].segments

    def source_samples(self, subject, group):
        return self.recordings[subject].source_samples

    def run_names(self, subject, group):
        return self.recordings[subject].run_names


@st.composite
def recordings(draw):
    """One to three runs with bad stretches, and events anywhere in them."""
    lengths = draw(st.lists(st.integers(6, 40), min_size=1, max_size=3))
    stretches = []
    for length in lengths:
        borders = sorted(draw(st.sets(st.integers(0, length), min_size=2, max_size=6)))
        borders = borders[: len(borders) // 2 * 2]
        stretches.append(np.array(borders, dtype=np.int64).reshape(-1, 2))
    n_events = draw(st.integers(0, 8))
    onset = sorted(draw(st.lists(st.integers(0, sum(lengths) - 1), min_size=n_events, max_size=n_events)))
    duration = draw(st.lists(st.integers(0, 15), min_size=n_events, max_size=n_events))
    labels = draw(st.lists(st.integers(-1, 2), min_size=n_events, max_size=n_events))
    return recording_of_runs(
        [np.zeros((length, 1), np.float32) for length in lengths],
        sampling_frequency=draw(st.sampled_from([0.5, 1.0, 2.0])),
        stretches=stretches,
        run_names=[f"run-{number + 1}" for number in range(len(lengths))],
        events=events_of(onset, duration, labels),
    )


def trials_by_a_loop(recording, onset_shift, trial_length):
    """Every trial as (segment, start, stop, label, number, run), and how many were cut and left out."""
    trials, n_cut, n_left_out, counts = [], 0, 0, {}
    events, run_of_row = recording.events, np.zeros(recording.n_samples, int)
    for run, start, stop in recording.runs():
        run_of_row[start:stop] = run
    for onset, duration, label in zip(events.onset, events.duration, events.labels["task"]):
        if label == -1:
            continue
        run = run_of_row[onset]
        number = counts.get(run, 0)
        counts[run] = number + 1
        length = max(duration, 1) if trial_length is None else trial_length
        first = onset + int(np.floor(onset_shift * recording.sampling_frequency + 0.5))
        rows = set(range(first, first + length))
        held = [
            sorted(rows & set(range(a, b))) if recording.segment_runs[segment] == run else []
            for segment, (a, b) in enumerate(recording.segments.tolist())
        ]
        segment = max(range(len(held)), key=lambda number: len(held[number]))
        if 2 * len(held[segment]) < length:
            n_left_out += 1
            continue
        n_cut += len(held[segment]) < length
        span = (held[segment][0], held[segment][-1] + 1)
        trials.append((segment, *span, int(label), number, recording.run_names[run]))
    return trials, n_cut, n_left_out


@given(
    recording=recordings(),
    onset_shift=st.sampled_from([0.0, 1.0, 3.2, 12.0, -2.0]),
    trial_length=st.none() | st.integers(1, 20),
)
@settings(max_examples=250, deadline=None)
def test_trials_are_those_of_a_loop_over_events(recording, onset_shift, trial_length):
    cut = TrialCut("task", onset_shift, trial_length)
    table = trial_table(Source({"s": recording}), "signals", ["s"], LABELS, cut)
    expected, n_cut, n_left_out = trials_by_a_loop(recording, onset_shift, trial_length)
    columns = (table.segment, table.start, table.stop, table.label, table.number, table.run)
    assert list(zip(*(column.tolist() for column in columns))) == expected
    assert (table.n_cut, table.n_left_out) == (n_cut, n_left_out)
    assert table.n_unlabelled == (recording.events.labels["task"] == -1).sum()
    assert table.n_events == len(expected) + n_left_out


def test_a_delay_never_carries_a_trial_into_the_next_run():
    recording = recording_of_runs(
        [np.zeros((20, 1)), np.zeros((20, 1))],
        sampling_frequency=1.0,
        run_names=["first", "second"],
        events=events_of([15, 18, 20], [4, 4, 4], [0, 1, 2]),
    )
    table = trial_table(Source({"s": recording}), "signals", ["s"], LABELS, TrialCut("task", 3.0))
    # Samples 18 to 22 are cut at the end of the run, 21 to 25 lie in the next one, 23 to 27 are whole.
    assert table.start.tolist() == [18, 23]
    assert table.stop.tolist() == [20, 27]
    assert table.run.tolist() == ["first", "second"]
    assert table.number.tolist() == [0, 0]
    assert (table.n_cut, table.n_left_out) == (1, 1)


def test_subjects_number_their_labels_each_in_its_own_way_and_the_table_in_one():
    def recording(names, labels, with_events=True):
        events = events_of([0, 10], [5, 5], labels, names) if with_events else None
        return recording_of_runs([np.zeros((30, 1))], sampling_frequency=1.0, events=events)

    source = Source(
        {"x": recording(("c", "a"), [0, 1]), "y": recording((), [0, 0], False), "z": recording(("b",), [-1, 0])}
    )
    table = trial_table(source, "signals", ["x", "y", "z"], LABELS, TrialCut("task"))
    assert [LABELS[label] for label in table.label] == ["c", "a", "b"]
    assert table.subject.tolist() == [0, 0, 2]
    assert table.start.tolist() == [0, 10, 10]
    assert table.subjects_without_events == ("y",)
    assert table.spans.lengths.tolist() == [5, 5, 5]


@pytest.fixture(scope="module")
def mixed_store(tmp_path_factory):
    """Two data sets of 2 Hz and 0.5 Hz."""
    path = tmp_path_factory.mktemp("mixed") / "store.hdf5"
    rng = np.random.default_rng(0)
    with new_store(path, {}, {"training": ["a", "b", "c"]}) as writer:
        for subject, rate in {"a": 2.0, "b": 0.5, "c": 0.5}.items():
            covariates = {} if subject == "c" else {"dataset": f"set-{subject}", "age": "30"}
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject, covariates=covariates))
            recording = recording_of_runs(
                [rng.normal(size=(60, 2)).astype(np.float32), rng.normal(size=(60, 2)).astype(np.float32)],
                sampling_frequency=rate,
                run_names=["run-A", "run-B"],
                events=events_of([10, 70], [8, 0], [0, 1], ("go", "stop")),
            )
            writer.add_group(subject, "signals", standardized(recording, "none"), 2)
    return path


def test_a_delay_is_in_seconds_of_each_subjects_rate(mixed_store):
    dataset = MultiSubjectDataset(mixed_store, "lazy")
    table = dataset.training_set.trials("task", 5.0)
    # 5 s are 10 samples at 2 Hz and, of 2.5, 3 at 0.5 Hz; an event without duration is one sample.
    assert table.start.tolist() == [20, 80, 13, 73, 13, 73]
    assert table.lengths.tolist() == [8, 1] * 3
    assert table.run.tolist() == ["run-A", "run-B"] * 3
    assert table.label_names == dataset.label_names("task") == ("go", "stop")
    assert dataset.training_set.trials("task", 5.0) is table
    assert dataset.training_set.trials("task", 5.0, 4).lengths.tolist() == [4] * 6


def test_subjects_know_their_data_set(mixed_store):
    assert MultiSubjectDataset(mixed_store, "lazy").training_set.datasets == ["set-a", "set-b", ""]
    arrays = MultiSubjectDataset.from_arrays([np.random.default_rng(0).normal(size=(50, 2))])
    assert arrays.training_set.datasets == [""]


def test_an_unknown_column_is_answered_with_what_there_is(mixed_store):
    subset = MultiSubjectDataset(mixed_store, "lazy").training_set
    with pytest.raises(DataError, match=r"column 'tsk' \(did you mean 'task'\?\)"):
        subset.trials("tsk")
    with pytest.raises(DataError, match=r"column 'condition' \(there are: task\)"):
        subset.trials("condition")


def test_every_subject_has_one_owner(mixed_store):
    subsets = [MultiSubjectDataset(mixed_store, "lazy", rank=rank, world_size=2).training_set for rank in (0, 1)]
    for rank, subset in enumerate(subsets):
        assert subset.owner.tolist() == subsets[0].owner.tolist()
        assert (subset.is_own == (subset.owner == rank)).all()


def test_a_trial_half_in_one_segment_and_half_in_the_next_belongs_to_the_first():
    halves = [np.array([[0, 10], [10, 20]])]
    recording = recording_of_runs(
        [np.zeros((20, 1))], sampling_frequency=1.0, stretches=halves, events=events_of([8], [4], [0])
    )
    table = trial_table(Source({"s": recording}), "signals", ["s"], LABELS, TrialCut("task"))
    assert (table.segment.tolist(), table.start.tolist(), table.stop.tolist()) == ([0], [8], [10])


@pytest.mark.parametrize(("shift", "start"), [(0.0, 5), (1.0, 5), (1.2, 5), (5.0, 7), (6.0, 8)])
def test_onset_and_delay_are_rounded_once(shift, start):
    events = events_of([5], [2], [0])
    exact = dataclasses.replace(events, exact_onset=np.array([4.6]))
    starts, stops = TrialCut("task", shift, 3).stretches(exact, 0.5)
    assert (starts.tolist(), stops.tolist()) == ([start], [start + 3])
