"""Where the parts of the HMM family live."""

from __future__ import annotations

from dynml.models.registry import Family

FAMILY = Family(
    name="hmm",
    model_config="dynml.models.hmm.config:HMMConfig",
    model="dynml.models.hmm.model:GaussianHMM",
    trainer="dynml.models.hmm.trainer:HMMTrainer",
    trainer_config="dynml.models.hmm.config:HMMTrainerConfig",
    initialization_config="dynml.models.hmm.config:HMMInitializationConfig",
    inference="dynml.models.hmm.inference:infer",
    held_out_scores="dynml.models.hmm.held_out:held_out_scores",
    n_free_parameters="dynml.models.hmm.inference:n_free_parameters_of",
    sampler_defaults={
        "strategy": "whole_segments",
        "batch_size_units": "nb_samples",
        "batch_size_training": 1_000_000,
    },
    loader_defaults={"collate": "packed"},
)
