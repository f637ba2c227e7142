"""Data that networks or zero means cannot take as they are draw a warning in every family."""

import numpy as np
import pytest
import torch

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.errors import DataWarning
from dynml.training.data.data_scale import warn_of_scale, warn_of_zero_means


@pytest.mark.parametrize(
    ("mean", "scale", "sentence"),
    [
        (0.0, 40.0, "standard deviations of the channels go from 1 to 40. Networks expect values near 1"),
        (0.0, 0.1, "go from 0.1 to 1"),
        (5.0, 1.0, "a channel's mean is 5 standard deviations from 0"),
    ],
)
def test_unscaled_data_are_warned_of(mean, scale, sentence):
    with pytest.warns(DataWarning, match=sentence):
        warn_of_scale(torch.tensor([0.0, mean]), torch.tensor([1.0, scale]), "Networks")


def test_standard_data_draw_no_warning(recwarn):
    warn_of_scale(torch.tensor([0.5, -1.0]), torch.tensor([1.0, 2.0]), "Networks")
    warn_of_zero_means(torch.tensor([0.5, -0.5]), torch.ones(2))
    assert not recwarn


def test_an_hmm_with_zero_means_is_told_of_data_that_have_some(tmp_path):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(300, 3)) + 20 for _ in range(2)]
    dataset = MultiSubjectDataset.from_arrays(arrays, standardization="none")
    model = GaussianHMM(HMMConfig(n_states=2, learn_means=False), 3)
    loader = BatchLoader(dataset, model, collate="packed")
    trainer = HMMTrainer(model, tmp_path, "run", BatchSampler(dataset), loader, max_epochs=1, progress=False)
    with pytest.warns(DataWarning, match="learn_means is false.* standard deviations from 0"):
        trainer.train_and_validate()
