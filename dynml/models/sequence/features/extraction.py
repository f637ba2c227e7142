"""What sequence models and decoders make of recordings: one vector per window or trial, or a hidden state every sample.

Shapes: n windows or trials, B of a batch, T samples, d numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import CheckpointError, ConfigurationError
from dynml.models.sequence.decoding.config import LINEAR
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials
from dynml.models.sequence.objectives.autoencoder import Autoencoder
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows, masked_windows
from dynml.ops.masked_samples import observed_rows
from dynml.ops.overlapping_windows import overlapping_windows

if TYPE_CHECKING:
    from dynml.models.experiment import Experiment

Cut = tuple[int, int, int, int]
Embedding = Literal["mean", "class_token", "attention", "code", "weighted_mean"]
"""What a vector is: the mean state of its samples, the state of the class token, the autoencoder's code, or the
weighted means over time of the linear decoder."""

WINDOWS_AT_ONCE = 64


def model_with_embeddings(experiment: Experiment) -> SequenceModel | Decoding:
    """The model of an experiment, if it has embeddings.

    Raises
    ------
    CheckpointError
        For other families.
    """
    if isinstance(experiment.model, (SequenceModel, Decoding)):
        return experiment.model
    raise CheckpointError(
        f"The family {experiment.family.name} has no embeddings; csm, sequence_bert, network_bert, autoencoder and "
        "decoding have."
    )


def settled_pooling(model: SequenceModel | Decoding, asked: str | None) -> Embedding:
    """What the embeddings of a model are.

    Parameters
    ----------
    model : SequenceModel or Decoding
    asked : {"mean", "class_token"} or None
        None: the mean; a decoder has its own way, an autoencoder its code.

    Raises
    ------
    ConfigurationError
        For the class token of a model that never learnt it, or where there is nothing to choose.
    """
    own: Embedding | None = None
    if isinstance(model, Decoding):
        ways: dict[str, Embedding] = {LINEAR: "weighted_mean", "autoencoder": "code"}
        own = ways.get(str(model.config.backbone), model.config.pooling)
        accepted = f"absent: the embeddings of this decoder are what its head reads ({own})"
    elif isinstance(model, Autoencoder):
        own, accepted = "code", "absent for the autoencoder, whose embeddings are its codes"
    elif asked == "class_token" and not getattr(model.config, "next_sequence", False):
        raise ConfigurationError(
            "--pooling", asked, "mean: the class token of this model was never trained (model.next_sequence trains it)"
        )
    if own is None:
        return "class_token" if asked == "class_token" else "mean"
    if asked not in (None, own):
        raise ConfigurationError("--pooling", asked, accepted)
    return own


def embed(model: SequenceModel | Decoding, windows: Windows, pooling: Embedding) -> Tensor:
    """Vectors of windows, (B, d)."""
    if isinstance(model, Decoding):
        return model.features(windows)
    return model.pooled(windows, "class_token" if pooling == "class_token" else "mean")


@torch.no_grad()
def embeddings_of(model: SequenceModel | Decoding, pieces: Trials, pooling: Embedding) -> NDArray[np.float32]:
    """Vectors of windows or trials in their order, (n, d).

    Parameters
    ----------
    model : SequenceModel or Decoding
        In evaluation mode.
    pieces : Trials
    pooling : str
        See `settled_pooling`.
    """
    found = [embed(model, windows, pooling).float().cpu() for windows in windows_of_trials(pieces, device_of(model))]
    return torch.cat(found).numpy() if found else np.zeros((0, 0), dtype=np.float32)


def model_of_states(model: SequenceModel | Decoding) -> SequenceModel:
    """The part of a model that has a hidden state for every sample.

    Raises
    ------
    ConfigurationError
        For a decoder whose backbone has none.
    """
    if isinstance(model, SequenceModel):
        return model
    if model.config.backbone in (LINEAR, "autoencoder") or model.config.is_published:
        accepted = f"absent: a decoder with the backbone {model.config.backbone} has one vector per trial alone"
        raise ConfigurationError("--per_sample", True, accepted)
    backbone: SequenceModel = model.backbone
    return backbone


@torch.no_grad()
def states_of_subject(model: SequenceModel, subset: MultiSubjectSubset, index: int, length: int) -> NDArray[np.float32]:
    """Hidden state of every stored sample of a subject.

    Parameters
    ----------
    model : SequenceModel
        In evaluation mode.
    subset : MultiSubjectSubset
    index : int
        Of the subject.
    length : int
        Samples of a window.

    Returns
    -------
    (T, d) float32
        Rows align with the stored samples; NaN outside segments and where samples are masked.
    """
    states = np.full((int(subset.n_rows_of[index]), model.embedding_dim), np.nan, dtype=np.float32)
    for windows, cuts, start in windows_of_subject(model, subset, index, length):
        put_rows(states, model.states(windows).float(), cuts, start)
    observed = subset.observed(index)
    if observed is not None:
        states[~observed] = np.nan
    return states


def put_rows(rows: NDArray[np.float32], values_BTd: Tensor, cuts: Sequence[Cut], start: int) -> None:
    """Put what was found of overlapping windows into the rows of their subject; see `windows_of_subject`."""
    for of_window, (first, _, begin, end) in zip(values_BTd.cpu().numpy(), cuts):
        rows[start + begin : start + end] = of_window[begin - first : end - first]


def windows_of_subject(
    model: SequenceModel, subset: MultiSubjectSubset, index: int, length: int
) -> Iterator[tuple[Windows, list[Cut], int]]:
    """Give a subject's segments as windows that overlap, some at once.

    Yields
    ------
    windows : Windows
    cuts : list of (first, last, begin, end)
        See `overlapping_windows`: where each window lies in its segment, and what is taken from it.
    start : int
        Stored row of the segment's first sample.
    """
    seconds_T = torch.arange(length, dtype=torch.float64) / float(subset.sampling_frequencies[index])
    segments, device = subset.segments.of_subject(index), device_of(model)
    for start, stop in zip(segments.start.tolist(), segments.stop.tolist()):
        signals = subset.read(index, start, stop).to(device)
        is_known = observed_rows(signals) if subset.n_masked else None
        cuts = overlapping_windows(stop - start, length, causal=getattr(model, "causal", False))
        for number in range(0, len(cuts), WINDOWS_AT_ONCE):
            some = cuts[number : number + WINDOWS_AT_ONCE]
            signals_BTC = torch.stack([signals[first:last] for first, last, _, _ in some])
            shape = signals_BTC.shape[:2]
            windows = Windows(
                signals_BTC,
                torch.ones(shape, dtype=torch.bool, device=device),
                seconds_T[: shape[1]].to(device).expand(shape),
                torch.zeros(shape[0], dtype=torch.int64, device=device),
                ragged=False,
            )
            if is_known is not None:
                windows = masked_windows(windows, torch.stack([is_known[first:last] for first, last, _, _ in some]))
            yield windows, some, start


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model computes."""
    return next(model.parameters()).device
