"""What X is, item by item: blocks of neighbouring samples with their channels and rate.

Shapes: n trials, T samples, C channels.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError, DataWarning
from dynml.preparation.checks import looks_transposed
from dynml.readers.meg_eeg.epochs import describe_epochs, read_epochs
from dynml.readers.meg_eeg.picks import ChosenChannels, PicksConfig, chosen_channels
from dynml.readers.meg_eeg.raw import RawFile, describe_raw, read_raw

Joined = Literal["end to end", "side by side"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One array, table, Raw or Epochs.

    Parameters
    ----------
    blocks : list of array, (T, C) each
        No state goes on from one to the next.
    joined : {"end to end", "side by side"}
        How results of the blocks become one: (T, ..) or (n, T, ..).
    stretches : array, (n, 2), optional
        Good stretches [start, stop) of the only block.
    channel_names : tuple of str, optional
    sampling_frequency : float, optional
        Hz; None: X does not say.
    """

    blocks: list[NDArray[np.float64]]
    joined: Joined = "end to end"
    stretches: NDArray[np.int64] | None = None
    channel_names: tuple[str, ...] | None = None
    sampling_frequency: float | None = None
    units: str = "arbitrary"

    @property
    def rows(self) -> NDArray[np.float64]:
        """All samples, (sum of T, C)."""
        return self.blocks[0] if len(self.blocks) == 1 else np.concatenate(self.blocks)


def is_list_of_items(X: Any) -> bool:
    """Whether X is several recordings: a list, tuple or object array of things with rows and columns."""
    if isinstance(X, np.ndarray):
        return bool(X.dtype == object and X.ndim == 1 and len(X) and _has_rows_and_columns(X[0]))
    return isinstance(X, (list, tuple)) and len(X) > 0 and _has_rows_and_columns(X[0])


def _has_rows_and_columns(x: Any) -> bool:
    return is_of_mne(x) or np.ndim(x) >= 2


def is_of_mne(x: Any) -> bool:
    """Whether x is a Raw or Epochs of MNE, which is not imported for that."""
    mne = sys.modules.get("mne")
    return mne is not None and isinstance(x, (mne.io.BaseRaw, mne.BaseEpochs))


def items_of(X: Any, picks: str | Sequence[str] | None) -> tuple[list[Any], list[str] | None]:
    """Things in X with rows and columns, objects of MNE already read; and their names where X is a mapping."""
    is_mapping = isinstance(X, Mapping) and not hasattr(X, "shape")  # a sparse array of SciPy may be a dict, too
    names = [str(name) for name in X] if is_mapping else None
    twice = next((name for name in names or () if (names or []).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"Two keys of X are {twice!r} as text: give each recording a name of its own.")
    listed = list(X.values()) if is_mapping else list(X) if is_list_of_items(X) else [X]
    return [item_of_mne(x, picks) if is_of_mne(x) else x for x in listed], names


def item_of_mne(x: Any, picks: str | Sequence[str] | None) -> Item:
    """Read a Raw, without what is annotated as BAD, or Epochs, each of which is a block.

    By default all channels of data are taken that are not marked bad, or channels of the type misc where there are no
    others, as parcels have it.
    """
    path = Path(type(x).__name__)
    channels = _channels(x, picks, path)
    mne = sys.modules["mne"]
    if isinstance(x, mne.io.BaseRaw):
        file = RawFile(x, channels)
        described = describe_raw(file, path.with_suffix(".fif"))  # read by its extension elsewhere
        signals, stretches = read_raw(file), described.stretches
        blocks, joined = [signals], "end to end"
    else:
        x = _without_bad(x)
        described = describe_epochs(x, channels, path, ())
        signals, stretches = read_epochs(x, channels), None
        blocks, joined = np.split(signals, len(x.events)), "side by side"
    for one in described.warned:
        warnings.warn(f"{path}: {one}.", DataWarning, stacklevel=2)
    return Item(
        blocks=blocks,
        joined=joined,  # type: ignore[arg-type]
        stretches=stretches,
        channel_names=channels.names,
        sampling_frequency=described.sampling_frequency,
        units=described.units or "arbitrary",
    )


def _without_bad(epochs: Any) -> Any:
    """Epochs without those that are bad by annotations or thresholds, which MNE drops once it reads the signals."""
    try:
        len(epochs)
    except RuntimeError:  # MNE does not know yet
        n_before = len(epochs.events)
        epochs = epochs.copy().drop_bad(verbose="error")
        n_bad = n_before - len(epochs)
        if n_bad:
            warnings.warn(f"{n_bad} of {n_before} epochs are bad and are left out.", DataWarning, stacklevel=2)
    return epochs


def _channels(x: Any, picks: str | Sequence[str] | None, path: Path) -> ChosenChannels:
    if picks is None and set(x.get_channel_types()) <= {"misc", "stim"}:
        picks = "misc"
    config = PicksConfig(picks=picks if picks is None or isinstance(picks, str) else list(picks))
    return chosen_channels(x, config, path, "take it out of info['bads']")


@contextlib.contextmanager
def missing_told(where: str) -> Iterator[None]:
    """Say of samples that are NaN or infinite what can be done with them, where scikit-learn finds some in the block.

    Raises
    ------
    DataError
    """
    try:
        yield
    except ValueError as error:
        found = re.search("contains (NaN|infinity)", str(error))
        if found is None:
            raise
        raise DataError(
            f'{where} contains {found[1]}: mend it, or set missing="segment" to cut such samples out, or "mask" to '
            "keep them as masked samples (NaN, not infinite)."
        ) from error


def check_rows_are_samples(x: Any, where: str) -> None:
    """Refuse an array that looks transposed; a table says by the names of its columns that it is not.

    Raises
    ------
    DataError
    """
    n_samples, n_channels = x.shape
    if looks_transposed(n_samples, n_channels) and not hasattr(x, "columns"):
        raise DataError(
            f"{where} has {n_samples} samples of {n_channels} channels, which looks transposed: it must be time x "
            "channels (X.T), or a table whose columns name the channels."
        )


def check_none_missing(groups: Sequence[Any]) -> None:
    """Refuse groups of which some are None or NaN: as one group they would be one participant.

    Raises
    ------
    DataError
        Says how many.
    """
    each = np.concatenate([np.ravel(np.asarray(group, dtype=object)) for group in groups])
    n_missing = sum(group is None or type(group).__name__ in ("NAType", "NaTType") or group != group for group in each)
    if n_missing:
        raise DataError(f"groups has no participant for {n_missing} of {len(each)}: leave these out, or name them.")


def item_of_array(
    array: NDArray[np.float64], groups: NDArray[Any] | None, *, rows_are_trials: bool, where: str
) -> tuple[Item, NDArray[Any] | None]:
    """Cut an array into blocks.

    Parameters
    ----------
    array : (T, C) or (n, T, C)
    groups : (T,) or (n,), optional
        Of a series: it is cut where they change.
    rows_are_trials : bool
        Take (n, C) for trials of one sample.
    where : str
        For messages.

    Returns
    -------
    Item
    groups : array or None
        One for each block.
    """
    if array.ndim == 2 and rows_are_trials:
        array = array[:, None]
    n_groups = len(array)
    if groups is not None and len(groups) != n_groups:
        what = "trials" if array.ndim == 3 else "rows"
        raise DataError(f"There are {len(groups)} groups for the {n_groups} {what} of {where}: give one for each.")
    if array.ndim == 3:
        joined: Joined = "end to end" if rows_are_trials and array.shape[1] == 1 else "side by side"
        return Item(blocks=list(array), joined=joined), groups
    if groups is None:
        return Item(blocks=[array]), None
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    return Item(blocks=np.split(array, starts[1:])), groups[starts]
