"""What a new store is made from: a folder or a table, the config, and who trains, validates and tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dynml.conversion.config import StoreConfig, read_store_config, read_subsets
from dynml.conversion.sources.found import identify, subjects_of_folder
from dynml.conversion.sources.table import SourceTable, is_table, read_source_table
from dynml.conversion.subset_drawing import Draw, drawn_subsets
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.store.layout import SUBSET_NAMES, is_valid_name


def read_inputs(source: Path, config_file: Path) -> tuple[StoreConfig, SourceTable | None]:
    """Read the config, and the table where the source is one.

    Raises
    ------
    DynmlError
        For any fault of either.
    """
    if not is_table(source):
        return read_store_config(config_file), None
    config = read_store_config(config_file, needs_files=False)
    return config, read_source_table(source, list(config.groups))


def folder_of(source: Path, table: SourceTable | None) -> Path:
    """Where relative paths of subjects start."""
    return source if table is None else source.parent


def subjects_of(source: Path, config: StoreConfig, table: SourceTable | None) -> list[str]:
    """All subjects of a source."""
    return subjects_of_folder(source, config) if table is None else list(table.subjects)


def chosen_subsets(
    source: Path, config: StoreConfig, table: SourceTable | None, lists: Mapping[str, Path], draw: Draw | None
) -> dict[str, list[str]]:
    """Who trains, validates and tests: by lists, by a draw, or by the table's column `subset`.

    Raises
    ------
    DataError
        When none of these says so, or two of them do, or a list or draw is faulty.
    """
    said = {"lists of subjects": bool(lists), "--draw_subsets": draw is not None}
    if table is not None:
        said[f"the column 'subset' of {table.path}"] = table.has_subsets
    chosen = [name for name, given in said.items() if given]
    if len(chosen) > 1:
        raise DataError(f"Both {chosen[0]} and {chosen[1]} say who trains, validates and tests; keep one of them.")
    if not chosen:
        column = ", or a column 'subset'" if table is not None else ""
        raise DataError(
            "Nothing says who trains, validates and tests: give three lists of subjects, or --draw_subsets "
            f"validation=0.1 testing=0.1{column}."
        )
    if lists:
        return {subset: [] for subset in SUBSET_NAMES} | read_subsets(dict(lists))
    if draw is None:
        assert table is not None
        return table.subsets
    subjects = subjects_of(source, config, table)
    if not subjects:
        raise DataError(f"{source} holds no folder of a subject.")
    odd = next((name for name in subjects if not is_valid_name(name)), None)
    if odd is not None:
        raise DataError(f"{source} has a subject {odd!r}, whose name cannot be used: it must be printable, in UTF-8.")
    return drawn_subsets(identify(folder_of(source, table), config, subjects, DataWarnings(), table), draw)
