"""Brings the channels of subjects that come later into the order of the store, by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dynml.conversion.sources.agreement import GroupSources
from dynml.fits import Layout
from dynml.preparation import chain
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.preparation.step import PreparationStep


def in_order_of_store(
    sources: GroupSources, steps: Sequence[PreparationStep], stored_names: Sequence[str], where: str
) -> GroupSources:
    """Bring a subject's channels into the order in which those of the store went through its steps.

    Parameters
    ----------
    sources : GroupSources
        Of the new subject.
    steps : sequence of PreparationStep
        The chain, with the store's fits.
    stored_names : sequence of str
        Channels of the store, after the chain.
    where : str
        Subject and group, for messages.

    Returns
    -------
    GroupSources
        As it was where its channels are not those of the store; what compares them afterwards says the difference.

    Raises
    ------
    DataError
        When a step cannot be applied to the channels.

    Notes
    -----
    A step that was fitted knows the order of the channels that it has seen. Up to the first of these, or the end of the
    chain, each channel is made from one of the file's.
    """
    n_plain = next((number for number, step in enumerate(steps) if isinstance(step, FittedStep)), len(steps))
    fitted, plain = steps[n_plain : n_plain + 1], steps[:n_plain]
    expected = fitted[0].learnt.layout.channel_names if fitted and isinstance(fitted[0], FittedStep) else stored_names
    layout = Layout(sampling_frequency=sources.sampling_frequency, channel_names=sources.channel_names)
    made = chain.layout_after(plain, layout, where).channel_names
    if set(made) != set(expected) or tuple(made) == tuple(expected):
        return sources
    made_from = dict(zip(made, chain.origins(plain, layout)))
    first = dict.fromkeys(made_from[name] for name in expected)
    # Channels that the chain leaves out come last, where they change nothing.
    positions = [*first, *(position for position in range(len(layout.channel_names)) if position not in first)]
    columns = sources.order or tuple(range(len(positions)))
    return dataclasses.replace(
        sources,
        channel_names=tuple(sources.channel_names[position] for position in positions),
        order=tuple(columns[position] for position in positions),
    )
