"""Epochs of a stated number of draws, from mixtures of data sets."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from dynml.batches.composition import drawn_from_datasets
from dynml.batches.sampler import BatchSampler
from dynml.dataset.spans import segment_table
from dynml.errors import ConfigurationError, DataWarning

# Ten windows of four samples a segment of 40: 10, 30 and 60 windows of the data sets x, y and z.
LENGTHS = [40, 120, 240]
DATASETS = ["x", "y", "z"]


class Mixture:
    """Stands for a dataset of one subject per data set, or of as many as `datasets` names."""

    def __init__(self, lengths=LENGTHS, datasets=DATASETS, own=None):
        segments = [np.array([[0, length]], dtype=np.int64) for length in lengths]
        self._subset = SimpleNamespace(
            subjects=[f"s{number}" for number in range(len(lengths))],
            segments=segment_table(segments),
            is_own=np.ones(len(lengths), bool) if own is None else own,
            datasets=datasets,
        )

    def subset(self, name):
        return self._subset


def sampler_of(mixture=None, *, seed=0, **settings):
    settings = {"strategy": "fixed_windows", "window_length": 4, "batch_size_training": 8} | settings
    return BatchSampler(mixture or Mixture(), seed=seed, **settings)


def spans_of(sampler, epoch=0):
    return [span for batch in sampler.batches(epoch) for span in batch]


def shares(sampler, epoch=0):
    counts = Counter(span.subject for span in spans_of(sampler, epoch))
    return [counts[subject] for subject in range(3)]


@pytest.mark.parametrize(
    ("temperature", "weights"),
    [(None, [10, 30, 60]), (1.0, [10, 30, 60]), (2.0, np.sqrt([10, 30, 60])), (1e9, [1, 1, 1]), (0.5, [1, 9, 36])],
)
def test_data_sets_have_their_shares(temperature, weights):
    n_draws, n_epochs = 77, 400
    expected = n_draws * np.array(weights, float) / np.sum(weights)
    drawn = np.array(
        [
            shares(sampler_of(draws_per_epoch=n_draws, dataset_temperature=temperature), epoch)
            for epoch in range(n_epochs)
        ]
    )
    assert (drawn.sum(axis=1) == n_draws).all()
    assert (np.abs(drawn - expected) < 1).all()
    # A share is rounded up or down at random: its mean has a standard deviation of at most 0.5 / sqrt(400) = 0.025.
    assert (np.abs(drawn.mean(axis=0) - expected) < 0.1).all()


def test_any_place_of_an_epoch_has_the_probabilities_of_the_whole():
    generator, first = np.random.default_rng(1), Counter()
    sources = np.repeat([0, 1], [5, 45])
    for _ in range(2000):
        first[int(sources[drawn_from_datasets(sources, 3, 2.0, generator)[0]])] += 1
    # sqrt(5) : sqrt(45) is 1 : 3; 500 of 2,000 draws, standard deviation 19.4.
    assert abs(first[0] - 500) < 78


def test_windows_of_a_data_set_are_used_up_before_one_comes_again():
    sampler = sampler_of(draws_per_epoch=150, dataset_temperature=1e9)
    for epoch in range(3):
        spans = spans_of(sampler, epoch)
        for subject, n_windows in enumerate([10, 30, 60]):
            own = [span for span in spans if span.subject == subject]
            assert len(own) == 50
            for start in range(0, 50, n_windows):
                once = own[start : start + n_windows]
                assert len(set(once)) == len(once)


def test_as_many_draws_as_windows_in_proportion_are_every_window_once():
    every = spans_of(sampler_of())
    for temperature in (None, 1.0):
        drawn = spans_of(sampler_of(draws_per_epoch=100, dataset_temperature=temperature))
        assert len(drawn) == 100
        assert set(drawn) == set(every)


SETTINGS = {
    "windows": {},
    "samples": {"batch_size_training": 30, "batch_size_units": "nb_samples"},
    "subjects": {"nb_subjects_per_batch": 2, "cycles": 2},
    "whole": {"strategy": "whole_segments", "window_length": None},
    "packs": {
        "strategy": "whole_segments",
        "window_length": None,
        "batch_size_units": "nb_samples",
        "batch_size_training": 300,
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_draws_depend_on_seed_and_epoch_and_nothing_else(name):
    def make(seed=3):
        return sampler_of(seed=seed, draws_per_epoch=42, dataset_temperature=3.0, **SETTINGS[name])

    whole = list(make().batches(2))
    assert sum(map(len, whole)) == make().report(2).n_spans == 42
    assert make().n_batches(2) == len(whole)
    for start in range(len(whole) + 1):
        assert list(make().batches(2, start)) == whole[start:]
    assert list(make().batches(1)) != whole
    assert list(make(seed=4).batches(2)) != whole


@pytest.mark.parametrize("name", SETTINGS)
def test_processes_make_the_draws_of_one(name):
    settings = {"draws_per_epoch": 42, "dataset_temperature": 3.0, "seed": 3, **SETTINGS[name]}
    alone = list(sampler_of(**settings).batches(1))
    owners = np.array([1, 0, 1])
    samplers = [sampler_of(Mixture(own=owners == rank), **settings) for rank in (0, 1)]
    parts = [list(sampler.batches(1)) for sampler in samplers]
    assert [Counter(one) + Counter(other) for one, other in zip(*parts, strict=True)] == list(map(Counter, alone))
    for rank, part in enumerate(parts):
        assert {owners[span.subject] for batch in part for span in batch} == {rank}


def test_the_report_counts_drawn_samples_once():
    report = sampler_of(draws_per_epoch=150, dataset_temperature=1e9).report()
    # x and y are used up, of z come 50 of 60 windows.
    assert report.n_samples_left_out == 10 * 4
    few = sampler_of(draws_per_epoch=2).report()
    assert (few.n_spans, few.n_samples - few.n_samples_left_out) == (2, 8)


def test_validation_is_not_drawn():
    sampler = sampler_of(draws_per_epoch=5)
    sampler.set_context("validation")
    spans = spans_of(sampler)
    assert len(spans) == 100
    assert spans == sorted(spans, key=lambda span: (span.subject, span.start))


def test_a_temperature_of_one_data_set_is_told_to_be_of_no_use():
    with pytest.warns(DataWarning, match=r"dataset_temperature is 2\.0, but is not used.*one data set") as caught:
        sampler_of(Mixture(datasets=["x"] * 3), draws_per_epoch=5, dataset_temperature=2.0)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"draws_per_epoch": 0}, "sampler.draws_per_epoch"),
        ({"draws_per_epoch": 2.5}, "sampler.draws_per_epoch"),
        ({"dataset_temperature": 2.0}, "sampler.dataset_temperature"),
        ({"dataset_temperature": 0.0, "draws_per_epoch": 5}, "sampler.dataset_temperature"),
        ({"dataset_temperature": -1.0, "draws_per_epoch": 5}, "sampler.dataset_temperature"),
    ],
)
def test_settings_of_draws_that_cannot_be_used_are_named(settings, key):
    with pytest.raises(ConfigurationError) as error:
        sampler_of(**settings)
    assert error.value.key == key
