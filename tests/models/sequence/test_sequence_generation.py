"""Free runs of causal models while they train."""

import numpy as np
import pytest
import torch
from sequence_runs import TINY, rotations

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.models.sequence.config import CsmConfig, SequenceBertConfig
from dynml.models.sequence.decoding.config import DecodingTrainerConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.trainer_config import SequenceTrainerConfig


def trainer_of(folder, family=(Csm, CsmConfig), **settings):
    dataset = MultiSubjectDataset.from_arrays(rotations(3), rotations(1, seed=5))
    model_class, config_class = family
    torch.manual_seed(0)
    model = model_class(settled_model(config_class(**TINY), dataset), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=25, batch_size_training=8)
    loader = BatchLoader(dataset, model)
    return SequenceTrainer(model, folder, "run", sampler, loader, progress=False, device="cpu", **settings)


def test_free_runs_are_logged_when_due_and_choose_the_best_epoch(tmp_path):
    trainer = trainer_of(tmp_path, max_epochs=5, generation_every=2, generation_chooses=True)
    summary = trainer.train_and_validate()
    own, ridge = (trainer.history.column(name) for name in ("generation_loss", "generation_loss_of_ridge_var"))
    np.testing.assert_array_equal(np.isnan(own), [True, False, True, False, False])
    assert ridge[1] == ridge[4] == pytest.approx(np.mean(summary["score_by_horizon"]["ridge_var"]))
    assert summary["monitored"] == "generation_loss"
    assert summary["best_epoch"] == int(np.nanargmin(own)) + 1
    # What is reported of the best model is what its epoch was chosen by.
    assert np.nanmin(own) == pytest.approx(np.mean(summary["score_by_horizon"]["model"]), rel=1e-5)


def test_free_runs_change_nothing_of_the_training(tmp_path):
    plain = trainer_of(tmp_path / "plain", max_epochs=2)
    other = trainer_of(tmp_path / "other", max_epochs=2, generation_every=1)
    for trainer in (plain, other):
        trainer.train_and_validate()
    for own, theirs in zip(plain.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(own, theirs)
    assert "generation_loss" not in plain.history.names


def test_free_runs_are_of_causal_models_alone(tmp_path):
    with pytest.raises(ConfigurationError, match="trainer.generation_every"):
        trainer_of(tmp_path, (SequenceBert, SequenceBertConfig), max_epochs=1, generation_every=1)
    with pytest.raises(ConfigurationError, match="trainer.generation_every"):
        DecodingTrainerConfig(generation_every=1)
    with pytest.raises(ConfigurationError, match="trainer.generation_chooses"):
        SequenceTrainerConfig(generation_chooses=True)
