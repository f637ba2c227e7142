"""What the sequence models share: embed a window's samples, let a backbone go over them, predict signals again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from dynml.batches.batch import Batch
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.channel_vectors import Channels, NamedChannels, PositionedChannels, of_channels
from dynml.models.sequence.backbones.embedding import Embedder, TimeEmbedding, Unembedder
from dynml.models.sequence.backbones.tokens import TokenLayout
from dynml.models.sequence.backbones.transformer import Pooler, Transformer
from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.baselines.by_montage import ByMontage
from dynml.models.sequence.baselines.named import make_baseline
from dynml.models.sequence.baselines.own_channels import OwnChannels
from dynml.models.sequence.channels import columns_in, dataset_taken, tell_of_linear_path, with_names_and_positions
from dynml.models.sequence.config import SequenceConfig
from dynml.models.sequence.objectives.pairs import has_both_parts
from dynml.models.sequence.objectives.tasks import Task, mean_loss
from dynml.models.sequence.targets.further_target import FurtherPrediction, FurtherTarget
from dynml.models.sequence.targets.spectra import SpectralTarget
from dynml.models.sequence.windows import Windows, in_patches, of_samples, patched
from dynml.training.model_summary import Summarized

Pooling = Literal["class_token", "mean"]


@dataclass(frozen=True)
class Outputs:
    """What a model says of a task."""

    task: Task
    predicted_BTC: Tensor
    """Each sample's prediction at its target's position."""

    follows_logit_B: Tensor | None = None
    """Log-odds that the second part of each pair follows on the first."""

    nonlinear_BTC: Tensor | None = None
    """What the nonlinear path predicts alone, where there is a linear one beside it."""

    further: dict[str, FurtherPrediction] = field(default_factory=dict)
    """What is predicted beside the signals, by target."""


class Nonlinear(NamedTuple):
    """What the nonlinear path says of a task."""

    signals_BTC: Tensor
    follows_logit_B: Tensor | None = None
    """Log-odds of pairs."""

    states_BNd: Tensor | None = None
    """States of the transformer, each where the token lies that is predicted by it."""


class SequenceModel(Summarized, nn.Module):
    """Embedder, un-embedder, the best linear baseline beside them, and the loss; a subclass adds the backbone.

    Parameters
    ----------
    config : SequenceConfig
        With the embedding of time settled (see `settling.settled_model`).
    n_channels : int
        C.

    Raises
    ------
    ConfigurationError
        When `time_precision` or `max_seconds` is open.
    """

    family_name: str
    """Name in the registry."""

    linear_baseline: str | None = None
    """Baseline that the linear path is; None: the model has no such path."""

    def __init__(self, config: SequenceConfig, n_channels: int) -> None:
        super().__init__()
        if config.time_precision is None or config.max_seconds is None:
            accepted = "settled from the data: dynml.models.sequence.settling.settled_model(config, dataset)"
            raise ConfigurationError("model.time_precision, model.max_seconds", None, accepted)
        self.config: Any = config
        self.n_channels, self.embedding_dim = n_channels, config.embedding_dim
        self.channels = _channels_of(config, n_channels)
        self.n_columns = n_channels if self.channels is None else self.channels.n_columns
        self.n_conditioning = len(getattr(config, "conditioning_channels", None) or ())
        n_predicted_columns = self.n_columns - self.n_conditioning
        n_numbers, n_predicted = (n * config.patch_length for n in (self.n_columns, n_predicted_columns))
        width = config.embedding_dim
        self.embedder = Embedder(n_numbers, width, config.n_embedder_layers, config.dropout, self.channels)
        self.time_embedding = TimeEmbedding(config.time_precision, config.n_time_rows, config.embedding_dim)
        self.unembedder = Unembedder(n_predicted, width, config.n_unembedder_layers, config.dropout, self.channels)
        self.linear: Baseline | None = None
        self.own_channels: OwnChannels | None = None
        if config.linear_path and self.linear_baseline is not None:
            numbers = self.n_predicted, config.linear_path_lags
            beside: dict[str, Any] = {"n_conditioning": self.n_conditioning, "montages": config.montages}
            self.linear = make_baseline(self.linear_baseline, *numbers, **beside)
            self.gate_C = nn.Parameter(torch.zeros(n_predicted_columns))

    @property
    def n_predicted(self) -> int:
        """C, channels that are predicted; behind them `n_channels` counts those of a second group, which are not."""
        return self.n_channels - self.n_conditioning

    def task_of(self, windows: Windows, subject_B: Tensor, dataset_B: Tensor) -> Task:
        """Make the task of this family."""
        raise NotImplementedError

    def nonlinear_prediction(self, task: Task) -> Nonlinear:
        """What the nonlinear path predicts alone."""
        raise NotImplementedError

    def forward(self, task: Task) -> Outputs:
        """Predict what a task asks for: from the linear path towards the nonlinear one, by a gate for each channel.

        The gates start at 0, so learning begins at the baseline's loss.
        """
        if self.linear is None:
            said = self.nonlinear_prediction(task)
            return Outputs(task, said.signals_BTC, said.follows_logit_B, further=self._further(task, said))
        # The linear path first: where it waits for a GPU (see `asks_nothing`), there is least to wait for then.
        linear_BTC = self.predicted_linearly(self.linear.predict, task)
        said = self.nonlinear_prediction(task)
        predicted_BTC, further = self.through_gates(linear_BTC, said.signals_BTC), self._further(task, said)
        return Outputs(task, predicted_BTC, said.follows_logit_B, said.signals_BTC, further)

    @property
    def further_targets(self) -> list[FurtherTarget]:
        """What is predicted beside the signals."""
        return [part for part in self.children() if isinstance(part, FurtherTarget)]

    def _further(self, task: Task, said: Nonlinear) -> dict[str, FurtherPrediction]:
        targets = self.further_targets
        if not targets:
            return {}
        assert said.states_BNd is not None
        return {target.name: target(self, task, said.states_BNd) for target in targets}

    def predicted_linearly(self, predict: Callable[[Task], Tensor], task: Task) -> Tensor:
        """What the linear path predicts, (B, T, C), of the channels that are there."""
        if self.own_channels is None:
            return predict(task)
        assert self.linear is not None
        return self.own_channels.predicted(predict, task, cast(Tensor, self.linear.mean_C))

    def through_gates(self, linear_BTC: Tensor, nonlinear_BTC: Tensor) -> Tensor:
        """From the linear prediction towards the nonlinear one; all the way where the linear path lacks a channel."""
        gate_C = self.of_channels(self.gate_C)
        if self.own_channels is not None:
            gate_C = torch.where(self.own_channels.is_there_C, gate_C, 1.0)
        return linear_BTC + gate_C * (nonlinear_BTC - linear_BTC)

    def of_channels(self, table: Tensor, n_samples: int = 1) -> Tensor:
        """What a parameter of the channels, (.., P R), is for those that are there, (.., P C); P samples a token."""
        return table if self.channels is None else of_channels(self.channels, table, n_samples)

    @property
    def takes_other_channels(self) -> bool:
        """Whether recordings may have other channels than those of the training."""
        return self.channels is not None

    def taking_channels_of(self, dataset: MultiSubjectDataset) -> MultiSubjectDataset:
        """Predict the channels of a dataset from now on: those that the model can take, which are given back.

        Raises
        ------
        DataError
            When it can take none.

        Warns
        -----
        DataWarning
            With those that it cannot take.
        """
        assert self.channels is not None
        taken = dataset_taken(self.config, dataset)
        config = with_names_and_positions(self.config, taken)
        if isinstance(self.channels, NamedChannels):
            self.channels.take(config.channel_names)
        else:
            self.channels.take(config.channel_positions)
        self.n_channels = taken.n_channels
        self.own_channels = None
        if self.linear is not None:
            columns, n_own = columns_in(config, self.config), len(self.config.channel_names)
            if isinstance(self.linear, ByMontage):
                columns, n_own = self.linear.take(columns)
            tell_of_linear_path(columns, dataset)
            device = next(self.parameters()).device
            self.own_channels = OwnChannels.of(columns, n_own, device)
        return taken

    def compute_loss(self, outputs: Outputs, batch: Batch | None = None) -> tuple[Tensor, Tensor]:
        """Mean loss over scored numbers (samples x channels), and how many there are: both on the device.

        Behind a gate that is nearly closed the nonlinear path would learn next to nothing, and as a mere correction of
        the baseline it often finds no beginning. So in training it also learns to predict alone: its own loss adds
        gradients, but nothing to the value.
        """
        target_BTC, scored = outputs.task.windows.signals_BTC, outputs.task.scored
        loss, n_scored = mean_loss(outputs.predicted_BTC, target_BTC, scored, self.config)
        if self.training and outputs.nonlinear_BTC is not None:
            own, _ = mean_loss(outputs.nonlinear_BTC, target_BTC, scored, self.config)
            loss = loss + (own - own.detach())
        if outputs.further:
            loss = self.config.signal_weight * loss
            for target in self.further_targets:
                loss = loss + target.weight * outputs.further[target.name].mean_loss(self.config)
        return loss, n_scored

    def states(self, windows: Windows) -> Tensor:
        """Hidden state of every sample, (B, T, d), nothing hidden from the model."""
        raise NotImplementedError

    def pooled(self, windows: Windows, pooling: Pooling = "class_token") -> Tensor:
        """One vector per window, (B, d): the state of a class token put after its last sample, or the samples' mean."""
        raise NotImplementedError

    def mean_state(self, windows: Windows) -> Tensor:
        """Mean of the states of a window's samples, masked ones left out, (B, d); 0 where there is no other."""
        states_BTd, known_BT1 = self.states(windows), windows.known_BT[:, :, None]
        return torch.where(known_BT1, states_BTd, 0.0).sum(dim=1) / known_BT1.sum(dim=1).clamp(min=1)

    def embedded(self, inputs_BTC: Tensor, windows: Windows) -> Tensor:
        """Embed samples with the times they are at, (B, T, d)."""
        return self.embedder(inputs_BTC) + self.time_embedding(windows.seconds_BT)


def _channels_of(config: Any, n_channels: int) -> Channels | None:
    """What a settled config says of how channels are known."""
    if config.channel_embedding == "none":
        return None
    if config.channel_names is None:
        accepted = "settled from the data: dynml.models.sequence.settling.settled_model(config, dataset)"
        raise ConfigurationError("model.channel_names", None, accepted)
    assert len(config.channel_names) == n_channels, (config.channel_names, n_channels)
    if config.channel_embedding == "position":
        return PositionedChannels(len(config.known_channels), config.channel_positions)
    channels = NamedChannels(config.known_channels)
    channels.take(config.channel_names)
    return channels


class TransformerModel(SequenceModel):
    """A transformer as the backbone, with a mask, a separator and a class token in the space of the inputs."""

    causal = False

    def __init__(self, config: SequenceConfig, n_channels: int, *, n_token_types: int = 0) -> None:
        super().__init__(config, n_channels)
        self.transformer = Transformer(
            config.embedding_dim,
            config.n_layers,
            config.resolved_n_heads,
            feed_forward_factor=config.feed_forward_factor,
            dropout=config.dropout,
            activation=config.activation,
            n_positions=config.n_positions,
            norm=config.norm,
            n_token_types=n_token_types,
            activation_checkpointing=config.activation_checkpointing,
        )
        # Learnt only where it is read: by pairs, and by what is put on a pooled window later.
        reads_class_token = getattr(config, "next_sequence", False)
        n_numbers = self.n_columns * config.patch_length
        self.class_token_C = nn.Parameter(torch.randn(n_numbers), requires_grad=reads_class_token)
        if getattr(config, "spectral_weight", None) is not None:
            self.spectra = SpectralTarget(config, self.n_predicted, causal=self.causal)

    @property
    def backbone(self) -> Transformer:
        """What lies between embedder and un-embedder."""
        return self.transformer

    def _token(self, token_C: Tensor) -> Tensor:
        """Embed one token, (d,): it stands at no time."""
        outside = torch.full((1, 1), -1.0, dtype=torch.float64, device=token_C.device)
        token_C = self.of_channels(token_C, self.config.patch_length)
        return (self.embedder(token_C[None, None]) + self.time_embedding(outside))[0, 0]

    def _tokens(self, inputs_BTC: Tensor, windows: Windows) -> tuple[Tensor, Windows]:
        """Inputs of tokens, (B, N, P C), and windows of them: samples, or patches of P samples."""
        inputs_BTC, length = windows.weighted(inputs_BTC), self.config.patch_length
        return (inputs_BTC if length == 1 else in_patches(inputs_BTC, length).flatten(2)), patched(windows, length)

    def _samples_of_patches(self, predicted_BNF: Tensor, windows: Windows) -> Tensor:
        """What is predicted of tokens, laid out as samples, (B, T, C)."""
        length = self.config.patch_length
        if length == 1:
            return predicted_BNF
        return predicted_BNF.unflatten(2, (length, self.n_predicted)).flatten(1, 2)[:, : windows.shape[1]]

    def _states_and_class(self, inputs_BTC: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """States of tokens (B, N, d) and of the class token (B, d)."""
        inputs_BTC, windows = self._tokens(inputs_BTC, windows)
        layout = TokenLayout.of(windows)
        separator_C = getattr(self, "separator_token_C", self.class_token_C)
        extended_BSd = layout.laid_out(
            self.embedded(inputs_BTC, windows), self._token(separator_C), self._token(self.class_token_C)
        )
        mask_BS = layout.mask_BS if windows.ragged else None
        states_BSd = self.transformer(
            extended_BSd,
            mask_BS,
            causal=self.causal,
            token_types_BT=layout.token_types_BS,
            observed_BT=layout.observed_BS,
        )
        return layout.samples_of(states_BSd), layout.class_of(states_BSd)

    def _states(self, inputs_BTC: Tensor, windows: Windows) -> Tensor:
        """States of tokens (samples, or patches) where no special one is needed, (B, N, d)."""
        if windows.token_types_BT is not None:
            return self._states_and_class(inputs_BTC, windows)[0]
        return self.states_of(inputs_BTC, windows, self)

    def states_of(self, inputs_BTC: Tensor, windows: Windows, parts: Any) -> Tensor:
        """States of tokens of windows in one piece, by this model's parts or a copy of them, (B, N, d)."""
        inputs_BTC, windows = self._tokens(inputs_BTC, windows)
        embedded_BTd = parts.embedder(inputs_BTC) + parts.time_embedding(windows.seconds_BT)
        mask_BT = windows.mask_BT if windows.ragged else None
        states_BTd: Tensor = parts.transformer(
            embedded_BTd, mask_BT, causal=self.causal, observed_BT=windows.observed_BT
        )
        return states_BTd

    def states(self, windows: Windows) -> Tensor:
        """Hidden state of every sample (that of its patch), (B, T, d), nothing hidden from the model."""
        states_BNd = self._states(windows.rows_BTR, windows)
        return of_samples(states_BNd, self.config.patch_length, windows.shape[1])

    def pooled(self, windows: Windows, pooling: Pooling = "class_token") -> Tensor:
        """One vector per window, (B, d): the state of a class token put after its last sample, or the samples' mean."""
        if pooling == "mean":
            return self.mean_state(windows)
        return self._states_and_class(windows.rows_BTR, windows)[1]


class MaskedModel(TransformerModel):
    """A transformer that sees both sides; optionally it also tells whether the parts of a pair follow each other."""

    def __init__(self, config: Any, n_channels: int) -> None:
        super().__init__(config, n_channels, n_token_types=2 if config.next_sequence else 0)
        if config.next_sequence:
            self.separator_token_C = nn.Parameter(torch.randn(self.n_columns))
            self.pooler = Pooler(config.embedding_dim, config.dropout)
            self.next_sequence_head = nn.Linear(config.embedding_dim, 1)

    def _inputs(self, task: Task) -> Tensor:
        """Signals with what is hidden replaced, (B, T, C)."""
        raise NotImplementedError

    def nonlinear_prediction(self, task: Task) -> Nonlinear:
        """What the nonlinear path predicts for hidden samples, and the log-odds of pairs, if any."""
        inputs_BTC = self._inputs(task)
        if task.follows_B is None:
            states_BNd = self._states(inputs_BTC, task.windows)
            predicted_BTC = self._samples_of_patches(self.unembedder(states_BNd), task.windows)
            return Nonlinear(predicted_BTC, states_BNd=states_BNd)
        states_BTd, class_Bd = self._states_and_class(inputs_BTC, task.windows)
        return Nonlinear(self.unembedder(states_BTd), self.next_sequence_head(self.pooler(class_Bd))[:, 0])

    def compute_loss(self, outputs: Outputs, batch: Batch | None = None) -> tuple[Tensor, Tensor]:
        """Reconstruction, plus the weighted cross-entropy of pairs."""
        loss, n_scored = super().compute_loss(outputs, batch)
        entropy = self.next_sequence_loss(outputs)
        return (loss if entropy is None else loss + self.config.next_sequence_weight * entropy), n_scored

    def next_sequence_loss(self, outputs: Outputs) -> Tensor | None:
        """Cross-entropy of whether pairs follow each other, nats; None without pairs.

        Pairs of which a part is masked altogether do not count.
        """
        if outputs.follows_logit_B is None:
            return None
        assert outputs.task.follows_B is not None
        logit_B, valid_B = outputs.follows_logit_B, has_both_parts(outputs.task.windows)
        target_B = outputs.task.follows_B.to(logit_B.dtype)
        if valid_B is None:
            return nn.functional.binary_cross_entropy_with_logits(logit_B, target_B)
        entropy_B = nn.functional.binary_cross_entropy_with_logits(logit_B, target_B, reduction="none")
        return torch.where(valid_B, entropy_B, 0.0).sum() / valid_B.sum().clamp(min=1)
