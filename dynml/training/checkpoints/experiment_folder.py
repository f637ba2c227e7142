"""One folder per experiment: parameters, best model, checkpoint, logs, summary, under the names users of dwi_ml know.

EXPERIMENTS_PATH/EXPERIMENT_NAME/
    summary.json                what came out
    parameters_<date>.json      settings, seed, versions, subjects, fingerprint of the data: one a
                                start or resume; parameters_latest.json is the last of them
    best_model/                 all that inference needs
        model.safetensors       weights; also parameters.json, manifest.json, and, where the input's
                                transform was fitted, input_transform.safetensors
    checkpoint/                 what resuming needs: the same of the latest epoch, and
        state.pt                where the run stands (loaded with weights_only=True)
    logs/
        <metric>_per_epoch.npy  (n_epochs,) float64
        metrics.csv             the same as a table
    comet/, tensorboard/        if asked for
    .lock                       while a run writes; .lock.owner on file systems without locks
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file

from dynml.errors import CheckpointError, ConfigurationError, DataWarning, in_one_line
from dynml.files import folder_made_for, read_json, strict_json, write_json
from dynml.locks.writing import exclusive_lock
from dynml.reading_files import is_folder, is_there
from dynml.training.checkpoints.committed import MANIFEST, commit_directory, fault_of_committed, newest_committed

WEIGHTS, STATE, PARAMETERS = "model.safetensors", "state.pt", "parameters.json"
INPUT_TRANSFORM = "input_transform.safetensors"
EXPORTED = "config.json"
"""What a model that was exported has in place of parameters.json; it lies in the folder itself, beside the weights."""

LOCK = ".lock"
_OF_EXPERIMENTS = ("parameters_latest.json", "best_model", "checkpoint")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk: weights, everything else that a run needs, and its parameters."""

    weights: dict[str, torch.Tensor]
    state: dict[str, Any]
    parameters: dict[str, Any]


class ExperimentFolder:
    """Reads and writes the files of one experiment; knows nothing of training.

    Parameters
    ----------
    experiments_path : Path
        Must exist, so that a misspelt path is not created, unless `may_make_root`.
    experiment_name : str
        Name of the experiment's own folder.
    may_make_root : bool
        Make `experiments_path` when the first file is written, and say so.

    Attributes
    ----------
    input_transform : dict
        Tensors that are written beside the weights, wherever those are: what the model's input goes through first.

    Raises
    ------
    CheckpointError
        When `experiments_path` is not a folder or the name is a path.
    """

    def __init__(self, experiments_path: str | Path, experiment_name: str, *, may_make_root: bool = False) -> None:
        for what, value in (("experiments path", experiments_path), ("experiment name", experiment_name)):
            if not isinstance(value, (str, os.PathLike)):
                raise CheckpointError(f"The {what} is {value!r}, but must be a text.")
        root = Path(experiments_path)
        if not is_folder(root) and not (may_make_root and not os.path.lexists(root)):
            hint = "is not a folder" if is_there(root) else f"does not exist; create it by: mkdir {root}"
            raise CheckpointError(f"The experiments path {root} {hint}.")
        if not experiment_name or Path(experiment_name).name != experiment_name:
            raise CheckpointError(f"The experiment name {experiment_name!r} must be a plain folder name.")
        self.path = root / experiment_name
        self.best_model, self.checkpoint, self.logs = (
            self.path / name for name in ("best_model", "checkpoint", "logs")
        )
        self.summary = self.path / "summary.json"
        self.input_transform: dict[str, torch.Tensor] = {}

    @classmethod
    def at(cls, path: str | Path) -> ExperimentFolder:
        """Folder of an existing experiment, given as one path.

        Raises
        ------
        CheckpointError
            When it holds neither parameters nor a model.
        """
        if not is_folder(Path(path)):
            raise CheckpointError(
                f"The experiment {path} {'is not a folder' if is_there(Path(path)) else 'does not exist'}."
            )
        path = Path(path).resolve()
        folder = cls(path.parent, path.name)
        if not folder.is_exported and not any(is_there(path / name) for name in _OF_EXPERIMENTS):
            raise CheckpointError(
                f"{path} is not an experiment: it has no parameters_latest.json, best_model or checkpoint folder."
            )
        return folder

    @property
    def is_exported(self) -> bool:
        """Whether it holds a model that was exported, and no experiment."""
        own = all(is_there(self.path / name) for name in (EXPORTED, MANIFEST, WEIGHTS))
        return own and not any(is_there(self.path / name) for name in _OF_EXPERIMENTS)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and keep other runs from writing into it; a refused run leaves no folder.

        Raises
        ------
        CheckpointError
            When the folder cannot be made, or another run writes into it.
        """
        root = self.path.parent
        is_new = not is_there(root)
        with folder_made_for(self.path):
            if is_new:
                warnings.warn(f"{root} did not exist and was made.", DataWarning, stacklevel=3)
            with exclusive_lock(self.path / LOCK):
                try:
                    yield
                except BaseException:
                    if self.is_empty():
                        (self.path / LOCK).unlink(missing_ok=True)
                    raise

    def is_empty(self) -> bool:
        """Whether there is nothing but the lock."""
        return all(name.startswith(LOCK) for name in os.listdir(self.path))

    def clear(self) -> None:
        """Remove all but the lock."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif not path.name.startswith(LOCK):
                path.unlink()

    def save_parameters(self, parameters: dict[str, Any]) -> None:
        """Write parameters_<date>.json and the same as parameters_latest.json."""
        date = datetime.datetime.now().strftime("%Y-%m-%d_%Hh%Mm%Ss")
        write_json(self.path / f"parameters_{date}.json", parameters)
        write_json(self.path / "parameters_latest.json", parameters)

    def save_checkpoint(self, checkpoint: Checkpoint, information: dict[str, Any]) -> None:
        """Commit a checkpoint: at every instant the old or the new one is complete on disk."""

        def write(folder: Path) -> None:
            _write_weights(folder / WEIGHTS, checkpoint.weights)
            self._write_input_transform(folder)
            # By Python's stream, whose faults say what the system said; torch's own loses it.
            with (folder / STATE).open("wb") as stream:
                torch.save(checkpoint.state, stream)
            _write_plain_json(folder / PARAMETERS, checkpoint.parameters)

        commit_directory(self.checkpoint, write, information)

    def load_checkpoint(self) -> Checkpoint | None:
        """Read the newest checkpoint whose manifest verifies, and warn when it is not the last one written.

        Returns
        -------
        Checkpoint or None
            None when the folder has no usable checkpoint.

        Raises
        ------
        CheckpointError
            When a checkpoint cannot be read, or a verified one holds something other than tensors and plain values;
            nothing is executed.
        """
        path, sentences = newest_committed(self.checkpoint)
        for sentence in sentences:
            tail = f"Going on from {path}." if path else "There is no older one."
            warnings.warn(f"{sentence} {tail}", DataWarning, stacklevel=2)
        if path is None:
            return None
        try:
            state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        except OSError as error:
            raise CheckpointError(f"{path / STATE} could not be read: {error.strerror or error}.") from error
        except Exception as error:
            raise CheckpointError(
                f"{path / STATE} holds more than tensors and plain values and was not loaded: {in_one_line(error)}."
            ) from error
        return Checkpoint(read_weights(path / WEIGHTS), state, read_json(path / PARAMETERS))

    def save_best_model(
        self, weights: dict[str, torch.Tensor], parameters: dict[str, Any], information: dict[str, Any]
    ) -> None:
        """Commit the best model, self-contained: weights and all that is needed to build it."""

        def write(folder: Path) -> None:
            _write_weights(folder / WEIGHTS, weights)
            self._write_input_transform(folder)
            _write_plain_json(folder / PARAMETERS, parameters)

        commit_directory(self.best_model, write, information)

    def fault_of_best(self, best_epoch: int) -> str | None:
        """Say why the best model on disk is not that of the best epoch, or None when it is, or is of a later one.

        A run that was killed between saving its best model and its checkpoint comes to the later one again.
        """
        path, sentences = newest_committed(self.best_model)
        found = read_json(path / MANIFEST).get("best_epoch") if path else None
        if path is not None and (found is None or found >= best_epoch):
            return None
        reason = " ".join(sentences).rstrip(".") or f"{self.path} has no {self.best_model.name}"
        return f"The best model, of epoch {best_epoch}, is lost ({reason})"

    def load_model(self, *, latest: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Read weights and parameters of the best model, or of the latest epoch.

        Raises
        ------
        CheckpointError
            When there is none that verifies.
        """
        path, sentences = self._newest_model(latest)
        for sentence in sentences:
            warnings.warn(f"{sentence} Using {path}.", DataWarning, stacklevel=2)
        return read_weights(path / WEIGHTS), read_json(path / (EXPORTED if self.is_exported else PARAMETERS))

    def load_input_transform(self, *, latest: bool = False) -> dict[str, torch.Tensor]:
        """Read what was fitted to the training data to transform the model's input; empty where nothing was.

        Raises
        ------
        CheckpointError
            When there is no model that verifies.
        """
        path, _ = self._newest_model(latest)
        return read_weights(path / INPUT_TRANSFORM) if is_there(path / INPUT_TRANSFORM) else {}

    def sha256_of_weights(self, *, latest: bool = False) -> str:
        """Digest of the weights that `load_model` reads.

        Raises
        ------
        CheckpointError
            When there is no model that verifies.
        """
        path, _ = self._newest_model(latest)
        return str(read_json(path / MANIFEST)["files"][WEIGHTS]["sha256"])

    def _newest_model(self, latest: bool) -> tuple[Path, list[str]]:
        if self.is_exported:
            fault = "an exported model has no latest epoch" if latest else fault_of_committed(self.path)
            if fault is not None:
                raise CheckpointError(f"{self.path} cannot be used: {fault}.")
            return self.path, []
        target = self.checkpoint if latest else self.best_model
        path, sentences = newest_committed(target)
        if path is None:
            raise CheckpointError(
                f"{sentences[0].rstrip('.') if sentences else self._absent(target)}{self._instead(latest)}."
            )
        return path, sentences

    def _absent(self, target: Path) -> str:
        return f"{self.path} has no {target.name} to load"

    def _instead(self, latest: bool) -> str:
        """Name what can be loaded where the best model cannot."""
        if latest or newest_committed(self.checkpoint)[0] is None:
            return ""
        return "; its latest epoch is there: --use_latest_epoch (in Python: latest=True)"

    def _write_input_transform(self, folder: Path) -> None:
        if self.input_transform:
            _write_weights(folder / INPUT_TRANSFORM, self.input_transform)


def pretrained_weights(
    path: str | Path, own: dict[str, torch.Tensor], what: str, *, left_out: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """Weights of the best model of another experiment, for a model of the same shape.

    Parameters
    ----------
    path : str or Path
        The experiment.
    own : dict
        Weights of the model that is to take them over.
    what : str
        What the model is, for the message.
    left_out : sequence of str
        Parts of the model that take nothing over.

    Raises
    ------
    CheckpointError
        When there is no model there.
    ConfigurationError
        With the first tensor whose shape differs.
    """
    weights, parameters = ExperimentFolder.at(path).load_model()
    family = parameters.get("family")
    weights = {name: tensor for name, tensor in weights.items() if name.partition(".")[0] not in left_out}
    for name in [*own, *weights]:
        if name.partition(".")[0] in left_out:
            continue
        there, here = (str(tuple(w[name].shape)) if name in w else "absent" for w in (weights, own))
        if there != here:
            of_family = f"it is of family {family}; " if family and "absent" in (there, here) else ""
            accepted = f"{what} of the same shape ({of_family}{name} is {there} there, {here} here)"
            raise ConfigurationError("pretrained", str(path), accepted)
    return weights


def _write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, path)


def _write_plain_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(strict_json(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file onto the CPU.

    Raises
    ------
    CheckpointError
        When it is missing or malformed.
    """
    try:
        # Its own reading of files takes no path that is not UTF-8.
        return load_file(path, device="cpu") if str(path).isprintable() else load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} could not be read: {error}.") from error
