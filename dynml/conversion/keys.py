"""All keys of a config file with their meanings, as `--help` and the guide show them: read off the Configs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dynml.configuration import defaults_of, documented_settings
from dynml.conversion.config import KEYS_OF_ALL, StoreConfig, TimeseriesGroupConfig
from dynml.errors import DataError
from dynml.preparation.chain import step_class, step_names
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.readers.formats import configs_of_formats
from dynml.store.layout import TOP_LEVEL_KEYS

Keys = dict[str, tuple[str, str]]
"""Key to its default, as JSON or "needed", and its meaning."""


def sections_of_keys() -> dict[str, Keys]:
    """Say where keys stand ("a group of .nii .nii.gz files") and which there are, those of other packages included."""
    sections = {"a group": _keys(TimeseriesGroupConfig, KEYS_OF_ALL)}
    formats = configs_of_formats()
    for config in dict.fromkeys(formats.values()):
        extensions = " ".join(extension for extension, other in formats.items() if other is config)
        sections[f"a group of {extensions} files"] = _keys(config)
    with_nested: list[type[Any]] = [TimeseriesGroupConfig, *dict.fromkeys(formats.values())]
    for fields in map(dataclasses.fields, with_nested):
        nested = {one.name: one.metadata["settings"] for one in fields if "settings" in one.metadata}
        sections |= {f"{name!r} of a group": _keys(settings) for name, settings in nested.items()}
    sections["the file, beside the groups"] = _keys(StoreConfig, TOP_LEVEL_KEYS)
    return {where: keys for where, keys in sections.items() if keys}


def parameters_of_steps() -> dict[str, Keys]:
    """Name to parameters of each step of `preparation`; of another package, where it can be used."""
    parameters = {}
    for name in step_names():
        with contextlib.suppress(DataError):  # of a package that is named once its step is asked for
            kind = step_class(name)
            assert kind is not None
            given_later = FittedStep.settings_of_fit if issubclass(kind, FittedStep) else ()
            parameters[name] = _keys(kind, [key for key in defaults_of(kind) if key not in given_later])
    return parameters


def _keys(config: type[Any], chosen: Sequence[str] | None = None) -> Keys:
    defaults, texts, types = defaults_of(config), documented_settings(config), get_type_hints(config)
    return {
        key: (_written(defaults[key]), texts[key] + _choices(types[key]))
        for key in (defaults if chosen is None else chosen)
    }


def _choices(typehint: Any) -> str:
    choices = get_args(typehint) if get_origin(typehint) is Literal else ()
    return f" {'One of ' if len(choices) > 1 else ''}{', '.join(map(json.dumps, choices))}." if choices else ""


def _written(default: Any) -> str:
    return "needed" if default is dataclasses.MISSING else json.dumps(default)
