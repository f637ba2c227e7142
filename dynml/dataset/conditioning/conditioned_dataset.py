"""What a dataset says of the second group that is laid beside its first one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from dynml.dataset.conditioning.conditioned_source import ConditionedSource, Conditioning
from dynml.dataset.config import DatasetConfig
from dynml.dataset.signal_source import SignalSource, SourceOfAnother


class ConditionedDataset:
    """The part of a dataset that knows of a second group; there may be none.

    Attributes
    ----------
    signal_source : SignalSource
    subjects : list of str
    """

    signal_source: SignalSource
    subjects: list[str]
    _conditioning: Conditioning | None = None

    @property
    def conditioning(self) -> Conditioning | None:
        """How a second group is laid beside the first; None: there is none."""
        return self.signal_source.conditioning if isinstance(self.signal_source, ConditionedSource) else None

    @property
    def n_conditioning(self) -> int:
        """How many of the channels, the last ones, are those of a second group: given to a model, never predicted."""
        return len(self.conditioning_names)

    @property
    def conditioning_names(self) -> tuple[str, ...]:
        """Names of these channels."""
        return self.signal_source.conditioning_names if isinstance(self.signal_source, ConditionedSource) else ()

    def described_conditioning(self, preparation_of: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Entry `conditioning` of a description, by which a model can be conditioned alike; {}: there is none."""
        second = self.conditioning
        if second is None:
            return {}
        noted = {"channel_names": list(self.conditioning_names), "preparation": preparation_of(second.group)}
        return {"conditioning": dataclasses.asdict(second) | noted}


def conditioned(
    source: SignalSource, group: str, subjects: list[str], asked: Conditioning | None, config: DatasetConfig
) -> SignalSource:
    """Lay the second group that is asked for, or else stands in a config, beside the first.

    A source without one, or whose rows were changed already, is given back as it is.
    """
    if asked is None and config.conditioning_group is not None:
        asked = Conditioning(group=config.conditioning_group, lead=config.conditioning_lead)
    if asked is None or isinstance(source, SourceOfAnother):
        return source
    return ConditionedSource(source, group, subjects, asked)
