"""The step `sign_alignment`: one sign per channel and subject, so that all subjects correlate like one of them.

Source reconstruction leaves the sign of each parcel open. Correlations between parcels then differ in sign from
subject to subject, and a model of all of them averages them away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, nearest_name
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Fit, Layout
from dynml.preparation.fitted.fitted_step import FittedStep, Statistics
from dynml.preparation.fitted.lagged_products import lagged_products
from dynml.preparation.fitted.sign_search import SignAgreement, best_signs, pair_entries, pair_weights
from dynml.preparation.standardization import moments_of_segments
from dynml.recording import Recording

CORRELATIONS, TEMPLATE = "lagged_correlations", "template"
FEWEST_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class SignAlignment(FittedStep):
    """Flip channels of each subject so that its lagged correlations are like those of a template subject.

    Notes
    -----
    Compared are the correlations of each pair of channels at lags up to n - 1 samples either way, each weighted as
    often as it stands in the covariance of an embedding of n samples, by Pearson's correlation; see `sign_search`. The
    template is the training subject whose likeness to all others, signs left aside, is the median one. The sign of a
    subject as a whole stays open: products of two channels do not know it.
    """

    name: ClassVar[str] = "sign_alignment"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")
    settings_of_fit: ClassVar[tuple[str, ...]] = ("fit", "template")

    n_embeddings: int
    """Covariances at lags below this number are compared; 1 for correlations at the same time only."""
    n_starts: int = 10
    """Number of random starts of the search, beside two fixed ones."""
    template: str | None = None
    """Training subject to use as template; by default it is chosen."""

    def __post_init__(self) -> None:
        for key in ("n_embeddings", "n_starts"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigurationError(key, value, "a whole number")
        check_at_least("n_embeddings", self.n_embeddings, 1)
        check_at_least("n_starts", self.n_starts, 0)
        if not isinstance(self.template, (str, type(None))):
            raise ConfigurationError("template", self.template, "the name of a training subject")

    @property
    def depends_on_rate(self) -> bool:
        """Lags are counted in samples."""
        return self.n_embeddings > 1

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse fewer channels than tell signs apart."""
        self.check_layout(layout)
        if len(layout.channel_names) < FEWEST_CHANNELS:
            raise DataError(
                f"the step {self.name!r} needs at least {FEWEST_CHANNELS} channels, and meets "
                f"{len(layout.channel_names)}."
            )
        return layout

    def shortest_segment(self, sampling_frequency: float) -> int:
        """As many samples as lags and one more."""
        return self.n_embeddings + 1

    def statistics(self, recording: Recording) -> Statistics:
        """Lagged correlations of one subject, (n, C, C)."""
        return {CORRELATIONS: lagged_correlations(recording, self.n_embeddings)}

    def fitted(self, layout: Layout, statistics: Iterable[tuple[str, Statistics]]) -> Fit:
        """Choose the template."""
        correlations = {subject: one[CORRELATIONS] for subject, one in statistics}
        subjects = tuple(correlations)
        if self.template is not None and self.template not in subjects:
            near = nearest_name(self.template, subjects)
            raise DataError(
                f"the step {self.name!r} has template {self.template!r}, which is not a training subject{near}."
            )
        chosen = self.template if self.template is not None else _median_subject(correlations)
        template = correlations[chosen]
        if np.ptp(pair_entries(template)) == 0:
            raise DataError(f"the step {self.name!r} cannot take {chosen} as template: all its correlations are equal.")
        return Fit(layout=layout, subjects=subjects, arrays={TEMPLATE: template}, values={"template_subject": chosen})

    def __call__(self, recording: Recording) -> Recording:
        """Find the subject's signs and apply them to all its runs."""
        correlations = lagged_correlations(recording, self.n_embeddings)
        agreement = SignAgreement.of(correlations, self.learnt.arrays[TEMPLATE])
        signs, after = best_signs(agreement, self.n_starts)
        flipped = dataclasses.replace(recording, signals=recording.signals * signs.astype(recording.signals.dtype))
        names = [name for name, sign in zip(recording.channel_names, signs) if sign < 0]
        before = agreement.of_signs(np.ones(len(signs)))
        found = {"flipped": names, "correlation_before": before, "correlation_after": after}
        return self.noted(flipped, template_subject=self.learnt.values.get("template_subject"), **found)


def lagged_correlations(recording: Recording, n_lags: int) -> NDArray[np.float64]:
    """Correlations of channel p with channel q some samples later, (n, C, C), over all segments.

    Each run is taken about its mean; products never reach across a segment's border.
    """
    products = np.zeros((n_lags, recording.n_channels, recording.n_channels))
    counts = np.zeros(n_lags)
    for run in range(len(recording.run_names)):
        segments = recording.segments_of_run(run)
        mean, _ = moments_of_segments(recording.signals, segments)
        for start, stop in segments.tolist():
            products += lagged_products(recording.signals[start:stop], n_lags, mean)
            counts += stop - start - np.arange(n_lags)
    covariances = products / counts[:, None, None]
    deviations = np.sqrt(np.diagonal(covariances[0]))
    if not (deviations > 0).all():
        constant = recording.channel_names[int(np.argmin(deviations))]
        raise DataError(f"channel {constant} is constant, so that it correlates with nothing.")
    correlations: NDArray[np.float64] = covariances / np.outer(deviations, deviations)
    return correlations


def _median_subject(correlations: dict[str, NDArray[np.float64]]) -> str:
    """Subject of median likeness to the others: the sum of its correlations with them, signs left aside."""
    n_lags = len(next(iter(correlations.values())))
    roots = np.sqrt(pair_weights(n_lags))[:, None]
    standard = []
    for one in correlations.values():
        entries = np.abs(pair_entries(one))
        weights = np.broadcast_to(roots**2, entries.shape)
        scores = roots * (entries - np.average(entries, weights=weights))
        standard.append((scores / max(float(np.linalg.norm(scores)), np.finfo(np.float64).tiny)).ravel())
    # Each score's product with the sum of all counts its own 1 as well, which changes no order.
    likeness = np.stack(standard) @ np.sum(standard, axis=0)
    order = np.argsort(likeness, kind="stable")
    return list(correlations)[int(order[len(order) // 2])]
