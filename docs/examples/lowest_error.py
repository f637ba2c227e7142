import numpy as np

from dynml.simulation import read_truth
from dynml.simulation.filters.floor_scores import (
    mean_absolute_error_at,
    mean_squared_error_at,
)
from dynml.simulation.filters.switching_var import one_step_predictions, smoothed_states
from dynml.simulation.filters.switching_var_hidden import hidden_sample_predictions
from dynml.simulation.filters.switching_var_masked import masked_means_given_states
from dynml.simulation.filters.switching_var_merged import masked_predictions
from dynml.store.reading import Store

truth = read_truth("switching.hdf5")
with Store("switching.hdf5") as store:
    testing = store.subset("testing")
    signals = np.stack([store.read(subject, "signals") for subject in testing]).astype(
        np.float64
    )
states = np.stack([truth.states[subject] for subject in testing])
windows, window_states = signals.reshape(-1, 50, 8), states.reshape(-1, 50)
process = truth.process.from_within()  # windows begin in the middle of a recording

later = (np.arange(50) > 0)[:, None]
floor = mean_squared_error_at(one_step_predictions(process, windows), windows, later)
print(
    f"next sample: squared error {floor:.3f}; "
    f"of zero {mean_squared_error_at(0 * windows, windows, later):.3f}"
)

generator = np.random.default_rng(0)
visible = generator.random(windows.shape[:2]) > 0.2
medians = hidden_sample_predictions(process, windows, visible, statistic="median")
print(
    "hidden samples: absolute error "
    f"{mean_absolute_error_at(medians, windows, ~visible[..., None]):.3f}"
)

channels = generator.random((len(windows), 1, 8)) > 0.2
known = mean_squared_error_at(
    masked_means_given_states(process, windows, channels, window_states),
    windows,
    ~channels,
)
merged = mean_squared_error_at(
    masked_predictions(process, windows, channels), windows, ~channels
)
print(f"hidden channels: squared error between {known:.3f} and {merged:.3f}")

decoded = smoothed_states(process, windows).argmax(axis=2)
print(f"states: {np.mean(decoded == window_states):.1%} right")
assert floor < 0.6
assert known <= merged
