"""How often states that are subjects are told as subjects, and states that subjects share are not called so.

    python benchmarks/subjects_or_states.py FOLDER --seeds 0:20
    python benchmarks/subjects_or_states.py FOLDER --summary benchmarks/results/subjects_or_states.json

Two simulations a seed: people with a covariance of their own each and no dynamics, and people who share states that
switch. Each is given to an HMM and then to the check of occupancies (`dynml_check_model.py .. --checks occupancy`), in
this process. Models have fewer, as many, or more states than there are people or states in truth. A row is written to
FOLDER/subjects_or_states.jsonl as soon as it is known; seeds that are there are not done again.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import numpy as np
from rows_by_seed import parser_of_seeds, rows_by_seed
from whole_training import trained_to_the_end

N_PEOPLE, N_SAMPLES, N_CHANNELS, N_TRUE_STATES = 6, 400, 4, 3
STATES_OF_MODEL = (3, 6, 8)
ROWS = "subjects_or_states.jsonl"


def main() -> None:
    """Do what is missing, or sum up what is there."""
    kinds = {"subjects": own_covariances, "switching": shared_states}

    def made(key: dict[str, Any], seed: int) -> dict[str, Any]:
        n_states = STATES_OF_MODEL[seed % len(STATES_OF_MODEL)]
        return {"n_states": n_states, **checked(kinds[key["kind"]](seed), n_states)}

    arguments = parser_of_seeds(__doc__, "0:20").parse_args()
    rows_by_seed(arguments, ROWS, [{"kind": kind} for kind in kinds], made, summed_up)


def own_covariances(seed: int) -> list[np.ndarray]:
    """Make people who differ and do not change."""
    generator = np.random.default_rng([seed, 0])
    shape = (N_SAMPLES, N_CHANNELS)
    return [
        (generator.normal(size=shape) @ generator.normal(size=(N_CHANNELS, N_CHANNELS))).astype("f4")
        for _ in range(N_PEOPLE)
    ]


def shared_states(seed: int) -> list[np.ndarray]:
    """Make people who visit the same states, each for twenty samples on average."""
    generator = np.random.default_rng([seed, 1])
    mixing = generator.normal(size=(N_TRUE_STATES, N_CHANNELS, N_CHANNELS))
    found = []
    for _ in range(N_PEOPLE):
        states = np.zeros(N_SAMPLES, dtype=int)
        for time_point in range(1, N_SAMPLES):
            stays = generator.random() < 0.95
            states[time_point] = states[time_point - 1] if stays else generator.integers(N_TRUE_STATES)
        noise = generator.normal(size=(N_SAMPLES, N_CHANNELS))
        found.append(np.einsum("tij,tj->ti", mixing[states], noise).astype("f4"))
    return found


def checked(arrays: list[np.ndarray], n_states: int) -> dict[str, Any]:
    """Train, and give what the check of occupancies says."""
    from dynml import (
        BatchLoader,
        BatchSampler,
        GaussianHMM,
        HMMConfig,
        HMMTrainer,
        MultiSubjectDataset,
        load_experiment,
    )
    from dynml.analysis.checks.checked import CheckSettings
    from dynml.analysis.checks.checked import checked as all_checks

    warnings.simplefilter("ignore")
    dataset = MultiSubjectDataset.from_arrays(arrays, sampling_frequency=100, standardization="per_subject")
    model = GaussianHMM(HMMConfig(n_states=n_states), N_CHANNELS)
    with tempfile.TemporaryDirectory() as folder:
        loader = BatchLoader(dataset, model, collate="packed")
        trainer = HMMTrainer(model, folder, "states", BatchSampler(dataset), loader, progress=False)
        trained_to_the_end(trainer)
        experiment = load_experiment(f"{folder}/states")
        found = all_checks(experiment, experiment.open(dataset), CheckSettings(checks=("occupancy",))).verdicts
    by_subject = found["occupancy_by_subject"]
    return {
        "called_subjects": by_subject.holds is False and found["dynamics"].holds is False,
        "share": round(by_subject.value or 0.0, 3),
        "by_chance": round(by_subject.reference or 0.0, 3),
    }


def summed_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many seeds of each kind were called subjects."""
    found = {}
    for kind in sorted({row["kind"] for row in rows}):
        own = [row for row in rows if row["kind"] == kind]
        found[kind] = {
            "seeds": len(own),
            "called_subjects": sum(row["called_subjects"] for row in own),
            "share_explained": [min(row["share"] for row in own), max(row["share"] for row in own)],
        }
    return found


if __name__ == "__main__":
    main()
