"""dynml: learns the dynamics of the brain from many subjects' time series.

Importing this package imports neither torch nor any scientific library: names are fetched when they are used.
"""

from __future__ import annotations

import importlib
from typing import Any

from dynml.version import __version__

_HOMES = {
    "BatchLoader": "dynml.batches.loader",
    "BatchLoaderConfig": "dynml.batches.loader_config",
    "BatchSampler": "dynml.batches.sampler",
    "BatchSamplerConfig": "dynml.batches.sampler_config",
    "CSM": "dynml.estimators.csm",
    "DatasetConfig": "dynml.dataset.config",
    "Decoder": "dynml.estimators.decoder",
    "DecoderRegressor": "dynml.estimators.decoder",
    "DyNeMo": "dynml.estimators.dynemo",
    "Dynemo": "dynml.models.dynemo.model",
    "DynemoConfig": "dynml.models.dynemo.config",
    "DynemoInitializationConfig": "dynml.models.dynemo.config",
    "DynemoTrainer": "dynml.models.dynemo.trainer",
    "DynemoTrainerConfig": "dynml.models.dynemo.config",
    "GaussianHMM": "dynml.models.hmm.model",
    "HMM": "dynml.estimators.states",
    "HMMConfig": "dynml.models.hmm.config",
    "HMMInitializationConfig": "dynml.models.hmm.config",
    "HMMTrainer": "dynml.models.hmm.trainer",
    "HMMTrainerConfig": "dynml.models.hmm.config",
    "MultiSubjectDataset": "dynml.dataset.dataset",
    "Recording": "dynml.recording",
    "Trainer": "dynml.training.trainer",
    "TrainerConfig": "dynml.training.config",
    "load_experiment": "dynml.models.experiment",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dynml' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
