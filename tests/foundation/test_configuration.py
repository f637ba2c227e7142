"""Configs refuse what they do not know, and say what was meant."""

import re
from dataclasses import dataclass

import pytest

from dynml import configuration
from dynml.configuration import check_at_least, check_choice, check_fraction, config_from, nearest_name
from dynml.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Example:
    n_states: int = 3


def test_unknown_key_names_the_nearest_one():
    with pytest.raises(ConfigurationError, match=r"model\.n_sttes.*did you mean 'n_states'"):
        config_from(Example, {"n_sttes": 4}, "model")


@pytest.mark.parametrize(
    ("written", "is_newer"),
    [
        ("0.1.0", False),
        ("0.0.9", False),
        ("0.2.0.dev1", True),
        ("0.10", True),
        ("1.0", True),
        ("odd", False),
        (None, False),
    ],
)
def test_a_setting_of_a_newer_version_is_told_with_the_version_that_wrote_it(written, is_newer, monkeypatch):
    monkeypatch.setattr(configuration, "__version__", "0.1.0")
    words = (
        f"a setting that dynml 0.1.0 knows, and it was written by dynml {written}" if is_newer else "a known setting"
    )
    with pytest.raises(ConfigurationError, match=f"^model.n_sttes is 4, but must be {re.escape(words)}"):
        config_from(Example, {"n_sttes": 4}, "model", {"environment": {"dynml": written}})


def test_a_name_that_resembles_nothing_lists_what_there_is():
    assert nearest_name("xyzzy", ["csm", "hmm"]) == " (there are: csm, hmm)"


@pytest.mark.parametrize("value", [0, -1, 2.5, "three", None, True, float("nan")])
def test_counts_must_be_whole_and_large_enough(value):
    with pytest.raises(ConfigurationError, match="a whole number of at least 1"):
        check_at_least("model.n_states", value, 1)


def test_numbers_may_be_whole_where_any_number_is_allowed():
    check_at_least("trainer.tolerance", 0, 0.0)
    check_at_least("trainer.patience", None, 1, optional=True)


@pytest.mark.parametrize("value", [0, 1.01, -0.1, "1"])
def test_fractions_lie_above_0_and_up_to_1(value):
    with pytest.raises(ConfigurationError):
        check_fraction("initialization.take", value)


def test_a_choice_names_what_there_is():
    with pytest.raises(ConfigurationError, match="one of full, diagonal .did you mean 'full'"):
        check_choice("model.covariance_type", "ful", ("full", "diagonal"))
