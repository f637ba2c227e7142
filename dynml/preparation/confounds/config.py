"""Names and parameters of confound strategies, and their checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynml.configuration import check_at_least, check_choice, check_instance, check_positive, check_texts, nearest_name
from dynml.errors import ConfigurationError

STRATEGIES = ("motion", "wm_csf", "global_signal", "compcor", "high_pass", "scrub")
MODELS = {
    "basic": ("",),
    "derivatives": ("", "_derivative1"),
    "power2": ("", "_power2"),
    "full": ("", "_derivative1", "_power2", "_derivative1_power2"),
}
COMPCOR_MASKS: dict[str, dict[str, tuple[str, ...] | None]] = {
    "anat_combined": {"a": ("combined",)},
    "anat_separated": {"a": ("WM", "CSF"), "w": None, "c": None},
    "temporal": {"t": None},
    "temporal_anat_combined": {"t": None, "a": ("combined",)},
    "temporal_anat_separated": {"t": None, "a": ("WM", "CSF"), "w": None, "c": None},
}
"""For each kind, prefixes of columns and the masks of the components that count; None for all."""
DEFAULTS: dict[str, Any] = {
    "motion": "full",
    "wm_csf": "basic",
    "global_signal": "basic",
    "compcor": "anat_combined",
    "n_compcor": "all",
    "fd_threshold": 0.5,
    "std_dvars_threshold": 1.5,
    "scrub": 5,
}
"""As in nilearn: models of signals, kind and number of components, millimetres and standardized DVARS above which a
volume is censored, and volumes that a stretch between two censored ones needs."""


@dataclass(frozen=True, kw_only=True)
class CleaningConfig:
    """Keys of a group that say what is removed from each run together, after it was read."""

    confounds: str | None = None
    """Pattern of the confounds' .tsv files, one per run, as written by fMRIPrep; not needed for BIDS derivatives."""

    confounds_strategy: list[str] = dataclasses.field(default_factory=list)
    """Confounds to remove: motion, wm_csf, global_signal, compcor, high_pass, scrub, or names of columns."""

    confounds_parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of the strategies, named as in nilearn, such as {"motion": "basic", "fd_threshold": 0.2}."""

    high_pass: float | None = None
    """Hz; lower frequencies are removed together with the confounds."""

    low_pass: float | None = None
    """Hz; higher frequencies are removed together with the confounds."""

    def __post_init__(self) -> None:
        for key in ("high_pass", "low_pass"):
            check_positive(key, getattr(self, key), optional=True)
        if self.high_pass is not None and self.low_pass is not None and not self.high_pass < self.low_pass:
            raise ConfigurationError("high_pass", self.high_pass, f"below low_pass, {self.low_pass} Hz")
        check_instance("confounds", self.confounds, (str, type(None)), "a path")
        check_texts("confounds_strategy", self.confounds_strategy)
        check_instance("confounds_parameters", self.confounds_parameters, dict, "a mapping of names to values")
        check_strategy(self.confounds_strategy, self.confounds_parameters)
        if self.confounds is not None and not self.confounds_strategy:
            accepted = "a list such as ['motion', 'wm_csf', 'high_pass'] where 'confounds' is given"
            raise ConfigurationError("confounds_strategy", self.confounds_strategy, accepted)

    @property
    def cleans(self) -> bool:
        """Say whether confounds or frequencies are removed from each run after it was read."""
        return bool(self.confounds_strategy) or self.high_pass is not None or self.low_pass is not None


def with_defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Complete parameters by the defaults."""
    return {**DEFAULTS, **parameters}


def check_strategy(strategy: list[str], parameters: Mapping[str, Any]) -> None:
    """Refuse unknown parameters and those that no strategy uses.

    Raises
    ------
    ConfigurationError
        Names the key.
    """
    if "compcor" in strategy and "high_pass" not in strategy:
        accepted = "a list with 'high_pass' where 'compcor' is, for these components were found after that filter"
        raise ConfigurationError("confounds_strategy", strategy, accepted)
    users = {name: name for name in ("motion", "wm_csf", "global_signal", "compcor", "scrub")}
    users |= {"n_compcor": "compcor", "fd_threshold": "scrub", "std_dvars_threshold": "scrub"}
    for key, value in parameters.items():
        name = f"confounds_parameters.{key}"
        if key not in DEFAULTS:
            raise ConfigurationError(name, value, f"a known setting{nearest_name(key, DEFAULTS)}")
        if users[key] not in strategy:
            raise ConfigurationError(name, value, f"left out unless {users[key]!r} is in 'confounds_strategy'")
        if key in ("motion", "wm_csf", "global_signal"):
            check_choice(name, value, MODELS)
        elif key == "compcor":
            check_choice(name, value, COMPCOR_MASKS)
        elif key == "scrub":
            check_at_least(name, value, 0)
        elif key != "n_compcor":
            check_positive(name, value)
        elif value != "all":
            check_at_least(name, value, 1)
