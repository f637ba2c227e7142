"""Epochs of a stated number of batches, which go on where the one before has stopped."""

import itertools
from collections import Counter

import numpy as np
import pytest
from test_batch_draws import SETTINGS, Mixture, sampler_of

from dynml.errors import ConfigurationError

KINDS = SETTINGS | {
    "random": {"strategy": "random_windows", "window_length": [3, 7]},
    "draws": {"draws_per_epoch": 42, "dataset_temperature": 3.0},
}


def batches_of(n_passes, **settings):
    """Batches of passes laid end to end, by a sampler that knows of no stretches."""
    sampler = sampler_of(seed=3, **settings)
    return [batch for number in range(n_passes) for batch in sampler.batches(number)]


@pytest.mark.parametrize("n_batches", [1, 4, 31])
@pytest.mark.parametrize("name", KINDS)
def test_epochs_cut_the_passes_laid_end_to_end(name, n_batches):
    whole = batches_of(160, **KINDS[name])
    sampler = sampler_of(seed=3, batches_per_epoch=n_batches, **KINDS[name])
    cut = [list(sampler.batches(epoch)) for epoch in range(5)]
    assert list(itertools.chain(*cut)) == whole[: 5 * n_batches]
    assert [sampler.n_batches(epoch) for epoch in range(5)] == [n_batches] * 5


@pytest.mark.parametrize("name", KINDS)
def test_an_epoch_can_be_entered_anywhere_by_a_new_sampler(name):
    def make():
        return sampler_of(seed=3, batches_per_epoch=7, **KINDS[name])

    whole = list(make().batches(6))
    for start in range(8):
        assert list(make().batches(6, start)) == whole[start:]
    assert make().first_own_span(6) in {span for batch in batches_of(40, **KINDS[name]) for span in batch}


def test_processes_make_the_batches_of_one():
    settings = {"seed": 3, "batches_per_epoch": 17}
    owners = np.array([1, 0, 1])
    samplers = [sampler_of(Mixture(own=owners == rank), **settings) for rank in (0, 1)]
    for epoch in range(3):
        alone = list(sampler_of(**settings).batches(epoch))
        parts = [list(sampler.batches(epoch)) for sampler in samplers]
        assert [Counter(one) + Counter(other) for one, other in zip(*parts, strict=True)] == list(map(Counter, alone))


def test_validation_is_not_cut():
    sampler = sampler_of(batches_per_epoch=2)
    sampler.set_context("validation")
    assert sum(len(batch) for batch in sampler.batches(0)) == 100


def test_no_batches_are_refused():
    with pytest.raises(ConfigurationError) as error:
        sampler_of(batches_per_epoch=0)
    assert error.value.key == "sampler.batches_per_epoch"
