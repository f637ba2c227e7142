"""Where the parts of the HMM family live."""

from __future__ import annotations

from dynml.dataset.config import CONDITIONING
from dynml.models.hmm.config import AUGMENTATIONS
from dynml.models.registry import Family

_OF_WINDOWS = ("strategy", "window_length", "step", "gap", "trials", "onset_shift", "trial_length", "draws_per_epoch")

FAMILY = Family(
    name="hmm",
    model_config="dynml.models.hmm.config:HMMConfig",
    model="dynml.models.hmm.model:GaussianHMM",
    trainer="dynml.models.hmm.trainer:HMMTrainer",
    trainer_config="dynml.models.hmm.config:HMMTrainerConfig",
    initialization_config="dynml.models.hmm.config:HMMInitializationConfig",
    inference="dynml.models.hmm.inference:infer",
    states_of_stretch="dynml.models.hmm.inference:states_of_stretch",
    held_out_scores="dynml.models.hmm.held_out:held_out_scores",
    n_free_parameters="dynml.models.hmm.inference:n_free_parameters_of",
    sampler_defaults={
        "strategy": "whole_segments",
        "batch_size_units": "nb_samples",
        "batch_size_training": 1_000_000,
    },
    loader_defaults={"collate": "packed"},
    usual_settings=(
        "dataset.n_embeddings",
        "dataset.n_components",
        "model.n_states",
        "model.learn_means",
        "model.covariance_type",
        "model.covariance_prior_samples",
        "initialization.n_init",
        "trainer.max_epochs",
        "trainer.patience",
        "trainer.seed",
        "trainer.device",
    ),
    unused_settings=(
        *CONDITIONING,
        *(f"sampler.{name}" for name in (*_OF_WINDOWS, "dataset_temperature", "batches_per_epoch")),
        *(f"loader.{name}" for name in ("collate", "labels", *AUGMENTATIONS)),
    ),
)
