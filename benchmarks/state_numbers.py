"""How often a selection names the true number of states, and says "no states" of data without any.

    python benchmarks/state_numbers.py FOLDER --kinds 3 5 8 --seeds 0:10
    python benchmarks/state_numbers.py FOLDER --kinds white var pink smoothed heavy --seeds 0:20
    python benchmarks/state_numbers.py FOLDER --summary benchmarks/results/state_numbers.json

A kind is a number of states that people share and switch between, by the models of dynml_simulate_data.py, or a
stationary noise: white with one covariance, a vector autoregression, noise whose power falls with the frequency, noise
smoothed as BOLD signals are, an autoregression driven by heavy-tailed noise. Each seed is a simulation of ten people
and a selection over numbers of states around the true one, surrogates included, by the functions behind
dynml_select_model.py, all in this process. A row is written to FOLDER/state_numbers.jsonl as soon as it is known; seeds
that are there are not done again.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows_by_seed import parser_of_seeds, rows_by_seed

N_PEOPLE, N_SAMPLES, N_CHANNELS = 10, 400, 6
FOLDS = 2
N_BEFORE = 200
"""Samples before the first that is kept, until an autoregression has forgotten how it began."""
ROWS = "state_numbers.jsonl"
SHOWN = ("states", "no states", "nothing about dynamics")
"""What a verdict comes to; the last one where a mixture, with the autocorrelation of the data, explains as much."""
SCRIPTS = Path(__file__).parents[1] / "scripts_python"


def main() -> None:
    """Do what is missing, or sum up what is there."""
    parser = parser_of_seeds(__doc__, "0:10")
    parser.add_argument("--kinds", nargs="+", default=["3"])
    arguments = parser.parse_args()
    keys = [{"kind": kind} for kind in arguments.kinds]
    rows_by_seed(arguments, ROWS, keys, lambda key, seed: selected(key["kind"], seed), summed_up)


def selected(kind: str, seed: int) -> dict[str, Any]:
    """Simulate and select; gives the chosen number and the scores that led to it."""
    from dynml.cli.commands.selection.one_run import carry_out
    from dynml.cli.commands.selection.outcome import outcome_of, ranking_of
    from dynml.cli.commands.selection.select_model import parse_selection
    from dynml.cli.commands.selection.stationary import stationary_runs

    n_states = true_number(kind)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        store = Path(folder) / "store.hdf5"
        if n_states:
            simulate(store, n_states, seed)
        else:
            write_noise(Path(folder), store, NOISES[kind], seed)
        first, last = max(2, n_states - 1), max(4, n_states + 2)
        options = ("--seeds", "1", "--folds", str(FOLDS), "--n_jobs", "1", "--split_halves", "false")
        grid = ("--grid", f"model.n_states={first}:{last}")
        sys.argv = ["dynml_select_model.py", "hmm", folder, "selection", str(store), "signals", *options, *grid]
        request = parse_selection(None)
        results = [(run, carry_out(run)) for run in request.runs(FOLDS)]
        stationary = stationary_runs(request, ranking_of(results, "participant"), FOLDS)
        outcome = outcome_of(results + [(run, carry_out(run)) for run in stationary], "participant")
    best_ranked = outcome.ranking.best_ranked
    return {
        "tried": [first, last],
        "shown": SHOWN[(True, False, None).index(outcome.verdict.states)],
        "named": 0 if outcome.verdict.states is False else outcome.ranking.chosen.candidate.settings["model.n_states"],
        "best_ranked": best_ranked.candidate.settings["model.n_states"],
        "surrogates": bool(stationary),
        "differences": {
            one.candidate.settings["model.n_states"]: [round(one.difference.mean, 5), round(one.difference.low, 5)]
            for one in outcome.ranking.ranked
        },
        "gain_low": {name: round(one.low, 5) for name, one in best_ranked.gain.items()},
    }


def true_number(kind: str) -> int:
    """Number of states; 0 for noise."""
    return int(kind) if kind.isdecimal() else 0


def white(generator: np.random.Generator) -> Callable[[], np.ndarray]:
    """Make people who share one covariance; this and the following give a function that draws a person (T, C)."""
    mixing = generator.normal(size=(N_CHANNELS, N_CHANNELS))
    return lambda: generator.normal(size=(N_SAMPLES, N_CHANNELS)) @ mixing


def var(generator: np.random.Generator) -> Callable[[], np.ndarray]:
    """Make people who share a vector autoregression of order 1."""
    return autoregression(generator, lambda shape: generator.normal(size=shape))


def heavy(generator: np.random.Generator) -> Callable[[], np.ndarray]:
    """Make people who share an autoregression driven by t-distributed noise of 4 degrees of freedom."""
    return autoregression(generator, lambda shape: generator.standard_t(4, size=shape))


def autoregression(
    generator: np.random.Generator, noise: Callable[[tuple[int, int]], np.ndarray]
) -> Callable[[], np.ndarray]:
    """Draw coefficients with a largest modulus of eigenvalues of 0.9, and the noise's mixing."""
    coefficients = generator.normal(size=(N_CHANNELS, N_CHANNELS))
    coefficients *= 0.9 / np.abs(np.linalg.eigvals(coefficients)).max()
    mixing = generator.normal(size=(N_CHANNELS, N_CHANNELS))

    def person() -> np.ndarray:
        signals = noise((N_SAMPLES + N_BEFORE, N_CHANNELS)) @ mixing
        for time_point in range(1, len(signals)):
            signals[time_point] += signals[time_point - 1] @ coefficients
        return signals[N_BEFORE:]

    return person


def pink(generator: np.random.Generator) -> Callable[[], np.ndarray]:
    """Make people whose power falls as one over the frequency."""
    mixing = generator.normal(size=(N_CHANNELS, N_CHANNELS))
    amplitude = 1 / np.sqrt(np.maximum(np.fft.rfftfreq(2 * N_SAMPLES), 1 / (2 * N_SAMPLES)))

    def person() -> np.ndarray:
        spectrum = np.fft.rfft(generator.normal(size=(2 * N_SAMPLES, N_CHANNELS)), axis=0)
        # Half of what is drawn, so that the last sample is not a neighbour of the first.
        return np.fft.irfft(spectrum * amplitude[:, None], axis=0)[:N_SAMPLES] @ mixing

    return person


def smoothed(generator: np.random.Generator) -> Callable[[], np.ndarray]:
    """Make people of white noise under a Gaussian with a standard deviation of two samples."""
    from scipy.ndimage import gaussian_filter1d

    draw = white(generator)
    return lambda: gaussian_filter1d(draw(), 2.0, axis=0)


NOISES = {"white": white, "var": var, "pink": pink, "smoothed": smoothed, "heavy": heavy}


def write_noise(
    folder: Path, store: Path, noise: Callable[[np.random.Generator], Callable[[], np.ndarray]], seed: int
) -> None:
    """Write ten people of one noise as a store."""
    person = noise(np.random.default_rng([seed, len(noise.__name__)]))
    names = [f"sub-{number:02d}" for number in range(N_PEOPLE)]
    for name in names:
        (folder / "ready" / name).mkdir(parents=True)
        np.save(folder / "ready" / name / "run-0.npy", person().astype("f4"))
    group = {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 1}
    (folder / "config.json").write_text(json.dumps({"signals": group}), encoding="utf-8")
    lists = [folder / f"{subset}.txt" for subset in ("training", "validation", "testing")]
    for path, members in zip(lists, (names, [], []), strict=True):
        path.write_text("".join(f"{name}\n" for name in members), encoding="utf-8")
    run_here("dynml_create_hdf5_dataset.py", folder / "ready", store, folder / "config.json", *lists)
    assert store.is_file()


def simulate(store: Path, n_states: int, seed: int) -> None:
    """Write ten people who share states."""
    sizes = {"n_subjects": N_PEOPLE, "n_samples": N_SAMPLES, "n_channels": N_CHANNELS, "n_states": n_states}
    options = [text for key, value in {**sizes, "seed": seed}.items() for text in (f"--{key}", str(value))]
    run_here("dynml_simulate_data.py", "hmm", store, *options)
    assert store.is_file()


def run_here(script: str, *arguments: object) -> None:
    """Run a script in this process, which has imported what it needs."""
    sys.argv = [script, *map(str, arguments)]
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def summed_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How often the verdict on each kind is that there are states, and how often their number is the true one."""
    found: dict[str, Any] = {}
    for kind in sorted({row["kind"] for row in rows}):
        own = [row for row in rows if row["kind"] == kind]
        found[kind] = {
            "seeds": len(own),
            "shown": {words: sum(row["shown"] == words for row in own) for words in SHOWN},
            "states_of_the_true_number": sum(
                row["shown"] == "states" and row["named"] == true_number(kind) for row in own
            ),
            "without_surrogates": sum(not row["surrogates"] for row in own),
            "named": {str(row["seed"]): row["named"] for row in own},
            "processor_seconds_per_seed": float(np.median([row["processor_seconds"] for row in own])),
        }
    return found


if __name__ == "__main__":
    main()
