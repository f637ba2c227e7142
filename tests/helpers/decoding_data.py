"""Small recordings with trials of known classes, and decoders of them."""

import dataclasses

import numpy as np
import torch

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.models.sequence.decoding.config import DecodingConfig, DecodingTrainerConfig
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.settling import settle_with_data
from dynml.models.sequence.decoding.trainer import DecodingTrainer
from dynml.recording import Events, Source, recording_of_runs

TRIAL, REST, N_TRIALS = 12, 4, 8
RATE = 10.0
NAMES = ("house", "face", "tool", "animal")


def recording(seed, *, classes=("house", "face"), effect=1.0, n_runs=2, n_channels=4, sampling_frequency=RATE):
    """Runs of N_TRIALS trials each; class k shifts channel k by `effect` while a trial lasts."""
    generator = np.random.default_rng(seed)
    length = N_TRIALS * (TRIAL + REST)
    runs, labels, onsets = [], [], []
    for run in range(n_runs):
        signals = generator.normal(size=(length, n_channels))
        drawn = generator.permutation(np.resize(np.arange(len(classes)), N_TRIALS))
        for trial, label in enumerate(drawn):
            start = trial * (TRIAL + REST)
            signals[start : start + TRIAL, NAMES.index(classes[label])] += effect
            onsets.append(run * length + start)
            labels.append(label)
        runs.append(signals)
    order = sorted(classes)
    codes = np.array([order.index(classes[label]) for label in labels], dtype=np.int64)
    events = Events(
        onset=np.array(onsets, dtype=np.int64),
        duration=np.full(len(onsets), TRIAL, dtype=np.int64),
        labels={"stimulus": codes},
        names={"stimulus": tuple(order)},
    )
    source = Source(file=f"{seed}.npy", n_bytes=1, sha256=f"sha-of-{seed}")
    return recording_of_runs(runs, sampling_frequency=sampling_frequency, events=events, sources=[source])


def dataset_of(n_training=4, n_validation=2, n_testing=1, *, names="abcdefgh", first_seed=0, **settings):
    seeds = iter(range(first_seed, first_seed + 100))
    people = iter(names)
    parts = [
        {f"sub-{next(people)}": recording(next(seeds), **settings) for _ in range(count)}
        for count in (n_training, n_validation, n_testing)
    ]
    return MultiSubjectDataset.from_arrays(*parts)


def configs_of(dataset, pretrained=None, *, sampler=None, **model):
    """Settled configs of a decoder; of its network alone where nothing else is asked for."""
    given = {
        "model": DecodingConfig(**{"target": "stimulus", "linear_answer": "none"} | model),
        "sampler": sampler or BatchSamplerConfig(batch_size_training=16),
    }
    return settle_with_data(given, dataset, pretrained)


def trainer_of(dataset, folder, name="run", *, pretrained=None, sampler=None, trainer=None, resume="refuse", **model):
    configs = configs_of(dataset, pretrained, sampler=sampler, **model)
    settings = {"device": "cpu", "progress": False, "saving_share": 1.0, "max_epochs": 3} | (trainer or {})
    torch.manual_seed(1)
    return DecodingTrainer(
        Decoding(configs["model"], dataset.n_channels),
        folder,
        name,
        BatchSampler(dataset, configs["sampler"], seed=1),
        BatchLoader(dataset, seed=1),
        DecodingTrainerConfig(**settings),
        pretrained=pretrained,
        resume=resume,
    )


def small(backbone, **settings):
    return {"backbone": backbone, "embedding_dim": 16, "n_layers": 2, "n_positions": 32} | settings


def without_events(item):
    return dataclasses.replace(item, events=None)


def described(dataset):
    """What parameters.json says of a dataset, with the participants and files of each subset."""
    description = dataset.describe()
    for name, subset in description["subsets"].items():
        own = dataset.subset(name)
        subset["participants"] = own.participants
        subset["sources"] = {
            subject: [source.sha256 for source in dataset.signal_source.attributes(subject, dataset.group).sources]
            for subject in own.subjects
        }
    return description
