"""What can be wrong with trials, said in one sentence before a run begins."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import ConfigurationError, DataError, DataWarning

if TYPE_CHECKING:
    from dynml.dataset.subset import MultiSubjectSubset
    from dynml.dataset.trials import TrialTable


def check_trials_are_named(config: BatchSamplerConfig) -> None:
    """Refuse settings of trials without a column that labels them.

    Raises
    ------
    ConfigurationError
        Names the setting.
    """
    if config.trials is not None:
        return
    if config.strategy == "trials":
        raise ConfigurationError("sampler.trials", None, "a column of the events where the strategy is trials")
    for name in ("onset_shift", "trial_length"):
        if getattr(config, name):
            accepted = "absent unless sampler.trials names a column"
            raise ConfigurationError(f"sampler.{name}", getattr(config, name), accepted)


def check_has_trials(trials: TrialTable, subset: MultiSubjectSubset, config: BatchSamplerConfig) -> None:
    """Refuse a training subset of whose events none makes a trial.

    Raises
    ------
    DataError
        Says why.
    """
    if not trials.n_events:
        raise DataError(f"The training subset has no event with a label in the column {trials.column!r}.")
    if not len(trials):
        length = "as long as its event" if config.trial_length is None else f"of {config.trial_length} samples"
        shift = f" from {config.onset_shift:g} s after its onset" if config.onset_shift else ""
        longest = int(subset.segments.lengths.max(initial=0))
        raise DataError(
            f"The training subset has no trials: of its {trials.n_events} events with a label in the column "
            f"{trials.column!r}, none has half of its samples in one good segment and an observed sample, where a "
            f"trial is {length}{shift} (sampler.trial_length, sampler.onset_shift) and the longest segment has "
            f"{longest} samples."
        )


def check_training_trials(trials: TrialTable, subset: MultiSubjectSubset, config: BatchSamplerConfig) -> None:
    """Refuse a training subset without trials, or one of which a process would get none.

    Raises
    ------
    DataError
        Says what was found instead.
    """
    check_has_trials(trials, subset, config)
    n_processes = int(subset.owner.max()) + 1
    for rank in range(n_processes):
        if rank not in subset.owner[trials.subject]:
            raise DataError(
                f"Process {rank} of {n_processes} would have no training trials, because its subjects have none in the "
                f"column {trials.column!r}: start fewer processes."
            )


def warn_of_lost_trials(trials: TrialTable, subset: MultiSubjectSubset, context: str) -> None:
    """Tell the user in one sentence which trials were left out or cut, and who has none.

    Warns
    -----
    DataWarning
        With counts.
    """
    n_without, n_events = len(trials.subjects_without_events), trials.n_events
    left_out = "have less than half of their samples in one good segment and are left out"
    counted = [
        (trials.n_left_out, f"of {n_events} {context} trials {left_out}"),
        (trials.n_unobserved, f"of {n_events} {context} trials have masked samples only and are left out"),
        (trials.n_cut, f"of {n_events} {context} trials reach beyond their segment and are cut there"),
        (
            int(trials.is_instant.sum()),
            f"of {n_events} {context} trials are of one sample, since their events have no duration; a trial_length "
            "makes them longer",
        ),
        (n_without, f"of {subset.n_subjects} {context} subjects have no events with a column {trials.column!r}"),
    ]
    parts = [f"{count} {what}" for count, what in counted if count]
    if subset.n_subjects and not len(trials):
        parts.append(f"the {context} subset has no trials")
    if parts:
        warnings.warn(f"{'; '.join(parts)}.", DataWarning, stacklevel=5)
