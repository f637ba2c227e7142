"""Means and covariances of a model's channels, back through embedding and principal components to those of the files.

Shapes: K states, C channels, n embeddings, P channels of the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.dataset.embedding import Embedding
from dynml.errors import DataError
from dynml.fits import Fit
from dynml.preparation.fitted.pca import COMPONENTS, VARIANCES
from dynml.store.fits import read_fits
from dynml.store.reading import Store

PROJECTIONS = ("pca", "time_delay_embedding_pca")
EMBEDDING = "time_delay_embedding"
STANDARDIZE = "standardize"
NO_WAY_BACK = ("amplitude_envelope", "symmetric_orthogonalisation", "select_channels")
"""Steps that components are lost in: not linear, another one in each run, or without some of them."""


@dataclass(frozen=True, eq=False)
class BackProjection:
    """A linear map from the model's channels to windows of the channels before it."""

    channel_names: tuple[str, ...]
    """C names."""
    mixing: NDArray[np.float64]
    """(n, C, P): what channel c of a window's sample i is for a unit of each channel of the model."""
    in_words: tuple[str, ...] = ()
    """Which steps were gone back through, the last one first."""
    stopped_at: str | None = None
    """A step that cannot be gone back through, if there is one."""

    @property
    def n_embeddings(self) -> int:
        """Samples of a window; 1 without an embedding."""
        return len(self.mixing)

    def means(self, means: ArrayLike) -> NDArray[np.float64]:
        """Means of the channels, (K, P) to (K, C), averaged over the samples of a window."""
        return np.asarray(np.einsum("ncp,kp->kc", self.mixing, np.asarray(means, dtype=np.float64)) / len(self.mixing))

    def covariances(self, covariances: ArrayLike) -> NDArray[np.float64]:
        """Covariances without lag, (K, P, P) to (K, C, C), averaged over the samples of a window.

        Notes
        -----
        Principal components that were left out are missing: variances are those of the kept ones.
        """
        own = np.asarray(covariances, dtype=np.float64)
        total = np.zeros((len(own), self.mixing.shape[1], self.mixing.shape[1]))
        for weights in self.mixing:
            total += weights @ own @ weights.T
        return total / len(self.mixing)

    def lagged_covariances(self, covariances: ArrayLike) -> NDArray[np.float64]:
        """Covariances of windows, (K, P, P) to (K, n C, n C); row i C + c is channel c at sample i, earliest first."""
        weights = self.mixing.reshape(-1, self.mixing.shape[2])
        return np.asarray(weights @ np.asarray(covariances, dtype=np.float64) @ weights.T)


def back_projection(
    names: Sequence[str], embedding: Embedding | None, store: Store | None, group: str, subjects: Sequence[str]
) -> BackProjection:
    """Find the way back from the channels of a model.

    Parameters
    ----------
    names : sequence of P str
        Of the model's channels.
    embedding : Embedding, optional
        What was done when rows were read.
    store : Store, optional
        The store that the model was trained on, with its fits; None for arrays.
    group : str
    subjects : sequence of str
        Whose standardization is undone where the store holds components: the training subjects.

    Raises
    ------
    DataError
        When signals were embedded twice.
    """
    back = BackProjection(tuple(names), np.eye(len(names))[None])
    if embedding is not None:
        back = _through_embedding(back, embedding)
    if store is None or not subjects:
        return back
    steps = [str(note["step"]) for note in store.attributes(subjects[0], group).preparation]
    if not {*PROJECTIONS, EMBEDDING} & set(steps):
        return back
    fits = [(name.partition("_")[2], fit) for name, fit in sorted(read_fits(store, group).items())]
    if set(PROJECTIONS) & set(steps):
        back = _rescaled(back, _typical_std(store, group, subjects))
    return _through_steps(back, steps, fits, _notes_of(store, subjects[0], group))


def _through_steps(
    back: BackProjection, steps: Sequence[str], fits: list[tuple[str, Fit]], notes: Sequence[dict[str, Any]]
) -> BackProjection:
    for position in reversed(range(len(steps))):
        step = steps[position]
        if step in NO_WAY_BACK and {*PROJECTIONS, EMBEDDING} & set(steps[:position]):
            return dataclasses.replace(back, stopped_at=step)
        if step == EMBEDDING:
            back = _through_lags(back, int(notes[position]["n_embeddings"]))
        elif step in PROJECTIONS:
            fit = next(fit for name, fit in reversed(fits) if name == step)
            fits = fits[: max(number for number, (name, _) in enumerate(fits) if name == step)]
            scaled = bool(notes[position].get("whiten")) or _are_standardized(notes[position + 1 :])
            back = _through_fit(back, fit, step, scaled=scaled)
    return back


def _are_standardized(notes: Sequence[dict[str, Any]]) -> bool:
    """Whether a step has divided components by about what whitening does.

    The store's own standardization, whose divisors it keeps, notes no versions.
    """
    return any(note["step"] == STANDARDIZE and "versions" in note for note in notes)


def _notes_of(store: Store, subject: str, group: str) -> Sequence[dict[str, Any]]:
    return store.attributes(subject, group).preparation


def _typical_std(store: Store, group: str, subjects: Sequence[str]) -> NDArray[np.float64]:
    """Root mean square of what standardization divided by, (P,)."""
    squares = [np.square(store.std(subject, group)).mean(axis=0) for subject in subjects]
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))


def _rescaled(back: BackProjection, scale: NDArray[np.float64]) -> BackProjection:
    return dataclasses.replace(back, mixing=back.mixing * scale[None, :, None])


def _through_embedding(back: BackProjection, embedding: Embedding) -> BackProjection:
    names = embedding.layout.channel_names
    if embedding.components is None:
        return dataclasses.replace(_through_lags(back, embedding.n_embeddings), channel_names=names)
    assert embedding.variances is not None
    scaled = embedding.whiten or embedding.standardize
    fit = Fit(
        layout=embedding.layout,
        subjects=(),
        arrays={COMPONENTS: embedding.components, VARIANCES: embedding.variances},
    )
    return _through_fit(back, fit, embedding.in_words, scaled=scaled)


def _through_fit(back: BackProjection, fit: Fit, words: str, *, scaled: bool) -> BackProjection:
    components, variances = fit.arrays[COMPONENTS], fit.arrays[VARIANCES]
    names = fit.layout.channel_names
    # Components have orthonormal columns: their transpose is the way back, once their scale is undone.
    weights = components * np.sqrt(variances) if scaled else components
    n_embeddings = len(components) // len(names)
    if n_embeddings > 1 and len(back.mixing) > 1:
        raise DataError("The signals were embedded twice, so that their channels cannot be found again.")
    lagged = weights.reshape(n_embeddings, len(names), -1)
    mixing = np.einsum("ncq,mqp->nmcp", lagged, back.mixing).reshape(-1, len(names), back.mixing.shape[2])
    return BackProjection(names, mixing, (*back.in_words, words))


def _through_lags(back: BackProjection, n_embeddings: int) -> BackProjection:
    if len(back.mixing) > 1 and n_embeddings > 1:
        raise DataError("The signals were embedded twice, so that their channels cannot be found again.")
    # Columns are channel-major, from the latest sample to the earliest.
    lagged = back.mixing[0].reshape(-1, n_embeddings, back.mixing.shape[2])
    names = tuple(name.rpartition("@")[0] or name for name in back.channel_names[::n_embeddings])
    return BackProjection(names, lagged[:, ::-1].transpose(1, 0, 2), (*back.in_words, EMBEDDING))
