"""Where the parts of the sequence families live."""

from __future__ import annotations

from typing import Any

from dynml.dataset.config import CONDITIONING, FURTHER_GROUPS
from dynml.models.registry import Family

_WINDOWS: dict[str, Any] = {"window_length": 50, "batch_size_training": 64}
_USUAL = (
    "model.embedding_dim",
    "model.channel_embedding",
    "model.n_layers",
    "model.n_heads",
    "model.dropout",
    "model.masking_rate",
    "trainer.max_epochs",
    "trainer.learning_rate",
    "trainer.patience",
    "trainer.seed",
    "trainer.device",
    "sampler.window_length",
    "sampler.batch_size_training",
    "loader.noise",
)
_SHARED: dict[str, Any] = {
    "trainer": "dynml.models.sequence.trainer:SequenceTrainer",
    "trainer_config": "dynml.models.sequence.trainer_config:SequenceTrainerConfig",
    "dataset_of_run": "dynml.models.sequence.channels:dataset_of_run",
    "settle_with_data": "dynml.models.sequence.settling:settle_with_data",
    "held_out_scores": "dynml.models.sequence.held_out:held_out_scores",
    "write_inference": "dynml.models.sequence.inference:write_inference",
    "sampler_defaults": _WINDOWS,
    "usual_settings": _USUAL,
    "unused_settings": (
        *("sampler.trials", "sampler.onset_shift", "sampler.trial_length", "loader.labels"),
        *("model.channel_names", "model.known_channels", "model.channel_positions", "model.channel_space"),
        "model.montages",
        *(name for name in CONDITIONING if name != FURTHER_GROUPS),
    ),
}
_OF_CSM = {
    "unused_settings": (
        *(name for name in _SHARED["unused_settings"] if name not in CONDITIONING),
        "model.conditioning_channels",
    ),
}

CSM = Family(
    name="csm",
    model_config="dynml.models.sequence.config:CsmConfig",
    model="dynml.models.sequence.objectives.csm:Csm",
    **_SHARED | _OF_CSM,
)
SEQUENCE_BERT = Family(
    name="sequence_bert",
    model_config="dynml.models.sequence.config:SequenceBertConfig",
    model="dynml.models.sequence.objectives.sequence_bert:SequenceBert",
    **_SHARED,
)
NETWORK_BERT = Family(
    name="network_bert",
    model_config="dynml.models.sequence.config:NetworkBertConfig",
    model="dynml.models.sequence.objectives.network_bert:NetworkBert",
    **_SHARED,
)
AUTOENCODER = Family(
    name="autoencoder",
    model_config="dynml.models.sequence.config:AutoencoderConfig",
    model="dynml.models.sequence.objectives.autoencoder:Autoencoder",
    **_SHARED,
)
