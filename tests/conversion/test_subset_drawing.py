"""Drawn subsets: whole participants, the seed alone decides, strata are kept as well as whole people can."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynml.conversion.subset_drawing import Draw, drawn_subsets
from dynml.errors import ConfigurationError, DataError
from dynml.store.participants import SubjectIdentity


def people(groups, sessions=2):
    """{covariate: number} participants with two sessions each."""
    made, number = {}, 0
    for value, count in groups.items():
        for _ in range(count):
            for session in range(sessions):
                name = f"sub-{number}_ses-{session}"
                made[name] = SubjectIdentity(subject=name, participant=f"sub-{number}", covariates={"site": value})
            number += 1
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 25), st.integers(3, 25), st.floats(0.05, 0.3), st.floats(0.05, 0.3), st.integers(0, 10))
def test_participants_stay_together_and_strata_keep_their_share(n_first, n_second, validation, testing, seed):
    known = people({"a": n_first, "b": n_second})
    draw = Draw(validation=validation, testing=testing, seed=seed, stratify="site")
    subsets = drawn_subsets(known, draw)
    assert Counter(name for names in subsets.values() for name in names) == Counter(list(known))
    homes = {}
    for subset, names in subsets.items():
        for name in names:
            assert homes.setdefault(known[name].participant, subset) == subset
    n = n_first + n_second
    for subset, share in (("validation", validation), ("testing", testing)):
        total = len({known[name].participant for name in subsets[subset]})
        assert total == max(1, int(np.floor(share * n + 0.5)))
        first = len({known[name].participant for name in subsets[subset] if known[name].covariates["site"] == "a"})
        assert abs(first - total * n_first / n) < 1.0
    backwards = dict(reversed(list(known.items())))
    assert drawn_subsets(backwards, draw) == subsets


def test_other_seeds_draw_others_and_every_participant_is_drawn_equally_often():
    known = people({"a": 10}, sessions=1)
    counts = Counter()
    for seed in range(600):
        counts.update(drawn_subsets(known, Draw(testing=0.2, seed=seed))["testing"])
    assert len(counts) == 10
    # Binomial with mean 120 and standard deviation 9.8.
    assert all(80 < count < 160 for count in counts.values())


def test_what_rounding_leaves_goes_to_the_largest_remainder():
    known = people({"a": 7, "b": 5})
    for seed in range(20):
        # Shares of 3 held out are 1.75 and 1.25.
        testing = drawn_subsets(known, Draw(testing=0.25, seed=seed, stratify="site"))["testing"]
        assert Counter(known[name].covariates["site"] for name in testing) == {"a": 4, "b": 2}


@pytest.mark.parametrize(
    ("known", "settings", "sentence"),
    [
        (people({"a": 2}), {"validation": 0.5, "testing": 0.4}, "2 participants are too few"),
        (people({"a": 4}), {"testing": 0.2, "stratify": "sit"}, "'sit' is not a covariate.*did you mean 'site'"),
        (people({str(i): 1 for i in range(6)}), {"testing": 0.2, "stratify": "site"}, "'site' has 6 values in 6"),
    ],
)
def test_draws_that_cannot_be_are_refused(known, settings, sentence):
    with pytest.raises(DataError, match=sentence):
        drawn_subsets(known, Draw(**settings))


def test_a_participant_of_two_values_cannot_be_stratified():
    known = people({"a": 4})
    known["sub-1_ses-1"] = SubjectIdentity(subject="sub-1_ses-1", participant="sub-1", covariates={"site": "b"})
    with pytest.raises(DataError, match="Participant sub-1 has site 'a' and, as sub-1_ses-1, 'b'"):
        drawn_subsets(known, Draw(testing=0.2, stratify="site"))


@pytest.mark.parametrize(
    "settings", [{}, {"validation": 1.0}, {"validation": -0.1}, {"validation": 0.6, "testing": 0.4}, {"testing": "0.1"}]
)
def test_faulty_shares_are_refused(settings):
    with pytest.raises(ConfigurationError):
        Draw(**settings)
