"""Recipes and scripts that come with dynml: inside the installed package, or beside it in a copy of the repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dynml
from dynml.configuration import nearest_name
from dynml.errors import DataError
from dynml.reading_files import is_file, is_there

PACKAGE = Path(dynml.__file__).resolve().parent
SHORT_NAMES = {
    "create": "create_hdf5_dataset",
    "simulate": "simulate_data",
    "print": "hdf5_print_architecture",
    "verify": "hdf5_verify",
    "extract": "hdf5_extract_data",
    "train": "train_model",
    "resume": "resume_training_from_checkpoint",
    "infer": "infer_from_model",
    "features": "extract_features",
    "spectra": "compute_spectra",
    "responses": "compute_responses",
    "maps": "compute_maps",
    "check": "check_model",
    "select": "select_model",
    "export": "export_model",
    "cost": "estimate_cost",
    "logs": "visualize_logs",
}
"""Sub-command to the script's name without `dynml_` and `.py`; all others are called by that name."""


def shipped_folder(name: str) -> Path:
    """Folder of the repository (`configs`, `scripts_python`), wherever it lies in this installation."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def script_called(program: str) -> str:
    """Name of the script, without `dynml_` and `.py`, that the first word of a command line stands for.

    Parameters
    ----------
    program : str
        A script's path, or what `dynml` puts in its place, such as "dynml train".
    """
    name = Path(program).stem.removeprefix("dynml")[1:].replace("-", "_")
    return SHORT_NAMES.get(name, name)


def recipes() -> dict[str, Path]:
    """Name of each recipe, and its file."""
    return {path.stem: path for path in sorted(shipped_folder("configs").glob("*.yaml"))}


def recipe_path(given: str) -> Path:
    """File of settings: one that exists, or the recipe of that name, also where a folder is called so.

    Raises
    ------
    DataError
        When it is neither, with the nearest recipe.
    """
    path, known = Path(given).expanduser(), recipes()
    if given in known and not is_file(path):
        return known[given]
    if is_there(path):
        return path
    near = nearest_name(path.stem, known)
    raise DataError(f"{given} does not exist; give a YAML file, or the name of a recipe{near}.")


def with_recipes(arguments: Sequence[str]) -> list[str]:
    """Put the file of a recipe in the place of its name after `--config`."""
    found: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if found and found[-1] == "--config":
            found.append(str(recipe_path(argument)))
        elif option == "--config" and equals:
            found.append(f"--config={recipe_path(value)}")
        else:
            found.append(argument)
    return found
