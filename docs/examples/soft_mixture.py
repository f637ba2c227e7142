from dynml.plotting import plot_covariances, save_figure
from dynml.plotting.modes import names_of_modes, plot_alpha, plot_separate_time_series
from dynml.simulation import simulate_mixed_sine

simulation = simulate_mixed_sine(
    n_modes=6, n_channels=20, seed=123, seeding="osl_legacy"
).standardize()
logits, alpha = simulation.logits[0], simulation.alpha[0]
names = names_of_modes(6)
figures = {
    "covariances": plot_covariances(simulation.covariances, state_names=names),
    "logits": plot_separate_time_series(logits, n_samples=2000, names=names),
    "alpha": plot_alpha(alpha, n_samples=2000, sampling_frequency=250),
}
for name, figure in figures.items():
    save_figure(figure, f"{name}.png")
