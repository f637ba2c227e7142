import pandas

from dynml.plotting.modes import plot_loss
from dynml.plotting.style import save_figure

logs = pandas.read_csv("experiments/first/logs/metrics.csv")
losses = {"training": logs.training_bound, "validation": logs.validation_loss}
figure = plot_loss(losses, annealing_factor=logs.kl_annealing_factor)
save_figure(figure, "figures/loss.png")
