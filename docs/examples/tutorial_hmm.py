# Part 1
from pathlib import Path

import numpy as np

from dynml import MultiSubjectDataset
from dynml.simulation import simulate_hmm

simulation = simulate_hmm(
    n_subjects=2,
    n_samples=4000,
    n_states=6,
    n_channels=80,
    stay_probability=0.95,
    seed=1,
)
Path("prepared_data").mkdir()
for subject, signals in zip(simulation.subjects, simulation.time_series):
    np.save(f"prepared_data/{subject}.npy", signals)

arrays = {
    path.stem: np.load(path) for path in sorted(Path("prepared_data").glob("*.npy"))
}
dataset = MultiSubjectDataset.from_arrays(
    arrays, sampling_frequency=250, standardization="per_subject"
)
# Part 2
from dynml import GaussianHMM, HMMConfig
from dynml.training.model_summary import model_summary

config = HMMConfig(n_states=6, learn_means=False, learn_covariances=True)
model = GaussianHMM(config, dataset.n_channels)
print(model_summary(model))
# Part 3
from dynml import BatchLoader, BatchSampler, HMMTrainer

Path("experiments").mkdir()
sampler = BatchSampler(
    dataset,
    strategy="whole_segments",
    batch_size_units="nb_samples",
    batch_size_training=1_000_000,
)
loader = BatchLoader(dataset, model, collate="packed")
trainer = HMMTrainer(
    model, "experiments", "in_python", sampler, loader, max_epochs=20, seed=1
)
summary = trainer.train_and_validate()
print(summary["stopping_reason"], "after", summary["epochs"], "epochs")
print(f"free energy: {summary['free_energy']['training']:.2f}")
for name, scores in summary["baselines"].items():
    print(f"{name}: {scores['training']:.2f}")
# Part 4
from dynml.plotting.curves import plot_free_energy
from dynml.plotting.style import save_figure

losses = np.load("experiments/in_python/logs/training_loss_per_epoch.npy")
figure = plot_free_energy({"training": losses}, summary["baselines"])
save_figure(figure, "figures/free_energy.png")
# Part 5
from dynml import load_experiment
from dynml.ops.matching import match_paths
from dynml.ops.metrics import dice_coefficient
from dynml.plotting.matrices import plot_covariances
from dynml.plotting.states import plot_state_probabilities

experiment = load_experiment("experiments/in_python")
inferred = np.concatenate([result.alpha for result in experiment.infer(dataset)])
truth = np.concatenate(simulation.states)
order = match_paths(truth, inferred)
dice = dice_coefficient(truth, inferred[:, order])
print(f"{dice:.1%} of the samples are in the right state")
assert dice > 0.95

save_figure(plot_state_probabilities(inferred[:2000, order], 250), "figures/states.png")
figure = plot_covariances(experiment.model.covariances[order], as_correlations=True)
save_figure(figure, "figures/covariances.png")
