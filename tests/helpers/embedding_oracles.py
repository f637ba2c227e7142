"""Recordings that numpy embeds, stores of them, and the batches and runs that are compared on them."""

import dataclasses

import numpy as np
import torch

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.dataset.config import DatasetConfig
from dynml.dataset.slicer import RowSlicer
from dynml.models.hmm.config import HMMInitializationConfig
from dynml.preparation.standardization import standardized
from dynml.recording import recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

N_EMBEDDINGS, N_COMPONENTS, N_CHANNELS = 5, 4, 3
MARGIN = N_EMBEDDINGS // 2
RUNS = {"a": [400, 230], "b": [350], "c": [180, 140], "v": [260, 90]}
SUBSETS = {"training": ["a", "b", "c"], "validation": ["v"]}
# Subject b has a bad stretch, and v a segment that is too short to be embedded.
STRETCHES = {"b": [[[0, 160], [170, 350]]], "v": [[[0, 5], [8, 260]], [[0, 90]]]}
SETTINGS = {"n_embeddings": N_EMBEDDINGS, "n_components": N_COMPONENTS}
WAYS = {
    "memory": ("memory", {}),
    "cached": ("memory", {"cache_embedded": True}),
    "lazy": ("lazy", {}),
}


def recordings():
    """Oscillating signals whose runs have offsets of their own."""
    generator = np.random.default_rng(4)
    made = {}
    for number, (subject, lengths) in enumerate(RUNS.items()):
        signals = []
        for run, length in enumerate(lengths):
            phase = np.cumsum(0.4 + 0.3 * (np.sin(np.arange(length) / 25) > 0))
            shared = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase)], axis=1)
            noise = generator.normal(size=(length, N_CHANNELS))
            signals.append((shared + 0.5 * noise + 3.0 * run - number).astype(np.float32))
        stretches = [np.array(one) for one in STRETCHES[subject]] if subject in STRETCHES else None
        made[subject] = recording_of_runs(signals, sampling_frequency=50.0, stretches=stretches)
    return made


def centred(recording):
    """Good stretches that are long enough, each about the mean of its run: (start, stop, rows in float64)."""
    long = recording.segments[:, 1] - recording.segments[:, 0] > N_EMBEDDINGS
    for index in np.flatnonzero(long):
        of_run = recording.segments[long & (recording.segment_runs == recording.segment_runs[index])]
        good = np.concatenate([recording.signals[start:stop] for start, stop in of_run]).astype(np.float64)
        start, stop = recording.segments[index]
        yield index, start, stop, recording.signals[start:stop] - good.mean(axis=0)


def windows_of(rows):
    return np.stack([rows[t : t + N_EMBEDDINGS].ravel() for t in range(len(rows) - N_EMBEDDINGS + 1)])


def components_of(made):
    """Leading eigenvectors of the embedded covariance of the training subjects, the largest element positive."""
    windows = np.concatenate(
        [windows_of(rows) for subject in SUBSETS["training"] for *_, rows in centred(made[subject])]
    )
    values, vectors = np.linalg.eigh(windows.T @ windows / len(windows))
    vectors = vectors[:, ::-1][:, :N_COMPONENTS]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(N_COMPONENTS)])
    return vectors * signs, values[::-1][:N_COMPONENTS]


def prepared(recording, components):
    """The recording with components for channels, NaN where there are none, and shorter segments."""
    signals = np.full((recording.n_samples, N_COMPONENTS), np.nan)
    kept = []
    for index, start, stop, rows in centred(recording):
        signals[start + MARGIN : stop - MARGIN] = windows_of(rows) @ components
        kept.append(index)
    return dataclasses.replace(
        recording,
        signals=signals,
        channel_names=tuple(f"component_{number}" for number in range(N_COMPONENTS)),
        segments=recording.segments[kept] + np.array([MARGIN, -MARGIN]),
        segment_runs=recording.segment_runs[kept],
        source_samples=recording.source_samples[kept] + np.array([MARGIN, 0]),
    )


def written(path, made):
    with new_store(path, {}, SUBSETS) as writer:
        for subject, recording in made.items():
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
            writer.add_group(subject, "signals", standardized(recording, "none"), recording.n_channels)
    return path


def opened(path, residency="memory", **settings):
    dataset = MultiSubjectDataset(path, residency, config=DatasetConfig(**settings))
    dataset.load_data()
    return dataset


def close(found, expected, tolerance=2e-5):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def check_same_rows(found, expected):
    """Whole segments, parts of them, and no rows at all, of a subset as it is read and as it was prepared."""
    table = found.segments
    for subject, start, stop in zip(table.subject, table.start, table.stop):
        for first, last in ((start, stop), (start + 3, stop - 7)):
            close(found.read(subject, first, last), expected.read(subject, first, last))
        assert found.read(subject, start + 3, start + 3).shape == (0, N_COMPONENTS)


def batches_of(dataset, collate, context, n_workers=0, **sampler_settings):
    sampler = BatchSampler(dataset, seed=3, **sampler_settings)
    loader = BatchLoader(dataset, collate=collate, seed=3, n_workers=n_workers)
    for one in (sampler, loader):
        one.set_context(context)
    return list(loader.iterate(sampler, 1))


def signals_of_batches(pair, collate, context, strategy):
    """Signals of the batches of two data sets, pair by pair; both have the same spans."""
    settings = {"strategy": strategy, "batch_size_training": 4}
    if strategy == "fixed_windows":
        settings |= {"window_length": 30, "minimum_length": 10}
    pairs = zip(*(batches_of(dataset, collate, context, **settings) for dataset in pair), strict=True)
    for found, expected in pairs:
        assert found.spans == expected.spans
        signals, others = found.signals, expected.signals
        if isinstance(others, RowSlicer):
            signals, others = signals[0 : len(signals)], others[0 : len(others)]
        yield signals, others


def hmm_run(dataset, folder, name):
    hmm = GaussianHMM(HMMConfig(n_states=2), dataset.n_channels)
    sampler = BatchSampler(dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=500)
    trainer = HMMTrainer(
        hmm,
        folder,
        name,
        sampler,
        BatchLoader(dataset, hmm, collate="packed"),
        initialization=HMMInitializationConfig(n_init=1, n_epochs=2),
        max_epochs=6,
        progress=False,
    )
    return trainer.train_and_validate()
