"""Where the parts of the DyNeMo family live."""

from __future__ import annotations

from dynml.dataset.config import CONDITIONING
from dynml.models.registry import Family

FAMILY = Family(
    name="dynemo",
    model_config="dynml.models.dynemo.config:DynemoConfig",
    model="dynml.models.dynemo.model:Dynemo",
    trainer="dynml.models.dynemo.trainer:DynemoTrainer",
    trainer_config="dynml.models.dynemo.config:DynemoTrainerConfig",
    initialization_config="dynml.models.dynemo.config:DynemoInitializationConfig",
    inference="dynml.models.dynemo.inference:infer",
    states_of_stretch="dynml.models.dynemo.inference:states_of_stretch",
    held_out_scores="dynml.models.dynemo.held_out:held_out_scores",
    components="modes",
    settle="dynml.models.dynemo.config:settle_windows",
    sampler_defaults={"batch_size_training": 32},
    usual_settings=(
        "dataset.n_embeddings",
        "dataset.n_components",
        "model.n_modes",
        "model.sequence_length",
        "model.inference_n_units",
        "model.model_n_units",
        "initialization.method",
        "trainer.max_epochs",
        "trainer.learning_rate",
        "trainer.patience",
        "trainer.seed",
        "trainer.device",
        "sampler.batch_size_training",
    ),
    unused_settings=(
        *("sampler.trials", "sampler.onset_shift", "sampler.trial_length", "loader.labels"),
        *CONDITIONING,
    ),
)
