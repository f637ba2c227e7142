"""How signals were prepared, apart from the signals: the config, what its steps learnt, the channels that came out.

It is read from a store, or from the folder of an exported model, where it stands as JSON and safetensors:

preparation.json           config, channels, rate, and all of the fits but their arrays
preparation.safetensors    the arrays, as <group>/<fit>/<array>; not there where nothing was fitted
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dynml.errors import DataCorruptionError, DataError
from dynml.files import as_dynml_wrote, read_json, write_json
from dynml.fits import Fit, Layout
from dynml.preparation.fitted.stored_fits import with_fits
from dynml.preparation.step import PreparationStep
from dynml.reading_files import is_folder, is_there
from dynml.store.fits import read_fits
from dynml.store.layout import TOP_LEVEL_KEYS, SharedFiles
from dynml.store.reading import Store

PREPARATION, ARRAYS = "preparation.json", "preparation.safetensors"
FORMAT_VERSION = 1
OF_EXPORTED, OF_EXPERIMENTS = "config.json", ("parameters_latest.json", "best_model")
"""What folders of exported models have, and those of experiments."""
_SUBJECT_WITHOUT_NAME = "unnamed training subject {}"


@dataclass(frozen=True, kw_only=True)
class StoredPreparation:
    """What new recordings must go through to be like those of a store."""

    path: Path
    """The store, or the folder of an exported model."""
    config: dict[str, Any]
    """Of the store, as it was given."""
    layouts: dict[str, Layout]
    """Rate and channels that came out, of each group."""
    fits: dict[str, dict[str, Fit]] = field(default_factory=dict)
    """Group, and name of the fit in the store, to what was learnt."""
    shared_files: SharedFiles = field(default_factory=dict)
    participants: dict[str, str] = field(default_factory=dict)
    """Person of each subject of the store; empty where nobody is named."""
    together: tuple[frozenset[str], ...] = ()
    """Groups that subjects have at once, each combination once; empty where every subject has all groups."""

    @classmethod
    def of_store(cls, store: Store) -> StoredPreparation:
        """Read what a store says of it."""
        config, subjects = store.config, store.subjects
        # A store that was joined of others has subjects without some of its groups.
        own = {subject: frozenset(store.groups(subject)) for subject in subjects}
        having = {group: [one for one in subjects if group in own[one]] for group in config}
        groups = [group for group in config if group not in TOP_LEVEL_KEYS and having[group]]
        described = {group: store.attributes(having[group][0], group) for group in groups}
        together = {held & frozenset(groups) for held in own.values()}
        return cls(
            path=store.path,
            config=config,
            layouts={
                group: Layout(sampling_frequency=one.sampling_frequency, channel_names=one.channel_names)
                for group, one in described.items()
            },
            fits={group: read_fits(store, group) for group in groups},
            shared_files=store.shared_files,
            participants={name: store.participant(name) for name in subjects},
            together=tuple(sorted(together, key=sorted)) if len(together) > 1 else (),
        )

    @classmethod
    def of_folder(cls, folder: Path) -> StoredPreparation:
        """Read what `save` wrote; whom the fits saw comes back as a number of subjects without names.

        Raises
        ------
        DataError
            When it is not there.
        DataCorruptionError
            When it cannot be read.
        """
        if not is_there(folder / PREPARATION):
            raise DataError(_why_none(folder))
        with as_dynml_wrote(folder):
            content = read_json(folder / PREPARATION)
            arrays = _arrays_of(folder / ARRAYS)
            fits: dict[str, dict[str, Fit]] = {}
            for group, described in content["fits"].items():
                fits[group] = {name: _fit_of(one, arrays, f"{group}/{name}/") for name, one in described.items()}
            layouts = {group: _layout_of(one) for group, one in content["groups"].items()}
            config, shared = content["config"], content["shared_files"]
            together = tuple(map(frozenset, content.get("together", ())))  # absent from files of older versions
        return cls(path=folder, config=config, layouts=layouts, fits=fits, shared_files=shared, together=together)

    def save(self, folder: Path) -> None:
        """Write it into a folder, without the names of anyone whom the fits saw."""
        from safetensors.numpy import save_file

        content = {
            "version": FORMAT_VERSION,
            "config": self.config,
            "groups": {group: _described_layout(layout) for group, layout in self.layouts.items()},
            "shared_files": self.shared_files,
            "together": [sorted(groups) for groups in self.together],
            "fits": {group: {name: _described(fit) for name, fit in fits.items()} for group, fits in self.fits.items()},
        }
        write_json(folder / PREPARATION, content)
        arrays = {
            f"{group}/{name}/{key}": np.ascontiguousarray(array)
            for group, fits in self.fits.items()
            for name, fit in fits.items()
            for key, array in fit.arrays.items()
        }
        if arrays:
            save_file(arrays, folder / ARRAYS)

    def of_groups(self, groups: Collection[str]) -> StoredPreparation:
        """Give the preparation of some groups alone."""
        kept = {name: one for name, one in self.config.items() if name in TOP_LEVEL_KEYS or name in groups}
        together = {held & frozenset(groups) for held in self.together} - {frozenset[str]()}
        return dataclasses.replace(
            self,
            config=kept,
            layouts={group: one for group, one in self.layouts.items() if group in groups},
            fits={group: one for group, one in self.fits.items() if group in groups},
            shared_files={group: one for group, one in self.shared_files.items() if group in groups},
            together=tuple(sorted(together, key=sorted)) if len(together) > 1 else (),
        )

    def seen_by_fits(self, group: str) -> list[str]:
        """Subjects that any fit of a group has seen."""
        return sorted({subject for fit in self.fits.get(group, {}).values() for subject in fit.subjects})

    def bound(self, group: str, steps: Sequence[PreparationStep]) -> list[PreparationStep]:
        """Give the steps of a group what they have learnt."""
        return with_fits(steps, self.fits.get(group, {}), f"{self.path}, group {group},")


def read_preparation(path: Path) -> StoredPreparation:
    """Read it from a store, or from the folder of an exported model.

    Raises
    ------
    DynmlError
        When it is neither.
    """
    if is_folder(path):
        return StoredPreparation.of_folder(path)
    with Store(path) as store:
        return StoredPreparation.of_store(store)


def _why_none(folder: Path) -> str:
    if is_there(folder / OF_EXPORTED):
        return f"{folder} has no {PREPARATION}: the model was exported without the preparation of its recordings."
    if any(is_there(folder / name) for name in OF_EXPERIMENTS):
        return (
            f"{folder} is an experiment, which does not hold the preparation of its recordings: give the store that it "
            "was trained on, or the model as dynml_export_model.py exports it."
        )
    return f"{folder} is a folder, but neither a store nor an exported model (it has no {PREPARATION})."


def _described_layout(layout: Layout) -> dict[str, Any]:
    return {"sampling_frequency": layout.sampling_frequency, "channel_names": list(layout.channel_names)}


def _layout_of(described: dict[str, Any]) -> Layout:
    names = tuple(described["channel_names"])
    return Layout(sampling_frequency=described["sampling_frequency"], channel_names=names)


def _described(fit: Fit) -> dict[str, Any]:
    return {
        "layout": _described_layout(fit.layout),
        "n_subjects": len(fit.subjects),
        "values": fit.values,
        "arrays": sorted(fit.arrays),
    }


def _fit_of(described: dict[str, Any], arrays: dict[str, Any], prefix: str) -> Fit:
    return Fit(
        layout=_layout_of(described["layout"]),
        subjects=tuple(map(_SUBJECT_WITHOUT_NAME.format, range(1, described["n_subjects"] + 1))),
        arrays={key: arrays[prefix + key] for key in described["arrays"]},
        values=described["values"],
    )


def _arrays_of(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path) if is_there(path) else {}
    except (SafetensorError, OSError) as error:
        raise DataCorruptionError(f"{path} could not be read: {error}.") from error
