"""Recipes and scripts that come with dynml: inside the installed package, or beside it in a copy of the repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dynml
from dynml.configuration import nearest_name
from dynml.errors import DataError

PACKAGE = Path(dynml.__file__).resolve().parent


def shipped_folder(name: str) -> Path:
    """Folder of the repository (`configs`, `scripts_python`), wherever it lies in this installation."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def recipes() -> dict[str, Path]:
    """Name of each recipe, and its file."""
    return {path.stem: path for path in sorted(shipped_folder("configs").glob("*.yaml"))}


def recipe_path(given: str) -> Path:
    """File of settings: one that exists, or the recipe of that name.

    Raises
    ------
    DataError
        When it is neither, with the nearest recipe.
    """
    path, known = Path(given).expanduser(), recipes()
    if path.exists():
        return path
    if given in known:
        return known[given]
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
