"""Exported models on the Hugging Face hub, through huggingface_hub, which is an optional extra."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from dynml.errors import CheckpointError, DynmlError, in_one_line
from dynml.exchange.exported.exporting import check_new
from dynml.training.checkpoints.experiment_folder import EXPORTED, ExperimentFolder

ADDRESS = "hf://"
"""How the name of a model on the hub begins: hf://USER/NAME."""
FILES = ("config.json", "README.md", "manifest.json", "*.safetensors", "preparation.json")


def push(folder: Path, name: str, *, public: bool = False) -> str:
    """Upload an exported model.

    Parameters
    ----------
    folder : Path
    name : str
        USER/NAME, with or without hf:// before it; made where it is not there.
    public : bool
        False: only its owner sees it.

    Returns
    -------
    str
        Address of its page.

    Raises
    ------
    DynmlError
        When the folder is no exported model, huggingface_hub is not installed, or the hub refuses.
    """
    if not ExperimentFolder.at(folder).is_exported:
        raise CheckpointError(f"{folder} is not an exported model: export it first, by dynml_export_model.py.")
    ExperimentFolder.at(folder).sha256_of_weights()  # which verifies the folder
    hub, repository = _hub(), name.removeprefix(ADDRESS)
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(folder), allow_patterns=list(FILES))
    except Exception as error:  # of the network, of the hub, of a name that it does not take
        raise DynmlError(f"{folder} could not be pushed to {repository}: {in_one_line(error)}.") from error
    return f"https://huggingface.co/{repository}"


def pull(name: str, out: Path) -> None:
    """Download an exported model into a new folder, and verify it.

    Raises
    ------
    DynmlError
        When the folder exists, huggingface_hub is not installed, the hub refuses, or what came is no exported model.
    """
    check_new(out)
    hub, repository = _hub(), name.removeprefix(ADDRESS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / "model"
        try:
            hub.snapshot_download(repository, local_dir=str(folder), allow_patterns=list(FILES))
        except Exception as error:  # as above
            raise DynmlError(f"{repository} could not be pulled: {in_one_line(error)}.") from error
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        if not (folder / EXPORTED).is_file():
            raise CheckpointError(f"{repository} holds no model that dynml exported: it has no {EXPORTED}.")
        ExperimentFolder.at(folder).sha256_of_weights()
        folder.rename(out)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DynmlError("The Hugging Face hub needs huggingface_hub: pip install 'dynml[hub]'.") from error
    return huggingface_hub
