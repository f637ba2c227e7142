"""The linear answer of a decoder: logits that are linear in a trial's features, as buffers of the model.

Shapes: B trials, T samples, C channels, K classes, F features, P networks, S spectra.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from dynml.models.sequence.decoding.answer.features import (
    CONNECTIVITY,
    COURSE,
    KINDS,
    MOST_SOURCES,
    OSCILLATIONS,
    POWER,
    STATE_KINDS,
    STATES,
    TANGENT,
    TRANSITIONS,
    FeatureLayout,
    connectivity,
    course,
    course_of_states,
    log_power,
    shrunk,
    spectra,
    state_transitions,
    tangent,
    waves_of,
)
from dynml.models.sequence.decoding.answer.oscillations import oscillations
from dynml.models.sequence.decoding.answer.state_model import StateModel
from dynml.models.sequence.windows import Windows


class LinearAnswer(nn.Module):
    """Logits of trials: bias + (features - centre) @ weights, computed in float64 on the host.

    Every trial is read by itself, so that its logits do not depend on those beside it. What a trial is too short for
    adds nothing.

    Parameters
    ----------
    layout : FeatureLayout
    log_priors_K : Tensor
        What is answered before the fit.
    states : StateModel, optional
        What tells the states of a trial.

    Attributes
    ----------
    weights_FK, centre_F, bias_K : Tensor, float64
    n_course : Tensor, int64
        Features of the course in use: finest parts times channels.
    axes_CP, whitening_SPP : Tensor, float64
        What covariances are projected onto and whitened by.
    sources_APJ : Tensor, float64
        Sources of oscillations in each band, of the same; in decoders that read them.
    n_state_course : Tensor, int64
        As `n_course`, of the course of states; this and the next with a model of states only.
    without_states_FK : Tensor, float64
        Weights of the answer that knows no states.
    """

    weights_FK: Tensor
    centre_F: Tensor
    bias_K: Tensor
    n_course: Tensor
    axes_CP: Tensor
    whitening_SPP: Tensor
    sources_APJ: Tensor
    n_state_course: Tensor
    without_states_FK: Tensor

    def __init__(self, layout: FeatureLayout, log_priors_K: Tensor, states: StateModel | None = None) -> None:
        super().__init__()
        self.layout, self.states = layout, states
        n_networks = layout.n_networks
        self.register_buffer("weights_FK", torch.zeros(layout.n_features, len(log_priors_K), dtype=torch.float64))
        self.register_buffer("centre_F", torch.zeros(layout.n_features, dtype=torch.float64))
        self.register_buffer("bias_K", log_priors_K.double())
        self.register_buffer("n_course", torch.tensor(layout.n_channels))
        self.register_buffer("axes_CP", torch.eye(layout.n_channels, n_networks, dtype=torch.float64))
        identity = torch.eye(n_networks, dtype=torch.float64)
        self.register_buffer("whitening_SPP", identity.repeat(layout.n_spectra, 1, 1))
        if layout.source_bands:
            sources_APJ = torch.zeros(len(layout.source_bands), n_networks, MOST_SOURCES, dtype=torch.float64)
            self.register_buffer("sources_APJ", sources_APJ)
        if states is not None:
            self.register_buffer("n_state_course", torch.tensor(layout.n_states))
            self.register_buffer("without_states_FK", torch.zeros_like(self.weights_FK))

    def forward(self, windows: Windows) -> Tensor:
        """Logits, (B, K) float32; gradients reach the signals by way of the course alone."""
        return self.logits(windows, self.weights_FK)

    def logits(self, windows: Windows, weights_FK: Tensor) -> Tensor:
        """Logits by weights of choice, (B, K) float32."""
        weights_FK, centre_F, bias_K = weights_FK.cpu(), self.centre_F.cpu(), self.bias_K.cpu()
        used = self._kinds_of(weights_FK)
        rows = []
        for trial in trials_of(windows):
            logits_K = bias_K
            for kind, features in self.features(*trial, used).items():
                first = self.layout.slice_of(kind).start
                chosen = slice(first, first + len(features))
                logits_K = logits_K + (features - centre_F[chosen]) @ weights_FK[chosen]
            rows.append(logits_K)
        return torch.stack(rows).float().to(windows.device)

    @property
    def kinds(self) -> list[str]:
        """Kinds of features that have a part in the logits."""
        return self._kinds_of(self.weights_FK)

    def _kinds_of(self, weights_FK: Tensor) -> list[str]:
        return [kind for kind in KINDS if bool((weights_FK[self.layout.slice_of(kind)] != 0).any())]

    def features(
        self, signals_TC: Tensor, known_T: Tensor, sampling_frequency: float, kinds: Collection[str]
    ) -> dict[str, Tensor]:
        """Features of a trial by kind, as far as it has them."""
        found: dict[str, Tensor] = {}
        if COURSE in kinds:
            n_bins = int(self.n_course) // self.layout.n_channels
            found[COURSE] = course(signals_TC, known_T, n_bins)
        if self.states is not None and not set(kinds).isdisjoint(STATE_KINDS):
            states_TK = self.states(signals_TC, known_T)
            if STATES in kinds:
                found[STATES] = course_of_states(states_TK, int(self.n_state_course) // self.layout.n_states)
            if TRANSITIONS in kinds:
                found[TRANSITIONS] = state_transitions(states_TK)
        if set(kinds) <= {COURSE, *STATE_KINDS}:
            return found
        with torch.no_grad():
            waves = waves_of(signals_TC[known_T], sampling_frequency)
            moments = None if waves is None else spectra(waves, self.layout, self.axes_CP.cpu())
            if waves is None or moments is None:
                return found
            if POWER in kinds:
                found[POWER] = log_power(moments)
            if TANGENT in kinds:
                found[TANGENT] = tangent(shrunk(moments), self.whitening_SPP.cpu())
            if CONNECTIVITY in kinds:
                found[CONNECTIVITY] = connectivity(moments)
            if OSCILLATIONS in kinds:
                axes_CP, sources_APJ = self.axes_CP.cpu(), self.sources_APJ.cpu()
                found[OSCILLATIONS] = oscillations(waves, self.layout.source_bands, axes_CP, sources_APJ)
        return found


def trials_of(windows: Windows) -> list[tuple[Tensor, Tensor, float]]:
    """Signals (T, C) float64, known samples (T,) and sampling frequency of each window, on the host."""
    signals_BTC, known_BT = windows.signals_BTC.cpu().double(), windows.known_BT.cpu()
    seconds_BT, lengths = windows.seconds_BT.cpu(), windows.lengths_B.tolist()
    trials = []
    for row, length in enumerate(lengths):
        seconds = float(seconds_BT[row, 1] - seconds_BT[row, 0]) if seconds_BT.shape[1] > 1 else 1.0
        trials.append((signals_BTC[row, :length], known_BT[row, :length], 1.0 / seconds))
    return trials
