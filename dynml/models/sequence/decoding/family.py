"""Where the parts of the decoding family live."""

from __future__ import annotations

from dynml.dataset.config import FURTHER_GROUPS
from dynml.models.registry import Family

FAMILY = Family(
    name="decoding",
    model_config="dynml.models.sequence.decoding.config:DecodingConfig",
    model="dynml.models.sequence.decoding.model:Decoding",
    trainer="dynml.models.sequence.decoding.trainer:DecodingTrainer",
    trainer_config="dynml.models.sequence.decoding.config:DecodingTrainerConfig",
    settle="dynml.models.sequence.decoding.config:settle",
    settle_with_data="dynml.models.sequence.decoding.settling:settle_with_data",
    decode="dynml.models.sequence.decoding.inference:decode",
    sampler_defaults={"batch_size_training": 32},
    usual_settings=(
        "model.backbone",
        "model.target",
        "model.target_values",
        "model.classes",
        "model.fine_tuning",
        "trainer.max_epochs",
        "trainer.learning_rate",
        "trainer.patience",
        "trainer.seed",
        "trainer.device",
        "sampler.trials",
        "sampler.onset_shift",
        "sampler.trial_length",
        "sampler.batch_size_training",
    ),
    unused_settings=(
        FURTHER_GROUPS,
        "model.class_names",
        "model.class_counts",
        "model.n_training_trials",
        "model.value_moments",
        "model.trial_length",
        "model.answer_bands",
        "model.answer_source_bands",
        "model.backbone_settings",
        "model.state_model",
        "model.pretraining_overlap",
    ),
)
