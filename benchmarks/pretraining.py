"""Accuracy by labelled and unlabelled participants and by share of nonlinear signal, pre-trained or not.

    python benchmarks/pretraining.py [--folder FOLDER] [--nonlinear_share 0.95 0.8 0.5] [--n_unlabelled 20 50 200]
        [--n_labelled 2 5 10] [--dropout 0] [--epochs 20] [--seeds 0 1 2 3 4] [--data_seed 1] [--again]
        [--kind maps | amplitudes]

Trials of `phase_multiplication` (`maps`): two classes with the same distribution, covariances and spectra, in which the
sources follow another nonlinear map; or of amplitude_trials.py (`amplitudes`), in which a fast oscillation is largest
at another phase of a slow one. The rest of the variance is white noise, which tells nothing. A causal model is trained
on the unlabelled participants, some of whom are labelled, and 40 others are tested, 800 trials. Each seed draws
labelled participants, initial weights and order of the batches anew, and where not all 200 are unlabelled, these, too.
Labelled participants of a seed are the same whatever the number of unlabelled ones, the tested ones always;
pre-training takes as many steps with few as with many, and keeps the epoch that is best on 10 other participants. With
the same participants and settings:

    best_baseline   the best on the tested trials of `linear`, `functional_connectivity` and the linear answer
    scratch         the decoder with the same transformer, not pre-trained
    linear_probe    a linear head on the mean state of the pre-trained model
    attentive_probe    the same on the states weighted by a learnt query
    adapted         the pre-trained model, all of it trained
    true_map        which map fits the unmixed sources better
    true_dynamics   under which map the trial is likelier, given all that the simulation knows: no one does better
    true_coupling   which phase of the slow oscillation fits the squared fast one better, sources and phases known

Dropout and epochs are those of the pre-training; without dropout it predicts other participants better. All decoders
have the default settings. Results are added to benchmarks/results/pretraining.json, or pretraining_amplitudes.json, as
they come; what is there is not measured again, unless `--again` is given.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import amplitude_trials
import numpy as np
import torch
from decoding_runs import decoded, paired_difference, read_results, train, write_results

from dynml.models.sequence.decoding.answer.choice import Floats
from dynml.models.sequence.decoding.baselines import fit_baselines
from dynml.models.sequence.decoding.evaluation import signals_of_trials
from dynml.models.sequence.decoding.targets import Trials
from dynml.simulation import Simulation, read_truth, simulate_phase_multiplication, write_simulation

SIMULATION = {"n_samples": 600, "n_channels": 4, "n_sources": 2}
N_UNLABELLED, N_VALIDATION, N_TESTED = 200, 10, 40
SIZES = {"embedding_dim": 32, "n_layers": 2}
LEARNING_RATE = 0.003
"""Of the pre-training."""
N_PHASES = 180
"""Of the grid on which trials are filtered under the true dynamics."""
TRUTHS = ("true_map", "true_dynamics", "true_coupling")
ARMS: dict[str, dict[str, Any]] = {
    "scratch": {"backbone": "csm", **SIZES},
    "linear_probe": {"fine_tuning": "linear_probe"},
    "attentive_probe": {"fine_tuning": "linear_probe", "pooling": "attention"},
    "adapted": {},
}
PAIRS = (
    ("adapted", "scratch"),
    ("adapted", "best_baseline"),
    ("linear_probe", "best_baseline"),
    ("attentive_probe", "linear_probe"),
)


class Kind(NamedTuple):
    """Of simulation: what makes people, what is known of their trials, and how models of them are trained."""

    results: str
    settings: dict[str, Any]
    simulate: Callable[..., Simulation]
    known_by_truth: Callable[[Path, Trials], dict[str, float]]
    window_length: int

    @property
    def sampler(self) -> dict[str, int]:
        """Settings of the batches of pre-training."""
        return {"window_length": self.window_length, "batch_size_training": 32}


class Cell(NamedTuple):
    """What is known of the data that a model is trained on."""

    nonlinear_share: float
    n_unlabelled: int
    dropout: float
    epochs: int
    n_labelled: int
    data_seed: int
    seed: int

    def __str__(self) -> str:
        people = f"people {self.data_seed}, seed {self.seed}"
        return f"{self.n_labelled} labelled, {self.pretraining}, share {self.nonlinear_share:g}, {people}"

    @property
    def pretraining(self) -> str:
        """On whom, and how."""
        return f"{self.n_unlabelled} unlabelled for {self.epochs} epochs with dropout {self.dropout:g}"

    @classmethod
    def of(cls, key: str) -> Cell:
        """The cell whose name this is."""
        n_labelled, n_unlabelled, epochs, dropout, share, data_seed, seed = map(float, re.findall(r"[\d.]+", key))
        numbers = (int(number) for number in (epochs, n_labelled, data_seed, seed))
        return cls(share, int(n_unlabelled), dropout, *numbers)


def made_store(folder: Path, cell: Cell, kind: Kind) -> Path:
    """The simulated people; a store that is there is taken."""
    path = folder / f"{kind.results}_{cell.data_seed}_share_{cell.nonlinear_share:g}.hdf5"
    if not path.exists():
        drawn = {"nonlinear_share": cell.nonlinear_share, "seed": cell.data_seed}
        n_subjects = N_UNLABELLED + N_VALIDATION + N_TESTED
        simulation = kind.simulate(n_subjects=n_subjects, **drawn).standardize()
        write_simulation(simulation, path, n_validation_subjects=N_VALIDATION, n_testing_subjects=N_TESTED)
    return path


def pretrained(folder: Path, store: Path, cell: Cell, kind: Kind) -> Path:
    """The experiment of a model of the unlabelled participants; a finished one is taken."""
    drawn, trainer = "", {"max_epochs": cell.epochs, "learning_rate": LEARNING_RATE}
    settings = {"model": SIZES | {"dropout": cell.dropout}, "sampler": kind.sampler, "trainer": trainer}
    if cell.n_unlabelled < N_UNLABELLED:
        drawn = f"_seed_{cell.seed}"
        # Smaller draws by a seed are part of larger ones: the labelled participants are among the unlabelled.
        settings["dataset"] = {"n_training_subjects": cell.n_unlabelled, "seed": cell.seed}
        trainer |= {"max_epochs": round(cell.epochs * N_UNLABELLED / cell.n_unlabelled), "seed": cell.seed}
    place = folder / f"{store.stem}_{cell.pretraining.replace(' ', '_')}{drawn}"
    if not (place / "summary.json").exists():
        train("csm", place, store, "signals", settings, None)
    return place


def known_by_map(store: Path, trials: Trials) -> dict[str, float]:
    """Shares of trials whose class has the map that explains most of the unmixed sources, and the likelier map."""
    truth = read_truth(store)
    assert truth.source_weights is not None
    unmixing = np.linalg.pinv(truth.source_weights)
    variances = unmixing**2 @ truth.noise_deviations**2
    multipliers, phase_noise = truth.arguments["multipliers"], truth.arguments["phase_noise"]
    by_map, by_likelihood = [], []
    for signals in signals_of_trials(trials, np.arange(len(trials))):
        sources = (signals - truth.offsets) @ unmixing.T
        phases = np.arccos(np.clip(sources, -1, 1))
        by_map.append([(np.cos(m * phases[:-1]) * np.cos(phases[1:])).sum() for m in multipliers])
        by_likelihood.append([log_likelihood(sources, variances, m, phase_noise) for m in multipliers])
    return {
        "true_map": float(np.mean(np.argmax(by_map, axis=1) == trials.truth)),
        "true_dynamics": float(np.mean(np.argmax(by_likelihood, axis=1) == trials.truth)),
    }


def log_likelihood(sources: Floats, variances: Floats, multiplier: int, phase_noise: float) -> float:
    """Of noisy sources (T, S) whose phases are multiplied from sample to sample, by filtering on a grid of phases."""
    grid = (np.arange(N_PHASES) + 0.5) * 2 * np.pi / N_PHASES
    steps = (grid - multiplier * grid[:, None] + np.pi) % (2 * np.pi) - np.pi
    moves = np.exp(-((steps / phase_noise) ** 2) / 2)
    moves /= moves.sum(axis=1, keepdims=True)
    total, weights = 0.0, np.full((sources.shape[1], N_PHASES), 1 / N_PHASES)
    for time_point, sample in enumerate(sources):
        weights = weights @ moves if time_point else weights
        weights = weights * np.exp(-((sample[:, None] - np.cos(grid)) ** 2) / (2 * variances[:, None]))
        sums = weights.sum(axis=1, keepdims=True)
        total, weights = total + float(np.log(sums).sum()), weights / sums
    return total


def scored(arm: str, place: Path, store: Path, experiment: Path | None, cell: Cell, kind: Kind) -> dict[str, float]:
    """Accuracy on the tested participants of one decoder, and with the arm `scratch` of the baselines."""
    begin = time.process_time()
    settings = {
        "model": {"target": "trial_type", **ARMS[arm]},
        "dataset": {"n_training_subjects": cell.n_labelled, "seed": cell.seed},
        "trainer": {"seed": cell.seed},
    }
    trainer = train("decoding", place, store, "signals", settings, experiment)
    accuracy = decoded(trainer, "testing").accuracy
    assert accuracy is not None
    found = {arm: accuracy, f"share_of_{arm}": float(trainer.model.network_share)}
    if arm == "scratch":
        trainer.model.network_share.fill_(0.0)
        testing = trainer.trials("testing")
        choices = {"by_runs": False, "balanced": False, "most_trials": 4000, "seed": cell.seed}
        fitted = fit_baselines(trainer.trials("training"), **choices)
        scores = [decoded(trainer, "testing").accuracy]
        scores += [one.accuracy(testing) for name, one in fitted.items() if one is not None and name != "majority"]
        found["best_baseline"] = max(score for score in scores if score is not None)
        found |= kind.known_by_truth(store, testing)
    return found | {f"processor_seconds_of_{arm}": time.process_time() - begin}


def summarized(runs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means over seeds by cell and number of labelled participants, and paired differences with 95 % intervals."""
    cells = {key: Cell.of(key) for key in runs}
    by_cell: dict[str, Any] = {}
    for known in sorted({cell[:5] for cell in cells.values()}):
        own = [key for key, cell in cells.items() if cell[:5] == known]
        first_cell, own_runs = cells[own[0]], [runs[key] for key in own]
        means: dict[str, Any] = {}
        for arm in (*ARMS, "best_baseline", *TRUTHS):
            values = [run[arm] for run in own_runs if arm in run]
            if values:
                means[arm] = {"mean": float(np.mean(values)), "n_seeds": len(values)}
        for first, second in PAIRS:
            gaps = [run[first] - run[second] for run in own_runs if first in run and second in run]
            if len(gaps) > 1:
                means[f"{first} - {second}"] = paired_difference(gaps)
        name = f"{first_cell.pretraining}, share {first_cell.nonlinear_share:g}"
        by_cell.setdefault(name, {})[f"{first_cell.n_labelled} labelled"] = means
    return by_cell


def cells_of(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Those to measure, a seed at a time, without those where more participants would be labelled than there are."""
    for seed in arguments.seeds:
        for share in arguments.nonlinear_share:
            for n_unlabelled in arguments.n_unlabelled:
                for n_labelled in arguments.n_labelled:
                    if n_labelled <= n_unlabelled:
                        pretraining = (share, n_unlabelled, arguments.dropout, arguments.epochs)
                        yield Cell(*pretraining, n_labelled, arguments.data_seed, seed)


def measured(cell: Cell, arm: str, folder: Path, runs: dict[str, dict[str, float]], kind: Kind) -> dict[str, float]:
    """Accuracies of one decoder; one from scratch is the same whatever the pre-training."""
    others = (run for key, run in runs.items() if _without_pretraining(Cell.of(key)) == _without_pretraining(cell))
    if arm == "scratch" and (same := next((one for one in others if arm in one), None)) is not None:
        names = ("share_of_scratch", "best_baseline", *TRUTHS, "processor_seconds_of_scratch")
        return {name: same[name] for name in (arm, *names) if name in same}
    store = made_store(folder, cell, kind)
    experiment = None if arm == "scratch" else pretrained(folder, store, cell, kind)
    with tempfile.TemporaryDirectory() as place:
        return scored(arm, Path(place) / "run", store, experiment, cell, kind)


def _without_pretraining(cell: Cell) -> Cell:
    return cell._replace(n_unlabelled=0, dropout=0, epochs=0)


KINDS = {
    "maps": Kind(
        "pretraining", SIMULATION, functools.partial(simulate_phase_multiplication, **SIMULATION), known_by_map, 20
    ),
    "amplitudes": Kind(
        "pretraining_amplitudes",
        amplitude_trials.SETTINGS,
        amplitude_trials.simulate,
        amplitude_trials.known_by_truth,
        100,
    ),
}


def main() -> None:
    """Simulate, pre-train, decode, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=list(KINDS), default="maps")
    parser.add_argument("--folder", type=Path, help="keeps stores and pre-training")
    parser.add_argument("--nonlinear_share", type=float, nargs="+", default=[0.95], help="of the variance")
    parser.add_argument("--n_unlabelled", type=int, nargs="+", default=[N_UNLABELLED], help=f"at most {N_UNLABELLED}")
    parser.add_argument("--dropout", type=float, default=0.0, help="of the pre-training")
    parser.add_argument("--epochs", type=int, default=20, help="of pre-training on all; as many more on fewer")
    parser.add_argument("--n_labelled", type=int, nargs="+", default=[2, 5, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--data_seed", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kind = KINDS[arguments.kind]
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    for cell in cells_of(arguments):
        for arm in arguments.arms:
            runs = read_results(kind.results).get("runs", {})
            if arm in runs.get(str(cell), {}) and not arguments.again:
                continue
            found = measured(cell, arm, folder, {} if arguments.again else runs, kind)
            print(cell, json.dumps(found), flush=True)
            runs[str(cell)] = runs.get(str(cell), {}) | found
            pretraining = {"model": SIZES, "sampler": kind.sampler, "learning_rate": LEARNING_RATE}
            report = {"simulation": kind.settings, "pretraining": pretraining}
            write_results(kind.results, report | {"by_cell": summarized(runs), "runs": runs})


if __name__ == "__main__":
    main()
