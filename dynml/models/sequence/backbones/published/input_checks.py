"""Whether signals are what the weights of a published model were trained on, and what makes them so. No torch here.

Units are always made those of the weights, by their factor. What else differs is refused, with both values; other rates
and orders of channels are converted where that is asked for.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.preparation_signature import EITHER_METHOD, scales
from dynml.errors import DataError, DataWarning
from dynml.models.sequence.backbones.published.config import CBraModConfig, PublishedConfig

UnlikeInput = Literal["refuse", "convert"]
UNITS = {
    "V": 1e4,
    "mV": 10.0,
    "uV": 0.01,
    "µV": 0.01,
    "μV": 0.01,
    "microvolt": 0.01,
    "microvolts": 0.01,
    "nV": 1e-5,
    "uV/100": 1.0,
}
"""What makes units those of CBraMod, 100 uV."""

SAME_RATE = 1e-6
SAME_INTERVAL = 0.1
"""Seconds by which the repetition time of CortexMAE may be another, as in its own program."""

SIZES_OF_EEG = (1.0, 300.0)
"""Typical standard deviations of EEG, uV."""

LARGEST_MEAN = 100.0
"""uV; beyond, recordings were not high-pass filtered."""

HUNDRED = 100.0
SIZES_OF_STANDARDIZED = (0.5, 2.0)
"""Typical standard deviations of a part of signals that have 1 in the whole."""

OTHER_SIGNALS = (
    *("standardize", "amplitude_envelope", "symmetric_orthogonalisation"),
    *("time_delay_embedding", "time_delay_embedding_pca", "pca"),
)
"""Steps after which channels are no recorded signals in their units any more."""

_MOST_SUBJECTS, _N_NAMED = 8, 3
_OTHER_NAMES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}


@dataclass
class Differences:
    """In what signals differ from those of the training, in words with both values."""

    refused: list[str] = field(default_factory=list)
    """What nothing here can convert."""

    convertible: list[str] = field(default_factory=list)


def config_for_input(
    config: PublishedConfig,
    dataset: MultiSubjectDataset,
    *,
    pretrained: str,
    unlike_input: UnlikeInput = "refuse",
    other_preparation: Literal["refuse", "allow"] = "refuse",
) -> PublishedConfig:
    """Settle what is done to the signals of a dataset, or refuse them.

    Parameters
    ----------
    config : PublishedConfig
        Of the imported model.
    dataset : MultiSubjectDataset
    pretrained : str
        Which model it is, for messages.
    unlike_input : {"refuse", "convert"}
        convert: resample trials, and order channels.
    other_preparation : {"refuse", "allow"}
        allow: take signals that differ as they are, with a warning.

    Raises
    ------
    DataError
        With every difference and both values; always for another number of parcels.

    Warns
    -----
    DataWarning
        With differences that are allowed, or where the order of channels cannot be checked.
    """
    found = Differences()
    names = list(dataset.channel_names)
    _check_number(config, names, dataset, pretrained)
    settled = _with_units(config, dataset, found)
    settled = _with_rate(settled, dataset, found, convert=unlike_input == "convert")
    settled = _with_order(settled, names, dataset, found, convert=unlike_input == "convert")
    found.refused += _of_standardization(config, dataset)
    found.refused += _of_steps(config, dataset)
    found.refused += _of_sizes(settled, dataset)
    differences = [*found.refused, *found.convertible]
    if not differences:
        return settled
    listed = f"{_where(dataset)} is not what the weights of {pretrained} were trained on: {'; '.join(differences)}"
    if other_preparation == "refuse":
        ways = ["make the store alike"]
        if found.convertible and not found.refused:
            ways += ["convert trials by --model.unlike_input convert"]
        raise DataError(f"{listed}; {', '.join(ways)}, or go on all the same by --other_preparation allow.")
    warnings.warn(f"{listed}; it is taken as it is.", DataWarning, stacklevel=5)
    return settled


def in_words(config: PublishedConfig) -> str:
    """What is done to signals, and the licence of the weights: a sentence for the findings of a run."""
    done = [] if config.input_scale == 1 else [f"multiplied by {config.input_scale:g}"]
    if config.input_rate is not None:
        done.append(f"resampled from {config.input_rate:g} to {config.sampling_frequency:g} Hz")
    if config.input_columns is not None:
        done.append("put in the order of its channels")
    signals = f"signals are {' and '.join(done)}" if done else "signals are taken as they are"
    return f"The backbone is {config.title}, for which {signals}; {config.licence}."


def _check_number(config: Any, names: Sequence[str], dataset: MultiSubjectDataset, pretrained: str) -> None:
    if dataset.embedding is not None:
        raise DataError(
            f"{_where(dataset)}: {pretrained} takes channels as they were recorded, not {len(names)} components or "
            "embedded channels (dataset.n_components, dataset.n_embeddings)."
        )
    n_parcels = getattr(config, "n_parcels", len(names))
    if len(names) != n_parcels:
        raise DataError(f"{_where(dataset)} has {len(names)} channels, but {pretrained} takes {n_parcels} parcels.")


def _with_units(config: PublishedConfig, dataset: MultiSubjectDataset, found: Differences) -> PublishedConfig:
    """Scale signals of known units; standardized ones have none."""
    if not isinstance(config, CBraModConfig) or dataset.preparation["standardization"] not in (None, "none"):
        return config
    units = str(dataset.preparation["units"])
    if units not in UNITS:
        found.refused.append(
            f"units are {units!r} here and 'uV' there (100 uV count as 1; the key units of a store's config says what "
            f"its files do not: {', '.join(name for name in UNITS if name.isascii())})"
        )
        return config
    return dataclasses.replace(config, input_scale=UNITS[units])


def _with_rate(
    config: PublishedConfig, dataset: MultiSubjectDataset, found: Differences, *, convert: bool
) -> PublishedConfig:
    rates, there = dataset.preparation["sampling_frequencies"] or [1.0], config.sampling_frequency
    others = [rate for rate in rates if not _is_same_rate(config, rate)]
    if not others:
        return config
    if convert and len(rates) == 1:
        return dataclasses.replace(config, input_rate=rates[0])
    shown = ", ".join(f"{rate:g}" for rate in rates[:_N_NAMED]) + (", .." if len(rates) > _N_NAMED else "")
    sentence = f"the sampling frequency is {shown} Hz here and {there:g} Hz there"
    if len(rates) > 1:
        found.refused.append(f"{sentence}, and trials of several rates are not converted")
    else:
        found.convertible.append(sentence)
    return config


def _is_same_rate(config: PublishedConfig, rate: float) -> bool:
    there = config.sampling_frequency
    if isinstance(config, CBraModConfig):
        return math.isclose(rate, there, rel_tol=SAME_RATE)
    return abs(1 / rate - 1 / there) <= SAME_INTERVAL


def _with_order(
    config: PublishedConfig, names: Sequence[str], dataset: MultiSubjectDataset, found: Differences, *, convert: bool
) -> PublishedConfig:
    """Hold the order of channels against that of the training, as far as their names are known."""
    known = config.channel_names
    if known is None:
        _warn(
            dataset,
            f"the weights do not say the names of their {len(names)} parcels, so their order could not be checked "
            "(--channel_names of dynml_import_weights.py gives them)",
        )
        return config
    places = [_places(known).get(_plain(name)) for name in names]
    n_unknown = sum(place is None for place in places)
    if n_unknown and not isinstance(config, CBraModConfig):
        found.refused.append(f"channels are {_listed(names)} here and {_listed(known)} there")
        return config
    if n_unknown:
        _warn(
            dataset,
            f"{n_unknown} of {len(names)} channels ({_listed(names)}) are none of the {len(known)} that the weights "
            f"were trained on ({', '.join(known)}), so their order could not be checked: neighbours in the order count "
            "as neighbours on the head",
        )
        return config
    order = sorted(range(len(names)), key=lambda column: places[column] or 0)
    if order == list(range(len(names))):
        return config
    if convert:
        return dataclasses.replace(config, input_columns=order)
    there = [known[places[column] or 0] for column in order]
    first = next(number for number, column in enumerate(order) if column != number)
    found.convertible.append(
        f"the channels are in another order (channel {first} is {names[first]} here and {there[first]} there)"
    )
    return config


def _places(known: Sequence[str]) -> dict[str, int]:
    return {_plain(name): place for place, name in enumerate(known)}


def _plain(name: str) -> str:
    """Name of an electrode without what recording systems put around it; newer names as the older ones."""
    plain = name.strip().upper().removeprefix("EEG ").rstrip(".")
    for reference in ("-REF", "-LE", "-AVG", "-AR"):
        plain = plain.removesuffix(reference)
    return _OTHER_NAMES.get(plain, plain)


def _of_standardization(config: PublishedConfig, dataset: MultiSubjectDataset) -> Iterator[str]:
    method, there = dataset.preparation["standardization"], config.standardization
    if method in (None, there) or (there == "per_run" and method == EITHER_METHOD):
        return
    if {method, there} == {"per_run", "per_subject"} and _has_one_run_each(dataset):
        return
    yield f"standardization is {method!r} here and {there!r} there"


def _has_one_run_each(dataset: MultiSubjectDataset) -> bool:
    return all(len(dataset.signal_source.run_names(name, dataset.group)) == 1 for name in dataset.subjects)


def _of_steps(config: PublishedConfig, dataset: MultiSubjectDataset) -> Iterator[str]:
    """Steps of the preparation that make other signals of those that were recorded."""
    for step in dataset.preparation["steps"] or ():
        name = str(step["step"])
        if name in OTHER_SIGNALS and not (name == "standardize" and config.standardization != "none"):
            yield f"the step {name!r} was applied here and not there"


def _of_sizes(config: PublishedConfig, dataset: MultiSubjectDataset) -> Iterator[str]:
    """Signals that are not of the size that EEG in these units has, or standardized ones."""
    is_eeg, method = isinstance(config, CBraModConfig), dataset.preparation["standardization"]
    if method is not None and not (is_eeg and method == "none"):
        return
    if is_eeg and str(dataset.preparation["units"]) not in UNITS:
        return
    least, most = SIZES_OF_EEG if is_eeg else SIZES_OF_STANDARDIZED
    subjects = list(dataset.subjects)
    numbers = np.unique(np.linspace(0, len(subjects) - 1, min(len(subjects), _MOST_SUBJECTS)).astype(int))
    found = scales(dataset.stored_source, dataset.group, [subjects[number] for number in numbers])
    scale, units = (HUNDRED * config.input_scale, " uV") if is_eeg else (1.0, "")
    for name, (deviation, mean) in found.items():
        if not least <= scale * deviation <= most:
            there = f"{least:g} to {most:g} uV in EEG" if is_eeg else "1 there"
            yield f"a channel's typical standard deviation is {scale * deviation:.3g}{units} in {name}, and {there}"
            return
        if scale * mean > (LARGEST_MEAN if is_eeg else 1.0):
            before = " (after a filter from 0.3 to 75 Hz)" if is_eeg else ""
            yield f"a channel's typical mean is {scale * mean:.3g}{units} in {name}, and about 0 there{before}"
            return


def _warn(dataset: MultiSubjectDataset, sentence: str) -> None:
    warnings.warn(f"{_where(dataset)}: {sentence}.", DataWarning, stacklevel=6)


def _where(dataset: MultiSubjectDataset) -> str:
    return f"{dataset.signal_source.path or 'The arrays'}, group {dataset.group}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_N_NAMED]) + (", .." if len(names) > _N_NAMED else "")
