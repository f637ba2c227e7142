"""Configs: frozen dataclasses that hold name, type, default, help and check of every setting together.

Each component has its own `Config`. The command line, the YAML file, the docs and the error messages are all made
from it, so a setting is described once.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from dynml.errors import ConfigurationError
from dynml.version import __version__

ConfigType = TypeVar("ConfigType")
N_SHOWN = 20
N_LISTED = 40
"""So many names are listed in a message; of more, the first and the last."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Say which known name a misspelt one may mean: " (did you mean 'x'?)", or what there is, in short."""
    names = sorted(known)
    alike = [other for other in names if other.lower() == name.lower()]
    close = difflib.get_close_matches(name, alike or names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    if len(names) > N_LISTED:
        return f" (there are {len(names)}, from {names[0]} to {names[-1]})"
    return f" (there are: {', '.join(names)})"


def config_from(
    config_class: type[ConfigType],
    values: Mapping[str, Any],
    prefix: str,
    parameters: Mapping[str, Any] | None = None,
) -> ConfigType:
    """Build a Config from plain values and refuse keys that it does not know.

    Parameters
    ----------
    config_class : type
        A frozen dataclass.
    values : mapping
        Field names to values, as read from JSON or YAML.
    prefix : str
        Where the values stand, for the message (`model`); empty where they stand alone.
    parameters : mapping, optional
        Of the run that they were read from, which say by which version of dynml.

    Raises
    ------
    ConfigurationError
        For an unknown key, with the nearest valid name or the newer version that wrote it, or a value that the Config
        refuses.
    """
    known = {field.name for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            full_key = f"{prefix}.{key}" if prefix else key
            newer = _newer_version(parameters)
            accepted = f"a known setting{nearest_name(key, known)}"
            if newer is not None:
                accepted = (
                    f"a setting that dynml {__version__} knows, and it was written by dynml {newer}: use that version, "
                    "or a later one, to read it"
                )
            raise ConfigurationError(full_key, values[key], accepted)
    try:
        return config_class(**values)
    except ConfigurationError as error:
        if not prefix:
            raise
        raise with_group(error, config_class, prefix) from error


def _newer_version(parameters: Mapping[str, Any] | None) -> str | None:
    """Version of dynml that wrote a run, if it is newer than this one."""
    environment = (parameters or {}).get("environment")
    written = environment.get("dynml") if isinstance(environment, Mapping) else None
    return written if isinstance(written, str) and _release(written) > _release(__version__) else None


def _release(version: str) -> list[int]:
    """Numbers that a version begins with: [1, 10, 0] of 1.10.0.dev1."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [] if found is None else [int(part) for part in found[0].split(".")]


def with_group(error: ConfigurationError, config_class: type[Any], group: str) -> ConfigurationError:
    """Put the group before the name of a setting that a Config refuses by its bare name, as `n_lags`."""
    name = error.key.partition(".")[0].partition("[")[0]
    is_bare = name != group and name in {field.name for field in dataclasses.fields(config_class)}
    return ConfigurationError(f"{group}.{error.key}", error.found, error.accepted) if is_bare else error


def defaults_of(config_class: type[Any]) -> dict[str, Any]:
    """Name to default of each setting of a Config; `dataclasses.MISSING` where it has none."""
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(config_class)
    }


def documented_settings(config_class: type[Any]) -> dict[str, str]:
    """Name to docstring of each setting of a Config, without breaks of lines."""
    from docstring_parser import parse_from_object

    parsed = [parse_from_object(kind) for kind in reversed(config_class.__mro__) if dataclasses.is_dataclass(kind)]
    texts = {param.arg_name: param.description or "" for one in parsed for param in one.params}
    return {name: " ".join(texts.get(name, "").split()) for name in defaults_of(config_class)}


def config_to_dictionary(config: Any) -> dict[str, Any]:
    """Plain values of a Config, ready for JSON."""
    return dataclasses.asdict(config)


def check_at_least(key: str, value: float | None, minimum: float, *, optional: bool = False) -> None:
    """Refuse a number below `minimum` (or None, unless `optional`), by a sentence that names the key."""
    if value is None and optional:
        return
    number = "a whole number" if isinstance(minimum, int) else "a number"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not value >= minimum or (isinstance(minimum, int) and not isinstance(value, int)):  # type: ignore[operator]
        raise ConfigurationError(key, value, f"{number} of at least {minimum}")


def check_positive(key: str, value: float | None, *, optional: bool = False) -> None:
    """Refuse a number that is not above zero."""
    if value is None and optional:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise ConfigurationError(key, value, "a number above 0")


def check_fraction(key: str, value: float | None, *, optional: bool = False) -> None:
    """Refuse a number outside (0, 1]."""
    if value is None and optional:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
        raise ConfigurationError(key, value, "a number above 0 and at most 1")


def check_choice(key: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a value that is not one of `choices`, with the nearest one."""
    allowed = list(choices)
    if value not in allowed:
        near = nearest_name(str(value), [str(choice) for choice in allowed]) if isinstance(value, str) else ""
        raise ConfigurationError(key, value, f"one of {', '.join(map(str, allowed))}{near if 'mean' in near else ''}")


def check_instance(key: str, value: object, kinds: type | tuple[type, ...], accepted: str) -> None:
    """Refuse an object of another type, by a sentence that names the type it has."""
    if not isinstance(value, kinds):
        raise ConfigurationError(key, value if _is_plain(value) else _OfType(value), accepted)


def check_texts(key: str, values: object) -> None:
    """Refuse what is not a list of texts, or one that has a text twice."""
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ConfigurationError(key, values, "a list of texts")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ConfigurationError(key, values, f"a list without repetitions ({twice!r} is repeated)")


class _OfType:
    """Shows an object by its type: arrays and models would fill pages."""

    def __init__(self, value: object) -> None:
        self._name = value.__name__ if isinstance(value, type) else type(value).__name__

    def __repr__(self) -> str:
        return f"an object of the type {self._name}"


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, dict)):  # of a config file
        return len(value) <= N_SHOWN and all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, (str, int, float))
