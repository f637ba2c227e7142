"""Runs of a group whose files are named by patterns: each recording once, whatever its names and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dynml.conversion.bids.entities import BidsFile, identity_of, parsed
from dynml.conversion.bids.run_choice import differing_entities, joined_series
from dynml.conversion.sources.agreement import SourceFile
from dynml.conversion.sources.places import Place, matching, reader_of, source_file
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError

LATER_PARTS = "later parts of recordings that are split over files were read with their first part"


def files_of_patterns(place: Place) -> list[SourceFile]:
    """Describe the files that the patterns of `files` match.

    Raises
    ------
    DataError
        When a file cannot be used, or two are of one acquisition by their names: echoes, say, or a series beside the
        runs that it joins; names both.
    """
    names = matching(place.folder, place.config.files, str(place))
    _check_versions([place.folder / name for name in names], str(place))
    files: list[SourceFile] = []
    parts: set[Path] = set()
    for name in names:
        path = place.folder / name
        if path.resolve() in parts:
            place.warned.add(f"Group {place.group}: {LATER_PARTS}", f"{place.folder.name}/{name}")
            continue
        files.append(source_file(place, name, reader_of(place, path)))
        parts.update(part.resolve() for part in files[-1].description.further_files)
    _check_not_joined(files, str(place))
    return files


def warn_of_same_contents(contents: Mapping[tuple[str, str], Sequence[str]], warned: DataWarnings) -> None:
    """Tell of files that are the same, byte for byte: one recording counts several times, or stands in two subsets.

    Parameters
    ----------
    contents : mapping
        For each group and SHA-256, the files that have it, `subject/file`.
    warned : DataWarnings
    """
    for (group, _), names in contents.items():
        if len(names) > 1:
            topic = f"Group {group}: files hold the same bytes, so that one recording counts several times"
            warned.add(topic, " = ".join(names[:3]) + (" = .." if len(names) > 3 else ""))


def _check_versions(paths: Sequence[Path], where: str) -> None:
    seen: dict[tuple[Path, str, str], BidsFile] = {}
    for file in filter(None, map(parsed, paths)):
        if "sub" not in file.entities:
            continue
        other = seen.setdefault((file.path.parent, identity_of(file.run), file.suffix), file)
        differing = differing_entities(other, file)
        if differing:
            labels = ", ".join(
                f"{key} {other.entities.get(key, 'none')} and {file.entities.get(key, 'none')}" for key in differing
            )
            raise DataError(
                f"{where}: {other.path} and {file.path} are of one acquisition, for by BIDS their names differ only in "
                f"its version ({labels}); narrow the patterns in 'files' to one of them."
            )


def _check_not_joined(files: Sequence[SourceFile], where: str) -> None:
    n_samples = {file.path: file.description.n_samples for file in files}
    named = [file for file in map(parsed, n_samples) if file is not None]
    for series, (runs, _) in joined_series(named).items():
        alike = [file for file in named if file.run_name in runs and file.path.parent == series.parent]
        if len(alike) > 1 and n_samples[series] == sum(n_samples[file.path] for file in alike):
            raise DataError(
                f"{where}: {series} has as many samples as {', '.join(runs)} together and looks like these runs "
                "joined, which would count them twice; narrow the patterns in 'files'."
            )
