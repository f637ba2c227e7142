"""Where the parts of the decoding family live."""

from __future__ import annotations

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
    unused_settings=tuple(
        f"model.{name}"
        for name in (
            "class_names",
            "class_counts",
            "n_training_trials",
            "value_moments",
            "trial_length",
            "answer_bands",
            "backbone_settings",
            "pretraining_overlap",
        )
    ),
)
