"""A trained model as a user of Python sees it: load an experiment, ask it about a store or arrays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from dynml.configuration import check_choice, check_instance, config_from
from dynml.dataset.conditioning.conditioned_source import Conditioning
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.embedding import Embedding
from dynml.dataset.preparation_comparison import check_same_preparation
from dynml.errors import CheckpointError, DataError
from dynml.files import as_dynml_wrote
from dynml.fits import Layout
from dynml.models.inferred import InferredSubject, inferred_subjects
from dynml.models.registry import Family, family_of_run, load
from dynml.models.seen_subjects import has_data_of_training, redrawn_members, seen_before, tell_of_redrawn
from dynml.tables import Described
from dynml.training.checkpoints.experiment_folder import ExperimentFolder
from dynml.training.environment import resolve_device
from dynml.training.model_summary import model_summary, parameter_table

SUBSETS = ("training", "validation", "testing")
Data = str | Path | np.ndarray | Sequence[np.ndarray] | MultiSubjectDataset
OtherPreparation = Literal["refuse", "allow"]
SubsetsOf = Literal["training", "store"]


@runtime_checkable
class TakesChannels(Protocol):
    """A model that may know channels by more than their order, as the sequence models do."""

    @property
    def takes_other_channels(self) -> bool:
        """Whether it does."""
        ...

    def taking_channels_of(self, dataset: MultiSubjectDataset) -> MultiSubjectDataset:
        """Go on with the channels of a dataset that the model can take, and give the dataset with them."""
        ...


class Experiment(Described):
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
    name : str
        Which experiment it is, for messages.
    weights : str
        Which ones they are: best_model, or latest_epoch.
    sha256 : str or None
        Digest of the weights' file; by it results are known for those of this model.
    other_preparation : list of str
        In what the data that were opened last differ from the training data, where that was allowed.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        parameters: dict[str, Any],
        family: Family,
        embedding: Embedding | None = None,
        name: str = "the model",
        weights: str = "best_model",
        sha256: str | None = None,
    ) -> None:
        self.model, self.parameters, self.family, self.embedding = model.eval(), parameters, family, embedding
        self.name, self.weights, self.sha256 = name, weights, sha256
        self.other_preparation: list[str] = []

    def summary(self) -> str:
        """Table of the model's parameters by layer, and their number in all."""
        return model_summary(self.model)

    def facts(self) -> dict[str, str]:
        """Family, number of parameters, what it was trained on, and which weights these are, in words."""
        rows, trained = parameter_table(self.model), self.parameters["dataset"]
        subset = trained["subsets"]["training"]
        n_samples = subset.get("n_samples", "an unknown number of")
        rates = ", ".join(f"{rate:g}" for rate in trained.get("sampling_frequencies") or ())
        return {
            "family": self.family.name,
            "parameters": str(sum(row.n_parameters for row in rows)),
            "trained on": f"{subset['n_subjects']} subjects, {n_samples} samples",
            "channels": f"{trained['n_channels']}{_of_second_group(trained)}" + (f" at {rates} Hz" if rates else ""),
            "weights": f"{self.weights} of {self.name}",
        }

    def infer(
        self,
        data: Data,
        *,
        group: str | None = None,
        other_preparation: OtherPreparation = "refuse",
        subsets_of: SubsetsOf = "training",
    ) -> Iterator[InferredSubject]:
        """Infer every subject of a store (all subsets), or every array.

        Parameters
        ----------
        data : path, array (T, C), list of arrays, or MultiSubjectDataset
            Arrays must be prepared as the training data were (standardized, in the same order of channels). Where the
            training embedded channels as it read them, give data without: the model's own embedding is applied.
            Arrays with missing samples go through `MultiSubjectDataset.from_arrays(.., missing="mask")` first.
        group : str, optional
            Group of the store; default: the one that the model was trained on.
        other_preparation, subsets_of
            See `open`.

        Raises
        ------
        CheckpointError
            When the family has no inference.
        DataError
            When the channels are not those of the training data, or the data were prepared otherwise.

        Warns
        -----
        DataWarning
            When held-out subjects are among those that the model was trained or validated on.
        """
        if self.family.inference is None:
            raise CheckpointError(f"The family {self.family.name} has no inference.")
        dataset = self.open(data, group=group, other_preparation=other_preparation, subsets_of=subsets_of)
        for name in SUBSETS:
            seen_before(self.parameters["dataset"], dataset, name)
            yield from inferred_subjects(self.family, self.model, dataset.subset(name))

    def open(
        self,
        data: Data,
        *,
        group: str | None = None,
        other_preparation: OtherPreparation = "refuse",
        subsets_of: SubsetsOf = "training",
    ) -> MultiSubjectDataset:
        """Make a dataset of `data`, embedded as the training data were, and check that it is like them.

        Parameters
        ----------
        data : path, array (T, C), list of arrays, or MultiSubjectDataset
        group : str, optional
        other_preparation : {"refuse", "allow"}
            What to do with data that were prepared otherwise than the training data; allow: go on, with a warning that
            names every difference.
        subsets_of : {"training", "store"}
            Where the training has drawn its subsets anew: take those, if the store has the data of the training, or
            the store's own.

        Raises
        ------
        DataError
            With every difference; or when the number of channels differs, whatever is allowed.

        Notes
        -----
        A model that knows its channels by name or position (`model.channel_embedding`) gives the dataset with those
        channels that it can take, and predicts them until other data are opened.
        """
        check_choice("subsets_of", subsets_of, ("training", "store"))
        if isinstance(data, (str, Path)):
            return self._opened_store(data, group, other_preparation, subsets_of)
        if data is None or isinstance(data, (int, float)):
            raise DataError(f"The data are {data!r}, but must be a store's path, arrays or a MultiSubjectDataset.")
        if not isinstance(data, MultiSubjectDataset):
            # Arrays alone say nothing of their rate.
            rates = list(self.parameters["dataset"].get("sampling_frequencies") or [])
            rate = rates[0] if len(rates) == 1 else 1.0
            data = MultiSubjectDataset.from_arrays(data, standardization="none", sampling_frequency=rate)
        self._compare(data, other_preparation)
        embedding = self._embedding_for(data)
        dataset = data if embedding is None else data.with_embedding(embedding)
        return self._with_channels(dataset)

    def _opened_store(
        self, path: str | Path, group: str | None, other_preparation: OtherPreparation, subsets_of: SubsetsOf
    ) -> MultiSubjectDataset:
        trained = self.parameters["dataset"]
        group = group or trained["group"]
        device = next((tensor.device for tensor in self.model.state_dict().values()), torch.device("cpu"))
        conditioning = Conditioning.of_described(trained.get("conditioning"))
        plain = MultiSubjectDataset(path, group=group, device=device, conditioning=conditioning)
        self._compare(plain, other_preparation)
        embedding = self._embedding_for(plain)
        members = redrawn_members(trained, plain.signal_source, group) if subsets_of == "training" else None
        dataset = None
        if members is not None:
            drawn = MultiSubjectDataset(
                path, group=group, device=device, embedding=embedding, members=members, conditioning=conditioning
            )
            if has_data_of_training(trained, drawn):
                dataset = drawn
                tell_of_redrawn(drawn, plain.signal_source)
        if dataset is None:
            dataset = plain if embedding is None else plain.with_embedding(embedding)
        dataset = self._with_channels(dataset)
        dataset.load_data()
        return dataset

    def _compare(self, data: MultiSubjectDataset, other_preparation: OtherPreparation) -> None:
        self.other_preparation = check_same_preparation(
            self.parameters["dataset"],
            data,
            self.name,
            other_preparation=other_preparation,
            same_channels=not self.takes_other_channels,
        )

    def _embedding_for(self, data: MultiSubjectDataset) -> Embedding | None:
        """The model's embedding, for channels and a rate that were compared with the training's already."""
        embedding = self.embedding
        if embedding is None or data.embedding is not None or len(embedding.layout.channel_names) != data.n_channels:
            return embedding
        names, rates = tuple(data.channel_names), data.preparation["sampling_frequencies"]
        rate = rates[0] if rates else embedding.layout.sampling_frequency
        return dataclasses.replace(embedding, layout=Layout(sampling_frequency=rate, channel_names=names))

    @property
    def takes_other_channels(self) -> bool:
        """Whether data may have other channels than those of the training."""
        return isinstance(self.model, TakesChannels) and self.model.takes_other_channels

    def _with_channels(self, dataset: MultiSubjectDataset) -> MultiSubjectDataset:
        """The channels that the model can take."""
        if isinstance(self.model, TakesChannels) and self.model.takes_other_channels:
            return self.model.taking_channels_of(dataset)
        n_trained = self.parameters["dataset"]["n_channels"]
        if dataset.n_channels != n_trained:
            trained = f"{n_trained}{_of_second_group(self.parameters['dataset'])}"
            raise DataError(f"The data have {dataset.n_channels} channels, but the model was trained on {trained}.")
        return dataset


def _of_second_group(trained: dict[str, Any]) -> str:
    """How many of the channels are those of a second group, in words."""
    described = trained.get("conditioning")
    return "" if described is None else f" ({len(described['channel_names'])} of group {described['group']})"


def load_experiment(
    path: str | Path, *, latest: bool = False, device: str = "cpu", model: torch.nn.Module | None = None
) -> Experiment:
    """Load the model of an experiment folder.

    Parameters
    ----------
    path : str or Path
        EXPERIMENTS_PATH/EXPERIMENT_NAME.
    latest : bool
        Take the latest epoch instead of the best one.
    device : str
        cpu, cuda, auto; models load wherever they were trained.
    model : torch.nn.Module, optional
        A model of the class and sizes that was trained, which the weights are loaded into; needed where the model is of
        no registered family, or keeps no settings as `model.config`.

    Raises
    ------
    CheckpointError
        When there is no model that verifies, when it is of no registered family and none is given, or when the weights
        are of another model than the one given.
    """
    check_instance("path", path, (str, os.PathLike), "the path of an experiment: EXPERIMENTS_PATH/EXPERIMENT_NAME")
    folder = ExperimentFolder.at(path)
    weights, parameters = folder.load_model(latest=latest)
    with as_dynml_wrote(folder.path):
        family = family_of_run(parameters)
        if model is None:
            family, model = _rebuilt(folder.path, family, parameters)
        elif family is None:
            family = Family(name=type(model).__name__, model_config="", model="")
        _load_weights(folder.path, model, weights)
        embedding = _embedding_of(folder, parameters, latest)
    epoch = "latest_epoch" if latest else "best_model"
    name = str(folder.path)
    sha256 = folder.sha256_of_weights(latest=latest)
    model = model.to(resolve_device(device))
    return Experiment(model, parameters, family, embedding, name=name, weights=epoch, sha256=sha256)


def _rebuilt(path: Path, family: Family | None, parameters: dict[str, Any]) -> tuple[Family, torch.nn.Module]:
    """Build the model as parameters.json describes it."""
    if family is None:
        raise CheckpointError(
            f"{path} holds a model of no registered family ({parameters.get('model_class', 'of an unknown class')}); "
            "build it yourself and give it: load_experiment(path, model=...)."
        )
    if parameters["model"] is None:
        raise CheckpointError(
            f"{path} holds no settings of its model, which did not keep its Config as model.config; build it yourself "
            "and give it: load_experiment(path, model=...)."
        )
    config = config_from(family.config_classes()["model"], parameters["model"], "model", parameters)
    return family, load(family.model)(config, parameters["dataset"]["n_channels"])


def _load_weights(path: Path, model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    saved = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    different = sorted(name for name in own.keys() | saved.keys() if own.get(name) != saved.get(name))
    if different:
        first = different[0]
        raise CheckpointError(
            f"{path} holds weights of another model than {type(model).__name__}: {first} has the shape "
            f"{saved.get(first, 'of nothing')} there and {own.get(first, 'of nothing')} in the model."
        )
    model.load_state_dict(weights)


def _embedding_of(folder: ExperimentFolder, parameters: dict[str, Any], latest: bool) -> Embedding | None:
    described = parameters["dataset"].get("embedding")
    if described is None:
        return None
    return Embedding.from_saved(described, folder.load_input_transform(latest=latest))
