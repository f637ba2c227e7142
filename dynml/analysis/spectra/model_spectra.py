"""Spectra from a model alone: the covariances of its time-delay embedding, brought back to channels.

Shapes: K states or modes, n embeddings, C channels, P components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.settings import Settled
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.embedding import Embedding
from dynml.errors import CheckpointError, DataError
from dynml.models.experiment import Experiment
from dynml.models.inferred import ModelWithArrays
from dynml.ops.spectra.cross_spectra import CrossSpectra, in_band
from dynml.ops.spectra.embedded_covariances import (
    autocovariances,
    channel_major_to_sample_major,
    spectra_of_autocovariances,
    unprojected,
)
from dynml.store.fits import read_fits
from dynml.store.reading import Store

Real = NDArray[np.float64]
EMBEDDING, EMBEDDED_PCA, PCA, STANDARDIZE = "time_delay_embedding", "time_delay_embedding_pca", "pca", "standardize"
COMPONENTS, VARIANCES = "components", "variances"
N_FREQUENCIES = 256
"""Between 0 and half the sampling frequency; far more than the lags can tell apart."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """What channels went through on their way to the model."""

    n_embeddings: int
    channel_names: tuple[str, ...]
    """Before the embedding."""
    weights: Real | None
    """(n C, P), a window's earliest sample first; None: all columns, each channel's latest sample first."""
    scale: Real | None = None
    """Standard deviations that what came out was divided by, (P,)."""

    def back(self, covariances_KPP: Real) -> Real:
        """Covariances of the embedded channels, (K, n C, n C), a window's earliest sample first."""
        if self.scale is not None:
            covariances_KPP = covariances_KPP * self.scale[:, None] * self.scale
        if self.weights is None:
            return channel_major_to_sample_major(covariances_KPP, self.n_embeddings)
        return unprojected(covariances_KPP, self.weights)


def model_spectra(experiment: Experiment, dataset: MultiSubjectDataset, settled: Settled) -> tuple[CrossSpectra, Way]:
    """Give the spectra that the model's covariances stand for.

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
    covariances = np.asarray(arrays["covariances"], dtype=np.float64)
    way = way_of(experiment, dataset)
    lags = autocovariances(way.back(covariances), way.n_embeddings)
    frequencies = np.linspace(0, settled.sampling_frequency / 2, N_FREQUENCIES + 1)
    frequencies = frequencies[in_band(frequencies, *settled.frequency_range)]
    return spectra_of_autocovariances(lags, settled.sampling_frequency, frequencies), way


def way_of(experiment: Experiment, dataset: MultiSubjectDataset) -> Way:
    """Find the embedding: the experiment's own, or that of the store's preparation."""
    if experiment.embedding is not None:
        return _of_embedding(experiment.embedding)
    source = dataset.source
    if not isinstance(source, Store):
        raise DataError("Spectra from the model need a time-delay embedding; these data have none.")
    steps = list(source.attributes(dataset.subjects[0], dataset.group).preparation)
    names = [str(step.get("step")) for step in steps]
    place = next((index for index, name in enumerate(names) if name in (EMBEDDING, EMBEDDED_PCA)), None)
    if place is None:
        raise DataError(
            f"Spectra from the model need a time-delay embedding, and group {dataset.group} of {source.path} has none; "
            "take --method pairs, multitaper or regression."
        )
    later = [name for name in names[place + 1 :] if name not in (PCA, STANDARDIZE)]
    if later:
        raise DataError(
            f"Group {dataset.group} of {source.path} was prepared by {later[0]!r} after its embedding, which cannot be "
            "undone; take --method pairs, multitaper or regression."
        )
    return _of_steps(source, dataset, steps[place:])


def _of_embedding(embedding: Embedding) -> Way:
    if embedding.n_embeddings == 1:
        raise DataError("Spectra from the model need a time-delay embedding; the model's channels are single samples.")
    weights, scale = None, None
    if embedding.components is not None and embedding.variances is not None:
        deviations = np.sqrt(embedding.variances)
        weights = embedding.components / (deviations if embedding.whiten else 1.0)
        if embedding.standardize and not embedding.whiten:
            scale = deviations
    return Way(
        n_embeddings=embedding.n_embeddings, channel_names=embedding.layout.channel_names, weights=weights, scale=scale
    )


def _of_steps(store: Store, dataset: MultiSubjectDataset, steps: Sequence[Mapping[str, Any]]) -> Way:
    n_embeddings = int(steps[0]["n_embeddings"])
    fits = read_fits(store, dataset.group)
    weights: Real | None = None
    names: tuple[str, ...] | None = None
    for step in steps:
        if step["step"] not in (PCA, EMBEDDED_PCA):
            continue
        fit = next(one for name, one in fits.items() if name.split("_", 1)[-1] == step["step"])
        scale = np.sqrt(fit.arrays[VARIANCES]) if step.get("whiten") else 1.0
        weights = np.asarray(fit.arrays[COMPONENTS], dtype=np.float64) / scale
        names = fit.layout.channel_names
    if steps[0]["step"] == EMBEDDING:
        embedded = names or store.attributes(dataset.subjects[0], dataset.group).channel_names
        names = tuple(name.rpartition("@")[0] for name in embedded[::n_embeddings])
        if weights is not None:
            order = np.arange(len(weights)).reshape(-1, n_embeddings)[:, ::-1].T.ravel()
            weights = weights[order]
    assert names is not None
    return Way(n_embeddings=n_embeddings, channel_names=names, weights=weights, scale=_standardized(store, dataset))


def _standardized(store: Store, dataset: MultiSubjectDataset) -> Real | None:
    """Root of the mean variance over the training subjects' runs that standardization divided by."""
    subjects = dataset.training_set.subjects or dataset.subjects
    squares = [np.square(store.std(subject, dataset.group)).mean(axis=0) for subject in subjects]
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))
