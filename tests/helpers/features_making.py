"""Experiments, windows and decoders for tests of features."""

from __future__ import annotations

import numpy as np
import torch
from decoding_data import configs_of
from sequence_making import N_CHANNELS

from dynml.models.experiment import Experiment
from dynml.models.registry import get_family
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.windows import Windows
from dynml.recording import recording_of_runs


def gappy(seed, n_samples=47, n_channels=N_CHANNELS):
    """One run of two good stretches: rows [0, 25) and [31, 47)."""
    signals = np.random.default_rng(seed).normal(size=(n_samples, n_channels)).astype(np.float32)
    stretches = [np.array([[0, 25], [31, n_samples]])]
    return recording_of_runs([signals], sampling_frequency=2.0, stretches=stretches)


def experiment_of(model, family, **sampler):
    return Experiment(model, {"sampler": sampler}, get_family(family))


def by_hand(rows, rate):
    """One window, without padding."""
    signals = torch.as_tensor(np.ascontiguousarray(rows), dtype=torch.float32)[None]
    n_times = signals.shape[1]
    seconds = torch.arange(n_times, dtype=torch.float64)[None] / rate
    return Windows(signals, torch.ones(1, n_times, dtype=torch.bool), seconds, torch.zeros(1, dtype=torch.int64))


def decoder_of(data, seed=0, **model):
    """A decoder of random weights, whose head is not silent."""
    torch.manual_seed(seed)
    decoder = Decoding(configs_of(data, **model)["model"], data.n_channels)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return decoder.eval()
