"""A trained model as a user of Python sees it: load an experiment, ask it about a store or arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynml.configuration import config_from
from dynml.data.dataset import MultiSubjectDataset
from dynml.data.embedding import Embedding
from dynml.errors import CheckpointError, DataError
from dynml.files import as_dynml_wrote
from dynml.models.registry import Family, get_family, load
from dynml.training.environment import resolve_device
from dynml.training.experiment_folder import ExperimentFolder

SUBSETS = ("training", "validation", "testing")


class Experiment:
    """A trained model with its parameters.

    Attributes
    ----------
    model : torch.nn.Module
        In evaluation mode.
    parameters : dict
        Content of parameters.json.
    family : Family
    embedding : Embedding or None
        What the channels go through before the model, fitted to its training data.
    """

    def __init__(
        self, model: torch.nn.Module, parameters: dict[str, Any], family: Family, embedding: Embedding | None = None
    ) -> None:
        self.model, self.parameters, self.family, self.embedding = model.eval(), parameters, family, embedding

    def infer(
        self, data: str | Path | np.ndarray | Sequence[np.ndarray] | MultiSubjectDataset, *, group: str | None = None
    ) -> Iterator[Any]:
        """Infer every subject of a store (all subsets), or every array.

        Parameters
        ----------
        data : path, array (T, C), list of arrays, or MultiSubjectDataset
            Arrays must be prepared as the training data were (standardized, in the same order of channels). Where the
            training embedded channels as it read them, give data without: the model's own embedding is applied.
            Arrays with missing samples go through `MultiSubjectDataset.from_arrays(.., missing="mask")` first.
        group : str, optional
            Group of the store; default: the one that the model was trained on.

        Raises
        ------
        CheckpointError
            When the family has no inference.
        DataError
            When the channels are not those of the training data.
        """
        if self.family.inference is None:
            raise CheckpointError(f"The family {self.family.name} has no inference.")
        dataset = self.open(data, group=group)
        for name in SUBSETS:
            yield from load(self.family.inference)(self.model, dataset.subset(name))

    def open(
        self, data: str | Path | np.ndarray | Sequence[np.ndarray] | MultiSubjectDataset, *, group: str | None = None
    ) -> MultiSubjectDataset:
        """Make a dataset of `data`, embedded as the training data were, and check that its channels are theirs."""
        if isinstance(data, MultiSubjectDataset):
            dataset = data if self.embedding is None else data.with_embedding(self.embedding)
        elif isinstance(data, (str, Path)):
            device = next((tensor.device for tensor in self.model.state_dict().values()), torch.device("cpu"))
            group = group or self.parameters["dataset"]["group"]
            dataset = MultiSubjectDataset(data, group=group, device=device, embedding=self.embedding)
            dataset.load_data()
        else:
            dataset = MultiSubjectDataset.from_arrays(data)
            if self.embedding is not None:
                dataset = dataset.with_embedding(self.embedding)
        self._check_channels(dataset, named=isinstance(data, (str, Path)))
        return dataset

    def _check_channels(self, dataset: MultiSubjectDataset, *, named: bool) -> None:
        trained = self.parameters["dataset"]
        if dataset.n_channels != trained["n_channels"]:
            raise DataError(
                f"The data have {dataset.n_channels} channels, but the model was trained on {trained['n_channels']}."
            )
        if named and list(dataset.channel_names) != list(trained["channel_names"]):
            odd = next(pair for pair in zip(dataset.channel_names, trained["channel_names"]) if pair[0] != pair[1])
            raise DataError(f"The data have channel {odd[0]} where the model was trained on {odd[1]}.")


def load_experiment(path: str | Path, *, latest: bool = False, device: str = "cpu") -> Experiment:
    """Load the model of an experiment folder.

    Parameters
    ----------
    path : str or Path
        EXPERIMENTS_PATH/EXPERIMENT_NAME.
    latest : bool
        Take the latest epoch instead of the best one.
    device : str
        cpu, cuda, auto; models load wherever they were trained.

    Raises
    ------
    CheckpointError
        When there is no model that verifies, or it is of no registered family.
    """
    folder = ExperimentFolder.at(path)
    weights, parameters = folder.load_model(latest=latest)
    with as_dynml_wrote(folder.path):
        return _experiment_of(folder, weights, parameters, latest, device)


def _experiment_of(
    folder: ExperimentFolder, weights: dict[str, torch.Tensor], parameters: dict[str, Any], latest: bool, device: str
) -> Experiment:
    path = folder.path
    if parameters.get("family") is None:
        raise CheckpointError(
            f"{path} holds a model of no registered family; build the model yourself and load its weights from "
            "best_model/model.safetensors."
        )
    family = get_family(parameters["family"])
    config = config_from(family.config_classes()["model"], parameters["model"], "model")
    model = load(family.model)(config, parameters["dataset"]["n_channels"])
    model.load_state_dict(weights)
    described = parameters["dataset"].get("embedding")
    embedding = None
    if described is not None:
        embedding = Embedding.from_saved(described, folder.load_input_transform(latest=latest))
    return Experiment(model.to(resolve_device(device)), parameters, family, embedding)
