"""Linear answers of decoders on simulated MEG-like trials, beside each kind of features alone.

    python benchmarks/decoding_simulations.py [--n_seeds 3]

Four classes, 10 sensors, 400 Hz, trials of one second: 160 to fit to and 160 to score. The classes differ

    evoked      in where a wave of 100 ms peaks in the course
    induced     in which source has oscillations of 10 or 20 Hz, at random phases
    coupling    in which of four pairs of sources oscillate together, all with the same power

The answer is what a decoder starts from, and keeps where its network adds nothing.
"""

from __future__ import annotations

import argparse
import json
import warnings
from typing import Any

import numpy as np
import torch
from decoding_runs import write_results
from numpy.typing import NDArray

from dynml import MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import DataWarning
from dynml.models.sequence.decoding.answer.fitting import fit_answer
from dynml.models.sequence.decoding.baselines import fit_baselines
from dynml.models.sequence.decoding.config import DecodingConfig
from dynml.models.sequence.decoding.evaluation import predictions_of
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.settling import settle_with_data
from dynml.models.sequence.decoding.targets import Target
from dynml.recording import Events, recording_of_runs

N_CLASSES, N_SENSORS, RATE, N_TRIALS, LENGTH = 4, 10, 400.0, 160, 400
PAIRS = ((0, 1), (2, 3), (0, 2), (1, 3))
STRENGTHS = {"evoked": 0.5, "induced": 0.7, "coupling": 0.8}


def sources(kind: str, label: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Courses of four sources in a trial of a class, (T, 4)."""
    seconds = np.arange(LENGTH) / RATE
    if kind == "evoked":
        wave = np.exp(-0.5 * ((seconds - 0.2 - 0.15 * label) / 0.05) ** 2)
        return STRENGTHS[kind] * wave[:, None] * np.array([1.0, -1.0, 0.5, 0.0])
    frequencies = np.array([10.0, 20.0, 10.0, 20.0]) if kind == "induced" else np.full(4, 12.0)
    phases = generator.uniform(0, 2 * np.pi, 4)
    strengths = np.full(4, STRENGTHS[kind])
    if kind == "induced":
        strengths = strengths * (np.arange(4) == label)
    else:
        first, second = PAIRS[label]
        phases[second] = phases[first] + np.pi / 4
    return strengths * np.cos(2 * np.pi * frequencies * seconds[:, None] + phases)


def recording(kind: str, mixing: NDArray[np.float64], seed: int) -> Any:
    """A run of trials without gaps, in noise whose neighbouring samples are alike."""
    from scipy.signal import lfilter

    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(N_TRIALS) % N_CLASSES)
    noise = lfilter([1.0], [1.0, -0.9], generator.normal(size=(N_TRIALS * LENGTH, N_SENSORS)), axis=0)
    signals = noise / noise.std(axis=0)
    for trial, label in enumerate(labels.tolist()):
        signals[trial * LENGTH : (trial + 1) * LENGTH] += sources(kind, label, generator) @ mixing
    events = Events(
        onset=np.arange(N_TRIALS) * LENGTH,
        duration=np.full(N_TRIALS, LENGTH),
        labels={"class": labels.astype(np.int64)},
        names={"class": tuple("abcd")},
    )
    return recording_of_runs([signals / signals.std(axis=0)], sampling_frequency=RATE, events=events)


def scored(kind: str, seed: int) -> dict[str, Any]:
    """Accuracies on new trials of the same participant."""
    mixing = np.random.default_rng(1_000 + seed).normal(size=(4, N_SENSORS)) / 2
    dataset = MultiSubjectDataset.from_arrays(
        {"sub-a": recording(kind, mixing, 2 * seed)}, {}, {"sub-b": recording(kind, mixing, 2 * seed + 1)}
    )
    given = {"model": DecodingConfig(target="class", backbone="linear"), "sampler": BatchSamplerConfig()}
    configs = settle_with_data(given, dataset, None)
    model, target = Decoding(configs["model"], N_SENSORS), Target.of(dataset, "class")
    names = configs["model"].class_names
    training, testing = (target.trials(name, configs["sampler"], names) for name in ("training", "testing"))
    assert model.answer is not None
    choices = {"by_runs": False, "balanced": False, "seed": 0}
    answered = fit_answer(model.answer, training, most_trials=4000, **choices)
    fitted = fit_baselines(training, most_trials=4000, **choices)
    return {
        "linear_answer": predictions_of(model, testing).accuracy,
        "held_out": {name: one["accuracy"] for name, one in answered.report["kinds"].items()},
        "weights": {name: one["weight"] for name, one in answered.report["kinds"].items()},
        "baselines": {name: None if one is None else one.accuracy(testing) for name, one in fitted.items()},
    }


def main() -> None:
    """Simulate, fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n_seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DataWarning)
    found: dict[str, list[Any]] = {}
    for kind in STRENGTHS:
        for seed in range(arguments.n_seeds):
            found.setdefault(kind, []).append(scored(kind, seed))
            print(kind, seed, json.dumps(found[kind][-1]), flush=True)
    write_results("decoding_simulations", {"strengths": STRENGTHS, "by_kind": found})


if __name__ == "__main__":
    main()
