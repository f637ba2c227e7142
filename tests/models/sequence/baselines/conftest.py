"""Recordings of an autoregression, and all baselines fitted to them."""

import pytest
from baseline_oracles import SIZES, cut_recordings

from dynml import MultiSubjectDataset
from dynml.models.sequence.baselines.fitted import fit_baselines
from dynml.models.sequence.baselines.named import BASELINE_NAMES
from dynml.training.processes import Processes


@pytest.fixture(scope="module")
def recordings():
    return cut_recordings()


@pytest.fixture(scope="module")
def dataset(recordings):
    return MultiSubjectDataset.from_arrays(recordings)


@pytest.fixture(scope="module")
def fitted(dataset):
    return fit_baselines(BASELINE_NAMES, dataset, Processes(), **SIZES, seed=1)
