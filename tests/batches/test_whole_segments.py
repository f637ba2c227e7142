"""Passes over whole segments, and parts of a subset: which rows come, and that no border is crossed."""

import itertools

import numpy as np
import pytest
import torch
from segments_making import recording_of
from small_model import random_walks

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.batches import whole_segments
from dynml.batches.whole_segments import SegmentPasses, part_of_subset
from dynml.training.processes import Processes


@pytest.fixture
def walks():
    return random_walks((300, 210, 171))


@pytest.fixture
def dataset(walks):
    cut = [recording_of(walks[0], [[10, 60], [61, 62], [80, 300]]), recording_of(walks[1], [[0, 210]])]
    return MultiSubjectDataset.from_arrays(cut, [recording_of(walks[2], [[5, 50], [60, 171]])])


SEGMENTS = {"training": [(0, 10, 60), (0, 61, 62), (0, 80, 300), (1, 0, 210)], "validation": [(2, 5, 50), (2, 60, 171)]}


def segments_of(batches):
    found = []
    for batch in batches:
        borders = batch.starts.tolist()
        assert (borders[0], borders[-1]) == (0, len(batch.signals))
        found += [batch.signals[a:b].numpy() for a, b in itertools.pairwise(borders)]
    return found


@pytest.mark.parametrize("size", [10**6, 200, 1])
def test_a_pass_gives_each_segment_of_a_subset_whole_and_once(dataset, walks, monkeypatch, size):
    monkeypatch.setattr(whole_segments, "SAMPLES_PER_BATCH", size)
    passes = SegmentPasses(dataset)
    for context in ("training", "validation", "training"):
        expected = [walks[subject][start:stop] for subject, start, stop in SEGMENTS[context]]
        found = segments_of(passes(context))
        # Packs of training segments come in an order of their own.
        assert sorted(one.tobytes() for one in found) == sorted(one.tobytes() for one in expected)


def test_a_pass_does_not_augment_and_leaves_other_loaders_alone(dataset, walks):
    loader, sampler = (
        BatchLoader(dataset, noise=1.0),
        BatchSampler(dataset, window_length=20, minimum_length=1, batch_size_training=4),
    )
    passes = SegmentPasses(dataset)
    batches = loader.iterate(sampler, 0)
    next(batches)
    found = segments_of(passes("validation"))
    np.testing.assert_array_equal(found[0], walks[2][5:50])
    assert (loader.context, sampler.context) == ("training", "training")
    assert next(batches).context == "training"


def test_two_processes_share_the_segments_between_them(walks):
    arrays = random_walks((5000, 4600, 4200, 4100))
    shares = []
    for rank in range(2):
        dataset = MultiSubjectDataset.from_arrays(arrays, rank=rank, world_size=2)
        assert Processes(rank, 2).rank == dataset.rank
        shares.append([one.tobytes() for one in segments_of(SegmentPasses(dataset)("training"))])
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == sorted(array.tobytes() for array in arrays)


def rows_of(part):
    borders = part.starts.tolist()
    return [part.signals[a:b].numpy() for a, b in itertools.pairwise(borders)]


@pytest.mark.parametrize("n_samples", [1, 49, 250, 480, 481, 10_000])
def test_a_part_has_as_many_samples_as_asked_for_in_whole_segments_but_for_the_last(dataset, walks, n_samples):
    part = part_of_subset(dataset.training_set, n_samples, seed=3)
    assert len(part.signals) == min(n_samples, 481)
    assert part.starts[0] == 0
    assert part.starts[-1] == len(part.signals)
    left = [walks[subject][start:stop] for subject, start, stop in SEGMENTS["training"]]
    found = rows_of(part)
    for number, rows in enumerate(found):
        of = next(i for i, segment in enumerate(left) if np.array_equal(segment[: len(rows)], rows))
        assert len(rows) == len(left[of]) or number == len(found) - 1
        left.pop(of)  # each segment once


def test_a_part_depends_on_seed_and_number_alone(dataset):
    subset = dataset.training_set
    first, again = (part_of_subset(subset, 250, 3, 1) for _ in range(2))
    assert torch.equal(first.signals, again.signals)
    for places in ([(3, number) for number in range(8)], [(seed, 1) for seed in range(8)]):
        parts = [part_of_subset(subset, 250, *place).signals for place in places]
        assert len({part.numpy().tobytes() for part in parts}) > 1
    assert first.groups is None


@pytest.fixture
def masked_arrays():
    """Two subjects; the first has a gap longer than what is read at once."""
    arrays = random_walks((12_000, 900))
    arrays[0][100:5000] = np.nan
    arrays[0][5003:5600:3] = np.nan
    arrays[1][40:80] = np.nan
    return arrays


@pytest.mark.parametrize("n_samples", [1, 90, 101, 350, 1500, 6500, 50_000])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_part_has_as_many_observed_samples_as_asked_for(masked_arrays, n_samples, seed):
    dataset = MultiSubjectDataset.from_arrays(masked_arrays, missing="mask")
    assert len(dataset.training_set.segments) == 2
    part = part_of_subset(dataset.training_set, n_samples, seed=seed)
    n_observed = sum(int(np.isfinite(array[:, 0]).sum()) for array in masked_arrays)
    assert int(torch.isfinite(part.signals[:, 0]).sum()) == min(n_samples, n_observed)
    assert part.starts[-1] == len(part.signals)
    firsts = [array[0].tobytes() for array in masked_arrays]
    for number, rows in enumerate(rows_of(part)):
        whole = masked_arrays[firsts.index(rows[0].tobytes())]
        np.testing.assert_array_equal(rows, whole[: len(rows)])
        assert len(rows) == len(whole) or number == len(part.starts) - 2
