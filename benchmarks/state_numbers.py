"""How often a selection names the true number of states, and says "no states" of stationary noise.

    python benchmarks/state_numbers.py FOLDER --states 3 --seeds 0:10
    python benchmarks/state_numbers.py FOLDER --states 0 --seeds 0:20       stationary noise, one covariance
    python benchmarks/state_numbers.py FOLDER --summary benchmarks/results/state_numbers.json

Each seed is a simulation of ten people by dynml_simulate_data.py's own models and a selection over numbers of states
around the true one, by the functions behind dynml_select_model.py, all in this process. A row is written to
FOLDER/state_numbers.jsonl as soon as it is known; seeds that are there are not done again.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rows_by_seed import parser_of_seeds, rows_by_seed

N_PEOPLE, N_SAMPLES, N_CHANNELS = 10, 400, 6
FOLDS = 2
ROWS = "state_numbers.jsonl"


def main() -> None:
    """Do what is missing, or sum up what is there."""
    parser = parser_of_seeds(__doc__, "0:10")
    parser.add_argument("--states", type=int, default=3)
    arguments = parser.parse_args()
    keys = [{"states": arguments.states}]
    rows_by_seed(arguments, ROWS, keys, lambda key, seed: selected(key["states"], seed), summed_up)


def selected(n_states: int, seed: int) -> dict[str, Any]:
    """Simulate and select; gives the chosen number and the scores that led to it."""
    from dynml.cli.commands.selection.one_run import carry_out
    from dynml.cli.commands.selection.outcome import outcome_of
    from dynml.cli.commands.selection.select_model import parse_selection

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        store = Path(folder) / "store.hdf5"
        simulate(store, n_states, seed)
        first, last = max(2, n_states - 1), max(3, n_states + 2)
        options = ("--seeds", "1", "--folds", str(FOLDS), "--n_jobs", "1", "--split_halves", "false")
        grid = ("--grid", f"model.n_states={first}:{last}")
        sys.argv = ["dynml_select_model.py", "hmm", folder, "selection", str(store), "signals", *options, *grid]
        results = [(run, carry_out(run)) for run in parse_selection(None).runs(FOLDS)]
        outcome = outcome_of(results, "participant")
    return {
        "tried": [first, last],
        "named": 0 if outcome.verdict.states is False else outcome.ranking.chosen.candidate.settings["model.n_states"],
        "best_ranked": outcome.ranking.best_ranked.candidate.settings["model.n_states"],
        "differences": {
            one.candidate.settings["model.n_states"]: [round(one.difference.mean, 5), round(one.difference.low, 5)]
            for one in outcome.ranking.ranked
        },
        "gain_low": {name: round(one.low, 5) for name, one in outcome.ranking.best_ranked.gain.items()},
    }


def simulate(store: Path, n_states: int, seed: int) -> None:
    """Write ten people who share states, or one covariance and nothing else."""
    import runpy

    sizes = {"n_subjects": N_PEOPLE, "n_samples": N_SAMPLES, "n_channels": N_CHANNELS, "n_states": max(n_states, 1)}
    options = [text for key, value in {**sizes, "seed": seed}.items() for text in (f"--{key}", str(value))]
    if n_states == 0:
        options += ["--n_validation_subjects", "0"]
    sys.argv = ["dynml_simulate_data.py", "hmm", str(store), *options]
    script = Path(__file__).parents[1] / "scripts_python" / "dynml_simulate_data.py"
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(script), run_name="__main__")
    assert store.is_file()


def summed_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many seeds of each true number named it."""
    found: dict[str, Any] = {}
    for n_states in sorted({row["states"] for row in rows}):
        own = [row for row in rows if row["states"] == n_states]
        found[str(n_states)] = {
            "seeds": len(own),
            "named_truly": sum(row["named"] == n_states for row in own),
            "named": {str(row["seed"]): row["named"] for row in own},
            "processor_seconds_per_seed": float(np.median([row["processor_seconds"] for row in own])),
        }
    return found


if __name__ == "__main__":
    main()
