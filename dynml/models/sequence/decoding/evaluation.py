"""What a decoder says of every trial of a subset, each exactly once.

Shapes: n trials, B trials of a batch, T samples, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.models.sequence.decoding.config import LINEAR, DecodingConfig
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials
from dynml.models.sequence.settling import check_windows, sampling_frequencies, settled_model
from dynml.models.sequence.windows import Windows, masked_windows
from dynml.ops.masked_samples import observed_rows
from dynml.ops.metrics import balanced_accuracy

TRIALS_AT_ONCE = 64


def check_trials(config: DecodingConfig, trials: Trials, dataset: MultiSubjectDataset) -> None:
    """Refuse trials of new data that a decoder cannot read: longer ones, or at rates beyond its embedding of time.

    Raises
    ------
    ConfigurationError
        With what is accepted.
    """
    longest = int(trials.spans.lengths.max(initial=1))
    if config.is_published:
        return
    if config.backbone != LINEAR:
        check_windows(settled_model(config.backbone_config(), dataset), longest, min(sampling_frequencies(dataset)))
    elif longest > (config.trial_length or 0):
        accepted = f"at most {config.trial_length} samples, the longest trial that the linear backbone was made for"
        raise ConfigurationError("sampler.trial_length", longest, accepted)


@dataclass(frozen=True)
class Predictions:
    """Trials with what a decoder makes of them."""

    trials: Trials
    probabilities: NDArray[np.float64]
    """(n, K)."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class of each trial with the highest probability, (n,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float | None:
        """Share of correct trials; None without trials. A trial of a class that the model does not know is wrong."""
        return float(np.mean(self.predicted == self.trials.truth)) if len(self.trials) else None

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean over the classes that occur of the share of their trials that is found; None without trials."""
        return balanced_accuracy(self.trials.truth, self.predicted)


def predictions_of(model: Decoding, trials: Trials) -> Predictions:
    """Probabilities of the classes of every trial; the model is left in evaluation mode."""
    parts = [np.zeros((0, model.config.n_classes))]
    parts += [logits_BK.softmax(dim=1).cpu().numpy() for logits_BK in logits_of(model, trials)]
    return Predictions(trials, np.concatenate(parts))


def logits_of(model: Decoding, trials: Trials) -> list[torch.Tensor]:
    """Logits (B, K) float64 of trials in their order, some at once; the model is left in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        return [model(windows).double() for windows in windows_of_trials(trials, device)]


def windows_of_trials(trials: Trials, device: torch.device) -> Iterator[Windows]:
    """Trials in their order as padded windows, some at once."""
    for first in range(0, len(trials), TRIALS_AT_ONCE):
        chunk = np.arange(first, min(first + TRIALS_AT_ONCE, len(trials)))
        spans = trials.spans.take(chunk)
        lengths, subset = spans.lengths, trials.subset
        n_times = int(lengths.max())
        signals_BTC = torch.zeros(len(chunk), n_times, subset.n_channels)
        for row, signals in enumerate(signals_of_trials(trials, chunk)):
            signals_BTC[row, : len(signals)] = torch.from_numpy(signals)
        rates_B1 = subset.sampling_frequencies[spans.subject][:, None]
        windows = Windows(
            signals_BTC.to(device),
            torch.from_numpy(np.arange(n_times) < lengths[:, None]).to(device),
            torch.from_numpy(np.arange(n_times) / rates_B1).to(device),
            torch.zeros(len(chunk), dtype=torch.int64, device=device),
        )
        if subset.n_masked:
            windows = masked_windows(windows, observed_rows(windows.signals_BTC) & windows.mask_BT)
        yield windows


def signals_of_trials(trials: Trials, indices: NDArray) -> Iterator[NDArray[np.float32]]:
    """Signals (T, C) of some trials, one after another; masked samples are NaN."""
    spans = trials.spans.take(indices)
    for subject, start, stop in zip(spans.subject.tolist(), spans.start.tolist(), spans.stop.tolist()):
        yield trials.subset.rows(subject, start, stop).cpu().numpy()
