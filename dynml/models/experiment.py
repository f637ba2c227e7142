"""A trained model as a user of Python sees it: load an experiment, ask it about a store or arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynml.configuration import config_from
from dynml.data.dataset import MultiSubjectDataset
from dynml.data.dataset_config import DatasetConfig
from dynml.data.embedding import Embedding
from dynml.data.store_reading import Store
from dynml.data.subsets import Subsets, draw_subsets
from dynml.errors import CheckpointError, DataError
from dynml.models.registry import Family, get_family, load
from dynml.training.environment import resolve_device
from dynml.training.experiment_folder import ExperimentFolder

SUBSETS = ("training", "validation", "testing")
OF_SUBSETS = ("subsets", "folds", "fold", "n_training_subjects", "seed")
"""Settings of a dataset that redraw its subsets."""


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
            dataset = MultiSubjectDataset(
                data, group=group, device=device, embedding=self.embedding, config=self._subsets_of(data)
            )
            dataset.load_data()
        else:
            dataset = MultiSubjectDataset.from_arrays(data)
            if self.embedding is not None:
                dataset = dataset.with_embedding(self.embedding)
        self._check_channels(dataset, named=isinstance(data, (str, Path)))
        return dataset

    def _subsets_of(self, path: str | Path) -> DatasetConfig | None:
        """How to redraw a store's subsets as the training did, where that gives its subjects other places; else None.

        Who was held out must not be called training, nor the other way round.
        """
        trained = self.parameters["dataset"]
        in_force = {name: trained["subsets"][name]["subjects"] for name in SUBSETS}
        if not trained.get("redrawn"):
            return None
        with Store(path) as store:
            own = {name: store.subset(name) for name in SUBSETS}
            people = {subject: store.participant(subject) for subject in store.subjects}
            stored = Subsets(own, store.split)
        if {*chain(*own.values())} != {*chain(*in_force.values())}:
            return None
        config = DatasetConfig(**{key: trained["config"][key] for key in OF_SUBSETS if key in trained["config"]})
        try:
            redrawn = draw_subsets(stored, people, config)
        except DataError:
            return None
        return config if redrawn.subjects == in_force else None

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
