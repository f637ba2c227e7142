"""What is removed from each run of a group after it was read, by the config, and the tables that say so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dynml.conversion.bids.derivatives import BidsRun
from dynml.conversion.sources.agreement import SourceFile
from dynml.conversion.sources.places import Place, matching
from dynml.errors import DataError
from dynml.preparation.confounds.cleaning import CleaningPlan


def with_cleaning(place: Place, files: list[SourceFile], runs: list[BidsRun], rate: float) -> list[SourceFile]:
    """Say what is removed from each run, and check its table of confounds."""
    config = place.config
    for key in ("high_pass", "low_pass"):
        frequency = getattr(config, key)
        if frequency is not None and frequency >= rate / 2:
            raise DataError(f"{place}: {key} is {frequency:g} Hz, but must be below half of the rate, {rate / 2:g} Hz.")
    tables = _confounds_tables(place, files, runs)
    cleaned = []
    for file, table in zip(files, tables):
        kept = file.description.kept
        if not config.cleans and kept is None:
            cleaned.append(file)
            continue
        stretches = file.description.stretches
        if config.cleans and stretches is not None and stretches.tolist() != [[0, file.description.n_samples]]:
            raise DataError(
                f"{place}: {file.name} holds epochs, cases, joined runs or stretches marked bad, over which confounds, "
                "high_pass and low_pass would reach; use the step 'filter' of 'preparation', or the runs themselves."
            )
        plan = CleaningPlan(
            table=table,
            strategy=tuple(config.confounds_strategy),
            parameters=config.confounds_parameters,
            kept=kept,
            high_pass=config.high_pass,
            low_pass=config.low_pass,
            detrend=config.detrend and not config.detrends_as_step,
        )
        plan.of_run(file.description.n_samples)
        cleaned.append(dataclasses.replace(file, cleaning=plan))
    return cleaned


def _confounds_tables(place: Place, files: list[SourceFile], runs: list[BidsRun]) -> list[Path | None]:
    config = place.config
    if not config.confounds_strategy:
        return [None] * len(files)
    if config.confounds is None:
        lacking = next((run for run in runs if run.confounds is None), None)
        if lacking is not None:
            raise DataError(f"{place}: {lacking.path} has no table of confounds (*_desc-confounds_*.tsv) beside it.")
        return [run.confounds for run in runs]
    names = matching(place.folder, [config.confounds], str(place))
    if len(names) != len(files):
        raise DataError(
            f"{place}: confounds {config.confounds!r} match {len(names)} files ({names[0]} ..) for {len(files)} runs; "
            "give one for each run."
        )
    return [place.folder / name for name in names]
