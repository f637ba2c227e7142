"""A pre-trained model that tells the states of a trial (an HMM, DyNeMo), with its weights, within the linear answer.

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from dynml.configuration import config_from
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.embedding import Embedding
from dynml.dataset.preparation_signature import EITHER_METHOD
from dynml.errors import CheckpointError
from dynml.models.registry import FAMILIES, family_names, get_family, load
from dynml.preparation.fitted.pca import COMPONENTS, VARIANCES
from dynml.training.checkpoints.experiment_folder import ExperimentFolder


def tells_states(family: str | None) -> bool:
    """Whether models of a family tell the states of a stretch of samples."""
    return family in family_names() and get_family(str(family)).states_of_stretch is not None


def families_with_states() -> list[str]:
    """Those of this package."""
    return [name for name in FAMILIES if tells_states(name)]


class StateModel(nn.Module):
    """State probabilities of trials by a model that stays as it is.

    A trial is read by itself, as by all other features: what was measured before and after it has no part in them.

    Parameters
    ----------
    described : dict
        family, settings (of its model) and n_channels; embedding: what trials go through first, as
        `Embedding.describe` gives it, or None.

    Attributes
    ----------
    n_states : int
        K.
    """

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__()
        family = get_family(described["family"])
        assert family.states_of_stretch is not None
        self._states_of_stretch = load(family.states_of_stretch)
        config = config_from(family.config_classes()["model"], described["settings"], "model")
        # Weights come later; what learns beside it starts as it does without.
        with torch.random.fork_rng(devices=[]):
            self.model: nn.Module = load(family.model)(config, described["n_channels"])
        self.model.requires_grad_(False)
        self.eval()
        self._embedding = described.get("embedding")
        if self._embedding is not None and self._embedding["n_components"] is not None:
            n_inputs = self._embedding["n_embeddings"] * len(self._embedding["channel_names"])
            n_components = self._embedding["n_components"]
            self.register_buffer(COMPONENTS, torch.zeros(n_inputs, n_components, dtype=torch.float64))
            self.register_buffer(VARIANCES, torch.ones(n_components, dtype=torch.float64))
        one = torch.zeros(1, described["n_channels"], dtype=torch.float64)
        self.n_states: int = self._states_of_stretch(self.model, one).shape[1]

    @torch.no_grad()
    def forward(self, signals_TC: Tensor, known_T: Tensor) -> Tensor:
        """Probabilities of states given a trial, (T, K) float64, on the host; NaN at ends that an embedding takes."""
        rows = torch.where(known_T[:, None], signals_TC.detach(), torch.nan)
        states_TK = torch.full((len(rows), self.n_states), torch.nan, dtype=torch.float64)
        margin = 0
        if self._embedding is not None:
            saved = {name: buffer.cpu() for name, buffer in self.named_buffers(recurse=False)}
            embedding = Embedding.from_saved(self._embedding, saved)
            rows, margin = embedding.apply(rows.float()), embedding.margin
        if len(rows):
            states_TK[margin : margin + len(rows)] = self._states_of_stretch(self.model, rows).double().cpu()
        return states_TK

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation."""
        return super().train(False)


def embedding_of_trials(parameters: dict[str, Any], dataset: MultiSubjectDataset) -> dict[str, Any] | None:
    """What trials go through before the model of an experiment, as `Embedding.describe` gives it; None for nothing.

    Only what needs no more than the trial itself: of runs that were not brought to mean 0 each, principal components
    are those of signals about the mean of the run, and standardized ones are scaled by it. Then, and where the dataset
    is embedded already, the two are to be embedded alike.
    """
    described = parameters["dataset"].get("embedding")
    if described is None or dataset.embedding is not None or described.get("standardize"):
        return None
    standardization = (parameters["dataset"].get("preparation") or {}).get("standardization")
    is_about_mean = standardization in ("per_run", EITHER_METHOD)
    return described if described["n_components"] is None or is_about_mean else None


def load_state_model(states: StateModel, path: str | Path) -> None:
    """Put the weights of an experiment's best model, and its embedding, into a model of states.

    Raises
    ------
    CheckpointError
        When there is no model there, or one of other sizes.
    """
    folder = ExperimentFolder.at(path)
    weights, _ = folder.load_model()
    own = {name: tuple(tensor.shape) for name, tensor in states.model.state_dict().items()}
    if own != {name: tuple(tensor.shape) for name, tensor in weights.items()}:
        raise CheckpointError(f"{path} holds weights of other sizes than its settings say.")
    states.model.load_state_dict(weights)
    own_buffers = dict(states.named_buffers(recurse=False))
    if own_buffers:
        saved = folder.load_input_transform()
        for name, buffer in own_buffers.items():
            buffer.copy_(saved[name])
