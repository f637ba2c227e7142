"""What dynml_check_model.py writes: verdicts, the numbers behind them, pictures and a summary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynml.analysis.checks.checked import Checked, CheckSettings
from dynml.analysis.checks.drift import course_of
from dynml.analysis.checks.dynamics import KINDS
from dynml.analysis.tidy import KIND, Column, write_tidy
from dynml.models.experiment import Experiment

RESULTS = "check"
SHORT = {"phases": "phases randomized", "var": "stationary VAR"}
LIST = "verdicts.json"


def write_checks(folder: Path, found: Checked, experiment: Experiment, settings: CheckSettings) -> list[str]:
    """Write all files of a folder of checks, and give the sentences of the checks that the model does not pass."""
    from dynml.files import write_json

    verdicts = {name: one.to_dictionary() for name, one in found.verdicts.items()}
    write_json(folder / LIST, verdicts)
    _write_tables(folder, found)
    failed = [one.sentence for one in found.verdicts.values() if one.holds is False]
    write_json(
        folder / "summary.json",
        {
            KIND: RESULTS,
            "experiment": experiment.name,
            "weights": experiment.weights,
            "model_sha256": experiment.sha256,
            "other_preparation": experiment.other_preparation,
            "components": experiment.family.components,
            "checks": list(settings.checks),
            "n_surrogates": settings.n_surrogates,
            "n_draws": settings.n_draws,
            "seed": settings.seed,
            "pictures": _draw(folder, found, experiment.family.components.removesuffix("s")),
            "findings": failed,
        },
    )
    return failed


def _write_tables(folder: Path, found: Checked) -> None:
    state = Column("state", "Number of the state or mode, from 1")
    if found.occupancies:
        columns = [Column("subject", "Recording"), state, Column("occupancy", "Share of the observed time", "1")]
        write_tidy(folder / "occupancies.tsv", columns, _rows_of_occupancies(found))
    if found.gain is not None:
        columns = [
            Column("data", "recordings, phases (randomized) or var (stationary autoregressions)"),
            Column("number", "Number of the surrogate, from 1"),
            Column("gain", "Free energy of a mixture less that of the model, refitted to these data, nats per sample"),
        ]
        rows: list[list[Any]] = [["recordings", 1, found.gain]]
        rows += [[kind, number, gain] for kind, all_of in found.gains.items() for number, gain in enumerate(all_of, 1)]
        write_tidy(folder / "surrogates.tsv", columns, rows)
    if found.agreement is not None:
        columns = [state, Column("similarity", "Shared with its match in the other half, of the larger occupancy", "1")]
        write_tidy(folder / "split_half.tsv", columns, enumerate(found.agreement.of_states, 1))


def _rows_of_occupancies(found: Checked) -> Iterator[list[Any]]:
    for subject, own in found.occupancies.items():
        for position, value in enumerate(own.tolist(), 1):
            yield [subject, position, value]


def _draw(folder: Path, found: Checked, component: str) -> list[dict[str, str]]:
    from dynml.plotting.findings.checks import plot_against_draws, plot_agreement, plot_courses, plot_occupancies

    figures: dict[str, tuple[Any, str]] = {}
    if found.occupancies:
        alt = f"Share of each subject's time in each {component}, one bar per subject"
        figures["occupancies"] = plot_occupancies(found.occupancies, component), alt
    if found.trends:
        titles = {"runs": "Runs of a participant", "windows": "Time within a run"}
        figure = plot_courses({titles[one.kind]: course_of(one) for one in found.trends}, component)
        figures["drift"] = figure, f"Share of the time in each {component} over runs and within them, mean over people"
    if found.gain is not None and found.gains:
        drawn = {SHORT[kind]: found.gains[kind] for kind in KINDS if kind in found.gains}
        figure = plot_against_draws(
            dict.fromkeys(drawn, found.gain),
            drawn,
            "Gain over a mixture (nats per sample)",
            ("recordings", "surrogates"),
        )
        alt = f"Gain over a mixture of the recordings ({found.gain:.3g} nats per sample) beside that of each surrogate"
        figures["surrogates"] = figure, alt
    if found.observed is not None:
        own = {"changes": float(found.observed.switching[0])}
        values = {"changes": [float(one.switching[0]) for one in found.drawn]}
        figure = plot_against_draws(own, values, "Changes per sample", ("recordings", "drawn by the model"))
        figures["switching"] = (
            figure,
            f"How often {component}s change in the recordings and in data that the model draws",
        )
    if found.agreement is not None:
        shown = ", ".join("none" if math.isnan(one) else f"{one:.2f}" for one in found.agreement.of_states)
        alt = f"How much of each {component} comes back in the other half of the participants: {shown}"
        figures["split_half"] = plot_agreement(found.agreement.of_states, component), alt
    return [_saved(folder, name, figure, alt) for name, (figure, alt) in figures.items()]


def _saved(folder: Path, name: str, figure: Any, alt: str) -> dict[str, str]:
    from dynml.plotting.style import save_figure

    for ending in ("png", "svg"):
        save_figure(figure, folder / f"{name}.{ending}")
    return {"path": f"{name}.png", "alt": alt}
