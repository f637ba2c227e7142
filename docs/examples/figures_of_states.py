import numpy as np

from dynml.plotting.matrices import plot_covariances, plot_transition_probabilities
from dynml.plotting.states import plot_state_probabilities
from dynml.plotting.style import save_figure

alpha = np.load("states/sub-001_alpha.npy")
covariances = np.load("states/covariances.npy")
transitions = np.load("states/transition_probabilities.npy")
save_figure(plot_state_probabilities(alpha[:1000], 250), "figures/states.png")
save_figure(
    plot_covariances(covariances, as_correlations=True), "figures/correlations.png"
)
save_figure(plot_transition_probabilities(transitions), "figures/transitions.png")
