"""In which units the signals of a store are, as figures and tables name them."""

from __future__ import annotations

from dynml.recording import GroupDescription

STANDARDIZED = "SD"
"""Of standardized signals: standard deviations of a channel."""
STANDARDIZE = "standardize"
OF_COMPONENTS = ("pca", "time_delay_embedding_pca", "time_delay_embedding")


def signal_units(described: GroupDescription, *, before_components: bool = False) -> str:
    """Name the units of a group's signals, or of the channels that its components were made of.

    Parameters
    ----------
    described : GroupDescription
    before_components : bool
        Of the channels as they were before the first embedding or projection.
    """
    notes = list(described.preparation)
    if before_components:
        made = [position for position, note in enumerate(notes) if note["step"] in OF_COMPONENTS]
        notes = notes[: made[0]] if made else notes
    # A store that leaves signals as they are notes a standardization by "none".
    is_standardized = any(note["step"] == STANDARDIZE and note.get("method") != "none" for note in notes)
    return STANDARDIZED if is_standardized else described.units
