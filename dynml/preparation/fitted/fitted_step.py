"""What fitted steps share: one subject's statistics, the fit that is made of many, and how it is applied."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.fits import Fit, Layout
from dynml.preparation.step import PreparationStep
from dynml.recording import Recording

Statistics = dict[str, NDArray[Any]]
"""What a step must know of one subject, by name; small beside the subject's signals."""


@dataclass(frozen=True, kw_only=True)
class FittedStep(PreparationStep):
    """A step that is applied after `fit` was set by `dataclasses.replace`."""

    settings_of_fit: ClassVar[tuple[str, ...]] = ("fit",)
    """Fields that say how the fit came about, rather than how it is applied."""

    fit: Fit | None = field(default=None, repr=False, compare=False)
    """None before the training subjects were seen; no parameter of a config."""

    @property
    def depends_on_rate(self) -> bool:
        """Whether samples of another rate are something else to the step."""
        return True

    @property
    def learnt(self) -> Fit:
        """The fit, which is there whenever the step is applied."""
        assert self.fit is not None, f"{self.name} is applied before it is fitted"
        return self.fit

    def statistics(self, recording: Recording) -> Statistics:
        """Sum up one subject's signals, in float64."""
        raise NotImplementedError

    def fitted(self, layout: Layout, statistics: Iterable[tuple[str, Statistics]]) -> Fit:
        """Learn from all training subjects, in their order, one at a time.

        Raises
        ------
        DataError
            Without the group, which the caller adds.
        """
        raise NotImplementedError

    def check_layout(self, layout: Layout) -> None:
        """Refuse channels or a rate that the fit has not been made for."""
        if self.fit is None:
            return
        expected = self.fit.layout
        if layout.channel_names != expected.channel_names:
            found = f"{len(layout.channel_names)} channels ({layout.channel_names[0]}, ..)"
            wanted = f"{len(expected.channel_names)} ({expected.channel_names[0]}, ..)"
            odd = sorted(set(layout.channel_names) ^ set(expected.channel_names))
            difference = f"; {odd[0]!r} is in one of them only" if odd else "; their order differs"
            raise DataError(f"the step {self.name!r} was fitted to {wanted} and meets {found}{difference}.")
        if self.depends_on_rate and not np.isclose(layout.sampling_frequency, expected.sampling_frequency, rtol=1e-6):
            raise DataError(
                f"the step {self.name!r} was fitted at {expected.sampling_frequency:g} Hz and meets "
                f"{layout.sampling_frequency:g} Hz."
            )

    def parameters(self) -> dict[str, Any]:
        """What a config says of the step."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "fit"}

    def noted(self, recording: Recording, **found: Any) -> Recording:
        """Append the step, with the number of subjects that it was fitted to."""
        return super().noted(recording, **found, n_subjects_fitted=len(self.learnt.subjects))
