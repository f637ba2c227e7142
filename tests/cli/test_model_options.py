"""Options of scripts that take a trained model and a store."""

from types import SimpleNamespace

import pytest

from dynml.cli.model_options import subsets_given
from dynml.errors import ConfigurationError


def test_a_subset_without_subjects_is_refused_where_they_are_needed():
    subjects = {"training": ["sub-1"], "validation": [], "testing": []}
    dataset = SimpleNamespace(subset=lambda name: SimpleNamespace(subjects=subjects[name]))
    asked = SimpleNamespace(subset="validation", hdf5_file="store.hdf5")
    with pytest.raises(ConfigurationError, match=r"--subset is 'validation'.* in store.hdf5 \(training\)"):
        subsets_given(asked, dataset)
    assert subsets_given(SimpleNamespace(subset="all"), dataset) == ("training", "validation", "testing")
