"""Small sequence families and signals for their runs."""

from __future__ import annotations

import numpy as np

from dynml.models.sequence.config import AutoencoderConfig, CsmConfig, NetworkBertConfig, SequenceBertConfig
from dynml.models.sequence.objectives.autoencoder import Autoencoder
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.network_bert import NetworkBert
from dynml.models.sequence.objectives.sequence_bert import SequenceBert

FAMILIES = {
    "csm": (Csm, CsmConfig),
    "sequence_bert": (SequenceBert, SequenceBertConfig),
    "network_bert": (NetworkBert, NetworkBertConfig),
    "autoencoder": (Autoencoder, AutoencoderConfig),
}
TINY = {"embedding_dim": 16, "n_layers": 1, "n_heads": 2, "n_positions": 64}


def rotations(n_subjects=5, n_samples=150, n_channels=4, seed=0):
    """Subjects whose channels drive one another: x_t = A x_(t-1) + noise."""
    generator = np.random.default_rng(seed)
    A = 0.95 * np.linalg.qr(generator.normal(size=(n_channels, n_channels)))[0]
    arrays = []
    for _ in range(n_subjects):
        signals = np.zeros((n_samples, n_channels))
        for t in range(1, n_samples):
            signals[t] = A @ signals[t - 1] + 0.3 * generator.normal(size=n_channels)
        arrays.append(signals.astype(np.float32))
    return arrays
