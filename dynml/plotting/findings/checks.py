"""Figures of the checks of a model: who uses which state, gains beside those of surrogates, draws, halves.

Shapes: N subjects, K states or modes, R draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import FAINT, INK, SMALL_TEXT_SIZE, names_of_states, new_figure, plain_axes, state_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMES = 30


def plot_occupancies(occupancies: Mapping[str, ArrayLike], component: str) -> Figure:
    """Draw the share of each subject's time in each state, one bar per subject; (K,) each, NaN where there is none."""
    values = np.nan_to_num(np.array([np.asarray(own, dtype=np.float64) for own in occupancies.values()]))
    n_subjects, n_states = values.shape
    figure = new_figure(min(2.5 + 0.25 * n_subjects, 12.0), 2.8)
    axes, positions = figure.subplots(), np.arange(n_subjects)
    bottoms, names = np.zeros(n_subjects), names_of_states(n_states, None)
    for state, colour in enumerate(state_colours(n_states)):
        label = names[state].replace("State", component.capitalize())
        axes.bar(positions, values[:, state], bottom=bottoms, color=colour, width=0.9, label=label)
        bottoms += values[:, state]
    if n_subjects <= MOST_NAMES:
        axes.set_xticks(positions, list(occupancies), rotation=90)
    axes.set(xlabel="Subject", ylabel="Share of the time", ylim=(0, 1))
    plain_axes(axes)
    axes.legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_courses(courses: Mapping[str, tuple[ArrayLike, ArrayLike]], component: str) -> Figure:
    """Draw how occupancies go along time: a panel for each course, of positions 0 to 1 (P,) and shares (P, K)."""
    figure = new_figure(1.6 + 2.8 * len(courses), 2.8)
    panels = figure.subplots(1, len(courses), sharey=True, squeeze=False)[0]
    for axes, (title, (positions, shares)) in zip(panels, courses.items()):
        values = np.asarray(shares)
        names = names_of_states(values.shape[1], None)
        for state, colour in enumerate(state_colours(values.shape[1])):
            label = names[state].replace("State", component.capitalize())
            axes.plot(positions, values[:, state], color=colour, marker="o", markersize=3, linewidth=1.4, label=label)
        axes.set(xlabel=title, ylim=(0, None))
        axes.set_xticks([0, 1], ["begin", "end"])
        plain_axes(axes)
    panels[0].set_ylabel("Share of the time")
    panels[-1].legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_against_draws(
    observed: Mapping[str, float], drawn: Mapping[str, Sequence[float]], y_label: str, names: Sequence[str]
) -> Figure:
    """Draw a value of the recordings as a line beside dots, one a draw; one column for each kind of draws."""
    figure = new_figure(1.6 + 1.5 * len(drawn), 2.8)
    axes = figure.subplots()
    for position, (kind, values) in enumerate(drawn.items()):
        spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(len(values))
        # Labels that begin with an underscore are not in the legend: each kind of mark stands there once.
        ours, theirs = names if not position else ("_", "_")
        axes.scatter(position + spread, values, s=18, color=state_colours(1)[0], label=theirs)
        axes.hlines(observed[kind], position - 0.3, position + 0.3, color=INK, linewidth=2, label=ours)
    axes.set_xticks(range(len(drawn)), [kind.replace("_", " ") for kind in drawn])
    axes.set(ylabel=y_label, xlim=(-0.6, len(drawn) - 0.4))
    plain_axes(axes)
    axes.legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_agreement(of_states: Sequence[float], component: str) -> Figure:
    """Draw how much of each state comes back in the other half, from 0 to 1; nothing for a state without visits."""
    figure = new_figure(1.8 + 0.4 * len(of_states), 2.6)
    axes, positions = figure.subplots(), np.arange(1, len(of_states) + 1)
    axes.bar(positions, np.nan_to_num(np.asarray(of_states, dtype=np.float64)), color=state_colours(len(of_states)))
    axes.axhline(1.0, color=FAINT, linewidth=1)
    axes.set_xticks(positions)
    axes.set(xlabel=f"{component.capitalize()} of the first half", ylabel="Shared with its match", ylim=(0, 1.05))
    plain_axes(axes)
    return figure
