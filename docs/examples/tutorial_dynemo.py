# Part 1
from pathlib import Path

import numpy as np

from dynml.simulation import simulate_mixed_sine

simulation = simulate_mixed_sine(
    n_subjects=2,
    n_samples=2000,
    n_modes=6,
    n_channels=80,
    observation_error=0.1,
    seed=1,
)
for subject, signals in zip(simulation.subjects, simulation.time_series):
    Path("ready", subject).mkdir(parents=True)
    np.save(f"ready/{subject}/prepared.npy", signals)
# Part 2
import pandas

from dynml import load_experiment
from dynml.plotting.matrices import plot_covariances
from dynml.plotting.modes import names_of_modes, plot_alpha, plot_loss
from dynml.plotting.style import save_figure

logs = pandas.read_csv("experiments/prepared/logs/metrics.csv")
losses = {"loss": logs.training_loss, "bound": logs.training_bound}
figure = plot_loss(losses, annealing_factor=logs.kl_annealing_factor)
save_figure(figure, "figures/loss.png")

alpha = np.load("modes/sub-001_alpha.npy")
figure = plot_alpha(alpha, sampling_frequency=250, n_samples=2000)
save_figure(figure, "figures/alpha.png")

covariances = load_experiment("experiments/prepared").model.full_covariances()
figure = plot_covariances(
    covariances, as_correlations=True, state_names=names_of_modes(6)
)
save_figure(figure, "figures/modes.png")
