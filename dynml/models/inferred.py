"""What a family's `infer` gives for each subject, whichever package the family is of."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import CheckpointError
from dynml.models.mne_raw import raw_of_alpha
from dynml.models.registry import Family, load
from dynml.models.stored_runs import StoredRun
from dynml.recording import Events


@dataclass(frozen=True, kw_only=True)
class InferredSubject:
    """One subject under a model. Rows align with the subject's stored samples: T of them, K states or modes."""

    subject: str
    alpha: NDArray[np.float32]
    """Probabilities of states, or mixing coefficients of modes, (T, K); NaN outside segments."""

    segments: NDArray[np.int64]
    """(n_segments, 2), [start, stop)."""

    log_likelihood: float
    """log p(x), or a bound on it, in nats: all observed samples together."""

    n_samples: int
    """Observed samples."""

    sampling_frequency: float
    """Hz."""

    observed: NDArray[np.bool_] | None = None
    """(T,): False for masked samples, and outside segments; None for a subject without masked samples."""

    states: NDArray[np.int64] | None = None
    """The most likely path of states, (T,), from 0; -1 outside segments; None where there is no such path."""

    transitions: NDArray[np.float64] | None = None
    """Expected transitions, (K, K): sums over time of the posterior of each pair of states, row = from; None for a
    family without them."""

    free_energy_at_mean: float | None = None
    """Nats per observed sample at the posterior's mean, for a family whose free energy is a bound by draws."""

    means: NDArray[np.float64] | None = None
    """Dual estimate, (K, C): the subject's own means given its alpha; None where there is none, or nobody asked."""

    covariances: NDArray[np.float64] | None = None
    """Dual estimate, (K, C, C)."""

    @property
    def free_energy(self) -> float:
        """-log_likelihood per observed sample, in nats."""
        return -self.log_likelihood / self.n_samples

    @property
    def observed_alpha(self) -> NDArray[np.float32]:
        """Alpha with NaN wherever nothing was observed, (T, K): outside segments and at masked samples."""
        if self.observed is None:
            return self.alpha
        return np.where(self.observed[:, None], self.alpha, np.float32(np.nan))

    def to_mne_raw(
        self,
        run: StoredRun | None = None,
        *,
        events: Events | None = None,
        component: str = "state",
        visits: bool = False,
    ) -> Any:
        """Make an object of MNE of alpha, of one run or of all rows.

        Parameters
        ----------
        run : StoredRun, optional
            Rows to take; `dynml.models.stored_runs.stored_runs` lists them. `first_samp` is the sample of the original
            recording (of a downsampled one: divided by the step) where the run begins. Default: all rows, from 0.
        events : Events, optional
            The subject's; each column of labels becomes a stimulus channel.
        component : str
            What channels are called: state-1, mode-1, ..
        visits : bool
            Also annotate the visits of the most likely path, or of the largest alpha where there is no path.

        Returns
        -------
        mne.io.RawArray
            Channels of the type misc; NaN, annotated as `BAD_unobserved`, where nothing was observed.

        Raises
        ------
        DynmlError
            When mne is not installed.
        """
        start, stop = (0, len(self.alpha)) if run is None else (run.start, run.stop)
        alpha = self.observed_alpha
        states = None
        if visits:
            path = np.nan_to_num(self.alpha, nan=-np.inf).argmax(axis=1) if self.states is None else self.states
            states = np.where(np.isfinite(alpha).all(axis=1), path, -1)[start:stop]
        return raw_of_alpha(
            alpha[start:stop],
            self.sampling_frequency,
            first_sample=0 if run is None else round(run.first_source_sample / run.source_step),
            events=events,
            first_row=start,
            visits_of=states,
            segments=self.segments - start,
            component=component,
        )


@runtime_checkable
class ModelWithArrays(Protocol):
    """A model whose parameters are worth a file each; `covariances` and `transition_probabilities` are drawn, too."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Name to array, as they are saved beside inferred subjects."""
        ...


def inferred_subjects(
    family: Family, model: Any, subset: MultiSubjectSubset, **options: bool
) -> Iterator[InferredSubject]:
    """Go through the subjects of a subset by the family's `infer`.

    Parameters
    ----------
    family : Family
        One that can be inferred from.
    model : torch.nn.Module
    subset : MultiSubjectSubset
    **options : bool
        `dual_estimation`, if it is asked for or declined. Of what is declined a family need not know.

    Raises
    ------
    CheckpointError
        When what `infer` gives is no `InferredSubject`, nor has its fields, or when it does not know what is asked for.
    """
    assert family.inference is not None, family.name
    infer = load(family.inference)
    known = inspect.signature(infer).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    given = {name: value for name, value in options.items() if takes_any or name in known}
    for name in options.keys() - given.keys():
        if options[name]:
            raise CheckpointError(f"The family {family.name} has no {name}.")
    for result in infer(model, subset, **given):
        yield result if isinstance(result, InferredSubject) else _with_fields_of(result, family)


def _with_fields_of(result: Any, family: Family) -> InferredSubject:
    """Read the fields of an object of another type."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(InferredSubject):
        if not hasattr(result, field.name) and field.default is dataclasses.MISSING:
            raise CheckpointError(
                f"The inference of the family {family.name} gives a {type(result).__name__} without {field.name!r}; "
                "dynml.models.inferred.InferredSubject has the fields that are needed."
            )
        found[field.name] = getattr(result, field.name, field.default)
    return InferredSubject(**found)
