"""What a family's `infer` gives for each subject, whichever package the family is of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import CheckpointError
from dynml.models.registry import Family, load


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
        `dual_estimation`, if it is asked for or declined.

    Raises
    ------
    CheckpointError
        When what `infer` gives is no `InferredSubject`, nor has its fields.
    """
    assert family.inference is not None, family.name
    for result in load(family.inference)(model, subset, **options):
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
