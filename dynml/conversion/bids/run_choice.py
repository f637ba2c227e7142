"""Chooses the series of a subject's runs by their entities, and refuses to take one acquisition for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dynml.configuration import nearest_name
from dynml.conversion.bids.config import WITHOUT, BidsConfig
from dynml.conversion.bids.entities import BidsFile, identity_of, same_value
from dynml.conversion.bids.entity_table import JOINED_BY_PIPELINES, setting_of
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError, first_of
from dynml.store.layout import natural_order

IMAGES = (".nii.gz", ".nii")
DENSE_SERIES = ".dtseries.nii"
NO_LABEL = "none"


def chosen_series(
    files: list[BidsFile], config: BidsConfig, folder: Path, where: str, warned: DataWarnings
) -> list[BidsFile]:
    """Choose the files of the runs that the config asks for, one file per run.

    Parameters
    ----------
    files : list of BidsFile
        Of the subject.
    config : BidsConfig
    folder : Path
        Of the subject, for messages.
    where : str
        Subject and group, for messages.
    warned : DataWarnings
        Warned where a series of joined runs was left out.

    Raises
    ------
    DataError
        When no file fits, or which ones are meant is not clear: there are several tasks, several files of one run, or a
        series beside the runs that it joins; names the key of `bids` that decides, and the labels that there are.
    """
    kept = [file for file in files if _is_series(file, config)]
    if not kept:
        what = "preprocessed images (*_bold.nii.gz)" if config.pipeline == "fmriprep" else "series (*_timeseries.tsv)"
        raise DataError(f"{where}: there are no {what} of {config.pipeline} in the folders 'func' below {folder}.")
    for key, (entity, wanted) in config.filters.items():
        found = {_label(file, entity) for file in kept}
        kept = [file for file in kept if any(_fits(_label(file, entity), one) for one in wanted)]
        if not kept:
            there = sorted(label or NO_LABEL for label in found)
            names = " or ".join(repr(one) for one in wanted)
            near = nearest_name(str(wanted[0]), there) if len(there) > 1 else f" (there is: {there[0]})"
            raise DataError(f"{where}: no run in {folder} has bids.{key} {names}{near}.")
    _check_one_task(kept, config, where)
    _check_distinct(kept, where)
    joined = joined_series(kept)
    undecided = {key for pieces in joined.values() for key in pieces[1] if setting_of(key) not in config.filters}
    if undecided:
        series, (runs, _) = next(iter(joined.items()))
        raise DataError(
            f"{where}: {series} looks like the runs {first_of(runs, 6)} joined to one series, and would count them "
            f"twice; choose by {_keys(sorted(undecided), kept)}."
        )
    if joined and config.pipeline == "xcp_d":
        topic = "Series that join runs were left out, since the runs themselves are there"
        warned.add(topic, f"{where}: {next(iter(joined)).name}")
        kept = [file for file in kept if file.path not in joined]
    return kept


def joined_series(files: Sequence[BidsFile]) -> dict[Path, tuple[list[str], list[str]]]:
    """Find series whose names are those of other runs without their number: programs so name a concatenation.

    Returns
    -------
    dict
        For each such series, the names of the runs, and the entities that tell it from them.
    """
    found: dict[Path, tuple[list[str], list[str]]] = {}
    for joined in files:
        runs: dict[str, None] = {}
        entities: dict[str, None] = {}
        for other in files:
            more = other.run.keys() - joined.run.keys()
            same = all(same_value(other.run.get(key), label) for key, label in joined.run.items())
            if more and same and more <= set(JOINED_BY_PIPELINES):
                runs[other.run_name] = None
                entities.update(dict.fromkeys(sorted(more)))
        if runs:
            found[joined.path] = (list(runs), list(entities))
    return found


def differing_entities(one: BidsFile, other: BidsFile) -> list[str]:
    """Entities in which two files of one run differ; numbers compare as numbers."""
    keys = dict.fromkeys([*one.entities, *other.entities])
    return [
        key
        for key in keys
        if one.entities.get(key) != other.entities.get(key)
        and not same_value(one.entities.get(key), other.entities.get(key))
    ]


def labels_of(files: Sequence[BidsFile], entity: str) -> str:
    """Labels that files have of an entity, in words."""
    labels = {_label(file, entity) or NO_LABEL for file in files}
    return first_of(sorted(labels, key=natural_order), 6)


def _is_series(file: BidsFile, config: BidsConfig) -> bool:
    if config.pipeline == "xcp_d":
        named = _label(file, "atlas") is not None and file.entities.get("stat", "mean") == "mean"
        return file.suffix == "timeseries" and file.extension == ".tsv" and named
    if file.suffix != "bold":
        return False
    if file.extension == DENSE_SERIES:
        return True
    return file.extension in IMAGES and (config.desc is not None or file.entities.get("desc") == "preproc")


def _label(file: BidsFile, entity: str) -> str | None:
    if entity == "atlas":
        return file.entities.get("atlas", file.entities.get("seg"))
    return file.entities.get(entity)


def _fits(label: str | None, wanted: object) -> bool:
    return label is None if wanted in WITHOUT else same_value(label, wanted)


def _check_one_task(files: Sequence[BidsFile], config: BidsConfig, where: str) -> None:
    tasks = {file.entities.get("task") for file in files}
    if config.task is None and len(tasks) > 1:
        raise DataError(
            f"{where}: there are several tasks ({labels_of(files, 'task')}); say which by bids.task, or list all that "
            "are meant."
        )


def _check_distinct(files: Sequence[BidsFile], where: str) -> None:
    seen: dict[str, BidsFile] = {}
    for file in files:
        other = seen.setdefault(identity_of(file.run), file)
        if other is file:
            continue
        differing = differing_entities(other, file)
        same = [one for one in files if identity_of(one.run) == identity_of(file.run)]
        advice = f"say which by {_keys(differing, same)}" if differing else "remove one"
        raise DataError(f"{where}: {other.path} and {file.path} are both run {file.run_name}; {advice}.")


def _keys(entities: Sequence[str], files: Sequence[BidsFile]) -> str:
    """Keys of `bids` that decide, each with the labels that there are."""
    labels = {f"bids.{setting_of(entity)}": labels_of(files, entity) for entity in entities}
    return " or ".join(f"{key} (there are: {found})" for key, found in labels.items())
