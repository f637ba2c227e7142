"""Simulated HMM data and runs of the HMM family, small enough for seconds."""

import pytest

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.models.hmm.config import HMMConfig, HMMInitializationConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.models.hmm.trainer import HMMTrainer
from dynml.simulation import simulate_hmm


@pytest.fixture(scope="session")
def simulation():
    """Three states in six channels, four subjects of unequal lengths, standardized with the truth."""
    simulated = simulate_hmm(
        n_subjects=4, n_samples=[1500, 900, 1200, 700], n_states=3, n_channels=6, stay_probability=0.95, seed=2
    )
    return simulated.standardize() or simulated


@pytest.fixture
def make_trainer(tmp_path, simulation):
    """Build the same HMM run again and again."""

    def make(
        name="run",
        *,
        arrays=None,
        validation=True,
        n_states=3,
        model=None,
        initialization=None,
        batch_size=1000,
        **settings,
    ):
        arrays = simulation.time_series if arrays is None else arrays
        dataset = MultiSubjectDataset.from_arrays(
            arrays[:-1] if validation else arrays, arrays[-1:] if validation else ()
        )
        hmm = GaussianHMM(HMMConfig(n_states=n_states, **(model or {})), dataset.n_channels)
        sampler = BatchSampler(
            dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=batch_size
        )
        loader = BatchLoader(dataset, hmm, collate="packed")
        return HMMTrainer(
            hmm,
            tmp_path,
            name,
            sampler,
            loader,
            initialization=HMMInitializationConfig(**{"n_init": 2, "n_epochs": 3} | (initialization or {})),
            **{"max_epochs": 40, "progress": False} | settings,
        )

    return make
