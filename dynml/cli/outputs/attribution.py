"""Pictures of attributions: maps over time, sizes by network, and sums on the brain where it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynml.cli.outputs.features import FeatureOutput
    from dynml.geometry.geometry import Geometry
    from dynml.models.sequence.features.attribution import AttributionMaps

METHODS_IN_WORDS = {"gradient_x_input": "Gradient x input", "integrated_gradients": "Integrated gradients"}


def draw_attribution(
    found: AttributionMaps,
    networks: Sequence[str],
    output: FeatureOutput,
    *,
    method: str,
    kind: str,
    times: Any,
    time_label: str,
) -> None:
    """Draw maps over time, and the networks with the largest attributions.

    Parameters
    ----------
    found : AttributionMaps
    networks : sequence of str
        Names of the channels.
    output : FeatureOutput
    method : {"gradient_x_input", "integrated_gradients"}
    kind : {"trial", "window"}
        What was attributed.
    times : array, (T,)
    time_label : str
    """
    from dynml.plotting.attribution import plot_attribution_maps, plot_network_importance
    from dynml.plotting.style import save_figure

    title = f"{METHODS_IN_WORDS[method]}:\n{found.meaning}"
    figure = plot_attribution_maps(
        found.maps,
        times,
        network_names=networks,
        group_names=_groups_in_words(found, kind),
        time_label=time_label,
        unit=found.unit,
        title=title,
    )
    save_figure(figure, output.figure("attribution_maps"))
    bars = plot_network_importance(
        found.importance, networks, group_names=found.group_names, unit=found.unit, title=title
    )
    save_figure(bars, output.figure("attribution_networks"))


def draw_on_brain(
    found: AttributionMaps,
    networks: Sequence[str],
    output: FeatureOutput,
    *,
    kind: str,
    geometry: Geometry | None,
) -> list[str]:
    """Draw the sum over time of each group's attributions where the channels lie, all on one scale.

    Parameters
    ----------
    found, networks, output, kind
        As for `draw_attribution`.
    geometry : Geometry, optional
        Of the group, if the store knows where its channels lie.

    Returns
    -------
    list of str
        Names of the pictures; none where the positions are not known.
    """
    import numpy as np

    from dynml.plotting.brain.maps import plot_map, symmetric_limits, way_to_draw
    from dynml.plotting.style import save_figure

    own_geometry = None if geometry is None else geometry.of_channels(networks)
    if way_to_draw(own_geometry) == "bars":
        return []
    sums, drawn = np.nansum(found.maps, axis=2), []
    limits = symmetric_limits(sums, signed=True)
    for number, (own, words) in enumerate(zip(sums, _groups_in_words(found, kind)), 1):
        title = f"{words}: {found.meaning}, sum over the {kind}"
        label = f"Mean attribution ({found.unit})"
        figure = plot_map(own, own_geometry, networks, limits=limits, label=label, title=title)
        drawn.append(f"attribution_brain_{number}")
        save_figure(figure, output.figure(drawn[-1]))
    return drawn


def described(pictures: Sequence[str], found: AttributionMaps, networks: Sequence[str]) -> Iterator[dict[str, str]]:
    """What the pictures of `draw_attribution` and `draw_on_brain` show, in words, for those who do not see them."""
    import numpy as np

    order = np.argsort(-np.nanmean(found.importance, axis=0))[:3]
    largest = f"largest for {', '.join(networks[int(position)] for position in order)}"
    yield {"path": "attribution_maps.png", "alt": f"Attributions by network and time: {largest}"}
    yield {"path": "attribution_networks.png", "alt": f"Mean size of the attributions of networks: {largest}"}
    for name, own, group in zip(pictures, np.nansum(found.maps, axis=2), found.group_names):
        highest = ", ".join(networks[int(position)] for position in np.argsort(-own)[:3])
        yield {"path": f"{name}.png", "alt": f"Attributions of {group} on the brain: highest for {highest}"}


def _groups_in_words(found: AttributionMaps, kind: str) -> list[str]:
    counts = [f"{count} {kind}{'s' if count != 1 else ''}" for count in found.n_windows]
    return [f"{name} ({count})" for name, count in zip(found.group_names, counts)] if found.of_classes else counts
