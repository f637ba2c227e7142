"""The steps of a preparation in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dynml.report.words import listed, percent

Step = Mapping[str, Any]
STANDARDIZATION = {
    "per_run": "each channel standardized (mean 0, standard deviation 1) in every run",
    "per_subject": "each channel standardized (mean 0, standard deviation 1) in every recording",
    "none": "not standardized",
}
NO_SETTINGS = (
    "step",
    "versions",
    "fit",
    "samples",
    "samples_removed",
    "stretches_removed",
    "share_removed",
    "template",
)


def preparation_in_words(preparation: Mapping[str, Any]) -> list[str]:
    """One entry a step, in order; the standardization last.

    Parameters
    ----------
    preparation : mapping
        The section `dataset.preparation` of parameters.json.
    """
    settings = preparation.get("settings") or {}
    said = [f"{name.replace('_', ' ').replace('.', ' ')}: {value}" for name, value in settings.items()]
    said += steps_in_words(preparation.get("steps") or ())
    standardization = preparation.get("standardization")
    if isinstance(standardization, str):
        said.append(STANDARDIZATION.get(standardization, f"standardized: {standardization.replace('_', ' ')}"))
    return said


def steps_in_words(steps: Sequence[Step]) -> list[str]:
    """One entry a step."""
    return [_WORDS.get(str(step.get("step")), _by_its_settings)(step) for step in steps]


def _by_its_settings(step: Step) -> str:
    settings = [
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in step.items()
        if name not in NO_SETTINGS and value is not None and not isinstance(value, Mapping)
    ]
    name = str(step.get("step")).replace("_", " ")
    return f"{name} ({', '.join(settings)})" if settings else name


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return listed([str(one) for one in value])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _filter(step: Step) -> str:
    low, high = step.get("low_frequency"), step.get("high_frequency")
    if low and high:
        return f"band-pass filter, {low:g} to {high:g} Hz"
    return f"high-pass filter, {low:g} Hz" if low else f"low-pass filter, {high:g} Hz"


def _clean(step: Step) -> str:
    """What went out of the signals in one fit: confounds, slow and fast frequencies, trends."""
    low, high = step.get("high_pass"), step.get("low_pass")
    parts = [_filter({"low_frequency": low, "high_frequency": high})] if low or high else []
    parts += ["linear trends removed"] if step.get("detrend") else []
    confounds = step.get("confounds")
    parts += [f"confounds removed ({_value(confounds)})"] if confounds else []
    return ", ".join(parts) or "confounds and frequencies removed"


def _components(step: Step) -> str:
    n_components, share = step.get("n_components"), step.get("explained_variance")
    kept = f"{n_components} principal components" if n_components else "principal components"
    if not n_components and share:
        kept += f" for {percent(share, 0)} of the variance"
    lags = f"time-delay embedding over {step['n_embeddings']} samples, " if step.get("n_embeddings") else ""
    return f"{lags}{kept}{', whitened' if step.get('whiten') else ''}, fitted to the training recordings"


_WORDS: dict[str, Callable[[Step], str]] = {
    "detrend": lambda step: "linear trends removed",
    "filter": _filter,
    "clean": _clean,
    "notch": lambda step: f"notch filter at {_value(step.get('frequency'))} Hz",
    "downsample": lambda step: f"downsampled to {_value(step.get('sampling_frequency'))} Hz",
    "amplitude_envelope": lambda step: "amplitude envelope",
    "moving_average": lambda step: f"moving average over {_value(step.get('window_length'))} samples",
    "time_delay_embedding": lambda step: f"time-delay embedding over {step.get('n_embeddings')} samples",
    "symmetric_orthogonalisation": lambda step: "leakage corrected by symmetric orthogonalisation",
    "pca": _components,
    "time_delay_embedding_pca": _components,
    "standardize": lambda step: STANDARDIZATION.get(str(step.get("method")), "standardized"),
}
