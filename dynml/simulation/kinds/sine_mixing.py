"""Settings of soft mixtures, and mixing coefficients that are the softmax of sinusoids.

Shapes: T samples, J modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_choice
from dynml.errors import ConfigurationError
from dynml.simulation.kinds.gaussian_config import GaussianSimulationConfig

SEEDINGS = ("dynml", "osl", "osl_legacy")
SOFT_MIXTURE = {
    "relative_activation": (1.0, 0.5, 0.5, 0.25, 0.25, 0.1),
    "amplitudes": (6.0, 5.0, 4.0, 3.0, 2.0, 1.0),
    "frequencies": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
}
"""The soft mixture of six modes that DyNeMo is usually shown on."""


@dataclass(frozen=True, kw_only=True)
class MixedSineSimulationConfig(GaussianSimulationConfig):
    """A soft mixture of Gaussian modes, whose mixing coefficients are the softmax of sinusoids.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_modes: int = 6
    """Number of modes J."""

    relative_activation: list[float] | None = None
    """J numbers, the mean of each mode's logit. null: 1, 0.5, 0.5, 0.25, 0.25, 0.1 for six modes, interpolated for
    other numbers of modes."""

    amplitudes: list[float] | None = None
    """J numbers, the amplitude of each mode's sinusoid. null: 6, 5, 4, 3, 2, 1, or interpolated."""

    frequencies: list[float] | None = None
    """J numbers, the frequency of each mode's sinusoid in Hz. null: 1, 2, 3, 4, 6, 8, or interpolated."""

    seeding: Literal["dynml", "osl", "osl_legacy"] = "dynml"
    """Random numbers of a seed: "dynml" (one generator), "osl_legacy" (those of osl-dynamics up to 1.3.0 with
    random_seed), or "osl" (those of later versions after numpy.random.seed). The last two are for one subject."""

    @property
    def n_gaussians(self) -> int:
        """Modes J."""
        return self.n_modes

    def _check_kind(self) -> None:
        check_at_least("n_modes", self.n_modes, 1)
        for key, numbers in SOFT_MIXTURE.items():
            if getattr(self, key) is None:
                positions = np.linspace(0, len(numbers) - 1, self.n_modes)
                object.__setattr__(self, key, np.interp(positions, np.arange(len(numbers)), numbers).tolist())
            self._check_numbers(key, (self.n_modes,), ())
        check_choice("seeding", self.seeding, SEEDINGS)
        if self.seeding != "dynml":
            self._check_settings_of_another_seeding()

    def _check_settings_of_another_seeding(self) -> None:
        for key, only in (("n_subjects", 1), ("n_samples_range", None), ("covariance_variability", 0.0)):
            if getattr(self, key) != only:
                accepted = f"left out under seeding {self.seeding!r}, which draws one recording"
                raise ConfigurationError(key, getattr(self, key), accepted)


def sinusoidal_logits(
    config: MixedSineSimulationConfig, times: NDArray[np.float64], phases: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Sinusoid (T, J) of each mode at times (T,) in seconds, around the mode's relative activation."""
    activation, amplitudes, frequencies = map(
        np.asarray, (config.relative_activation, config.amplitudes, config.frequencies)
    )
    logits = activation + amplitudes * np.sin(2 * np.pi * frequencies * times[:, None] + phases)
    return np.asarray(logits, dtype=np.float32)


def softmax_of(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
