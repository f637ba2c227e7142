"""What dynml_compute_responses.py does: series of every subject, cut around its events, averaged and tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.cli.model_options import (
    add_group,
    add_model_options,
    add_out_folder,
    add_paths,
    add_subset,
    dataset_given,
    experiment_given,
    subsets_given,
)
from dynml.cli.outputs.folders import check_output_folder, output_folder
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from dynml.analysis.responses.participants import ParticipantResponses, ResponseSettings
    from dynml.analysis.responses.series import SubjectSeries
    from dynml.cli.outputs.responses import ResponseOutput
    from dynml.dataset.dataset import MultiSubjectDataset

ANY_EVENT = "any event"
WINDOW, SLOW_WINDOW = (-0.5, 1.5), (-5.0, 20.0)
"""Seconds around an event, of fast and of slow signals."""


def parse_responses(description: str | None) -> Namespace:
    """Parse the command line of dynml_compute_responses.py."""
    parser = ScriptParser(description=description)
    add_paths(parser)
    add_out_folder(parser)
    parser.add_argument(
        "--events",
        metavar="COLUMN",
        type=str,
        required=True,
        help="column of the events with their labels",
    )
    parser.add_argument("--conditions", nargs="+", type=str, help="labels to analyse; default: all of the column")
    parser.add_argument(
        "--pooled", action="store_true", help="pool all conditions except rest into one, named any event"
    )
    parser.add_argument(
        "--window",
        nargs=2,
        type=float,
        metavar=("FROM", "TO"),
        help="seconds around an event; default: -0.5 1.5; below 4 Hz -5 20",
    )
    parser.add_argument(
        "--baseline",
        nargs=2,
        type=float,
        metavar=("FROM", "TO"),
        help="seconds whose mean is subtracted from each trial; default: none, and tests compare with the overall mean",
    )
    parser.add_argument(
        "--haemodynamic",
        choices=["auto", "none", "glover", "spm"],
        default="auto",
        help="haemodynamic response function; auto: glover for sampling frequencies below 4 Hz, else none",
    )
    parser.add_argument(
        "--of",
        choices=["auto", "alpha", "features", "predictions"],
        default="auto",
        help="time courses to analyse: alpha, probabilities of states or coefficients of modes; features, hidden "
        "states of sequence models and decoders; predictions, prediction errors of a sequence model; auto: alpha or "
        "features",
    )
    parser.add_argument(
        "--n_surrogates",
        type=int,
        default=1000,
        help="circular shifts of each participant's time series",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    add_subset(parser)
    add_group(parser)
    add_model_options(parser)
    return parser.parse_args()


def run_responses(arguments: Namespace) -> None:
    """Load the model, go through participants, write."""
    from dynml.analysis.responses.group import group_responses
    from dynml.cli.outputs.responses import ResponseOutput
    from dynml.cli.outputs.series import kind_of_values, subject_series

    if arguments.n_surrogates < 99:
        raise ConfigurationError("--n_surrogates", arguments.n_surrogates, "a whole number from 99")
    check_output_folder(Path(arguments.out_folder), force=arguments.force)
    experiment = experiment_given(arguments)
    dataset = dataset_given(experiment, arguments, arguments.group)
    names = subsets_given(arguments)
    of = kind_of_values(experiment, arguments.of)
    component = {"features": "feature", "predictions": "channel"}.get(
        of, experiment.family.components.removesuffix("s")
    )
    labels = _labels(arguments, dataset)
    settings = _settings(arguments, dataset, names, component, labels)
    with output_folder(Path(arguments.out_folder), force=arguments.force) as out:
        output = ResponseOutput(out, settings, str(arguments.events), of)
        column, pooled = str(arguments.events), bool(arguments.pooled)
        series = subject_series(experiment, dataset, names, of, column, labels, pooled=pooled)
        found = _participants(series, dataset, names, settings, output)
        participants = [one for one in found if one.n_trials.any()]
        if not output.n_epochs:
            raise DataError(f"No window around an event of {arguments.events} was observed in {arguments.hdf5_file}.")
        for finding in output.group(group_responses(participants, settings), participants, experiment):
            print(f"Note: {finding}")
        print(f"Participants: {len(participants)}, trials: {output.n_epochs}. Results: {out}")


def _labels(arguments: Namespace, dataset: MultiSubjectDataset) -> tuple[str, ...]:
    """Labels to look at."""
    from dynml.analysis.responses.haemodynamic import REST

    known = dataset.label_names(arguments.events)
    labels = tuple(dict.fromkeys(arguments.conditions or known))
    for name in labels:
        if name not in known:
            raise ConfigurationError("--conditions", name, f"labels of {arguments.events}{nearest_name(name, known)}")
    active = tuple(name for name in labels if name.lower() not in REST)
    return active if arguments.pooled and active else labels


def _settings(
    arguments: Namespace,
    dataset: MultiSubjectDataset,
    names: Sequence[str],
    component: str,
    labels: tuple[str, ...],
) -> ResponseSettings:
    from dynml.analysis.responses.epochs import Window
    from dynml.analysis.responses.haemodynamic import SLOWEST_FAST
    from dynml.analysis.responses.participants import ResponseSettings

    rates = sorted({float(rate) for name in names for rate in dataset.subset(name).sampling_frequencies})
    if not rates:
        raise DataError(f"There is no subject in {' or '.join(names)}.")
    if len(rates) > 1:
        words = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"The sampling frequencies differ between subjects ({words} Hz), so that times do not match.")
    slow = rates[0] < SLOWEST_FAST
    asked = arguments.haemodynamic
    response = ("glover" if slow else None) if asked == "auto" else None if asked == "none" else asked
    start, stop = arguments.window or (SLOW_WINDOW if slow else WINDOW)
    window = Window.of_seconds(start, stop, rates[0])
    baseline = None
    if arguments.baseline is not None:
        start, stop = arguments.baseline
        baseline = Window.of_seconds(start, stop, rates[0], key="--baseline")
        window.positions_of(baseline)
    participants = {one for name in names for one in dataset.subset(name).participants}
    return ResponseSettings(
        conditions=(ANY_EVENT,) if arguments.pooled else labels,
        window=window,
        baseline=baseline,
        haemodynamic=response,
        with_times=len(participants) == 1,
        component=component,
        n_surrogates=arguments.n_surrogates,
        seed=arguments.seed,
    )


def _participants(
    subjects: Iterable[tuple[str, str, SubjectSeries | None]],
    dataset: MultiSubjectDataset,
    names: Sequence[str],
    settings: ResponseSettings,
    output: ResponseOutput,
) -> Iterator[ParticipantResponses]:
    """Give each participant once all of its subjects are there."""
    from dynml.analysis.responses.participants import participant_responses

    waiting = Counter(one for name in names for one in dataset.subset(name).participants)
    gathered: dict[str, list[SubjectSeries]] = {}
    for subject, participant, series in subjects:
        if series is None:
            output.subjects_without_events.append(subject)
        else:
            output.subject(subject, series.run_names, series.onsets.n_unlabelled)
            gathered.setdefault(participant, []).append(series)
        waiting[participant] -= 1
        if not waiting[participant] and participant in gathered:
            yield output.participant(participant_responses(gathered.pop(participant), settings))
