"""What a decoder is given as y: a label, or a number, for each trial."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from dynml.errors import DataError
from dynml.models.sequence.decoding.numbers.written import number_of
from dynml.recording import plain_label

N_NAMED = 3
NO_QUANTITIES = "but Decoder tells classes: DecoderRegressor predicts numbers"


def labels_of(y: Any) -> NDArray[Any]:
    """Read y as labels, (n,): texts, whole numbers, or true and false.

    Raises
    ------
    DataError
        When labels are missing, are numbers with decimals, or are of several types.
    """
    try:
        given = np.asarray(y)
    except ValueError as error:
        raise DataError("y has several labels for a trial, but Decoder tells one class of each.") from error
    labels = plain_labels(_of_one_type(column_or_1d(given, warn=True)))
    empty = [number for number, value in enumerate(labels.tolist()) if isinstance(value, str) and not value]
    if empty:
        _refuse_missing(empty, "an empty text")
    if labels.dtype.kind == "f":
        _refuse_numbers(labels)
    check_classification_targets(labels)
    classes = np.unique(labels)
    if len(classes) == 1:
        raise DataError(f"All trials of y have one class ({labels[0]}): there is nothing to tell apart.")
    if labels.dtype.kind != "b" and 2 * len(classes) > len(labels):
        _refuse_quantities(labels, len(classes))
    return labels


def plain_labels(y: Any) -> Any:
    """Texts among y as `plain_label` has them; anything else as it is."""
    values = np.asarray(y, dtype=object)
    plain = [plain_label(value) if isinstance(value, str) else value for value in values.ravel()]
    if all(one is value or one == value for one, value in zip(plain, values.ravel())):
        return y
    is_object = np.asarray(y).dtype.kind == "O"
    return np.array(plain, dtype=object if is_object else None).reshape(values.shape)


def quantities_of(y: Any) -> NDArray[np.float64]:
    """Read y as numbers, (n,).

    Raises
    ------
    DataError
        When numbers are missing, or are no numbers.
    """
    numbers = _of_one_type(column_or_1d(np.asarray(y), warn=True))
    if numbers.dtype.kind not in "iuf":
        shown = ", ".join(repr(value) for value in numbers[:N_NAMED].tolist())
        raise DataError(f"y has labels that are no numbers ({shown} ..), but DecoderRegressor predicts numbers.")
    found: NDArray[np.float64] = numbers.astype(np.float64)
    missing = np.flatnonzero(~np.isfinite(found)).tolist()
    if missing:
        _refuse_missing(missing, found[missing[0]])
    return found


def _of_one_type(labels: NDArray[Any]) -> NDArray[Any]:
    """Objects as an array of their type, which comparing and sorting needs."""
    if labels.dtype != object:
        return labels
    values = labels.tolist()
    missing = [number for number, value in enumerate(values) if _is_missing(value)]
    if missing:
        _refuse_missing(missing, values[missing[0]])
    kinds = sorted({type(value).__name__ for value in values})
    if len(kinds) > 1:
        raise DataError(f"y has labels of several types ({', '.join(kinds)}), but all must be of one.")
    return np.array(values) if isinstance(values[0], (bool, int, float)) else labels


def _is_missing(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _refuse_missing(missing: list[int], value: Any) -> None:
    shown = ", ".join(map(str, missing[:N_NAMED])) + (" .." if len(missing) > N_NAMED else "")
    raise DataError(f"y has no label ({value}) for {len(missing)} of its trials ({shown}): leave these out.")


def _refuse_numbers(labels: NDArray[Any]) -> None:
    missing = np.flatnonzero(~np.isfinite(labels)).tolist()
    if missing:
        _refuse_missing(missing, labels[missing[0]])
    others = labels[labels != np.round(labels)].tolist()
    if others:
        shown = ", ".join(f"{value:g}" for value in others[:N_NAMED])
        raise DataError(f"y has continuous numbers ({shown}{' ..' if len(others) > N_NAMED else ''}), {NO_QUANTITIES}.")


def _refuse_quantities(labels: NDArray[Any], n_classes: int) -> None:
    """Response times in milliseconds, say, or numbers as text."""
    if all(number_of(str(label)) is not None for label in labels.tolist()):
        raise DataError(f"y has {n_classes} different numbers in {len(labels)} trials, {NO_QUANTITIES}.")
