"""From an experiment to a folder that can be given away.

OUT/
    config.json                    settings, channels, preparation, scores: what parameters.json has, without people
    model.safetensors              weights
    input_transform.safetensors    where channels are embedded or projected when rows are read
    preparation.json, preparation.safetensors    what recordings go through; see conversion/stored_preparation.py
    manifest.json                  sizes and SHA-256 of the above
    README.md                      the model card, which may be edited
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from dynml.conversion.config import store_config_from
from dynml.conversion.stored_preparation import PREPARATION, StoredPreparation, read_preparation
from dynml.dataset.conditioning.conditioned_source import Conditioning
from dynml.dataset.config import DatasetConfig
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.preparation_comparison import check_same_preparation
from dynml.errors import CheckpointError, DataError, DataWarning, DynmlError
from dynml.exchange.exported.card import model_card, scores_of
from dynml.exchange.exported.privacy import People, parameters_without_people, people_of, preparation_without_people
from dynml.files import ODD_BYTES, read_json, replacing, write_json
from dynml.models.experiment import load_experiment
from dynml.reading_files import is_there
from dynml.training.checkpoints.committed import commit_directory
from dynml.training.checkpoints.experiment_folder import EXPORTED, INPUT_TRANSFORM, WEIGHTS, ExperimentFolder
from dynml.version import __version__

CARD = "README.md"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class About:
    """What a model card says and an experiment does not know."""

    title: str | None = None
    """By default the name of the folder."""
    data: str = ""
    """What the model was trained on, in words."""
    licence: str = ""
    """Name of the licence that the model is given away by, such as cc-by-4.0."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model as it is written into a folder."""

    parameters: dict[str, Any]
    """Of parameters.json, without people."""
    weights: Mapping[str, Tensor]
    input_transform: Mapping[str, Tensor]
    preparation: StoredPreparation | None
    scores: Mapping[str, Mapping[str, float]]
    findings: tuple[str, ...] = ()
    further: Mapping[str, Any] | None = None
    """Entries of config.json beside those of all models."""


def export_experiment(
    path: Path,
    out: Path,
    *,
    store: Path | None = None,
    with_preparation: bool = True,
    about: About | None = None,
) -> Exported:
    """Write a trained model into a folder that names nobody, with what its recordings go through.

    Parameters
    ----------
    path : Path
        EXPERIMENTS_PATH/EXPERIMENT_NAME, or the folder of an exported model.
    out : Path
        Folder to make.
    store : Path, optional
        The store that the model was trained on; by default where the training read it.
    with_preparation : bool
        False: leave out what recordings go through, and do without the store.
    about : About, optional
        For the model card.

    Raises
    ------
    DynmlError
        When there is no such model, the folder exists, or the store is not there or another one; nothing is written.
    """
    check_new(out)
    experiment = load_experiment(path)
    folder = ExperimentFolder.at(path)
    weights, parameters = folder.load_model()
    preparation = _preparation_of(folder, parameters, store) if with_preparation else None
    people = people_of(parameters, preparation)
    if preparation is not None and not folder.is_exported:
        preparation = preparation_without_people(preparation, _groups(parameters["dataset"]), people)
    summary = read_json(folder.summary) if is_there(folder.summary) else {}
    findings = tuple(one for one in summary.get("findings") or () if not people.are_in(one))
    exported = Exported(
        parameters=parameters_without_people(parameters | {"family": experiment.family.name}, people),
        weights=weights,
        input_transform=folder.load_input_transform(),
        preparation=preparation,
        scores=parameters.get("scores") or scores_of(summary),
        findings=findings,
        further={key: parameters[key] for key in ("reference", "imported") if folder.is_exported and key in parameters},
    )
    write_exported(out, exported, _about(about or About(), parameters, folder), people)
    return exported


def write_exported(out: Path, exported: Exported, about: About, people: People | None = None) -> None:
    """Write the folder; it appears when it is complete.

    Raises
    ------
    DynmlError
        When the folder exists, or a file would name somebody.
    """
    check_new(out)
    config = {
        "library_name": "dynml",
        "format_version": FORMAT_VERSION,
        "dynml_version": __version__,
        "licence": about.licence,
        "data": about.data,
        **exported.parameters,
        "scores": {name: dict(one) for name, one in exported.scores.items()},
        **(exported.further or {}),
    }
    if people is not None:
        _check_nobody_named(config, people)

    def write(folder: Path) -> None:
        write_json(folder / EXPORTED, config)
        _save(folder / WEIGHTS, exported.weights)
        if exported.input_transform:
            _save(folder / INPUT_TRANSFORM, exported.input_transform)
        if exported.preparation is not None:
            exported.preparation.save(folder)

    commit_directory(out, write)
    card = model_card(
        name=about.title or out.name,
        config=config,
        preparation=exported.preparation,
        n_parameters=sum(tensor.numel() for tensor in exported.weights.values()),
        findings=exported.findings,
    )
    with replacing(out / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8", errors=ODD_BYTES)


def check_new(out: Path) -> None:
    """Refuse a folder that is there.

    Raises
    ------
    CheckpointError
        When it is.
    """
    if is_there(out):
        raise CheckpointError(f"{out} exists already: choose another folder, or remove it.")


def _about(given: About, parameters: Mapping[str, Any], folder: ExperimentFolder) -> About:
    """Fill in what a model that was exported before says already."""
    return About(
        title=given.title or folder.path.name,
        data=given.data or parameters.get("data") or "",
        licence=given.licence or parameters.get("licence") or "",
    )


def _preparation_of(
    folder: ExperimentFolder, parameters: Mapping[str, Any], store: Path | None
) -> StoredPreparation | None:
    """What the training's recordings went through; None where that is not known, which is warned of."""
    if folder.is_exported:
        return StoredPreparation.of_folder(folder.path) if is_there(folder.path / PREPARATION) else None
    trained = parameters["dataset"]
    noted = trained.get("hdf5_file")
    if store is None and noted is None:
        _tell("it was trained on arrays")
        return None
    path = Path(noted) if store is None else store
    if not is_there(path):
        raise DataError(
            f"{path}, the store that {folder.path} was trained on, is not there: say where it is by --hdf5, or leave "
            "out what recordings go through by --without_preparation."
        )
    preparation = read_preparation(path)
    conditioning = Conditioning.of_described(trained.get("conditioning"))
    further = [group for group in trained.get("groups") or () if group != trained["group"]]
    config = DatasetConfig(further_groups=further or None)
    data = MultiSubjectDataset(path, group=trained["group"], config=config, conditioning=conditioning)
    check_same_preparation(trained, data, str(folder.path))
    # Stores that were joined may have been made of a table here and of a folder there.
    if not all(_is_of_recordings(preparation.of_groups([group])) for group in _groups(trained)):
        _tell(f"{path} was not made of recordings")
        return None
    return preparation


def _groups(trained: Mapping[str, Any]) -> list[str]:
    """Groups that a model was trained on, and the one that it is conditioned by, if there is one."""
    conditioning = trained.get("conditioning")
    further = () if conditioning is None else (conditioning["group"],)
    return list(dict.fromkeys([trained["group"], *(trained.get("groups") or ()), *further]))


def _is_of_recordings(preparation: StoredPreparation) -> bool:
    for needs_files in (True, False):
        with contextlib.suppress(DynmlError):
            store_config_from(preparation.config, preparation.path.parent, needs_files=needs_files)
            return True
    return False


def _tell(why: str) -> None:
    text = f"The folder has no preparation that could be applied to new recordings, since {why}."
    warnings.warn(text, DataWarning, stacklevel=4)


def _check_nobody_named(config: Mapping[str, Any], people: People) -> None:
    """See once more that nothing names anybody, whatever a family keeps among its settings."""
    own = {key: value for key, value in config.items() if key not in ("data", "licence")}
    left = people.left_out(own)
    odd = [key for key in own if left.get(key) != own[key]]
    if odd:
        raise DataError(
            f"The section {odd[0]} of {EXPORTED} names a subject or a path, and would leave with the model."
        )


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
