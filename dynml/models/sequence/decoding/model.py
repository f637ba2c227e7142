"""The decoder: a linear answer, and networks whose share of the logits is added to it.

Shapes: M networks, B trials, K classes, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynml.errors import ConfigurationError
from dynml.models.sequence.decoding.answer.features import FeatureLayout
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer
from dynml.models.sequence.decoding.answer.state_model import StateModel
from dynml.models.sequence.decoding.config import LINEAR, DecodingConfig
from dynml.models.sequence.decoding.network import Network
from dynml.models.sequence.windows import Windows
from dynml.training.model_summary import Summarized


def linear_answer_of(config: DecodingConfig, n_channels: int, log_priors_K: Tensor) -> LinearAnswer:
    """Make the linear answer of a settled config, not fitted."""
    assert config.trial_length is not None
    assert config.answer_bands is not None
    states = None if config.state_model is None else StateModel(config.state_model)
    bands = tuple((low, high) for low, high in config.answer_bands)
    source_bands = tuple((low, high) for low, high in config.answer_source_bands or [])
    n_states = 0 if states is None else states.n_states
    layout = FeatureLayout(n_channels, config.trial_length, bands, n_states, source_bands)
    return LinearAnswer(layout, log_priors_K, states)


class Decoding(Summarized, Network):
    """Classes or labels of trials; or one number of each, in standard deviations of training trials from their mean.

    It is itself the first of its networks; `further` has the others.

    Parameters
    ----------
    config : DecodingConfig
        With `class_names`, `class_counts` and `trial_length` settled (see `settling.settle_with_data`).
    n_channels : int

    Raises
    ------
    ConfigurationError
        When the classes are open.
    """

    takes_conditioning = True
    """Channels of a second group are channels of the trial like others."""

    network_share: Tensor
    """How much of the networks is added to the linear answer, from 0 to 1; in training all of it is."""

    def __init__(self, config: DecodingConfig, n_channels: int) -> None:
        if None in (config.backbone, config.class_names, config.class_counts, config.trial_length):
            accepted = "settled from the data: dynml.models.sequence.decoding.settling.settle_with_data"
            raise ConfigurationError("model.class_names", config.class_names, accepted)
        # Before anything is learnt the networks add nothing to the linear answer; where there is none, all classes are
        # as likely as their trials are frequent.
        priors_K = _log_priors(config)
        start_K = priors_K if config.answer_bands is None else torch.zeros_like(priors_K)
        super().__init__(config, n_channels, start_K)
        self.n_channels = n_channels
        self.answer: LinearAnswer | None = None
        if config.answer_bands is not None:
            self.answer = linear_answer_of(config, n_channels, priors_K)
            self.register_buffer("network_share", torch.ones(()))
        self.further = nn.ModuleList(Network(config, n_channels, start_K) for _ in range(config.n_networks - 1))

    @property
    def goes_by_samples(self) -> bool:
        """Whether trials are compared sample by sample, whatever the rate: by a linear model."""
        return self.answer is not None or self.config.backbone == LINEAR

    def forward(self, windows: Windows, answered_BK: Tensor | None = None) -> Tensor:
        """Logits of trials, (B, K); in training those of each network, one after another, (M B, K).

        Parameters
        ----------
        windows : Windows
        answered_BK : Tensor, optional
            What the linear answer is taken to be: in training that of models which have not seen these trials.
        """
        if self.training:
            logits_MBK = self.by_network(windows)
            if self.answer is not None:
                logits_MBK = logits_MBK + (self.answer(windows) if answered_BK is None else answered_BK)
            return logits_MBK.flatten(0, 1)
        if self.answer is None:
            return self.network(windows)
        answered_BK = self.answer(windows) if answered_BK is None else answered_BK
        if not self.has_network:
            return answered_BK
        return answered_BK + self.network_share * self.network(windows)

    @property
    def has_network(self) -> bool:
        """Whether the networks have a share in the logits."""
        return self.answer is None or bool(self.network_share > 0)

    @property
    def networks(self) -> list[Network]:
        """All of them."""
        return [self, *(one for one in self.further if isinstance(one, Network))]

    def by_network(self, windows: Windows) -> Tensor:
        """What each network adds to the logits, (M, B, K), all of it."""
        return torch.stack([network.added(windows) for network in self.networks])

    def network(self, windows: Windows) -> Tensor:
        """What the networks add to the logits in the mean, (B, K), all of it."""
        return self.by_network(windows).mean(dim=0) if self.further else self.added(windows)

    def keep_one_network(self) -> None:
        """Forget all networks but the first."""
        self.further = nn.ModuleList()

    def features(self, windows: Windows) -> Tensor:
        """What the backbones make of trials, (B, M F)."""
        return torch.cat([network.pooled(windows) for network in self.networks], dim=1)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Trained parameters with the factor of their learning rate: 1 for the head, less with every layer below."""
        groups: dict[int, list[nn.Parameter]] = {}
        for network in self.networks:
            for depth, parameter in network.trained_parameters():
                groups.setdefault(depth, []).append(parameter)
        decay = self.config.layer_learning_rate_decay
        return [(decay**depth, parameters) for depth, parameters in sorted(groups.items())]


def _log_priors(config: DecodingConfig) -> Tensor:
    if config.tells_numbers:
        return torch.zeros(1)
    counts = torch.tensor(config.class_counts, dtype=torch.float64)
    if config.tells_labels:
        assert config.n_training_trials is not None
        return (counts / (config.n_training_trials - counts)).log().float()
    if config.class_weights == "balanced":
        counts = torch.ones_like(counts)
    return (counts / counts.sum()).log().float()
