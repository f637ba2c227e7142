"""Spans and batches against brute force, on random layouts of segments."""

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynml.batches.fixed_windows import FixedWindows
from dynml.batches.sampler import BatchSampler, BatchSamplerConfig, Span
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.spans import segment_table
from dynml.errors import ConfigurationError, DataError, DataWarning

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")


class Layout:
    """Stands for a dataset: segments of subjects, without signals."""

    def __init__(self, training, validation=(), testing=(), own=None):
        self._subsets = {
            name: SimpleNamespace(
                subjects=[f"{name}-{i}" for i in range(len(segments))],
                segments=segment_table([np.array(s, dtype=np.int64).reshape(-1, 2) for s in segments]),
                is_own=np.ones(len(segments), bool) if own is None else own,
            )
            for name, segments in {"training": training, "validation": validation, "testing": testing}.items()
        }

    def subset(self, name):
        return self._subsets[name]


@st.composite
def layouts(draw, shortest=1, longest=60):
    """Segments of one to four subjects, with bad stretches (or none) between them."""
    subjects = []
    for _ in range(draw(st.integers(1, 4))):
        segments, position = [], 0
        for _ in range(draw(st.integers(1, 4))):
            start = position + draw(st.integers(0, 5))
            position = start + draw(st.integers(shortest, longest))
            segments.append((start, position))
        subjects.append(segments)
    return subjects


def spans_of(sampler, epoch=0, start=0):
    return [span for batch in sampler.batches(epoch, start) for span in batch]


def uses_of_samples(spans):
    return Counter((span.subject, sample) for span in spans for sample in range(span.start, span.stop))


def good_samples(layout):
    return [(i, t) for i, segments in enumerate(layout) for start, stop in segments for t in range(start, stop)]


def by_segment(spans):
    found = {}
    for span in sorted(spans, key=lambda s: (s.subject, s.segment, s.start)):
        found.setdefault((span.subject, span.segment), []).append((span.start, span.stop))
    return found


@given(layout=layouts(longest=60), length=st.integers(1, 20), gap=st.integers(0, 4), epoch=st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_random_windows_tile_segments_at_a_random_phase(layout, length, gap, epoch):
    if max(stop - start for s in layout for start, stop in s) < length:
        return
    sampler = BatchSampler(Layout(layout), window_length=length, gap=gap, batch_size_training=3, seed=5)
    spans = spans_of(sampler, epoch)
    assert all(uses == 1 for uses in uses_of_samples(spans).values())
    windows = by_segment(spans)
    for i, segments in enumerate(layout):
        for j, (start, stop) in enumerate(segments):
            if stop - start < length:
                assert (i, j) not in windows
                continue
            found = windows[i, j]
            first = found[0][0]
            assert start <= first < start + length + gap
            regular = [(t, t + length) for t in range(first, stop - length + 1, length + gap)]
            assert found == regular


@given(layout=layouts(longest=60), length=st.integers(1, 20), epoch=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_with_minimum_length_one_every_good_sample_comes_exactly_once(layout, length, epoch):
    sampler = BatchSampler(Layout(layout), window_length=length, minimum_length=1, batch_size_training=4)
    assert uses_of_samples(spans_of(sampler, epoch)) == Counter(good_samples(layout))
    assert sampler.report(epoch).n_samples_left_out == 0


@given(
    layout=layouts(longest=60),
    bounds=st.tuples(st.integers(1, 8), st.integers(8, 15)),
    gap=st.integers(0, 4),
    minimum=st.integers(1, 3),
    fixed=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_ends_keep_the_gap_to_their_window_too(layout, bounds, gap, minimum, fixed):
    length, minimum = (bounds[1] if fixed else list(bounds)), min(minimum, bounds[0])
    if max(stop - start for s in layout for start, stop in s) < minimum:
        return
    sampler = BatchSampler(Layout(layout), window_length=length, gap=gap, minimum_length=minimum, seed=2)
    windows = by_segment(spans_of(sampler))
    for (i, j), found in windows.items():
        start, stop = layout[i][j]
        assert all(after[0] - before[1] == gap for before, after in pairwise(found))
        assert found[0][0] - start < minimum + gap
        assert stop - found[-1][1] < minimum + gap
        assert all(minimum <= b - a <= bounds[1] for a, b in found)


@given(
    layout=layouts(longest=60),
    shortest=st.integers(1, 10),
    more=st.integers(0, 15),
    gap=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_lengths_from_a_range_stay_in_it_and_never_overlap(layout, shortest, more, gap, epoch):
    if max(stop - start for s in layout for start, stop in s) < shortest:
        return
    bounds = [shortest, shortest + more]
    sampler = BatchSampler(Layout(layout), window_length=bounds, gap=gap, batch_size_training=4)
    spans = spans_of(sampler, epoch)
    assert all(bounds[0] <= span.length <= bounds[1] for span in spans)
    windows = by_segment(spans)
    for i, segments in enumerate(layout):
        for j, (start, stop) in enumerate(segments):
            found = windows.get((i, j), [])
            assert bool(found) == (stop - start >= shortest)
            if found:
                assert found[0][0] - start < shortest + gap
                assert stop - found[-1][1] < shortest + gap
                assert found[0][0] >= start
                assert found[-1][1] <= stop
                assert all(after[0] - before[1] == gap for before, after in pairwise(found))


@given(layout=layouts(longest=60), bounds=st.tuples(st.integers(2, 8), st.integers(8, 15)), epoch=st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_lengths_from_a_range_with_ends_cover_everything(layout, bounds, epoch):
    sampler = BatchSampler(Layout(layout), window_length=list(bounds), minimum_length=1, batch_size_training=4)
    assert uses_of_samples(spans_of(sampler, epoch)) == Counter(good_samples(layout))


@given(layout=layouts(longest=50), length=st.integers(1, 15), step=st.integers(1, 20), minimum=st.integers(1, 15))
@settings(max_examples=80, deadline=None)
def test_fixed_windows_are_those_of_a_loop(layout, length, step, minimum):
    minimum = min(minimum, length)
    if max(stop - start for s in layout for start, stop in s) < minimum:
        return
    expected = {}
    for i, segments in enumerate(layout):
        for j, (start, stop) in enumerate(segments):
            windows, t = [], start
            while t + length <= stop:
                windows.append((t, t + length))
                t += step
            tail = start if not windows else windows[-1][1] + max(step - length, 0)
            if stop - tail >= minimum:
                windows.append((tail, stop))
            if windows:
                expected[i, j] = windows
    sampler = BatchSampler(
        Layout(layout), strategy="fixed_windows", window_length=length, step=step, minimum_length=minimum
    )
    assert by_segment(spans_of(sampler)) == expected
    assert by_segment(spans_of(sampler, 1)) == expected


def test_borders_move_from_epoch_to_epoch_and_evenly():
    sampler = BatchSampler(Layout([[(100, 400)]]), window_length=10, seed=1)
    phases = [min(span.start for span in spans_of(sampler, epoch)) - 100 for epoch in range(600)]
    counts = np.bincount(phases, minlength=10)
    assert len(counts) == 10
    # 600 draws over 10 phases: the chi-square statistic has 9 degrees of freedom; 27.9 is its 99.9th percentile.
    assert ((counts - 60) ** 2 / 60).sum() < 27.9
    used = set().union(*(uses_of_samples(spans_of(sampler, epoch)) for epoch in range(100)))
    assert {t for _, t in used} == set(range(100, 400))


def test_a_range_of_lengths_draws_them_evenly():
    sampler = BatchSampler(Layout([[(0, 60_000)]]), window_length=[5, 14], seed=2)
    counts = np.bincount([span.length for span in spans_of(sampler)])[5:]
    expected = counts.sum() / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


SETTINGS = {
    "windows": {"window_length": 7, "batch_size_training": 5},
    "range": {"window_length": [3, 9], "batch_size_training": 5, "minimum_length": 2},
    "samples": {"window_length": 7, "batch_size_training": 30, "batch_size_units": "nb_samples"},
    "whole": {"batch_size_training": 3},
    "packed": {"batch_size_training": 60, "batch_size_units": "nb_samples"},
    "subjects": {"window_length": 7, "batch_size_training": 5, "nb_subjects_per_batch": 2, "cycles": 3},
    "subjects_samples": {
        "window_length": [3, 9],
        "batch_size_training": 40,
        "batch_size_units": "nb_samples",
        "nb_subjects_per_batch": 2,
    },
}
LAYOUT = [[(0, 90), (93, 140)], [(5, 80)], [(0, 33), (33, 61), (70, 99)], [(2, 120)], [(0, 50)]]


@pytest.mark.parametrize("name", SETTINGS)
def test_entering_an_epoch_at_any_batch_gives_the_same_rest(name):
    for epoch in (0, 3):
        whole = list(BatchSampler(Layout(LAYOUT), seed=4, **SETTINGS[name]).batches(epoch))
        for start in range(len(whole) + 1):
            fresh = BatchSampler(Layout(LAYOUT), seed=4, **SETTINGS[name])
            assert list(fresh.batches(epoch, start)) == whole[start:]
        assert fresh.n_batches(epoch) == len(whole)


@pytest.mark.parametrize("name", SETTINGS)
def test_batches_depend_on_seed_and_epoch_and_nothing_else(name):
    sampler = BatchSampler(Layout(LAYOUT, LAYOUT), seed=4, **SETTINGS[name])
    first = list(sampler.batches(1))
    sampler.set_context("validation")
    list(sampler.batches(1))
    sampler.set_context("training")
    list(sampler.batches(7))
    assert list(sampler.batches(1)) == first
    orders = {tuple(map(tuple, sampler.batches(epoch))) for epoch in range(6)}
    assert len(orders) > 1
    assert tuple(map(tuple, BatchSampler(Layout(LAYOUT), seed=5, **SETTINGS[name]).batches(1))) != tuple(
        map(tuple, first)
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_span_of_an_epoch_comes_exactly_once(name):
    sampler = BatchSampler(Layout(LAYOUT), seed=4, **SETTINGS[name])
    spans = spans_of(sampler, 2)
    assert len(set(spans)) == len(spans) == sampler.report(2).n_spans
    assert max(uses_of_samples(spans).values()) == 1
    if name in {"whole", "packed"}:
        assert sorted((s.subject, s.start, s.stop) for s in spans) == [
            (i, *segment) for i, segments in enumerate(LAYOUT) for segment in segments
        ]


@pytest.mark.parametrize("context", ["validation", "testing"])
def test_validation_takes_all_samples_in_stored_order_whatever_seed_and_epoch(context):
    def batches(seed, epoch, **settings):
        sampler = BatchSampler(Layout(LAYOUT, LAYOUT, LAYOUT), seed=seed, window_length=7, **settings)
        sampler.set_context(context)
        return list(sampler.batches(epoch))

    batches_0 = batches(0, 0, batch_size_validation=4)
    spans = [span for batch in batches_0 for span in batch]
    assert uses_of_samples(spans) == Counter(good_samples(LAYOUT))
    assert spans == sorted(spans, key=lambda s: (s.subject, s.start))
    assert [len(batch) for batch in batches_0[:-1]] == [4] * (len(batches_0) - 1)
    assert batches(9, 5, batch_size_validation=4) == batches_0
    subjects = batches(9, 5, batch_size_validation=4, nb_subjects_per_batch=1)
    assert subjects == batches_0


def test_a_cap_on_validation_batches_keeps_the_same_ones_from_all_of_the_data():
    layout = [[(0, 50)] for _ in range(12)]

    def batches(context, epoch=0, **settings):
        sampler = BatchSampler(Layout(layout, layout, layout), window_length=10, batch_size_training=5, **settings)
        sampler.set_context(context)
        if context == "validation":
            assert sampler.without_cap().n_batches(epoch) == 12
        return list(sampler.batches(epoch)), sampler.report(epoch)

    everything, whole = batches("validation")
    capped, report = batches("validation", max_validation_batches=4)
    # One of each three batches of one subject each.
    assert capped == [everything[number] for number in (1, 4, 7, 10)]
    assert batches("validation", 5, max_validation_batches=4)[0] == capped
    assert (report.n_batches, report.n_batches_left_out, whole.n_batches_left_out) == (4, 8, 0)
    assert report.n_samples - report.n_samples_left_out == 4 * 50
    assert batches("validation", max_validation_batches=12) == (everything, whole)
    for context in ("training", "testing"):
        assert batches(context, max_validation_batches=1)[0] == batches(context)[0]


@given(
    layout=layouts(shortest=4, longest=40),
    budget=st.integers(1, 100),
    strategy=st.sampled_from(["whole_segments", "random_windows"]),
)
@settings(max_examples=60, deadline=None)
def test_batches_of_samples_keep_to_their_budget_and_fill_it(layout, budget, strategy):
    length = 4 if strategy == "random_windows" else None
    sampler = BatchSampler(
        Layout(layout),
        strategy=strategy,
        window_length=length,
        batch_size_training=budget,
        batch_size_units="nb_samples",
    )
    batches = list(sampler.batches(0))
    for batch in batches:
        n_samples = sum(span.length for span in batch)
        assert n_samples <= budget or len(batch) == 1
        assert sampler.is_oversized(batch) == (n_samples > budget)
    if strategy == "whole_segments":
        order = sorted(range(len(batches)), key=lambda b: (batches[b][0].subject, batches[b][0].segment))
        stored = [batches[b] for b in order]
        assert [s for b in stored for s in b] == sorted(
            (s for b in stored for s in b), key=lambda s: (s.subject, s.start)
        )
        # Greedy: the next segment would not have gone into the batch before it.
        for before, after in pairwise(stored):
            assert sum(s.length for s in before) + after[0].length > budget


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    n_subjects=st.integers(1, 5),
    cycles=st.integers(1, 4),
    size=st.integers(1, 12),
)
@settings(max_examples=80, deadline=None)
def test_few_subjects_a_batch_until_they_run_dry(counts, n_subjects, cycles, size):
    layout = [[(0, 2 * n)] for n in counts]
    sampler = BatchSampler(
        Layout(layout),
        strategy="fixed_windows",
        window_length=2,
        batch_size_training=size,
        nb_subjects_per_batch=n_subjects,
        cycles=cycles,
    )
    batches = list(sampler.batches(0))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    left = Counter({i: n for i, n in enumerate(counts)})
    for batch in batches:
        used = Counter(span.subject for span in batch)
        left.subtract(used)
        dry = [subject for subject in used if left[subject] == 0]
        # More subjects than asked for only where as many of them as make the difference have just given their last.
        assert len(used) <= n_subjects + len(dry)
        if not dry and len(used) == min(n_subjects, size):
            assert max(used.values()) - min(used.values()) <= 1
    assert set(left.values()) == {0}


def test_cycles_keep_the_subjects():
    layout = [[(0, 1000)] for _ in range(20)]
    sampler = BatchSampler(
        Layout(layout), window_length=5, batch_size_training=10, nb_subjects_per_batch=3, cycles=4, seed=3
    )
    chosen = [frozenset(span.subject for span in batch) for batch in sampler.batches(0)][:40]
    assert all(len(set(chosen[i : i + 4])) == 1 for i in range(0, 40, 4))
    assert len(set(chosen)) > 5


def test_subjects_are_drawn_in_proportion_to_what_they_have_left():
    layout = [[(0, 3000)], [(0, 1000)]]
    firsts = Counter()
    for seed in range(400):
        sampler = BatchSampler(
            Layout(layout),
            window_length=10,
            minimum_length=1,
            batch_size_training=1,
            nb_subjects_per_batch=1,
            seed=seed,
        )
        firsts[next(sampler.batches(0))[0].subject] += 1
    # 3 in 4 of 400 draws: 300, standard deviation 8.7.
    assert abs(firsts[0] - 300) < 35


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("owners", [[0, 1, 0, 0, 1], [2, 0, 1, 1, 2]])
def test_processes_make_the_steps_of_one_and_share_nothing(name, owners):
    samplers = [
        BatchSampler(Layout(LAYOUT, own=np.array(owners) == r), seed=4, **SETTINGS[name])
        for r in range(max(owners) + 1)
    ]
    shares = [list(sampler.batches(1)) for sampler in samplers]
    assert len({len(share) for share in shares}) == 1
    assert {sampler.n_batches(1) for sampler in samplers} == {len(shares[0])}
    spans = [span for share in shares for batch in share for span in batch]
    assert len(set(spans)) == len(spans)
    alone = BatchSampler(Layout(LAYOUT), seed=4, **SETTINGS[name])
    assert set(spans) == set(spans_of(alone, 1))
    together = [{span for share in shares for span in share[step]} for step in range(len(shares[0]))]
    assert together == [set(batch) for batch in alone.batches(1)]
    for owner, (sampler, share) in enumerate(zip(samplers, shares)):
        assert {owners[span.subject] for batch in share for span in batch} == {owner}
        assert owners[sampler.first_own_span(1).subject] == owner


def test_a_window_longer_than_every_segment_names_the_longest():
    with pytest.raises(ConfigurationError, match=r"window_length is 200, .* at most 118.*segment 0 of training-3"):
        BatchSampler(Layout(LAYOUT), window_length=200)


def test_segments_too_short_are_counted_in_a_warning():
    with pytest.warns(DataWarning, match=r"3 of 8 training segments \(90 of 470 samples\) are shorter than 40"):
        sampler = BatchSampler(Layout(LAYOUT), window_length=40)
    report = sampler.report()
    assert (report.n_segments, report.n_segments_left_out, report.n_samples) == (8, 3, 470)
    assert report.n_samples - report.n_samples_left_out == len(uses_of_samples(spans_of(sampler)))


def test_the_report_counts_overlapping_samples_once():
    sampler = BatchSampler(Layout(LAYOUT), strategy="fixed_windows", window_length=12, step=5)
    report = sampler.report()
    assert report.n_samples - report.n_samples_left_out == len(uses_of_samples(spans_of(sampler)))


def test_no_training_data_is_an_error_and_no_validation_data_are_none():
    with pytest.raises(DataError, match="training subset"):
        BatchSampler(Layout([]), window_length=5)
    sampler = BatchSampler(Layout(LAYOUT), window_length=5)
    sampler.set_context("validation")
    assert sampler.n_batches(0) == 0
    assert list(sampler.batches(0)) == []


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"batch_size_training": 0}, "sampler.batch_size_training"),
        ({"batch_size_validation": 0}, "sampler.batch_size_validation"),
        ({"max_validation_batches": 0}, "sampler.max_validation_batches"),
        ({"strategy": "windows"}, "sampler.strategy"),
        ({"strategy": "random_windows"}, "sampler.window_length"),
        ({"strategy": "whole_segments", "window_length": 5}, "sampler.window_length"),
        ({"window_length": 0}, "sampler.window_length"),
        ({"window_length": 5.0}, "sampler.window_length"),
        ({"window_length": [9, 5]}, "sampler.window_length"),
        ({"window_length": [5, 9], "step": 3}, "sampler.window_length"),
        ({"window_length": [5, 9], "strategy": "fixed_windows"}, "sampler.window_length"),
        ({"window_length": 5, "gap": 1, "step": 6}, "sampler.gap"),
        ({"window_length": 5, "minimum_length": 6}, "sampler.minimum_length"),
        ({"step": 5}, "sampler.step"),
        ({"cycles": 2}, "sampler.cycles"),
        ({"batch_size_units": "seconds"}, "sampler.batch_size_units"),
        ({"windw_length": 5}, "sampler.windw_length"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key):
    with pytest.raises(ConfigurationError) as error:
        BatchSampler(Layout(LAYOUT), **settings)
    assert error.value.key == key


def test_a_misspelt_setting_is_answered_with_the_nearest():
    with pytest.raises(ConfigurationError, match="window_length"):
        BatchSampler(Layout(LAYOUT), windw_length=5)


def test_config_and_keywords_give_the_same():
    config = BatchSamplerConfig(window_length=6, batch_size_training=4)
    assert list(BatchSampler(Layout(LAYOUT), config).batches(0)) == list(
        BatchSampler(Layout(LAYOUT), window_length=6, batch_size_training=4).batches(0)
    )


def test_windows_of_one_sample_and_batches_larger_than_the_data():
    sampler = BatchSampler(Layout([[(0, 1), (3, 4)]]), window_length=1, batch_size_training=100)
    assert [sorted(b, key=lambda s: s.start) for b in sampler.batches(0)] == [[Span(0, 0, 0, 1), Span(0, 1, 3, 4)]]


def test_windows_that_scores_are_made_of_need_no_training_subset():
    dataset = MultiSubjectDataset.from_arrays((), testing=[np.random.default_rng(0).normal(size=(45, 3))])
    assert [batch.n_samples for batch in FixedWindows(dataset, 10)("testing")] == [45]
    with pytest.raises(DataError, match="The training subset has no samples"):
        BatchSampler(dataset, window_length=10)
