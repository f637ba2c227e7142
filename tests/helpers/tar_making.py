"""Tar files in the layout of learning-from-brains, as its own writer makes them: pickles under `<key>.<kind>`."""

import io
import pickle
import tarfile

import numpy as np


def write_members(path, members):
    """A tar of given bytes, in the order of their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, content in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(content)
            tar.addfile(information, io.BytesIO(content))
    return path


TR = np.float32(0.72)


def encoded(samples, repetition_time=TR, protocol=4):
    """Members of samples {key: (signals, {kind: label})}: text as text, all else pickled."""
    members = {}
    for key, (signals, labels) in samples.items():
        members[f"{key}.bold.pyd"] = pickle.dumps(signals, protocol)
        members[f"{key}.t_r.pyd"] = pickle.dumps(repetition_time, protocol)
        for kind, label in labels.items():
            if isinstance(label, str):
                members[f"{key}.{kind}"] = label.encode()
            else:
                members[f"{key}.{kind}.pyd"] = pickle.dumps(label, protocol)
    return members


def bold(n_samples, n_networks=5, seed=0):
    """White noise, z-scored, float32."""
    signals = np.random.default_rng(seed).normal(size=(n_samples, n_networks))
    return ((signals - signals.mean(0)) / signals.std(0)).astype(np.float32)


def write_run(path, n_samples=40, n_networks=5, seed=0, **settings):
    """A run without labels; gives its signals."""
    signals = bold(n_samples, n_networks, seed)
    name = path.name.split(".")[0]
    write_members(path, encoded({name: (signals, {})}, **settings))
    return signals


def write_trials(path, labels, n_networks=5, seed=0, **settings):
    """A run cut into trials of 6, 7, .. samples, each with its labels {kind: label}; gives their signals."""
    name = path.name.split(".")[0]
    trials = [bold(6 + number, n_networks, 100 * seed + number) for number in range(len(labels))]
    samples = {f"{name}_sample_{number:03d}": pair for number, pair in enumerate(zip(trials, labels))}
    write_members(path, encoded(samples, **settings))
    return trials
