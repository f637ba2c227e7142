"""Keyed random numbers: the published generator, the right distributions, and nothing but key and counter."""

import numpy as np
import pytest
import torch
from scipy import stats

from dynml.ops.keyed_noise import derived_keys, keyed_bits, keyed_integers, keyed_normal, keyed_uniform, span_keys

N = 200_000


def splitmix64(seed, n):
    """The generator in plain integers, one state after another."""
    mask, outputs = 2**64 - 1, []
    for _ in range(n):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        outputs.append(z ^ (z >> 31))
    return outputs


@pytest.mark.parametrize("key", [0, 1234567, 2**63 - 1, -5])
def test_bits_are_those_of_splitmix64(key):
    bits = keyed_bits(torch.tensor(key), torch.arange(100))
    assert [int(value) % 2**64 for value in bits] == splitmix64(key % 2**64, 100)


def test_the_published_first_outputs_for_seed_1234567():
    bits = keyed_bits(torch.tensor(1234567), torch.arange(3))
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(value) % 2**64 for value in bits] == published


@pytest.mark.parametrize("along", ["counters", "keys", "neighbouring spans"])
def test_normal_numbers_are_standard_normal_and_independent(along):
    if along == "counters":
        drawn = keyed_normal(derived_keys(torch.tensor([3]), 8), torch.arange(N))
    elif along == "keys":
        drawn = keyed_normal(torch.arange(N), torch.zeros(1, dtype=torch.int64))
    else:
        start = torch.arange(N)
        zero = torch.zeros_like(start)
        drawn = keyed_normal(span_keys(0, 0, zero, zero, start, start + 200), zero)
    values = drawn.double().numpy()
    assert drawn.dtype == torch.float32
    assert stats.kstest(values, "norm").pvalue > 1e-3
    for lag in (1, 2, 7, 80):
        assert abs(np.corrcoef(values[:-lag], values[lag:])[0, 1]) < 4.5 / np.sqrt(N)
    assert abs(np.corrcoef(values[:-1] ** 2, values[1:] ** 2)[0, 1]) < 4.5 / np.sqrt(N)


def test_uniform_numbers_are_uniform_and_below_one():
    values = keyed_uniform(torch.tensor(77), torch.arange(N)).double().numpy()
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_integers_are_even_over_their_bound():
    values = keyed_integers(torch.tensor(5), torch.arange(N), torch.tensor(7)).numpy()
    assert stats.chisquare(np.bincount(values, minlength=7)).pvalue > 1e-3
    assert set(values) == set(range(7))
    assert keyed_integers(torch.tensor(5), torch.arange(100), torch.tensor(1)).max() == 0


def test_keys_depend_on_every_part_and_its_place():
    one = torch.tensor([1])
    base = dict(seed=1, epoch=2, subject=3 * one, segment=4 * one, start=5 * one, stop=6 * one)
    keys = {int(span_keys(**base))}
    for name in base:
        keys.add(int(span_keys(**{**base, name: base[name] + 1})))
    keys.add(int(span_keys(**{**base, "seed": 2, "epoch": 1})))
    keys.add(int(span_keys(**{**base, "subject": 4 * one, "segment": 3 * one})))
    assert len(keys) == 9


def test_a_million_spans_have_a_million_keys():
    start = torch.arange(1000).repeat(1000)
    subject = torch.arange(1000).repeat_interleave(1000)
    keys = span_keys(0, 0, subject, torch.zeros_like(start), start, start + 200)
    assert len(torch.unique(keys)) == 1_000_000


@pytest.mark.parametrize("key", [0, 1234567, 2**63 - 1, -5])
def test_derived_keys_are_outputs_of_the_generator_on_the_host_as_on_a_device(key):
    def mixed(value):
        return splitmix64((value - 0x9E3779B97F4A7C15) % 2**64, 1)[0]

    expected = key % 2**64
    for part in (8, -3):
        expected = mixed((mixed(expected) + part) % 2**64)
    assert [int(value) % 2**64 for value in derived_keys(torch.tensor([key]), 8, torch.tensor([-3]))] == [expected]
    assert int(derived_keys(torch.tensor(key), 8, -3)) % 2**64 == expected


def test_one_key_and_many_parts_make_many_keys():
    parts = torch.tensor([[1, 2, 3]])
    found = derived_keys(torch.tensor(7), parts)
    assert found.shape == (1, 3)
    assert found[0].tolist() == [int(derived_keys(torch.tensor(7), part)) for part in (1, 2, 3)]
    assert derived_keys(torch.tensor([[7], [8]]), parts).shape == (2, 3)
