"""Figures from arrays and logs. matplotlib is imported when a figure is made, and never pyplot."""

from dynml.plotting.curves import plot_free_energy
from dynml.plotting.matrices import plot_covariances, plot_transition_probabilities
from dynml.plotting.modes import names_of_modes, plot_alpha, plot_loss, plot_separate_time_series
from dynml.plotting.states import plot_state_probabilities, plot_state_summary
from dynml.plotting.style import save_figure

__all__ = [
    "names_of_modes",
    "plot_alpha",
    "plot_covariances",
    "plot_free_energy",
    "plot_loss",
    "plot_separate_time_series",
    "plot_state_probabilities",
    "plot_state_summary",
    "plot_transition_probabilities",
    "save_figure",
]
