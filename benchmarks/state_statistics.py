"""Statistics of states beside osl-dynamics' on the same paths: equal where definitions agree.

    python benchmarks/state_statistics.py PYTHON_WITH_OSL_DYNAMICS

The other program runs in an environment of its own. Where a state is never visited it says 0 and dynml n/a, and its
switching rate does not count a visit at the very start; both are taken into account and counted.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dynml.analysis.state_statistics import state_statistics
from dynml.analysis.state_statistics.soft import reweighted
from dynml.analysis.state_statistics.transitions import transition_counts, transition_probabilities
from dynml.analysis.state_statistics.visits import all_visits
from dynml.simulation.kinds.hmm import simulate_hmm

RATE, N_STATES = 250.0, 5
PEER = """
import sys
import numpy as np
from osl_dynamics.analysis import post_hoc
from osl_dynamics.inference import modes

given = np.load(sys.argv[1])
paths = [given[f"path_{number}"] for number in range(3)]
rate = float(given["rate"])
alphas = [given[f"alpha_{number}"] for number in range(3)]
np.savez(
    sys.argv[2],
    fractional_occupancy=post_hoc.fractional_occupancies(paths),
    mean_lifetime=post_hoc.mean_lifetimes(paths, sampling_frequency=rate),
    mean_interval=post_hoc.mean_intervals(paths, sampling_frequency=rate),
    switching_rate=post_hoc.switching_rates(paths, sampling_frequency=rate),
    transitions=post_hoc.calc_trans_prob_matrix(paths, n_states=int(given["n_states"])),
    reweighted=np.stack([one.mean(axis=0) for one in modes.reweight_alphas(alphas, given["covariances"])]),
)
"""


def main(python):
    """Compare and write what the largest differences are."""
    generator = np.random.default_rng(1)
    states = simulate_hmm(
        n_subjects=3, n_states=N_STATES, n_channels=2, n_samples=20_000, stay_probability=0.95, seed=1
    ).states
    alphas = [generator.dirichlet(np.ones(N_STATES), size=5000).astype(np.float64) for _ in range(3)]
    factors = generator.normal(size=(N_STATES, 4, 4))
    covariances = factors @ factors.transpose(0, 2, 1)
    arrays = {f"path_{number}": np.eye(N_STATES, dtype=int)[path] for number, path in enumerate(states)}
    arrays |= {f"alpha_{number}": alpha for number, alpha in enumerate(alphas)}
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(given, **arrays, covariances=covariances, rate=RATE, n_states=N_STATES)
        subprocess.run([python, "-c", PEER, given, found], check=True)
        peer = dict(np.load(found))
    own = [state_statistics(path, None, RATE, n_states=N_STATES) for path in states]
    # The peer misses a visit that begins with the recording.
    first = np.stack([np.eye(N_STATES)[path[0]] * RATE / len(path) for path in states])
    mine = {
        "fractional_occupancy": np.stack([one.fractional_occupancy for one in own]),
        "mean_lifetime": np.stack([one.mean_lifetime for one in own]),
        "mean_interval": np.stack([one.mean_interval for one in own]),
        "switching_rate": np.stack([one.switching_rate for one in own]) - first,
        "transitions": np.stack(
            [transition_probabilities(transition_counts(path, None, n_states=N_STATES)) for path in states]
        ),
        "reweighted": np.stack([reweighted(alpha, covariances).mean(axis=0) for alpha in alphas]),
    }
    differences = {name: float(np.abs(mine[name] - peer[name]).max()) for name in mine}
    visits = [all_visits(path, None, n_states=N_STATES) for path in states]
    results = {"largest_difference": differences, "n_visits": [len(one.state) for one in visits]}
    print(json.dumps(results, indent=2))
    (Path(__file__).parent / "results" / "state_statistics.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
