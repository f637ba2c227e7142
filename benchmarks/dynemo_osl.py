"""The peer's part of dynemo_fit.py, run by the Python of an environment that has osl-dynamics 3.7.2.

PYTHON dynemo_osl.py fit JSON        one whole fit; the last line of the output is RESULT and JSON
PYTHON dynemo_osl.py epochs JSON     an epoch for each line on standard input, a line of JSON for each epoch
"""

import json
import resource
import sys
import time

import keras
import numpy as np
from osl_dynamics.data import Data
from osl_dynamics.models.dynemo import Config, Model


def make_model(series, sizes):
    """A model with the settings of the tutorials."""
    config = Config(
        n_modes=sizes["n_modes"],
        n_channels=series.shape[1],
        sequence_length=sizes["sequence_length"],
        inference_n_units=64,
        inference_normalization="layer",
        model_n_units=64,
        model_normalization="layer",
        learn_alpha_temperature=True,
        initial_alpha_temperature=1.0,
        learn_means=False,
        learn_covariances=True,
        do_kl_annealing=True,
        kl_annealing_curve="tanh",
        kl_annealing_sharpness=10,
        n_kl_annealing_epochs=max(sizes["epochs"] // 2, 1),
        batch_size=sizes["batch_size"],
        learning_rate=0.01,
        n_epochs=sizes["epochs"],
    )
    return Model(config)


def peak_mebibytes():
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watch(keras.callbacks.Callback):
    """Free energy every few epochs, while the clock stands."""

    def __init__(self, peer, data, begin, every):
        super().__init__()
        self.peer, self.data, self.begin, self.every = peer, data, begin, every
        self.paused, self.seen = 0.0, []

    def on_epoch_end(self, epoch, logs=None):
        """Look."""
        if (epoch + 1) % self.every == 0:
            now = time.perf_counter()
            self.seen.append([epoch + 1, now - self.begin - self.paused, float(self.peer.free_energy(self.data))])
            self.paused += time.perf_counter() - now


class Turns(keras.callbacks.Callback):
    """Waits for a line before each epoch, and says how long the epoch took."""

    def on_epoch_begin(self, epoch, logs=None):
        """Wait."""
        sys.stdin.readline()
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Answer."""
        seconds = time.perf_counter() - self.begin
        print("EPOCH" + json.dumps({"seconds": seconds, "peak_mebibytes": peak_mebibytes()}), flush=True)


def fit(job):
    """Load, fit, score; the covariances and alpha go to a file."""
    begin = time.perf_counter()
    series = np.load(job["data"])["time_series"]
    data = Data(series)
    model = make_model(series, job)
    watch = Watch(model, data, begin, job["evaluate_every"])
    np.random.seed(job["seed"])
    keras.utils.set_random_seed(job["seed"])
    model.fit(data, callbacks=[watch], verbose=0)
    total = time.perf_counter() - begin - watch.paused
    np.savez(job["out"], alpha=model.get_alpha(data), covariances=model.get_covariances())
    result = {"seconds": total, "free_energy_at_mean": float(model.free_energy(data)), "watched": watch.seen}
    print("RESULT" + json.dumps(result | {"peak_mebibytes": peak_mebibytes()}))


def epochs(job):
    """Epochs by turns."""
    series = np.load(job["data"])["time_series"]
    data = Data(series)
    make_model(series, job).fit(data, callbacks=[Turns()], verbose=0)


if __name__ == "__main__":
    {"fit": fit, "epochs": epochs}[sys.argv[1]](json.loads(sys.argv[2]))
