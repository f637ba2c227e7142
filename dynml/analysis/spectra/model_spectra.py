"""Spectra from a model alone: the covariances of its time-delay embedding, brought back to channels."""

from __future__ import annotations

import numpy as np

from dynml.analysis.maps.projection import BackProjection, back_projection
from dynml.analysis.spectra.settings import Settled
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import CheckpointError, DataError
from dynml.models.experiment import Experiment
from dynml.models.inferred import ModelWithArrays
from dynml.ops.spectra.cross_spectra import CrossSpectra, in_band
from dynml.ops.spectra.embedded_covariances import autocovariances, spectra_of_autocovariances
from dynml.store.reading import Store

N_FREQUENCIES = 256
"""Between 0 and half the sampling frequency; far more than the lags can tell apart."""


def model_spectra(
    experiment: Experiment, dataset: MultiSubjectDataset, settled: Settled
) -> tuple[CrossSpectra, tuple[str, ...]]:
    """Give the spectra that the model's covariances stand for, and the names of their channels.

    Raises
    ------
    CheckpointError
        When the model has no covariances.
    DataError
        When the channels were not time-delay embedded, or cannot be led back.
    """
    arrays = experiment.model.arrays() if isinstance(experiment.model, ModelWithArrays) else {}
    if "covariances" not in arrays:
        raise CheckpointError(f"The family {experiment.family.name} has no covariances to make spectra of.")
    back = _way_back(experiment, dataset)
    lags = autocovariances(back.lagged_covariances(arrays["covariances"]), back.n_embeddings)
    frequencies = np.linspace(0, settled.sampling_frequency / 2, N_FREQUENCIES + 1)
    frequencies = frequencies[in_band(frequencies, *settled.frequency_range)]
    return spectra_of_autocovariances(lags, settled.sampling_frequency, frequencies), back.channel_names


def _way_back(experiment: Experiment, dataset: MultiSubjectDataset) -> BackProjection:
    """Find the embedding, the experiment's own or that of the store's preparation, and the way back through it."""
    source, group = dataset.stored_source, dataset.group
    store = source if isinstance(source, Store) else None
    subjects = dataset.training_set.subjects or dataset.subjects
    back = back_projection(dataset.channel_names, experiment.embedding, store, group, subjects)
    where = f"group {group} of {source.path or 'the arrays'}"
    if back.stopped_at is not None:
        raise DataError(
            f"Spectra from the model need the way back to the channels, but {where} was prepared by "
            f"{back.stopped_at!r} after its embedding or projection, which cannot be undone; take --method pairs, "
            "multitaper or regression."
        )
    if back.n_embeddings == 1:
        raise DataError(
            f"Spectra from the model need a time-delay embedding, and {where} has none; take --method pairs, "
            "multitaper or regression."
        )
    return back
