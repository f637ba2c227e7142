"""A store that the runs of these tests share."""

import pytest
from running_hmms import switching_signals
from running_scripts import create_store


@pytest.fixture(scope="module")
def hdf5_file(tmp_path_factory):
    arrays = {f"sub-{i}": [switching_signals(600, i), switching_signals(300, 10 + i)] for i in range(4)}
    subsets = {"training": ["sub-0", "sub-1"], "validation": ["sub-2"], "testing": ["sub-3"]}
    return create_store(tmp_path_factory.mktemp("faults"), arrays, subsets)
