# Part 1
from dynml.plotting.matrices import plot_covariances
from dynml.plotting.modes import names_of_modes, plot_alpha, plot_separate_time_series
from dynml.plotting.style import save_figure
from dynml.simulation import simulate_mixed_sine

simulation = simulate_mixed_sine(
    n_samples=8000,  # the tutorial: 25600
    n_modes=6,
    n_channels=20,
    relative_activation=[1, 0.5, 0.5, 0.25, 0.25, 0.1],
    amplitudes=[6, 5, 4, 3, 2, 1],
    frequencies=[1, 2, 3, 4, 6, 8],
    sampling_frequency=250,
    means="zero",
    covariances="random",
    seed=123,
    seeding="osl_legacy",
).standardize()
signals, true_alpha = simulation.time_series[0], simulation.alpha[0]
modes = names_of_modes(6)
figure = plot_covariances(simulation.covariances, state_names=modes)
save_figure(figure, "figures/true_modes.png")
figure = plot_separate_time_series(
    simulation.logits[0], sampling_frequency=250, n_samples=2000
)
save_figure(figure, "figures/logits.png")
# Part 2
from pathlib import Path

import torch

from dynml import (
    BatchLoader,
    BatchSampler,
    Dynemo,
    DynemoConfig,
    DynemoTrainer,
    MultiSubjectDataset,
)

dataset = MultiSubjectDataset.from_arrays(signals, sampling_frequency=250)
config = DynemoConfig(
    n_modes=6,
    sequence_length=200,
    inference_n_units=64,
    inference_normalization="layer",
    model_n_units=64,
    model_normalization="layer",
    learn_means=False,
    kl_annealing_curve="tanh",
    kl_annealing_sharpness=10,
    n_kl_annealing_epochs=10,  # the tutorial: 100
)
torch.manual_seed(1)
model = Dynemo(config, dataset.n_channels)
Path("experiments").mkdir()
trainer = DynemoTrainer(
    model,
    "experiments",
    "in_python",
    BatchSampler(dataset, window_length=200, batch_size_training=8),  # the tutorial: 16
    BatchLoader(dataset, model),
    learning_rate=0.01,
    max_epochs=20,  # the tutorial: 200
    seed=1,
)
summary = trainer.train_and_validate()
print(f"negative bound: {summary['free_energy']['training']:.2f}")
for name, scores in summary["baselines"].items():
    print(f"{name}: {scores['training']:.2f}")
# Part 3
from dynml import load_experiment
from dynml.ops.matching import match_posteriors
from dynml.ops.metrics import alpha_correlation, riemannian_distances

experiment = load_experiment("experiments/in_python")
inferred_alpha = next(experiment.infer(signals)).alpha
order = match_posteriors(true_alpha, inferred_alpha)
inferred_alpha = inferred_alpha[:, order]
correlations = alpha_correlation(true_alpha, inferred_alpha)
print("correlation of each mode:", correlations.round(3))
assert correlations.mean() > 0.9

covariances = experiment.model.full_covariances().numpy()[order]
distances = riemannian_distances(simulation.covariances, covariances)
print("distance of its covariance to the truth:", distances.round(2))
figure = plot_alpha(
    true_alpha,
    inferred_alpha,
    sampling_frequency=250,
    n_samples=2000,
    titles=["Ground truth", "DyNeMo"],
    y_label="alpha",
)
save_figure(figure, "figures/alpha.png")
save_figure(plot_covariances(covariances, state_names=modes), "figures/modes.png")
