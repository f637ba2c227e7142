import numpy as np
import pytest
import torch
from decoding_data import TRIAL, configs_of, dataset_of, small, trainer_of

from dynml import BatchLoader, BatchSampler
from dynml.errors import ConfigurationError
from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A causal model of patches of three samples that has not seen the testing subset."""
    folder, dataset = tmp_path_factory.mktemp("patches"), dataset_of(3, 1, 1)
    torch.manual_seed(0)
    sizes = {"embedding_dim": 16, "n_layers": 1, "n_positions": 16, "patch_length": 3}
    model = Csm(settled_model(CsmConfig(**sizes), dataset), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=TRIAL, batch_size_training=8)
    SequenceTrainer(
        model, folder, "pre", sampler, BatchLoader(dataset, model), max_epochs=1, progress=False, device="cpu"
    ).train_and_validate()
    return dataset, folder / "pre"


def test_a_decoder_takes_over_the_patches_of_its_pre_trained_model(pretrained, tmp_path):
    dataset, path = pretrained
    settings = {"max_epochs": 12, "learning_rate": 0.01}
    trainer = trainer_of(dataset, tmp_path, pretrained=str(path), trainer=settings, pooling="mean")
    assert trainer.model.config.patch_length == 3
    assert trainer.train_and_validate()["accuracy"]["training"] > 0.8


def test_patches_from_scratch_have_sizes_of_their_own_and_the_linear_backbone_none():
    dataset = dataset_of(2, 1, 0, n_runs=1)
    model = configs_of(dataset, **small("sequence_bert", patch_length=4, n_positions=8))["model"]
    assert model.backbone_config().patch_length == 4
    with pytest.raises(ConfigurationError, match="patch_length is 16, but must be at most 12"):
        configs_of(dataset, **small("sequence_bert", patch_length=16))
    with pytest.raises(ConfigurationError, match="model.patch_length"):
        configs_of(dataset, backbone="linear", patch_length=4)


def test_patches_of_another_rate_are_refused(pretrained):
    _, path = pretrained
    other = dataset_of(2, 1, 0, names="uvwxyz", first_seed=50, sampling_frequency=20.0)
    with pytest.raises(ConfigurationError, match="at 20 Hz .it has patches of 3 samples at 10 Hz.; resample"):
        configs_of(other, str(path))
    assert np.isfinite(other.training_set.sampling_frequencies).all()
