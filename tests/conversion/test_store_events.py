import numpy as np
import pytest
from store_making import Study, noise

from dynml.conversion.events.reading import COUNTS_BLOCKS, OTHER_RUNS, events_of_files, read_events
from dynml.conversion.events.times import (
    BETWEEN,
    CUT_AT_END,
    CUT_AT_START,
    LEFT_OUT,
    NO_DURATION,
    NO_ONSET,
    OVERLAP,
    TWICE,
    RunOfSamples,
)
from dynml.errors import DataError, DataWarning
from dynml.readers.reader import FileEvents

RUNS = [RunOfSamples(name="run-1", n_samples=40), RunOfSamples(name="run-2", n_samples=30)]


def events_of(tmp_path, text, runs=RUNS, rate=10.0, subject="sub-a"):
    path = tmp_path / "events.tsv"
    path.write_text(text, encoding="utf-8")
    return read_events([path], runs, rate, subject)


def test_bids_events_become_samples_of_the_stored_rows(tmp_path):
    text = (
        "onset\tduration\trun\ttrial_type\tresponse\n"
        "2.04\t0.5\t1\tface\tleft\n"
        "0.0\tn/a\t1\tcat\tn/a\n"
        "1.26\t0.96\t2\tface\tright\n"
    )
    events, warned = events_of(tmp_path, text)
    assert [topic for topic, _ in warned] == [NO_DURATION, BETWEEN, BETWEEN]
    assert events.onset.tolist() == [0, 20, 40 + 13]
    assert events.exact_onset.tolist() == pytest.approx([0, 20.4, 40 + 12.6])
    assert events.duration.tolist() == [0, 5, 10]
    assert events.names == {"trial_type": ("cat", "face"), "response": ("left", "right")}
    assert events.labels["trial_type"].tolist() == [0, 1, 1]
    assert events.labels["response"].tolist() == [-1, 0, 1]
    labels = events.labels_of_samples("trial_type", 70)
    assert labels[20:25].tolist() == [1] * 5
    assert labels[[0, 19, 25, 52, 63]].tolist() == [-1] * 5
    assert labels[53:63].tolist() == [1] * 10


def test_several_runs_in_one_file_need_a_column_run(tmp_path):
    with pytest.raises(DataError, match=r"speaks of 2 runs of subject sub-a .* needs a column 'run'"):
        events_of(tmp_path, "onset\tduration\ttrial_type\n1\t1\ta\n")


@pytest.mark.parametrize("values", [("1", "2"), ("run-01", "run-02"), ("run-1", "run-2"), ("early", "late")])
def test_runs_are_matched_by_name_number_or_order(tmp_path, values):
    text = f"onset\tduration\trun\tkind\n0.5\t1\t{values[1]}\tb\n0.5\t1\t{values[0]}\ta\n"
    events, _ = events_of(tmp_path, text)
    assert events.onset.tolist() == [5, 45]
    assert events.labels["kind"].tolist() == [0, 1]


def test_a_run_stored_as_a_subject_takes_its_rows_by_the_subjects_number(tmp_path):
    text = "run\tlabel\n" + "1\trest\n" * 5 + "2\tface\n" * 3 + "2\trest\n" * 2
    events, _ = events_of(tmp_path, text, [RunOfSamples(name="bold", n_samples=5)], subject="sub-001_run-02")
    assert events.onset.tolist() == [0, 3]
    assert [events.names["label"][code] for code in events.labels["label"]] == ["face", "rest"]


def test_runs_that_match_nothing_are_refused(tmp_path):
    text = "run\tlabel\na\tx\nb\ty\nc\tz\n"
    with pytest.raises(DataError, match=r"column 'run' of .*events\.tsv \(a, b, c\) does not name the runs"):
        events_of(tmp_path, text)


def test_one_label_per_sample_becomes_stretches_within_runs(tmp_path):
    labels = ["rest"] * 10 + ["n/a"] * 5 + ["face"] * 25 + ["face"] * 20 + ["cat"] * 10
    events, _ = events_of(tmp_path, "label\n" + "".join(f"{label}\n" for label in labels))
    assert events.onset.tolist() == [0, 15, 40, 60]
    assert events.duration.tolist() == [10, 25, 20, 10]
    assert events.names["label"] == ("cat", "face", "rest")
    expected = [-1 if label == "n/a" else ("cat", "face", "rest").index(label) for label in labels]
    assert events.labels_of_samples("label", 70).tolist() == expected


def test_several_columns_of_labels_share_their_stretches(tmp_path):
    rows = [("a", "1")] * 3 + [("a", "2")] * 4 + [("b", "2")] * 3
    text = "kind\tblock\n" + "".join("\t".join(row) + "\n" for row in rows)
    events, _ = events_of(tmp_path, text, [RunOfSamples(name="run-1", n_samples=10)])
    assert events.onset.tolist() == [0, 3, 7]
    assert events.labels_of_samples("kind", 10).tolist() == [0] * 7 + [1] * 3
    assert events.labels_of_samples("block", 10).tolist() == [0] * 3 + [1] * 7


def test_a_wrong_number_of_rows_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(DataError, match=r"has 9 rows for run run-1 of subject sub-a, but the run has 10 samples"):
        events_of(tmp_path, "label\n" + "x\n" * 9, [RunOfSamples(name="run-1", n_samples=10)])


def test_rows_out_of_order_are_refused(tmp_path):
    text = "volume\tlabel\n" + "".join(f"{number}\tx\n" for number in (0, 2, 1))
    with pytest.raises(DataError, match="Column 'volume' of .* does not count the samples"):
        events_of(tmp_path, text, [RunOfSamples(name="run-1", n_samples=3)])


def test_times_beyond_all_numbers_of_samples_are_cut_or_left_out(tmp_path):
    text = "onset\tduration\ttrial_type\n1\t1e300\tlong\n2\t1\tb\n1e300\t1\tnever\n-1e300\t1\tnever\n"
    events, warned = events_of(tmp_path, text, RUNS[:1])
    assert events.onset.tolist() == [10, 20]
    assert events.duration.tolist() == [RUNS[0].n_samples - 10, 10]
    assert {topic for topic, _ in warned} >= {"events outside of their run were left out"}


def test_events_outside_the_run_are_left_out_and_told(tmp_path):
    text = "onset\tduration\ttrial_type\n-1\t1\ta\n1\t1\tb\n3.5\t2\tc\n9\t1\td\n"
    events, warned = events_of(tmp_path, text, RUNS[:1])
    assert events.onset.tolist() == [10, 35]
    assert events.duration.tolist() == [10, 5]
    assert events.names["trial_type"] == ("b", "c")
    assert warned == [
        (LEFT_OUT, "2 of 4 of events.tsv, run run-1"),
        (CUT_AT_END, "1 of 4 of events.tsv, run run-1"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "onset\tduration\n1000\t100\n2000\t100\n",
            r"No event falls .*\(these look like milliseconds\), and must",
        ),
        ("onset\tduration\n10\t1\n30\t1\n", r"No event falls within run run-1 of 4 s.*\(these look like samples\)"),
        ("onset\tduration\n0\t1\n900\t1\n1800\t1\n", r"Only 1 of 3 events fall .* look like milliseconds"),
        ("onset\ttrial_type\n1\ta\n", "no column 'duration'"),
        ("onset\tduration\nlate\t1\n", "Row 1 of .*: onset is 'late', but must be seconds"),
        ("onset\tduration\nn/a\t1\n", "gives no event an onset"),
        ("onset\tduration\n1\t-1\n", "Row 1 of .*: duration is '-1'"),
        ("onset\tduration\n1\t1\t3\n", "Line 2 of .* has 3 values, but there are 2 columns"),
        ("onset,duration\n1,1\n", "not separated by tabs"),
        ("", "is empty"),
        ("run\tvolume\n" + "".join(f"1\t{n}\n" for n in range(40)), "no column of labels"),
        ("onset\tduration\ta/b\n1\t1\tx\n", "'a/b' .* rename it"),
    ],
)
def test_faulty_tables_are_refused(tmp_path, text, sentence):
    with pytest.raises(DataError, match=sentence):
        events_of(tmp_path, text, RUNS[:1])


def test_events_in_the_store_one_file_a_run(tmp_path):
    study = Study(tmp_path, {"sub-a": [noise(40), noise(30, seed=1)]}, events="events-*.tsv", sampling_frequency=10.0)
    for number, onset in enumerate((1.0, 0.5)):
        text = f"onset\tduration\ttrial_type\n{onset}\t0.3\tkind{number}\n"
        (study.ready / "sub-a" / f"events-{number}.tsv").write_text(text)
    events = study.create().events("sub-a", "signals")
    assert events is not None
    assert events.onset.tolist() == [10, 45]
    assert events.duration.tolist() == [3, 3]
    assert events.names == {"trial_type": ("kind0", "kind1")}
    (study.ready / "sub-a" / "events-2.tsv").write_text(text)
    with pytest.raises(DataError, match="3 events files .* for 2 runs"):
        study.create(overwrite=True)


def test_events_beside_the_config_serve_all_subjects(tmp_path):
    study = Study(tmp_path, {"sub-a": [noise(10)], "sub-b": [noise(10, seed=1)]}, events="labels.tsv")
    (tmp_path / "labels.tsv").write_text("label\n" + "x\n" * 4 + "y\n" * 6)
    store = study.create()
    for subject in store.subjects:
        events = store.events(subject, "signals")
        assert events is not None
        assert events.onset.tolist() == [0, 4]


def test_missing_events_are_named_and_remarks_are_told(tmp_path):
    study = Study(tmp_path, {"sub-a": [noise(10)]}, events="events.tsv", sampling_frequency=1.0)
    with pytest.raises(DataError, match=r"Subject sub-a, group signals: events 'events\.tsv' match no file"):
        study.create()
    (study.ready / "sub-a" / "events.tsv").write_text("onset\tduration\tk\n1\t1\ta\n50\t1\tb\n")
    with pytest.warns(DataWarning, match=r"outside of their run were left out: sub-a: 1 of 2 of events\.tsv"):
        study.create()


def test_a_store_without_events_says_so(tmp_path):
    assert Study(tmp_path, {"sub-a": [noise(10)]}).create().events("sub-a", "signals") is None


def test_an_event_free_table_is_stored(tmp_path):
    study = Study(tmp_path, {"sub-a": [noise(10)]}, events="events.tsv")
    (study.ready / "sub-a" / "events.tsv").write_text("onset\tduration\tkind\n")
    events = study.create().events("sub-a", "signals")
    assert events is not None
    assert len(events) == 0
    assert events.names == {"kind": ()}
    np.testing.assert_array_equal(events.labels_of_samples("kind", 3), [-1, -1, -1])


ONE_RUN = [RunOfSamples(name="task_run-1", n_samples=100)]
COLUMNS = "onset\tduration\ttrial_type\n"


@pytest.mark.parametrize("missing", ["n/a", "nan", "", "NaN"])
def test_events_without_an_onset_are_left_out_and_told(tmp_path, missing):
    events, warned = events_of(tmp_path, COLUMNS + f"1\t1\tgo\n{missing}\t1\tlost\n5\t1\tstop\n", ONE_RUN)
    assert (events.onset.tolist(), events.names["trial_type"]) == ([10, 50], ("go", "stop"))
    assert warned == [(NO_ONSET, "1 of 3 of events.tsv, run task_run-1")]


def test_an_event_that_straddles_the_start_is_cut_there(tmp_path):
    events, warned = events_of(tmp_path, COLUMNS + "-3\t8\tblock\n-2\t1\tbefore\n9\t0.5\tx\n", ONE_RUN)
    assert (events.onset.tolist(), events.duration.tolist()) == ([0, 90], [50, 5])
    place = "1 of 3 of events.tsv, run task_run-1"
    assert warned == [(LEFT_OUT, place), (CUT_AT_START, place)]


def test_overlapping_events_are_kept_and_told(tmp_path):
    events, warned = events_of(tmp_path, COLUMNS + "1\t6\tblock\n2\t1\tface\n4\t1\thouse\n", ONE_RUN)
    assert (events.onset.tolist(), events.duration.tolist()) == ([10, 20, 40], [60, 10, 10])
    assert warned == [(OVERLAP, "2 of 3 of events.tsv, run task_run-1")]


def test_an_event_that_stands_there_twice_is_taken_once_and_told(tmp_path):
    rows = ["2\t1\ta\tleft", "0.5\t0\tb\tleft", "2\t1\ta\tleft", "2\t1\ta\tright", "9\t1\ta\tleft", "9\t1\ta\tleft"]
    events, warned = events_of(tmp_path, "\n".join(["onset\tduration\tkind\tside", *rows]), RUNS[:1])
    assert events.onset.tolist() == [5, 20, 20]
    assert events.labels["kind"].tolist() == [1, 0, 0]
    assert (TWICE, "1 of 6 of events.tsv, run run-1") in warned
    assert (LEFT_OUT, "2 of 6 of events.tsv, run run-1") in warned


def test_what_stands_in_a_recording_twice_is_taken_once_and_told():
    marks = FileEvents(
        onset=np.array([3, 7, 7, 7]), duration=np.array([0, 2, 2, 2]), labels={"description": ["a", "b", "b", "c"]}
    )
    events, warned = events_of_files([None, marks], RUNS)
    assert events.onset.tolist() == [43, 47, 47]
    assert [events.names["description"][code] for code in events.labels["description"]] == ["a", "b", "c"]
    assert warned == [(TWICE, "1 of 4 of run run-2")]
    assert events_of_files([None, None], RUNS) == (None, [])


@pytest.mark.parametrize("name", ["task_run-1_events.tsv", "other.tsv"])
def test_a_column_run_that_counts_blocks_is_a_label(tmp_path, name):
    path = tmp_path / name
    path.write_text("onset\tduration\trun\n1\t1\t1\n2\t1\t1\n4\t1\t2\n8\t1\t3\n")
    events, warned = read_events([path], ONE_RUN, 10.0, "sub-a")
    assert events.onset.tolist() == [10, 20, 40, 80]
    assert events.names == {"run": ("1", "2", "3")}
    assert warned == [(COUNTS_BLOCKS, f"{name}, run task_run-1")]


def test_rows_of_other_runs_are_told(tmp_path):
    text = "onset\tduration\trun\n1\t1\t1\n2\t1\t1\n1\t1\t2\n2\t1\t3\n"
    events, warned = events_of(tmp_path, text, ONE_RUN)
    assert events.onset.tolist() == [10, 20]
    assert warned == [(OTHER_RUNS, "2 of 4 of events.tsv")]


@pytest.mark.parametrize(
    "text", ["{0}1\t1\ta\t\n3\t1\tb\t\n", "onset\tduration\tk\t\n1\t1\ta\t\n3\t1\tb\n", "\ufeff{0}1\t1\ta\n3\t1\tb\n"]
)
@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_delimiters_at_the_end_marks_at_the_start_and_any_line_ends(tmp_path, text, line_end):
    events, warned = events_of(tmp_path, text.format("onset\tduration\tk\n").replace("\n", line_end), ONE_RUN)
    assert (events.onset.tolist(), events.names, warned) == ([10, 30], {"k": ("a", "b")}, [])


def test_exact_onsets_are_kept_in_the_store_and_move_with_downsampling(tmp_path):
    runs = [noise(400), noise(400, seed=1)]
    study = Study(tmp_path, {"sub-a": runs}, events="events-*.tsv", sampling_frequency=10.0)
    for number in range(2):
        (study.ready / "sub-a" / f"events-{number}.tsv").write_text(COLUMNS + "12.34\t2\tx\n20\t2\tx\n")
    with study.create() as store:
        events = store.events("sub-a", "signals")
    assert events.onset.tolist() == [123, 200, 523, 600]
    assert events.exact_onset.tolist() == pytest.approx([123.4, 200, 523.4, 600])
    study.config["signals"]["preparation"] = [{"step": "downsample", "sampling_frequency": 2.0}]
    with pytest.warns(DataWarning, match="stored at the nearest one, with their exact onset beside it"):
        store = study.create(overwrite=True)
    with store:
        events = store.events("sub-a", "signals")
    assert events.exact_onset.tolist() == pytest.approx([24.68, 40, 104.68, 120])
    assert events.onset.tolist() == [25, 40, 105, 120]
