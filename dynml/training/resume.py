"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dynml.errors import ResumeRefusedError
from dynml.files import strict_json

SECTIONS_THAT_STAY = ("family", "model", "initialization", "trainer", "sampler", "loader", "dataset")
"""Sections of parameters.json that are compared."""

FREE = {
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.patience",
    "trainer.patience_delta",
    "trainer.device",
    "trainer.max_time",
    "trainer.save_every",
    "trainer.saving_share",
    "trainer.progress",
    "trainer.profile",
    "trainer.other_preparation",
    "trainer.non_finite",
    "trainer.compile",
    "trainer.non_finite_check_every",
    "trainer.tolerance",
    "loader.n_workers",
    "loader.residency",
    "dataset.hdf5_file",
    "dataset.residency",
    "dataset.residency_reason",
    "dataset.device",
}
"""Settings that may differ freely: they change no number of the run, or only when it ends."""

EXPLICIT = {
    "trainer.learning_rate",
    "trainer.weight_decay",
    "trainer.clip_gradient",
    "sampler.batch_size_training",
    "sampler.batch_size_validation",
}
"""Settings that may differ when the user says so (`--new_*`)."""


WHOSE = {"participants", "sources"}
FOLLOWING_FROM_DATA = ("dataset.preparation", "dataset.scale")


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ between two parameter files, as (dotted name, old value, new value)."""
    for section in SECTIONS_THAT_STAY:
        before, after = (_flat(section, strict_json(source.get(section))) for source in (old, new))
        for key in sorted(before.keys() | after.keys()):
            # Whose data they are is part of their fingerprint, which is compared.
            if key.startswith("dataset.subsets.") and WHOSE.intersection(key.split(".")):
                continue
            # So is what was done to them, which older runs have not noted.
            if key.startswith(FOLLOWING_FROM_DATA):
                continue
            if before.get(key) != after.get(key):
                yield key, before.get(key), after.get(key)


def check_resumable(old: dict[str, Any], new: dict[str, Any], *, force: bool = False) -> list[str]:
    """Refuse to go on with another model, other data, another seed or other windows.

    Parameters
    ----------
    old, new : dict
        Contents of parameters.json: of the checkpoint, and of the run that is to go on.
    force : bool
        Go on all the same; the changes are still returned.

    Returns
    -------
    list of str
        One line for each explicit (or forced) change, for the run's history.

    Raises
    ------
    ResumeRefusedError
        With every difference that is not allowed.
    """
    changes, refused = [], []
    for key, before, after in differences(old, new):
        if key in FREE:
            continue
        line = f"{key}: {before!r} -> {after!r}"
        changes.append(line)
        if key not in EXPLICIT:
            refused.append(line)
    if refused and not force:
        raise ResumeRefusedError(
            f"The run cannot go on because it was started with other settings: {'; '.join(refused)}."
        )
    return changes


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(f"{prefix}.{key}", item)
    return flat
