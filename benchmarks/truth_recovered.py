"""States of one simulation, found by dynml and by peers at their own defaults, beside the truth: figures and a picture.

    python benchmarks/truth_recovered.py [--seeds 5] [--osl_python VENV/bin/python]

Six states of 20 channels that differ in covariance alone, 20,000 samples. dynml: `HMM(n_states=6)`. hmmlearn:
`GaussianHMM(6, "full", n_iter=100)`, which starts by k-means. osl-dynamics: initialization and fit of its tutorial
"HMM: Training". Free energy is -log p(x) a sample, in nats. Results go to benchmarks/results/truth_recovered.json; the
picture, of the first seed, to docs/images/truth_recovered.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from hmm_pass import RESULTS, machine

from dynml import HMM
from dynml.ops.matching import match_paths
from dynml.ops.metrics import dice_coefficient
from dynml.plotting.style import new_figure, save_figure, state_colours
from dynml.simulation import simulate_hmm

N_STATES, N_SHOWN, RATE = 6, 1000, 250.0
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "truth_recovered.png"
OSL = """
import sys
import numpy as np
import tensorflow as tf
from osl_dynamics.data import Data
from osl_dynamics.models.hmm import Config, Model
series, out, seed = np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])
tf.keras.utils.set_random_seed(seed)
data = Data(series)
model = Model(Config(n_states=6, n_channels=series.shape[1], sequence_length=200, learn_means=False,
                     learn_covariances=True, batch_size=32, learning_rate=0.01, n_epochs=20))
model.random_state_time_course_initialization(data, n_epochs=1, n_init=3)
model.fit(data)
alpha = model.get_alpha(data)
np.savez(out, path=np.asarray(alpha).argmax(1), free_energy=float(model.free_energy(data)))
"""


def by_dynml(series, seed):
    """Most probable states and free energy."""
    hmm = HMM(n_states=N_STATES, learn_means=False, sampling_frequency=RATE, random_state=seed).fit(series)
    return hmm.predict(series), -hmm.score(series)


def by_hmmlearn(series, seed):
    """The same."""
    from hmmlearn.hmm import GaussianHMM

    peer = GaussianHMM(N_STATES, "full", n_iter=100, random_state=seed).fit(series.astype(np.float64))
    return peer.predict(series.astype(np.float64)), -peer.score(series.astype(np.float64)) / len(series)


def by_osl_dynamics(python):
    """Give the same, in an environment of its own."""

    def fitted(series, seed):
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder) / "series.npy", Path(folder) / "found.npz"
            np.save(path, series)
            subprocess.run([python, "-c", OSL, str(path), str(out), str(seed)], check=True, capture_output=True)
            found = np.load(out)
            return found["path"], float(found["free_energy"])

    return fitted


def draw(strips):
    """One strip of colours a method, over the first seconds."""
    figure = new_figure(8.0, 0.75 * len(strips) + 0.5)
    colours = np.array([[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in state_colours(N_STATES)]) / 255
    for axes, (title, path) in zip(np.atleast_1d(figure.subplots(len(strips), 1, sharex=True)), strips):
        axes.imshow(colours[path[None, :N_SHOWN]], aspect="auto", extent=(0, N_SHOWN / RATE, 0, 1))
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_yticks([])
    axes.set_xlabel("time (s)", fontsize=9)
    save_figure(figure, PICTURE)


def main() -> None:
    """Simulate, fit, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--osl_python")
    arguments = parser.parse_args()
    methods = {"dynml": by_dynml, "hmmlearn": by_hmmlearn}
    if arguments.osl_python:
        methods["osl-dynamics"] = by_osl_dynamics(arguments.osl_python)
    rows, strips = [], []
    for seed in range(arguments.seeds):
        simulation = simulate_hmm(
            n_states=N_STATES, n_channels=20, n_samples=20_000, observation_error=0.3, seed=seed
        ).standardize()
        series, truth = simulation.time_series[0].astype(np.float32), simulation.states[0]
        strips += [] if seed else [("simulated", truth)]
        for name, method in methods.items():
            begin = time.perf_counter()
            path, free_energy = method(series, seed)
            seconds = time.perf_counter() - begin
            order = match_paths(truth, path, n_states=N_STATES)
            dice = dice_coefficient(truth, np.argsort(order)[path])
            rows.append({"seed": seed, "method": name, "free_energy": free_energy, "dice": dice, "seconds": seconds})
            print(json.dumps(rows[-1]), flush=True)
            title = f"{name}: {dice:.1%} of the samples in the right state, free energy {free_energy:.2f} nats"
            strips += [] if seed else [(title, np.argsort(order)[path])]
        if not seed:
            draw(strips)
    report = {"date": date.today().isoformat(), "machine": machine("cpu"), "fits": rows}
    (RESULTS / "truth_recovered.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
