"""What dynml_compute_responses.py writes: tables, arrays, pictures and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynml.analysis.responses.group import LEVEL, GroupResponses, findings
from dynml.analysis.responses.participants import ParticipantResponses, ResponseSettings
from dynml.analysis.tidy import KIND, Column, write_tidy
from dynml.errors import shortened
from dynml.files import write_array

if TYPE_CHECKING:
    from dynml.models.experiment import Experiment

CONDITIONS_IN_A_PICTURE = 6
CONDITION = Column("condition", "Label of the events")
STATE = Column("state", "Number of the state, mode, feature or channel, from 1: column state - 1 of the arrays")
P_TEXT = "p-value; n/a where nothing could be tested"
ACAUSAL = (
    "Values are inferred from all of a recording, so that a response may begin before its event by about as long as a "
    "visit lasts, and by half an embedding's length."
)


class ResponseOutput:
    """Takes participants as they come, then the group.

    Parameters
    ----------
    folder : Path
    settings : ResponseSettings
    column : str
        Of the events' labels.
    of : {"alpha", "features", "predictions"}
    """

    def __init__(self, folder: Path, settings: ResponseSettings, column: str, of: str) -> None:
        self._folder, self._settings, self._column, self._of = folder, settings, column, of
        self._trials: list[list[Any]] = []
        self._counts: dict[str, dict[str, int]] = {}
        self.subjects_without_events: list[str] = []
        self._run_names: dict[str, tuple[str, ...]] = {}

    @property
    def n_epochs(self) -> int:
        """Trials in all."""
        return len(self._trials)

    def subject(self, name: str, run_names: tuple[str, ...], n_unlabelled: int) -> None:
        """Note what the runs of a subject are called, and how many of its events have no label."""
        self._run_names[name] = run_names
        self._counts[name] = {"unlabelled": n_unlabelled}

    def participant(self, found: ParticipantResponses) -> ParticipantResponses:
        """Write the trials of a participant."""
        for subject, epochs in found.epochs.items():
            if not len(epochs.rows):
                self._counts[subject] = epochs.counts() | self._counts[subject]
                continue
            write_array(self._folder / f"{subject}_trials.npy", epochs.values)
            self._counts[subject] = epochs.counts() | self._counts[subject]
            shares = np.isfinite(epochs.values[:, :, 0]).mean(axis=1)
            for number in range(len(epochs.rows)):
                self._trials.append(
                    [
                        subject,
                        found.participant,
                        self._run_names[subject][epochs.run[number]],
                        int(epochs.number[number]),
                        self._settings.conditions[epochs.condition[number]],
                        int(epochs.rows[number]),
                        float(shares[number]),
                    ]
                )
        return found

    def group(
        self, group: GroupResponses, participants: Sequence[ParticipantResponses], experiment: Experiment
    ) -> list[str]:
        """Write everything else, and give the findings."""
        from dynml.files import write_json

        found = [*findings(group, participants, self._settings), *self._findings_of_trials()]
        about = {"events": self._column, "of": self._of, "test": group.method, "warning": ACAUSAL}
        self._write_responses(group, about)
        self._write_locking(group, participants, about)
        self._write_trials(about)
        self._write_arrays(group, participants)
        pictures = self._draw(group, len(participants))
        settings = self._settings
        write_json(
            self._folder / "summary.json",
            {
                KIND: "responses",
                "experiment": experiment.name,
                "weights": experiment.weights,
                "model_sha256": experiment.sha256,
                "other_preparation": experiment.other_preparation,
                "events": self._column,
                "of": self._of,
                "components": f"{settings.component}s",
                "conditions": list(settings.conditions),
                "window": [float(settings.window.times[0]), settings.window.stop / settings.window.sampling_frequency],
                "baseline": None if settings.baseline is None else settings.baseline.times[[0, -1]].tolist(),
                "haemodynamic": settings.haemodynamic,
                "sampling_frequency": settings.window.sampling_frequency,
                "test": group.method,
                "n_surrogates": settings.n_surrogates,
                "seed": settings.seed,
                "n_participants": len(participants),
                "trials": self._counts,
                "subjects_without_events": self.subjects_without_events,
                "pictures": pictures,
                "findings": found,
            },
        )
        return found

    def _findings_of_trials(self) -> list[str]:
        total = {name: sum(own.get(name, 0) for own in self._counts.values()) for name in _SENTENCES}
        n_events = total.pop("events")
        sentences = [words.format(n=total[name], of=n_events) for name, words in _SENTENCES.items() if total.get(name)]
        if self.subjects_without_events:
            named = shortened(self.subjects_without_events)
            sentences.append(f"Subjects without events of the column {self._column} were left out: {named}.")
        return sentences

    def _write_responses(self, group: GroupResponses, about: dict[str, Any]) -> None:
        of_one = "trials" if group.method != "sign flips over participants" else "participants"
        reference = "the mean over all observed samples" if self._settings.baseline is None else "the baseline"
        columns = [
            CONDITION,
            Column("time", "Time since the event", "s"),
            STATE,
            Column("mean", "Mean of the values" + ("" if self._settings.baseline is None else " less the baseline")),
            Column("standard_error", f"Standard error of the mean over {of_one}"),
            Column("n_trials", "Trials of all participants that were observed at this time"),
            Column("p", f"{P_TEXT}: {group.method}, against {reference}, corrected over times and states"),
        ]
        write_tidy(self._folder / "responses.tsv", columns, self._rows_of_responses(group), **about)

    def _rows_of_responses(self, group: GroupResponses) -> Iterator[list[Any]]:
        for condition, name in enumerate(self._settings.conditions):
            for time, seconds in enumerate(self._settings.window.times):
                for state in range(group.mean.shape[2]):
                    index = condition, time, state
                    numbers = [group.mean[index], group.standard_error[index]]
                    yield [name, seconds, state + 1, *numbers, int(group.n_trials[condition, time]), group.p[index]]

    def _write_locking(
        self, group: GroupResponses, participants: Sequence[ParticipantResponses], about: dict[str, Any]
    ) -> None:
        columns = [
            Column("participant", "Participant; all: the effects of all of them, by sign flips"),
            CONDITION,
            STATE,
            Column("effect", "Effect of a haemodynamic model, or the largest deviation of the mean response"),
            Column("time", "Time since the event of that deviation; n/a of a haemodynamic model", "s"),
            Column("t", "t of a haemodynamic model"),
            Column("p", f"{P_TEXT}; corrected over states, and over times where there are any"),
            Column("method", "How the effect and the surrogates of the test were made"),
        ]
        rows: list[list[Any]] = []
        for one in participants:
            for condition, own in sorted(one.locking.items()):
                for state, numbers in enumerate(zip(own.effect, own.time, own.t, own.p)):
                    rows.append(
                        [one.participant, self._settings.conditions[condition], state + 1, *numbers, own.method]
                    )
        if group.effects is not None and group.p_of_effects is not None:
            for condition, (effects, p) in enumerate(zip(group.effects, group.p_of_effects)):
                for state, (effect, own_p) in enumerate(zip(effects, p)):
                    name = self._settings.conditions[condition]
                    rows.append(["all", name, state + 1, effect, None, None, own_p, group.method])
        write_tidy(self._folder / "locking.tsv", columns, rows, **about)

    def _write_trials(self, about: dict[str, Any]) -> None:
        columns = [
            Column("subject", "Subject; rows of one are in the order of <subject>_trials.npy"),
            Column("participant", "Person"),
            Column("run", "Run"),
            Column("event", "Which of the subject's labelled events it is, from 0"),
            CONDITION,
            Column("row", "Stored row of the event"),
            Column("observed", "Share of the epoch's samples that were observed", "1"),
        ]
        write_tidy(self._folder / "trials.tsv", columns, self._trials, **about)

    def _write_arrays(self, group: GroupResponses, participants: Sequence[ParticipantResponses]) -> None:
        from dynml.files import replacing

        subjects = {name: own for one in participants for name, own in one.subject_means.items()}
        with replacing(self._folder / "responses.npz", durable=False) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                conditions=np.array(self._settings.conditions),
                times=self._settings.window.times,
                participants=np.array([one.participant for one in participants]),
                subjects=np.array(list(subjects)),
                mean=group.mean,
                standard_error=group.standard_error,
                n_trials=group.n_trials,
                p=group.p,
                participant_means=np.stack([one.mean for one in participants]),
                participant_trials=np.stack([one.n_trials for one in participants]),
                participant_references=np.stack([one.reference for one in participants]),
                subject_means=np.stack(list(subjects.values())),
            )

    def _draw(self, group: GroupResponses, n_participants: int) -> list[str]:
        from dynml.plotting.findings.responses import plot_responses
        from dynml.plotting.style import save_figure

        settings, pictures = self._settings, []
        occurring = np.flatnonzero(group.n_participants)
        errors = f"standard error over {'participants' if n_participants > 1 else 'trials'}"
        for page, first in enumerate(range(0, len(occurring), CONDITIONS_IN_A_PICTURE), start=1):
            chosen = occurring[first : first + CONDITIONS_IN_A_PICTURE]
            figure = plot_responses(
                settings.window.times,
                group.mean[chosen],
                group.standard_error[chosen],
                group.p[chosen],
                [settings.conditions[number] for number in chosen],
                level=LEVEL,
                state_names=[f"{settings.component.capitalize()} {n + 1}" for n in range(group.mean.shape[2])],
                y_label=_LABELS[settings.component] + ("" if settings.baseline is None else ", change"),
                error_label=errors,
                title=f"Responses to {self._column} ({_counted(n_participants)}, {self.n_epochs} trials)",
            )
            stem = "responses" if page == 1 else f"responses_{page}"
            for ending in ("png", "svg"):
                pictures.append(save_figure(figure, self._folder / f"{stem}.{ending}").name)
        return pictures


def _counted(n_participants: int) -> str:
    return f"{n_participants} participant{'s' if n_participants != 1 else ''}"


_LABELS = {
    "state": "Probability",
    "mode": "Mixing coefficient",
    "feature": "Hidden state",
    "channel": "Prediction error",
}
_SENTENCES = {
    "events": "",
    "cut": "{n} of {of} trials reach over a run's border or into a gap; what was observed of them counts.",
    "masked": "{n} of {of} trials have masked samples; the others of their samples count.",
    "left_out": "{n} of {of} trials were left out, since less than half of their window was observed.",
    "without_baseline": "{n} of {of} trials were left out, since nothing of their baseline was observed.",
    "unlabelled": "{n} events beside the {of} have no label, or none that was asked for.",
}
