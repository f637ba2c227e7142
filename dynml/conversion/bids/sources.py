"""What a group takes of BIDS derivatives: the runs, their masks and rates, and the table of participants."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dynml.conversion.bids.censored_series import CensoredReader, kept_volumes
from dynml.conversion.bids.config import as_list
from dynml.conversion.bids.derivatives import BidsRun, find_runs
from dynml.conversion.bids.entities import parsed
from dynml.conversion.bids.joints import stretches_between_joints
from dynml.conversion.config import StoreConfig
from dynml.conversion.sources.agreement import SourceFile
from dynml.conversion.sources.places import Place, reader_of, source_file, without_excluded
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.readers.reader import Reader
from dynml.reading_files import is_file, is_folder
from dynml.store.participants_table import described_subjects

SAME_SIDECAR_RATE = 1e-3
PARTICIPANTS_TABLE = "participants.tsv"


def bids_runs(place: Place) -> list[BidsRun]:
    """Find the runs of a subject that the config's `bids` chooses.

    Raises
    ------
    DataError
        When the folder of raw data is none, or no run fits; names the subject and the group.
    """
    bids = place.config.bids_runs
    raw = None if bids.raw is None else place.store_config.folder / bids.raw
    if raw is not None and not is_folder(raw):
        raise DataError(f"{place.group}.bids.raw: {raw} is not a folder.")
    return find_runs(place.folder.parent, raw, place.folder.name, bids, str(place), place.warned)


def bids_source_file(place: Place, run: BidsRun) -> SourceFile:
    """Describe a run by its image or table, with its own mask, its censored volumes and its repetition time.

    Raises
    ------
    DataError
        When there is no mask, or header and sidecar say different repetition times; names the subject and the file.
    """
    bids, reader = place.config.bids_runs, reader_of(place, run.path)
    if reader.lacks_mask and bids.brain_mask:
        if run.mask is None:
            raise DataError(
                f"{place}: {run.path} has no brain mask (*_desc-brain_mask.nii.gz) beside it; give 'mask', or set "
                "\"brain_mask\": false in 'bids'."
            )
        reader = reader.with_mask(run.mask)
    _warn_of_space(place, run, reader)
    if run.outliers is not None and bids.pipeline == "xcp_d":
        kept = kept_volumes(run.outliers, place.warned)
        reader = CensoredReader(without_excluded(place, reader), kept, run.outliers)
    elif bids.pipeline == "xcp_d":
        topic = f"Group {place.group}: no outliers.tsv says which volumes were censored, so that none becomes a gap"
        place.warned.add(topic, f"{place.folder.name}, run {run.name}")
    name = run.path.relative_to(place.folder).as_posix()
    file = source_file(place, name, reader, run.name)
    if run.joins:
        file = _cut_at_joints(place, run, file, reader)
    found = file.description.sampling_frequency
    if run.repetition_time is None:
        return file
    if found is not None and abs(found * run.repetition_time - 1.0) > SAME_SIDECAR_RATE:
        if place.config.stated_sampling_frequency is None:
            raise DataError(
                f"{place}: the repetition time of {run.path} is {1.0 / found:g} s in its header, but "
                f"{run.repetition_time:g} s in {run.sidecar}; state 'repetition_time' in the config."
            )
        return file
    description = dataclasses.replace(file.description, sampling_frequency=1.0 / run.repetition_time)
    return dataclasses.replace(file, description=description)


def _cut_at_joints(place: Place, run: BidsRun, file: SourceFile, reader: Reader) -> SourceFile:
    description = file.description
    of_rows = reader.reader if isinstance(reader, CensoredReader) else reader
    stretches = stretches_between_joints(
        run.joins,
        description.n_samples,
        description.stretches,
        lambda path: of_rows.describe(path).n_samples,
        f"{place}: {run.path.name}",
        place.warned,
    )
    return dataclasses.replace(file, description=dataclasses.replace(description, stretches=stretches))


def participants_of_bids(
    root: Path, config: StoreConfig, subjects: list[str], warned: DataWarnings
) -> dict[str, dict[str, str]] | None:
    """Covariates from the participants.tsv of the derivatives, or of the raw data set, where there is one."""
    groups = [group.bids_runs for group in config.groups.values() if group.bids is not None]
    raw = [config.folder / group.raw for group in groups if group.raw is not None]
    path = next((home / PARTICIPANTS_TABLE for home in [root, *raw] if is_file(home / PARTICIPANTS_TABLE)), None)
    if not groups or path is None:
        return None
    sessions = {label for group in groups for label in as_list(group.session)}
    described = described_subjects(path, subjects, warned, session=str(sessions.pop()) if len(sessions) == 1 else None)
    for subject in subjects:
        if subject not in described:
            warned.add(f"{path} does not speak of some subjects, which have no covariates", subject)
    return {subject: described.get(subject, {}) for subject in subjects}


def _warn_of_space(place: Place, run: BidsRun, reader: Reader) -> None:
    """Tell of an atlas whose name says that it is in another space than the run."""
    atlas = None if reader.file_in_space is None else parsed(reader.file_in_space)
    of_atlas = None if atlas is None else atlas.entities.get("space", atlas.entities.get("tpl"))
    if of_atlas is not None and run.space is not None and of_atlas != run.space:
        topic = f"Group {place.group}: the atlas is in space {of_atlas} by its name, but runs are in {run.space}"
        place.warned.add(topic, f"{place.folder.name}, run {run.name}")
