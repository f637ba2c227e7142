"""Which networks, and when, a sequence model's output hangs on: gradient times input, and integrated gradients.

    gradient x input         a_i = x_i df/dx_i
    integrated gradients     a_i = x_i int_0^1 df/dx_i (s x) ds,   sum_i a_i = f(x) - f(0)

f is said in `attributed_values`. 0 is the mean of standardized signals. The integral is taken by Gauss-Legendre
quadrature in u = s^(1/3): the LayerNorm behind the embedder makes f turn within a few thousandths of the way from 0,
where equal steps would miss it.

Shapes: B windows, T samples, C channels, G groups of windows (classes).

Reference: Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks", ICML, eq. 1 and proposition 1.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.errors import DataError, DataWarning
from dynml.models.sequence.decoding.answer.features import COURSE
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import NO_CLASS, Trials
from dynml.models.sequence.features.attributed_values import Attributed, Value, attributed_of, words_of
from dynml.models.sequence.features.extraction import device_of
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows
from dynml.ops.keyed_noise import span_keys

Method = Literal["gradient_x_input", "integrated_gradients"]

POWER, FIRST_STEPS, MOST_STEPS, TOLERANCE = 3, 32, 512, 0.01
"""Steps are doubled until what is missing of f(x) - f(0) is below this share of its mean size, there are so many, or
more do not help."""
HELPFUL = 0.8
LEAST_SHARE = 0.05

_MASKS_SEED = 41


def gradient_x_input(value: Value, signals_BTC: Tensor) -> Tensor:
    """Gradient at the input, times the input, (B, T, C)."""
    return signals_BTC * _gradient(value, signals_BTC)


def integrated_gradients(value: Value, signals_BTC: Tensor) -> tuple[Tensor, float]:
    """Integrated gradients on the way from 0.

    Parameters
    ----------
    value : callable
        Of each window by itself.
    signals_BTC : Tensor, (B, T, C)

    Returns
    -------
    attributions_BTC : Tensor, (B, T, C)
    unexplained : float
        Mean difference between the sum of a window's attributions and f(x) - f(0), as a share of the mean size of
        f(x) - f(0); or of 5 % of that of f(x), where there is next to nothing to attribute.
    """
    with torch.no_grad():
        at_input_B, at_zero_B = (value(signals).double() for signals in (signals_BTC, torch.zeros_like(signals_BTC)))
    difference_B = at_input_B - at_zero_B
    size = max(float(difference_B.abs().mean()), LEAST_SHARE * float(at_input_B.abs().mean()))
    n_steps, before = FIRST_STEPS, np.inf
    while True:
        mean_BTC = torch.zeros_like(signals_BTC, dtype=torch.float64)
        for share, weight in quadrature(n_steps):
            mean_BTC += weight * _gradient(value, share * signals_BTC)
        attributions_BTC = signals_BTC * mean_BTC
        missing = float((attributions_BTC.sum(dim=(1, 2)) - difference_B).abs().mean())
        unexplained = missing / size if size > 0 else 0.0
        if unexplained <= TOLERANCE or n_steps >= MOST_STEPS or unexplained > HELPFUL * before:
            return attributions_BTC.to(signals_BTC.dtype), unexplained
        n_steps, before = 2 * n_steps, unexplained


def quadrature(n_steps: int) -> list[tuple[float, float]]:
    """Points s in (0, 1) and weights of an integral over s, dense towards 0: s = u^3 at Gauss-Legendre points u."""
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    points, weights = (points + 1) / 2, weights / 2
    return list(zip((points**POWER).tolist(), (weights * POWER * points ** (POWER - 1)).tolist()))


@dataclass(frozen=True)
class AttributionMaps:
    """Mean attributions of groups of windows."""

    method: Method
    group_names: tuple[str, ...]
    n_windows: NDArray[np.int64]
    """Windows of each group, (G,)."""

    times: NDArray[np.int64]
    """Samples since the first sample of the window, or since the one that is predicted, (T,)."""

    since_predicted: bool
    """What times are counted from."""

    of_classes: bool
    """Whether groups are the classes of a decoder; else there is one."""

    maps: NDArray[np.float64]
    """Mean attribution over the windows that reach there and are not masked there, (G, C, T); NaN where none does."""

    importance: NDArray[np.float64]
    """Mean size of the attribution of a sample, (G, C)."""

    unit: str
    meaning: str
    """What f is."""

    value_at_input: float
    value_at_zero: float
    """Means of f."""

    unexplained: float | None
    """Integrated gradients: the largest share of a batch; see `integrated_gradients`."""


def attribution_maps(model: SequenceModel | Decoding, parts: Sequence[Trials], method: Method) -> AttributionMaps:
    """Attribute, window by window, and average.

    Parameters
    ----------
    model : SequenceModel or Decoding
        In evaluation mode.
    parts : sequence of Trials
        Windows or trials of one or several subsets. Labels with the names of a decoder's classes are taken as such.
    method : {"gradient_x_input", "integrated_gradients"}

    Returns
    -------
    AttributionMaps
        Of a decoder: one group per class, those without trials left out. Else: one group.

    Raises
    ------
    DataError
        When nothing is predicted of any window: all have one sample. When a decoder tells numbers or labels, or answers
        by kinds of features alone that have no gradient.

    Warns
    -----
    DataWarning
        When integrated gradients are incomplete. When a part of a decoder's answer is not attributed.
    """
    if isinstance(model, Decoding):
        if model.config.target_values != "classes":
            raise DataError(
                f"Attributions are of the class of a trial, but this decoder tells {model.config.target_values}."
            )
        _tell_of_what_has_no_gradient(model)
    names = tuple(model.config.class_names or ()) if isinstance(model, Decoding) else ("all windows",)
    longest = max((int(part.spans.lengths.max(initial=0)) for part in parts), default=0)
    tally = _Tally(len(names), longest, model.n_channels)
    shares, device = [0.0], device_of(model)
    # The autoencoder's loops of cuDNN know no gradient in evaluation mode.
    with torch.backends.cudnn.flags(enabled=False):
        for part in parts:
            known = _classes(part, names)
            first = 0
            for windows in windows_of_trials(part, device):
                some = slice(first, first + len(windows.signals_BTC))
                windows = dataclasses.replace(windows, keys_B=_keys(part, some, device))
                attributed = attributed_of(model, windows, known[some])
                if method == "integrated_gradients":
                    attributions_BTC, share = integrated_gradients(attributed.value, windows.signals_BTC)
                    shares.append(share)
                else:
                    attributions_BTC = gradient_x_input(attributed.value, windows.signals_BTC)
                tally.add(attributions_BTC, windows, attributed)
                first = some.stop
    if not tally.n_windows.sum():
        raise DataError("Attribution needs windows of two samples or more, so that something is predicted from others.")
    unexplained = max(shares)
    if unexplained > 2 * TOLERANCE:
        warnings.warn(
            f"Integrated gradients leave up to {unexplained:.0%} of what they should sum up to unexplained: the model "
            "is too jagged between 0 and its input.",
            DataWarning,
            stacklevel=2,
        )
    return tally.maps(model, method, names, unexplained if method == "integrated_gradients" else None)


class _Tally:
    """Sums of attributions and of their sizes, by group, channel and time; on the host, in float64."""

    def __init__(self, n_groups: int, longest: int, n_channels: int) -> None:
        self.longest = longest
        shape = (n_groups, 2 * longest + 1, n_channels)
        self.sums, self.sizes = np.zeros(shape), np.zeros((n_groups, n_channels))
        self.counts = np.zeros(shape[:2], dtype=np.int64)
        self.n_windows = np.zeros(n_groups, dtype=np.int64)
        self.values = np.zeros(2)

    def add(self, attributions_BTC: Tensor, windows: Windows, attributed: Attributed) -> None:
        """Count a batch. Masked samples, whose attributions are 0 as they are, do not count."""
        with torch.no_grad():
            inputs = (windows.signals_BTC, torch.zeros_like(windows.signals_BTC))
            values_2B = np.stack([attributed.value(signals).double().cpu().numpy() for signals in inputs])
        attributions = attributions_BTC.double().cpu().numpy()
        lengths, known = windows.lengths_B.tolist(), windows.known_BT.cpu().numpy()
        for number, (group, anchor) in enumerate(zip(attributed.group_B.tolist(), attributed.anchor_B.tolist())):
            if group < 0:
                continue
            own = attributions[number, : lengths[number]]
            times = slice(self.longest - anchor, self.longest - anchor + len(own))
            self.sums[group, times] += own
            self.counts[group, times] += known[number, : len(own)]
            self.sizes[group] += np.abs(own).sum(axis=0)
            self.n_windows[group] += 1
            self.values += values_2B[:, number]

    def maps(
        self, model: SequenceModel | Decoding, method: Method, names: tuple[str, ...], unexplained: float | None
    ) -> AttributionMaps:
        """Means."""
        groups, reached = np.flatnonzero(self.n_windows), np.flatnonzero(self.counts.any(axis=0))
        times = np.arange(reached[0], reached[-1] + 1)
        counts_GT = self.counts[np.ix_(groups, times)].astype(np.float64)
        n_samples_G = counts_GT.sum(axis=1)
        counts_GT[counts_GT == 0] = np.nan
        values = (self.values / self.n_windows.sum()).tolist()
        unit, meaning = words_of(model)
        return AttributionMaps(
            method=method,
            group_names=tuple(names[group] for group in groups),
            n_windows=self.n_windows[groups],
            times=times - self.longest,
            since_predicted=isinstance(model, (Csm, SequenceBert)),
            of_classes=isinstance(model, Decoding),
            maps=(self.sums[np.ix_(groups, times)] / counts_GT[:, :, None]).transpose(0, 2, 1),
            importance=self.sizes[groups] / n_samples_G[:, None],
            unit=unit,
            meaning=meaning,
            value_at_input=values[0],
            value_at_zero=values[1],
            unexplained=unexplained,
        )


def _classes(part: Trials, names: Sequence[str]) -> NDArray[np.int64]:
    """Position of each label among a model's classes, (n,); -1 for none."""
    position = {name: code for code, name in enumerate(names)}
    codes = np.array([*(position.get(name, NO_CLASS) for name in part.names), NO_CLASS], dtype=np.int64)
    return codes[part.truth]


def _keys(part: Trials, some: slice, device: torch.device) -> Tensor:
    """Keys of windows, so that what is hidden is a function of the window."""
    columns = (part.spans.subject, part.spans.segment, part.spans.start, part.spans.stop)
    return span_keys(_MASKS_SEED, 0, *(torch.from_numpy(column[some]) for column in columns)).to(device)


def _tell_of_what_has_no_gradient(model: Decoding) -> None:
    """Power, covariances and connectivity of the linear answer are read without gradients."""
    kinds = [] if model.answer is None else model.answer.kinds
    without = [kind.replace("_", " ") for kind in kinds if kind != COURSE]
    if not model.has_network and COURSE not in kinds:
        says = f"by {' and '.join(without)} of the trial alone" if without else "the same to every trial"
        raise DataError(f"This decoder answers {says} (its network has no share): there is nothing to attribute.")
    if without:
        warnings.warn(
            f"Attributions leave out what the linear answer reads in {' and '.join(without)}: they are those of the "
            "course and the network.",
            DataWarning,
            stacklevel=3,
        )


def _gradient(value: Value, signals_BTC: Tensor) -> Tensor:
    inputs_BTC = signals_BTC.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient_BTC,) = torch.autograd.grad(value(inputs_BTC).sum(), inputs_BTC)
    return gradient_BTC
