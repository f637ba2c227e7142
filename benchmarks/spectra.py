"""State-weighted multitaper spectra beside osl-dynamics 3.7.2: time, memory, and whether the numbers are the same.

    python benchmarks/spectra.py --peer PYTHON [--subjects 20] [--seconds 300] [--channels 38] [--states 6]

PYTHON is that of an environment with osl-dynamics 3.7.2. Both are given the same signals and states of 100 ms, one
thread each, and give spectra and coherence of every subject from 1 to 45 Hz. dynml transforms float32, as signals
are stored, and adds up in float64. Each runs in a process of its own. Memory is what the process holds at most beyond
what it held before.

The definitions differ: the peer's windows are centred on every other second, so that half of the first one is zeros
and counts, and it divides by the mean squared weight of the whole recording. So the numbers are compared by the same
functions with the peer's windows and divisor; in both cases zero and half the rate are not among the frequencies. How
far the first window is off is told as well, by the power of white noise with one state. Results go to
benchmarks/results/spectra.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

RATE, WINDOW = 250.0, 500
RESULT = Path(__file__).parent / "results" / "spectra.json"

COMMON = """
import json, resource, sys, time
import numpy as np
held = np.load(sys.argv[1])
signals, states = list(held["signals"]), held["states"]
alpha = [np.eye(int(states.max()) + 1)[own] for own in states]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
"""

OWN = (
    COMMON
    + """
from dynml.ops.spectra.cross_spectra import coherence, power
from dynml.ops.spectra.multitaper import multitaper_spectra
from dynml.ops.spectra.windows import slepian_tapers, window_starts
tapers = slepian_tapers(500, 4)
def run(x, a):
    starts = window_starts(np.array([[0, len(x)]]), 500, 500)
    found = multitaper_spectra(x.astype(np.float32), a, starts, tapers, 250.0, (1, 45))
    return power(found.values), coherence(found.values)
run(signals[0][:2000], alpha[0][:2000])
before, begin = peak(), time.perf_counter()
total = None
for x, a in zip(signals, alpha):
    own = run(x, a)
    total = own if total is None else [one + other for one, other in zip(total, own)]
print("RESULT", json.dumps({"seconds": time.perf_counter() - begin, "mebibytes": peak() - before}))
"""
)

PEER = (
    COMMON
    + """
from osl_dynamics.analysis.spectral import multitaper_spectra
settings = dict(sampling_frequency=250, window_length=500, time_half_bandwidth=4, n_tapers=7, frequency_range=[1, 45],
                standardize=False, keepdims=True)
multitaper_spectra(signals[0][:2000], alpha=alpha[0][:2000], **settings)
before, begin = peak(), time.perf_counter()
multitaper_spectra(signals, alpha=alpha, **settings)
print("RESULT", json.dumps({"seconds": time.perf_counter() - begin, "mebibytes": peak() - before}))
short, settings["alpha"] = [own[:5000] for own in signals[:3]], [own[:5000] for own in alpha[:3]]
_, values = multitaper_spectra(short, calc_cpsd=True, calc_coh=False, **settings)
_, _, coh = multitaper_spectra(short, **settings)
noise = np.random.default_rng(0).standard_normal((600, 200))
_, white, _ = multitaper_spectra(noise[None], **{**settings, "alpha": np.ones((1, 600, 1)), "window_length": 200})
np.savez(sys.argv[2], values=values, coherence=coh, white=white)
"""
)


def simulated(n_subjects: int, seconds: int, n_channels: int, n_states: int) -> dict[str, Any]:
    """White signals under a mixing of each state's own, and states of 100 ms on average."""
    generator = np.random.default_rng(1)
    n_samples = int(seconds * RATE)
    mixing = generator.standard_normal((n_states, n_channels, n_channels)) / np.sqrt(n_channels)
    signals = generator.standard_normal((n_subjects, n_samples, n_channels))
    states = np.empty((n_subjects, n_samples), dtype=np.int8)
    for number in range(n_subjects):
        steps = np.where(generator.random(n_samples) < 1 / (0.1 * RATE), generator.integers(1, n_states, n_samples), 0)
        states[number] = np.cumsum(steps) % n_states
        for state in range(n_states):
            own = states[number] == state
            signals[number, own] = signals[number, own] @ mixing[state]
    return {"signals": signals, "states": states}


def measured(python: str, code: str, *arguments: str) -> dict[str, float]:
    """Run code by a Python on one thread and read its last RESULT."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, **threads}, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")))


def by_the_peers_windows(signals: Any, states: Any, n_states: int) -> Any:
    """Cross spectra by dynml's functions, with the peer's windows and divisor, (K, F, C, C)."""
    from dynml.ops.spectra.multitaper import multitaper_spectra
    from dynml.ops.spectra.windows import slepian_tapers

    tapers, weights = slepian_tapers(WINDOW, 4), np.eye(n_states)[states]
    n_windows = len(signals) // WINDOW
    padded = [np.pad(own, ((WINDOW // 2, WINDOW // 2), (0, 0))) for own in (signals, weights)]
    starts = np.arange(n_windows) * WINDOW
    found = multitaper_spectra(*padded, starts, tapers, RATE, (1, 45))
    used = np.zeros(n_states)
    for start in starts:
        used += (np.square(padded[1][start : start + WINDOW])[:, :, None] * np.square(tapers.T)[:, None]).sum((0, 2))
    scale = used / (n_windows * len(tapers)) * len(signals) / np.square(weights).sum(axis=0)
    return found.values * scale[:, None, None, None]


def compared(data: dict[str, Any], peers: Any, n_states: int) -> dict[str, float]:
    """Largest differences, relative to the largest value of a subject."""
    from dynml.ops.spectra.cross_spectra import coherence

    spectra, coherences = 0.0, 0.0
    for number in range(min(3, len(data["signals"]))):
        own = by_the_peers_windows(data["signals"][number][:5000], data["states"][number][:5000], n_states)
        theirs = np.moveaxis(peers["values"][number], -1, 1)
        spectra = max(spectra, float(np.abs(own - theirs).max() / np.abs(theirs).max()))
        coherences = max(coherences, float(np.abs(coherence(own) - peers["coherence"][number]).max()))
    return {"cross_spectra": spectra, "coherence": coherences}


def main() -> None:
    """Simulate, run both, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True)
    for name, default in (("subjects", 20), ("seconds", 300), ("channels", 38), ("states", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    sizes = parser.parse_args()
    data = simulated(sizes.subjects, sizes.seconds, sizes.channels, sizes.states)
    with tempfile.TemporaryDirectory() as folder:
        file, found = Path(folder, "signals.npz"), Path(folder, "peer.npz")
        np.savez(file, **data)
        own = measured(sys.executable, OWN, str(file))
        peer = measured(sizes.peer, PEER, str(file), str(found))
        theirs = np.load(found)
        result = {
            "sizes": {key: value for key, value in vars(sizes).items() if key != "peer"},
            "dynml": own,
            "osl-dynamics 3.7.2": peer,
            "times_faster": peer["seconds"] / own["seconds"],
            "share_of_memory": own["mebibytes"] / peer["mebibytes"],
            "largest_difference": compared(data, theirs, sizes.states),
            "white_noise_of_3_windows_over_truth": {
                "osl-dynamics 3.7.2": float(theirs["white"].mean() / (2 / RATE)),
                "dynml": white_noise_over_truth(),
            },
        }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def white_noise_over_truth() -> float:
    """Power of white noise, one state, 600 samples in windows of 200."""
    from dynml.ops.spectra.cross_spectra import power
    from dynml.ops.spectra.multitaper import multitaper_spectra
    from dynml.ops.spectra.windows import slepian_tapers, window_starts

    noise = np.random.default_rng(0).standard_normal((600, 200))
    starts = window_starts(np.array([[0, 600]]), 200, 200)
    found = multitaper_spectra(noise, np.ones((600, 1)), starts, slepian_tapers(200, 4), RATE, (1, 45))
    return float(power(found.values).mean() / (2 / RATE))


if __name__ == "__main__":
    main()
