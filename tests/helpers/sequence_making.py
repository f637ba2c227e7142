"""Sequence models of random weights, and their tasks."""

from __future__ import annotations

import torch
from sequence_windows import DATASETS, SMALL, SUBJECTS

from dynml.models.sequence.config import AutoencoderConfig, CsmConfig, NetworkBertConfig, SequenceBertConfig
from dynml.models.sequence.objectives.autoencoder import Autoencoder
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.network_bert import NetworkBert
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.objectives.tasks import Task
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows

N_CHANNELS = 6
KINDS = {
    "csm": (Csm, CsmConfig, {}),
    "csm_single": (Csm, CsmConfig, {"objective": "single_mask"}),
    "sequence_bert": (SequenceBert, SequenceBertConfig, {}),
    "sequence_bert_post": (SequenceBert, SequenceBertConfig, {"norm": "post"}),
    "sequence_bert_pairs": (SequenceBert, SequenceBertConfig, {"next_sequence": True}),
    "network_bert": (NetworkBert, NetworkBertConfig, {"masking_rate": 0.3}),
    "network_bert_pairs": (NetworkBert, NetworkBertConfig, {"next_sequence": True}),
    "autoencoder": (Autoencoder, AutoencoderConfig, {}),
}


def model_of(kind: str, **settings) -> SequenceModel:
    """A model of random weights that says something: its un-embedder is not silent, its linear path is absent."""
    torch.manual_seed(3)
    model_class, config_class, own = KINDS[kind]
    config = config_class(**{**SMALL, "linear_path": False, **own, **settings})
    model = model_class(config, N_CHANNELS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def task_of(model: SequenceModel, given: Windows) -> Task:
    n_windows = given.shape[0]
    return model.task_of(given, SUBJECTS[:n_windows], DATASETS[:n_windows])
