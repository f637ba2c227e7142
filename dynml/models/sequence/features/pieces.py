"""Recordings cut into what a trained sequence model or decoder reads: windows laid end to end, or trials.

They are cut as they were in the training of the model, unless something else is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.batches.trial_checks import warn_of_lost_trials
from dynml.batches.window_cutting import cut_windows
from dynml.configuration import check_at_least, config_from
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.spans import SegmentTable
from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import ConfigurationError
from dynml.models.sequence.decoding.config import LINEAR
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import NO_CLASS, Target, Trials, windows_of_subset
from dynml.models.sequence.inference import window_length_of
from dynml.models.sequence.observed_samples import with_observed
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.settling import check_windows, sampling_frequencies, settled_model

if TYPE_CHECKING:
    from dynml.models.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How recordings are cut: into windows laid end to end, or into trials."""

    window_length: int | None = None
    """Samples of a window; the last of a segment may be shorter."""

    trials: str | None = None
    """Label column of the events that mark trials."""

    onset_shift: float | None = None
    """Seconds from the onset of an event to that of its trial."""

    trial_length: int | None = None
    """Samples of a trial; None: the event's duration."""

    covariate: str | None = None
    """What labels the windows of a decoder of whole recordings, which are cut as in its training."""

    def __post_init__(self) -> None:
        check_at_least("--window_length", self.window_length, 1, optional=True)
        check_at_least("--trial_length", self.trial_length, 1, optional=True)
        if self.onset_shift is not None and not math.isfinite(self.onset_shift):
            raise ConfigurationError("--onset_shift", self.onset_shift, "a finite number of seconds")
        if self.window_length is not None:
            for name in ("trials", "onset_shift", "trial_length"):
                if getattr(self, name) is not None:
                    accepted = "absent where --window_length cuts recordings into windows"
                    raise ConfigurationError(f"--{name}", getattr(self, name), accepted)

    @property
    def of_trials(self) -> bool:
        """Whether trials are cut, not windows."""
        return self.trials is not None

    @property
    def length_key(self) -> str:
        """Argument that changes how long the pieces are."""
        return "--trial_length" if self.of_trials else "--window_length"


def settled_cut(experiment: Experiment, dataset: MultiSubjectDataset, asked: Cut, subsets: Sequence[str]) -> Cut:
    """Fill in what was not asked for by how the model was trained.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    asked : Cut
        As the user gave it. Without a length of windows and a column of trials: what the training had. Without delay
        or length of trials: those of the training, if it had trials.
    subsets : sequence of str
        Subsets that are to be cut.

    Raises
    ------
    ConfigurationError
        When settings of trials are given, but there are no trials.
    """
    if asked.window_length is not None:
        return asked
    sampler = experiment.parameters.get("sampler") or {}
    trained = sampler if sampler.get("trials") else {}
    column = asked.trials or trained.get("trials")
    if column is not None:
        shift = trained.get("onset_shift", 0.0) if asked.onset_shift is None else asked.onset_shift
        return Cut(trials=column, onset_shift=shift, trial_length=asked.trial_length or trained.get("trial_length"))
    for name in ("onset_shift", "trial_length"):
        if getattr(asked, name) is not None:
            raise ConfigurationError(f"--{name}", getattr(asked, name), "absent unless --trials names a column")
    if isinstance(experiment.model, Decoding):
        return Cut(covariate=experiment.model.config.target)
    return Cut(window_length=window_length_of(experiment.parameters, dataset, subsets))


def pieces_of_subset(experiment: Experiment, dataset: MultiSubjectDataset, name: str, cut: Cut) -> Trials:
    """Windows or trials of a subset, in stored order; those that are masked altogether are left out.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    name : str
        training, validation or testing.
    cut : Cut
        Settled.

    Returns
    -------
    Trials
        `truth` is -1 where there is no label. `number` counts windows within the subject, trials within the run.

    Raises
    ------
    DataError
        When no subject has the column of trials, with the nearest one.

    Warns
    -----
    DataWarning
        When trials were cut or left out at the borders of segments.
    """
    subset = dataset.subset(name)
    if cut.trials is not None:
        table = subset.trials(cut.trials, cut.onset_shift or 0.0, cut.trial_length)
        warn_of_lost_trials(table, subset, name)
        return Trials(subset, table.spans, table.label, table.label_names, table.run.tolist(), table.number)
    names: tuple[str, ...] = ()
    if cut.window_length is not None:
        spans = with_observed(subset, cut_windows(subset.segments, cut.window_length, cut.window_length, 0, 1))
        truth = np.full(len(spans), NO_CLASS, dtype=np.int64)
    else:
        assert cut.covariate is not None
        sampler = config_from(BatchSamplerConfig, experiment.parameters["sampler"], "sampler", experiment.parameters)
        spans = windows_of_subset(subset, sampler)
        spans = with_observed(subset, spans)
        target = Target.of(dataset, cut.covariate)
        truth, names = target.label_of_subjects(subset)[spans.subject], target.label_names
    number = np.arange(len(spans)) - np.searchsorted(spans.subject, spans.subject)
    return Trials(subset, spans, truth, names, _runs(dataset, subset, spans), number)


def check_length(model: SequenceModel | Decoding, dataset: MultiSubjectDataset, longest: int, key: str) -> None:
    """Refuse pieces that a model cannot read, for they are longer than its positions, its times or its weights reach.

    Parameters
    ----------
    model : SequenceModel or Decoding
    dataset : MultiSubjectDataset
    longest : int
        Samples.
    key : str
        Argument that sets them, for the sentence.

    Raises
    ------
    ConfigurationError
        With what is accepted.
    """
    config = model.config
    if isinstance(model, Decoding):
        if config.backbone == LINEAR:
            if longest > (config.trial_length or 0):
                accepted = f"at most {config.trial_length}, the samples that the linear decoder has weights for"
                raise ConfigurationError(key, longest, accepted)
            return
        if config.is_published:
            return
        config = config.backbone_config()
    try:
        check_windows(settled_model(config, dataset), longest, min(sampling_frequencies(dataset)))
    except ConfigurationError as error:
        mended = key if error.key == "sampler.window_length" else error.key
        raise ConfigurationError(mended, error.found, error.accepted) from error


def trained_length(experiment: Experiment) -> int | None:
    """Samples of the longest window or trial of the training; None: not known, as for imported weights."""
    if isinstance(experiment.model, Decoding):
        return experiment.model.config.trial_length
    length = (experiment.parameters.get("sampler") or {}).get("window_length")
    return max(length) if isinstance(length, list) else length


def _runs(dataset: MultiSubjectDataset, subset: MultiSubjectSubset, spans: SegmentTable) -> list[str]:
    """Name of each stretch's run."""
    source, group = dataset.signal_source, dataset.group
    names = []
    for index, subject in enumerate(subset.subjects):
        runs, known = source.source_samples(subject, group)[:, 1], source.run_names(subject, group)
        names += [known[run] for run in runs[spans.segment[spans.subject == index]].tolist()]
    return names
