"""Whether data were prepared as the training data of a model were, difference by difference."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dynml.configuration import check_choice
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.preparation_signature import (
    EITHER_METHOD,
    RATE_OF_ARRAYS,
    UNKNOWN_UNITS,
    preparation_signature,
    scales,
)
from dynml.errors import DataError, DataWarning
from dynml.preparation.chain import step_class
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.readers.formats import readers

OTHER_PREPARATION = ("refuse", "allow")
"""What to do with data that were prepared otherwise than the training data."""

UNLIKE_SCALE = 10.0
"""A typical deviation beyond so many times that of the training data, or a mean so many deviations off, is not theirs:
other units, or signals that were not standardized. Subjects and sites differ by less than half of that."""

SAME_RATE, SAME_NUMBER, SAME_FIT = 1e-6, 1e-9, 1e-3
_N_NAMED = 3
ALIKE_STORE = (
    "prepare it alike (see dynml_apply_preparation.py), or go on all the same by --other_preparation allow (in Python: "
    'other_preparation="allow")'
)
ALIKE_ARRAYS = 'prepare them alike, or let the experiment infer them all the same by other_preparation="allow"'
_CHANNEL_SETTINGS = ("bids.atlas", "bids.space", "bids.resolution", "bids.density")


def check_same_preparation(
    trained: Mapping[str, Any],
    data: MultiSubjectDataset,
    model: str,
    *,
    other_preparation: str = "refuse",
    same_channels: bool = True,
    further: Sequence[str] = (),
) -> list[str]:
    """Refuse data that were prepared otherwise than the training data, with every difference.

    Parameters
    ----------
    trained : mapping
        The section `dataset` of the model's parameters.json.
    data : MultiSubjectDataset
    model : str
        Which model it is, for the message.
    other_preparation : {"refuse", "allow"}
        allow: go on, and tell the differences in a warning.
    same_channels : bool
        False: channels may be others, as where a model learns its embedder anew.
    further : sequence of str
        Differences that were found elsewhere.

    Returns
    -------
    list of str
        The differences, each with the value of the training data and the other one.

    Raises
    ------
    DataError
        With all of them, where they are refused.

    Warns
    -----
    DataWarning
        Where they are allowed, or where the experiment is older than the notes that are compared.
    """
    check_choice("other_preparation", other_preparation, OTHER_PREPARATION)
    path = data.signal_source.path
    where = "the arrays" if path is None else str(path)
    differs = f"{'The arrays were' if path is None else f'{path} was'} prepared differently from"
    if trained.get("preparation") is None:
        warnings.warn(
            f"{model} does not say how its training data were prepared, so that {where} could be compared by channels "
            "and sampling frequencies only.",
            DataWarning,
            stacklevel=3,
        )
    found = [*differences(trained, data, same_channels=same_channels), *further]
    if not found:
        return found
    listed = "; ".join(found)
    if other_preparation == "refuse":
        raise DataError(
            f"{differs} the training data of {model}: {listed}; {ALIKE_ARRAYS if path is None else ALIKE_STORE}."
        )
    warnings.warn(f"{differs} the training data of {model}: {listed}.", DataWarning, stacklevel=3)
    return found


def differences(trained: Mapping[str, Any], data: MultiSubjectDataset, *, same_channels: bool = True) -> Iterator[str]:
    """Every way in which data were prepared otherwise than the training data, in words with both values."""
    before: list[Mapping[str, Any]] = [trained.get("preparation") or _of_older_experiment(trained)]
    before += [group["preparation"] for group in (trained.get("groups") or {}).values()]
    for group, now in data.preparations.items():
        where = f"in group {group} " if len(data.groups) > 1 else ""
        # Of a model that learnt from several groups, the group that was prepared most alike counts.
        found = min((list(_of_preparations(one, now, same_channels=same_channels)) for one in before), key=len)
        yield from (f"{where}{difference}" for difference in found)
    yield from _of_scale(trained.get("scale"), data)
    if same_channels and data.signal_source.path is not None:
        yield from _of_conditioning(trained.get("conditioning"), data)


def _of_conditioning(before: Mapping[str, Any] | None, data: MultiSubjectDataset) -> Iterator[str]:
    """Differences of the second groups of stores; arrays hold their channels as they are."""
    now = data.conditioning
    if before is None and now is None:
        return
    groups = None if before is None else before["group"], None if now is None else now.group
    if groups[0] != groups[1]:
        yield f"dataset.conditioning_group is {groups[0]!r} in the training data and {groups[1]!r} here"
    elif before is not None and now is not None:
        if before["lead"] != now.lead:
            yield f"dataset.conditioning_lead is {before['lead']} in the training data and {now.lead} here"
        prepared = preparation_signature(data.stored_source, now.group, data.subjects)
        for found in _of_preparations(before["preparation"], prepared, same_channels=True):
            yield f"in the conditioning group {found}"


def _of_preparations(before: Mapping[str, Any], now: Mapping[str, Any], *, same_channels: bool) -> Iterator[str]:
    if same_channels:
        yield from _of_channels(before.get("channel_names"), now["channel_names"])
    yield from _of_rates(before.get("sampling_frequencies"), now["sampling_frequencies"])
    yield from _of_standardization(before, now)
    if before.get("steps") is not None and now["steps"] is not None:
        yield from _of_steps(before["steps"], now["steps"])
    if before.get("settings") is not None and now["settings"] is not None:
        of_channels = (*_CHANNEL_SETTINGS, *(key for one in readers() for key in one.Config.of_channels))
        left_out = () if same_channels else of_channels
        contents = before.get("files") or {}, now["files"]
        known = sorted({*contents[0]} & {*contents[1]})
        yield from _of_settings(before["settings"], now["settings"], (*left_out, *known))
        yield from _of_files(*contents, [key for key in known if key not in left_out])
    if same_channels and before.get("fits") is not None and now["fits"] is not None:
        yield from _of_fits(before["fits"], now["fits"])


def _of_older_experiment(trained: Mapping[str, Any]) -> dict[str, Any]:
    """What experiments have always said of their data."""
    embedding = trained.get("embedding") or {}
    from_arrays = trained.get("hdf5_file") is None
    rates = None if from_arrays else trained.get("sampling_frequencies")
    return {
        "channel_names": None if from_arrays else embedding.get("channel_names", trained.get("channel_names")),
        "sampling_frequencies": None if rates == [RATE_OF_ARRAYS] else rates,
    }


def _of_channels(before: Sequence[str] | None, now: Sequence[str] | None) -> Iterator[str]:
    if before is None or now is None or list(before) == list(now):
        return
    if len(before) != len(now):
        yield f"there are {len(before)} channels in the training data and {len(now)} here"
        return
    position = next(number for number, pair in enumerate(zip(before, now)) if pair[0] != pair[1])
    what = "the channels are the same in another order" if sorted(before) == sorted(now) else "the channels are others"
    yield f"{what} (channel {position} is {before[position]!r} in the training data and {now[position]!r} here)"


def _of_rates(before: Sequence[float] | None, now: Sequence[float] | None) -> Iterator[str]:
    if before is None or now is None:
        return
    new = [rate for rate in now if not any(math.isclose(rate, one, rel_tol=SAME_RATE) for one in before)]
    if new:
        yield f"the sampling frequency is {_hertz(before)} in the training data and {_hertz(new)} here"


def _hertz(rates: Sequence[float]) -> str:
    shown = ", ".join(f"{rate:.6g}" for rate in rates[:_N_NAMED])
    return f"{shown}{f', .. {rates[-1]:.6g}' if len(rates) > _N_NAMED else ''} Hz"


def _of_standardization(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    methods = before.get("standardization"), now["standardization"]
    if None not in methods and methods[0] != methods[1]:
        alike = ("per_run", "per_subject", EITHER_METHOD)
        if not (EITHER_METHOD in methods and methods[0] in alike and methods[1] in alike):
            yield f"standardization is {methods[0]!r} in the training data and {methods[1]!r} here"
    units = before.get("units"), now["units"]
    # Standardized signals are the same in any units.
    if "none" in methods and not {None, UNKNOWN_UNITS} & set(units) and units[0] != units[1]:
        yield f"units are {units[0]!r} in the training data and {units[1]!r} here"


def _of_steps(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [[str(step["step"]) for step in steps] for steps in (before, now)]
    if names[0] != names[1]:
        yield from _of_chains(before, now, names)
        return
    for old, new in zip(map(_completed, before), map(_completed, now)):
        for key in [*old, *(key for key in new if key not in old)]:
            if not _alike(old.get(key), new.get(key)):
                what = f"{key} of the step {old['step']!r}"
                yield f"{what} is {old.get(key)!r} in the training data and {new.get(key)!r} here"


def _of_chains(
    before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], names: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Steps that one of them has only; or the two orders."""
    for step in before:
        if step["step"] not in names[1]:
            yield f"the step {_in_words(step)} was applied to the training data and not here"
    for step in now:
        if step["step"] not in names[0]:
            yield f"the step {_in_words(step)} was applied here and not to the training data"
    if set(names[0]) == set(names[1]):
        yield f"the steps are {', '.join(names[0])} in the training data and {', '.join(names[1])} here"


def _in_words(step: Mapping[str, Any]) -> str:
    parameters = ", ".join(f"{key} {value!r}" for key, value in step.items() if key != "step")
    return f"{step['step']!r}{f' ({parameters})' if parameters else ''}"


def _completed(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step with the defaults of parameters that were not there yet when it was noted.

    What only says how a fit came about is left out: fits are compared by themselves.
    """
    kind = step_class(str(step["step"]))
    of_fit = kind.settings_of_fit if kind is not None and issubclass(kind, FittedStep) else ()
    fields = [] if kind is None else dataclasses.fields(kind)  # type: ignore[arg-type]
    defaults = {one.name: one.default for one in fields if one.default not in (dataclasses.MISSING, None)}
    return {key: value for key, value in (defaults | dict(step)).items() if key not in of_fit}


def _of_settings(before: Mapping[str, Any], now: Mapping[str, Any], left_out: Sequence[str]) -> Iterator[str]:
    # Files that were named one by one may be those of a pipeline, too.
    both_by_bids = "bids.pipeline" in before and "bids.pipeline" in now
    for key in sorted({*before, *now} - set(left_out)):
        if key.startswith("bids.") and not both_by_bids:
            continue
        if not _alike(before.get(key), now.get(key)):
            values = ("left at its default" if one.get(key) is None else repr(one[key]) for one in (before, now))
            yield "{} is {} in the training data and {} here".format(key, *values)


def _of_files(before: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str]) -> Iterator[str]:
    """Files of other content; their names do not matter."""
    for key in keys:
        if before[key]["sha256"] != now[key]["sha256"]:
            old, new = (f"{one[key]['file']} (SHA-256 {one[key]['sha256'][:12]}..)" for one in (before, now))
            yield f"{key} is {old} in the training data and {new} here"


def _of_fits(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Steps that were fitted to other signals; those that one side lacks differ as steps already."""
    for name in sorted({*before} & {*now}):
        old, new = before[name]["arrays"], now[name]["arrays"]
        for key in sorted({*old} & {*new}):
            if not _same_array(old[key], new[key]):
                counts = before[name]["n_subjects"], now[name]["n_subjects"]
                yield (
                    f"{key} of the fitted step {name} are others (fitted to {counts[0]} subjects of the training data, "
                    f"of norm {old[key]['norm']:.6g}, and to {counts[1]} here, of norm {new[key]['norm']:.6g})"
                )
                break


def _same_array(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if list(old["shape"]) != list(new["shape"]):
        return False
    away = np.abs(np.subtract(old["projections"], new["projections"])).max()
    return bool(away <= SAME_FIT * max(old["norm"], new["norm"]))


def _alike(old: Any, new: Any) -> bool:
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return math.isclose(old, new, rel_tol=SAME_NUMBER)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(_alike(old.get(key), new.get(key)) for key in {*old, *new})
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        return len(old) == len(new) and all(map(_alike, old, new))
    return bool(old == new)


def _of_scale(before: Mapping[str, Sequence[float]] | None, data: MultiSubjectDataset) -> Iterator[str]:
    """Subjects whose signals have another size than those of the training, whatever is said of their preparation."""
    if before is None:
        return
    source = data.stored_source
    lowest, highest = before["standard_deviation"]
    far, off = {}, {}
    found = {name: pair for one in data.groups for name, pair in scales(source, one, data.stored_subjects(one)).items()}
    for name, (deviation, mean) in found.items():
        if not lowest / UNLIKE_SCALE <= deviation <= highest * UNLIKE_SCALE:
            far[name] = deviation
        elif mean > before["mean"][1] + UNLIKE_SCALE * max(deviation, highest):
            off[name] = mean
    yield from _named(far, "standard deviation", before["standard_deviation"])
    # A mean of standardized signals is 0 but for rounding.
    yield from _named(off, "mean", [0.0 if mean < SAME_RATE * lowest else mean for mean in before["mean"]])


def _named(found: Mapping[str, float], what: str, before: Sequence[float]) -> Iterator[str]:
    if found:
        name, value = next(iter(found.items()))
        trained = f"{before[0]:.3g}" + (f" to {before[1]:.3g}" if before[1] > 1.01 * before[0] else "")
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield f"a channel's typical {what} is {trained} in the training data and {value:.3g} in {name}{more}"
