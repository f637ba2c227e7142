"""Values over time of every subject with its events, as responses are made of: alpha, hidden states, or errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dynml.errors import CheckpointError, ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dynml.analysis.responses.series import SubjectSeries
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.dataset.subset import MultiSubjectSubset
    from dynml.models.experiment import Experiment


def kind_of_values(experiment: Experiment, asked: str) -> str:
    """Settle what the values are: alpha, where the family gives one, or features; predictions where they are asked for.

    Raises
    ------
    CheckpointError
        When the family has not what was asked for.
    """
    has_alpha = experiment.family.inference is not None
    of = asked if asked != "auto" else "alpha" if has_alpha else "features"
    if of == "alpha" and not has_alpha:
        raise CheckpointError(f"The family {experiment.family.name} gives no states or modes over time.")
    if of == "features":
        from dynml.models.sequence.features.extraction import model_of_states, model_with_embeddings

        model = model_with_embeddings(experiment)
        try:
            model_of_states(model)
        except ConfigurationError:
            raise CheckpointError(
                f"A decoder with the backbone {model.config.backbone} has one vector and one prediction per trial, and "
                "nothing of each sample, so that there is nothing around its events; predictions.tsv of "
                "dynml_infer_from_model.py has the predictions of all trials."
            ) from None
    if of == "predictions":
        from dynml.models.sequence.features.prediction_errors import model_of_predictions

        model_of_predictions(experiment)
    return of


def subject_series(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    names: Sequence[str],
    of: str,
    column: str,
    conditions: tuple[str, ...],
    *,
    pooled: bool = False,
) -> Iterator[tuple[str, str, SubjectSeries | None]]:
    """Give (subject, participant, series) of the subjects of some subsets; None for one without such events.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    names : sequence of str
        Subsets.
    of : {"alpha", "features", "predictions"}
    column : str
        Of the events' labels.
    conditions : tuple of str
    pooled : bool
        Take the events of all conditions for events of one.

    Raises
    ------
    CheckpointError
        When the family has no such values.
    """
    import numpy as np

    from dynml.analysis.responses.series import Onsets, SubjectSeries, valid_rows
    from dynml.models.stored_runs import stored_runs

    values_of = {"alpha": _alpha, "features": _features, "predictions": _errors}[of](experiment, dataset, names)
    for subset, index, values, segments, observed in values_of:
        subject, participant = subset.subjects[index], subset.participants[index]
        events = dataset.signal_source.events(subject, dataset.group)
        if events is None or column not in events.labels:
            yield subject, participant, None
            continue
        onsets = Onsets.of(events, column, conditions, pooled=pooled)
        if not len(onsets):
            yield subject, participant, None
            continue
        valid, masked = valid_rows(segments, len(values), observed)
        runs = stored_runs(dataset.signal_source, dataset.group, subject)
        yield (
            subject,
            participant,
            SubjectSeries(
                subject=subject,
                participant=participant,
                values=values,
                valid=valid,
                masked=masked,
                runs=np.array([[run.start, run.stop] for run in runs]),
                run_names=tuple(run.name for run in runs),
                onsets=onsets,
                sampling_frequency=float(subset.sampling_frequencies[index]),
            ),
        )


Values = tuple["MultiSubjectSubset", int, "NDArray[Any]", "NDArray[Any]", "NDArray[Any] | None"]


def _alpha(experiment: Experiment, dataset: MultiSubjectDataset, names: Sequence[str]) -> Iterator[Values]:
    from dynml.models.inferred import inferred_subjects

    for name in names:
        subset = dataset.subset(name)
        for index, result in enumerate(inferred_subjects(experiment.family, experiment.model, subset)):
            yield subset, index, result.alpha, result.segments, result.observed


def _features(experiment: Experiment, dataset: MultiSubjectDataset, names: Sequence[str]) -> Iterator[Values]:
    from dynml.models.sequence.features.extraction import model_of_states, model_with_embeddings, states_of_subject
    from dynml.models.sequence.inference import window_length_of

    model = model_of_states(model_with_embeddings(experiment))
    length = window_length_of(experiment.parameters, dataset, names)
    for subset, index, segments in _subjects(dataset, names):
        yield subset, index, states_of_subject(model, subset, index, length), segments, subset.observed(index)


def _errors(experiment: Experiment, dataset: MultiSubjectDataset, names: Sequence[str]) -> Iterator[Values]:
    import numpy as np

    from dynml.models.sequence.features.prediction_errors import errors_of_subject, model_of_predictions
    from dynml.models.sequence.inference import window_length_of

    model, length = model_of_predictions(experiment), window_length_of(experiment.parameters, dataset, names)
    for subset, index, segments in _subjects(dataset, names):
        errors = errors_of_subject(model, subset, index, length)
        is_known = np.asarray(np.isfinite(errors).all(axis=1))
        # Nothing was there to predict a segment's first sample from: it lies outside, and was not masked.
        segments[:, 0] = [
            start + (is_known[start:stop].argmax() if is_known[start:stop].any() else 0) for start, stop in segments
        ]
        yield subset, index, errors, segments, is_known


def _subjects(
    dataset: MultiSubjectDataset, names: Sequence[str]
) -> Iterator[tuple[MultiSubjectSubset, int, NDArray[Any]]]:
    """Subset, index and segments (n, 2) of each subject."""
    import numpy as np

    for name in names:
        subset = dataset.subset(name)
        for index in range(subset.n_subjects):
            own = subset.segments.of_subject(index)
            yield subset, index, np.stack([own.start, own.stop], axis=1)
