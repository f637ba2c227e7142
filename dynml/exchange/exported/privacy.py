"""What must not leave with a model: names of subjects and participants, paths, and digests of recordings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePath, PureWindowsPath
from typing import Any

from dynml.conversion.stored_preparation import StoredPreparation
from dynml.store.layout import PARTICIPANTS

KEPT_SECTIONS = ("family", "model_class", "model", "sampler")
KEPT_OF_TRAINER = ("seed", "baseline_trials", "loss")
KEPT_OF_DATASET = (
    *("group", "n_channels", "channel_names", "sampling_frequencies", "split", "preparation", "scale"),
    "conditioning",
)
KEPT_OF_GROUPS = ("channel_names", "preparation")
KEPT_OF_SUBSETS = ("n_subjects", "n_participants", "n_segments", "n_samples", "n_masked")
KEPT_OF_EMBEDDING = ("fitted_to",)
"""Keys of an embedding on the fly that are emptied: a digest over names of subjects."""

_OF_RECORDINGS = ("pretraining_overlap",)
"""Settings of models that name people or recordings, and are no part of the model."""
_NAMES_OF_OTHERS = frozenset({"channel_names", "class_names", "classes", "labels"})
_NO_PATHS = frozenset({"variable"})
"""Keys whose values look like paths, but lead into a file."""
_SHORTEST_NAME = 3


class People:
    """Names that must not be published.

    Parameters
    ----------
    names : iterable of str
        Subjects and participants. Names of fewer than 3 characters, and mere numbers, are looked for as whole texts,
        others within texts, too.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = {name for name in names if name}
        long = sorted(name for name in self.names if len(name) >= _SHORTEST_NAME and not name.isdigit())
        joined = "|".join(map(re.escape, long))
        self._within = re.compile(rf"(?<![A-Za-z0-9])({joined})(?![A-Za-z0-9])") if long else None

    def are_in(self, text: str) -> bool:
        """Whether a text names one of them."""
        return text in self.names or bool(self._within and self._within.search(text))

    def left_out(self, value: Any, key: str = "") -> Any:
        """Plain values without what names them, and with files in place of paths."""
        if key in _NAMES_OF_OTHERS:
            return value
        if isinstance(value, Mapping):
            kept = {name: self.left_out(one, name) for name, one in value.items() if not self.are_in(str(name))}
            return {name: one for name, one in kept.items() if one is not None or value[name] is None}
        if isinstance(value, (list, tuple)):
            kept_items = [self.left_out(one, key) for one in value]
            return [one for one, before in zip(kept_items, value) if one is not None or before is None]
        if not isinstance(value, str):
            return value
        if self.are_in(value):
            return None
        return value if key in _NO_PATHS else without_folders(value)


def people_of(parameters: Mapping[str, Any], preparation: StoredPreparation | None = None) -> People:
    """Everyone whom an experiment's parameters, or the preparation of its data, name."""
    subsets = (parameters.get("dataset") or {}).get("subsets") or {}
    names = [name for one in subsets.values() for key in ("subjects", "participants") for name in one.get(key) or ()]
    if preparation is not None:
        names += [*preparation.participants, *preparation.participants.values()]
        names += [name for group in preparation.fits for name in preparation.seen_by_fits(group)]
    return People(names)


def without_folders(text: str) -> str:
    """The name alone of what leads out of the folder it is read in; other texts as they are."""
    leads_away = text.startswith(("/", "~", "\\")) or ".." in PurePath(text).parts or PureWindowsPath(text).drive
    if not leads_away or any(character.isspace() for character in text.strip()[:1]):
        return text
    return PureWindowsPath(text).name or PurePath(text).name


def parameters_without_people(parameters: Mapping[str, Any], people: People) -> dict[str, Any]:
    """Those of parameters.json that a model needs to be built and applied, and nothing of anybody.

    Parameters
    ----------
    parameters : mapping
        Content of parameters.json.
    people : People

    Returns
    -------
    dict
    """
    kept = {name: parameters[name] for name in KEPT_SECTIONS if name in parameters}
    trainer, trained = parameters.get("trainer") or {}, parameters["dataset"]
    kept["trainer"] = _chosen(trainer, KEPT_OF_TRAINER)
    dataset = _chosen(trained, KEPT_OF_DATASET)
    dataset["hdf5_file"] = None
    if trained.get("groups"):
        dataset["groups"] = {group: _chosen(own, KEPT_OF_GROUPS) for group, own in trained["groups"].items()}
    embedding = trained.get("embedding")
    if embedding is not None:
        dataset["embedding"] = dict(embedding) | dict.fromkeys(KEPT_OF_EMBEDDING)
    dataset["subsets"] = {
        name: {"subjects": [], "fingerprint": None, **_chosen(one, KEPT_OF_SUBSETS)}
        for name, one in (trained.get("subsets") or {}).items()
    }
    if isinstance(kept.get("model"), Mapping):
        kept["model"] = {key: None if key in _OF_RECORDINGS else one for key, one in kept["model"].items()}
    result: dict[str, Any] = people.left_out({**kept, "dataset": dataset})
    return result


def preparation_without_people(
    preparation: StoredPreparation, groups: Collection[str], people: People
) -> StoredPreparation:
    """The preparation of some groups, without subjects, participants and folders.

    Parameters
    ----------
    preparation : StoredPreparation
    groups : collection of str
        Those that the model was trained on, and the one that it is conditioned by, if there is one.
    people : People
    """
    chosen = preparation.of_groups(groups)
    config = people.left_out({key: value for key, value in chosen.config.items() if key != PARTICIPANTS})
    for section in (config.get(group) for group in groups):
        if isinstance(section, dict) and not section.get("files", True):
            del section["files"]  # patterns that named people
    fits = {
        group: {name: dataclasses.replace(fit, values=people.left_out(fit.values)) for name, fit in own.items()}
        for group, own in chosen.fits.items()
    }
    return dataclasses.replace(chosen, config=config, fits=fits, participants={})


def _chosen(values: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}
