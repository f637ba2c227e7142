"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dynml.errors import ConfigurationError, ResumeRefusedError
from dynml.files import strict_json
from dynml.training.progress import Progress

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

OF_NO_CONSEQUENCE = {
    "trainer.device",
    "trainer.max_time",
    "trainer.progress",
    "trainer.save_every",
    "trainer.saving_share",
    "loader.n_workers",
    "loader.residency",
}
"""Settings that a run with nothing left to train need not mention."""

WHOSE = {"participants", "sources"}
FINGERPRINT, SETTINGS_OF_DATA = "fingerprint", "dataset.config."
FOLLOWING_FROM_DATA = ("dataset.preparation", "dataset.scale")


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ between two parameter files, as (dotted name, old value, new value)."""
    for section in SECTIONS_THAT_STAY:
        before, after = (_flat(section, strict_json(parameters.get(section))) for parameters in (old, new))
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
        raise ResumeRefusedError(_refusal(refused, new))
    return changes


def _refusal(refused: list[str], new: dict[str, Any]) -> str:
    """Say that data have changed where their fingerprints, which are no settings, do."""
    if any(line.startswith(SETTINGS_OF_DATA) for line in refused):
        # Everything else of the dataset, its fingerprint included, may follow from these.
        refused = [line for line in refused if line.startswith(SETTINGS_OF_DATA) or not line.startswith("dataset.")]
        refused = [line.replace(SETTINGS_OF_DATA, "dataset.", 1) for line in refused]
    of_data = [line.partition(":")[0] for line in refused if FINGERPRINT in line.partition(":")[0]]
    settings = [line for line in refused if line.partition(":")[0] not in of_data]
    settings = [line for line in settings if not (of_data and _of_members(line))]
    reasons = []
    if of_data:
        where = (new.get("dataset") or {}).get("hdf5_file")
        numbers = [line for line in refused if _of_members(line) and line.partition(":")[0].endswith("n_subjects")]
        reasons.append(
            f"the data{f' in {where}' if where else ''} are not those that it began with "
            f"({', '.join([*of_data, *numbers])})"
        )
    if settings:
        reasons.append(f"it was started with other settings: {'; '.join(settings)}")
    return f"The run cannot go on because {', and '.join(reasons)}."


def _of_members(line: str) -> bool:
    """Whether a difference is one of who is in the subsets, and of how much they hold."""
    return line.startswith("dataset.subsets.")


def applied_changes(changes: list[str]) -> list[str]:
    """Say which settings a run goes on with that it was not started with."""
    return [f"The run goes on with other settings from here: {'; '.join(changes)}."] if changes else []


def ignored_by_finished_run(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say which settings have no part in a run that has nothing left to train."""
    ignored = [
        f"{key}: {before!r} -> {after!r}"
        for key, before, after in differences(old, new)
        if key.split(".")[0] in ("trainer", "sampler", "loader") and key not in OF_NO_CONSEQUENCE
    ]
    return [f"The run is finished, so these settings are not used: {'; '.join(ignored)}."] if ignored else []


def ignored_reports(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say where a run was reported to before and is not any more, and that its start was another one, if so."""
    sentences = []
    if "comet" in new and _asked(old) and not _asked(new) and new["comet"]["mode"] != "off":
        project = old["comet"]["project"]
        sentences.append(
            f"The run was reported to comet.ml before and is not any more: --comet.project {project} goes on with it, "
            "--comet.mode off says that it is over."
        )
    if "tensorboard" in new and (old.get("tensorboard") or {}).get("enabled") and not new["tensorboard"]["enabled"]:
        sentences.append(
            "Event files for TensorBoard were written before and are not any more: --tensorboard.enabled true goes on."
        )
    if "pretrained" in new and new["pretrained"] != old.get("pretrained"):
        sentences.append(
            f"The run began from {old.get('pretrained') or 'its own start'} and goes on from its checkpoint: "
            f"--pretrained {new['pretrained']} is not used."
        )
    return sentences


def check_limits(config: Any, progress: Progress) -> None:
    """Refuse limits below what a run has done: epochs and steps count from its beginning.

    Raises
    ------
    ConfigurationError
        Names the limit, and what has been done.
    """
    is_amid_epoch = progress.phase == "validation" or (progress.phase == "training" and progress.position > 0)
    n_begun = progress.epoch + is_amid_epoch
    done = f"what the run has done already ({progress.epoch} epochs, {progress.step} steps)"
    for name, n_done in (("max_epochs", n_begun), ("max_steps", progress.step)):
        limit = getattr(config, name)
        if limit is not None and limit < n_done:
            amid = ", and it is amid the next epoch" if is_amid_epoch and name == "max_epochs" else ""
            raise ConfigurationError(f"trainer.{name}", limit, f"at least {n_done}, since it counts {done}{amid}")


def _asked(parameters: dict[str, Any]) -> bool:
    comet = parameters.get("comet") or {}
    return comet.get("project") is not None and comet.get("mode") != "off"


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(f"{prefix}.{key}", item)
    return flat
