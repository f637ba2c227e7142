"""The causal sequence model as an estimator: what comes next, and a hidden state of every sample.

Shapes: n trials, T samples, C channels, d numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin

from dynml.batches.fixed_windows import FixedWindows
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.estimators.base import TimeSeriesEstimator
from dynml.models.sequence.features.extraction import states_of_subject
from dynml.models.sequence.inference import window_length_of
from dynml.models.sequence.objectives.tasks import elementwise_loss
from dynml.models.sequence.windows import datasets_of, windows_of
from dynml.store.layout import SUBSET_NAMES


class CSM(TransformerMixin, TimeSeriesEstimator):  # type: ignore[misc]
    """Causal sequence model: a transformer that predicts each sample from the preceding ones.

    `transform` gives a hidden state of every sample, `predict` each sample as predicted from those before it in its
    window, and `score` minus the mean loss of these predictions. The parameters from `sampling_frequency` on are those
    of `HMM`.

    Parameters
    ----------
    embedding_dim : int
        Dimension d of the hidden states.
    n_layers : int
    n_heads : int, optional
        Attention heads per layer; default: one per 64 dimensions of the embedding.
    dropout : float
    loss : {"l1", "l2", "huber"}
    window_length : int
        Samples of a window.
    max_epochs : int
        Passes over the training data.
    learning_rate : float
    batch_size_training : int
        Windows in a batch.

    Examples
    --------
    >>> from dynml import CSM
    >>> from dynml.simulation import simulate_hmm
    >>> recordings = simulate_hmm(n_subjects=2, n_states=2, n_channels=4, n_samples=400).time_series
    >>> csm = CSM(embedding_dim=16, n_layers=1, window_length=20, max_epochs=1).fit(recordings)
    >>> csm.transform(recordings[0]).shape
    (400, 16)
    """

    _family_name = "csm"

    def __init__(
        self,
        embedding_dim: int = 128,
        *,
        n_layers: int = 4,
        n_heads: int | None = None,
        dropout: float = 0.1,
        loss: Literal["l1", "l2", "huber"] = "l1",
        window_length: int = 50,
        max_epochs: int = 100,
        learning_rate: float | str = 0.0005,
        batch_size_training: int = 64,
        sampling_frequency: float | None = None,
        standardization: Literal["per_run", "per_subject", "training", "none"] = "per_run",
        missing: Literal["error", "segment", "mask"] = "error",
        picks: str | Sequence[str] | None = None,
        group: str | None = None,
        validation_fraction: float | None = None,
        random_state: Any = None,
        device: str = "auto",
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Learn from recordings; see `HMM.fit`."""
        return self._fitted_to(X, groups, None)

    def transform(self, X: Any) -> Any:
        """Give the hidden state of each sample, (T, d) or (n, T, d), in the form of X; NaN where masked."""
        dataset, series, length = self._opened(X)
        model: Any = self.experiment_.model
        found = {
            subject: states_of_subject(model, part, index, length)
            for part in map(dataset.subset, SUBSET_NAMES)
            for index, subject in enumerate(part.subjects)
        }
        return found if series is None else series.restored(found)

    def predict(self, X: Any) -> Any:
        """Give each sample as predicted from those before it, (T, C) or (n, T, C), in the form of X.

        Signals are standardized as the model sees them. NaN for the first sample of each window, of which windows of
        `window_length` lie end to end, and where nothing was observed.
        """
        dataset, series, length = self._opened(X)
        found: dict[str, NDArray[np.float32]] = {}
        for name in SUBSET_NAMES:
            found |= self._predictions(dataset, name, length)[0]
        return found if series is None else series.restored(found)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean loss: higher is better.

        Of a store the testing subset counts, or else the validation, or else the training subset.
        """
        dataset, _, length = self._opened(X)
        subset = next(name for name in reversed(SUBSET_NAMES) if dataset.subset(name).n_subjects)
        total, count = self._predictions(dataset, subset, length)[1]
        return -total / count

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns that `transform` gives."""
        n_numbers = self._fitted_experiment().model.embedding_dim
        return np.array([f"csm_{number}" for number in range(n_numbers)], dtype=object)  # type: ignore[arg-type]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes in
        return tags

    def _opened(self, X: Any) -> tuple[MultiSubjectDataset, Any, int]:
        experiment = self._fitted_experiment()
        dataset, series = self._dataset(X, None, None, None, reset=False)
        dataset = experiment.open(dataset)
        return dataset, series, window_length_of(experiment.parameters, dataset, SUBSET_NAMES)

    @torch.no_grad()
    def _predictions(
        self, dataset: MultiSubjectDataset, name: str, length: int
    ) -> tuple[dict[str, NDArray[np.float32]], tuple[float, float]]:
        """Predicted samples of each subject; sum and number of the losses."""
        model: Any = self.experiment_.model
        subset, sums = dataset.subset(name), np.zeros(2)
        found = {
            subject: np.full((int(n_rows), model.n_predicted), np.nan, dtype=np.float32)
            for subject, n_rows in zip(subset.subjects, subset.n_rows_of)
        }
        for batch in FixedWindows(dataset, length)(name) if subset.n_subjects else ():
            windows = windows_of(batch)
            task = model.task_of(windows, batch.subject, datasets_of(batch))
            predicted_BTC = model(task).predicted_BTC.float()
            scored_BTC = task.scored.expand_as(predicted_BTC)
            losses_BTC = elementwise_loss(predicted_BTC, task.windows.signals_BTC, model.config)
            sums += [float(losses_BTC[scored_BTC].double().sum()), float(scored_BTC.sum())]
            shown = torch.where(scored_BTC, predicted_BTC, torch.nan).cpu().numpy()
            for span, rows in zip(batch.spans, shown):
                found[subset.subjects[span.subject]][span.start : span.stop] = rows[: span.stop - span.start]
        return found, (float(sums[0]), float(sums[1]))
