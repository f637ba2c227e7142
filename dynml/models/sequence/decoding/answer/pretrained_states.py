"""Which experiments tell the states of trials, and what a decoder takes over of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.preparation_signature import EITHER_METHOD
from dynml.errors import CheckpointError
from dynml.models.registry import FAMILIES, family_names, get_family
from dynml.models.sequence.decoding.answer.state_model import StateModel
from dynml.training.checkpoints.experiment_folder import ExperimentFolder


def tells_states(family: str | None) -> bool:
    """Whether models of a family tell the states of a stretch of samples."""
    return family in family_names() and get_family(str(family)).states_of_stretch is not None


def families_with_states() -> list[str]:
    """Those of this package."""
    return [name for name in FAMILIES if tells_states(name)]


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
